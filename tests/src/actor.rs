//! The one child program of all tests: does what an [`Act`] says, plays in a play, or neglects a child.
#![forbid(unsafe_code)]

mod player;

use nix::sys::signal::{SigSet, SigmaskHow, Signal as Named, sigprocmask};
use nix::sys::signalfd::SignalFd;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio, exit};
use steadfast_conformance::{Act, Kin};

fn main() {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match &args[..] {
        [verb, theatre] if verb == "play" => player::play(theatre.as_ref()),
        [verb] if verb == "neglect" => neglect(),
        [verb] if verb == "lead" => lead(),
        [verb, seed, size] if verb == "swarm" || verb == "swarm-apart" => swarm(verb, seed, size),
        [verb, rest @ ..] if verb == "pass-on" => pass_on(rest),
        [verb] if verb == "bomb" => bomb(),
        [verb] if verb == "last-words" => last_words(),
        [verb, path] if verb == "connect" => connect(path),
        [verb, path, words @ ..] if verb == "send" => send(path, words),
        [verb, count] if verb == "values" => values(count),
        [verb] if verb == "securebits" => securebits(),
        _ => {}
    }
    match Act::from_args(&args) {
        Some(Act::Exit(code)) => exit(code.into()),
        Some(Act::Forever) => {
            ready();
            wait_for_ever();
        }
        Some(Act::ExitOn(signal, code)) => {
            let set = block(signal.as_raw());
            ready();
            // Blocked before, it is taken here and nowhere else.
            match set.wait() {
                Ok(_) => exit(code.into()),
                Err(errno) => fail(&format!("sigwait: {errno}")),
            }
        }
        Some(Act::Shrug(signal)) => {
            block(signal.as_raw());
            ready();
            wait_for_ever();
        }
        Some(Act::Beget(kin)) => {
            beget(kin);
            ready();
            wait_for_ever();
        }
        Some(Act::BegetAndExit(kin)) => {
            beget(kin);
            ready();
            exit(0);
        }
        Some(Act::Allocate(mebibytes)) => {
            // Each page is written.
            let memory = vec![1_u8; (mebibytes as usize) << 20];
            std::hint::black_box(&memory);
            ready();
            wait_for_ever();
        }
        Some(Act::Multiply(children)) => {
            multiply(children);
            ready();
            wait_for_ever();
        }
        Some(Act::UntilEof(code)) => {
            ready();
            until_eof();
            exit(code.into());
        }
        None => fail(&format!("the actor does not know how to do {args:?}")),
    }
}

/// Starts a process that is related to this one like that, and returns when it is set up.
#[allow(clippy::zombie_processes, reason = "it lives as long as its input")]
fn beget(kin: Kin) {
    let (args, group): (&[&str], _) = match kin {
        Kin::Child => (&["until-eof", "0"], None),
        Kin::Group => (&["until-eof", "0"], Some(0)),
        Kin::Session => (&["lead"], None),
        Kin::Orphan => (&["beget-and-exit", "child"], None),
        Kin::Daemon => (&["beget-and-exit", "session"], None),
    };
    let started = std::env::current_exe().and_then(|actor| {
        let mut command = Command::new(actor);
        group.map(|group| command.process_group(group));
        command.args(args).stdout(Stdio::piped()).spawn()
    });
    let mut child = started.unwrap_or_else(|error| fail(&format!("spawn: {error}")));
    let mut said = [0; 6];
    match child.stdout.take().map(|mut stdout| stdout.read_exact(&mut said)) {
        Some(Ok(())) => {}
        answer => fail(&format!("a child does not get ready: {answer:?}")),
    }
    if matches!(kin, Kin::Orphan | Kin::Daemon) {
        child.wait().unwrap_or_else(|error| fail(&format!("wait: {error}")));
    }
}

/// Starts as many, or as can be made.
#[allow(clippy::zombie_processes, reason = "they live as long as their input")]
fn multiply(children: u32) {
    let own = std::env::current_exe().unwrap_or_else(|error| fail(&format!("who am I: {error}")));
    for _ in 0..children {
        let Ok(mut child) = Command::new(&own).args(["until-eof", "0"]).stdout(Stdio::piped()).spawn() else { return };
        match child.stdout.take().map(|mut stdout| stdout.read_exact(&mut [0; 6])) {
            Some(Ok(())) => {}
            answer => fail(&format!("a child does not get ready: {answer:?}")),
        }
    }
}

/// One of a swarm of so many processes, which it starts, and which start others: in their group or another, in their session or another, as
/// its children or as orphans. At the end each becomes another program, or waits.
#[allow(clippy::zombie_processes, reason = "whoever has started the swarm ends it")]
fn swarm(verb: &OsString, seed: &OsString, size: &OsString) -> ! {
    let number = |word: &OsString| word.to_str().and_then(|word| word.parse::<u64>().ok()).unwrap_or_else(|| fail("a number"));
    if verb == "swarm-apart" && nix::unistd::setsid().is_err() {
        fail("setsid");
    }
    let mut state = number(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut roll = |sides: u64| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % sides
    };
    let mut left = number(size).saturating_sub(1);
    let own = std::env::current_exe().unwrap_or_else(|error| fail(&format!("who am I: {error}")));
    while left > 0 {
        let share = 1 + roll(left);
        left -= share;
        let verb = if roll(3) == 0 { "swarm-apart" } else { "swarm" };
        let words = [verb.to_owned(), roll(u64::MAX).to_string(), share.to_string()];
        let mut command = Command::new(&own);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if verb == "swarm" && roll(3) == 0 {
            command.process_group(0);
        }
        if roll(3) == 0 {
            command.arg("pass-on");
        }
        // Refused for want of processes, or of this program's file: then it is a smaller swarm.
        drop(command.args(words).spawn());
    }
    if roll(2) == 0 {
        let error = Command::new(&own).arg("forever").stdout(Stdio::null()).exec();
        fail(&format!("exec: {error}"));
    }
    wait_for_ever();
}

/// Starts this and ends: its child is an orphan.
#[allow(clippy::zombie_processes, reason = "it is to be an orphan")]
fn pass_on(words: &[OsString]) -> ! {
    match std::env::current_exe().and_then(|own| Command::new(own).args(words).spawn()) {
        Ok(_) => exit(0),
        Err(error) => fail(&format!("spawn: {error}")),
    }
}

/// Starts itself again and again, as fast as it can.
#[allow(clippy::zombie_processes, reason = "whoever has started it ends it")]
fn bomb() -> ! {
    let own = std::env::current_exe().unwrap_or_else(|error| fail(&format!("who am I: {error}")));
    loop {
        // Refused at the limit of processes.
        if Command::new(&own).arg("bomb").stdin(Stdio::null()).stdout(Stdio::null()).spawn().is_err() {
            std::thread::yield_now();
        }
    }
}

/// Lives in a session of its own until its input ends.
fn lead() -> ! {
    if let Err(errno) = nix::unistd::setsid() {
        fail(&format!("setsid: {errno}"));
    }
    ready();
    until_eof();
    exit(0);
}

/// Told to end by `SIGTERM`, it has something to say first.
fn last_words() -> ! {
    let set = block(Named::SIGTERM as i32);
    ready();
    match set.wait() {
        Ok(_) => say("last words"),
        Err(errno) => fail(&format!("sigwait: {errno}")),
    }
    exit(3);
}

/// Connects to a Unix socket, and keeps that until its input ends.
fn connect(path: &OsString) -> ! {
    let connected = UnixStream::connect(path);
    let _kept = connected.unwrap_or_else(|error| fail(&format!("connect: {error}")));
    ready();
    until_eof();
    exit(7);
}

/// Sends each word to a Unix socket, one at a time, and lives on until its input ends.
fn send(path: &OsString, words: &[OsString]) -> ! {
    let sent = UnixDatagram::unbound()
        .and_then(|socket| words.iter().try_for_each(|word| socket.send_to(word.as_encoded_bytes(), path).map(drop)));
    sent.unwrap_or_else(|error| fail(&format!("send: {error}")));
    ready();
    until_eof();
    exit(7);
}

/// When its input ends, takes so many signals of whatever kind, and says of each its number, its value, how it was sent, and by whom.
fn values(count: &OsString) -> ! {
    let all = SigSet::all();
    let signals =
        all.thread_block().and_then(|()| SignalFd::new(&all)).unwrap_or_else(|errno| fail(&format!("signalfd: {errno}")));
    ready();
    until_eof();
    let count = count.to_str().and_then(|count| count.parse().ok()).unwrap_or_else(|| fail("a number"));
    for _ in 0..count {
        match signals.read_signal() {
            Ok(Some(info)) => say(&format!("{} {} {} {}", info.ssi_signo, info.ssi_int, info.ssi_code, info.ssi_pid)),
            answer => fail(&format!("signalfd: {answer:?}")),
        }
    }
    exit(0);
}

/// Says its securebits, as the kernel numbers them.
fn securebits() -> ! {
    match rustix::thread::capabilities_secure_bits() {
        Ok(bits) => say(&bits.bits().to_string()),
        Err(errno) => fail(&format!("PR_GET_SECUREBITS: {errno}")),
    }
    exit(0);
}

/// Says the PID of a child, and waits for it when stdin ends, not before. A shell may do so at any time.
fn neglect() -> ! {
    let mut child = std::env::current_exe()
        .and_then(|actor| Command::new(actor).arg("forever").stdin(Stdio::null()).stdout(Stdio::null()).spawn())
        .unwrap_or_else(|error| fail(&format!("spawn: {error}")));
    say(&child.id().to_string());
    until_eof();
    match child.wait() {
        Ok(_) => exit(0),
        Err(error) => fail(&format!("wait: {error}")),
    }
}

fn until_eof() {
    if let Err(error) = std::io::stdin().read_to_end(&mut Vec::new()) {
        fail(&format!("stdin: {error}"));
    }
}

fn block(signal: i32) -> SigSet {
    let named = Named::try_from(signal).unwrap_or_else(|_| fail("the actor takes signals with names only"));
    let set: SigSet = named.into();
    if let Err(errno) = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None) {
        fail(&format!("sigprocmask: {errno}"));
    }
    set
}

fn ready() {
    say("ready");
}

fn say(word: &str) {
    // Whoever wanted to know may be gone; there is nobody else to tell.
    if writeln!(std::io::stdout(), "{word}").and_then(|()| std::io::stdout().flush()).is_err() {
        exit(120);
    }
}

fn wait_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

fn fail(what: &str) -> ! {
    eprintln!("actor: {what}");
    exit(121);
}
