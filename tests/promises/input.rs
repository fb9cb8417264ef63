//! Input that is written while the output is read, and one stream for both outputs.

use crate::Test;
use crate::errors::each_system;
use crate::leaks::{children, descriptors, is_over, until};
use std::io::{self, Cursor, Read};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use steadfast::mock::{Kernel, Script, Simulated};
use steadfast::{Capture, Command, ErrorKind, Input, Pid, Pipeline, Process, Result, Signal, Stdio, System};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("input: much of it, to a child that fills both pipes first", || each_system(both_ways)),
        Test::new("input: who reads a part, or nothing, is no error and no SIGPIPE", || each_system(not_all_of_it)),
        Test::new("input: who keeps the child's stdin open and reads nothing holds nobody up", || each_system(grandchild)),
        Test::new("input: a time limit is kept, and the child killed", || each_system(in_time)),
        Test::new("input: a reader that fails: a part is not taken for the whole", || each_system(failing_reader)),
        Test::new("input: what contradicts it is refused by name, and nothing is started", || each_system(refused)),
        Test::new("input: in tasks, in both runtimes", || each_system(in_tasks)),
        Test::new("input: in a simulation, in its time", simulated),
        Test::new("one stream: stderr goes where stdout goes, whatever that is", || each_system(one_stream)),
        Test::new("one stream: in order, within limits, in a pipeline, in tasks", || each_system(in_order)),
        Test::new("one stream: in a simulation", simulated_stream),
    ]
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(100);

/// More than any pipe holds.
const MUCH: usize = 3 << 20;

pub(crate) fn much() -> Vec<u8> {
    (0..MUCH).map(|n| (n % 251) as u8).collect()
}

pub(crate) fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn both_ways(system: &System) {
    let before = descriptors();
    let _here = system.enter();
    // It writes more than a pipe holds before it reads the first byte.
    let mut command = sh("head -c 200000 /dev/zero; head -c 200000 /dev/zero >&2; exec tee /dev/stderr");
    for input in [Input::from(much()), Input::reader(Cursor::new(much()))] {
        let output = command.input(input).output().unwrap();
        assert!(output.status.success() && output.stdout.len() == 200_000 + MUCH);
        assert!(output.stdout[200_000..] == *much() && output.stderr == output.stdout);
    }
    let captured = command.input(much()).capture(&Capture::new().limit(1000).timeout(PATIENCE)).unwrap();
    assert_eq!((captured.stdout.total(), captured.is_complete()), (200_000 + MUCH as u64, true));
    let captured = command.output_timeout(PATIENCE).unwrap();
    assert_eq!(captured.into_output().unwrap().stdout.len(), 200_000 + MUCH);
    // The same command again: bytes are there each time, of a reader what is left.
    assert_eq!(command.output().unwrap().stdout.len(), 200_000 + MUCH);
    let mut command = Command::new("cat");
    command.input(Input::reader(Cursor::new("once")));
    assert_eq!([(); 2].map(|()| command.output().unwrap().stdout), [b"once".to_vec(), Vec::new()]);
    assert_eq!(Command::new("cat").input("").output().unwrap().stdout, b"");
    assert_eq!(sh("read a && test \"$a\" = word").input("word\n").status().unwrap().code(), Some(0));
    assert!(sh("exec wc -c >/dev/null").input(much()).status().unwrap().success());
    assert_eq!((descriptors(), children()), (before, vec![]));
}

fn not_all_of_it(system: &System) {
    let _here = system.enter();
    // As in a program that has SIGPIPE as every C program has it.
    steadfast_linux::restore_signal(Signal::PIPE).unwrap();
    for script in ["exit 3", "head -c 5; exit 3", "exec <&-; sleep 0.05; exit 3"] {
        let mut command = sh(script);
        command.input(much());
        assert_eq!(command.status().unwrap().code(), Some(3), "{script}");
        assert_eq!(command.output().unwrap().status.code(), Some(3), "{script}");
        assert_eq!(command.output_timeout(PATIENCE).unwrap().status.unwrap().code(), Some(3), "{script}");
        let output = runtime().block_on(async {
            use steadfast::tokio::AsyncCommand;
            command.output_async().await.unwrap()
        });
        assert_eq!(output.status.code(), Some(3), "{script}");
    }
}

/// Ended here, for it was left behind.
pub(crate) fn end(pid: &[u8]) {
    let pid: Pid = String::from_utf8_lossy(pid).trim().parse().unwrap();
    Process::find(pid).unwrap().kill().unwrap();
    until("the process that was left behind ends", || is_over(pid));
}

fn grandchild(system: &System) {
    let _here = system.enter();
    let mut keeper = sh("sleep 1000 <&0 >/dev/null 2>&1 & echo $! >&2");
    keeper.input(much());
    let output = keeper.output().unwrap();
    assert!(output.status.success());
    end(&output.stderr);
    let captured = keeper.capture(&Capture::new()).unwrap();
    assert!(captured.status.unwrap().success() && captured.is_complete());
    end(&captured.stderr.to_vec());
    let output = runtime().block_on(async {
        use steadfast::tokio::AsyncCommand;
        keeper.output_async().await.unwrap()
    });
    end(&output.stderr);
    let path = std::env::temp_dir().join(format!("steadfast-input-{}-{}", std::process::id(), system.backend_name()));
    let status = sh("sleep 1000 <&0 >/dev/null 2>&1 & echo $! >\"$0\"").arg(&path).input(much()).status().unwrap();
    assert!(status.success());
    end(&std::fs::read(&path).unwrap());
    std::fs::remove_file(path).unwrap();
}

fn in_time(system: &System) {
    let _here = system.enter();
    let captured = sh("echo begun; exec sleep 1000").input(much()).output_timeout(Duration::from_millis(200)).unwrap();
    assert_eq!((captured.timed_out, captured.status.unwrap().signal()), (true, Some(9)));
    // One that closes what it writes to, and goes on without reading.
    let deaf = sh("exec >&- 2>&-; exec sleep 1000").input(much()).output_timeout(Duration::from_millis(50)).unwrap();
    assert_eq!((deaf.timed_out, deaf.status.unwrap().signal()), (true, Some(9)));
    // One that reads for ever. It is killed before its input ends: a part is not the whole.
    let zeros = Input::reader(io::repeat(0));
    let captured = sh("exec cat >/dev/null").input(zeros).output_timeout(Duration::from_millis(50)).unwrap();
    assert_eq!((captured.timed_out, captured.status.unwrap().signal()), (true, Some(9)));
    let over = Capture::new().limit(1000).kill_on_limit(true);
    let captured = sh("exec cat").input(Input::reader(io::repeat(0))).capture(&over).unwrap();
    assert_eq!((captured.over_limit, captured.status.unwrap().signal()), (true, Some(9)));
    let mut first = sh("exec cat >/dev/null");
    first.input(Input::reader(io::repeat(0)));
    let late = Pipeline::new([first, sh("exec cat")]).output_timeout(Duration::from_millis(50)).unwrap();
    assert_eq!((late.timed_out, late.statuses[0].unwrap().signal()), (true, Some(9)));
    assert_eq!(children(), Vec::<String>::new());
}

/// Gives some bytes, and then an error.
pub(crate) struct Fails(pub(crate) &'static [u8]);

impl Read for Fails {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            0 => Err(io::Error::from_raw_os_error(5)),
            read => Ok(read),
        }
    }
}

fn failing_reader(system: &System) {
    use steadfast::tokio::AsyncCommand;
    let _here = system.enter();
    let path = std::env::temp_dir().join(format!("steadfast-whole-{}-{}", std::process::id(), system.backend_name()));
    let mut command = sh("cat >/dev/null; echo whole >\"$0\"");
    command.arg(&path);
    let command = &mut command;
    type Call = dyn Fn(&Command) -> Result<()>;
    let calls: [&Call; 4] = [
        &|command| command.output().map(drop),
        &|command| command.status().map(drop),
        &|command| Pipeline::new([command.clone(), Command::new("cat")]).output().map(drop),
        &|command| runtime().block_on(command.output_async()).map(drop),
    ];
    for call in calls {
        let error = call(command.input(Input::reader(Fails(b"a part")))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "read on the input for a child (Input/output error (os error 5)): Input/output error (os error 5)"
        );
        until("the child is reaped", || children().is_empty());
        assert!(!path.exists());
    }
}

fn refused(system: &System) {
    let before = descriptors();
    let _here = system.enter();
    let with_input = || {
        let mut command = Command::new("cat");
        command.input("x");
        command
    };
    let says = |answer: Result<()>, words: &str| {
        let error = answer.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains(words), "{error}");
    };
    says(with_input().spawn().map(drop), "write to the child's stdin");
    says(system.spawn(&with_input()).map(drop), "write to the child's stdin");
    says(Err(with_input().exec()), "write to the child's stdin");
    says(with_input().stdin(Stdio::null()).output().map(drop), "input and stdin");
    let null = std::fs::File::open("/dev/null").unwrap();
    says(with_input().fd(0, null).output().map(drop), "input and fd 0");
    says(Pipeline::new([Command::new("true"), with_input()]).output().map(drop), "input and command 2");
    says(Pipeline::new([with_input(), Command::new("cat")]).spawn().map(drop), "write to the child's stdin");
    assert_eq!((descriptors(), children()), (before, vec![]));
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn in_tasks(system: &System) {
    let _here = system.enter();
    let mut command = sh("head -c 200000 /dev/zero; head -c 200000 /dev/zero >&2; exec tee /dev/stderr");
    for input in [Input::from(much()), Input::reader(Cursor::new(much()))] {
        command.input(input.clone());
        let output = runtime().block_on(steadfast::tokio::AsyncCommand::output_async(&command)).unwrap();
        assert!(output.stdout[200_000..] == *much() && output.stderr == output.stdout);
        command.input(much());
        let output = async_io::block_on(steadfast::async_io::AsyncCommand::output_async(&command)).unwrap();
        assert!(output.stdout[200_000..] == *much() && output.stderr == output.stdout);
    }
    runtime().block_on(async {
        use steadfast::tokio::AsyncCommand;
        assert_eq!(sh("read a && exit $a").input("7\n").status_async().await.unwrap().code(), Some(7));
        let late = sh("exec sleep 1000").input(much()).output_timeout_async(Duration::from_millis(50)).await.unwrap();
        assert_eq!((late.timed_out, late.status.unwrap().signal()), (true, Some(9)));
        // Other tasks have their turn beside one that feeds for ever.
        let feeds = sh("exec cat >/dev/null")
            .input(Input::reader(io::repeat(0)))
            .capture_async(Capture::new().timeout(Duration::from_millis(50)).kill_on_timeout(true));
        let (fed, ticks) = tokio::join!(feeds, async {
            let mut ticks = 0;
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                ticks += 1;
            }
            ticks
        });
        let fed = fed.unwrap();
        assert_eq!((fed.timed_out, fed.status.unwrap().signal(), ticks), (true, Some(9), 5));
        let over = Capture::new().limit(1000).kill_on_limit(true);
        let over = sh("exec cat").input(Input::reader(io::repeat(0))).capture_async(over).await.unwrap();
        assert_eq!((over.over_limit, over.status.unwrap().signal()), (true, Some(9)));
        // A call that is given up closes the stdin, and nothing is left.
        let mut given_up = sh("exec cat >/dev/null");
        given_up.kill_on_drop(true).input(Input::reader(io::repeat(0)));
        assert!(tokio::time::timeout(Duration::from_millis(5), given_up.output_async()).await.is_err());
    });
    until("all are reaped", || children().is_empty());
}

fn simulated() {
    let second = Duration::from_secs(1);
    let sort = Script::new().sleep(second).read_stdin_to_end().write_stdout("sorted").exit(0);
    let talker = Script::new().write_stdout(vec![b'x'; 200_000]).read_stdin_to_end().write_stderr("end").exit(4);
    let deaf = Script::new().sleep(second * 5).exit(5);
    let closes = Script::new().close_stdin().sleep(second).exit(6);
    let kernel = Kernel::builder()
        .program("sort", sort)
        .program("talker", talker)
        .program("deaf", deaf)
        .program("closes", closes)
        .program("greets", Script::new().on_stdin_line(|line| Script::new().write_stdout(format!("hello {}", line.unwrap()))))
        .build();
    let _here = kernel.system().enter();
    let run = |program: &str, input: Vec<u8>| {
        let mut command = Command::new(program);
        command.input(input);
        command
    };
    assert_eq!(run("greets", b"you\n".to_vec()).output().unwrap().stdout, b"hello you");
    assert_eq!(run("sort", much()).output().unwrap().stdout, b"sorted");
    assert_eq!(kernel.now(), second);
    let output = run("talker", much()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len(), output.stderr), (Some(4), 200_000, b"end".to_vec()));
    assert_eq!(run("talker", much()).status().unwrap().code(), Some(4));
    for (program, code, time) in [("deaf", 5, 5), ("closes", 6, 1)] {
        for _ in 0..2 {
            let before = kernel.now();
            assert_eq!(run(program, much()).output().unwrap().status.code(), Some(code));
            assert_eq!(kernel.now() - before, second * time);
        }
        let before = kernel.now();
        assert_eq!(run(program, much()).status().unwrap().code(), Some(code));
        assert_eq!(kernel.now() - before, second * time);
    }
    let before = kernel.now();
    let late = run("deaf", much()).output_timeout(second).unwrap();
    assert_eq!((late.timed_out, late.status.unwrap().signal(), kernel.now() - before), (true, Some(9), second));
    let error = run("sort", Vec::new()).input(Input::reader(Fails(b"a part"))).output().unwrap_err();
    assert_eq!(error.errno(), Some(steadfast::Errno::IO));
    drop(_here);
    // In a task, whose time stands still while there is something to do.
    let paused = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let kernel = kernel_of_two();
    let _here = kernel.system().enter();
    paused.block_on(async {
        use steadfast::tokio::AsyncCommand;
        let output = run("slow", much()).output_async().await.unwrap();
        assert_eq!((output.stdout, kernel.now()), (b"read".to_vec(), second));
        assert_eq!(run("deaf", much()).output_async().await.unwrap().status.code(), Some(5));
        assert_eq!(run("deaf", much()).status_async().await.unwrap().code(), Some(5));
        assert_eq!(kernel.now(), second * 11);
    });
}

fn kernel_of_two() -> steadfast::mock::Kernel {
    let second = Duration::from_secs(1);
    Kernel::builder()
        .program("slow", Script::new().sleep(second).read_stdin_to_end().write_stdout("read"))
        .program("deaf", Script::new().sleep(second * 5).exit(5))
        .build()
}

fn one_stream(system: &System) {
    let before = descriptors();
    let _here = system.enter();
    let null = || std::fs::File::options().write(true).open("/dev/null").unwrap();
    let (_reader, writer) = io::pipe().unwrap();
    let ways: [(&str, Stdio); 6] = [
        ("inherit", Stdio::inherit()),
        ("null", Stdio::null()),
        ("piped", Stdio::piped()),
        ("a file", null().into()),
        ("a pipe", writer.into()),
        ("our stderr", io::stderr().into()),
    ];
    for (way, stdout) in ways {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut command = sh("a=$(readlink /proc/$$/fd/1 /proc/$$/fd/2); echo \"$a\" >&9; true");
        command.stdout(stdout).stderr(Stdio::same_as_stdout()).fd(9, writer);
        let child = command.spawn().unwrap();
        assert!(child.stderr.is_none(), "{way}");
        drop(command);
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        let both: Vec<&str> = said.lines().collect();
        assert!(both.len() == 2 && both[0] == both[1], "{way}: {said}");
        assert!(child.wait().unwrap().success());
    }
    drop(_reader);
    let says = |mut command: Command, words: &str| {
        let error = command.stderr(Stdio::same_as_stdout()).spawn().unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains(words), "{error}");
    };
    let with = |set: &dyn Fn(&mut Command)| {
        let mut command = Command::new("true");
        set(&mut command);
        command
    };
    says(with(&|command| _ = command.stdout(Stdio::same_as_stdout())), "stdout (as stdout)");
    says(with(&|command| _ = command.stdin(Stdio::same_as_stdout())), "stdin (as stdout)");
    says(with(&|command| _ = command.fd(1, null())), "stderr (stdout) and fd 1");
    says(with(&|command| _ = command.fd(2, null())), "stderr (stdout) and fd 2");
    assert_eq!((descriptors(), children()), (before, vec![]));
}

fn in_order(system: &System) {
    let _here = system.enter();
    let mut both = sh("for n in 1 2 3 4 5; do echo $n; echo e$n >&2; done");
    both.stderr(Stdio::same_as_stdout());
    let all = "1\ne1\n2\ne2\n3\ne3\n4\ne4\n5\ne5\n";
    let output = both.output().unwrap();
    assert_eq!((String::from_utf8(output.stdout).unwrap(), output.stderr), (all.into(), vec![]));
    // The command, which lives on, keeps nothing open that the reader would have to wait for.
    let captured = both.capture(&Capture::new().to_the_end().timeout(PATIENCE)).unwrap();
    assert_eq!((captured.stdout.to_string(), captured.is_complete(), captured.timed_out), (all.into(), true, false));
    assert_eq!(both.capture(&Capture::new().limit(4)).unwrap().stdout.to_vec(), b"1\n5\n");
    let lines = Pipeline::new([both.clone(), sh("exec wc -l")]).output().unwrap();
    assert_eq!(lines.stdout.trim_ascii(), b"10");
    let output = runtime().block_on(async {
        use steadfast::tokio::AsyncCommand;
        both.output_async().await.unwrap()
    });
    assert_eq!(output.stdout, all.as_bytes());
    let failed = sh("echo why; exit 1").stderr(Stdio::same_as_stdout()).checked(true).output();
    assert_eq!(text(failed), r#"`"sh" "-c" "echo why; exit 1"`: exit status: 1: why"#);
    let mut last = sh("echo why; exit 1");
    last.stderr(Stdio::same_as_stdout());
    let failed = Pipeline::new([sh("true"), last]).checked(true).capture(&Capture::new());
    assert_eq!(text(failed), r#"`"sh" "-c" "echo why; exit 1"`: exit status: 1: why"#);
}

fn simulated_stream() {
    let both = || Script::new().write_stdout("1").write_stderr("2").sleep(Duration::from_secs(1)).write_stdout("3");
    let late = Script::new().spawn(Script::new().sleep(Duration::from_secs(5)).write_stderr("late")).exit(0);
    let kernel = Kernel::builder().program("both", both()).program("late", late).build();
    let _here = kernel.system().enter();
    let one = |program: &str| {
        let mut command = Command::new(program);
        command.stderr(Stdio::same_as_stdout());
        command
    };
    let output = one("both").output().unwrap();
    assert_eq!((output.stdout, output.stderr), (b"123".to_vec(), vec![]));
    // Who inherits it keeps it open.
    assert_eq!((one("late").output().unwrap().stdout, kernel.now()), (b"late".to_vec(), Duration::from_secs(6)));
    let mut quiet = one("both");
    assert!(quiet.stdout(Stdio::null()).spawn().unwrap().wait().unwrap().success());
    let error = Command::new("both").stdout(Stdio::same_as_stdout()).spawn().unwrap_err();
    assert!(error.to_string().contains("stdout (as stdout)"), "{error}");
}

/// What an error says of a command that had to succeed.
pub(crate) fn text(answer: Result<impl Sized>) -> String {
    let Err(error) = answer else { panic!("it is not checked") };
    assert_eq!(error.kind(), ErrorKind::Unsuccessful, "{error}");
    assert_eq!(io::Error::from(error.clone()).kind(), io::ErrorKind::Other);
    error.to_string()
}
