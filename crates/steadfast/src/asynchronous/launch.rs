//! [`Launch`]: a child on its way to its program, as a future. The executor is never blocked by an exec.

use super::alarm::Alarm;
use super::ear::Ear;
use super::hub::Engine;
use super::virtual_time::VirtualTime;
use crate::command::Starting;
use crate::wait::{SHORTEST, longer, soon};
use crate::within::Within;
use crate::{Child, Command, System};
use std::ffi::OsString;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use steadfast_core::{PlanStdio, Result, Watcher};

/// Ready when the child runs its program, or has failed, or its time is up. Dropped before that, it is killed, and reaped in the background.
pub(crate) struct Launch<R: Engine> {
    /// Until it is known how it went.
    starting: Option<Starting>,
    program: OsString,
    within: Option<Within>,
    alarm: Alarm<R>,
    ear: Arc<Ear>,
    is_heard: bool,
    time: Option<VirtualTime<R>>,
    /// Before the next look, where the system has refused to tell.
    pause: Duration,
}

impl<R: Engine> Launch<R> {
    /// Makes the child, now.
    pub(crate) fn begin(command: &Command, defaults: [PlanStdio; 3], within: Option<Within>) -> Result<Launch<R>> {
        Launch::begin_on(&System::current()?, command, defaults, within)
    }

    /// As [`begin`](Launch::begin), here, whatever is current.
    pub(crate) fn begin_on(
        system: &System,
        command: &Command,
        defaults: [PlanStdio; 3],
        within: Option<Within>,
    ) -> Result<Launch<R>> {
        let mut starting = command.start_with(system, defaults)?;
        let backend = starting.as_core().backend();
        VirtualTime::<R>::begin(backend);
        let time = VirtualTime::of(backend);
        Ok(Launch {
            starting: Some(starting),
            program: command.get_program().to_owned(),
            within,
            alarm: Alarm::default(),
            ear: Arc::default(),
            is_heard: false,
            time,
            pause: SHORTEST,
        })
    }

    fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<Result<Child>> {
        let Some(starting) = &mut self.starting else { return Poll::Pending };
        // What was said until now is seen now.
        self.ear.has_heard();
        loop {
            match starting.look() {
                Ok(None) => {}
                Ok(Some(child)) => return self.end(Ok(child)),
                Err(error) => return self.end(Err(error)),
            }
            let ear = Arc::downgrade(&self.ear);
            let tell = move || ear.upgrade().into_iter().for_each(|ear| ear.notify(0));
            self.is_heard = self.is_heard || starting.as_core().on_ready(tell.clone()).is_ok();
            if !self.is_heard {
                // No thread is to be had, now, and there is no other event.
                soon(self.pause, tell);
                self.pause = longer(self.pause);
            }
            self.ear.wake_later(cx);
            // It may have been told before it had a waker.
            if !self.ear.has_heard() {
                break;
            }
        }
        match self.within {
            Some(within) if self.alarm.poll(cx, Some(within.deadline)).is_ready() => {
                self.end(Err(within.too_late(&self.program)))
            }
            _ => Poll::Pending,
        }
    }

    fn end(&mut self, outcome: Result<Child>) -> Poll<Result<Child>> {
        self.starting = None;
        Poll::Ready(outcome)
    }
}

impl<R: Engine> Future for Launch<R> {
    type Output = Result<Child>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Child>> {
        let launch = self.get_mut();
        let Some(mut time) = launch.time.take() else { return launch.poll_start(cx) };
        let polled = time.poll(cx, |cx| launch.poll_start(cx));
        launch.time = Some(time);
        polled
    }
}
