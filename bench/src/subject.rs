//! The subjects: the same work, by each library, and by as little as it can be done with.

use crate::Result;
use crate::program::Noop;
use rustix::event::{PollFd, PollFlags, poll};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use steadfast::{Capture, Limit, Resource};
use steadfast_linux::bare::{Calls, spawn_and_wait};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Case {
    Plain,
    Attributes,
    Many,
    Output,
}

pub(crate) struct Subject<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn Fn() -> Result<()> + 'a>,
}

fn subject<'a>(name: &'static str, run: impl Fn() -> Result<()> + 'a) -> Subject<'a> {
    Subject { name, run: Box::new(run) }
}

pub(crate) fn of(case: Case, noop: &Noop) -> Result<Vec<Subject<'_>>> {
    let path = noop.path.as_path();
    match case {
        Case::Plain => plain(path),
        Case::Attributes => attributes(path),
        Case::Many => many(path),
        Case::Output => output(),
    }
}

fn limit(path: &Path) -> Result<Subject<'static>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    Ok(subject("limit", move || bare(&path)))
}

fn bare(path: &CStr) -> Result<()> {
    succeeded(spawn_and_wait(path, None)?)
}

fn succeeded(status: std::process::ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn plain(path: &Path) -> Result<Vec<Subject<'_>>> {
    let runtime = runtime()?;
    Ok(vec![
        limit(path)?,
        subject("steadfast", move || succeeded(steadfast::Command::new(path).status()?)),
        subject("std", move || succeeded(std::process::Command::new(path).status()?)),
        subject("tokio", move || succeeded(runtime.block_on(async { tokio::process::Command::new(path).status().await })?)),
        subject("async-process", move || succeeded(async_io::block_on(async_process::Command::new(path).status())?)),
    ])
}

const USER: u32 = 65_534;

/// As root with a change of user; else with the own IDs, which takes the same calls.
fn ids() -> (u32, u32, Vec<u32>) {
    let (uid, gid) = (rustix_ids::uid(), rustix_ids::gid());
    if uid == 0 { (USER, USER, vec![USER]) } else { (uid, gid, Vec::new()) }
}

mod rustix_ids {
    //! Our own IDs, as `/proc` has them.
    use std::os::unix::fs::MetadataExt;

    pub(super) fn uid() -> u32 {
        std::fs::metadata("/proc/self").map_or(0, |meta| meta.uid())
    }

    pub(super) fn gid() -> u32 {
        std::fs::metadata("/proc/self").map_or(0, |meta| meta.gid())
    }
}

fn attributes(path: &Path) -> Result<Vec<Subject<'_>>> {
    let runtime = runtime()?;
    let (uid, gid, groups) = ids();
    let mut ours = steadfast::Command::new(path);
    ours.uid(uid).gid(gid).current_dir("/").setsid(true);
    if uid == USER {
        ours.groups(&groups);
    }
    let null = File::open("/dev/null")?;
    for number in [10, 11, 12] {
        ours.fd(number, null.try_clone()?);
    }
    ours.rlimit(Resource::CORE, 0).rlimit(Resource::NOFILE, Limit::new(256, 1024));
    let (number, c_path) = (null.as_raw_fd(), CString::new(path.as_os_str().as_bytes())?);
    let calls = Calls {
        uid,
        gid,
        groups,
        dir: c"/".to_owned(),
        fds: [10, 11, 12].map(|to| (number, to)).into(),
        limits: vec![(Resource::CORE.as_raw(), 0, 0), (Resource::NOFILE.as_raw(), 256, 1024)],
    };
    Ok(vec![
        // What this much work takes at the least; and what none of it takes.
        subject("limit", move || {
            let _open = &null;
            succeeded(spawn_and_wait(&c_path, Some(&calls))?)
        }),
        Subject { name: "limit of plain", ..limit(path)? },
        subject("steadfast", move || succeeded(ours.status()?)),
        // They have no groups, sessions, descriptors and limits but by `pre_exec`: the user and the directory must do.
        subject("std", move || succeeded(std::process::Command::new(path).uid(uid).gid(gid).current_dir("/").status()?)),
        subject("tokio", move || {
            let mut command = tokio::process::Command::new(path);
            command.uid(uid).gid(gid).current_dir("/");
            succeeded(runtime.block_on(async { command.status().await })?)
        }),
        subject("async-process", move || {
            let mut command = std::process::Command::new(path);
            command.uid(uid).gid(gid).current_dir("/");
            succeeded(async_io::block_on(async_process::Command::from(command).status())?)
        }),
    ])
}

/// Started together, and waited for when all are.
const MANY: usize = 1000;

fn many(path: &Path) -> Result<Vec<Subject<'_>>> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let runtime = runtime()?;
    let c_path = CString::new(path.as_os_str().as_bytes())?;
    let ours = vec![steadfast::Command::new(path); MANY];
    Ok(vec![
        // One at a time, each waited for before the next.
        subject("limit", move || (0..MANY).try_for_each(|_| bare(&c_path))),
        subject("steadfast", move || {
            let children = steadfast::spawn_many(&ours).into_iter().collect::<steadfast::Result<Vec<_>>>()?;
            children.iter().try_for_each(|child| succeeded(child.wait()?))
        }),
        subject("steadfast, one at a time", move || {
            let spawn = |_| steadfast::Command::new(path).spawn();
            let children = (0..MANY).map(spawn).collect::<steadfast::Result<Vec<_>>>()?;
            children.iter().try_for_each(|child| succeeded(child.wait()?))
        }),
        subject("std", move || {
            let spawn = |_| std::process::Command::new(path).spawn();
            let mut children = (0..MANY).map(spawn).collect::<std::io::Result<Vec<_>>>()?;
            children.iter_mut().try_for_each(|child| succeeded(child.wait()?))
        }),
        subject("tokio", move || {
            runtime.block_on(async {
                let spawn = |_| tokio::process::Command::new(path).spawn();
                let mut children = (0..MANY).map(spawn).collect::<std::io::Result<Vec<_>>>()?;
                for child in &mut children {
                    succeeded(child.wait().await?)?;
                }
                Ok(())
            })
        }),
    ])
}

/// To each of the two pipes.
const BYTES: usize = 64 << 20;

fn output() -> Result<Vec<Subject<'static>>> {
    let runtime = runtime()?;
    let own: PathBuf = std::env::current_exe()?;
    let words = ["write".to_owned(), BYTES.to_string()];
    let whole = |output: std::process::Output| {
        if (output.stdout.len(), output.stderr.len()) == (BYTES, BYTES) { Ok(()) } else { Err("something is missing".into()) }
    };
    let std_command = {
        let (own, words) = (own.clone(), words.clone());
        move || {
            let mut command = std::process::Command::new(&own);
            command.args(&words);
            command
        }
    };
    let ours = {
        let mut command = steadfast::Command::new(&own);
        command.args(&words);
        command
    };
    let limited = ours.clone();
    let (by_limit, by_std, by_tokio, by_smol) = (std_command.clone(), std_command.clone(), std_command.clone(), std_command);
    Ok(vec![
        // Reads both pipes as they come, and keeps nothing.
        subject("limit", move || discard(by_limit())),
        subject("steadfast", move || whole(ours.output()?)),
        subject("steadfast, first and last 512 KiB", move || {
            let captured = limited.capture(&Capture::new().to_the_end().limit(1 << 20))?;
            let totals = (captured.stdout.total() as usize, captured.stderr.total() as usize);
            if totals == (BYTES, BYTES) { Ok(()) } else { Err("something is missing".into()) }
        }),
        subject("std", move || whole(by_std().output()?)),
        subject("tokio", move || whole(runtime.block_on(async { tokio::process::Command::from(by_tokio()).output().await })?)),
        subject("async-process", move || whole(async_io::block_on(async_process::Command::from(by_smol()).output())?)),
    ])
}

fn discard(mut command: std::process::Command) -> Result<()> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (child.stdout.take().ok_or("no stdout")?, child.stderr.take().ok_or("no stderr")?);
    let mut buffer = vec![0; 64 * 1024];
    let mut open = vec![stdout.as_fd(), stderr.as_fd()];
    while !open.is_empty() {
        let mut fds: Vec<PollFd<'_>> = open.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        poll(&mut fds, None)?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut ended = Vec::new();
        for (index, fd) in open.iter().enumerate() {
            if ready[index] && rustix::io::read(fd, &mut buffer)? == 0 {
                ended.push(index);
            }
        }
        for index in ended.into_iter().rev() {
            open.remove(index);
        }
    }
    succeeded(child.wait()?)
}
