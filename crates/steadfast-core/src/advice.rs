//! What to do about an errno: the end of an error's sentence.

use crate::Errno;

/// What is needed for this call, or as [`advice`].
pub(crate) fn advice_on(call: &str, errno: Errno) -> &'static str {
    match (call, errno) {
        ("pidfd_getfd", Errno::PERM) => {
            ": it takes the access of a debugger (ptrace(2)): CAP_SYS_PTRACE, or the same user and a process that may dump core; and with \
             Yama's kernel.yama.ptrace_scope at 1, being its ancestor"
        }
        ("posix_openpt", Errno::AGAIN) => {
            ": there are as many terminals as there may be: close some, or raise the sysctl kernel.pty.max"
        }
        ("pidfd_getfd", Errno::BADF) => ": it has no such descriptor, or has exited",
        ("getsockopt(SO_PEERPIDFD)", Errno::NODATA) => ": it is not connected, or no Unix socket",
        ("recvmsg with SCM_PIDFD", Errno::NODATA) => {
            ": nobody is told as the sender: it is the end of the stream, or it was sent before the socket was asked for its senders"
        }
        ("rt_sigqueueinfo" | "pidfd_send_signal with a value", Errno::AGAIN) => {
            ": as many signals are queued as its user may have: raise RLIMIT_SIGPENDING (`ulimit -i`), or wait until some are taken"
        }
        _ => advice(errno, call.contains("thread")),
    }
}

/// What is needed for this step of a spawn, by its call, or as [`advice`].
pub(crate) fn advice_at(call: &str, errno: Errno) -> &'static str {
    match (call, errno) {
        ("landlock_restrict_self", Errno::PERM) | ("seccomp", Errno::ACCES) => {
            ": it takes no_new_privileges(true), or CAP_SYS_ADMIN in its user namespace"
        }
        ("landlock_restrict_self", Errno::BADFD) => {
            ": the descriptor is none of a set of Landlock's rules: see landlock_create_ruleset(2)"
        }
        ("landlock_restrict_self", Errno::TOOBIG) => {
            ": it would be shut in by more sets of rules than there may be, which are 16"
        }
        ("seccomp", Errno::INVAL) => {
            ": the kernel does not take the program: see what has compiled it, and for which architecture"
        }
        ("seccomp", Errno::BUSY) => ": this process has a filter with a listener, and so have all that it starts: there is one",
        ("PR_CAPBSET_DROP", Errno::PERM) => ": it takes CAP_SETPCAP",
        ("PR_SET_SECUREBITS", Errno::PERM) => ": it takes CAP_SETPCAP, bits that are not locked, and a kernel that knows them",
        _ => advice(errno, call == "clone"),
    }
}

/// Which limit was reached, or what else to do.
pub(crate) fn advice(errno: Errno, makes_a_task: bool) -> &'static str {
    match errno {
        Errno::MFILE => ": this process has as many files open as it may: raise RLIMIT_NOFILE (`ulimit -n`)",
        Errno::NFILE => ": the system has as many files open as it may: raise the sysctl fs.file-max",
        Errno::NOSPC => ": this user watches as many files as he may: raise the sysctl fs.epoll.max_user_watches",
        Errno::NOEXEC => ": it is no program for this machine, and no script: those begin with `#!` and their interpreter",
        Errno::TXTBSY => {
            ": somebody has the file, or the interpreter that it names, open for writing: close it before it is executed"
        }
        Errno::AGAIN if makes_a_task => {
            ": there may be no more processes or threads: raise RLIMIT_NPROC (`ulimit -u`), pids.max of the cgroup, or the sysctl \
             kernel.pid_max"
        }
        _ => "",
    }
}
