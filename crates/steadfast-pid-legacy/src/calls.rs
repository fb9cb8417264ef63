//! Which calls the backend waits and signals by.

/// How this backend waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitCall {
    /// `waitid(2)`, which can look at an exit without reaping.
    Waitid,
    /// `wait4(2)`, which cannot, and is asked again and again with pauses: for a sandbox whose filter forbids `waitid`.
    Wait4,
}

/// How this backend signals a process that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalCall {
    /// `kill(2)`, by the number, just after a look.
    Kill,
    /// `pidfd_send_signal(2)`, through its directory in `/proc`, since Linux 5.1: the process that was found, or nobody.
    PidfdSendSignal,
}
