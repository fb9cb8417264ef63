//! Hazards of trees: what a child has started, and what is left of it when a library has killed all, or when the library's own process was killed.
//!
//! A library is asked only if it offers to end more than the one process that it has started. One that speaks of that process alone says nothing
//! wrong.

use crate::library::Library;
use crate::members::{self, MARK, Member};
use crate::stage::{Exit, Result, Stage, Trouble};
use crate::subject::{Answer, Bond, Refusal};
use crate::verdict::{Seen, Verdict};
use nix::unistd::setsid;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How a process leaves its parent before it becomes what it is to be.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub(crate) enum Leave {
    /// For a session of its own
    Session,
    /// For that, and its parent ends
    Daemon,
}

/// What was killed has ended by then, and what lives then lives on. A process that was killed takes some milliseconds.
const PATIENCE: Duration = Duration::from_millis(1500);
const LIMIT: Duration = Duration::from_millis(20);
/// The programs of a tree, by what they are to the first of them.
const ALL: [&str; 4] = ["child", "grandchild", "session", "daemon"];

/// What has come of a kill.
struct Outcome {
    answer: Answer<()>,
    /// The roles of those that live on.
    alive: Vec<String>,
    hits_stranger: bool,
    by: String,
    /// What the library tells the program of those that it does not reach.
    told: Option<String>,
}

pub(crate) fn killed_at_the_limit(library: &Library, stage: &Stage) -> Answer<Seen> {
    let mut tree = (library.tree)(&stage.tree()?)?;
    let members = stage.until_up(&ALL)?;
    if tree.wait_timeout(LIMIT)? {
        return Ok(Seen::new(Verdict::WrongAnswer, "has ended, while it runs"));
    }
    let answer = tree.kill();
    let Bond { by, leaks, .. } = tree.bond();
    let alive = members::that_live_on(&members, PATIENCE);
    judge(Outcome { answer, alive, hits_stranger: false, by, told: leaks })
}

pub(crate) fn owner_is_killed(library: &Library, stage: &Stage) -> Answer<Seen> {
    let (members, Bond { by, outlives, .. }) = stage.after_the_owners_death(library.name)?;
    let alive = members::that_live_on(&members, PATIENCE);
    judge(Outcome { answer: Ok(()), alive, hits_stranger: false, by, told: outlives })
}

pub(crate) fn leader_has_ended(library: &Library, stage: &Stage) -> Answer<Seen> {
    let near = kill_without_leader(library, stage, "helper", Number::Taken)?;
    let far = kill_without_leader(library, stage, "session", Number::GivenAway)?;
    judge(Outcome { answer: near.answer.and(far.answer), alive: [near.alive, far.alive].concat(), ..far })
}

/// Whose the number of the first process is when it has ended.
enum Number {
    /// Nobody else's: a helper is in its group.
    Taken,
    /// A stranger's: the helper has left the group.
    GivenAway,
}

fn kill_without_leader(library: &Library, stage: &Stage, helper: &str, number: Number) -> Answer<Outcome> {
    let mut tree = (library.tree)(&stage.helper_that_stays(helper, &number)?)?;
    let members = stage.until_up(&[helper])?;
    if !tree.wait_timeout(PATIENCE)? {
        return Err("its end is not told".into());
    }
    let stranger = match number {
        Number::Taken => None,
        Number::GivenAway => Some(stage.stranger_with(tree.pid(), Exit::Never)?),
    };
    let answer = tree.kill();
    let Bond { by, leaks, .. } = tree.bond();
    let alive = members::that_live_on(&members, PATIENCE);
    let hits_stranger = stranger.map(|stranger| stranger.was_killed()).transpose()?.unwrap_or_default();
    Ok(Outcome { answer, alive, hits_stranger, by, told: leaks })
}

fn judge(outcome: Outcome) -> Answer<Seen> {
    let Outcome { answer, alive, hits_stranger, by, told } = outcome;
    let living = living(&alive);
    if hits_stranger {
        return Ok(Seen::new(Verdict::StrangerHit, format!("who has the group's number now was killed; {living}; by {by}")));
    }
    Ok(match (answer, told) {
        (Err(Refusal::Error(error)), _) => Seen::new(Verdict::Error, format!("{error}; {living}")),
        (Err(refusal), _) => return Err(refusal),
        (Ok(()), _) if alive.is_empty() => Seen::new(Verdict::Safe, format!("{living}; by {by}")),
        (Ok(()), Some(told)) => Seen::new(Verdict::Error, format!("{living}; by {by}, and says {told}")),
        (Ok(()), None) => Seen::new(Verdict::WrongAnswer, format!("{living}, and no call says so; by {by}")),
    })
}

fn living(alive: &[String]) -> String {
    match alive {
        [one] => format!("{one} lives on"),
        [others @ .., last] => format!("{} and {last} live on", others.join(", ")),
        [] => "nothing lives".to_owned(),
    }
}

impl Stage {
    /// Becomes `child`, and has started the others.
    fn tree(&self) -> Result<PathBuf> {
        let [child, grandchild, session, daemon] = ALL.map(|role| self.role(role));
        let leave = |how, program: PathBuf| self.leaving(how, &program);
        self.script(&format!(
            "{} &\n{} &\n{} &\nexec {}\n",
            grandchild?.display(),
            leave("session", session?)?,
            leave("daemon", daemon?)?,
            child?.display()
        ))
    }

    /// Ends at once, and has started this one.
    fn helper_that_stays(&self, role: &str, number: &Number) -> Result<PathBuf> {
        let program = self.role(role)?;
        match number {
            Number::Taken => self.script(&format!("{} &\n", program.display())),
            Number::GivenAway => self.script(&format!("{} &\n", self.leaving("session", &program)?)),
        }
    }

    fn role(&self, name: &str) -> Result<PathBuf> {
        self.executable(name, &xtask::noop::sleeper(std::env::consts::ARCH).ok_or("no sleeper for this architecture")?)
    }

    fn leaving(&self, how: &str, program: &Path) -> Result<String> {
        Ok(format!("{} leave {how} {}", std::env::current_exe()?.display(), program.display()))
    }

    fn script(&self, commands: &str) -> Result<PathBuf> {
        self.executable("script", format!("#!/bin/sh\n{commands}").as_bytes())
    }

    /// When there is one of each, and none is still on its way.
    fn until_up(&self, roles: &[&str]) -> Result<Vec<Member>> {
        let mark = std::env::var(MARK)?;
        let deadline = Instant::now() + PATIENCE * 2;
        while Instant::now() < deadline {
            let mut members = members::members(&mark)?;
            if roles.iter().all(|role| members.iter().any(|member| member.role == *role)) {
                members.retain(|member| roles.contains(&member.role.as_str()));
                return Ok(members);
            }
            self.let_time_pass(Duration::from_millis(1));
        }
        Err("the tree has not come up".into())
    }

    /// What the owner has started, in whatever state that is.
    fn after_the_owners_death(&self, library: &str) -> Answer<(Vec<Member>, Bond)> {
        let script = self.tree()?;
        let mut command = Command::new(std::env::current_exe().map_err(stage_error)?);
        command.args(["owner", library]).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut owner = command.spawn().map_err(stage_error)?;
        let mut line = String::new();
        let stdout = owner.stdout.take().ok_or(Refusal::Stage("no pipe".into()))?;
        BufReader::new(stdout).read_line(&mut line).map_err(stage_error)?;
        let said: Said = serde_json::from_str(&line).map_err(stage_error)?;
        let members = match &said {
            Said::Up(_) => Some(self.until_up(&ALL)),
            _ => None,
        };
        owner.kill().map_err(stage_error)?;
        owner.wait().map_err(stage_error)?;
        match (said, members) {
            (Said::Up(bond), Some(members)) => Ok((members?, bond)),
            (Said::Error(error), _) => Err(Refusal::Error(error)),
            _ => Err(Refusal::NotOffered),
        }
    }
}

fn stage_error(error: impl std::fmt::Display) -> Refusal {
    Refusal::Stage(error.to_string())
}

/// The owner's one line.
#[derive(Serialize, Deserialize)]
enum Said {
    Up(Bond),
    NotOffered,
    Error(String),
}

/// A program that uses a library, until it is killed.
pub(crate) fn owner(library: &Library, script: &Path) -> Result<ExitCode> {
    let tree = (library.tree)(script);
    let said = match &tree {
        Ok(tree) => Said::Up(tree.bond()),
        Err(Refusal::NotOffered) => Said::NotOffered,
        Err(Refusal::Error(error)) => Said::Error(error.clone()),
        Err(Refusal::Stage(what)) => return Err(Trouble(what.clone())),
    };
    println!("{}", serde_json::to_string(&said)?);
    // Until whoever is to kill it does so, or has ended itself.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(ExitCode::SUCCESS)
}

/// Becomes the program, or starts it and ends.
pub(crate) fn leave(how: Leave, program: &Path) -> Result<ExitCode> {
    setsid()?;
    let mut command = Command::new(program);
    if how == Leave::Session {
        return Err(command.exec().into());
    }
    // Its parent ends now.
    drop(command.spawn()?);
    Ok(ExitCode::SUCCESS)
}
