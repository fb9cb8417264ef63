//! [`Tale`]: what a child with walls has to tell that neither its report nor the channel can carry.
//!
//! A page that parent and child share through every door: where the child has a copy of our memory too, and without a system call, for a filter
//! of system calls may be on by then.

use super::step::Step;
use crate::raw;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use steadfast_core::{Attributes, Errno};

/// As many walls as a plan can have: 64 of Landlock's, 64 filters, two others.
const ROOM: usize = 130;

/// Written by the child alone. All zero is a value: nothing is told.
#[repr(C)]
struct Page {
    failure: Line,
    missing: [Line; ROOM],
    /// How many of those are written.
    count: AtomicU32,
}

/// A step, never 0, and how it failed.
#[repr(C)]
struct Line {
    step: AtomicU32,
    errno: AtomicI32,
}

impl Line {
    fn write(&self, (step, errno): (Step, Errno)) {
        self.errno.store(errno.as_raw(), Ordering::Release);
        self.step.store(step.as_raw(), Ordering::Release);
    }

    fn read(&self) -> Option<(Step, Errno)> {
        let step = Step::from_raw(self.step.load(Ordering::Acquire))?;
        Some((step, Errno::from_raw(self.errno.load(Ordering::Acquire))))
    }
}

pub(super) struct Tale(NonNull<Page>);

impl Tale {
    /// Whether a child with these attributes may have to tell more than others.
    pub(super) fn is_wanted(a: &Attributes) -> bool {
        !a.seccomp.is_empty() || a.walls_if_possible
    }

    pub(super) fn map() -> Result<Tale, Errno> {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { libc::mmap(ptr::null_mut(), size_of::<Page>(), access, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(raw::errno());
        }
        NonNull::new(base.cast()).map(Tale).ok_or(Errno::NOMEM)
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped by `map` until this is dropped, all zero at first, aligned to a page, and changed by its atomics alone.
        unsafe { self.0.as_ref() }
    }

    /// In the child: it has failed.
    pub(super) fn fail(&self, failure: (Step, Errno)) {
        self.page().failure.write(failure);
    }

    /// In the child: it goes without this wall.
    pub(super) fn miss(&self, failure: (Step, Errno)) {
        let count = self.page().count.load(Ordering::Relaxed);
        if let Some(line) = self.page().missing.get(count as usize) {
            line.write(failure);
            self.page().count.store(count + 1, Ordering::Release);
        }
    }

    pub(super) fn failure(&self) -> Option<(Step, Errno)> {
        self.page().failure.read()
    }

    pub(super) fn missing(&self) -> impl Iterator<Item = (Step, Errno)> {
        let count = self.page().count.load(Ordering::Acquire);
        self.page().missing.iter().take(count as usize).filter_map(Line::read)
    }
}

impl Drop for Tale {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and the child that used it has left: its flight has it until then. A child with a copy has its own mapping.
        unsafe { libc::munmap(self.0.as_ptr().cast::<c_void>(), size_of::<Page>()) };
    }
}
