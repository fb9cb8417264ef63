//! The stacks of children that share our memory: a few per thread, kept for the next spawns, with a guard page below.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;
use steadfast_core::Errno;

/// The child's frames take under 2 KiB in a release build and under 8 KiB in a debug build.
const SIZE: usize = 64 * 1024;
/// For code of the caller's.
const LARGE: usize = 1024 * 1024;
/// The largest page of any Linux, so that the guard is at least one page everywhere.
const GUARD: usize = 64 * 1024;

/// So many at most are kept by a thread: as many starts as are useful at a time.
const FEW: usize = 16;

thread_local! {
    static KEPT: Cell<Vec<Stack>> = const { Cell::new(Vec::new()) };
}

pub(crate) struct Stack {
    base: *mut c_void,
    /// Without the guard.
    size: usize,
}

impl Stack {
    /// Takes one of this thread's, or maps one.
    pub(crate) fn take() -> Result<Stack, Errno> {
        let kept = KEPT.try_with(|kept| {
            let mut stacks = kept.take();
            let stack = stacks.pop();
            kept.set(stacks);
            stack
        });
        kept.ok().flatten().map_or_else(|| Stack::map(SIZE), Ok)
    }

    /// Gives it back for the next spawn on this thread, whichever it is. (mmap and munmap cost a tenth of a whole spawn.)
    pub(crate) fn keep(self) {
        if self.size != SIZE {
            return;
        }
        // A thread that is ending has no room for it any more, and unmaps it here.
        _ = KEPT.try_with(|kept| {
            let mut stacks = kept.take();
            if stacks.len() < FEW {
                stacks.push(self);
            }
            kept.set(stacks);
        });
    }

    /// One of the usual size that is not this thread's.
    pub(crate) fn own() -> Result<Stack, Errno> {
        Stack::map(SIZE)
    }

    /// One for code of the caller's, which is not kept.
    pub(crate) fn large() -> Result<Stack, Errno> {
        Stack::map(LARGE)
    }

    fn map(size: usize) -> Result<Stack, Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { libc::mmap(ptr::null_mut(), GUARD + size, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(crate::raw::errno());
        }
        let stack = Stack { base, size };
        // SAFETY: the range is the upper part of the mapping just made, and nobody else knows of it.
        let answer = unsafe { libc::mprotect(stack.bottom(), size, libc::PROT_READ | libc::PROT_WRITE) };
        if answer == -1 { Err(crate::raw::errno()) } else { Ok(stack) }
    }

    /// The lowest usable address.
    pub(crate) fn bottom(&self) -> *mut c_void {
        self.base.wrapping_byte_add(GUARD)
    }

    /// The address just above: aligned to 16 bytes, as both halves of it are.
    pub(crate) fn top(&self) -> *mut c_void {
        self.bottom().wrapping_byte_add(self.size)
    }

    /// The middle, as the top of a smaller stack for a child's own child.
    pub(crate) fn middle(&self) -> *mut c_void {
        self.bottom().wrapping_byte_add(self.size / 2)
    }

    pub(crate) const fn size(&self) -> usize {
        self.size
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone, and its child has ended or executed another program: until then its flight has it.
        unsafe { libc::munmap(self.base, GUARD + self.size) };
    }
}
