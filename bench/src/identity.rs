//! `cargo xtask bench identity`: what it takes to find a process, to reopen it by its identity, and to look at it.
//!
//! The limit of the first two is pidfd_open(2); of a look, the same files of `/proc`, read and not parsed, by who has opened nothing before.

use crate::program::Noop;
use crate::rows::{self, measure};
use crate::subject::Subject;
use crate::{Format, Result};
use std::hint::black_box;
use steadfast::{Command, Process, System};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// How many rounds of each subject, at the most
    #[arg(long, default_value_t = 2000, value_name = "N")]
    rounds: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let stays = Noop::that_stays()?;
    let child = Command::new(&stays.path).spawn()?;
    let mut rows = Vec::new();
    eprintln!("find");
    rows.extend(measure("find", &finds(&child)?, args.rounds, None)?);
    eprintln!("reopen");
    rows.extend(measure("reopen", &reopens(&child)?, args.rounds, None)?);
    eprintln!("inspect_20_fields");
    rows.extend(measure("inspect_20_fields", &looks(&child), args.rounds, None)?);
    child.kill()?;
    child.wait()?;
    rows::print("identity", args.format, &rows);
    Ok(())
}

fn open(child: &Process) -> Subject<'_> {
    let pid = child.pid();
    let run = move || {
        black_box(steadfast_linux::pidfd_open(pid)?);
        Ok(())
    };
    Subject { name: "limit", run: Box::new(run) }
}

fn systems() -> Result<[(&'static str, System); 2]> {
    Ok([("steadfast, pidfd", System::pidfd()?), ("steadfast, pid-legacy", System::pid_legacy())])
}

fn finds(child: &Process) -> Result<Vec<Subject<'_>>> {
    let mut subjects = vec![open(child)];
    for (name, system) in systems()? {
        let run = move || {
            black_box(system.find(child.pid())?);
            Ok(())
        };
        subjects.push(Subject { name, run: Box::new(run) });
    }
    Ok(subjects)
}

fn reopens(child: &Process) -> Result<Vec<Subject<'_>>> {
    let mut subjects = vec![open(child)];
    for (name, system) in systems()? {
        let identity = child.identity()?;
        let run = move || {
            black_box(system.reopen(&identity));
            Ok(())
        };
        subjects.push(Subject { name, run: Box::new(run) });
    }
    Ok(subjects)
}

/// 13 of `stat`, four of `status`, the arguments, the environment, the file and the directory.
fn looks(child: &Process) -> Vec<Subject<'_>> {
    let pid = child.pid();
    let bare = move || {
        for file in ["stat", "status", "cmdline", "environ"] {
            black_box(std::fs::read(format!("/proc/{pid}/{file}"))?);
        }
        for link in ["exe", "cwd"] {
            black_box(std::fs::read_link(format!("/proc/{pid}/{link}"))?);
        }
        Ok(())
    };
    let ours = move || {
        let look = child.inspect()?;
        black_box((look.facts()?, look.status()?, look.command_line()?, look.environment()?));
        black_box((look.executable_path()?, look.current_dir()?));
        Ok(())
    };
    vec![Subject { name: "limit", run: Box::new(bare) }, Subject { name: "steadfast", run: Box::new(ours) }]
}
