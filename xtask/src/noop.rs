//! A program that does nothing, as small as a program can be: for benchmarks, and for tests that start very many.

/// A static executable (elf(5)): one header, one segment, `exit_group(0)`.
pub fn executable(arch: &str) -> Option<Vec<u8>> {
    let (machine, code): (u16, &[u8]) = match arch {
        // mov eax, 231; xor edi, edi; syscall
        "x86_64" => (62, &[0xb8, 0xe7, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]),
        // mov x0, 0; mov x8, 94; svc 0
        "aarch64" => (183, &[0, 0, 0x80, 0xd2, 0xc8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4]),
        _ => return None,
    };
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // ET_EXEC, machine, version; entry, program headers, no sections; flags; sizes and counts.
    elf.extend([2, 0]);
    elf.extend(machine.to_le_bytes());
    elf.extend(1_u32.to_le_bytes());
    [BASE + HEADERS, 64, 0].iter().for_each(|n| elf.extend(n.to_le_bytes()));
    elf.extend(0_u32.to_le_bytes());
    [64_u16, 56, 1, 0, 0, 0].iter().for_each(|n| elf.extend(n.to_le_bytes()));
    // PT_LOAD, readable and executable; offset, addresses, sizes, alignment.
    [1_u32, 5].iter().for_each(|n| elf.extend(n.to_le_bytes()));
    [0, BASE, BASE, size, size, 0x1000].iter().for_each(|n| elf.extend(n.to_le_bytes()));
    elf.extend(code);
    Some(elf)
}
