//! [`Lines`]: what a child writes, line by line, as it comes.

use crate::command::cause;
use crate::output::{Capture, CapturedStream, Course, Cutter, Line, LinesEnd, Outcome, OutputStream, Reading};
use crate::{Child, ChildStderr, ChildStdout, Command, Process, System};
use std::fmt;
use steadfast_core::{Error, Result};

/// The lines of both outputs of a child, as they come: see [`Command::lines`].
///
/// The child waits while nobody takes its lines and its pipe is full. When this is dropped before the end, the child's pipes are closed, and it goes
/// on or is killed as [`Command::kill_on_drop`] says. One that has not been given all of its input is killed.
pub struct Lines {
    child: Child,
    system: System,
    options: Capture,
    /// Until there is no more.
    course: Option<Course>,
    kept: [CapturedStream; 2],
    enlarged: [bool; 2],
    cutter: Cutter,
    ending: Ending,
}

/// How the reading of lines has ended, and what is to be said of it.
pub(crate) struct Ending {
    end: LinesEnd,
    /// After an error there is nothing more to be told.
    failed: Option<Error>,
    /// If it must succeed.
    checked: Option<Box<Command>>,
}

impl Ending {
    pub(crate) fn of(command: &Command) -> Ending {
        let checked = command.is_checked().then(|| Box::new(command.clone()));
        Ending { end: LinesEnd::default(), failed: None, checked }
    }

    pub(crate) fn note(&mut self, outcome: Outcome) {
        let Outcome { status, timed_out, over_limit, stopped } = outcome;
        self.end = LinesEnd { status, timed_out, over_limit, stopped };
    }

    /// The same error, for the caller.
    pub(crate) fn fail(&mut self, error: Error) -> Error {
        self.failed = Some(error.clone());
        error
    }

    /// With the last words of the child.
    pub(crate) fn verdict(self, last_words: &[u8]) -> Result<LinesEnd> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let LinesEnd { status, timed_out, over_limit, .. } = self.end;
        if let Some(command) = &self.checked {
            command.check_end(status, cause(timed_out, over_limit), last_words)?;
        }
        Ok(self.end)
    }
}

/// For the lines of this command.
pub(crate) fn cutter(command: &Command, options: &Capture) -> Cutter {
    Cutter::new(options, if command.is_one_stream() { OutputStream::Stdout } else { OutputStream::Stderr })
}

impl Command {
    /// Starts it, and returns its output line by line, as it comes: of both streams, each line with the stream that it comes from. Lines of one
    /// stream are in order; which of two streams was written to first, nobody can tell
    /// ([`Stdio::same_as_stdout`](crate::Stdio::same_as_stdout) makes one of them).
    ///
    /// The options count as in [`capture`](Self::capture): the timeout from here on, the [limit](Capture::limit) for
    /// [`kill_on_limit`](Capture::kill_on_limit), and [`line_limit`](Capture::line_limit) for each line.
    ///
    /// ```
    /// use steadfast::{Capture, Command, OutputStream};
    /// let mut lines = Command::new("sh").args(["-c", "echo compiling; echo oh >&2; exit 3"]).lines(&Capture::new())?;
    /// for line in &mut lines {
    ///     let line = line?;
    ///     let mark = if line.stream == OutputStream::Stderr { "!" } else { " " };
    ///     println!("{mark} {line}");
    /// }
    /// assert_eq!(lines.finish()?.status.expect("no timeout").code(), Some(3));
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn); later, as [`Child::capture`], in place of a line.
    pub fn lines(&self, options: &Capture) -> Result<Lines> {
        let system = System::current()?;
        let within = options.begin(&system);
        let child = self.spawn_within(&system, self.streams_for_capture(), within)?;
        let deadline = within.map(|within| within.deadline);
        let feeding = child.feeding(self.own_input());
        let mut kept = [CapturedStream::default(), CapturedStream::default()];
        let process = [child.process()];
        let targets = child.together(&process).targets(options);
        let course = Course::begin(&process, targets, &readings(&child, &mut kept), feeding, options, deadline)?;
        Ok(Lines {
            cutter: cutter(self, options),
            ending: Ending::of(self),
            options: options.clone(),
            course: Some(course),
            child,
            system,
            kept,
            enlarged: [false; 2],
        })
    }
}

fn readings<'a>(child: &'a Child, [stdout, stderr]: &'a mut [CapturedStream; 2]) -> [Reading<'a>; 2] {
    [
        Reading::new("stdout", child.stdout.as_ref().map(ChildStdout::end), stdout),
        Reading::new("stderr", child.stderr.as_ref().map(ChildStderr::end), stderr),
    ]
}

impl Lines {
    /// The child, to signal it, or to wait for it elsewhere.
    pub fn process(&self) -> &Process {
        self.child.process()
    }

    /// Drops the lines that are left, and says how the child has ended.
    ///
    /// # Errors
    /// As the iterator's; [`Error::Unsuccessful`](crate::Error::Unsuccessful) of a command that is [checked](Command::checked).
    pub fn finish(mut self) -> Result<LinesEnd> {
        for line in self.by_ref() {
            line?;
        }
        self.ending.verdict(self.cutter.last_words())
    }

    /// One step of reading. When it was the last, it is known how the child has ended.
    fn step(&mut self) -> Result<()> {
        let Some(mut course) = self.course.take() else { return Ok(()) };
        let mut streams = readings(&self.child, &mut self.kept);
        streams.iter_mut().zip(self.enlarged).for_each(|(stream, enlarged)| stream.enlarged = enlarged);
        let stop = course.step(&self.system, &mut streams, &self.options)?;
        self.enlarged = streams.each_ref().map(|stream| stream.enlarged);
        let Some(stop) = stop else {
            self.course = Some(course);
            self.cutter.cut(&mut self.kept);
            return Ok(());
        };
        let process = [self.child.process()];
        let outcome = course.end(stop, self.child.together(&process), &self.system, &mut streams, &self.options)?;
        self.child.note(outcome.status);
        self.ending.note(outcome);
        self.cutter.cut(&mut self.kept);
        self.cutter.finish();
        Ok(())
    }
}

impl Iterator for Lines {
    type Item = Result<Line>;

    /// The next line; `None` when there is no more. After an error there is none either.
    fn next(&mut self) -> Option<Result<Line>> {
        loop {
            if let Some(line) = self.cutter.next() {
                return Some(Ok(line));
            }
            self.course.as_ref()?;
            if let Err(error) = self.step() {
                return Some(Err(self.ending.fail(error)));
            }
        }
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lines({:?})", self.child.process())
    }
}
