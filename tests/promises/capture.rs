//! Output that always returns, and pipelines.

use crate::Test;
use crate::errors::each_system;
use crate::leaks::{children, descriptors, is_over, until};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use steadfast::mock::{Kernel, Script, Simulated};
use steadfast::{Capture, Captured, Child, Command, ErrorKind, Pid, Pipeline, Process, Stdio, System};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("capture: a timeout returns what was read so far, and the next call the rest", || each_system(goes_on)),
        Test::new("capture: killed at the timeout, if that is wanted", || each_system(killed)),
        Test::new("capture: a grandchild that keeps the pipes open holds nobody up", || each_system(grandchild)),
        Test::new("capture: what the child itself wrote is read, all of it", || each_system(all_of_it)),
        Test::new("capture: wait_delay reads on, for that long", || each_system(wait_delay)),
        Test::new("capture: a grandchild that never stops writing", || each_system(writes_for_ever)),
        Test::new("capture: 64 MiB on both pipes in constant memory with a limit", constant_memory),
        Test::new("capture: kill_on_limit ends a child that writes too much, and no other", || each_system(over_limit)),
        Test::new("capture: kill_on_limit, in a simulation and in a task", over_limit_elsewhere),
        Test::new("capture: in a simulation, in its time", simulated),
        Test::new("pipeline: statuses of all, output of the last", || each_system(pipeline)),
        Test::new("pipeline: one that cannot be started leaves nothing of the others", || each_system(broken_pipeline)),
        Test::new("pipeline: what contradicts itself is refused by name", || each_system(refused_pipeline)),
    ]
}

const PATIENCE: Duration = Duration::from_secs(100);

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a script writes as `$!` is a process that it leaves behind: ended here.
fn end(pid: &[u8]) {
    let pid: Pid = String::from_utf8_lossy(pid).trim().parse().unwrap();
    Process::find(pid).unwrap().kill().unwrap();
    until("the process that was left behind ends", || is_over(pid));
}

fn goes_on(system: &System) {
    let child = system.spawn(&sh("echo one; echo two >&2; sleep 0.3; echo three")).unwrap();
    let (mut calls, mut in_the_middle) = (0, 0);
    loop {
        let some = child.wait_with_output_timeout(Duration::from_millis(20)).unwrap();
        calls += 1;
        match some.status {
            None => {
                assert!(some.timed_out);
                // Not at the last: stdout is closed some time before the exit is seen.
                in_the_middle += u32::from(!some.stdout.is_complete());
            }
            Some(status) => {
                assert!(status.success() && !some.timed_out && some.stdout.is_complete());
                assert_eq!((some.stdout.to_vec(), some.stderr.to_vec()), (b"one\nthree\n".to_vec(), b"two\n".to_vec()));
                break;
            }
        }
    }
    assert!(calls > 1 && in_the_middle > 0);
    // As often as one asks, the output as well as the status.
    let again = child.wait_with_output_timeout(PATIENCE).unwrap();
    assert_eq!((again.stdout.to_vec(), again.status.unwrap().success()), (b"one\nthree\n".to_vec(), true));
}

/// Captures with a short timeout again and again, until it has read what is wanted.
fn until_read(child: &Child, options: &Capture, enough: impl Fn(&Captured) -> bool) -> Captured {
    loop {
        let some = child.capture(&options.clone().timeout(Duration::from_millis(5))).unwrap();
        if enough(&some) {
            return some;
        }
    }
}

fn killed(system: &System) {
    let child = system.spawn(&sh("echo begun; exec sleep 1000")).unwrap();
    until_read(&child, &Capture::new(), |some| some.stdout.total() == 6);
    let captured = child.capture(&Capture::new().timeout(Duration::ZERO).kill_on_timeout(true)).unwrap();
    assert!(captured.timed_out);
    assert_eq!(captured.status.unwrap().signal(), Some(9));
    assert_eq!(captured.stdout.to_vec(), b"begun\n");

    let _here = system.enter();
    let in_time = Command::new("echo").arg("quick").output_timeout(PATIENCE).unwrap();
    assert_eq!((in_time.timed_out, in_time.into_output().unwrap().stdout), (false, b"quick\n".to_vec()));
    // A timeout of nothing, and one of for ever.
    let late = Command::new("sleep").arg("1000").output_timeout(Duration::ZERO).unwrap();
    // It may run before anybody looks at the time.
    assert!(late.timed_out && late.started == late.status.is_some());
    assert!(Command::new("true").output_timeout(Duration::MAX).unwrap().status.unwrap().success());
}

fn grandchild(system: &System) {
    let _here = system.enter();
    let captured = sh("echo said; sleep 1000 & echo $! >&2").output_timeout(PATIENCE).unwrap();
    assert!(captured.status.unwrap().success() && !captured.timed_out);
    assert_eq!((captured.stdout.to_vec(), captured.stdout.is_complete()), (b"said\n".to_vec(), false));
    end(&captured.stderr.to_vec());
}

fn all_of_it(system: &System) {
    let _here = system.enter();
    // At once after the exit: nobody waits for the others' words.
    let at_once = Capture::new().wait_delay(Duration::ZERO).timeout(PATIENCE);
    for _ in 0..20 {
        // As much as a pipe holds, at the last moment, while somebody else keeps it open.
        let captured = sh("sleep 1000 2>&- & echo $! >&2; exec head -c 65536 /dev/zero").capture(&at_once).unwrap();
        assert_eq!((captured.stdout.total(), captured.stdout.to_vec().len()), (65536, 65536));
        end(&captured.stderr.to_vec());
    }
    // More than is read at once, in a pipe that has been made larger.
    for _ in 0..20 {
        let script = sh("sleep 1000 2>&- & echo $! >&2; exec head -c 3000000 /dev/zero");
        let captured = script.capture(&at_once.clone().limit(1000)).unwrap();
        assert_eq!(captured.stdout.total(), 3_000_000);
        end(&captured.stderr.to_vec());
    }
}

fn wait_delay(system: &System) {
    let _here = system.enter();
    let late = sh("(sleep 0.2; echo late) & echo early");
    let captured = late.capture(&Capture::new().wait_delay(PATIENCE)).unwrap();
    assert_eq!((captured.stdout.to_string(), captured.stdout.is_complete()), ("early\nlate\n".into(), true));
    let captured = late.capture(&Capture::new().to_the_end().timeout(PATIENCE)).unwrap();
    assert_eq!(captured.stdout.to_string(), "early\nlate\n");
    let captured = sh("sleep 1000 & echo $!").capture(&Capture::new().wait_delay(Duration::from_millis(50))).unwrap();
    assert!(captured.status.unwrap().success() && !captured.stdout.is_complete());
    end(&captured.stdout.to_vec());
    // To the end, and that does not come.
    let child = sh("sleep 1000 & echo $!").spawn().unwrap();
    let captured = until_read(&child, &Capture::new().to_the_end(), |some| some.status.is_some());
    assert!(captured.timed_out && !captured.stdout.is_complete());
    end(&captured.stdout.to_vec());
}

fn writes_for_ever(system: &System) {
    let _here = system.enter();
    let captured = sh("yes & echo $! >&2").output_timeout(PATIENCE).unwrap();
    assert!(captured.status.unwrap().success());
    end(&captured.stderr.to_vec());
    let yes = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
    let limit = Capture::new().limit(10);
    until_read(&yes, &limit, |some| some.stdout.total() > 10);
    let captured = yes.capture(&limit.timeout(Duration::ZERO).kill_on_timeout(true)).unwrap();
    assert!(captured.timed_out && captured.status.is_some());
    assert_eq!(captured.stdout.head(), b"y\ny\ny");
    assert_eq!(captured.stdout.tail().len(), 5);
}

fn constant_memory() {
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let both = "head -c 67108864 /dev/zero & exec 1>&2; head -c 67108864 /dev/zero; wait";
    let before = peak();
    let captured = sh(both).capture(&Capture::new().to_the_end().limit(100_000)).unwrap();
    let grown = peak() - before;
    assert_eq!((captured.stdout.total(), captured.stderr.total()), (64 << 20, 64 << 20));
    assert_eq!(captured.stdout.omitted(), (64 << 20) - 100_000);
    assert!(grown < 8 * 1024, "{grown} KiB for 128 MiB");
}

fn simulated() {
    let second = Duration::from_secs(1);
    let slow = Script::new().write_stdout("one").sleep(second * 10).write_stdout("two").write_stderr("err").exit(3);
    let kernel = Kernel::builder().program("slow", slow).build();
    let _here = kernel.system().enter();
    let child = Command::new("slow").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let some = child.wait_with_output_timeout(second).unwrap();
    assert_eq!((some.status, some.stdout.to_vec(), kernel.now()), (None, b"one".to_vec(), second));
    let all = child.wait_with_output_timeout(second * 100).unwrap();
    assert_eq!((all.stdout.to_string(), all.stderr.to_string(), kernel.now()), ("onetwo".into(), "err".into(), second * 10));
    let killed = Command::new("slow").output_timeout(second).unwrap();
    assert_eq!((killed.timed_out, killed.stdout.to_vec(), kernel.now()), (true, b"one".to_vec(), second * 11));
    assert_eq!(Command::new("slow").output().unwrap().stdout, b"onetwo");
    // What a simulated process is to be is noted for the script; what it cannot be given is refused.
    let error = Command::new("slow").fd(5, std::fs::File::open("/dev/null").unwrap()).spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(Command::new("slow").uid(5).setsid(true).spawn().is_ok());
    assert_eq!(Command::new("slow").exec().kind(), ErrorKind::Unsupported);
}

fn words(line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

fn pipeline(system: &System) {
    let before = descriptors();
    let _here = system.enter();
    let output = Pipeline::new([words("seq 1000"), words("grep 7"), words("wc -l")]).output().unwrap();
    assert_eq!((output.stdout.trim_ascii(), output.success()), (&b"271"[..], true));
    // The first one is told by SIGPIPE that nobody reads any more; the middle one's status is its own.
    let codes = |pipeline: &Pipeline| -> Vec<_> {
        pipeline.status().unwrap().iter().map(|status| status.code().unwrap_or_else(|| -status.signal().unwrap())).collect()
    };
    let null = || std::fs::File::options().write(true).open("/dev/null").unwrap();
    let mut head = words("head -n 1");
    head.stdout(null());
    assert_eq!(codes(&Pipeline::new([words("yes")]).pipe(head)), [-13, 0]);
    let mut quiet = words("cat");
    quiet.stdout(null());
    assert_eq!(codes(&Pipeline::new([words("true"), words("false"), quiet.clone()])), [0, 1, 0]);

    let (mut first, mut last) = (words("cat"), words("cat"));
    first.stdin(Stdio::piped());
    last.stdout(Stdio::piped());
    let running = Pipeline::new([first, words("cat"), last]);
    assert_eq!(format!("{running:?}"), "\"cat\" | \"cat\" | \"cat\"");
    let mut running = running.spawn().unwrap();
    use std::io::{Read, Write};
    running.children_mut()[0].stdin.take().unwrap().write_all(b"through all").unwrap();
    let mut text = String::new();
    running.children_mut()[2].stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "through all");
    assert_eq!(running.wait_timeout(PATIENCE).unwrap().unwrap().len(), 3);

    let forever = Pipeline::new([words("sleep 1000"), words("sleep 1000")]).spawn().unwrap();
    assert_eq!(forever.wait_timeout(Duration::ZERO).unwrap(), None);
    forever.kill().unwrap();
    assert!(forever.wait().unwrap().iter().all(|status| !status.success()));
    forever.kill().unwrap();
    drop((running, forever, quiet));
    assert_eq!(descriptors(), before);
    assert_eq!(children(), Vec::<String>::new());
}

fn broken_pipeline(system: &System) {
    let before = descriptors();
    let _here = system.enter();
    let error = Pipeline::new([words("sleep 1000"), words("sleep 1000"), words("/no/such")]).spawn().unwrap_err();
    assert_eq!(error.to_string(), "spawn `/no/such`: exec `/no/such`: No such file or directory (os error 2)");
    assert_eq!(descriptors(), before);
    assert_eq!(children(), Vec::<String>::new());
}

fn refused_pipeline(system: &System) {
    let _here = system.enter();
    let error = Pipeline::new([]).spawn().unwrap_err();
    assert!(error.to_string().contains("without commands"), "{error}");
    let mut second = words("cat");
    second.stdin(Stdio::null());
    let error = Pipeline::new([words("true"), second]).spawn().unwrap_err();
    assert!(error.to_string().contains("stdin and command 2"), "{error}");
    let mut first = words("true");
    first.stdout(Stdio::null());
    let error = Pipeline::new([first, words("cat")]).output().unwrap_err();
    assert!(error.to_string().contains("stdout and command 1"), "{error}");
}

fn ended_by_the_limit(captured: &Captured, limit: usize) {
    assert_eq!(captured.status.unwrap().signal(), Some(9), "{captured:?}");
    assert!(captured.over_limit && !captured.timed_out && !captured.is_complete(), "{captured:?}");
    let kept = captured.stdout.head().len() + captured.stdout.tail().len();
    assert!(kept == limit && captured.stdout.total() > limit as u64, "{captured:?}");
}

fn over_limit(system: &System) {
    let capture = |script: &str, options: &Capture| system.spawn(&sh(script)).unwrap().capture(options).unwrap();
    let options = Capture::new().limit(1000).kill_on_limit(true);
    for options in [options.clone(), options.clone().to_the_end(), options.clone().timeout(PATIENCE).wait_delay(Duration::ZERO)] {
        ended_by_the_limit(&capture("exec yes", &options), 1000);
        let enough = capture("head -c 1000 /dev/zero; head -c 1000 /dev/zero >&2", &options);
        assert!(enough.status.unwrap().success() && enough.is_complete() && !enough.over_limit, "{enough:?}");
        let stderr = capture("exec yes >&2", &options);
        assert!(stderr.over_limit && stderr.stderr.omitted() > 0, "{stderr:?}");
    }
    // Without a limit there is none that it could be over.
    assert!(!capture("head -c 5000 /dev/zero", &Capture::new().kill_on_limit(true)).over_limit);
    assert_eq!(children(), Vec::<String>::new());
}

fn over_limit_elsewhere() {
    use steadfast::tokio::AsyncCommand;
    let options = Capture::new().limit(100).kill_on_limit(true);
    let yes = Script::new().loop_forever(Script::new().write_stdout("yes\n").sleep(Duration::from_millis(1)));
    let kernel = Kernel::builder().program("yes", yes).build();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    {
        let _here = kernel.system().enter();
        ended_by_the_limit(&Command::new("yes").capture(&options).unwrap(), 100);
        let captured = runtime().block_on(Command::new("yes").capture_async(options.clone())).unwrap();
        ended_by_the_limit(&captured, 100);
    }
    each_system(|system| {
        let _here = system.enter();
        let captured = runtime().block_on(Command::new("yes").capture_async(options.clone())).unwrap();
        ended_by_the_limit(&captured, 100);
    });
}
