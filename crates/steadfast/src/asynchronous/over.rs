//! [`Over`]: the end of a process, as a future. Dropping it loses nothing: the status is the handle's.

use super::runtime::{Descriptor, Engine, Interest};
use super::virtual_time::VirtualTime;
use crate::wait::verdict;
use crate::{ExitStatus, Process};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use steadfast_core::{Errno, Error, Result, Watcher};

/// Ready when the process is over: with its status, or why that is unknown ([`Error::NoChild`]; [`Error::Released`]).
pub(crate) struct Over<R: Engine> {
    process: Process,
    stage: Stage<R>,
    ear: Arc<Ear>,
    /// The same, as the watcher of the handle.
    watcher: Arc<dyn Watcher>,
    time: Option<VirtualTime<R>>,
}

enum Stage<R: Engine> {
    Begin,
    /// The runtime polls the pidfd; the ear hears what other threads do with the handle.
    Polled {
        source: R::Source,
        is_fresh: bool,
    },
    /// The ear hears everything.
    Heard,
}

/// Hears that a handle has news, and wakes the task.
#[derive(Default)]
struct Ear {
    has_heard: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Watcher for Ear {
    fn notify(&self, _: u64) {
        self.has_heard.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Ear {
    fn wake_later(&self, cx: &Context<'_>) {
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

const TOKEN: u64 = 0;

impl<R: Engine> Over<R> {
    pub(super) fn new(process: &Process) -> Over<R> {
        let ear: Arc<Ear> = Arc::default();
        let watcher = Arc::clone(&ear) as Arc<dyn Watcher>;
        Over { process: process.clone(), stage: Stage::Begin, ear, watcher, time: VirtualTime::of(process) }
    }

    /// From now on the ear hears everything.
    fn hear(&mut self) -> Result<()> {
        self.process.unwatch(&self.watcher, TOKEN);
        self.stage = Stage::Heard;
        self.process.watch_exit(&self.watcher, TOKEN)
    }

    fn begin(&mut self) -> Result<()> {
        let lent = match self.process.lend() {
            Ok(lent) => lent,
            // It has none; or it is over by now, which the ear is told at once.
            Err(_) => return self.hear(),
        };
        match R::register(Descriptor::Pidfd(lent), Interest::Read) {
            Ok(source) => {
                self.stage = Stage::Polled { source, is_fresh: true };
                self.process.watch(&self.watcher, TOKEN);
                Ok(())
            }
            // Another task waits for the same handle.
            Err(error) if error.raw_os_error() == Some(Errno::EXIST.as_raw()) => self.hear(),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        match error.raw_os_error() {
            Some(errno) => Error::on_process("epoll_ctl", self.process.pid(), Errno::from_raw(errno)),
            None => Error::Unsupported { backend: "async", what: error.to_string() },
        }
    }

    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<Result<ExitStatus>> {
        loop {
            self.ear.wake_later(cx);
            if let Stage::Begin = self.stage {
                if let Some(over) = verdict(&self.process, &self.watcher, TOKEN) {
                    return Poll::Ready(over);
                }
                self.begin()?;
            }
            if self.ear.has_heard.swap(false, Ordering::SeqCst) {
                if let Some(over) = verdict(&self.process, &self.watcher, TOKEN) {
                    return Poll::Ready(over);
                }
                self.hear()?;
                continue;
            }
            let Stage::Polled { source, is_fresh } = &mut self.stage else { return Poll::Pending };
            if R::IS_LATE && !std::mem::take(is_fresh) {
                if let Some(over) = verdict(&self.process, &self.watcher, TOKEN) {
                    return Poll::Ready(over);
                }
                self.process.watch(&self.watcher, TOKEN);
            }
            match R::poll_readable(source, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {
                    if let Some(over) = verdict(&self.process, &self.watcher, TOKEN) {
                        return Poll::Ready(over);
                    }
                    // Readable, and yet there is nothing to be had: the backend finds out.
                    self.hear()?;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.failed(&error))),
            }
        }
    }
}

impl<R: Engine> Future for Over<R> {
    type Output = Result<ExitStatus>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<ExitStatus>> {
        let over = self.get_mut();
        let Some(mut time) = over.time.take() else { return over.poll_stage(cx) };
        let polled = time.poll(cx, |cx| match over.poll_stage(cx) {
            Poll::Ready(status) => Some(status),
            Poll::Pending => None,
        });
        over.time = Some(time);
        polled
    }
}

impl<R: Engine> Drop for Over<R> {
    fn drop(&mut self) {
        self.process.unwatch(&self.watcher, TOKEN);
    }
}
