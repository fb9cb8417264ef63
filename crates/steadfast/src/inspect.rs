//! [`Inspection`]: what is known of a process, and never of another one that has its number by now.

use crate::{Process, System};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;
use steadfast_core::{BackendLook, Errno, Error, Facts, Pid, Result};

/// A look at one process, see [`Process::inspect`]. It has two descriptors, and sees the process as long as that was not waited for, a zombie too; after that
/// each field is [`Error::ProcessDone`], whoever has the number.
///
/// Each field is a read of its own, with a result of its own. Those that belong to a program ([`command_line`](Self::command_line),
/// [`environment`](Self::environment), [`executable`](Self::executable)) are the program's that ran when the look began: if the process has executed another one
/// since, or has exited, they are [`Error::Changed`]; begin a new look then. Whether it has, the kernel tells only to who may look into it (`PTRACE_MODE_READ`, ptrace(2)):
/// [`Facts::image`] is `None` for others, who cannot read most of these fields either.
pub struct Inspection {
    look: Box<dyn BackendLook>,
    /// When it began.
    facts: Facts,
    pid: Pid,
    system: System,
}

impl Process {
    /// Looks at the process: what it is, what it does, what it has used. A zombie can be looked at.
    ///
    /// ```
    /// use steadfast::{Command, RunState};
    /// let child = Command::new("sleep").arg("60").spawn()?;
    /// let look = child.inspect()?;
    /// assert_eq!(look.facts()?.name, "sleep");
    /// assert_eq!(look.command_line()?, ["sleep", "60"]);
    /// child.kill()?;
    /// child.wait()?;
    /// assert!(look.facts().is_err(), "whoever has the number by now, it is not shown");
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ProcessDone`] if it was waited for or is gone, [`Error::Released`] after `release`. [`Error::System`]: `ENOENT` if there is no
    /// `/proc`, or it hides the process (hidepid, proc(5)); `EMFILE`.
    pub fn inspect(&self) -> Result<Inspection> {
        let look = steadfast_core::Process::inspect(self)?;
        let facts = look.facts().map_err(|error| done(self.pid(), error))?;
        Ok(Inspection { look, facts, pid: self.pid(), system: System::of(self.backend().clone()) })
    }
}

impl System {
    /// A handle of each process that this one sees, from the lowest PID on; those are left out that end while it is asked for. (`/proc`; a simulated system
    /// has its own.)
    ///
    /// ```
    /// use steadfast::System;
    /// for process in System::current()?.processes()? {
    ///     let Ok(look) = process?.inspect().and_then(|look| look.facts()) else { continue };
    ///     println!("{:?}: {}", look.name, look.state);
    /// }
    /// # Ok::<(), steadfast::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::System`] if `/proc` cannot be read; of each handle: as [`find`](System::find).
    pub fn processes(&self) -> Result<impl Iterator<Item = Result<Process>>> {
        let (system, pids) = (self.clone(), self.backend().list()?);
        let handles = pids.into_iter().map(move |pid| system.find(pid));
        Ok(handles.filter(|found| !matches!(found, Err(Error::ProcessDone { .. } | Error::ThreadId { .. }))))
    }
}

/// Of whom a file in its directory is gone.
fn done(pid: Pid, error: Error) -> Error {
    if error.errno() == Some(Errno::SRCH) { Error::ProcessDone { pid } } else { error }
}

impl Inspection {
    /// Its PID.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Name, state, parent, group, session, threads, start, CPU time, memory: as they are now, all of one moment.
    ///
    /// # Errors
    /// [`Error::ProcessDone`] once it was waited for.
    pub fn facts(&self) -> Result<Facts> {
        self.look.facts().map_err(|error| done(self.pid, error))
    }

    /// The same as they were when the look began.
    pub fn first_facts(&self) -> &Facts {
        &self.facts
    }

    /// A handle of its parent; `None`: it is not to be seen from here. It is the parent for certain: who has lost it gets another one for good.
    ///
    /// # Errors
    /// [`Error::ProcessDone`] once it was waited for; else as [`System::find`].
    pub fn parent(&self) -> Result<Option<Process>> {
        loop {
            let Some(pid) = self.facts()?.parent else { return Ok(None) };
            let found = self.system.find(pid);
            // It had this number before and has it still, so it was there when it was found.
            if self.facts()?.parent == Some(pid) {
                return found.map(Some);
            }
        }
    }

    /// A handle of each of its children, zombies included; those are left out that end or come meanwhile.
    ///
    /// # Errors
    /// [`Error::ProcessDone`] once it was waited for. [`Error::System`]: `EACCES`; `ENOENT` for a kernel without `CONFIG_PROC_CHILDREN`; `EMFILE`.
    pub fn children(&self) -> Result<Vec<Process>> {
        let mut children = Vec::new();
        for pid in self.look.children().map_err(|error| done(self.pid, error))? {
            let is_ours = |child: &Process| child.inspect().is_ok_and(|look| look.facts.parent == Some(self.pid));
            match self.system.find(pid) {
                // Who has the number by now may be another one, of another parent.
                Ok(child) => children.extend(Some(child).filter(is_ours)),
                Err(Error::ProcessDone { .. } | Error::ThreadId { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        // Ours was there all the time, and so its number was its own.
        self.facts()?;
        Ok(children)
    }

    /// The program's arguments, its name first, as the program shows them; none of a zombie or a thread of the kernel.
    ///
    /// This reads the process's memory, and waits while another thread of it holds that up, as one does that waits for a page of a file system which
    /// does not answer (state D): see [`command_line_timeout`](Self::command_line_timeout).
    ///
    /// # Errors
    /// [`Error::Changed`] if it has executed another program, or has exited, since the look began; [`Error::ProcessDone`] once it was waited for.
    pub fn command_line(&self) -> Result<Vec<OsString>> {
        let words = self.look.arguments().map_err(|error| done(self.pid, error))?;
        self.of_the_same_program(words)
    }

    /// As [`command_line`](Self::command_line), for at most this time. A thread waits for it, and goes on to wait if the time is over.
    ///
    /// # Errors
    /// As there; [`Error::System`] with `ETIMEDOUT`; with `EAGAIN` if there may be no more threads.
    pub fn command_line_timeout(&self, timeout: Duration) -> Result<Vec<OsString>> {
        let words = match self.look.directory() {
            None => self.look.arguments()?,
            Some(_) => steadfast_linux::words(&self.read_timeout("cmdline", timeout)?),
        };
        self.of_the_same_program(words)
    }

    /// The environment that the program was started with, as far as the program has not written over it. It reads the process's memory:
    /// see [`command_line`](Self::command_line).
    ///
    /// # Errors
    /// As [`command_line`](Self::command_line); [`Error::System`] with `EACCES` without `PTRACE_MODE_READ` (ptrace(2)); [`Error::Unsupported`] in a
    /// simulation.
    pub fn environment(&self) -> Result<Vec<(OsString, OsString)>> {
        self.of_the_same_program(variables(&self.read("environ")?))
    }

    /// As [`environment`](Self::environment), for at most this time.
    ///
    /// # Errors
    /// As there, and as [`command_line_timeout`](Self::command_line_timeout).
    pub fn environment_timeout(&self, timeout: Duration) -> Result<Vec<(OsString, OsString)>> {
        self.of_the_same_program(variables(&self.read_timeout("environ", timeout)?))
    }

    /// The file that it executes, open (`O_PATH`): it is that file, whatever has its name by now.
    ///
    /// # Errors
    /// As [`environment`](Self::environment); `ENOENT` for a zombie and a thread of the kernel.
    pub fn executable(&self) -> Result<OwnedFd> {
        let file = self.open("exe", OFlags::PATH)?;
        self.of_the_same_program(file)
    }

    /// The name that this file had when it was executed, with ` (deleted)` behind it if it is gone.
    ///
    /// # Errors
    /// As [`executable`](Self::executable).
    pub fn executable_path(&self) -> Result<PathBuf> {
        let path = self.link("exe")?;
        self.of_the_same_program(path)
    }

    /// Its working directory.
    ///
    /// # Errors
    /// As [`executable`](Self::executable), without [`Error::Changed`].
    pub fn current_dir(&self) -> Result<PathBuf> {
        self.link("cwd")
    }

    /// Its cgroup of version 2, as a path beneath the root of this process's cgroup namespace (cgroups(7)); `None`: it is in none.
    ///
    /// # Errors
    /// [`Error::ProcessDone`] once it was waited for; [`Error::Unsupported`] in a simulation.
    pub fn cgroup(&self) -> Result<Option<PathBuf>> {
        let text = self.read("cgroup")?;
        let path = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"));
        Ok(path.map(|path| PathBuf::from(OsString::from_vec(path.to_vec()))))
    }

    /// With the feature `procfs`: users, groups, memory and more, as the crate `procfs-core` has them (proc_pid_status(5)); its name is there without bytes that are no UTF-8.
    ///
    /// # Errors
    /// [`Error::ProcessDone`] once it was waited for; [`Error::Unsupported`] in a simulation; [`Error::System`] with `EIO` for a text that the crate does
    /// not take.
    #[cfg(feature = "procfs")]
    pub fn status(&self) -> Result<procfs_core::process::Status> {
        let text = self.read("status")?;
        procfs_core::FromRead::from_read(&text[..]).map_err(|_| self.failed("parse /proc/PID/status")(Errno::IO))
    }

    /// Its real, effective and saved user: read here, because what takes a feature cannot be what safety rests on.
    pub(crate) fn users(&self) -> Result<[u32; 3]> {
        let text = self.read("status")?;
        let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"));
        let words = std::str::from_utf8(line.unwrap_or_default()).unwrap_or_default().split_ascii_whitespace();
        let users: Vec<u32> = words.take(3).flat_map(str::parse).collect();
        users.try_into().map_err(|_| self.failed("parse /proc/PID/status")(Errno::IO))
    }

    fn of_the_same_program<T>(&self, field: T) -> Result<T> {
        match self.facts()?.image {
            image if image == self.facts.image => Ok(field),
            _ => Err(Error::Changed { pid: self.pid }),
        }
    }

    /// Of a process that is gone, a file is not found, or is there and says so, as the kernel's cache has it.
    fn failed(&self, call: &'static str) -> impl Fn(Errno) -> Error {
        move |errno| match (errno, self.facts()) {
            (Errno::NOENT, Err(gone @ Error::ProcessDone { .. })) => gone,
            _ => done(self.pid, Error::on_process(call, self.pid, errno)),
        }
    }

    fn directory(&self, name: &str) -> Result<BorrowedFd<'_>> {
        self.look.directory().ok_or_else(|| {
            let what = format!("a simulated process has no /proc/PID/{name}");
            Error::Unsupported { backend: self.system.backend_name(), what }
        })
    }

    fn failed_on(&self, name: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
        let failed = self.failed(match name {
            "cmdline" => "read /proc/PID/cmdline",
            "environ" => "read /proc/PID/environ",
            "exe" => "open /proc/PID/exe",
            "cwd" => "readlink /proc/PID/cwd",
            "cgroup" => "read /proc/PID/cgroup",
            _ => "read /proc/PID/status",
        });
        move |errno| failed(Errno::from_raw(errno.raw_os_error()))
    }

    fn open(&self, name: &'static str, flags: OFlags) -> Result<OwnedFd> {
        let dir = self.directory(name)?;
        rustix::fs::openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty()).map_err(self.failed_on(name))
    }

    fn read(&self, name: &'static str) -> Result<Vec<u8>> {
        let file = self.open(name, OFlags::RDONLY)?;
        read_all(file).map_err(self.failed("read in /proc/PID"))
    }

    fn read_timeout(&self, name: &'static str, timeout: Duration) -> Result<Vec<u8>> {
        let file = self.open(name, OFlags::RDONLY)?;
        let (tell, hear) = mpsc::sync_channel(1);
        let read = move || _ = tell.send(read_all(file));
        steadfast_linux::spawn_quiet_thread("steadfast-look", read)
            .map_err(|error| self.failed("a thread for a look at it")(Errno::of(&error).unwrap_or(Errno::AGAIN)))?;
        match hear.recv_timeout(timeout) {
            Ok(read) => read.map_err(self.failed("read in /proc/PID")),
            Err(_) => Err(self.failed("read in /proc/PID")(Errno::TIMEDOUT)),
        }
    }

    fn link(&self, name: &'static str) -> Result<PathBuf> {
        let dir = self.directory(name)?;
        let path = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(self.failed_on(name))?;
        Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
    }
}

impl std::fmt::Debug for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inspection({}, {:?})", self.pid, self.facts.name)
    }
}

fn read_all(file: OwnedFd) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    File::from(file).read_to_end(&mut bytes).map_err(|error| Errno::of(&error).unwrap_or(Errno::IO))?;
    Ok(bytes)
}

/// What has no `=` is no variable.
fn variables(text: &[u8]) -> Vec<(OsString, OsString)> {
    let pair = |word: OsString| {
        let bytes = word.into_vec();
        let at = bytes.iter().position(|byte| *byte == b'=')?;
        Some((OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec())))
    };
    steadfast_linux::words(text).into_iter().filter_map(pair).collect()
}
