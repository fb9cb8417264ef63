//! What a child writes, line by line, as it comes: on threads, in tasks, in a simulation.

use crate::Test;
use crate::errors::each_system;
use crate::input::{PATIENCE, end, much, runtime, sh, text};
use crate::leaks::{children, descriptors, until};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use steadfast::mock::{Kernel, Script, Simulated};
use steadfast::tokio::AsyncCommand;
use steadfast::{Capture, Command, Error, ErrorKind, Line, LinesEnd, OutputStream, Result, Stdio, System};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("lines: of both streams, in order, with the last that has no end", || each_system(of_both)),
        Test::new("lines: as they come, before the child goes on", || each_system(as_they_come)),
        Test::new("lines: limits of time, of all, and of each", || each_system(limits)),
        Test::new("lines: a grandchild that keeps the pipes open holds nobody up", || each_system(grandchild)),
        Test::new("lines: with an input, and of a command that must succeed", || each_system(input_and_success)),
        Test::new("lines: dropped before the end, nothing is left", || each_system(dropped)),
        Test::new("lines: a future that is given up loses none", || each_system(given_up)),
        Test::new("read_timeout: what is there, nothing in time, the end", || each_system(read_timeout)),
        Test::new("take_stdin: from a child that others wait for", || each_system(take_stdin)),
        Test::new("lines: in a simulation, in its time", simulated),
    ]
}

/// All lines and the end, on a thread and in a task: the same.
fn both_ways(command: &Command, options: &Capture) -> Vec<(Vec<Line>, LinesEnd)> {
    in_time(command, options).unwrap()
}

/// As [`both_ways`], if its time is long enough for the start.
fn in_time(command: &Command, options: &Capture) -> Result<Vec<(Vec<Line>, LinesEnd)>> {
    let mut lines = command.lines(options)?;
    let on_a_thread: Vec<Line> = lines.by_ref().collect::<Result<_>>().unwrap();
    let on_a_thread = (on_a_thread, lines.finish().unwrap());
    let in_a_task = runtime().block_on(async {
        let mut lines = command.lines_async(options.clone()).await?;
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line.unwrap());
        }
        assert!(lines.next().await.is_none());
        Ok::<_, Error>((all, lines.finish().await.unwrap()))
    })?;
    let in_another = async_io::block_on(async {
        use steadfast::async_io::AsyncCommand;
        let mut lines = AsyncCommand::lines_async(command, options.clone()).await?;
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line.unwrap());
        }
        Ok::<_, Error>((all, lines.finish().await.unwrap()))
    })?;
    Ok(vec![on_a_thread, in_a_task, in_another])
}

/// What is open after each use: what the reactors keep, and nothing of a child or a runtime that is just being closed in the background.
fn kept_by_reactors() -> std::collections::BTreeSet<String> {
    let is_pidfd = |name: &String| {
        let link = std::fs::read_link(format!("/proc/self/fd/{name}")).unwrap_or_default();
        link.to_string_lossy().contains("pidfd")
    };
    let after_use = || {
        both_ways(&sh("true"), &Capture::new());
        until("the last pidfd is closed", || !descriptors().iter().any(is_pidfd));
        descriptors()
    };
    let first = after_use();
    (0..3).fold(first, |kept, _| &kept & &after_use())
}

/// Of one stream.
fn of(lines: &[Line], stream: OutputStream) -> Vec<String> {
    lines.iter().filter(|line| line.stream == stream).map(Line::to_string).collect()
}

fn of_both(system: &System) {
    let _here = system.enter();
    let before = kept_by_reactors();
    let command = sh("for n in 1 2 3; do echo o$n; echo e$n >&2; done; printf 'no end'; exit 4");
    for (lines, end) in both_ways(&command, &Capture::new()) {
        assert_eq!(of(&lines, OutputStream::Stdout), ["o1", "o2", "o3", "no end"]);
        assert_eq!(of(&lines, OutputStream::Stderr), ["e1", "e2", "e3"]);
        assert!(lines.iter().all(|line| line.is_complete == (line.text() != "no end") && line.omitted == 0));
        assert_eq!((end.status.unwrap().code(), end.timed_out, end.over_limit), (Some(4), false, false));
    }
    // More than a pipe holds, and much at once.
    for (lines, end) in both_ways(&sh("seq 20000; seq 3 >&2"), &Capture::new()) {
        let numbers = of(&lines, OutputStream::Stdout);
        assert!(numbers.len() == 20_000 && numbers.iter().enumerate().all(|(index, line)| *line == (index + 1).to_string()));
        assert!(of(&lines, OutputStream::Stderr).len() == 3 && end.status.unwrap().success());
    }
    let mut one = sh("for n in 1 2 3; do echo o$n; echo e$n >&2; done");
    one.stderr(Stdio::same_as_stdout());
    for (lines, _) in both_ways(&one, &Capture::new()) {
        assert_eq!(of(&lines, OutputStream::Stdout), ["o1", "e1", "o2", "e2", "o3", "e3"]);
    }
    for (lines, end) in both_ways(&sh("exit 5"), &Capture::new().to_the_end()) {
        assert!(lines.is_empty() && end.status.unwrap().code() == Some(5));
    }
    assert!(Command::new("/no/such").lines(&Capture::new()).is_err());
    until("nothing is left", || children().is_empty() && descriptors() == before);
}

fn as_they_come(system: &System) {
    let _here = system.enter();
    let asks = || {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = sh("echo one; read x <&3; echo $x; printf part; read y <&3; echo $y");
        command.fd(3, reader);
        (command, writer)
    };
    let (command, mut writer) = asks();
    let mut lines = command.lines(&Capture::new()).unwrap();
    let mut next = || lines.next().unwrap().unwrap().to_string();
    assert_eq!(next(), "one");
    writer.write_all(b"two\n").unwrap();
    assert_eq!(next(), "two");
    writer.write_all(b"s\n").unwrap();
    assert_eq!(next(), "parts");
    assert!(lines.next().is_none() && lines.process().status().unwrap().success());
    let (command, mut writer) = asks();
    runtime().block_on(async {
        let mut lines = command.lines_async(Capture::new()).await.unwrap();
        for (line, answer) in [("one", "two\n"), ("two", "s\n"), ("parts", "")] {
            assert_eq!(lines.next().await.unwrap().unwrap().to_string(), line);
            writer.write_all(answer.as_bytes()).unwrap();
        }
        assert!(lines.finish().await.unwrap().status.unwrap().success());
    });
}

fn limits(system: &System) {
    let _here = system.enter();
    // However long it takes to begin: what it said is there, cut off or not.
    let mut time = Duration::from_millis(20);
    let slow = sh("echo begun; printf 'half a'; exec sleep 1000");
    loop {
        let ends = in_time(&slow, &Capture::new().timeout(time).kill_on_timeout(true)).unwrap_or_default();
        assert!(ends.iter().all(|(_, end)| end.timed_out && end.status.unwrap().signal() == Some(9)));
        if ends.len() == 3 && ends.iter().all(|(lines, _)| lines.len() == 2) {
            for (lines, _) in ends {
                assert_eq!((lines[0].to_string(), lines[0].is_complete), ("begun".into(), true));
                assert_eq!((lines[1].to_string(), lines[1].is_complete), ("half a".into(), false));
            }
            break;
        }
        time *= 2;
    }
    // It may run before anybody looks at the time, and then it is killed as one that runs.
    match in_time(&sh("exec sleep 1000"), &Capture::new().timeout(Duration::ZERO).kill_on_timeout(true)) {
        Err(late) => assert_eq!(late.kind(), ErrorKind::SpawnTimedOut),
        Ok(ends) => assert!(ends.iter().all(|(_, end)| end.timed_out)),
    }
    loop {
        let ends = in_time(&sh("exec sleep 0.3"), &Capture::new().timeout(time)).unwrap_or_default();
        // With enough time for the start, and not for the rest.
        if !ends.is_empty() && ends.iter().all(|(_, end)| end.timed_out) {
            assert!(ends.iter().all(|(lines, end)| lines.is_empty() && end.status.is_none()));
            break;
        }
        time = Duration::from_millis(fastrand::u64(10..250));
    }
    for (lines, end) in both_ways(&Command::new("yes"), &Capture::new().limit(10_000).kill_on_limit(true)) {
        assert!(lines.len() >= 5000 && end.over_limit && end.status.unwrap().signal() == Some(9));
    }
    for (lines, end) in both_ways(&sh("head -c 3000000 /dev/zero; echo; echo short"), &Capture::new().line_limit(100)) {
        assert_eq!((lines[0].bytes.len(), lines[0].omitted, lines[0].is_complete), (100, 3_000_000 - 100, true));
        assert_eq!((lines[1].to_string(), lines.len(), end.over_limit), ("short".into(), 2, false));
    }
    until("all are reaped", || children().is_empty());
}

fn grandchild(system: &System) {
    let _here = system.enter();
    let keeper = sh("echo said; sleep 1000 & echo $! >&2");
    for (lines, ended) in both_ways(&keeper, &Capture::new()) {
        assert!(of(&lines, OutputStream::Stdout) == ["said"] && ended.status.unwrap().success() && !ended.timed_out);
        end(of(&lines, OutputStream::Stderr)[0].as_bytes());
    }
}

fn input_and_success(system: &System) {
    let _here = system.enter();
    let mut command = sh("exec od -An -v -tu1 -w1");
    command.input(much());
    let mut sum = 0;
    for line in command.lines(&Capture::new().timeout(PATIENCE)).unwrap() {
        sum += line.unwrap().text().trim().parse::<u64>().unwrap();
    }
    assert_eq!(sum, much().iter().map(|byte| u64::from(*byte)).sum::<u64>());
    for (lines, _) in both_ways(sh("exec sort").input("b\na\n"), &Capture::new()) {
        assert_eq!(of(&lines, OutputStream::Stdout), ["a", "b"]);
    }
    let mut fails = sh("echo out; echo why >&2; exit 3");
    fails.checked(true);
    let words = r#"`"sh" "-c" "echo out; echo why >&2; exit 3"`: exit status: 3"#;
    assert_eq!(text(fails.lines(&Capture::new()).unwrap().finish()), format!("{words}: why"));
    let in_a_task = runtime().block_on(async { fails.lines_async(Capture::new()).await.unwrap().finish().await });
    assert_eq!(text(in_a_task), format!("{words}: why"));
    assert_eq!(
        text(fails.stderr(Stdio::same_as_stdout()).lines(&Capture::new()).unwrap().finish()),
        format!("{words}:\nout\nwhy")
    );
    let late = Capture::new().timeout(Duration::from_millis(20)).kill_on_timeout(true);
    let late = sh("exec sleep 1000").checked(true).lines(&late).unwrap().finish();
    assert_eq!(text(late), r#"`"sh" "-c" "exec sleep 1000"`: signal: 9 (SIGKILL): its time was up"#);
}

fn dropped(system: &System) {
    let _here = system.enter();
    let before = kept_by_reactors();
    let mut yes = Command::new("yes").lines(&Capture::new()).unwrap();
    assert_eq!(yes.next().unwrap().unwrap().to_string(), "y");
    let process = yes.process().clone();
    drop(yes);
    assert_eq!(process.wait().unwrap().signal(), Some(13));
    let forever = Command::new("sleep").arg("1000").kill_on_drop(true).lines(&Capture::new()).unwrap();
    let process = forever.process().clone();
    drop(forever);
    assert_eq!(process.wait().unwrap().signal(), Some(9));
    runtime().block_on(async {
        let lines = Command::new("sleep").arg("1000").kill_on_drop(true).lines_async(Capture::new()).await.unwrap();
        let process = lines.process().clone();
        drop(lines);
        assert_eq!(process.wait().unwrap().signal(), Some(9));
    });
    drop(process);
    until("nothing is left", || children().is_empty() && descriptors() == before);
}

fn given_up(system: &System) {
    let _here = system.enter();
    runtime().block_on(async {
        let command = sh("for n in $(seq 300); do echo $n; echo $n >&2; test $((n % 30)) = 0 && sleep 0.01; done; exit 6");
        let mut lines = command.lines_async(Capture::new()).await.unwrap();
        let (mut seen, mut times) = (Vec::new(), 0);
        loop {
            match tokio::time::timeout(Duration::from_micros(100), lines.next()).await {
                Ok(Some(line)) => seen.push(line.unwrap()),
                Ok(None) => break,
                Err(_) => times += 1,
            }
        }
        assert!(times > 0);
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            assert_eq!(of(&seen, stream), (1..=300).map(|n| n.to_string()).collect::<Vec<_>>());
        }
        assert_eq!(lines.finish().await.unwrap().status.unwrap().code(), Some(6));
    });
}

fn read_timeout(system: &System) {
    let _here = system.enter();
    let mut child =
        sh("echo one; read x; echo two >&2").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let mut buffer = [0; 100];
    assert_eq!(stdout.read_timeout(&mut buffer, PATIENCE).unwrap(), Some(4));
    for time in [Duration::ZERO, Duration::from_millis(3)] {
        assert_eq!(stdout.read_timeout(&mut buffer, time).unwrap(), None);
        assert_eq!(stderr.read_timeout(&mut buffer, time).unwrap(), None);
    }
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(stderr.read_timeout(&mut buffer, Duration::MAX).unwrap(), Some(4));
    assert_eq!([stdout].map(|stdout| stdout.read_timeout(&mut buffer, PATIENCE).unwrap()), [Some(0)]);
    assert!(child.wait().unwrap().success());
}

fn take_stdin(system: &System) {
    let _here = system.enter();
    let child = sh("read x; exit $x").stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.take_stdin().unwrap();
    assert!(child.take_stdin().is_none());
    std::thread::scope(|scope| {
        // A wait does not close what was taken.
        let waiter = scope.spawn(|| child.wait().unwrap());
        assert_eq!(child.wait_timeout(Duration::from_millis(5)).unwrap(), None);
        stdin.write_all(b"7\n").unwrap();
        assert_eq!(waiter.join().unwrap().code(), Some(7));
    });
    assert!(sh("exit 0").spawn().unwrap().take_stdin().is_none());
}

fn simulated() {
    let second = Duration::from_secs(1);
    let build =
        Script::new().write_stdout("one\nt").sleep(second).write_stderr("oh\n").sleep(second).write_stdout("wo\nlast").exit(3);
    let kernel = || {
        let forever = Script::new().write_stdout("part").run_forever();
        Kernel::builder().program("build", build.clone()).program("forever", forever).build()
    };
    let said = |line: Line| (line.stream, line.to_string());
    let (out, err) = (OutputStream::Stdout, OutputStream::Stderr);
    let expected = [(out, "one", 0), (err, "oh", 1), (out, "two", 2), (out, "last", 2)];
    let this = kernel();
    {
        let _here = this.system().enter();
        let mut lines = Command::new("build").lines(&Capture::new()).unwrap();
        for (stream, line, time) in expected {
            assert_eq!(said(lines.next().unwrap().unwrap()), (stream, line.into()));
            assert_eq!(this.now(), second * time);
        }
        assert_eq!(lines.finish().unwrap().status.unwrap().code(), Some(3));
        let mut lines = Command::new("forever").lines(&Capture::new().timeout(second * 5).kill_on_timeout(true)).unwrap();
        let line = lines.next().unwrap().unwrap();
        assert_eq!((line.to_string(), line.is_complete, this.now()), ("part".into(), false, second * 7));
        let end = lines.finish().unwrap();
        assert_eq!((end.timed_out, end.status.unwrap().signal()), (true, Some(9)));
    }
    let this = kernel();
    {
        // By the process's clock, whatever is current.
        let child = this.system().spawn(Command::new("build").stdout(Stdio::piped()).stderr(Stdio::piped())).unwrap();
        let (stdout, stderr) = (child.stdout.as_ref().unwrap(), child.stderr.as_ref().unwrap());
        assert_eq!(stdout.read_timeout(&mut [0; 9], second).unwrap(), Some(5));
        assert_eq!((stderr.read_timeout(&mut [0; 9], second / 2).unwrap(), this.now()), (None, second / 2));
        assert_eq!((stderr.read_timeout(&mut [0; 9], second).unwrap(), this.now()), (Some(3), second));
        child.wait().unwrap();
    }
    let this = kernel();
    let _here = this.system().enter();
    let paused = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    paused.block_on(async {
        let mut lines = Command::new("build").lines_async(Capture::new()).await.unwrap();
        for (stream, line, time) in expected {
            assert_eq!(said(lines.next().await.unwrap().unwrap()), (stream, line.into()));
            assert_eq!(this.now(), second * time);
        }
        assert_eq!(lines.finish().await.unwrap().status.unwrap().code(), Some(3));
        let late = Capture::new().timeout(second * 5).kill_on_timeout(true);
        let end = Command::new("forever").lines_async(late).await.unwrap().finish().await.unwrap();
        assert_eq!((end.timed_out, this.now()), (true, second * 7));
    });
}
