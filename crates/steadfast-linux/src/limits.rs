//! prlimit(2) and sched_setaffinity(2) of another process, which both go by its number. (rustix cannot read a limit of somebody else's without
//! setting it.)

use crate::raw;
use crate::spawn::cpu_mask;
use std::ptr;
use steadfast_core::{Errno, Limit, Pid, Resource};

/// Sets a limit of whichever process has this number now, if there is a new one, and returns what it was.
///
/// # Errors
/// `ESRCH` if nobody has it; `EPERM` if it is another user's, or a hard limit would be raised without `CAP_SYS_RESOURCE`; `EINVAL` for a soft limit
/// above the hard one.
pub fn prlimit(pid: Pid, resource: Resource, new: Option<Limit>) -> Result<Limit, Errno> {
    let new = new.map(|limit| libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard });
    let new = new.as_ref().map_or(ptr::null(), ptr::from_ref);
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the new limit is null or lives through the call; room for the old one.
    let answer = unsafe { libc::syscall(libc::SYS_prlimit64, pid.as_raw(), resource.as_raw(), new, &raw mut old) };
    match raw::check(answer)? {
        0 => Ok(Limit::new(old.rlim_cur, old.rlim_max)),
        _ => Err(Errno::NOSYS),
    }
}

/// The CPUs that the first thread of whichever process has this number now may run on.
///
/// # Errors
/// `ESRCH` if nobody has it.
pub fn affinity(pid: Pid) -> Result<Vec<usize>, Errno> {
    // The kernel wants room for all CPUs that it could have, and does not say how many.
    let mut mask = vec![0_usize; 1024 / usize::BITS as usize];
    loop {
        let size = size_of_val(&mask[..]);
        // SAFETY: room for as many bytes as is said.
        let answer = unsafe { libc::syscall(libc::SYS_sched_getaffinity, pid.as_raw(), size, mask.as_mut_ptr()) };
        match raw::check(answer) {
            Err(Errno::INVAL) if mask.len() < 1 << 14 => mask.resize(mask.len() * 2, 0),
            Err(errno) => return Err(errno),
            Ok(_) => break,
        }
    }
    let is_set = |cpu: &usize| mask[cpu / usize::BITS as usize] >> (cpu % usize::BITS as usize) & 1 == 1;
    Ok((0..mask.len() * usize::BITS as usize).filter(is_set).collect())
}

/// Sets these.
///
/// # Errors
/// `ESRCH` if nobody has the number; `EPERM` if the process is another user's; `EINVAL` if this machine has none of these CPUs.
pub fn set_affinity(pid: Pid, cpus: &[usize]) -> Result<(), Errno> {
    let mask = cpu_mask(cpus);
    // SAFETY: a mask of as many bytes as is said.
    let answer = unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid.as_raw(), mask.len(), mask.as_ptr()) };
    match raw::check(answer)? {
        0 => Ok(()),
        _ => Err(Errno::NOSYS),
    }
}
