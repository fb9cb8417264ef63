//! The live proof of jobs: a tree of processes, some of which leave their group, their session and their parent; and what is left of it when it is
//! killed by its group, and by the strongest containment of this machine.
//!
//! Not for people: `probe` runs it.

use clap::ValueEnum;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{ExitCode, Stdio};
use std::time::Duration;
use steadfast::{Command, Containment, Error, Job, Pid, Process, System};

/// Starts processes as they leave their group, their session and their parent, and waits
#[derive(clap::Args)]
pub struct Args {
    /// Which of them this is
    #[arg(value_enum)]
    part: Part,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    /// Starts the others
    Root,
    /// Stays where it was started
    Leaf,
    /// In a session of its own
    Apart,
    /// Starts a leaf, and ends
    Orphan,
    /// Starts one in a session of its own, and ends
    Daemon,
}

/// How many processes of the tree stay: its root, a child, one in a group and one in a session of its own, an orphan and a daemon.
const STAY: usize = 6;
const VARIABLE: &str = "STEADFAST_TREE";
/// What was killed is gone by then, unless the machine hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was seen.
#[derive(Debug)]
pub struct Proof {
    /// How many processes each tree had.
    pub started: usize,
    /// How many of them lived when their group was killed, and nothing lived in it any more.
    pub left_by_group: usize,
    /// The strongest containment here.
    pub containment: Containment,
    /// How many lived when the job was killed by it.
    pub left_by_job: usize,
}

/// Plays the part that it is told to.
pub fn run(args: &Args) -> ExitCode {
    match play(args.part) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn play(part: Part) -> io::Result<()> {
    let mut stays = true;
    match part {
        Part::Leaf => {}
        Part::Apart => drop(nix::unistd::setsid()?),
        Part::Orphan => {
            start(Part::Leaf, false)?;
            stays = false;
        }
        Part::Daemon => {
            start(Part::Apart, false)?;
            stays = false;
        }
        Part::Root => {
            start(Part::Leaf, false)?;
            start(Part::Leaf, true)?;
            start(Part::Apart, false)?;
            start(Part::Orphan, false)?;
            start(Part::Daemon, false)?;
        }
    }
    println!("ready");
    io::stdout().flush()?;
    // Each of them reads the same input, and nobody writes any.
    if stays { io::stdin().read_to_end(&mut Vec::new()).map(drop) } else { Ok(()) }
}

/// Starts one, and returns when it has come to where it is to be.
#[allow(clippy::zombie_processes, reason = "those that end are orphans' parents, and end with this one")]
fn start(part: Part, own_group: bool) -> io::Result<()> {
    let name = part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let mut command = std::process::Command::new(std::env::current_exe()?);
    if own_group {
        command.process_group(0);
    }
    let mut child = command.args(["grow-tree", &name]).stdout(Stdio::piped()).spawn()?;
    let mut word = [0; 6];
    child.stdout.take().map_or(Ok(()), |mut stdout| stdout.read_exact(&mut word))
}

/// Kills a tree by its group, and another one by the strongest containment.
///
/// # Errors
/// Why no tree could be started or killed here.
pub fn prove(system: &System) -> Result<Proof, String> {
    let group = kill_one(system, &Job::builder().containment(Containment::Group))?;
    let strongest = kill_one(system, &Job::builder())?;
    Ok(Proof { started: STAY, left_by_group: group.1, containment: strongest.0, left_by_job: strongest.1 })
}

/// By what it was held together, and how many have survived.
fn kill_one(system: &System, builder: &steadfast::JobBuilder) -> Result<(Containment, usize), String> {
    let said = |error: Error| error.to_string();
    let job = system.job(builder).map_err(said)?;
    let mark = format!("{}-{}", std::process::id(), job.containment());
    let own = std::env::current_exe().map_err(|error| format!("where am I: {error}"))?;
    let mut command = Command::new(own);
    command.args(["grow-tree", "root"]).env(VARIABLE, &mark).stdin(steadfast::Stdio::piped()).stdout(steadfast::Stdio::piped());
    let mut root = system.spawn(command.in_job(&job)).map_err(said)?;
    let mut word = [0; 6];
    let ready = root.stdout.as_mut().map_or(Ok(()), |stdout| stdout.read_exact(&mut word));
    ready.map_err(|error| format!("the tree does not grow: {error}"))?;
    job.kill().map_err(said)?;
    if !job.wait_empty_timeout(PATIENCE).map_err(said)? {
        return Err(format!("a job by {} is not empty {PATIENCE:?} after it was killed", job.containment()));
    }
    let left = carriers(VARIABLE, &mark);
    // And nobody is left for long.
    for pid in &left {
        drop(Process::find(*pid).and_then(|process| process.kill()));
    }
    root.process().wait().map_err(said)?;
    Ok((job.containment(), left.len()))
}

/// All that live and were started with this variable. A zombie has no environment.
pub fn carriers(variable: &str, value: &str) -> BTreeSet<Pid> {
    let sought = format!("{variable}={value}\0");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<Pid>().ok());
    let has_it = |pid: &Pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(sought.len()).any(|part| part == sought.as_bytes())
    };
    pids.filter(has_it).collect()
}
