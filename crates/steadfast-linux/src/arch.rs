//! What differs by architecture, and the only file where it may: `clone3` with a stack of its own for the child, which no C
//! library offers; system calls that leave errno alone; the numbers of the calls that came in a second width; and the program of a keeper
//! (`job/keeper.rs`). Longer than other files: each of them is there once for every architecture.

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

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        // The text of the program that `job/keeper.rs` puts into an image of its own; here it is data. In C:
        //
        //     prctl(PR_SET_NAME, duty->name);
        //     copy = duty->poll, period = 0;
        //     if (ppoll(copy, 2, &period, NULL, 8) < 0) exit(1);
        //     write(4, duty->order, 1), close(4);
        //     do {
        //         copy = duty->poll, period = duty->period;
        //         answer = ppoll(copy, 2, duty->has_period ? &period : NULL, NULL, 8);
        //     } while (answer == -EINTR || (answer == 0 && kill(duty->owner, 0) != -ESRCH));
        //     if (answer < 0) exit(1);
        //     if (copy[0].revents & POLLIN && read(0, &byte, 1) == 1) {
        //         do if (byte != 2) exit(0); while (read(0, &byte, 1) == 1);
        //         while (kill(-1, 0) != -ESRCH) nanosleep(duty->period, NULL);
        //         exit(0);
        //     }
        //     write(2, duty->order, 1);
        //     unlinkat(3, duty->dir, AT_REMOVEDIR);
        //     exit(0);
        std::arch::global_asm!(
            ".pushsection .rodata.steadfast_keeper, \"a\", @progbits",
            ".hidden steadfast_keeper_begin",
            ".globl steadfast_keeper_begin",
            ".hidden steadfast_keeper_end",
            ".globl steadfast_keeper_end",
            "steadfast_keeper_begin:",
            "mov ebx, 0x200080",
            "mov eax, 157",                // prctl
            "mov edi, 15",
            "lea rsi, [rbx + 48]",
            "xor edx, edx",
            "xor r10d, r10d",
            "xor r8d, r8d",
            "syscall",
            "sub rsp, 32",
            "mov rax, [rbx]",
            "mov [rsp], rax",
            "mov rax, [rbx + 8]",
            "mov [rsp + 8], rax",
            "xor eax, eax",
            "mov [rsp + 16], rax",
            "mov [rsp + 24], rax",
            "mov eax, 271",                // ppoll
            "mov rdi, rsp",
            "mov esi, 2",
            "lea rdx, [rsp + 16]",
            "xor r10d, r10d",
            "mov r8d, 8",
            "syscall",
            "mov edi, 1",
            "test rax, rax",
            "js 5f",
            "mov eax, 1",                  // write
            "mov edi, 4",
            "lea rsi, [rbx + 28]",
            "mov edx, 1",
            "syscall",
            "mov eax, 3",                  // close
            "mov edi, 4",
            "syscall",
            "2:",
            "mov rax, [rbx]",
            "mov [rsp], rax",
            "mov rax, [rbx + 8]",
            "mov [rsp + 8], rax",
            "mov rax, [rbx + 32]",
            "mov [rsp + 16], rax",
            "mov rax, [rbx + 40]",
            "mov [rsp + 24], rax",
            "mov eax, 271",                // ppoll
            "mov rdi, rsp",
            "mov esi, 2",
            "mov rdx, [rbx + 16]",
            "test rdx, rdx",
            "jz 9f",
            "lea rdx, [rsp + 16]",
            "9:",
            "xor r10d, r10d",
            "mov r8d, 8",
            "syscall",
            "cmp rax, -4",
            "je 2b",
            "mov edi, 1",
            "test rax, rax",
            "js 5f",
            "jnz 3f",
            "mov eax, 62",                 // kill
            "mov edi, [rbx + 24]",
            "xor esi, esi",
            "syscall",
            "cmp rax, -3",
            "jne 2b",
            "jmp 4f",
            "3:",
            "test byte ptr [rsp + 6], 1",
            "jz 4f",
            "xor eax, eax",                // read
            "xor edi, edi",
            "lea rsi, [rsp + 16]",
            "mov edx, 1",
            "syscall",
            "cmp rax, 1",
            "jne 4f",
            "6:",
            "cmp byte ptr [rsp + 16], 2",
            "jne 7f",
            "xor eax, eax",                // read
            "xor edi, edi",
            "lea rsi, [rsp + 16]",
            "mov edx, 1",
            "syscall",
            "cmp rax, 1",
            "je 6b",
            "8:",
            "mov eax, 62",                 // kill
            "mov rdi, -1",
            "xor esi, esi",
            "syscall",
            "cmp rax, -3",
            "je 7f",
            "mov eax, 35",                 // nanosleep
            "lea rdi, [rbx + 32]",
            "xor esi, esi",
            "syscall",
            "jmp 8b",
            "4:",
            "mov eax, 1",                  // write
            "mov edi, 2",
            "lea rsi, [rbx + 28]",
            "mov edx, 1",
            "syscall",
            "mov eax, 263",                // unlinkat
            "mov edi, 3",
            "lea rsi, [rbx + 64]",
            "mov edx, 0x200",
            "syscall",
            "7:",
            "xor edi, edi",
            "5:",
            "mov eax, 231",                // exit_group
            "syscall",
            "ud2",
            "steadfast_keeper_end:",
            ".popsection",
        );
        pub(crate) const ELF_MACHINE: u16 = 62;
    } else if #[cfg(target_arch = "aarch64")] {
        // As on x86_64.
        std::arch::global_asm!(
            ".pushsection .rodata.steadfast_keeper, \"a\", @progbits",
            ".hidden steadfast_keeper_begin",
            ".globl steadfast_keeper_begin",
            ".hidden steadfast_keeper_end",
            ".globl steadfast_keeper_end",
            ".balign 4",
            "steadfast_keeper_begin:",
            "movz x19, #0x0080",
            "movk x19, #0x20, lsl #16",
            "mov x8, #167",                // prctl
            "mov x0, #15",
            "add x1, x19, #48",
            "mov x2, #0",
            "mov x3, #0",
            "mov x4, #0",
            "svc #0",
            "sub sp, sp, #32",
            "ldp x0, x1, [x19]",
            "stp x0, x1, [sp]",
            "stp xzr, xzr, [sp, #16]",
            "mov x8, #73",                 // ppoll
            "mov x0, sp",
            "mov x1, #2",
            "add x2, sp, #16",
            "mov x3, #0",
            "mov x4, #8",
            "svc #0",
            "mov x9, #1",
            "cmp x0, #0",
            "b.lt 5f",
            "mov x8, #64",                 // write
            "mov x0, #4",
            "add x1, x19, #28",
            "mov x2, #1",
            "svc #0",
            "mov x8, #57",                 // close
            "mov x0, #4",
            "svc #0",
            "2:",
            "ldp x0, x1, [x19]",
            "stp x0, x1, [sp]",
            "ldp x0, x1, [x19, #32]",
            "stp x0, x1, [sp, #16]",
            "mov x8, #73",                 // ppoll
            "mov x0, sp",
            "mov x1, #2",
            "ldr x2, [x19, #16]",
            "cbz x2, 9f",
            "add x2, sp, #16",
            "9:",
            "mov x3, #0",
            "mov x4, #8",
            "svc #0",
            "cmn x0, #4",
            "b.eq 2b",
            "mov x9, #1",
            "cmp x0, #0",
            "b.lt 5f",
            "b.ne 3f",
            "mov x8, #129",                // kill
            "ldrsw x0, [x19, #24]",
            "mov x1, #0",
            "svc #0",
            "cmn x0, #3",
            "b.ne 2b",
            "b 4f",
            "3:",
            "ldrb w0, [sp, #6]",
            "tbz w0, #0, 4f",
            "mov x8, #63",                 // read
            "mov x0, #0",
            "add x1, sp, #16",
            "mov x2, #1",
            "svc #0",
            "cmp x0, #1",
            "b.ne 4f",
            "6:",
            "ldrb w0, [sp, #16]",
            "cmp w0, #2",
            "b.ne 7f",
            "mov x8, #63",                 // read
            "mov x0, #0",
            "add x1, sp, #16",
            "mov x2, #1",
            "svc #0",
            "cmp x0, #1",
            "b.eq 6b",
            "8:",
            "mov x8, #129",                // kill
            "mov x0, #-1",
            "mov x1, #0",
            "svc #0",
            "cmn x0, #3",
            "b.eq 7f",
            "mov x8, #101",                // nanosleep
            "add x0, x19, #32",
            "mov x1, #0",
            "svc #0",
            "b 8b",
            "4:",
            "mov x8, #64",                 // write
            "mov x0, #2",
            "add x1, x19, #28",
            "mov x2, #1",
            "svc #0",
            "mov x8, #35",                 // unlinkat
            "mov x0, #3",
            "add x1, x19, #64",
            "mov x2, #0x200",
            "svc #0",
            "7:",
            "mov x9, #0",
            "5:",
            "mov x8, #94",                 // exit_group
            "mov x0, x9",
            "svc #0",
            "brk #1",
            "steadfast_keeper_end:",
            ".popsection",
        );
        pub(crate) const ELF_MACHINE: u16 = 183;
    }
}

cfg_if::cfg_if! {
    if #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))] {
        unsafe extern "C" {
            static steadfast_keeper_begin: u8;
            static steadfast_keeper_end: u8;
        }

        /// The instructions above, for an image that has its duty at 0x200080.
        pub(crate) fn keeper_text() -> Option<&'static [u8]> {
            let (begin, end) = (&raw const steadfast_keeper_begin, &raw const steadfast_keeper_end);
            let length = end.addr() - begin.addr();
            // SAFETY: the two labels stand before and behind the bytes above, which are in memory that is never written.
            Some(unsafe { std::slice::from_raw_parts(begin, length) })
        }
    } else {
        pub(crate) const ELF_MACHINE: u16 = 0;

        /// Not written for this architecture.
        pub(crate) fn keeper_text() -> Option<&'static [u8]> {
            None
        }
    }
}
