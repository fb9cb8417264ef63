//! The start of a process in the simulated kernel: one that takes its time, in virtual time, and in every order.

use crate::Test;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use steadfast::mock::{Call, Fault, Kernel, Script, Sim, Simulated};
use steadfast::tokio::AsyncCommand;
use steadfast::{Capture, Command, Errno, ErrorKind, Pipeline, Signal, spawn_many};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("start: in a simulation: an exec takes its time", takes_time),
        Test::new("start: in a simulation: limits, to the moment", limits),
        Test::new("start: in a simulation: several overlap", overlapped),
        Test::new("start: in a simulation: faults of an exec", faults),
        Test::new("start: in a simulation: killed and stopped before its program", signalled),
        Test::new("start: in a simulation: in tasks, by the runtime's clock", in_tasks),
        Test::new("start: in a simulation: limits, drops and signals in 3,000 orders", explored),
    ]
}

const SECOND: Duration = Duration::from_secs(1);

/// `slow` takes 4 s to be executed, and one more to do its work.
fn kernel() -> Kernel {
    let slow = Script::new().exec_takes(SECOND * 4).write_stdout("here\n").sleep(SECOND).exit(3);
    Kernel::builder()
        .program("slow", slow)
        .program("quick", Script::new().exit(7))
        .program("lasting", Script::new().run_forever())
        .build()
}

fn takes_time() {
    let kernel = kernel();
    let _here = kernel.system().enter();
    let child = Command::new("slow").spawn().unwrap();
    assert_eq!((kernel.now(), child.try_wait().unwrap()), (SECOND * 4, None));
    assert_eq!((child.wait().unwrap().code(), kernel.now()), (Some(3), SECOND * 5));
    let trace = kernel.trace();
    assert!(trace.contains("executes slow"), "{trace}");
    assert_eq!((Command::new("quick").status().unwrap().code(), kernel.now()), (Some(7), SECOND * 5));
}

fn limits() {
    let kernel = kernel();
    let _here = kernel.system().enter();
    let slow = Command::new("slow");
    let error = slow.spawn_timeout(SECOND * 4 - Duration::from_nanos(1)).unwrap_err();
    assert_eq!((error.kind(), kernel.now()), (ErrorKind::SpawnTimedOut, SECOND * 4 - Duration::from_nanos(1)));
    assert!(kernel.trace().contains("gives up the start of"), "{}", kernel.trace());
    kernel.settle();
    // Reaped in the background.
    assert_eq!((kernel.processes(), kernel.zombies()), (vec![], vec![]));
    let began = kernel.now();
    let late = slow.output_timeout(SECOND * 3).unwrap();
    assert!(late.timed_out && !late.started && late.status.is_none() && kernel.now() - began == SECOND * 3);
    let began = kernel.now();
    // What the start has taken is not there for the rest.
    let late = slow.output_timeout(SECOND * 9 / 2).unwrap();
    assert!(late.timed_out && late.started && late.status.unwrap().signal() == Some(9) && kernel.now() - began == SECOND * 9 / 2);
    assert_eq!(late.stdout.to_vec(), b"here\n");
    let in_time = slow.output_timeout(SECOND * 6).unwrap();
    assert!(!in_time.timed_out && in_time.started && in_time.status.unwrap().code() == Some(3));
    let began = kernel.now();
    let pipeline = Pipeline::new([Command::new("lasting"), slow.clone(), slow.clone()]);
    let late = pipeline.output_timeout(SECOND * 6).unwrap();
    assert!(late.timed_out && !late.started && kernel.now() - began >= SECOND * 6);
    assert_eq!(slow.lines(&Capture::new().timeout(SECOND)).map(drop).unwrap_err().kind(), ErrorKind::SpawnTimedOut);
    slow.spawn_timeout(Duration::MAX).unwrap().wait().unwrap();
    kernel.settle();
    assert_eq!((kernel.processes(), kernel.zombies()), (vec![], vec![]));
}

fn overlapped() {
    let kernel = kernel();
    let _here = kernel.system().enter();
    let commands = ["slow", "quick", "no-such-program", "slow", "slow"].map(Command::new);
    let children = spawn_many(&commands);
    assert_eq!(kernel.now(), SECOND * 4);
    let codes: Vec<_> = children.into_iter().map(|child| child.ok().and_then(|child| child.wait().unwrap().code())).collect();
    assert_eq!((codes, kernel.now()), (vec![Some(3), Some(7), None, Some(3), Some(3)], SECOND * 5));
    // More than are on their way at a time.
    let began = kernel.now();
    assert!(spawn_many(&vec![Command::new("slow"); 33]).iter().all(Result::is_ok));
    assert_eq!(kernel.now() - began, SECOND * 12);
}

fn faults() {
    let busy = Fault::on(Call::Exec).nth(1).errno(Errno::TXTBSY);
    // The second exec is the first that it sees.
    let slow = Fault::on(Call::Exec).nth(1).delay(SECOND * 4);
    let kernel = Kernel::builder().program("p", Script::new().exit(7)).fault(busy).fault(slow).build();
    let _here = kernel.system().enter();
    let p = Command::new("p");
    let error = p.spawn().unwrap_err();
    assert_eq!(error.errno(), Some(Errno::TXTBSY));
    assert!(error.to_string().starts_with("spawn `p`: exec"), "{error}");
    assert_eq!((p.spawn_timeout(SECOND).unwrap_err().kind(), kernel.now()), (ErrorKind::SpawnTimedOut, SECOND));
    assert_eq!((p.status().unwrap().code(), kernel.now()), (Some(7), SECOND));
}

fn signalled() {
    let kernel = kernel();
    let _here = kernel.system().enter();
    let in_a_second = |signal| {
        let leader = Command::new("lasting").process_group(0).spawn().unwrap();
        assert!(kernel.make(leader.pid(), Script::new().sleep(SECOND).signal_group(signal)));
        let mut slow = Command::new("slow");
        slow.process_group(leader.pid().as_raw());
        (leader, slow, kernel.now())
    };
    // Killed by somebody else: the start is over, and what it gives is a child that was killed.
    let (leader, slow, began) = in_a_second(Signal::KILL);
    let child = slow.spawn().unwrap();
    assert_eq!((kernel.now() - began, child.wait().unwrap().signal()), (SECOND, Some(9)));
    assert_eq!(leader.wait().unwrap().signal(), Some(9));
    // Stopped, it does not come to its program, and the limit counts.
    let (leader, slow, began) = in_a_second(Signal::STOP);
    assert_eq!(slow.spawn_timeout(SECOND * 10).map(drop).unwrap_err().kind(), ErrorKind::SpawnTimedOut);
    assert_eq!(kernel.now() - began, SECOND * 10);
    leader.kill().unwrap();
    leader.wait().unwrap();
    kernel.settle();
    assert_eq!((kernel.processes(), kernel.zombies()), (vec![], vec![]));
}

fn in_tasks() {
    let kernel = kernel();
    let _here = kernel.system().enter();
    let paused = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    paused.block_on(async {
        let slow = Command::new("slow");
        let mut spawn = std::pin::pin!(slow.spawn_async());
        // The timer of another is on time.
        tokio::select! {
            _ = &mut spawn => panic!("it takes 4 s"),
            () = tokio::time::sleep(SECOND) => assert_eq!(kernel.now(), SECOND),
        }
        let child = spawn.await.unwrap();
        assert_eq!(kernel.now(), SECOND * 4);
        assert_eq!((child.wait().await.unwrap().code(), kernel.now()), (Some(3), SECOND * 5));
        let late = slow.spawn_timeout_async(SECOND).await.map(drop).unwrap_err();
        assert_eq!((late.kind(), kernel.now()), (ErrorKind::SpawnTimedOut, SECOND * 6));
        let late = slow.output_timeout_async(SECOND).await.unwrap();
        assert!(late.timed_out && !late.started && kernel.now() == SECOND * 7);
        // Dropped, at once and later.
        drop(slow.spawn_async());
        assert!(tokio::time::timeout(SECOND, slow.status_async()).await.is_err());
        // Three at once take as long as one.
        let began = kernel.now();
        let (a, b, c) = tokio::join!(slow.status_async(), slow.status_async(), slow.status_async());
        assert!([a, b, c].into_iter().all(|status| status.unwrap().code() == Some(3)));
        assert_eq!(kernel.now() - began, SECOND * 5);
        // More than are on their way at a time, each with 4 s to its program.
        let began = kernel.now();
        let children = steadfast::tokio::spawn_many(&vec![slow.clone(); 33]).await;
        assert!(children.iter().all(Result::is_ok) && kernel.now() - began == SECOND * 12);
        drop(children);
        // Some are begun before it is polled, and go with it; the others are not begun.
        let others = kernel.processes().len();
        let many = steadfast::tokio::spawn_many(&vec![slow.clone(); 33]);
        assert_eq!(kernel.processes().len() - others, 16);
        drop(many);
        let mut slow = slow;
        slow.kill_on_drop(true);
        let some = steadfast::tokio::spawn_many(&vec![slow; 33]);
        assert!(tokio::time::timeout(SECOND * 6, some).await.is_err());
    });
    kernel.settle();
    assert_eq!((kernel.processes(), kernel.zombies()), (vec![], vec![]));
}

fn explored() {
    kernel().explore(0..3000, |sim: &Sim| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let this = sim.clone();
                sim.spawn(move || {
                    let _here = this.system().enter();
                    let slow = Command::new("slow");
                    match this.random(0..4) {
                        0 => match slow.spawn_timeout(this.random_time(SECOND * 8)) {
                            Ok(child) => assert_eq!(child.wait().unwrap().code(), Some(3)),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::SpawnTimedOut),
                        },
                        1 => {
                            let captured = slow.output_timeout(this.random_time(SECOND * 8)).unwrap();
                            assert!(captured.started || captured.timed_out);
                            assert_eq!(
                                captured.timed_out,
                                captured.status.is_none_or(|status| !status.success() && status.code().is_none())
                            );
                        }
                        2 => drop(slow.spawn()),
                        _ => spawn_many(&[slow.clone(), slow]).into_iter().for_each(|child| {
                            let child = child.unwrap();
                            child.kill().unwrap();
                            child.wait().unwrap();
                        }),
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join();
        }
        sim.settle();
        let clock = sim.system();
        while !sim.processes().is_empty() || !sim.zombies().is_empty() {
            clock.sleep(SECOND);
            assert!(sim.now() < SECOND * 60, "{}", sim.trace());
        }
    });
}
