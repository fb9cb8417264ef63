//! The one child program of all tests: does what an [`Act`] says, or plays in a play.
#![forbid(unsafe_code)]

mod player;

use nix::sys::signal::{SigSet, SigmaskHow, Signal as Named, sigprocmask};
use std::io::{Read, Write};
use std::process::exit;
use steadfast_conformance::Act;

fn main() {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match &args[..] {
        [verb, theatre] if verb == "play" => player::play(theatre.as_ref()),
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
        Some(Act::UntilEof(code)) => {
            ready();
            let mut input = Vec::new();
            match std::io::stdin().read_to_end(&mut input) {
                Ok(_) => exit(code.into()),
                Err(error) => fail(&format!("stdin: {error}")),
            }
        }
        None => fail(&format!("the actor does not know how to do {args:?}")),
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
    // Whoever wanted to know may be gone; there is nobody else to tell.
    if std::io::stdout().write_all(b"ready\n").and_then(|()| std::io::stdout().flush()).is_err() {
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
