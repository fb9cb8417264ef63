//! What differs by architecture, and the only file where it may: `clone3` with a stack of its own for the child, which no C
//! library offers; system calls that leave errno alone; and the numbers of the calls that came in a second width.

use std::ffi::{c_long, c_void};

/// `struct clone_args` up to Linux 5.7 (`CLONE_ARGS_SIZE_VER2`).
#[derive(Default)]
#[repr(C)]
pub(crate) struct CloneArgs {
    pub(crate) flags: u64,
    pub(crate) pidfd: u64,
    pub(crate) child_tid: u64,
    pub(crate) parent_tid: u64,
    pub(crate) exit_signal: u64,
    pub(crate) stack: u64,
    pub(crate) stack_size: u64,
    pub(crate) tls: u64,
    pub(crate) set_tid: u64,
    pub(crate) set_tid_size: u64,
    pub(crate) cgroup: u64,
}

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        /// Calls `clone3(args)`; in the child, which starts on the stack that `args` names, calls `run(arg)`.
        /// Returns the PID, or the negated errno.
        ///
        /// # Safety
        /// `args` names a stack that nobody else uses and that is large enough for `run`; with `CLONE_VM`, both stay until the child has left
        /// our memory, and so does what `arg` points to; `run` does only what is allowed after a `vfork`.
        pub(crate) unsafe fn clone3(
            args: &CloneArgs,
            run: unsafe extern "C" fn(*mut c_void) -> !,
            arg: *mut c_void,
        ) -> isize {
            let answer: isize;
            // SAFETY: the parent's side of the system call clobbers rax, rcx and r11 only, and writes through the pointers in
            // `args`, which the caller vouches for. The child's side never leaves this block: it calls `run`, which does not
            // return, on a stack of its own, aligned to 16 bytes before the call as the ABI demands.
            unsafe {
                std::arch::asm!(
                    "syscall",
                    "test rax, rax",
                    "jnz 2f",
                    "xor ebp, ebp",
                    "and rsp, -16",
                    "mov rdi, {arg}",
                    "call {run}",
                    "ud2",
                    "2:",
                    run = in(reg) run,
                    arg = in(reg) arg,
                    inlateout("rax") libc::SYS_clone3 as isize => answer,
                    in("rdi") args,
                    in("rsi") size_of::<CloneArgs>(),
                    // Not `lateout`: that would let the compiler keep `run` or `arg` there.
                    out("rcx") _,
                    out("r11") _,
                );
            }
            answer
        }
        pub(crate) const HAS_CLONE3: bool = true;
    } else if #[cfg(target_arch = "aarch64")] {
        /// Calls `clone3(args)`; in the child, which starts on the stack that `args` names, calls `run(arg)`.
        /// Returns the PID, or the negated errno.
        ///
        /// # Safety
        /// As on x86_64.
        pub(crate) unsafe fn clone3(
            args: &CloneArgs,
            run: unsafe extern "C" fn(*mut c_void) -> !,
            arg: *mut c_void,
        ) -> isize {
            let answer: isize;
            // SAFETY: the parent's side of the system call clobbers x0 only, and writes through the pointers in `args`, which
            // the caller vouches for. The child's side never leaves this block: it calls `run`, which does not return, on a
            // stack of its own, which the caller has aligned to 16 bytes.
            unsafe {
                std::arch::asm!(
                    "svc 0",
                    "cbnz x0, 2f",
                    "mov x29, xzr",
                    "mov x0, {arg}",
                    "blr {run}",
                    "brk 1",
                    "2:",
                    run = in(reg) run,
                    arg = in(reg) arg,
                    inlateout("x0") args as *const CloneArgs as isize => answer,
                    in("x1") size_of::<CloneArgs>(),
                    in("x8") libc::SYS_clone3,
                );
            }
            answer
        }
        pub(crate) const HAS_CLONE3: bool = true;
    } else {
        /// Not written for this architecture: answers `ENOSYS`, and the engine goes through `clone`.
        ///
        /// # Safety
        /// None is needed.
        pub(crate) unsafe fn clone3(
            _: &CloneArgs,
            _: unsafe extern "C" fn(*mut c_void) -> !,
            _: *mut c_void,
        ) -> isize {
            -(libc::ENOSYS as isize)
        }
        pub(crate) const HAS_CLONE3: bool = false;
    }
}

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        /// A system call, whose answer is the kernel's own: a number from -4095 to -1 is a negated errno. It writes to no memory of the thread's:
        /// the C library's own `syscall` would write errno, which a child in our memory shares with a thread that runs.
        ///
        /// # Safety
        /// As the call with these arguments.
        pub(crate) unsafe fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
            let answer: isize;
            // SAFETY: the call clobbers rax, rcx and r11 only; the caller vouches for what it does.
            unsafe {
                std::arch::asm!(
                    "syscall",
                    inlateout("rax") number as isize => answer,
                    in("rdi") a,
                    in("rsi") b,
                    in("rdx") c,
                    in("r10") d,
                    in("r8") e,
                    in("r9") f,
                    lateout("rcx") _,
                    lateout("r11") _,
                    options(nostack),
                );
            }
            answer
        }
        pub(crate) const LEAVES_ERRNO_ALONE: bool = true;
    } else if #[cfg(target_arch = "aarch64")] {
        /// A system call, as on x86_64.
        ///
        /// # Safety
        /// As the call with these arguments.
        pub(crate) unsafe fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
            let answer: isize;
            // SAFETY: the call clobbers x0 only; the caller vouches for what it does.
            unsafe {
                std::arch::asm!(
                    "svc 0",
                    inlateout("x0") a => answer,
                    in("x1") b,
                    in("x2") c,
                    in("x3") d,
                    in("x4") e,
                    in("x5") f,
                    in("x8") number,
                    options(nostack),
                );
            }
            answer
        }
        pub(crate) const LEAVES_ERRNO_ALONE: bool = true;
    } else {
        /// A system call by the C library, which writes errno: a child in our memory may only make it while this thread is suspended.
        ///
        /// # Safety
        /// As the call with these arguments.
        pub(crate) unsafe fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
            // SAFETY: the caller vouches for it.
            match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
                // SAFETY: the C library keeps this pointer valid for the thread's life, and only this thread uses what it leads to.
                -1 => -(unsafe { *libc::__errno_location() } as isize),
                answer => answer as isize,
            }
        }
        pub(crate) const LEAVES_ERRNO_ALONE: bool = false;
    }
}

cfg_if::cfg_if! {
    // The first calls there took IDs of 16 bits.
    if #[cfg(any(target_arch = "x86", target_arch = "arm", target_arch = "m68k", target_arch = "sparc"))] {
        pub(crate) const SYS_SETRESUID: libc::c_long = libc::SYS_setresuid32;
        pub(crate) const SYS_SETRESGID: libc::c_long = libc::SYS_setresgid32;
        pub(crate) const SYS_SETGROUPS: libc::c_long = libc::SYS_setgroups32;
    } else {
        pub(crate) const SYS_SETRESUID: libc::c_long = libc::SYS_setresuid;
        pub(crate) const SYS_SETRESGID: libc::c_long = libc::SYS_setresgid;
        pub(crate) const SYS_SETGROUPS: libc::c_long = libc::SYS_setgroups;
    }
}
