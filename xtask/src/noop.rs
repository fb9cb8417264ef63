//! Programs that do nothing, as small as a program can be: for benchmarks, and for tests that start very many.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Exits at once: `exit_group(0)`.
pub fn executable(arch: &str) -> Option<Vec<u8>> {
    match arch {
        // mov eax, 231; xor edi, edi; syscall
        "x86_64" => Some(elf(62, &[0xb8, 0xe7, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05])),
        "aarch64" => Some(aarch64(EXIT)),
        _ => None,
    }
}

/// Waits until a signal ends it: `pause()` again and again.
pub fn sleeper(arch: &str) -> Option<Vec<u8>> {
    match arch {
        // mov eax, 34; syscall; jmp to the beginning
        "x86_64" => Some(elf(62, &[0xb8, 0x22, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7])),
        // mov x0, 0; mov x1, 0; mov x2, 0; mov x3, 0; mov x8, 73 (ppoll); svc 0; b to the beginning
        "aarch64" => {
            let words = [0xd280_0000_u32, 0xd280_0001, 0xd280_0002, 0xd280_0003, 0xd280_0928, 0xd400_0001, 0x17ff_fffa];
            Some(aarch64(words))
        }
        _ => None,
    }
}

/// Its first thread exits at once, while another one reads its stdin to the end and then ends the process with code 3.
pub fn leaderless(arch: &str) -> Option<Vec<u8>> {
    match arch {
        "x86_64" => {
            let code: [&[u8]; 4] = [
                // clone(VM | FS | FILES | SIGHAND | THREAD | SYSVSEM) on the same stack, of which nobody takes any more; jz to the loop
                &[
                    0xb8, 56, 0, 0, 0, 0xbf, 0, 0x0f, 0x05, 0, 0x31, 0xf6, 0x31, 0xd2, 0x4d, 0x31, 0xd2, 0x4d, 0x31, 0xc0, 0x0f,
                    0x05,
                ],
                &[0x85, 0xc0, 0x74, 9, /* exit(0) */ 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05],
                // read(0, rsp, 1); jg to the beginning of this line
                &[0x31, 0xc0, 0x31, 0xff, 0x48, 0x89, 0xe6, 0xba, 1, 0, 0, 0, 0x0f, 0x05, 0x85, 0xc0, 0x7f, 0xee],
                // exit_group(3)
                &[0xb8, 0xe7, 0, 0, 0, 0xbf, 3, 0, 0, 0, 0x0f, 0x05],
            ];
            Some(elf(62, &code.concat()))
        }
        "aarch64" => {
            // The same.
            let clone =
                [0xd281_e000_u32, 0xf2a0_00a0, 0xd280_0001, 0xd280_0002, 0xd280_0003, 0xd280_0004, 0xd280_1b88, 0xd400_0001];
            let exit = [0xb400_0080, 0xd280_0000, 0xd280_0ba8, 0xd400_0001];
            let exit_group = [0xd280_0060, 0xd280_0bc8, 0xd400_0001];
            let words = clone.into_iter().chain(exit).chain(READ).chain(exit_group);
            Some(aarch64(words))
        }
        _ => None,
    }
}

/// Reads its stdin to the end and exits with 0.
pub fn reader(arch: &str) -> Option<Vec<u8>> {
    match arch {
        // read(0, rsp, 1), with push and pop for the 1; jg to the beginning; exit(0)
        "x86_64" => {
            let code = [
                0x31, 0xc0, 0x31, 0xff, 0x48, 0x89, 0xe6, 0x6a, 0x01, 0x5a, 0x0f, 0x05, 0x85, 0xc0, 0x7f, 0xf0, 0x31, 0xff, 0x6a,
                0x3c, 0x58, 0x0f, 0x05,
            ];
            Some(elf(62, &code))
        }
        "aarch64" => Some(aarch64(READ.into_iter().chain(EXIT))),
        _ => None,
    }
}

/// On aarch64: mov x0, 0; mov x8, 94 (exit_group); svc 0.
const EXIT: [u32; 3] = [0xd280_0000, 0xd280_0bc8, 0xd400_0001];

/// On aarch64: read(0, sp, 1); b.gt to the beginning.
const READ: [u32; 7] = [0xd280_0000, 0x9100_03e1, 0xd280_0022, 0xd280_07e8, 0xd400_0001, 0xf100_001f, 0x54ff_ff4c];

/// Puts one of these programs into a file that everybody may execute.
///
/// # Errors
/// If it cannot be written; `Unsupported` if there is none for this architecture.
pub fn write(path: &Path, program: Option<Vec<u8>>) -> io::Result<()> {
    let missing = || io::Error::new(io::ErrorKind::Unsupported, "no such program is known for this architecture");
    fs::write(path, program.ok_or_else(missing)?)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Its instructions are words.
fn aarch64(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    elf(183, &words.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>())
}

/// A static executable (elf(5)): one header, one segment.
fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
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
    elf
}
