//! What an exploration finds, how it says it, and what can be done with what it has found.
#![forbid(unsafe_code)]

use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use steadfast_core::{Clock, Plan, Process, Signal, sync};
use steadfast_mock::{Expect, Exploration, Failure, Kernel, ReplayError, Script, Sim, Verdict};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn spawn(sim: &Kernel, program: &str) -> Process {
    Process::spawn(&sim.backend(), &Plan::builder(program).build().unwrap()).unwrap().0
}

fn sleep(sim: &Sim, time: Duration) {
    let backend = sim.backend();
    let clock: &dyn Clock = backend.clock();
    clock.sleep_until(clock.now() + time);
}

fn kernel() -> Kernel {
    Kernel::builder().program("server", Script::new().run_forever()).program("quick", Script::new().sleep(ms(5)).exit(3)).build()
}

/// With its file in a place of its own.
fn exploration(kernel: &Kernel) -> (Exploration, tempfile::TempDir) {
    let place = tempfile::tempdir().unwrap();
    (kernel.exploration().file(place.path().join("it.replay")), place)
}

fn failure(kernel: &Kernel, test: impl Fn(&Sim) + Send + Sync) -> Box<Failure> {
    exploration(kernel).0.run(1..=1000, test).unwrap_err()
}

/// So many threads that do this at once, and their end.
fn at_once(sim: &Sim, threads: usize, run: impl Fn(&Sim) + Clone + Send + 'static) {
    let start = |_| {
        let (sim2, run) = (sim.clone(), run.clone());
        sim.spawn(move || run(&sim2))
    };
    let threads: Vec<_> = (0..threads).map(start).collect();
    for thread in threads {
        thread.join();
    }
}

/// Two threads count without a lock that covers both steps: an update is lost if the seed lets them.
fn lost_update(sim: &Sim) {
    let count = Arc::new(AtomicU64::new(0));
    let theirs = Arc::clone(&count);
    at_once(sim, 2, move |sim| {
        let seen = theirs.load(Ordering::Relaxed);
        sim.settle();
        theirs.store(seen + 1, Ordering::Relaxed);
    });
    assert_eq!(count.load(Ordering::Relaxed), 2, "an update was lost");
}

#[test]
fn a_panic_has_its_thread_its_words_its_place_and_the_timeline() {
    let failure = failure(&kernel(), |sim| {
        let server = spawn(sim, "server");
        let named = sim.named("killer", move || {
            server.kill().unwrap();
            let status = server.wait().unwrap();
            assert!(status.success(), "it did not end well");
        });
        named.join();
    });
    let Verdict::Panic { thread, message } = &failure.verdict else { panic!("{failure}") };
    assert_eq!(thread, "killer");
    assert!(message.contains("it did not end well") && message.contains("explore.rs:"), "{message}");
    for line in ["main            spawns 2 server", "killer          sends SIGKILL to 2 server", "killer          panics"] {
        assert!(failure.timeline.contains(line), "{failure}");
    }
    assert_eq!(failure.seed, 1);
}

#[test]
fn a_leak_is_a_child_that_nobody_has_waited_for() {
    let failure = failure(&kernel(), |sim| {
        // Somebody keeps the handle, and nobody waits.
        std::mem::forget(spawn(sim, "quick"));
        sleep(sim, ms(10));
    });
    let Verdict::Leak { children } = &failure.verdict else { panic!("{failure}") };
    assert_eq!(children, &["2 quick is a zombie"]);
}

#[test]
fn a_handle_that_is_dropped_while_the_child_runs_is_a_leak_too() {
    let leak = failure(&kernel(), |sim| drop(spawn(sim, "server")));
    assert_eq!(leak.verdict.kind(), "leak", "{leak}");
    exploration(&kernel())
        .0
        .run(1..=10, |sim| {
            drop(spawn(sim, "quick"));
            sleep(sim, ms(10));
        })
        .unwrap_or_else(|failure| panic!("what is reaped in the background is none: {failure}"));
}

#[test]
fn a_deadlock_says_who_waits_for_what() {
    let failure = failure(&kernel(), |sim| {
        let server = spawn(sim, "server");
        let waiter = sim.named("waiter", move || server.wait());
        waiter.join().unwrap();
    });
    let report = failure.to_string();
    for line in ["main waits for the end of waiter", "waiter waits for 2 server", "2 server waits for signals"] {
        assert!(report.contains(line), "{report}");
    }
    assert_eq!(failure.verdict.kind(), "deadlock");
}

#[test]
fn locks_taken_in_two_orders_are_a_deadlock() {
    let failure = failure(&kernel(), |sim| {
        let locks = Arc::new((sync::Mutex::new(()), sync::Mutex::new(())));
        let others = Arc::clone(&locks);
        let other = sim.spawn(move || {
            let _b = others.1.lock();
            let _a = others.0.lock();
        });
        {
            let _a = locks.0.lock();
            let _b = locks.1.lock();
        }
        other.join();
    });
    assert_eq!(failure.verdict.kind(), "deadlock", "{failure}");
}

#[test]
fn notify_one_wakes_one() {
    // Two wait, one is told: the other waits for ever, whichever it is.
    let failure = failure(&kernel(), |sim| {
        let state = Arc::new((sync::Mutex::new(0), sync::Condvar::new()));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let state = Arc::clone(&state);
                sim.spawn(move || {
                    let mut tokens = state.0.lock();
                    while *tokens == 0 {
                        tokens = state.1.wait(tokens);
                    }
                    *tokens -= 1;
                })
            })
            .collect();
        sleep(sim, ms(1));
        *state.0.lock() = 2;
        state.1.notify_one();
        for thread in threads {
            thread.join();
        }
    });
    assert_eq!(failure.verdict.kind(), "deadlock", "{failure}");
}

#[test]
fn polling_without_sleeping_is_endless() {
    let (exploration, _place) = exploration(&kernel());
    let failure = exploration.max_calls(10_000).run([7], |sim| {
        let server = spawn(sim, "server");
        while server.try_wait().unwrap().is_none() {}
    });
    let failure = failure.unwrap_err();
    assert_eq!(failure.verdict, Verdict::Endless { calls: 10_000 });
}

#[test]
fn what_comes_from_outside_is_unsteady() {
    let runs = AtomicU64::new(0);
    let (exploration, _place) = exploration(&kernel());
    let failure = exploration.jobs(1).run(1..=10, |_| assert_ne!(runs.fetch_add(1, Ordering::Relaxed), 3, "the fourth run"));
    let failure = failure.unwrap_err();
    let Verdict::Unsteady { seen } = &failure.verdict else { panic!("{failure}") };
    assert!(seen.contains("the fourth run"));
}

#[test]
fn a_stranger_is_one_that_has_the_number_now_or_that_was_none_of_our_business() {
    let kernel = Kernel::builder().pid_max(4).program("server", Script::new().run_forever()).build();
    let recycled = failure(&kernel, |sim| {
        let ours = Process::spawn(&sim.backend_pid_legacy(), &Plan::builder("server").build().unwrap()).unwrap().0;
        sim.signal(ours.pid(), Signal::KILL).unwrap();
        sim.settle();
        sim.reap_any().unwrap();
        sim.set_last_pid(ours.pid().as_raw() - 1);
        let theirs = spawn(sim, "server");
        ours.kill().ok();
        theirs.kill().ok();
    });
    assert!(recycled.to_string().contains("has hit a stranger that has its PID now"), "{recycled}");
    let found = failure(&kernel, |sim| {
        let pid = sim.spawn_stranger("server").unwrap();
        Process::find(&sim.backend(), pid).unwrap().kill().unwrap();
    });
    assert!(found.to_string().contains("a stranger that the program has no business with"), "{found}");
    assert_eq!((recycled.verdict.kind(), found.verdict.kind()), ("stranger", "stranger"));
}

#[test]
fn an_expectation_that_was_not_met_is_unmet() {
    let kernel = Kernel::builder().expect(Expect::exact(["git", "push"]).times(2)).build();
    let failure = failure(&kernel, |sim| {
        let plan = Plan::builder("git").arg("push").build().unwrap();
        Process::spawn(&sim.backend(), &plan).unwrap().0.wait().unwrap();
    });
    let Verdict::Unmet { expectations } = &failure.verdict else { panic!("{failure}") };
    assert_eq!(expectations, &["`git push`, 2 times; it was run once"]);
}

#[test]
fn the_first_seed_that_fails_is_reported_whatever_the_number_of_jobs() {
    let seeds: Vec<u64> = [1, 2, 3]
        .map(|jobs| {
            let (exploration, _place) = exploration(&kernel());
            exploration.jobs(jobs).run(1..=1000, lost_update).unwrap_err().seed
        })
        .to_vec();
    assert!(seeds.iter().all(|seed| *seed == seeds[0]), "{seeds:?}");
}

#[test]
fn the_smallest_run_has_no_departure_that_is_not_needed() {
    let failure = failure(&kernel(), |sim| {
        // What has nothing to do with it.
        let noise = sim.clone();
        let other = sim.spawn(move || (0..20).for_each(|_| noise.settle()));
        lost_update(sim);
        other.join();
    });
    // One thread is left between its steps, and comes back after the other: two departures at the most.
    assert!(failure.to_string().contains("(the smallest of "), "{failure}");
    let after: usize = failure.to_string().split(" runs: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((1..=2).contains(&after), "{failure}");
}

#[test]
fn a_replay_runs_the_failure_again_until_the_test_is_mended() {
    let kernel = kernel();
    let (exploration, place) = exploration(&kernel);
    let failure = exploration.run(1..=1000, lost_update).unwrap_err();
    let file = place.path().join("it.replay");
    assert_eq!(failure.file, Some(file.clone()));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), failure.replay());
    for _ in 0..3 {
        match kernel.replay(&file, lost_update) {
            Err(ReplayError::Failed(again)) => {
                assert_eq!((again.seed, &again.verdict, &again.timeline), (failure.seed, &failure.verdict, &failure.timeline));
            }
            other => panic!("{other:?}"),
        }
    }
    // With the same calls, and the steps in one.
    let mended = kernel.replay(&file, |sim| at_once(sim, 2, |sim| sim.settle()));
    assert!(mended.is_ok(), "{mended:?}");
}

#[test]
fn a_replay_that_does_not_fit_says_why() {
    let kernel = kernel();
    let (exploration, place) = exploration(&kernel);
    let failure = exploration.run(1..=1000, lost_update).unwrap_err();
    let write = |name: &str, text: &str| -> PathBuf {
        let file = place.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let refused = |kernel: &Kernel, file: &PathBuf| kernel.replay(file, |_| {}).unwrap_err().to_string();

    let whole = failure.replay();
    let cut = write("cut", &whole[..whole.len() / 2]);
    assert!(refused(&kernel, &cut).contains("cut off"), "{}", refused(&kernel, &cut));
    let other = write("other", "PNG");
    assert!(refused(&kernel, &other).contains("no replay"), "{}", refused(&kernel, &other));
    let missing = place.path().join("missing");
    assert!(refused(&kernel, &missing).contains("missing"), "{}", refused(&kernel, &missing));

    let file = place.path().join("it.replay");
    let grown = Kernel::builder().pid_max(9).program("server", Script::new().run_forever()).build();
    let report = refused(&grown, &file);
    assert!(report.contains("does not fit this kernel") && report.contains("pid_max 9"), "{report}");
    // A test with four threads in place of two comes to other decisions.
    let departs = kernel.replay(&file, |sim| at_once(sim, 4, |sim| sim.settle()));
    let report = departs.unwrap_err().to_string();
    assert!(report.contains("does not fit this test: at decision"), "{report}");
}

fn panics(run: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap()
}

#[test]
fn bad_input_is_refused_by_name() {
    let empty = Vec::<u64>::new();
    assert!(panics(|| kernel().explore(empty, |_| {})).contains("the range of seeds is empty"));
    assert!(panics(|| drop(kernel().exploration().jobs(0))).contains("jobs(0)"));
    let contradiction = panics(|| drop(Kernel::builder().program("p", Script::new().exit(0).sleep(ms(1)))));
    assert!(contradiction.contains("program \"p\": step 2, sleep(1ms): is never reached"), "{contradiction}");
    assert!(panics(|| drop(Kernel::builder().pid_max(1))).contains("pid_max(1)"));
    let late = Kernel::builder().program_with("p", |_| Script::new().block(Signal::KILL)).build();
    let late = panics(|| drop(spawn(&late, "p")));
    assert!(late.contains("run 0: step 1, block(SIGKILL)"), "{late}");
}

#[test]
fn a_thread_that_was_not_started_by_the_simulation_is_refused() {
    let failure = failure(&kernel(), |sim| {
        let sim = sim.clone();
        let report = std::thread::spawn(move || panics(|| drop(spawn(&sim, "quick")))).join().unwrap();
        panic!("{report}");
    });
    assert!(failure.to_string().contains("was not started by it"), "{failure}");
    assert!(failure.to_string().contains("sim.spawn"), "{failure}");
}

#[test]
fn the_file_of_a_run_that_fails_is_new_and_for_this_user_alone() {
    let failures = [(); 2].map(|()| kernel().exploration().run(1..=1000, lost_update).unwrap_err());
    let files = failures.map(|failure| failure.file.unwrap());
    assert_ne!(files[0], files[1]);
    for file in files {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(kernel().replay(&file, lost_update), Err(ReplayError::Failed(_))));
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn explore_panics_at_the_line_of_its_caller() {
    static SEEN: Mutex<Option<(String, u32)>> = Mutex::new(None);
    let (before, here) = (std::panic::take_hook(), std::thread::current().id());
    std::panic::set_hook(Box::new(move |info| {
        let is_of_explore = info.payload().downcast_ref::<String>().is_some_and(|said| said.starts_with("seed "));
        let is_it = is_of_explore && std::thread::current().id() == here;
        if let Some(location) = info.location().filter(|_| is_it) {
            *SEEN.lock().unwrap() = Some((location.file().to_owned(), location.line()));
        }
        before(info);
    }));
    let line = line!() + 1;
    let said = panics(|| kernel().explore(1..=1000, lost_update));
    std::fs::remove_file(said.rsplit('"').nth(1).expect("the file is named")).unwrap();
    assert_eq!(SEEN.lock().unwrap().clone(), Some((file!().to_owned(), line)));
}

#[test]
fn progress_is_told_after_each_run() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let exploration = kernel().exploration().on_progress(move |done, of| tell.lock().unwrap().push((done, of)));
    assert_eq!(exploration.run(1..=50, |_| ()).unwrap().seeds, 50);
    let mut told = std::mem::take(&mut *told.lock().unwrap());
    told.sort_unstable();
    assert_eq!(told, (1..=50).map(|done| (done, 50)).collect::<Vec<_>>());
}
