//! Property: whatever is done to handles of simulated processes, in whatever order, with faults or without, no signal reaches a
//! stranger, what is Done or Released stays so, and a status never changes.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use steadfast::mock::{Call, Fault, Kernel, Script, Simulated};
use steadfast::{Child, Command, Errno, ErrorKind, ExitStatus, Process, Signal};

#[derive(Arbitrary, Debug)]
enum Operation {
    Spawn { slot: u8, program: u8 },
    Find { from: u8, to: u8 },
    Signal { slot: u8, signal: u8 },
    TryWait(u8),
    WaitTimeout { slot: u8, millis: u16 },
    Release(u8),
    Drop(u8),
    ReapBehind,
    ChoosePid(u8),
    IgnoreSigchld(bool),
    Sleep(u16),
}

#[derive(Arbitrary, Debug)]
struct Input {
    seed: u64,
    fault: Option<(u8, u8, bool)>,
    operations: Vec<Operation>,
}

enum Handle {
    Spawned(Child),
    Found(Process),
}

struct Slot {
    handle: Handle,
    /// What it answered once: it must stay so.
    status: Option<ExitStatus>,
    is_done: bool,
    is_released: bool,
}

impl Slot {
    fn new(handle: Handle) -> Option<Slot> {
        Some(Slot { handle, status: None, is_done: false, is_released: false })
    }

    fn process(&self) -> &Process {
        match &self.handle {
            Handle::Spawned(child) => child.process(),
            Handle::Found(process) => process,
        }
    }

    fn waited(&mut self, answer: steadfast::Result<Option<ExitStatus>>) {
        match answer {
            Ok(Some(status)) => {
                assert!(!self.is_released);
                assert!(self.status.is_none_or(|before| before == status), "the status has changed");
                (self.status, self.is_done) = (Some(status), true);
            }
            Ok(None) => assert!(!self.is_done && !self.is_released, "it lives again"),
            Err(error) => {
                assert_eq!(error.kind() == ErrorKind::Released, self.is_released, "{error}");
                assert!(self.status.is_none() || self.is_released, "the status is lost again: {error}");
            }
        }
    }
}

fn kernel(input: &Input) -> Kernel {
    let ms = Duration::from_millis;
    let mut builder = Kernel::builder()
        .seed(input.seed)
        .pid_max(8)
        .program("0", Script::new().exit(3))
        .program("1", Script::new().run_forever())
        .program("2", Script::new().on(Signal::TERM, Script::new().sleep(ms(5)).exit(1)).sleep(ms(50)).abort())
        .program("3", Script::new().block(Signal::INT).compute(ms(10)).unblock(Signal::INT).raise(Signal::STOP));
    if let Some((call, nth, interrupted)) = input.fault {
        let calls = [Call::Spawn, Call::Find, Call::Signal, Call::Wait, Call::Reap];
        let errno = if interrupted { Errno::INTR } else { Errno::PERM };
        let fault = Fault::on(calls[usize::from(call) % calls.len()]);
        builder = builder.fault(fault.nth(u64::from(nth)).errno(errno));
    }
    builder.build()
}

fuzz_target!(|input: Input| {
    let kernel = kernel(&input);
    let system = kernel.system();
    let _here = system.enter();
    let mut slots: [Option<Slot>; 4] = [const { None }; 4];
    for operation in &input.operations {
        match *operation {
            Operation::Spawn { slot, program } => {
                if let Ok(child) = Command::new((program % 4).to_string()).spawn() {
                    slots[usize::from(slot) % 4] = Slot::new(Handle::Spawned(child));
                }
            }
            Operation::Find { from, to } => {
                let pid = slots[usize::from(from) % 4].as_ref().map(|slot| slot.process().pid());
                if let Some(Ok(found)) = pid.map(Process::find) {
                    slots[usize::from(to) % 4] = Slot::new(Handle::Found(found));
                }
            }
            Operation::ReapBehind => drop(kernel.reap_any()),
            Operation::ChoosePid(pid) => kernel.set_last_pid(i32::from(pid % 8)),
            Operation::IgnoreSigchld(ignore) => kernel.ignore_sigchld(ignore),
            Operation::Sleep(millis) => system.sleep(Duration::from_millis(millis.into())),
            Operation::Drop(slot) => slots[usize::from(slot) % 4] = None,
            Operation::Signal { slot, .. }
            | Operation::TryWait(slot)
            | Operation::WaitTimeout { slot, .. }
            | Operation::Release(slot) => {
                let Some(slot) = &mut slots[usize::from(slot) % 4] else { continue };
                match *operation {
                    Operation::Signal { signal, .. } => {
                        let signal = Signal::new(i32::from(signal % 64) + 1).expect("1 to 64");
                        let answer = slot.process().signal(signal);
                        assert!(answer.is_err() || !(slot.is_done || slot.is_released), "it was delivered");
                        slot.is_done |= answer.is_err_and(|error| error.kind() == ErrorKind::ProcessDone);
                    }
                    Operation::TryWait(_) => {
                        let answer = slot.process().try_wait();
                        slot.waited(answer);
                    }
                    Operation::WaitTimeout { millis, .. } => {
                        let answer = slot.process().wait_timeout(Duration::from_millis(millis.into()));
                        slot.waited(answer);
                    }
                    _ => {
                        slot.process().release().expect("release cannot fail");
                        slot.is_released = slot.process().signal(Signal::CONT).is_err_and(|e| e.kind() == ErrorKind::Released);
                    }
                }
            }
        }
    }
});
