//! The environment as it was inherited, handed on without a copy.
//!
//! Most programs never change their environment. Then it still lies where the kernel put it, at the far end of the first thread's
//! stack: a list of pointers, and the strings that they point to, memory that is never freed (environ(7), execve(2)). A copy of
//! it for each spawn would cost as much as all the rest of what we add to the kernel's work.
//!
//! So the list is looked at once, together with what std says that the environment is (under std's own lock), and remembered.
//! Later the present list is compared with it, word by word, in memory that stays valid whatever another thread does: if all are
//! the same, the environment is the one remembered. Any change by `set_var` or `remove_var` puts another pointer somewhere or
//! moves the list away, for good, so a list that is compared while it changes is either seen to differ, or was the same up to
//! the moment before the change. In all other cases the caller asks std, which copies.

use crate::stat::behind_name;
use once_cell::race::OnceBox;
use std::ffi::{CStr, OsStr, c_char};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicPtr, Ordering};

unsafe extern "C" {
    /// The C library's; a word that other threads may write, hence atomic.
    static environ: AtomicPtr<AtomicPtr<c_char>>;
}

/// The inherited environment.
pub(super) struct Inherited {
    /// Where the kernel put the list.
    list: *mut AtomicPtr<c_char>,
    /// What it said, null at the end.
    pointers: Vec<*const c_char>,
    path: Option<&'static OsStr>,
}

// SAFETY: the pointers are to memory that lives as long as the process and that nobody writes but by way of atomics.
unsafe impl Send for Inherited {}
// SAFETY: as above.
unsafe impl Sync for Inherited {}

impl Inherited {
    /// The environment, if it is still as it was inherited.
    pub(super) fn unchanged() -> Option<&'static Inherited> {
        static KNOWN: OnceBox<Option<Inherited>> = OnceBox::new();
        KNOWN.get_or_init(|| Box::new(Inherited::look())).as_ref().filter(|inherited| inherited.is_current())
    }

    /// Null-terminated, valid for ever.
    pub(super) fn pointers(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }

    pub(super) fn path(&self) -> Option<&'static OsStr> {
        self.path
    }

    fn is_current(&self) -> bool {
        // SAFETY: the C library defines it.
        let list = unsafe { environ.load(Ordering::Acquire) };
        list == self.list && self.pointers.iter().enumerate().all(|(index, known)| self.entry(index) == *known)
    }

    fn entry(&self, index: usize) -> *const c_char {
        // SAFETY: `look` has found that the list is as long as `pointers`, in the part of the stack that the kernel filled.
        unsafe { (*self.list.wrapping_add(index)).load(Ordering::Acquire) }
    }

    fn look() -> Option<Inherited> {
        let (lists, strings) = initial_stack()?;
        // SAFETY: the C library defines it.
        let list = unsafe { environ.load(Ordering::Acquire) };
        if !lists.contains(&list.addr()) {
            return None;
        }
        let mut inherited = Inherited { list, pointers: Vec::new(), path: None };
        for index in 0.. {
            if !lists.contains(&list.wrapping_add(index).addr()) {
                return None;
            }
            let entry = inherited.entry(index);
            inherited.pointers.push(entry);
            if entry.is_null() {
                break;
            }
            if !strings.contains(&entry.addr()) {
                return None;
            }
        }
        let mut known = std::env::vars_os();
        for pointer in inherited.pointers.iter().filter(|pointer| !pointer.is_null()) {
            // SAFETY: in the part of the stack that the kernel filled with strings, each with its NUL, and leaves alone since.
            let text = OsStr::from_bytes(unsafe { CStr::from_ptr(*pointer) }.to_bytes());
            let (name, value) = known.next()?;
            // What std passes over, or reads differently, is std's to say.
            let value_is_same = text.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=")? == value.as_bytes();
            if !value_is_same {
                return None;
            }
            if name == "PATH" && inherited.path.is_none() {
                inherited.path = text.as_bytes().strip_prefix(b"PATH=").map(OsStr::from_bytes);
            }
        }
        if known.next().is_some() { None } else { Some(inherited) }
    }
}

/// Where the kernel put the lists and the strings of the environment (proc_pid_stat(5): `startstack`, `env_start`, `env_end`);
/// `None` if it does not say.
fn initial_stack() -> Option<(Range<usize>, Range<usize>)> {
    let stat = std::fs::read("/proc/self/stat").ok()?;
    let fields: Vec<&str> = behind_name(&stat)?.collect();
    // The first of these is field 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<usize>().ok().filter(|address| *address != 0);
    let (start, env_start, env_end) = (field(28)?, field(50)?, field(51)?);
    (start < env_start && env_start < env_end).then_some((start..env_start, env_start..env_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_std_says_until_it_is_changed() {
        let Some(inherited) = Inherited::unchanged() else { panic!("a test's environment is inherited, and /proc is there") };
        let count = inherited.pointers.len() - 1;
        assert_eq!(count, std::env::vars_os().count());
        assert_eq!(inherited.path().map(OsStr::to_owned), std::env::var_os("PATH"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        // SAFETY: the only test of this program that looks at the environment is this one.
        unsafe { std::env::set_var("STEADFAST_ENVIRON_TEST", "1") };
        assert!(Inherited::unchanged().is_none());
        // SAFETY: as above.
        unsafe { std::env::remove_var("STEADFAST_ENVIRON_TEST") };
        // The list was moved: for good.
        assert!(Inherited::unchanged().is_none());
        assert_eq!(std::env::var_os("PATH").unwrap_or_default(), path);
    }
}
