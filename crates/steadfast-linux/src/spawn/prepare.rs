//! [`Prepared`]: all that the child needs in the form in which the kernel takes it, made while allocating is still allowed.

use super::descriptors::Descriptors;
use super::image::{Image, Pointers, c_string};
use std::ffi::{CString, c_int};
use std::os::fd::AsRawFd;
use steadfast_core::Plan;

pub(super) struct Prepared {
    pub(super) image: Image,
    /// Into the image, whose buffers lie where they are until it is dropped.
    pub(super) pointers: Pointers,
    pub(super) chroot: Option<CString>,
    pub(super) current_dir: Option<CString>,
    /// A bit per CPU; empty: leave it.
    pub(super) affinity: Vec<u8>,
    pub(super) oom_score: Option<CString>,
    pub(super) descriptors: Descriptors,
}

impl Prepared {
    pub(super) fn new(plan: &Plan, streams: [c_int; 3], channel: c_int) -> Prepared {
        let a = plan.attributes();
        let mut image = Image::new(plan);
        let listener = a.seccomp.iter().find_map(|filter| filter.listener_socket()).map_or(-1, |socket| socket.as_raw_fd());
        let executable = a.executable.as_ref().map_or(-1, |file| file.as_raw_fd());
        Prepared {
            pointers: image.pointers(),
            chroot: a.chroot.as_ref().map(|dir| c_string(dir.as_os_str())),
            current_dir: plan.current_dir().map(|dir| c_string(dir.as_os_str())),
            affinity: mask(&a.affinity),
            oom_score: a.oom_score_adj.map(|score| c_string(score.to_string().as_ref())),
            descriptors: Descriptors::new(streams, &a.fds, a.close_fds, channel, executable, &a.landlock, listener),
            image,
        }
    }
}

/// In the byte order of the kernel's words: on a big-endian machine the first CPU is in a word's last byte.
pub(crate) fn mask(cpus: &[usize]) -> Vec<u8> {
    let Some(last) = cpus.iter().max() else { return Vec::new() };
    // More than the kernel knows are refused by it, as long as the mask can be handed over.
    let words = (*last).min(1 << 20) / usize::BITS as usize + 1;
    let mut mask = vec![0_usize; words];
    for cpu in cpus {
        if let Some(word) = mask.get_mut(cpu / usize::BITS as usize) {
            *word |= 1 << (cpu % usize::BITS as usize);
        }
    }
    mask.into_iter().flat_map(usize::to_ne_bytes).collect()
}
