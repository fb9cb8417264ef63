//! Keeps a command running: `cargo run --features tokio --example supervise -- --restarts 3 -- sh -c 'echo up; sleep 1; exit 1'`.
//!
//! A task of tokio's. Output is passed on line by line; a crash is followed by a restart, after a pause that doubles; `SIGTERM` and
//! Ctrl-C are passed on, with a time limit and a `SIGKILL` behind it. Nothing is left, whichever way it ends.

use clap::Parser;
use std::process::ExitCode;
use std::time::Duration;
use steadfast::tokio::{AsyncCommand, Child};
use steadfast::{Command, Error, ExitStatus, Signal, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::signal::unix::{Signal as Incoming, SignalKind, signal};

#[derive(Parser)]
struct Args {
    /// How often it is started again at the most
    #[arg(long, default_value_t = u32::MAX, value_name = "N")]
    restarts: u32,
    /// The pause before the first restart, in seconds
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    pause: f64,
    /// How long it may take to stop, in seconds
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    patience: f64,
    /// The command
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

/// What has ended the wait for a child.
enum End {
    Exited(Result<ExitStatus, Error>),
    Asked(Signal),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match supervise(Args::parse()).await {
        Ok(status) => ExitCode::from(status.code().map_or(1, |code| code as u8)),
        Err(error) => {
            eprintln!("supervise: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn supervise(args: Args) -> Result<ExitStatus, Box<dyn std::error::Error>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut command = Command::new(&args.command[0]);
    // It dies with this program, should that be killed.
    command.args(&args.command[1..]).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let (mut started, mut pause) = (0, Duration::try_from_secs_f64(args.pause)?);
    loop {
        let mut child = command.spawn_async().await?;
        println!("[{}] started", child.pid());
        let out = pass_on(child.pid().as_raw(), child.stdout.take());
        let err = pass_on(child.pid().as_raw(), child.stderr.take());
        match wait(&child, &mut terminate, &mut interrupt).await {
            End::Asked(signal) => {
                let status = stop(&child, signal, Duration::try_from_secs_f64(args.patience)?).await?;
                last_words([out, err]).await;
                println!("[{}] stopped: {status}", child.pid());
                return Ok(status);
            }
            End::Exited(status) => {
                let status = status?;
                last_words([out, err]).await;
                println!("[{}] {status}", child.pid());
                if status.success() || started == args.restarts {
                    return Ok(status);
                }
            }
        }
        started += 1;
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// Waits for the child, or for somebody to ask for the end; the future of the child that is dropped then loses nothing.
async fn wait(child: &Child, terminate: &mut Incoming, interrupt: &mut Incoming) -> End {
    tokio::select! {
        status = child.wait() => End::Exited(status),
        _ = terminate.recv() => End::Asked(Signal::TERM),
        _ = interrupt.recv() => End::Asked(Signal::INT),
    }
}

/// Asks it to stop, and makes it.
async fn stop(child: &Child, signal: Signal, patience: Duration) -> Result<ExitStatus, Error> {
    match child.signal(signal) {
        // It has ended by itself, which was wanted; no stranger was hit.
        Err(Error::ProcessDone { .. }) => {}
        answer => answer?,
    }
    if let Ok(status) = tokio::time::timeout(patience, child.wait()).await {
        return status;
    }
    child.kill()?;
    child.wait().await
}

/// What it has said is passed on; a grandchild that keeps its streams open is not waited for.
async fn last_words(streams: [tokio::task::JoinHandle<()>; 2]) {
    let until = tokio::time::Instant::now() + Duration::from_millis(500);
    for mut stream in streams {
        if tokio::time::timeout_at(until, &mut stream).await.is_err() {
            stream.abort();
        }
    }
}

fn pass_on(pid: i32, stream: Option<impl AsyncRead + Unpin + Send + 'static>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let Some(stream) = stream else { return };
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            println!("[{pid}] {line}");
        }
    })
}
