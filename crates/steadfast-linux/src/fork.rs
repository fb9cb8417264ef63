//! What a fork(2) of the program changes for us: [`generation`] tells the processes apart that forks made of one, and a
//! [`PerProcess`] is a static that begins afresh in each of them.
//!
//! After a fork, memory is as it was at that moment. A lock that another thread held is held for ever, for that thread is not here;
//! an `epoll` is shared with the parent; and the children in our lists are not ours. So whatever we keep about threads,
//! descriptors and children belongs to one process, and another one never looks at it: it is left where it is, not even
//! dropped, for dropping would take its locks.

use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// This process among its forks: 0 in a page that the kernel wipes in the child of a fork (`MADV_WIPEONFORK`, Linux 4.14),
/// whichever call made it; else the number that it took.
static MARK: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
/// For where there is no such page. Then only what the C library calls after its own fork(3) helps.
static PLAIN: AtomicU32 = AtomicU32::new(0);
/// The last number taken, by us or by those before us.
static LAST: AtomicU32 = AtomicU32::new(0);

/// A number that is the same throughout this process's life, and different in each process that was forked from it, and from
/// which it was forked. Two children of one process may have the same. It costs two loads.
pub fn generation() -> u32 {
    let mark = mark();
    match mark.load(Ordering::Acquire) {
        0 => begin(mark),
        number => number,
    }
}

#[cold]
fn begin(mark: &AtomicU32) -> u32 {
    let number = LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
    match mark.compare_exchange(0, number, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => number,
        // Another thread was quicker.
        Err(number) => number,
    }
}

fn mark() -> &'static AtomicU32 {
    let mark = MARK.load(Ordering::Acquire);
    // SAFETY: null, or what `make_mark` stored: valid and never unmapped.
    match unsafe { mark.as_ref() } {
        Some(mark) => mark,
        None => make_mark(),
    }
}

#[cold]
fn make_mark() -> &'static AtomicU32 {
    const SIZE: usize = size_of::<AtomicU32>();
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let page = unsafe { libc::mmap(ptr::null_mut(), SIZE, prot, flags, -1, 0) };
    let plain = ptr::from_ref(&PLAIN).cast_mut();
    let new = if page == libc::MAP_FAILED { plain } else { page.cast::<AtomicU32>() };
    if new != plain {
        // Where it is refused (before 4.14), `forget` is what is left.
        // SAFETY: the mapping just made, of which nobody else knows.
        unsafe { libc::madvise(page, SIZE, libc::MADV_WIPEONFORK) };
    }
    let chosen = match MARK.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            // Emulators answer the advice and do not follow it (QEMU's user mode before 8.0). No memory for it: as above.
            // SAFETY: `forget` is a function of this type, and makes one store.
            unsafe { libc::pthread_atfork(None, None, Some(forget)) };
            new
        }
        Err(theirs) => {
            if new != plain {
                // SAFETY: the mapping just made, of which nobody else knows.
                unsafe { libc::munmap(page, SIZE) };
            }
            theirs
        }
    };
    // SAFETY: a page of zeros, which is a value, or `PLAIN`; neither ever goes.
    unsafe { &*chosen }
}

/// In the child of the C library's fork.
unsafe extern "C" fn forget() {
    // SAFETY: not null any more when this is registered; see `mark`.
    if let Some(mark) = unsafe { MARK.load(Ordering::Acquire).as_ref() } {
        mark.store(0, Ordering::Release);
    }
}

/// A static of which each process has its own: after a fork(2) the child begins with a new value, and the parent's is left alone,
/// whatever state its locks are in.
pub struct PerProcess<T: 'static> {
    slot: AtomicPtr<Slot<T>>,
    new: fn() -> T,
}

struct Slot<T> {
    generation: u32,
    value: T,
}

impl<T: Send + Sync + 'static> PerProcess<T> {
    /// With what makes the value, at its first use in each process.
    pub const fn new(new: fn() -> T) -> PerProcess<T> {
        PerProcess { slot: AtomicPtr::new(ptr::null_mut()), new }
    }
}

impl<T: Send + Sync + 'static> Deref for PerProcess<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let generation = generation();
        loop {
            let now = self.slot.load(Ordering::Acquire);
            // SAFETY: null, or a slot that was leaked below, and is not freed as long as `self` is borrowed.
            if let Some(slot) = unsafe { now.as_ref() }.filter(|slot| slot.generation == generation) {
                return &slot.value;
            }
            let new = Box::into_raw(Box::new(Slot { generation, value: (self.new)() }));
            // The old one, of another process, stays where it is.
            if self.slot.compare_exchange(now, new, Ordering::AcqRel, Ordering::Acquire).is_err() {
                // Another thread was quicker.
                // SAFETY: made just above, and nobody else has seen it.
                drop(unsafe { Box::from_raw(new) });
            }
        }
    }
}

impl<T: 'static> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let now = *self.slot.get_mut();
        // SAFETY: as in `deref`.
        if unsafe { now.as_ref() }.is_some_and(|slot| slot.generation == generation()) {
            // SAFETY: made by `deref` in this process, and nobody borrows from it any more.
            drop(unsafe { Box::from_raw(now) });
        }
    }
}

impl<T> std::fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PerProcess")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    static NUMBERS: PerProcess<Mutex<Vec<u32>>> = PerProcess::new(|| Mutex::new(Vec::new()));

    /// What `check` says in a child that clone(2) made, which the C library does not hear of.
    fn in_child(check: fn() -> bool) -> bool {
        // SAFETY: as fork(2): no stack, a copy of all memory; the child makes no call of the C library's that takes a lock.
        let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        if pid == 0 {
            // If it hangs, for another test's thread may hold the allocator, it fails.
            // SAFETY: no pointer.
            unsafe { libc::alarm(10) };
            crate::raw::exit_now(i32::from(!check()));
        }
        let mut status = 0;
        // SAFETY: our child, and room for its status.
        unsafe { libc::waitpid(pid as i32, &raw mut status, 0) };
        status == 0
    }

    #[test]
    fn a_child_is_another_generation_and_begins_afresh() {
        let own = generation();
        assert_eq!((own, generation()), (1, 1));
        let guard = NUMBERS.lock();
        // The lock is held here, and by nobody there.
        assert!(in_child(|| generation() == 2 && NUMBERS.try_lock().is_ok()));
        assert!(in_child(|| generation() == 2 && in_child(|| generation() == 3 && NUMBERS.try_lock().is_ok())));
        assert!(NUMBERS.try_lock().is_err());
        drop(guard);
        assert_eq!(generation(), own);
    }
}
