//! The last step: the program.

use super::Failure;
use crate::raw;
use crate::spawn::image::Pointers;
use crate::spawn::prepare::Prepared;
use crate::spawn::step::What;
use std::ffi::{c_char, c_int};
use std::ptr;
use steadfast_core::Errno;

/// Executes the open file, or tries the candidates as execvp(3) does; returns why none of them runs.
///
/// # Safety
/// The pointers are null-terminated lists of C strings; `argv_after_slot` has a slot before it and at least one entry.
pub(super) unsafe fn execute(prepared: &Prepared<'_>) -> Failure {
    let image = &prepared.pointers;
    let executable = prepared.descriptors.executable.number();
    if executable >= 0 {
        return (What::Exec.into(), execute_file(executable, image));
    }
    let mut denied = None;
    let mut last = Errno::NOENT;
    let mut index = 0;
    let mut candidate = image.candidates;
    loop {
        // SAFETY: `candidate` has not passed the null that ends the list.
        let path = unsafe { *candidate };
        if path.is_null() {
            return denied.unwrap_or((What::NotFound.into(), last));
        }
        let mut errno = execve(path, image.argv_after_slot, image.envp);
        if errno == Errno::NOEXEC {
            // SAFETY: as the caller promises.
            errno = unsafe { execute_script(path, image) };
        }
        match errno {
            Errno::ACCES => denied = Some((What::Exec.number(index), errno)),
            // The directory is missing, or away with its file server: look in the next one.
            Errno::NOENT | Errno::NOTDIR | Errno::NODEV | Errno::STALE | Errno::TIMEDOUT => last = errno,
            errno => return (What::Exec.number(index), errno),
        }
        index += 1;
        candidate = candidate.wrapping_add(1);
    }
}

/// Runs a file that is no binary and has no `#!` with the shell, as execvp(3) and POSIX have it.
///
/// # Safety
/// As [`execute`].
unsafe fn execute_script(path: *const c_char, image: &Pointers) -> Errno {
    let shell = c"/bin/sh".as_ptr();
    let slot = image.argv_after_slot.wrapping_sub(1);
    // SAFETY: the slot is there for this.
    unsafe { *slot = shell };
    // SAFETY: argv has at least the program's own name.
    let name = unsafe { ptr::replace(image.argv_after_slot, path) };
    let errno = execve(shell, slot, image.envp);
    // SAFETY: as above; the next candidate sees argv as it was.
    unsafe { *image.argv_after_slot = name };
    errno
}

fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> Errno {
    // SAFETY: the lists are null-terminated and their strings live on in the parent; on success this does not return.
    unsafe { libc::syscall(libc::SYS_execve, path, argv, envp) };
    raw::errno()
}

/// execveat(2). An interpreter finds a script by its descriptor, which then must not be closed: the kernel says `ENOENT`.
fn execute_file(fd: c_int, image: &Pointers) -> Errno {
    let (argv, envp, empty) = (image.argv_after_slot, image.envp, c"".as_ptr());
    // SAFETY: as in `execve`, and an empty path, which stands for the descriptor.
    let execveat = || unsafe { libc::syscall(libc::SYS_execveat, fd, empty, argv, envp, libc::AT_EMPTY_PATH) };
    execveat();
    let errno = raw::errno();
    if errno != Errno::NOENT {
        return errno;
    }
    // SAFETY: no pointer; the descriptor table is the child's own.
    unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFD, 0) };
    execveat();
    raw::errno()
}
