//! Whether this program has more rights than whoever started it.

/// Whether the kernel says so (`AT_SECURE`, getauxval(3)): a set-user-ID or set-group-ID program, or one with file capabilities. What such
/// a program is told by its environment is a stranger's wish.
pub fn is_secure_execution() -> bool {
    // SAFETY: no pointer.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}
