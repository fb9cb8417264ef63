//! The live proof's second half: PIDs recycled on purpose, in a namespace of their own. Not for people: `probe` runs it.
//!
//! Two stages, because the first child after `unshare` is process 1 of the new namespace: `recycle-pids` leaves the old one and
//! starts `recycle-pids --init`, which mounts `/proc` and does the rounds.

use crate::namespace;
use nix::sys::signal::kill;
use nix::unistd::Pid as RawPid;
use std::process::ExitCode;
use steadfast::{Child, Command, Error, Pid, System};

/// Recycles PIDs in a namespace of its own, and counts who is hit.
#[derive(clap::Args)]
pub struct Args {
    /// How many PIDs to recycle
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// Be process 1 of the new namespace
    #[arg(long)]
    init: bool,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// PIDs that were handed out again.
    pub recycled: u32,
    /// How often a signal by number would have reached the newcomer.
    pub stranger_hit_by_pid: u32,
    /// How often one through the old handle reached it.
    pub stranger_hit_by_handle: u32,
}

/// Runs the stage that it is told to.
pub fn run(args: &Args) -> ExitCode {
    let counts = if args.init { rounds(args.rounds) } else { leave_namespace(args.rounds) };
    match counts {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Starts it all in processes of their own.
///
/// # Errors
/// Why PIDs cannot be recycled here.
pub fn count(rounds: u32) -> Result<Counts, String> {
    parse(&stage(&["--rounds", &rounds.to_string()])?)
}

fn stage(more: &[&str]) -> Result<String, String> {
    let own = std::env::current_exe().map_err(|error| format!("where am I: {error}"))?;
    let output = Command::new(own).arg("recycle-pids").args(more).output().map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

fn parse(text: &str) -> Result<Counts, String> {
    let numbers: Vec<u32> = text.split(' ').filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [recycled, stranger_hit_by_pid, stranger_hit_by_handle] => {
            Ok(Counts { recycled, stranger_hit_by_pid, stranger_hit_by_handle })
        }
        _ => Err(format!("not three numbers: {text:?}")),
    }
}

fn leave_namespace(rounds: u32) -> Result<String, String> {
    // Before, because the first child in the new namespace must be the one that stays.
    System::detect().map_err(|error| error.to_string())?;
    namespace::unshare_pids()?;
    stage(&["--init", "--rounds", &rounds.to_string()])
}

fn rounds(rounds: u32) -> Result<String, String> {
    namespace::mount_proc()?;
    let mut counts = Counts::default();
    for _ in 0..rounds {
        round(&mut counts).map_err(|error| error.to_string())?;
    }
    let Counts { recycled, stranger_hit_by_pid, stranger_hit_by_handle } = counts;
    Ok(format!("{recycled} {stranger_hit_by_pid} {stranger_hit_by_handle}"))
}

fn sleeper(system: &System) -> Result<Child, Error> {
    system.spawn(Command::new("sleep").arg("1000"))
}

/// A handle to the first process; the first process dies and is reaped; a second one gets its number; whom do signals reach?
fn round(counts: &mut Counts) -> Result<(), Error> {
    let system = System::current()?;
    let first = sleeper(&system)?;
    let pid: Pid = first.pid();
    first.kill()?;
    first.wait()?;
    namespace::set_next_pid(pid.as_raw()).map_err(|error| Error::System {
        call: "write",
        subject: "/proc/sys/kernel/ns_last_pid".into(),
        source: steadfast::Errno::from_raw(error.raw_os_error().unwrap_or(0)),
    })?;
    let second = sleeper(&system)?;
    if second.pid() == pid {
        counts.recycled += 1;
        // Signal 0 asks whether a signal would arrive.
        counts.stranger_hit_by_pid += u32::from(kill(RawPid::from_raw(pid.as_raw()), None).is_ok());
        counts.stranger_hit_by_handle += u32::from(first.kill().is_ok());
    }
    second.kill()?;
    second.wait()?;
    Ok(())
}
