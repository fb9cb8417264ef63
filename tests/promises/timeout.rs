//! `examples/timeout` against coreutils' `timeout(1)`: ends, messages and what becomes of the command, on both backends.

use crate::Test;
use crate::examples::with_example;
use crate::leaks::children;
use crate::stage::{Outcome, row};
use std::io::pipe;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steadfast::{Capture, Captured, Command, Disposition, Signal, Stdio};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::that_may_skip("examples: timeout ends and speaks as coreutils' does: arguments", || {
            on_both(CASES.iter().map(Row::of_args))
        }),
        Test::that_may_skip("examples: timeout ends and speaks as coreutils' does: what it is started with, and signals", || {
            on_both(SCRIPTS.iter().map(Row::of_script))
        }),
    ]
}

/// A shell's words that wait until its parent sleeps. The `timeout` of coreutils (9.1) takes a signal that comes before its `fork` has
/// returned for its own end: 129 instead of what the command says.
macro_rules! parent_waits {
    () => {
        "until grep -q 'State:.S' /proc/$PPID/status; do :; done; "
    };
}

/// The arguments, and how it ends: by an exit code, or by a signal.
const CASES: &[(&[&str], Result<i32, i32>)] = &[
    (&["5", "true"], Ok(0)),
    (&["5", "sh", "-c", "exit 3"], Ok(3)),
    (&["5", "sh", "-c", "exit 124"], Ok(124)),
    (&["0", "true"], Ok(0)),
    (&["0s", "sh", "-c", "exit 4"], Ok(4)),
    (&["1d", "true"], Ok(0)),
    (&["inf", "true"], Ok(0)),
    (&["1e300", "true"], Ok(0)),
    (&["1", ""], Ok(127)),
    (&["-s", "+9", "1", "true"], Ok(125)),
    (&["0.1", "sleep", "20"], Ok(124)),
    (&["0.1s", "sleep", "20"], Ok(124)),
    (&["0.002m", "sleep", "20"], Ok(124)),
    (&["0.00003h", "sleep", "20"], Ok(124)),
    (&["0.000002d", "sleep", "20"], Ok(124)),
    (&["-s", "INT", "0.1", "sleep", "20"], Ok(124)),
    (&["-s", "2", "0.1", "sleep", "20"], Ok(124)),
    (&["--signal=USR1", "0.1", "sleep", "20"], Ok(124)),
    (&["--preserve-status", "0.1", "sleep", "20"], Ok(143)),
    (&["--preserve-status", "0.1", "sh", "-c", "trap 'exit 9' TERM; while :; do :; done"], Ok(9)),
    (&["--foreground", "0.1", "sleep", "20"], Ok(124)),
    (&["--foreground", "-s", "KILL", "0.1", "sleep", "20"], Ok(137)),
    (&["--foreground", "-k", "0.1", "0.1", "sh", "-c", "trap '' TERM; exec sleep 20"], Ok(137)),
    // In the background it is in the group that it kills.
    (&["-s", "KILL", "0.1", "sleep", "20"], Err(9)),
    (&["-k", "0.1", "0.1", "sh", "-c", "trap '' TERM; exec sleep 20"], Err(9)),
    (&["-k", "20", "0.1", "sh", "-c", "trap 'exit 5' TERM; while :; do :; done"], Ok(124)),
    (&["5", "sh", "-c", "kill -USR1 $$"], Err(10)),
    (&["5", "sh", "-c", "kill -KILL $$"], Err(9)),
    // A signal that it gets itself is passed on.
    (&["5", "sh", "-c", concat!("trap 'exit 7' TERM; ", parent_waits!(), "kill -TERM $PPID; while :; do :; done")], Ok(7)),
    (
        &[
            "--foreground",
            "5",
            "sh",
            "-c",
            concat!("trap 'exit 8' HUP; ", parent_waits!(), "kill -HUP $PPID; while :; do :; done"),
        ],
        Ok(8),
    ),
    (&["5", "/etc/passwd"], Ok(126)),
    (&["5", "/"], Ok(126)),
    (&["5", "no-such-command"], Ok(127)),
    (&["5", "/no/such/command"], Ok(127)),
    (&["x", "true"], Ok(125)),
    (&["5x", "true"], Ok(125)),
    (&["-k", "x", "5", "true"], Ok(125)),
    (&["-s", "NOPE", "5", "true"], Ok(125)),
    (&["--nope", "5", "true"], Ok(125)),
    (&["5"], Ok(125)),
    (&[], Ok(125)),
    (&["--help"], Ok(0)),
    (&["--version"], Ok(0)),
];

/// How the older ones do this differently, if they do.
type Since = Option<&'static str>;
const ALWAYS: Since = None;
const TINY: Since = Some("a time that a float cannot say is none, and none is for ever");
const ZERO: Since = Some("signal 0 is called EXIT");
const DEAF: Since = Some("who cannot hear of it is told 125 after the time is up too");
const FEW: Since = Some("it dies of any signal but the few that a user sends, and the command goes on");

/// For `sh -c`, with the program in `$T`; how it ends; and since when coreutils' does so too.
const SCRIPTS: &[(&str, Result<i32, i32>, Since)] = &[
    ("exec $T 1e-10000 sleep 20", Ok(124), TINY),
    ("exec $T 0x1p-9999 sleep 20", Ok(124), TINY),
    ("exec $T 0x1p-4 sleep 20", Ok(124), ALWAYS),
    ("exec $T 0X.1s sleep 20", Ok(124), ALWAYS),
    ("exec $T 0x10 true", Ok(0), ALWAYS),
    ("exec $T 0x true", Ok(125), ALWAYS),
    ("exec $T 0x1p true", Ok(125), ALWAYS),
    ("exec $T 1e true", Ok(125), ALWAYS),
    ("exec $T ' +.05' sleep 20", Ok(124), ALWAYS),
    ("exec $T '.05 ' sleep 20", Ok(125), ALWAYS),
    ("exec $T '' sleep 20", Ok(125), ALWAYS),
    ("exec $T . sleep 20", Ok(125), ALWAYS),
    ("exec $T -- -0 true", Ok(0), ALWAYS),
    ("exec $T -- -1 true", Ok(125), ALWAYS),
    ("exec $T -1 true", Ok(125), ALWAYS),
    ("exec $T nan true", Ok(125), ALWAYS),
    ("exec $T INFINITYd true", Ok(0), ALWAYS),
    ("exec $T 99999999999999999999d true", Ok(0), ALWAYS),
    ("exec $T 9.999999999 true", Ok(0), ALWAYS),
    ("exec $T 1ss true", Ok(125), ALWAYS),
    ("exec $T 42D true", Ok(125), ALWAYS),
    // Signals by all their names.
    ("exec $T -s 0 .05 sleep .2", Ok(124), ALWAYS),
    ("exec $T -s EXIT -v -k .05 .05 sleep 20", Err(9), ZERO),
    ("exec $T -v -s0 -k .05 .05 sleep 20", Err(9), ZERO),
    ("exec $T --foreground -v -s0 -k.05 .05 sleep 20", Ok(137), ZERO),
    ("exec $T -v -s sigint .05 sleep 20", Ok(124), ALWAYS),
    ("exec $T -v -s Io .05 sleep 20", Ok(124), ALWAYS),
    ("exec $T -v -s CLD -k .05 .05 sleep 20", Err(9), ALWAYS),
    ("exec $T -v -s RTMIN .05 sleep 20", Ok(124), ALWAYS),
    ("exec $T -v -s RTMIN+3 .05 sleep 20", Ok(124), ALWAYS),
    ("exec $T -v -s rtmax-3 .05 sleep 20", Ok(124), ALWAYS),
    ("exec $T -v -s 50 .05 sleep 20", Ok(124), ALWAYS),
    ("exec $T -v -s 143 .05 sleep 20", Ok(124), ALWAYS),
    ("exec $T -s SIGSIGINT .05 true", Ok(125), ALWAYS),
    ("exec $T -s 65 .05 true", Ok(125), ALWAYS),
    ("exec $T -s '' .05 true", Ok(125), ALWAYS),
    // Words.
    (
        "exec $T 5 'no such
command'",
        Ok(127),
        ALWAYS,
    ),
    ("exec $T 5 ./", Ok(126), ALWAYS),
    ("exec $T 'a\\b' true", Ok(125), ALWAYS),
    ("exec $T --si=INT -v .05 sleep 20", Ok(124), ALWAYS),
    ("exec $T --kill-after 5 5 true", Ok(0), ALWAYS),
    ("exec $T --kill-after", Ok(125), ALWAYS),
    ("exec $T --foreground=1 5 true", Ok(125), ALWAYS),
    ("exec $T -vz 5 true", Ok(125), ALWAYS),
    ("exec $T -k", Ok(125), ALWAYS),
    ("exec $T 5 echo -k --help", Ok(0), ALWAYS),
    // Nobody hears it.
    ("exec $T -v .05 sleep 20 2>&-", Ok(124), DEAF),
    ("exec $T -v .05 sleep 20 2>/dev/full", Ok(124), DEAF),
    ("exec $T x true 2>&-", Ok(125), ALWAYS),
    ("exec $T 5 sh -c 'exit 3' 2>&-", Ok(3), ALWAYS),
    ("exec $T --help >/dev/full", Ok(125), ALWAYS),
    ("exec $T -v .05 sleep 20 2>&$BROKEN", Ok(124), DEAF),
    ("exec $T x true 2>&$BROKEN", Err(13), ALWAYS),
    ("trap '' PIPE; exec $T -v .05 sleep 20 2>&$BROKEN", Ok(124), DEAF),
    ("exec $T --help >&$BROKEN", Err(13), ALWAYS),
    // What its caller ignores.
    ("exec $T 5 sh -c 'kill -PIPE $$; exit 3'", Err(13), ALWAYS),
    ("trap '' PIPE; exec $T 5 sh -c 'kill -PIPE $$; exit 3'", Ok(3), ALWAYS),
    ("trap '' CHLD; exec $T 5 sh -c 'exit 3'", Ok(3), ALWAYS),
    ("trap '' ALRM; exec $T .05 sleep 20", Ok(124), ALWAYS),
    ("trap '' TERM; exec $T .05 sleep 20", Ok(124), ALWAYS),
    ("trap '' INT; exec $T 5 sh -c 'kill -INT $PPID $$; exit 4'", Ok(4), Some("it passes on what its caller ignores")),
    ("trap '' USR1; exec $T 5 sh -c 'kill -USR1 $PPID $$; exit 4'", Ok(4), ALWAYS),
    ("exec env --block-signal=ALRM $T .05 sleep 20", Ok(124), ALWAYS),
    // A child that it did not start.
    ("sleep .05 & exec $T .2 sleep 20", Ok(124), ALWAYS),
    // Signals to it.
    (concat!("exec $T 20 sh -c '", parent_waits!(), "kill -ALRM $PPID; exec sleep 20'"), Ok(124), ALWAYS),
    (concat!("exec $T --foreground 20 sh -c '", parent_waits!(), "kill -ALRM $PPID; exec sleep 20'"), Ok(124), ALWAYS),
    (concat!("exec $T 20 sh -c '", parent_waits!(), "kill -USR1 $PPID; exec sleep 20'"), Err(10), FEW),
    (concat!("exec $T 20 sh -c 'trap \"exit 6\" USR2; ", parent_waits!(), "kill -USR2 $PPID; while :; do :; done'"), Ok(6), FEW),
    (
        concat!("exec $T -s INT 20 sh -c 'trap \"exit 6\" INT; ", parent_waits!(), "kill -INT $PPID; while :; do :; done'"),
        Ok(6),
        ALWAYS,
    ),
    (concat!("exec $T 20 sh -c '", parent_waits!(), "kill -KILL $PPID; exec sleep 600'"), Err(9), FEW),
    (
        concat!(
            "exec $T -s ALRM 20 $T -s INT 20 sh -c 'trap \"exit 6\" INT; ",
            parent_waits!(),
            "kill -ALRM $PPID; while :; do :; done'"
        ),
        Ok(124),
        ALWAYS,
    ),
];

struct Row {
    args: Vec<&'static str>,
    /// Whether they are a shell's.
    is_script: bool,
    end: Result<i32, i32>,
    since: Since,
}

impl Row {
    fn of_args(&(args, end): &(&'static [&'static str], Result<i32, i32>)) -> Row {
        Row { args: args.to_vec(), is_script: false, end, since: ALWAYS }
    }

    fn of_script(&(script, end, since): &(&'static str, Result<i32, i32>, Since)) -> Row {
        Row { args: vec!["-c", script], is_script: true, end, since }
    }

    /// Its end, and what was said on stderr. Not before the last of its processes has closed stderr.
    fn end_of(&self, timeout: &Path, backend: Option<&str>) -> (Result<i32, i32>, String) {
        let (unread, broken) = pipe().unwrap();
        drop(unread);
        let mut command = Command::new(if self.is_script { Path::new("sh") } else { timeout });
        command.args(&self.args).env("T", timeout).env("BROKEN", "9").env("LC_ALL", "C").stdin(Stdio::null());
        command.fd(9, broken);
        // Whoever runs the tests may ignore some, as nohup(1) does.
        for signal in Signal::all().filter(|signal| ![Signal::KILL, Signal::STOP].contains(signal)) {
            command.signal_disposition(signal, Disposition::Default);
        }
        if let Some(backend) = backend {
            command.env("STEADFAST_BACKEND", backend);
        }
        let options = Capture::new().timeout(Duration::from_secs(60)).kill_on_timeout(true).wait_delay(Duration::from_secs(60));
        let captured: Captured = command.capture(&options).unwrap();
        assert!(!captured.timed_out, "{:?} hangs", self.args);
        assert!(captured.is_complete(), "{:?} leaves somebody running", self.args);
        let status = captured.status.unwrap();
        let end = status.signal().map_or_else(|| Ok(status.code().unwrap()), Err);
        (end, captured.stderr.to_string().replace(timeout.to_str().unwrap(), "timeout"))
    }
}

/// Each row on both backends, and, where coreutils are, with theirs.
fn on_both(rows: impl Iterator<Item = Row>) -> Outcome {
    let rows: Vec<Row> = rows.collect();
    with_example("timeout", |ours| {
        let theirs = coreutils();
        for case in &rows {
            let _row = row(format!("timeout {:?}", case.args));
            let theirs = theirs.as_deref().filter(|_| case.since.is_none()).map(|theirs| case.end_of(theirs, None));
            for backend in ["pidfd", "pid-legacy"] {
                if backend == "pidfd" && steadfast::System::pidfd().is_err() {
                    continue;
                }
                let ours = case.end_of(ours, Some(backend));
                assert_eq!(ours.0, case.end, "{backend}: timeout {:?}: {}", case.args, ours.1);
                if let Some(theirs) = &theirs {
                    assert_eq!(ours, *theirs, "{backend}: timeout {:?}: coreutils", case.args);
                }
            }
        }
        assert_eq!(children(), Vec::<String>::new());
    })
}

fn coreutils() -> Option<PathBuf> {
    let path = PathBuf::from("/usr/bin/timeout");
    let version = Command::new(&path).arg("--version").stdin(Stdio::null()).output().ok()?;
    String::from_utf8_lossy(&version.stdout).contains("GNU coreutils").then_some(path)
}
