//! The dangers that users of processes do not see, tried on steadfast and its peers; `cargo xtask hazards` runs this.
//!
//! All in a PID namespace of its own, where PIDs can be given away again on demand. Four stages, each a process: the command leaves the
//! namespace, `init` is process 1 of the new one and reaps orphans, `run` goes through the table, and `cell` meets one hazard with one
//! library, for that may hang or panic. What a cell leaves is ended and removed before the next one.
#![forbid(unsafe_code)]

mod bonds;
mod ground;
mod hazard;
mod library;
mod members;
mod other_code;
mod peers;
mod processkit;
mod report;
mod stage;
mod subject;
mod surroundings;
mod terminal;
mod tree;
mod verdict;

use clap::{Parser, Subcommand, ValueEnum};
use ground::Ground;
use hazard::Hazard;
use indicatif::{ProgressBar, ProgressStyle};
use library::Library;
use nix::sys::wait::WaitStatus;
use report::Cell;
use stage::{Stage, Trouble};
use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use subject::Refusal;
use verdict::{PATIENCE, Seen, Verdict};
use xtask::namespace;

/// Tries the dangers that users of processes do not see on steadfast and its peers
#[derive(Parser)]
#[command(name = "cargo xtask hazards")]
struct Args {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// These hazards only
    #[arg(long, value_name = "HAZARD")]
    only: Vec<String>,
    /// Lists the hazards and the libraries
    #[arg(long)]
    list: bool,
    /// Writes the page into this file, and how often each library did what into the README beside its directory
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    write: Option<PathBuf>,
    #[command(subcommand)]
    stage: Option<Step>,
}

#[derive(Clone, Copy, Default, PartialEq, ValueEnum)]
enum Format {
    /// A table
    #[default]
    Text,
    /// One JSON object
    Json,
}

#[derive(Subcommand)]
enum Step {
    #[command(hide = true)]
    Init { only: Vec<String> },
    #[command(hide = true)]
    Run { only: Vec<String> },
    #[command(hide = true)]
    Cell { hazard: String, library: String },
    /// A program that uses a library, until it is killed
    #[command(hide = true)]
    Owner { library: String, program: PathBuf },
    /// A process that leaves its parent
    #[command(hide = true)]
    Leave { how: tree::Leave, program: PathBuf },
    /// One of the other user's processes
    #[command(hide = true)]
    Thief { words: Vec<String> },
}

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.stage {
        None if args.list => list(),
        None => all(&args),
        Some(Step::Init { only }) => init(only),
        Some(Step::Run { only }) => run(only),
        Some(Step::Cell { hazard, library }) => cell(hazard, library),
        Some(Step::Owner { library, program }) => {
            library_of(library).and_then(|library| tree::owner(&library, program).map_err(said))
        }
        Some(Step::Leave { how, program }) => tree::leave(*how, program).map_err(said),
        Some(Step::Thief { words }) => {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            steadfast_tests::robbery::thief(&words).map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hazards: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> Result<ExitCode> {
    for hazard in hazard::ALL {
        println!("{:<24} {}", hazard.id, hazard.name);
    }
    let names: Vec<_> = library::all().iter().map(|library| library.name).collect();
    println!("\nTried on: {}", names.join("; "));
    Ok(ExitCode::SUCCESS)
}

fn chosen(only: &[String]) -> Result<Vec<Hazard>> {
    if let Some(unknown) = only.iter().find(|name| hazard::ALL.iter().all(|hazard| hazard.id != **name)) {
        return Err(format!("there is no hazard {unknown:?}: --list shows them all").into());
    }
    Ok(hazard::ALL.into_iter().filter(|hazard| only.is_empty() || only.iter().any(|name| name == hazard.id)).collect())
}

fn this() -> Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}

fn all(args: &Args) -> Result<ExitCode> {
    chosen(&args.only)?;
    let day = report::today()?;
    // From here on this process can start no more than the one.
    if let Err(reason) = namespace::unshare_pids() {
        eprintln!("skipped: all hazards: because no PID namespace of one's own can be had: {reason}");
        return Ok(ExitCode::SUCCESS);
    }
    let ground = Ground::make();
    let variables = ground.iter().map(Ground::variable);
    let output = this()?.arg("init").args(&args.only).envs(variables).stderr(Stdio::inherit()).output();
    // With process 1 all of its namespace has ended, whatever has come of it.
    ground.as_ref().map_or(Ok(()), Ground::remove)?;
    let output = output?;
    if !output.status.success() {
        return Err(format!("the process 1 of the namespace: {}", output.status).into());
    }
    let cells: Vec<Cell> = serde_json::from_slice(&output.stdout)?;
    match args.format {
        Format::Text => print!("{}", report::text(&cells)),
        Format::Json => println!("{}", report::json(&cells, &day)),
    }
    if let Some(path) = &args.write {
        report::write(&cells, &day, path)?;
    }
    // Ours are safe, or say honestly that they cannot.
    let is_bad =
        |cell: &&Cell| cell.is_ours && matches!(cell.seen.verdict, Verdict::WrongAnswer | Verdict::StrangerHit | Verdict::Robbed);
    let bad: Vec<&Cell> = cells.iter().filter(is_bad).collect();
    for cell in &bad {
        eprintln!("FAILED: {}: {}: {}", cell.library, cell.hazard, cell.seen.note);
    }
    Ok(if bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As process 1 of the new namespace: reaps whoever is left to it.
fn init(only: &[String]) -> Result<ExitCode> {
    namespace::mount_proc()?;
    if !namespace::may_set_next_pid() {
        return Err("PIDs cannot be given away on demand here: /proc/sys/kernel/ns_last_pid may not be written".into());
    }
    let runner = this()?.arg("run").args(only).spawn()?;
    let ended = namespace::reap_until(runner.id())?;
    // Ctrl-C has ended the command that made it, and not this process.
    Ground::given().as_ref().map_or(Ok(()), Ground::remove)?;
    match ended {
        WaitStatus::Exited(_, 0) => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

fn run(only: &[String]) -> Result<ExitCode> {
    let (hazards, libraries) = (chosen(only)?, library::all());
    let ground = Ground::given();
    ground.as_ref().map_or(Ok(()), Ground::enter)?;
    let bar = ProgressBar::new((hazards.len() * libraries.len()) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}, {eta} left: {msg}")?);
    let mut cells = Vec::new();
    for hazard in &hazards {
        for library in &libraries {
            bar.set_message(format!("{}: {}", library.name, hazard.id));
            cells.push(Cell {
                hazard: hazard.id.to_owned(),
                library: library.name.to_owned(),
                is_ours: library.is_ours(),
                seen: meet(hazard, library, ground.as_ref())?,
            });
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    println!("{}", serde_json::to_string(&cells)?);
    Ok(ExitCode::SUCCESS)
}

/// In a process of its own, of which nothing is left.
fn meet(hazard: &Hazard, library: &Library, ground: Option<&Ground>) -> Result<Seen> {
    let own = std::env::current_exe()?;
    let words: [&OsStr; 3] = ["cell".as_ref(), hazard.id.as_ref(), library.name.as_ref()];
    let mark = format!("{}, {}", hazard.id, library.name);
    // Where it is killed, its files are removed here.
    let files = tempfile::tempdir()?;
    let mut command = steadfast::Command::new(own);
    command.args(words).env(members::MARK, &mark).env("TMPDIR", files.path());
    let ended = command.output_timeout(PATIENCE)?;
    members::sweep(&mark).map_err(said)?;
    ground.map_or(Ok(()), Ground::clear)?;
    let stderr = ended.stderr.to_string();
    if ended.timed_out {
        return Ok(Seen::new(Verdict::WrongAnswer, "does not return"));
    }
    match ended.status {
        Some(status) if status.success() => Ok(serde_json::from_slice(&ended.stdout.into_vec())?),
        Some(status) if status.code() == Some(101) => {
            Ok(Seen::new(Verdict::WrongAnswer, format!("panics: {}", message(&stderr))))
        }
        // A panic where nobody can catch it.
        Some(status) if status.signal() == Some(nix::libc::SIGABRT) => {
            Ok(Seen::new(Verdict::WrongAnswer, format!("aborts the program: {}", message(&stderr))))
        }
        status => Err(format!("{} with {}: {status:?}: {stderr}", hazard.id, library.name).into()),
    }
}

/// The first thing that it says, after which thread it was.
fn message(stderr: &str) -> &str {
    stderr.lines().find(|line| !line.is_empty() && !line.starts_with("thread '")).unwrap_or_default()
}

fn said(Trouble(what): Trouble) -> Box<dyn std::error::Error> {
    what.into()
}

fn library_of(name: &str) -> Result<Library> {
    Ok(library::all().into_iter().find(|known| known.name == name).ok_or("no such library")?)
}

fn cell(hazard: &str, library: &str) -> Result<ExitCode> {
    let hazard = hazard::ALL.into_iter().find(|known| known.id == hazard).ok_or("no such hazard")?;
    let library = library_of(library)?;
    let stage = Stage::new().map_err(said)?;
    let seen = match (hazard.meet)(&library, &stage) {
        Ok(seen) => seen,
        Err(Refusal::Stage(what)) => return Err(what.into()),
        Err(Refusal::NotOffered) => Seen::new(Verdict::NotOffered, ""),
        Err(Refusal::Error(error)) => Seen::new(Verdict::Error, error),
    };
    println!("{}", serde_json::to_string(&seen)?);
    Ok(ExitCode::SUCCESS)
}
