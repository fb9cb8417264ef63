//! The default profiles of well-known sandboxes, from their public lists of the calls that they allow.
//!
//! As they are on a 64-bit machine, for a process without privileges.

use crate::filter::{install, rule};
use nix::libc;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{SeccompAction, SeccompRule};
use std::collections::BTreeMap;
use steadfast::Errno;
use syscalls::Sysno;

/// What a filter knows: calls by their numbers, and the arguments with which they pass; with any, if there are none.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Puts this process under a profile, by its name; `false` if there is none of that name.
///
/// The older ones are milder here in two ways. `clone3` "is not there" (`ENOSYS`), where they refuse it: a C library that is newer than
/// they are takes only that for a reason to use `clone`, and could not even start a thread. And what our own libraries cannot do without
/// passes.
///
/// # Panics
/// If this machine has no such filters.
pub fn enter(name: &str) -> bool {
    let refused = SeccompAction::Errno(Errno::PERM.as_raw() as u32);
    match name {
        "docker, 2019" => install(docker(&[DOCKER, DOCKER_2019, OUR_LIBRARIES]), refused, SeccompAction::Allow),
        "docker, 2024" => {
            let mut rules = docker(&[DOCKER, DOCKER_2024]);
            rules.insert(libc::SYS_socket, vec![rule(0, Ne, libc::AF_VSOCK as u64)]);
            install(rules, refused, SeccompAction::Allow);
        }
        "android 10" => {
            let mut rules = allowed(&[ANDROID_10, OUR_LIBRARIES]);
            rules.insert(libc::SYS_clone3, vec![]);
            install(rules, SeccompAction::Trap, SeccompAction::Allow);
        }
        _ => return false,
    }
    let absent = SeccompAction::Errno(Errno::NOSYS.as_raw() as u32);
    // Of two filters' errors the newer one's is told.
    install(Rules::from([(libc::SYS_clone3, vec![])]), SeccompAction::Allow, absent);
    true
}

/// Those of the lists that this architecture has: x86_64 has them all.
fn allowed(lists: &[&str]) -> Rules {
    let number = |name: &str| match name.parse::<Sysno>() {
        Ok(number) => Some(i64::from(number.id())),
        Err(()) if std::env::consts::ARCH == "x86_64" => panic!("{name} is no call of the kernel's"),
        Err(()) => None,
    };
    lists.iter().flat_map(|list| list.split_whitespace()).filter_map(number).map(|number| (number, vec![])).collect()
}

/// With the rules that look at arguments: no new namespaces, and only well-known personalities.
fn docker(lists: &[&str]) -> Rules {
    let mut rules = allowed(lists);
    let namespaces = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC;
    let namespaces = (namespaces | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP) as u64;
    rules.insert(libc::SYS_clone, vec![rule(0, MaskedEq(namespaces), 0)]);
    let personalities = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
    rules.insert(libc::SYS_personality, personalities.map(|personality| rule(0, Eq, personality)).into());
    rules
}

/// In all of `profiles/seccomp/default.json` of Docker's engine, with the capabilities that a container has by default.
const DOCKER: &str = "
    accept accept4 access adjtimex alarm arch_prctl bind brk capget capset chdir chmod chown chroot clock_getres clock_gettime
    clock_nanosleep close connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old
    epoll_pwait epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat fadvise64 fallocate
    fanotify_mark fchdir fchmod fchmodat fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr
    fsetxattr fstat fstatfs fsync ftruncate futex futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64
    getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid
    getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit ioctl
    ioprio_get ioprio_set kill lchown lgetxattr link linkat listen listxattr llistxattr lremovexattr lseek lsetxattr lstat
    madvise memfd_create mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap modify_ldt mprotect mq_getsetattr
    mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall
    munmap nanosleep newfstatat open openat pause pipe pipe2 poll ppoll prctl pread64 preadv preadv2 prlimit64 pselect6 ptrace
    pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr
    rename renameat renameat2 restart_syscall rmdir rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity
    sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto
    set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid
    setresgid setresuid setreuid setrlimit setsid setsockopt setuid setxattr shmat shmctl shmdt shmget shutdown sigaltstack
    signalfd signalfd4 socketpair splice stat statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill
    time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime
    times tkill truncate umask uname unlink unlinkat utime utimensat utimes vfork vmsplice wait4 waitid write writev
";

/// Before 20.10: `seccomp_default.go` at the turn to 2020.
const DOCKER_2019: &str = "
    io_uring_enter io_uring_register io_uring_setup socket
";

/// In 26.1, as Debian 13 packages it. The calls of pidfds came with 20.10.
const DOCKER_2024: &str = "
    cachestat clock_adjtime close_range epoll_pwait2 faccessat2 fchmodat2 futex_requeue futex_wait futex_waitv futex_wake
    landlock_add_rule landlock_create_ruleset landlock_restrict_self map_shadow_stack membarrier memfd_secret
    name_to_handle_at openat2 pidfd_open pidfd_send_signal pkey_alloc pkey_free pkey_mprotect process_mrelease
    process_vm_readv process_vm_writev rseq
";

/// An app's: bionic's `SYSCALLS.TXT` and `SECCOMP_WHITELIST_COMMON.TXT`, without `SECCOMP_BLACKLIST_APP.TXT`.
const ANDROID_10: &str = "
    accept4 arch_prctl bind brk capget capset chdir clock_getres clock_gettime clock_nanosleep clone close connect
    copy_file_range dup dup3 epoll_create1 epoll_ctl epoll_pwait eventfd2 execve execveat exit exit_group faccessat fadvise64
    fallocate fchdir fchmod fchmodat fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat
    fstatfs fsync ftruncate futex getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername
    getpgid getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid
    gettimeofday getuid getxattr inotify_add_watch inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_setup
    io_submit ioctl ioprio_get ioprio_set kill lgetxattr linkat listen listxattr llistxattr lremovexattr lseek lsetxattr
    madvise membarrier memfd_create mincore mkdirat mknodat mlock mlock2 mlockall mmap mprotect mremap msync munlock
    munlockall munmap nanosleep newfstatat open openat perf_event_open personality pipe2 pivot_root ppoll prctl pread64 preadv
    preadv2 prlimit64 process_vm_readv process_vm_writev pselect6 ptrace pwrite64 pwritev pwritev2 quotactl read readahead
    readlink readlinkat readv recvfrom recvmmsg recvmsg removexattr renameat renameat2 restart_syscall rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp sendfile
    sendmmsg sendmsg sendto set_tid_address setitimer setns setpgid setpriority setresuid setrlimit setsid setsockopt setxattr
    shutdown sigaltstack signalfd4 socket socketpair splice statfs symlinkat sync sync_file_range syncfs sysinfo tee tgkill
    timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime
    times tkill truncate umask uname unlinkat unshare utimensat vfork vmsplice wait4 waitid write writev
";

/// What these programs call in the way of their own C library, and of Rust's standard library, which had begun before they came here.
/// Android's has no restartable sequences and no robust mutexes, and takes the newer form of each call that there are two of.
const OUR_LIBRARIES: &str = "rseq set_robust_list statx dup2 poll";
