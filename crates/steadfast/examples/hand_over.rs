//! Two programs, of which one hands a process on to the other over a Unix socket. What arrives is the process, and not a number that may be
//! another's by then.
//!
//! `cargo run -p steadfast --example hand_over -- watch SOCKET` waits for a process, says which it is and who has sent it, and watches it until it is gone.
//!
//! `cargo run -p steadfast --example hand_over -- give SOCKET PROGRAM [ARGUMENT]...` starts a program, and hands it over.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::error::Error;
use std::ffi::OsString;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;
use steadfast::{Command, Process, Senders};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let done = match &args[..] {
        [verb, socket] if verb == "watch" => watch(socket),
        [verb, socket, program, args @ ..] if verb == "give" => give(socket, program, args),
        _ => Err("usage: hand_over watch SOCKET | hand_over give SOCKET PROGRAM [ARGUMENT]...".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hand_over: {error}");
            ExitCode::FAILURE
        }
    }
}

fn watch(path: &OsString) -> Result<(), Box<dyn Error>> {
    let socket = UnixDatagram::bind(path)?;
    let senders = Senders::of(&socket)?;
    println!("listening");
    let mut received = senders.receive(&mut [0])?;
    // Whoever may write to the socket can send anything: a descriptor that is no pidfd is an error, and says what it is.
    let process = Process::from_fd(received.fds.pop().ok_or("a message without a descriptor")?)?;
    println!("process {}, from process {}", process.pid(), received.sender?.pid());
    println!("{}", process.wait_gone()?);
    std::fs::remove_file(path)?;
    Ok(())
}

fn give(path: &OsString, program: &OsString, args: &[OsString]) -> Result<(), Box<dyn Error>> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    let child = Command::new(program).args(args).spawn()?;
    // Lent for as long as the call takes; the message has a duplicate of its own.
    child.with_handle(|pidfd| send(&socket, pidfd))??;
    // Its parent waits for it all the same, and the kernel tells the status to whoever has a pidfd (Linux 6.15).
    child.wait()?;
    Ok(())
}

fn send(socket: &UnixDatagram, pidfd: BorrowedFd<'_>) -> rustix::io::Result<usize> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut buffer = SendAncillaryBuffer::new(&mut room);
    let fds = [pidfd];
    buffer.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(socket, &[IoSlice::new(b"!")], &mut buffer, SendFlags::empty())
}
