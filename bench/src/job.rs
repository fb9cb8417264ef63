//! `cargo xtask bench job`: what it takes to start a process in a job, to have a job at all, and to kill a large one.
//!
//! The limit of a spawn is the plain one that `bench spawn` has; of a job's life and of a kill, the same calls with nothing around them.

use crate::program::Noop;
use crate::rows::{self, Row, measure, rows};
use crate::subject::Subject;
use crate::{Format, Result, cell};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steadfast::{Child, Command, Containment, Job, System};
use xtask::cgroups;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// How many rounds of each subject, at the most
    #[arg(long, default_value_t = 1000, value_name = "N")]
    rounds: usize,
}

/// Between two spawns that are some time apart.
const APART: Duration = Duration::from_millis(20);
/// How many are killed at once.
const MANY: usize = 1000;

pub(crate) fn run(args: &Args) -> Result<()> {
    let (noop, stays) = (Noop::make()?, Noop::that_stays()?);
    let mut rows = Vec::new();
    eprintln!("spawn_in");
    rows.extend(measure("spawn_in", &spawns(&noop.path)?, args.rounds, None)?);
    eprintln!("spaced_spawn_in");
    rows.extend(measure("spaced_spawn_in", &spawns(&noop.path)?, args.rounds.min(100), Some(APART))?);
    if containments()?.contains(&Containment::Cgroup) {
        eprintln!("life");
        rows.extend(measure("life", &lives()?, args.rounds, None)?);
        eprintln!("kill_1000");
        rows.extend(kills(&stays.path, args.rounds.min(7))?);
    } else {
        // Their limits are a cgroup's.
        eprintln!("skipped: life, kill_1000: because no cgroup can be made here");
    }
    rows::print("job", args.format, &rows);
    Ok(())
}

/// The containments that can be had here.
fn containments() -> Result<Vec<Containment>> {
    Ok(Job::available()?.into_iter().filter(|(_, obstacle)| obstacle.is_none()).map(|(containment, _)| containment).collect())
}

fn name(containment: Containment) -> &'static str {
    match containment {
        Containment::Cgroup => "steadfast, cgroup",
        Containment::Namespace => "steadfast, namespace",
        Containment::Group => "steadfast, group",
        _ => "steadfast, another",
    }
}

/// A spawn and its wait: plain, and in a job that stays.
fn spawns(path: &Path) -> Result<Vec<Subject<'_>>> {
    let program = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut subjects = vec![Subject {
        name: "limit",
        run: Box::new(move || {
            steadfast_linux::bare::spawn_and_wait(&program, None)?;
            Ok(())
        }),
    }];
    let plain = Command::new(path);
    subjects.push(Subject {
        name: "steadfast, no job",
        run: Box::new(move || {
            plain.status()?;
            Ok(())
        }),
    });
    for containment in containments()? {
        let job = Job::builder().containment(containment).build()?;
        let mut command = Command::new(path);
        command.in_job(&job);
        let run = move || {
            // The job lives as long as the subject.
            let _job = &job;
            command.status()?;
            Ok(())
        };
        subjects.push(Subject { name: name(containment), run: Box::new(run) });
    }
    Ok(subjects)
}

/// A job that is made and dropped, with nothing in it.
fn lives<'a>() -> Result<Vec<Subject<'a>>> {
    let mut subjects = Vec::new();
    for containment in containments()? {
        let run = move || {
            drop(Job::builder().containment(containment).build()?);
            Ok(())
        };
        subjects.push(Subject { name: name(containment), run: Box::new(run) });
    }
    let place = place()?;
    let limit = move || {
        let dir = place.join("bench-limit");
        fs::create_dir(&dir)?;
        let opened = (File::open(&dir)?, File::open(dir.join("cgroup.events"))?);
        drop(opened);
        Ok(fs::remove_dir(&dir)?)
    };
    subjects.insert(0, Subject { name: "limit", run: Box::new(limit) });
    Ok(subjects)
}

/// Where the cgroups of this process's jobs are made.
fn place() -> Result<PathBuf> {
    let job = Job::builder().containment(Containment::Cgroup).build()?;
    let child = Command::new("sleep").arg("1000").spawn_in(&job)?;
    let leaf = cgroups::of(child.pid()).ok_or("no cgroup of version 2")?;
    job.kill()?;
    child.wait()?;
    Ok(leaf.parent().ok_or("a leaf is in something")?.to_owned())
}

/// From the kill of so many processes to the moment in which nothing lives.
fn kills(path: &Path, rounds: usize) -> Result<Vec<Row>> {
    let place = place()?;
    let command = Command::new(path);
    let many = |command: &Command| -> Result<Vec<Child>> {
        Ok(steadfast::spawn_many(std::iter::repeat_n(command, MANY)).into_iter().collect::<std::result::Result<_, _>>()?)
    };
    raise_limit();
    let mut names = vec!["limit"];
    let mut samples: Vec<Vec<f64>> = vec![Vec::new()];
    for containment in containments()? {
        names.push(name(containment));
        samples.push(Vec::new());
    }
    let system = System::pid_legacy();
    for _ in 0..rounds {
        let dir = place.join("bench-limit");
        fs::create_dir(&dir)?;
        let children = many(command.clone().cgroup(File::open(&dir)?))?;
        let begun = system.now();
        File::options().write(true).open(dir.join("cgroup.kill"))?.write_all(b"1")?;
        while fs::read_to_string(dir.join("cgroup.events"))?.contains("populated 1") {
            std::thread::yield_now();
        }
        samples[0].push((system.now() - begun).as_secs_f64() * 1e6);
        wait_for(&children)?;
        fs::remove_dir(&dir)?;
        for (index, containment) in containments()?.into_iter().enumerate() {
            let job = Job::builder().containment(containment).build()?;
            let children = many(command.clone().in_job(&job))?;
            let begun = system.now();
            job.kill()?;
            job.wait_empty()?;
            samples[index + 1].push((system.now() - begun).as_secs_f64() * 1e6);
            wait_for(&children)?;
        }
    }
    let medians: Vec<f64> = samples.into_iter().map(cell::median).collect();
    Ok(rows("kill_1000", names.into_iter(), &medians))
}

fn wait_for(children: &[Child]) -> Result<()> {
    Ok(children.iter().try_for_each(|child| child.wait().map(drop))?)
}

/// Each child is held by a descriptor.
fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Refused: then the spawn says what to do.
    _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
