//! [`spawn_many`]: the starts of several commands, overlapped, in a task.

use super::child::Child;
use super::hub::{Engine, Runtime};
use super::launch::Launch;
use crate::command::AT_ONCE;
use crate::{Command, System};
use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use steadfast_core::Result;

/// What comes of each, in the order of the commands.
type Outcomes<R> = Vec<Result<Child<R>>>;

/// All of the outcomes, once each of them runs its program or has failed. Dropped before that, those that are on their way are killed, the others
/// never begun, and those that run are dropped as children are.
struct Many<R: Engine> {
    system: Result<System>,
    not_begun: VecDeque<Command>,
    on_their_way: VecDeque<Result<Launch<R>>>,
    outcomes: Outcomes<R>,
}

impl<R: Engine> Many<R> {
    fn begin(&self, command: &Command) -> Result<Launch<R>> {
        Launch::begin_on(self.system.as_ref().map_err(Clone::clone)?, command, Default::default(), None)
    }

    fn begin_more(&mut self) {
        while self.on_their_way.len() < AT_ONCE {
            let Some(command) = self.not_begun.front() else { break };
            let launch = self.begin(command);
            let has_no_room = launch.as_ref().is_err_and(|error| error.is_of_the_moment());
            if has_no_room && !self.on_their_way.is_empty() {
                // There is more room when one of those has come to its program.
                break;
            }
            self.on_their_way.push_back(launch);
            self.not_begun.pop_front();
        }
    }
}

impl<R: Runtime + Engine> Future for Many<R> {
    type Output = Outcomes<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let many = self.get_mut();
        while let Some(first) = many.on_their_way.front_mut() {
            let outcome = match first {
                Ok(launch) => ready!(Pin::new(launch).poll(cx)).map(Child::from),
                Err(error) => Err(error.clone()),
            };
            many.on_their_way.pop_front();
            many.outcomes.push(outcome);
            many.begin_more();
        }
        Poll::Ready(mem::take(&mut many.outcomes))
    }
}

/// Begins as many as are useful, now.
pub(crate) fn spawn_many<'a, R: Runtime + Engine>(
    commands: impl IntoIterator<Item = &'a Command>,
) -> Pin<Box<dyn Future<Output = Outcomes<R>> + Send>> {
    let not_begun = commands.into_iter().cloned().collect();
    let mut many = Many { system: System::current(), not_begun, on_their_way: VecDeque::new(), outcomes: Vec::new() };
    many.begin_more();
    Box::pin(many)
}
