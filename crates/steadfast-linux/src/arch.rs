//! What differs by architecture, and the only file where it may: `clone3` with a stack of its own for the child, which no C
//! library offers, and the numbers of the calls that came in a second width.

use crate::raw::CloneArgs;
use std::ffi::c_void;

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        /// Calls `clone3(args)`; in the child, which starts on the stack that `args` names, calls `run(arg)`.
        /// Returns the PID, or the negated errno.
        ///
        /// # Safety
        /// `args` names a stack that nobody else uses and that is large enough for `run`; with `CLONE_VM`, `CLONE_VFORK` is
        /// set too, so that what `arg` points to outlives the child; `run` does only what is allowed after a `vfork`.
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
