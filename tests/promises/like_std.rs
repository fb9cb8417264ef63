//! The same as std: each case goes through `std::process` and through us, and everything that can be seen is compared.

use crate::Test;
use crate::contract::ACTOR;
use crate::errors::each_system;
use crate::stage::Outcome;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use steadfast::os::unix::process::CommandExt as _;
use tempfile::TempDir;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![Test::new("like std: what a command shows of itself", shows)];
    for case in cases() {
        let run = move || {
            if case.needs_root && !nix::unistd::Uid::current().is_root() {
                return Outcome::Skipped("takes root".into());
            }
            compare(&case);
            Outcome::Passed
        };
        tests.push(Test::that_may_skip(format!("like std: {}", case.name), run));
    }
    tests
}

/// A case: the same words for both libraries, and for both faces of ours.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    needs_root: bool,
    std: fn(&Stage) -> std::process::Command,
    ours: fn(&Stage) -> steadfast::Command,
    twin: fn(&Stage) -> steadfast::process::Command,
}

/// Files to be found, executed and refused.
struct Stage {
    dir: TempDir,
}

impl Stage {
    fn new() -> Stage {
        let stage = Stage { dir: tempfile::tempdir().unwrap() };
        let script = |name: &str, text: &str, mode| {
            let path = stage.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        script("bin/good", "#!/bin/sh\necho good $0 $*\n", 0o755);
        script("bin/no-shebang", "echo \"no shebang: $0 $1\"\n", 0o755);
        script("bin/denied", "#!/bin/sh\n", 0o644);
        script("bin/bad-interpreter", "#!/no/such/interpreter\n", 0o755);
        script("bin/empty", "", 0o755);
        script("bin/garbage", "\x7fELF\0\0\0", 0o755);
        script("first/good", "#!/bin/sh\necho never\n", 0o644);
        symlink("loop", stage.path("bin/loop")).unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn search(&self, dirs: &[&str]) -> String {
        dirs.iter()
            .map(|dir| if dir.is_empty() { String::new() } else { self.path(dir).display().to_string() })
            .collect::<Vec<_>>()
            .join(":")
    }
}

macro_rules! case {
    ($name:literal, $program:expr $(, $set:expr)?) => {
        case!(@ $name, false, $program $(, $set)?)
    };
    (root $name:literal, $program:expr $(, $set:expr)?) => {
        case!(@ $name, true, $program $(, $set)?)
    };
    (@ $name:literal, $root:literal, $program:expr $(, $set:expr)?) => {
        Case {
            name: $name,
            needs_root: $root,
            std: |stage| {
                let program: fn(&Stage) -> PathBuf = $program;
                #[allow(unused_mut, reason = "some cases set nothing")]
                let mut command = std::process::Command::new(program(stage));
                $(let set: fn(&mut std::process::Command, &Stage) = $set; set(&mut command, stage);)?
                command
            },
            ours: |stage| {
                let program: fn(&Stage) -> PathBuf = $program;
                #[allow(unused_mut, reason = "some cases set nothing")]
                let mut command = steadfast::Command::new(program(stage));
                $(let set: fn(&mut steadfast::Command, &Stage) = $set; set(&mut command, stage);)?
                command
            },
            twin: |stage| {
                use steadfast::process::Command;
                let program: fn(&Stage) -> PathBuf = $program;
                #[allow(unused_mut, reason = "some cases set nothing")]
                let mut command = Command::new(program(stage));
                $(let set: fn(&mut Command, &Stage) = $set; set(&mut command, stage);)?
                command
            },
        }
    };
}

fn sh(_: &Stage) -> PathBuf {
    "sh".into()
}

fn env(_: &Stage) -> PathBuf {
    "/usr/bin/env".into()
}

fn cases() -> Vec<Case> {
    vec![
        case!("arguments with every byte", |_| "printf".into(), |c, _| {
            use std::os::unix::ffi::OsStrExt;
            let all: Vec<u8> = (1..=255).collect();
            c.arg("[%s]").args(["", " ", "a b", "\n", "'\"$`\\", "ü"]).arg(std::ffi::OsStr::from_bytes(&all));
        }),
        case!("exit code", sh, |c, _| {
            c.args(["-c", "exit 7"]);
        }),
        case!("killed by a signal", sh, |c, _| {
            c.args(["-c", "kill -USR1 $$"]);
        }),
        case!("stdout and stderr", sh, |c, _| {
            c.args(["-c", "echo out; echo err >&2"]);
        }),
        case!("environment: one more", env, |c, _| {
            c.env("A", "1").env("A", "2").env("Ü", "=x=");
        }),
        case!("environment: unchanged", env),
        case!("environment: one removed", env, |c, _| {
            c.env_remove("HOME");
        }),
        case!("environment: cleared", env, |c, _| {
            c.env_clear();
        }),
        case!("environment: cleared, then sorted", env, |c, _| {
            c.env_clear().env("Z", "1").env("A", "2").env("M", "3");
        }),
        case!("environment: set, cleared, set, removed", env, |c, _| {
            c.env("X", "1").env_clear().env("Y", "2").env("W", "3").env_remove("W").env_remove("V");
        }),
        case!("environment: envs", env, |c, _| {
            c.env_clear().envs([("B", "b"), ("A", "a")]);
        }),
        case!("environment: a name with =", env, |c, _| {
            c.env_clear().env("=x", "1");
        }),
        case!("PATH: that of the child", |_| "good".into(), |c, s| {
            c.env("PATH", s.search(&["nowhere", "bin"])).arg("1");
        }),
        case!("PATH: a file that may not be executed comes first", |_| "good".into(), |c, s| {
            c.env("PATH", format!("{}:/usr/bin:/bin", s.search(&["first", "bin"])));
        }),
        case!("PATH: only such a file", |_| "denied".into(), |c, s| {
            c.env("PATH", s.search(&["bin"]));
        }),
        case!("PATH: an empty directory is the current one", |_| "good".into(), |c, s| {
            c.env("PATH", format!(":{}", s.search(&["nowhere"]))).current_dir(s.path("bin"));
        }),
        case!("PATH: cleared with the environment", sh, |c, _| {
            c.env_clear().args(["-c", "echo found"]);
        }),
        case!("PATH: nothing found", |_| "no-such-program-anywhere".into()),
        case!("PATH: a file in place of a directory", |_| "good".into(), |c, s| {
            c.env("PATH", s.search(&["bin/good", "bin"]));
        }),
        case!("program: an absolute path", |s| s.path("bin/good"), |c, _| {
            c.args(["x", "y"]);
        }),
        case!("program: relative, from the working directory", |_| "./good".into(), |c, s| {
            c.current_dir(s.path("bin"));
        }),
        case!("program: missing", |s| s.path("bin/missing")),
        case!("program: a directory", |s| s.path("bin")),
        case!("program: not executable", |s| s.path("bin/denied")),
        // (By its path std runs it or not, depending on what else is set: posix_spawn(3) does not, execvp(3) does. We always do.)
        case!("program: a script without #!, from PATH", |_| "no-shebang".into(), |c, s| {
            c.env("PATH", s.search(&["bin"])).arg("one");
        }),
        case!("program: an interpreter that is missing", |s| s.path("bin/bad-interpreter")),
        case!("program: a loop of links", |s| s.path("bin/loop")),
        case!("program: through a file", |s| s.path("bin/good/x")),
        case!("program: a name that is too long", |_| "x".repeat(5000).into()),
        case!("program: a NUL byte", |_| "a\0b".into()),
        case!("argument: a NUL byte", sh, |c, _| {
            c.arg("\0");
        }),
        case!("environment: a NUL byte", sh, |c, _| {
            c.env("A", "\0");
        }),
        case!("directory: a NUL byte", sh, |c, _| {
            c.current_dir("\0");
        }),
        case!("arguments: too many", |_| "true".into(), |c, _| {
            let long = "x".repeat(100_000);
            c.args((0..100).map(|_| long.as_str()));
        }),
        case!("directory", |_| "pwd".into(), |c, _| {
            c.current_dir("/usr");
        }),
        case!("directory: missing", |_| "pwd".into(), |c, _| {
            c.current_dir("/nope");
        }),
        case!("directory: a file", |_| "pwd".into(), |c, _| {
            c.current_dir("/etc/passwd");
        }),
        case!("arg0", sh, |c, _| {
            c.arg0("renamed").args(["-c", "echo $0"]);
        }),
        case!("process_group of its own", sh, |c, _| {
            c.process_group(0).args(["-c", "test $$ = $(cut -d' ' -f5 /proc/$$/stat) && echo leads"]);
        }),
        case!("process_group that there is not", sh, |c, _| {
            c.process_group(i32::MAX);
        }),
        case!("own uid and gid", |_| "id".into(), |c, _| {
            c.uid(nix::unistd::Uid::current().as_raw()).gid(nix::unistd::Gid::current().as_raw()).arg("-u");
        }),
        case!(root "another uid and gid: no supplementary groups", |_| "id".into(), |c, _| { c.uid(1234).gid(2345); }),
        case!(root "a directory that only the caller may enter", |_| "pwd".into(), |c, _| {
            // As the new user, in both.
            c.uid(1234).gid(2345).current_dir("/proc/1/cwd");
        }),
        case!("stdin from a file", |_| "cat".into(), |c, s| {
            c.stdin(File::open(s.path("bin/good")).unwrap());
        }),
        case!("stdout to a file", sh, |c, s| {
            c.args(["-c", "echo to a file; cat out >&2"]).current_dir(s.dir.path()).stdout(File::create(s.path("out")).unwrap());
        }),
        // Of the signals up to 28: which of its own two, 32 and 33, std's C library ignores depends on the parent.
        case!("SIGPIPE at its default", |_| "sed".into(), |c, _| {
            c.args(["-n", r"s/^SigIgn:.*\(.......\)$/\1/p", "/proc/self/status"]);
        }),
        case!("descriptors: the standard ones alone", |_| "ls".into(), |c, _| {
            c.arg("/proc/self/fd");
        }),
        case!("the actor", |_| ACTOR.into(), |c, _| {
            c.args(["exit", "42"]);
        }),
    ]
}

/// What can be seen of a run.
type Seen = Result<(Option<i32>, Option<i32>, Vec<u8>, Vec<u8>), (ErrorKind, Option<i32>)>;

fn compare(case: &Case) {
    let stage = Stage::new();
    let by_std = (case.std)(&stage).output();
    let by_std: Seen =
        by_std.map(|o| (o.status.code(), o.status.signal(), o.stdout, o.stderr)).map_err(|e| (e.kind(), e.raw_os_error()));
    for attempt in 0..3 {
        let seen = std::cell::RefCell::new(Vec::new());
        each_system(|system| {
            let _here = system.enter();
            let ours = (case.ours)(&stage).output().map_err(std::io::Error::from);
            let ours: Seen = ours
                .map(|o| (o.status.code(), o.status.signal(), o.stdout, o.stderr))
                .map_err(|e| (e.kind(), steadfast::Errno::of(&e).map(steadfast::Errno::as_raw)));
            seen.borrow_mut().push((system.backend_name(), ours));
            // The error itself is std's there, in its kind, its number and its words.
            let twin = (case.twin)(&stage).output().map_err(|e| {
                let std = e.raw_os_error().map(std::io::Error::from_raw_os_error);
                std.iter().for_each(|std| assert_eq!(e.to_string(), std.to_string()));
                (e.kind(), e.raw_os_error())
            });
            let twin = twin.map(|o| (o.status.code(), o.status.signal(), o.stdout, o.stderr));
            seen.borrow_mut().push((system.backend_name(), twin));
        });
        for (backend, ours) in seen.into_inner() {
            assert_eq!(ours, by_std, "{backend}, attempt {attempt}: {:?}", (case.ours)(&stage));
        }
    }
    // As a line of shell, and in its parts.
    let (std, ours, twin) = ((case.std)(&stage), (case.ours)(&stage), (case.twin)(&stage));
    if !format!("{std:?}").contains("nul") {
        assert_eq!((format!("{ours:?}"), format!("{twin:?}")), (format!("{std:?}"), format!("{std:?}")));
        assert_eq!(ours.get_program(), std.get_program());
        assert!(ours.get_args().eq(std.get_args()) && ours.get_args().len() == std.get_args().len());
        assert!(ours.get_envs().eq(std.get_envs()));
        assert_eq!(ours.get_current_dir(), std.get_current_dir());
    }
}

fn shows() {
    let mut command = steadfast::Command::new("prog");
    command.arg0("name").args(["a b", "\"q\""]).env("K", "v w").env_remove("GONE").current_dir("/some dir");
    assert_eq!(format!("{command:?}"), r#"cd "/some dir" && env -u GONE K="v w" ["prog"] "name" "a b" "\"q\"""#);
    let text = format!("{:#?}", command.uid(7).setsid(true));
    assert!(text.contains("uid: Some(") && text.contains("setsid: true"), "{text}");
    assert_eq!(format!("{:?}", steadfast::Command::new("p").env_exact([("B", "1")])), r#"env -i B="1" "p""#);
    assert_eq!(command.get_args().collect::<Vec<_>>(), ["a b", "\"q\""]);
    assert_eq!(format!("{:?}", command.get_args()), r#"["a b", "\"q\""]"#);
    assert_eq!(command.get_current_dir(), Some(Path::new("/some dir")));
    assert!(!command.get_env_clear() && command.env_clear().get_env_clear());
}
