//! What a child's change of user does to us, and why we leave it so.
//!
//! Whether a process can be dumped, and traced, belongs to its memory. A child that changes its user makes the memory that it
//! still shares with us not dumpable (`commit_creds` in the kernel). Beside the guard (`child/capabilities.rs`), which takes a privilege
//! to have, that is what keeps the new user's processes out of our memory and away from our descriptors until the child has left, and no
//! event tells when that is:
//!
//! * When a vfork returns, the child is *about to* leave: `mm_release` comes first, then its memory is exchanged, then close-on-exec is
//!   done. Undone then, a process of the new user read our memory in one spawn of five (Linux 6.18, 6.1, 5.10).
//! * The kernel closes the end of a close-on-exec pipe after the exchange. But a process of that user that has taken hold of the child's
//!   memory before, and waits for the exec to be over (`exec_update_lock`), is asked after it whether it may: undone at the end of the
//!   pipe, our memory was read in one spawn of 25 (6.12 and 7.3; not on 6.1 and 6.18).
//! * And no call tells whether we are not dumpable because of a child, or because the program has asked for that in the meantime
//!   (`PR_SET_DUMPABLE`, prctl(2)): to undo it may be to give the program away.
//!
//! So it is never undone. A program that wants to stay dumpable gives such children a copy of its memory
//! ([`copy_memory`](steadfast_core::Attributes::copy_memory)).

use steadfast_core::Attributes;

/// Whether the child will have another user or group, or capabilities that it has not now.
pub(super) fn changes_credentials(a: &Attributes) -> bool {
    a.uid.is_some() || a.gid.is_some() || !a.ambient.is_empty()
}
