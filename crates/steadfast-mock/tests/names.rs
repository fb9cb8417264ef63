//! Names in the simulation: what becomes of them when the program under test is started again, and the machine is; numbers given away again; calls
//! that fail.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;
use steadfast_core::{Errno, Error, ErrorKind, Identity, Plan, Process, ProcessBackend, Reopened};
use steadfast_mock::{Call, Fault, Kernel, Script};

fn kernel() -> Kernel {
    Kernel::builder().pid_max(8).program("server", Script::new().run_forever()).program("job", Script::new()).build()
}

fn spawn(backend: &Arc<dyn ProcessBackend>, program: &str) -> Process {
    Process::spawn(backend, &Plan::builder(program).build().unwrap()).unwrap().0
}

/// For a program with pidfds, and for one without.
fn each(check: impl Fn(&Kernel, Arc<dyn ProcessBackend>)) {
    for backend in [Kernel::backend, Kernel::backend_pid_legacy] {
        let kernel = kernel();
        check(&kernel, backend(&kernel));
    }
}

#[test]
fn the_program_under_test_is_started_again() {
    each(|kernel, backend| {
        let server = spawn(&backend, "server");
        // Named in its first tick, it would be Unknown to a program without pidfds.
        backend.clock().sleep_until(backend.clock().now() + Duration::from_millis(10));
        let stored = server.identity().unwrap().to_string();
        drop((server, backend));
        kernel.kill_owner();
        let identity: Identity = stored.parse().unwrap();
        // Either kind of program, whichever has named it.
        for backend in [kernel.backend(), kernel.backend_pid_legacy()] {
            let answer = Process::reopen(&backend, &identity);
            let Reopened::Same { process, has_exited: false } = answer else { panic!("{answer:?}") };
            assert_eq!(process.wait().unwrap_err().kind(), ErrorKind::NoChild);
            assert_eq!(process.identity().unwrap().is_same_life(&identity), Some(true));
        }
        Process::reopen(&kernel.backend(), &identity).same().unwrap().kill().unwrap();
        kernel.settle();
        assert!(matches!(Process::reopen(&kernel.backend(), &identity), Reopened::Gone));
    });
}

#[test]
fn the_machine_is_booted_again() {
    each(|kernel, backend| {
        let server = spawn(&backend, "server");
        let (pid, identity) = (server.pid(), server.identity().unwrap());
        drop(server);
        kernel.reboot();
        assert_eq!((kernel.processes(), kernel.zombies()), (vec![], vec![]));
        // The same program has the same number again, and is as old as the other one was.
        let later = spawn(&backend, "server");
        assert_eq!(later.pid(), pid);
        let name = later.identity().unwrap();
        assert_eq!(name.evidence().start_time().unwrap().ticks(), identity.evidence().start_time().unwrap().ticks());
        assert!(matches!(Process::reopen(&backend, &identity), Reopened::OtherBoot));
        assert!(matches!(Process::reopen(&backend, &name), Reopened::Same { .. }));
        later.kill().unwrap();
        later.wait().unwrap();
    });
}

#[test]
fn a_reboot_ends_whatever_lives() {
    let family = Script::new().spawn(Script::new().new_session().run_forever()).run_forever();
    let kernel = Kernel::builder()
        .program("family", family)
        .program("stuck", Script::new())
        .fault(Fault::on(Call::Exit).program("stuck").delay(Duration::from_secs(3600)))
        .build();
    let backend = kernel.backend();
    let (family, stuck) = (spawn(&backend, "family"), spawn(&backend, "stuck"));
    kernel.spawn_foreign("family").unwrap();
    kernel.settle();
    assert_eq!(kernel.processes().len(), 5);
    kernel.reboot();
    assert_eq!(kernel.processes(), []);
    assert_eq!(family.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
    assert_eq!(stuck.kill().unwrap_err().kind(), ErrorKind::ProcessDone);
}

#[test]
fn a_number_that_was_given_away_is_nobody_elses_name() {
    each(|kernel, backend| {
        let mut names: Vec<Identity> = Vec::new();
        for round in 0..200 {
            kernel.set_last_pid(1);
            let job = spawn(&backend, "job");
            for name in &names {
                let answer = Process::reopen(&backend, name);
                assert!(matches!(answer, Reopened::Gone), "round {round}, {name}: {answer:?}");
            }
            names.push(job.identity().unwrap());
            assert!(matches!(Process::reopen(&backend, &names[round]), Reopened::Same { .. }));
            job.wait().unwrap();
        }
        assert!(names.iter().all(|name| name.pid() == names[0].pid()));
    });
}

#[test]
fn one_that_was_named_in_its_first_tick_may_be_another_to_a_program_without_pidfds() {
    let kernel = kernel();
    let (backend, by_number) = (kernel.backend(), kernel.backend_pid_legacy());
    let first = spawn(&backend, "server");
    let identity = first.identity().unwrap();
    assert!(!identity.evidence().start_time().unwrap().is_exact());
    assert_eq!(kernel.now(), Duration::ZERO);
    first.kill().unwrap();
    first.wait().unwrap();
    kernel.set_last_pid(first.pid().as_raw() - 1);
    let second = spawn(&backend, "server");
    assert_eq!(second.pid(), first.pid());
    let answer = Process::reopen(&by_number, &identity);
    assert!(matches!(answer, Reopened::Unknown(Error::UnknownIdentity { .. })), "{answer:?}");
    assert!(matches!(Process::reopen(&backend, &identity), Reopened::Gone));
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn without_pidfds_a_new_born_is_named_when_its_tick_is_over() {
    let kernel = kernel();
    let backend = kernel.backend_pid_legacy();
    let server = spawn(&backend, "server");
    assert!(server.identity().unwrap().evidence().start_time().unwrap().is_exact());
    assert_eq!(kernel.now(), Duration::from_millis(10));
    server.identity().unwrap();
    assert_eq!(kernel.now(), Duration::from_millis(10), "it is old enough");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn what_is_refused_is_unknown() {
    let kernel = Kernel::builder()
        .program("server", Script::new().run_forever())
        .fault(Fault::on(Call::Find).errno(Errno::PERM).nth(2))
        .fault(Fault::on(Call::Name).errno(Errno::MFILE).nth(2))
        .max_open_files(8)
        .build();
    let backend = kernel.backend();
    let server = spawn(&backend, "server");
    let identity = server.identity().unwrap();
    assert_eq!(server.identity().unwrap_err().errno(), Some(Errno::MFILE));
    let first = Process::reopen(&backend, &identity).same().unwrap();
    let answer = Process::reopen(&backend, &identity);
    assert!(matches!(&answer, Reopened::Unknown(why) if why.errno() == Some(Errno::PERM)), "{answer:?}");
    // Each handle takes a descriptor, until there is none.
    let mut handles = vec![first];
    let why = loop {
        match Process::reopen(&backend, &identity) {
            Reopened::Same { process, .. } => handles.push(process),
            Reopened::Unknown(why) => break why,
            answer => panic!("{answer:?}"),
        }
    };
    assert_eq!((why.errno(), handles.len()), (Some(Errno::MFILE), 7));
    drop(handles);
    assert!(Process::reopen(&backend, &identity).same().is_some());
    server.kill().unwrap();
    server.wait().unwrap();
}
