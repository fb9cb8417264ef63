//! The last step: the program.

use super::Failure;
use crate::raw;
use crate::spawn::image::{PID_ROOM, Pointers};
use crate::spawn::prepare::Prepared;
use crate::spawn::step::What;
use std::ffi::{c_char, c_int, c_long};
use std::ptr;
use steadfast_core::Errno;

/// Executes the open file, or tries the candidates as execvp(3) does; returns why none of them runs.
///
/// # Safety
/// The pointers are null-terminated lists of C strings; `argv_after_slot` has a slot before it and at least one entry; `pid` is null or has
/// room for a PID. Nobody else uses them.
pub(super) unsafe fn execute(prepared: &Prepared) -> Failure {
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

/// Puts the child's PID into its environment, if it is to be there: before a filter may refuse to tell it.
///
/// # Safety
/// As [`execute`].
pub(super) unsafe fn name_itself(prepared: &Prepared) {
    if !prepared.pointers.pid.is_null() {
        // SAFETY: as the caller promises.
        unsafe { write_pid(prepared.pointers.pid) };
    }
}

/// Writes this process's PID, as it sees it itself, and a NUL.
///
/// # Safety
/// There is room for [`PID_ROOM`] bytes, and nobody else uses it: it is of this spawn alone, whose parent waits, or of a copy.
unsafe fn write_pid(room: *mut u8) {
    // SAFETY: no pointer.
    let mut rest = unsafe { raw::syscall!(libc::SYS_getpid) }.map_or(0, c_long::unsigned_abs);
    let mut digits = [0_u8; PID_ROOM];
    let mut first = PID_ROOM - 1;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 || first == 0 {
            break;
        }
    }
    // The last byte is the NUL.
    let text = &digits[first..];
    // SAFETY: no more than there is room for, from an array of our own.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), room, text.len()) };
}

/// Runs a file that is no binary and has no `#!` with the shell, as execvp(3) and POSIX have it, if it begins like text of a script.
///
/// # Safety
/// As [`execute`].
unsafe fn execute_script(path: *const c_char, image: &Pointers) -> Errno {
    let mut beginning = [0_u8; 256];
    if !begins_like_a_script(read_beginning(path, &mut beginning)) {
        return Errno::NOEXEC;
    }
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

/// Empty if it cannot be read, which the shell could not either.
fn read_beginning(path: *const c_char, buffer: &mut [u8; 256]) -> &[u8] {
    // SAFETY: a C string that lives on in the parent.
    let file = unsafe { raw::syscall!(libc::SYS_openat, libc::AT_FDCWD, path, libc::O_RDONLY | libc::O_CLOEXEC) };
    let Ok(file) = file else { return &[] };
    // SAFETY: room for as many bytes as is said.
    let read = unsafe { raw::syscall!(libc::SYS_read, file, buffer.as_mut_ptr(), buffer.len()) };
    // SAFETY: no pointer; it was opened just above.
    _ = unsafe { raw::syscall!(libc::SYS_close, file) };
    read.ok().and_then(|read| buffer.get(..read as usize)).unwrap_or_default()
}

/// Not an empty file, nothing binary (a program for another machine), no page of HTML or XML; and nothing with a `#!`: what the kernel does
/// not take of those, a line of more than 255 bytes, no shell would understand.
fn begins_like_a_script(bytes: &[u8]) -> bool {
    let is_text = |byte: &u8| !matches!(byte, 0..=6 | 14..=26 | 28..=31 | 127);
    let words = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let is_markup = matches!(words, [b'<', b'a'..=b'z' | b'A'..=b'Z' | b'!' | b'?', ..]);
    !bytes.is_empty() && !bytes.starts_with(b"#!") && !is_markup && bytes.iter().all(is_text)
}

/// Tried again while somebody has the file open for writing (`ETXTBSY`): as a rule it is a program that was just written, and a child that
/// another thread has just made and that has not come to its exec yet. The rule for all that is tried again: `once_more` in core.
fn patiently(execute: impl Fn() -> Errno) -> Errno {
    const SHORTEST: i64 = 50_000;
    const LONGEST: i64 = 50_000_000;
    let mut pause = SHORTEST;
    loop {
        let errno = execute();
        if errno != Errno::TXTBSY || pause > LONGEST {
            return errno;
        }
        let time = libc::timespec { tv_sec: 0, tv_nsec: pause as _ };
        // SAFETY: a time; what was left of it is not asked for.
        _ = unsafe { raw::syscall!(libc::SYS_nanosleep, &raw const time, ptr::null_mut::<libc::timespec>()) };
        pause *= 2;
    }
}

fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> Errno {
    patiently(|| {
        // SAFETY: the lists are null-terminated and their strings live on in the parent; on success this does not return.
        failure(unsafe { raw::syscall!(libc::SYS_execve, path, argv, envp) })
    })
}

/// execveat(2). An interpreter finds a script by its descriptor, which then must not be closed: the kernel says `ENOENT`.
fn execute_file(fd: c_int, image: &Pointers) -> Errno {
    let (argv, envp, empty) = (image.argv_after_slot, image.envp, c"".as_ptr());
    // SAFETY: as in `execve`, and an empty path, which stands for the descriptor.
    let execveat = || failure(unsafe { raw::syscall!(libc::SYS_execveat, fd, empty, argv, envp, libc::AT_EMPTY_PATH) });
    let errno = patiently(execveat);
    if errno != Errno::NOENT {
        return errno;
    }
    // SAFETY: no pointer; the descriptor table is the child's own.
    _ = unsafe { raw::syscall!(libc::SYS_fcntl, fd, libc::F_SETFD, 0) };
    execveat()
}

/// Of a call that does not return if it works.
fn failure(answer: Result<c_long, Errno>) -> Errno {
    answer.err().unwrap_or(Errno::IO)
}
