//! The subjects: children that are waited for, by each library, and by as little as it can be done with.

use super::Case;
use crate::Result;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use std::future::{Future, poll_fn};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child as StdChild, Command as StdCommand};
use std::task::Poll;
use std::time::Duration;
use steadfast::backend::Plan;
use steadfast::{Command, Pid, Probe, WaitSet};
use steadfast_linux::{Blocking, Reaping, Target, WantPidfd, spawn, waitid};
use wait_timeout::ChildExt;

/// Has children, each with a key.
pub(crate) trait Subject {
    fn start(&mut self, key: usize) -> Result<Pid>;

    /// Makes ready to wait for those that were started.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Waits until so many have exited, and reaps them.
    fn take(&mut self, count: usize) -> Result<Vec<usize>>;
}

/// A name, and what makes one that starts this program.
pub(crate) type Maker = (&'static str, fn(&Path) -> Result<Box<dyn Subject>>);

pub(crate) fn of(case: Case) -> Vec<Maker> {
    let limit: Maker = ("limit", limit);
    match case {
        Case::PerExit | Case::Memory => vec![limit, ("steadfast", set), ("std, asking all", std_all)],
        Case::WakeUp => {
            vec![limit, ("steadfast", one), ("steadfast, set", set), ("std", std_one), ("wait-timeout", wait_timeout)]
        }
        Case::AsyncPerExit | Case::AsyncWakeUp => vec![
            limit,
            ("steadfast, tokio", ours_in_tokio),
            ("tokio", tokio),
            ("steadfast, async-io", ours_in_async_io),
            ("async-process", async_process),
        ],
    }
}

/// `epoll_wait` and `waitid`, and nothing else.
struct Limit {
    plan: Plan,
    epoll: OwnedFd,
    pidfds: Vec<Option<OwnedFd>>,
    events: Vec<epoll::Event>,
}

fn limit(path: &Path) -> Result<Box<dyn Subject>> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let plan = Plan::builder(path.as_os_str()).build()?;
    Ok(Box::new(Limit { plan, epoll, pidfds: Vec::new(), events: Vec::with_capacity(256) }))
}

/// A place for each key.
fn put<T>(places: &mut Vec<Option<T>>, key: usize, value: T) {
    if places.len() <= key {
        places.resize_with(key + 1, || None);
    }
    places[key] = Some(value);
}

impl Subject for Limit {
    fn start(&mut self, key: usize) -> Result<Pid> {
        let child = spawn(&self.plan, WantPidfd::Yes, Probe::once()?.door)?;
        let pidfd = child.pidfd.ok_or("no pidfd")?;
        epoll::add(&self.epoll, &pidfd, epoll::EventData::new_u64(key as u64), epoll::EventFlags::IN)?;
        put(&mut self.pidfds, key, pidfd);
        Ok(child.pid)
    }

    fn take(&mut self, count: usize) -> Result<Vec<usize>> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            self.events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut self.events), None)?;
            for event in &self.events {
                let key = event.data.u64() as usize;
                let pidfd = self.pidfds[key].take().ok_or("reported twice")?;
                waitid(Target::Pidfd(pidfd.as_fd()), Blocking::Now, Reaping::Reap).map_err(|errno| errno.to_string())?;
                taken.push(key);
            }
        }
        Ok(taken)
    }
}

struct Set {
    command: Command,
    set: WaitSet<usize>,
}

pub(crate) fn set(path: &Path) -> Result<Box<dyn Subject>> {
    Ok(Box::new(Set { command: Command::new(path), set: WaitSet::new() }))
}

impl Subject for Set {
    fn start(&mut self, key: usize) -> Result<Pid> {
        let child = self.command.spawn()?;
        let pid = child.pid();
        self.set.add(key, child)?;
        Ok(pid)
    }

    fn take(&mut self, count: usize) -> Result<Vec<usize>> {
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            let exited = self.set.wait().ok_or("the set is empty")?;
            exited.status?;
            taken.push(exited.key);
        }
        Ok(taken)
    }
}

/// One child, and a timeout.
struct One {
    command: Command,
    child: Option<steadfast::Child>,
}

fn one(path: &Path) -> Result<Box<dyn Subject>> {
    Ok(Box::new(One { command: Command::new(path), child: None }))
}

const LONG: Duration = Duration::from_secs(60);

impl Subject for One {
    fn start(&mut self, _: usize) -> Result<Pid> {
        let child = self.child.insert(self.command.spawn()?);
        Ok(child.pid())
    }

    fn take(&mut self, _: usize) -> Result<Vec<usize>> {
        let child = self.child.take().ok_or("no child")?;
        child.wait_timeout(LONG)?.ok_or("not in time")?;
        Ok(vec![0])
    }
}

/// By their keys.
type Children = Vec<Option<StdChild>>;

struct Std {
    path: PathBuf,
    children: Children,
    wait: fn(&mut Children, usize) -> Result<Vec<usize>>,
}

impl Subject for Std {
    fn start(&mut self, key: usize) -> Result<Pid> {
        let child = StdCommand::new(&self.path).spawn()?;
        let pid = Pid::try_from(child.id())?;
        put(&mut self.children, key, child);
        Ok(pid)
    }

    fn take(&mut self, count: usize) -> Result<Vec<usize>> {
        (self.wait)(&mut self.children, count)
    }
}

/// std has no way to wait for any of them: each is asked, until enough have exited.
fn std_all(path: &Path) -> Result<Box<dyn Subject>> {
    let wait = |children: &mut Children, count| {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            for (key, place) in children.iter_mut().enumerate() {
                let exited = place.as_mut().map(StdChild::try_wait).transpose()?.flatten();
                if exited.is_some() {
                    *place = None;
                    taken.push(key);
                }
            }
        }
        Ok(taken)
    };
    Ok(Box::new(Std { path: path.to_owned(), children: Vec::new(), wait }))
}

fn std_one(path: &Path) -> Result<Box<dyn Subject>> {
    let wait = |children: &mut Children, _| {
        children[0].take().ok_or("no child")?.wait()?;
        Ok(vec![0])
    };
    Ok(Box::new(Std { path: path.to_owned(), children: Vec::new(), wait }))
}

fn wait_timeout(path: &Path) -> Result<Box<dyn Subject>> {
    let wait = |children: &mut Children, _| {
        children[0].take().ok_or("no child")?.wait_timeout(LONG)?.ok_or("not in time")?;
        Ok(vec![0])
    };
    Ok(Box::new(Std { path: path.to_owned(), children: Vec::new(), wait }))
}

type Exit = Pin<Box<dyn Future<Output = Result<usize>>>>;

/// The futures of all children in one task.
struct Futures<Start, Block> {
    start: Start,
    block_on: Block,
    exits: FuturesUnordered<Exit>,
}

fn futures<Start, Block>(start: Start, block_on: Block) -> Box<dyn Subject>
where
    Start: Fn(usize) -> Result<(Pid, Exit)> + 'static,
    Block: Fn(Pin<&mut dyn Future<Output = Result<()>>>) -> Result<()> + 'static,
{
    Box::new(Futures { start, block_on, exits: FuturesUnordered::new() })
}

impl<Start, Block> Subject for Futures<Start, Block>
where
    Start: Fn(usize) -> Result<(Pid, Exit)>,
    Block: Fn(Pin<&mut dyn Future<Output = Result<()>>>) -> Result<()>,
{
    fn start(&mut self, key: usize) -> Result<Pid> {
        let mut started = None;
        let mut future = std::pin::pin!(async {
            started = Some((self.start)(key)?);
            Ok(())
        });
        // Some want to be in their runtime for it.
        (self.block_on)(future.as_mut())?;
        let (pid, exit) = started.ok_or("not started")?;
        self.exits.push(exit);
        Ok(pid)
    }

    fn settle(&mut self) -> Result<()> {
        let exits = &mut self.exits;
        let mut future = std::pin::pin!(async {
            // Each is polled once.
            match poll_fn(|cx| Poll::Ready(exits.poll_next_unpin(cx))).await {
                Poll::Pending => Ok(()),
                Poll::Ready(_) => Err("one has exited before its time".into()),
            }
        });
        (self.block_on)(future.as_mut())
    }

    fn take(&mut self, count: usize) -> Result<Vec<usize>> {
        let mut taken = Vec::with_capacity(count);
        let exits = &mut self.exits;
        let mut future = std::pin::pin!(async {
            for _ in 0..count {
                taken.push(exits.next().await.ok_or("no child")??);
            }
            Ok(())
        });
        (self.block_on)(future.as_mut())?;
        Ok(taken)
    }
}

fn in_tokio(start: impl Fn(usize) -> Result<(Pid, Exit)> + 'static) -> Result<Box<dyn Subject>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(futures(start, move |future| runtime.block_on(future)))
}

fn ours_in_tokio(path: &Path) -> Result<Box<dyn Subject>> {
    let command = Command::new(path);
    in_tokio(move |key| {
        let child = steadfast::tokio::Child::from(command.spawn()?);
        let pid = child.pid();
        Ok((pid, Box::pin(async move { Ok(child.wait().await.map(|_| key)?) }) as Exit))
    })
}

fn ours_in_async_io(path: &Path) -> Result<Box<dyn Subject>> {
    let command = Command::new(path);
    let start = move |key| {
        let child = steadfast::async_io::Child::from(command.spawn()?);
        let pid = child.pid();
        Ok((pid, Box::pin(async move { Ok(child.wait().await.map(|_| key)?) }) as Exit))
    };
    Ok(futures(start, |future| async_io::block_on(future)))
}

fn tokio(path: &Path) -> Result<Box<dyn Subject>> {
    let path = path.to_owned();
    in_tokio(move |key| {
        let mut child = tokio::process::Command::new(&path).spawn()?;
        let pid = Pid::try_from(child.id().ok_or("no PID")?)?;
        Ok((pid, Box::pin(async move { Ok(child.wait().await.map(|_| key)?) }) as Exit))
    })
}

fn async_process(path: &Path) -> Result<Box<dyn Subject>> {
    let path = path.to_owned();
    let start = move |key| {
        let mut child = async_process::Command::new(&path).spawn()?;
        let pid = Pid::try_from(child.id())?;
        Ok((pid, Box::pin(async move { Ok(child.status().await.map(|_| key)?) }) as Exit))
    };
    Ok(futures(start, |future| async_io::block_on(future)))
}
