//! Feature `tracing`: what is told of spawns, signals and exits; in a process of its own, for who listens is global.

use serde_json::Value;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use steadfast::mock::{Kernel, Script, Simulated};
use steadfast::{Command, Signal, System};
use tracing_subscriber::fmt::format::FmtSpan;

/// Where the lines go.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is told meanwhile.
fn told(work: impl FnOnce()) -> Vec<Value> {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .without_time()
        .with_max_level(tracing::Level::DEBUG)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let values: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(values.iter().all(|value| value["target"] == "steadfast"), "{text}");
    values
}

/// Those with this message, or the ends of the spans of this name.
fn of<'a>(told: &'a [Value], name: &str) -> Vec<&'a Value> {
    let is_it = |value: &&Value| match value["fields"]["message"].as_str() {
        Some("close") => value["span"]["name"] == name,
        message => message == Some(name),
    };
    told.iter().filter(is_it).collect()
}

fn systems() -> Vec<System> {
    let kernel = Kernel::builder().program("server", Script::new().run_forever()).program("three", Script::new().exit(3)).build();
    System::pidfd().into_iter().chain([System::pid_legacy(), kernel.system()]).collect()
}

#[test]
fn a_spawn_its_signals_and_its_end_are_told() {
    for system in systems() {
        let _here = system.enter();
        let real = system.info().real;
        let told = told(|| {
            let mut command = Command::new(if real { "sleep" } else { "server" });
            let child = command.arg("1000").env("SECRET", "hidden").spawn().unwrap();
            child.signal(Signal::CONT).unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            // Of what was never sent nothing is told.
            assert!(child.kill().is_err());
            let mut three = Command::new(if real { "sh" } else { "three" });
            assert_eq!(three.args(["-c", "exit 3"]).status().unwrap().code(), Some(3));
            drop(Command::new(if real { "true" } else { "three" }).spawn().unwrap());
        });
        let spawns = of(&told, "spawn");
        assert_eq!(spawns.len(), 3, "{told:#?}");
        let (span, name) = (&spawns[0]["span"], system.backend_name());
        assert_eq!((&span["backend"], &span["program"]), (&name.into(), &(if real { "sleep" } else { "server" }).into()));
        let pid = &span["pid"];
        assert!(pid.as_i64().is_some_and(|pid| pid > 0), "{span}");
        let signals: Vec<_> = of(&told, "signal").iter().map(|event| event["fields"]["signal"].as_str().unwrap()).collect();
        assert_eq!(signals, ["SIGCONT", "SIGKILL"]);
        let exits = of(&told, "exit");
        assert_eq!((&exits[0]["fields"]["pid"], &exits[0]["fields"]["signal"]), (pid, &9.into()));
        assert_eq!((&exits[1]["fields"]["code"], exits[1]["fields"].get("signal")), (&3.into(), None));
        assert!(told.iter().all(|value| !value.to_string().contains("1000") && !value.to_string().contains("hidden")));
    }
}

#[test]
fn a_spawn_that_fails_is_told_with_its_errors_fields() {
    for system in systems() {
        let _here = system.enter();
        let told = told(|| assert!(Command::new("/no/such").spawn().is_err()));
        let [failed] = of(&told, "spawn failed")[..] else { panic!("{told:#?}") };
        let fields = &failed["fields"];
        assert_eq!((&failed["level"], &fields["errno"], &fields["kind"]), (&"WARN".into(), &2.into(), &"Spawn".into()));
        assert_eq!(failed["span"]["program"], "/no/such");
        assert!(fields["stage"].as_str().unwrap().starts_with("exec"), "{failed}");
        assert!(fields["error"].as_str().unwrap().contains("No such file"), "{failed}");
    }
}

#[test]
fn of_who_was_started_before_anybody_listened_nothing_is_told() {
    let system = System::pid_legacy();
    let child = system.spawn(Command::new("sleep").arg("1000")).unwrap();
    let told = told(|| {
        child.kill().unwrap();
        child.wait().unwrap();
    });
    assert!(told.is_empty(), "{told:#?}");
}
