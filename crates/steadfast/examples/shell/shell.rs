//! [`Shell`]: what it has started, and what it does with a line.

use crate::job::{Foreground, Pipeline, Stands};
use crate::line::Line;
use std::fs::File;
use std::io::{self, Write};
use steadfast::Error;

/// What a line came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Next,
    Exit,
}

pub(crate) struct Shell<W> {
    /// In the background, or stopped; the last one is what `fg` and `bg` mean.
    jobs: Vec<Pipeline>,
    /// Of which its pipelines have the foreground; without one there are no keys that stop them.
    terminal: Option<File>,
    out: W,
    /// What `$?` is.
    code: i32,
}

impl<W: Write> Shell<W> {
    pub(crate) fn new(terminal: Option<File>, out: W) -> Shell<W> {
        Shell { jobs: Vec::new(), terminal, out, code: 0 }
    }

    /// Does what the line says.
    ///
    /// # Errors
    /// Of its own output alone; what goes wrong with a command is written there.
    pub(crate) fn execute(&mut self, typed: &str) -> io::Result<Then> {
        let line = match Line::parse(typed) {
            Ok(None) => return Ok(Then::Next),
            Ok(Some(line)) => line,
            Err(wrong) => {
                self.code = 2;
                writeln!(self.out, "shell: {wrong}")?;
                return Ok(Then::Next);
            }
        };
        let words: Vec<&str> = line.commands[0].iter().map(String::as_str).collect();
        let answer = match (words.as_slice(), line.commands.len()) {
            (["exit"], 1) => return Ok(Then::Exit),
            (["jobs"], 1) => Ok(self.list(|_, _| true)?),
            (["echo", "$?"], 1) => Ok(writeln!(self.out, "{}", self.code)?),
            (["fg", rest @ ..], 1) => self.fg(rest),
            (["bg", rest @ ..], 1) => self.bg(rest),
            _ => self.run(&line),
        };
        if let Err(failed) = answer {
            match failed {
                Failed::Out(error) => return Err(error),
                Failed::Command(error) => {
                    self.code = if error.errno() == Some(steadfast::Errno::NOENT) { 127 } else { 1 };
                    writeln!(self.out, "shell: {error}")?;
                }
                Failed::NoJob => {
                    self.code = 1;
                    writeln!(self.out, "shell: no such job")?;
                }
            }
        }
        Ok(Then::Next)
    }

    /// Tells of those in the background that have ended or stopped since.
    pub(crate) fn tell(&mut self) -> io::Result<()> {
        self.list(|stands, told| stands != told && stands != Stands::Runs)
    }

    fn run(&mut self, line: &Line) -> Result<(), Failed> {
        let number = self.jobs.last().map_or(1, |job| job.number + 1);
        let terminal = if line.in_background { None } else { self.terminal()? };
        let (pipeline, foreground) = Pipeline::start(number, line, terminal)?;
        if line.in_background {
            writeln!(self.out, "[{number}] {}", pipeline.text)?;
            self.jobs.push(pipeline);
            self.code = 0;
            return Ok(());
        }
        self.wait(pipeline, foreground)
    }

    fn terminal(&self) -> io::Result<Option<File>> {
        self.terminal.as_ref().map(File::try_clone).transpose()
    }

    fn fg(&mut self, words: &[&str]) -> Result<(), Failed> {
        let index = self.find(words)?;
        let mut pipeline = self.jobs.remove(index);
        writeln!(self.out, "{}", pipeline.text)?;
        let foreground = pipeline.go_on(self.terminal()?)?;
        self.wait(pipeline, foreground)
    }

    fn bg(&mut self, words: &[&str]) -> Result<(), Failed> {
        let index = self.find(words)?;
        let pipeline = &mut self.jobs[index];
        // No terminal: it stays where it is.
        pipeline.go_on(None)?;
        writeln!(self.out, "[{}] {} &", pipeline.number, pipeline.text)?;
        Ok(())
    }

    /// Until it has ended or stopped; then the terminal is the shell's again.
    fn wait(&mut self, mut pipeline: Pipeline, foreground: Foreground) -> Result<(), Failed> {
        let stands = pipeline.wait();
        drop(foreground);
        let stands = stands?;
        self.code = stands.code();
        match stands {
            Stands::Stopped(_) => {
                writeln!(self.out, "\n[{}] {stands}  {}", pipeline.number, pipeline.text)?;
                pipeline.told = stands;
                self.jobs.push(pipeline);
                self.jobs.sort_by_key(|job| job.number);
            }
            // The terminal has written ^C.
            Stands::Ended(status) if status.code().is_none() => writeln!(self.out)?,
            Stands::Runs | Stands::Ended(_) => {}
        }
        Ok(())
    }

    /// Those of which there is news, by how they stand and what was told before; who has ended is told once.
    fn list(&mut self, is_news: impl Fn(Stands, Stands) -> bool) -> io::Result<()> {
        for mut job in std::mem::take(&mut self.jobs) {
            let stands = match job.look() {
                Ok(stands) => stands,
                Err(error) => {
                    writeln!(self.out, "[{}] {error}", job.number)?;
                    continue;
                }
            };
            if is_news(stands, job.told) {
                writeln!(self.out, "[{}] {stands}  {}", job.number, job.text)?;
            }
            job.told = stands;
            if !matches!(stands, Stands::Ended(_)) {
                self.jobs.push(job);
            }
        }
        Ok(())
    }

    /// The job of this number; without one, the last.
    fn find(&self, words: &[&str]) -> Result<usize, Failed> {
        let number = words.first().map(|word| word.trim_start_matches('%').parse::<usize>());
        match number {
            None => self.jobs.len().checked_sub(1),
            Some(number) => self.jobs.iter().position(|job| Ok(job.number) == number),
        }
        .ok_or(Failed::NoJob)
    }
}

/// Why a line was not done.
enum Failed {
    Command(Error),
    NoJob,
    Out(io::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Command(error)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Out(error)
    }
}
