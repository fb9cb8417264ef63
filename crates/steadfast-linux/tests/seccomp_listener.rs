//! A filter's listener: it comes to whoever has the other end of the socket, before the program runs, and who has it decides; an execve that waits for its
//! answer holds up a spawn, and no longer than its limit. (Here and not with the other promises, because to answer takes `unsafe`.)

use std::ffi::c_ulong;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use steadfast_core::{Attributes, Error, Plan, PlanStdio, SeccompFilter, Signal, Wall};
use steadfast_linux::{
    Blocking, Child, Door, GivenUp, Probe, Reaping, Target, WantPidfd, pidfd_send_signal, spawn, start, waitid,
};

/// `SECCOMP_IOCTL_NOTIF_RECV` and `SECCOMP_IOCTL_NOTIF_SEND` (seccomp_unotify(2)).
const RECEIVE: c_ulong = 0xc050_2100;
const SEND: c_ulong = 0xc018_2101;

const REFUSED: i32 = libc::EDQUOT;

/// Notifies of each execve(2) and unlinkat(2), and lets all else pass.
fn filter() -> SeccompFilter {
    const LOAD: u16 = 0x20;
    const IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let calls = [libc::SYS_execve, libc::SYS_unlinkat];
    let last = calls.len() as u8;
    let mut program = vec![(LOAD, 0, 0, 0)];
    program.extend((1..).zip(calls).map(|(number, call)| (IF_EQUAL, last - number + 1, 0, call as u32)));
    program.push((RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    program.push((RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF));
    SeccompFilter::new(program)
}

fn plan(script: &str, socket: UnixStream) -> Plan {
    let seccomp = vec![filter().listener(socket)];
    let attributes = Attributes { no_new_privileges: true, seccomp, close_fds: true, ..Attributes::default() };
    Plan::builder("/bin/sh").args(["-c", script]).stderr(PlanStdio::Null).attributes(attributes).build().expect("a plan")
}

fn doors() -> &'static [Door] {
    Probe::once().expect("this machine can be probed").doors()
}

/// What the child has sent.
fn receive(socket: &UnixStream) -> Option<OwnedFd> {
    let (mut byte, mut room) = (0_u8, [0_u64; 4]);
    let mut one = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: integers and pointers, for which all zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    (header.msg_iov, header.msg_iovlen) = (&raw mut one, 1);
    (header.msg_control, header.msg_controllen) = (room.as_mut_ptr().cast(), size_of_val(&room) as _);
    // SAFETY: a header whose pointers are to what lives here.
    let read = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
    if read != 1 {
        return None;
    }
    // SAFETY: the header that the kernel has filled in.
    let message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    assert!(!message.is_null(), "a byte without a descriptor");
    // SAFETY: a message of the kernel's, as was just seen.
    let fd = unsafe { libc::CMSG_DATA(message) }.cast::<i32>();
    // SAFETY: there is one descriptor.
    let fd = unsafe { fd.read_unaligned() };
    // SAFETY: the kernel has just opened it for us, and nobody else has been told.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets each execve pass and refuses each removal, until nobody is filtered any more; how many there were.
fn supervise(listener: &OwnedFd) -> (u32, u32) {
    let (mut executed, mut refused) = (0, 0);
    loop {
        let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, -1) }, 1);
        if poll.revents & libc::POLLIN == 0 {
            return (executed, refused);
        }
        // SAFETY: integers, for which all zero is a value.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: room for a question.
        if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &raw mut asked) } != 0 {
            continue;
        }
        let is_exec = i64::from(asked.data.nr) == libc::SYS_execve;
        *(if is_exec { &mut executed } else { &mut refused }) += 1;
        let (error, flags) = if is_exec { (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32) } else { (-REFUSED, 0) };
        let mut answer = libc::seccomp_notif_resp { id: asked.id, val: 0, error, flags };
        // SAFETY: an answer.
        unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw mut answer) };
    }
}

/// Waits for it, and gives its exit code.
fn ended(child: &Child) -> Option<i32> {
    let pidfd = child.pidfd.as_ref().expect("it was wanted");
    waitid(Target::Pidfd(pidfd.as_fd()), Blocking::Block, Reaping::Reap).expect("our child").expect("blocks").status.code()
}

/// One test at a time: descriptors are counted.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count()
}

#[test]
fn whoever_has_it_decides_and_an_exec_that_is_asked_about_does_not_hang() {
    let _alone = alone();
    let before = open_files();
    for door in doors() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let supervisor = thread::spawn(move || receive(&ours).map(|listener| supervise(&listener)));
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a");
        std::fs::write(&file, "").expect("a file");
        let script = format!("rm {} || exit 9", file.display());
        let child = spawn(&plan(&script, theirs), WantPidfd::Yes, *door).expect("it is let through");
        assert_eq!(ended(&child), Some(9), "{door:?}");
        let (executed, refused) = supervisor.join().expect("no panic").expect("it was sent");
        assert!(executed >= 2 && refused == 1 && file.exists(), "{door:?}: {executed} and {refused}");
        assert!(child.missing_walls.is_empty());
    }
    assert_eq!(open_files(), before);
}

/// Nobody answers: the limit ends the start, and nothing is left.
#[test]
fn without_an_answer_a_start_can_be_given_up() {
    let _alone = alone();
    for door in doors() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let plan = plan("exit 0", theirs);
        let mut start = start(&plan, WantPidfd::Yes, *door).expect("it is born");
        let listener = receive(&ours).expect("it is sent before the exec");
        // In the past: it only looks.
        assert!(start.wait(Some(Instant::now())).is_none(), "{door:?}");
        assert!(start.wait(Some(Instant::now() + Duration::from_millis(20))).is_none(), "{door:?}");
        let GivenUp { pidfd, loan } = start.give_up().expect("it is ours");
        let pidfd = pidfd.expect("it was wanted");
        pidfd_send_signal(pidfd.as_fd(), Signal::KILL).expect("it lives");
        let exit = waitid(Target::Pidfd(pidfd.as_fd()), Blocking::Block, Reaping::Reap).expect("our child").expect("blocks");
        assert_eq!(exit.status.signal(), Some(libc::SIGKILL));
        drop((loan, listener));
    }
}

/// If it cannot be sent, the program does not run without anybody who could answer.
#[test]
fn a_listener_that_nobody_takes_is_an_error() {
    let _alone = alone();
    for door in doors() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        drop(ours);
        let error = spawn(&plan("exit 0", theirs), WantPidfd::Yes, *door).expect_err("the other end is closed");
        assert!(error.to_string().contains("sendmsg the listener of seccomp: Broken pipe"), "{error}");
    }
}

/// One whose number is another's in the child, and for a kernel that is too old.
#[test]
fn its_socket_is_found_under_whatever_number() {
    let _alone = alone();
    for door in doors() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let number = theirs.as_raw_fd();
        let supervisor = thread::spawn(move || receive(&ours).map(|listener| supervise(&listener)));
        let plan = plan("exit 7", theirs);
        let null: OwnedFd = File::open("/dev/null").expect("/dev/null").into();
        let attributes = Attributes { fds: vec![(number, null.into())], ..plan.attributes().clone() };
        let plan = plan.with_attributes(attributes).expect("no conflict");
        match spawn(&plan, WantPidfd::Yes, *door) {
            Ok(child) => assert_eq!(ended(&child), Some(7)),
            Err(error) => assert!(matches!(error, Error::NoWall { wall: Wall::Seccomp, .. }), "{error}"),
        }
        drop(plan);
        assert!(supervisor.join().expect("no panic").is_some());
    }
}
