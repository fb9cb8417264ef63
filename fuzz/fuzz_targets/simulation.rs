//! Property: whatever programs do, and whatever signals come from outside, one seed gives one trace; all processes can be killed and reaped;
//! the processes of the table are those that were not; and a script that is refused is refused before it runs.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use steadfast::mock::{Kernel, ProcessState, Script, Simulated};
use steadfast::{Command, Signal};

#[derive(Arbitrary, Debug)]
enum Step {
    Sleep(u8),
    Compute(u8),
    Write(u16),
    ReadLine,
    Close(u8),
    Exit(u8),
    Abort,
    Handle { signal: u8, exits: bool },
    Ignore(u8),
    Restore(u8),
    Block(u8),
    Unblock(u8),
    Raise(u8),
    SignalGroup(u8),
    SignalChildren(u8),
    SignalParent(u8),
    NewGroup,
    NewSession,
    Subreaper,
    Wait { all: bool },
    Stop,
    RunForever,
}

/// A program, and those that it starts before it goes on; so deep and no deeper, or they would be too many.
#[derive(Arbitrary, Debug)]
struct Program {
    before: Vec<Step>,
    children: Vec<Child>,
    after: Vec<Step>,
    repeat: u8,
}

#[derive(Arbitrary, Debug)]
struct Child {
    steps: Vec<Step>,
    execs: bool,
}

#[derive(Arbitrary, Debug)]
enum FromOutside {
    Signal { process: u8, signal: u8 },
    Sleep(u8),
    ReapAny,
    IgnoreSigchld(bool),
    Subreaper(bool),
    Make { process: u8, step: Step },
}

#[derive(Arbitrary, Debug)]
struct Input {
    seed: u64,
    pipe_capacity: u8,
    programs: Vec<Program>,
    from_outside: Vec<FromOutside>,
}

fn signal(number: u8) -> Signal {
    Signal::new(i32::from(number % 64) + 1).expect("1 to 64")
}

fn ms(millis: u8) -> Duration {
    Duration::from_millis(millis.into())
}

fn step(script: Script, step: &Step) -> Script {
    match *step {
        Step::Sleep(time) => script.sleep(ms(time)),
        Step::Compute(time) => script.compute(ms(time)),
        Step::Write(bytes) => script.write_stdout("x".repeat(bytes.into())),
        Step::ReadLine => script.read_stdin_line(),
        Step::Close(which) => match which % 3 {
            0 => script.close_stdin(),
            1 => script.close_stdout(),
            _ => script.close_stderr(),
        },
        Step::Exit(code) => script.exit(code.into()),
        Step::Abort => script.abort(),
        Step::Handle { signal: number, exits: true } => script.on(signal(number), Script::new().exit(1)),
        Step::Handle { signal: number, exits: false } => script.on(signal(number), Script::new().sleep(ms(1))),
        Step::Ignore(number) => script.ignore(signal(number)),
        Step::Restore(number) => script.restore(signal(number)),
        Step::Block(number) => script.block(signal(number)),
        Step::Unblock(number) => script.unblock(signal(number)),
        Step::Raise(number) => script.raise(signal(number)),
        Step::SignalGroup(number) => script.signal_group(signal(number)),
        Step::SignalChildren(number) => script.signal_children(signal(number)),
        Step::SignalParent(number) => script.signal_parent(signal(number)),
        Step::NewGroup => script.new_group(),
        Step::NewSession => script.new_session(),
        Step::Subreaper => script.become_subreaper(),
        Step::Wait { all: true } => script.wait_for_children(),
        Step::Wait { all: false } => script.wait_for_child(),
        Step::Stop => script.stop(),
        Step::RunForever => script.run_forever(),
    }
}

fn script(steps: &[Step]) -> Script {
    steps.iter().take(20).fold(Script::new(), step)
}

fn program(program: &Program) -> Script {
    let children = program.children.iter().take(4).fold(Script::new(), |script, child| {
        let own = self::script(&child.steps);
        script.spawn(if child.execs { Script::new().exec(own) } else { own })
    });
    let body = script(&program.before).then(children).then(script(&program.after));
    if program.repeat % 4 > 1 { Script::new().repeat((program.repeat % 4).into(), body) } else { body }
}

/// What is to be seen at the end: the trace.
fn run(input: &Input) -> String {
    let mut builder = Kernel::builder().seed(input.seed).pipe_capacity(usize::from(input.pipe_capacity) + 1).max_processes(200);
    let mut names = Vec::new();
    for (index, script) in input.programs.iter().take(4).map(program).enumerate() {
        // What contradicts itself is refused, and said so.
        match script.check() {
            Ok(()) => {
                names.push(format!("p{index}"));
                builder = builder.program(format!("p{index}"), script);
            }
            Err(contradiction) => assert!(contradiction.to_string().starts_with("step ")),
        }
    }
    let kernel = builder.build();
    let system = kernel.system();
    let children: Vec<_> = names.iter().map(|name| system.spawn(&Command::new(name)).expect("there is room")).collect();
    for event in input.from_outside.iter().take(100) {
        let one = |index: u8| {
            let all = kernel.processes();
            usize::from(index).checked_rem(all.len()).map(|index| all[index])
        };
        match event {
            FromOutside::Signal { process, signal: number } => {
                if let Some(pid) = one(*process) {
                    kernel.signal(pid, signal(*number)).expect("it is there");
                }
            }
            FromOutside::Sleep(time) => system.sleep(ms(*time)),
            FromOutside::ReapAny => drop(kernel.reap_any()),
            FromOutside::IgnoreSigchld(ignored) => kernel.ignore_sigchld(*ignored),
            FromOutside::Subreaper(is_one) => kernel.subreaper(*is_one),
            FromOutside::Make { process, step: what } => {
                let script = step(Script::new(), what);
                if let (Some(pid), Ok(())) = (one(*process), script.check()) {
                    kernel.make(pid, script);
                }
            }
        }
    }
    // The end of all: killed, and reaped by whom they belong to. Whoever is killed may have started another one before.
    kernel.subreaper(false);
    drop(children);
    for round in 0.. {
        let running: Vec<_> = kernel
            .processes()
            .into_iter()
            .filter(|pid| kernel.process(*pid).is_some_and(|process| process.state != ProcessState::Zombie))
            .collect();
        if running.is_empty() {
            break;
        }
        assert!(round < 1000, "{running:?} cannot be killed:\n{}", kernel.trace());
        for pid in running {
            if let Ok(process) = system.find(pid) {
                process.kill().ok();
            }
        }
        kernel.settle();
    }
    while kernel.reap_any().is_some() {}
    assert_eq!(kernel.processes(), [], "{}", kernel.trace());
    kernel.trace()
}

fuzz_target!(|input: Input| {
    assert_eq!(run(&input), run(&input));
});
