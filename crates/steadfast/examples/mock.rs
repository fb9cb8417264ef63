//! Tests a restart loop without a single process: `cargo run -p steadfast --features mock --example mock`
//!
//! The loop is ordinary code. It takes its time from [`System`], so that in the simulation a minute of back-off costs nothing.

use std::time::Duration;
use steadfast::mock::{Call, Fault, Kernel, Script, Simulated};
use steadfast::{Command, Errno, Error, System};

/// Runs `program` until it ends well, waiting a second after its first failure, two after the second, and so on. Returns how
/// often it was started.
fn supervise(program: &str) -> Result<u32, Error> {
    let system = System::current()?;
    for attempt in 1.. {
        match Command::new(program).status() {
            Ok(status) if status.success() => return Ok(attempt),
            Ok(status) => println!("{program}: {status}; attempt {attempt}"),
            Err(error) if error.errno() == Some(Errno::AGAIN) => println!("{error}; attempt {attempt}"),
            Err(error) => return Err(error),
        }
        system.sleep(Duration::from_secs(attempt.into()));
    }
    unreachable!("it starts again for ever")
}

fn main() -> Result<(), Error> {
    let kernel = Kernel::builder()
        .seed(7)
        .program_with("flaky", |run| match run.number {
            0..3 => Script::new().sleep(Duration::from_millis(100)).exit(1),
            _ => Script::new().sleep(Duration::from_secs(60)).exit(0),
        })
        .fault(Fault::on(Call::Spawn).nth(2).errno(Errno::AGAIN))
        .build();
    let _here = kernel.system().enter();

    assert_eq!(supervise("flaky")?, 5);
    // Back-off of 1 + 2 + 3 + 4 s, three runs of 0.1 s and one of 60.
    assert_eq!(kernel.now(), Duration::from_millis(70_300));
    assert!(kernel.zombies().is_empty());
    print!("{}", kernel.trace());
    Ok(())
}
