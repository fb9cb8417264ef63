//! The program of a keeper, as a file: an ELF image of one page, made at run time.

use crate::arch::{ELF_MACHINE, keeper_text};
use steadfast_core::{Errno, Pid};

/// Where the image is in memory: above what `vm.mmap_min_addr` may forbid, and at a border of any Linux's pages. `arch.rs` has the duty's address.
const BASE: u64 = 0x20_0000;

/// The file, but for the instructions, which follow: an ELF program without a section.
#[repr(C)]
struct Head {
    file: libc::Elf64_Ehdr,
    /// All of it, readable and executable.
    part: libc::Elf64_Phdr,
    _unused: u64,
    duty: DutyData,
}

/// What the program reads.
#[repr(C)]
struct DutyData {
    poll: [libc::pollfd; 2],
    /// Whether it looks for the owner after each period, or 0: it only waits.
    has_period: u64,
    owner: i32,
    order: [u8; 4],
    /// `struct timespec`.
    period: [u64; 2],
    name: [u8; 16],
    dir: [u8; 96],
}

/// What is different from keeper to keeper.
pub(super) struct Words<'a> {
    /// Whether it has the owner's pidfd.
    pub(super) has_pidfd: bool,
    /// Whose number is looked for each second, where there is no pidfd.
    pub(super) owner: Option<Pid>,
    pub(super) name: [u8; 16],
    /// The cgroup that it removes.
    pub(super) dir: &'a str,
}

/// The file. `None`: not written for this architecture. `Some(Err)`: the name is too long.
pub(super) fn image(words: &Words<'_>) -> Option<Result<Vec<u8>, Errno>> {
    let text = keeper_text()?;
    const {
        assert!(std::mem::offset_of!(Head, duty) == 0x80 && size_of::<DutyData>() == 160, "arch.rs has these numbers");
    }
    // A zero is behind it. Ours are shorter: a word and five numbers.
    let mut name = [0; 96];
    match name.get_mut(..words.dir.len()) {
        Some(room) if words.dir.len() < 96 => room.copy_from_slice(words.dir.as_bytes()),
        _ => return Some(Err(Errno::NAMETOOLONG)),
    }
    let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let size = (size_of::<Head>() + text.len()) as u64;
    let head = Head {
        file: libc::Elf64_Ehdr {
            // 64 bits, the lower byte first, version 1 (elf(5)).
            e_ident: [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            e_type: libc::ET_EXEC,
            e_machine: ELF_MACHINE,
            e_version: 1,
            e_entry: BASE + size_of::<Head>() as u64,
            e_phoff: std::mem::offset_of!(Head, part) as u64,
            e_shoff: 0,
            e_flags: 0,
            e_ehsize: size_of::<libc::Elf64_Ehdr>() as u16,
            e_phentsize: size_of::<libc::Elf64_Phdr>() as u16,
            e_phnum: 1,
            e_shentsize: 0,
            e_shnum: 0,
            e_shstrndx: 0,
        },
        part: libc::Elf64_Phdr {
            p_type: libc::PT_LOAD,
            p_flags: libc::PF_R | libc::PF_X,
            p_offset: 0,
            p_vaddr: BASE,
            p_paddr: BASE,
            p_filesz: size,
            p_memsz: size,
            p_align: 0x1_0000,
        },
        _unused: 0,
        duty: DutyData {
            // A negative number is passed over (poll(2)).
            poll: [poll(0), poll(if words.has_pidfd { 1 } else { -1 })],
            has_period: u64::from(!words.has_pidfd && words.owner.is_some()),
            owner: words.owner.map_or(0, Pid::as_raw),
            order: *b"1\0\0\0",
            period: [1, 0],
            name: words.name,
            dir: name,
        },
    };
    // SAFETY: integers and arrays of them, laid out as in C, of sizes that leave no gap.
    let head = unsafe { std::slice::from_raw_parts((&raw const head).cast::<u8>(), size_of::<Head>()) };
    Some(Ok([head, text].concat()))
}
