//! What our caller has given us, seen before Rust's runtime changes some of it: it ignores `SIGPIPE` and opens closed standard streams.

use ctor::ctor;
use rustix::io::fcntl_getfd;
use rustix::stdio::stderr;
use std::sync::OnceLock;
use steadfast::{Signal, SignalSet};

struct Begun {
    /// The file `status` of this process.
    status: String,
    has_stderr: bool,
}

static BEGUN: OnceLock<Begun> = OnceLock::new();

fn look() -> Begun {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    Begun { status, has_stderr: fcntl_getfd(stderr()).is_ok() }
}

// Safe before `main`: it reads a file, and no thread but this one is there.
#[ctor(unsafe)]
fn before_main() {
    BEGUN.get_or_init(look);
}

pub(crate) fn has_stderr() -> bool {
    BEGUN.get_or_init(look).has_stderr
}

pub(crate) fn blocked() -> SignalSet {
    field("SigBlk:")
}

pub(crate) fn ignored() -> SignalSet {
    field("SigIgn:")
}

fn field(name: &str) -> SignalSet {
    let status = &BEGUN.get_or_init(look).status;
    let digits = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let bits = u64::from_str_radix(digits, 16).unwrap_or(0);
    Signal::all().filter(|signal| bits & 1 << (signal.as_raw() - 1) != 0).collect()
}
