//! What is missing when a program is there and the kernel says that it is not (`ENOENT`): a script's interpreter, or the loader that a
//! dynamic program names (execve(2)). Found out afterwards, by the parent, for people to read; the errno stays.

use super::image::Image;
use elf::ElfStream;
use elf::abi::PT_INTERP;
use elf::endian::AnyEndian;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use steadfast_core::{Attributes, Missing, Namespaces, Plan};

/// How many bytes of a script's first line the kernel reads (`BINPRM_BUF_SIZE`, since Linux 5.1).
const FIRST_LINE: u64 = 256;

/// Interpreters may be scripts themselves, so many times.
const DEPTH: usize = 5;

/// The first of the files to be tried that is there, and what it lacks.
pub(super) fn find(plan: &Plan, image: &Image) -> Option<(PathBuf, Missing)> {
    let a = plan.attributes();
    if !sees_what_we_see(a) {
        return None;
    }
    let here = Path::new("");
    let dir = plan.current_dir().unwrap_or(here);
    (0..).map_while(|index| image.candidate(index)).find_map(|path| missing(&path, dir, DEPTH).map(|missing| (path, missing)))
}

/// Not in another root or mount namespace, and not where only a descriptor leads.
fn sees_what_we_see(a: &Attributes) -> bool {
    let is_elsewhere = a.namespaces.contains(Namespaces::MOUNT) || a.unshare.contains(Namespaces::MOUNT);
    a.chroot.is_none() && a.current_dir_fd.is_none() && a.executable.is_none() && !is_elsewhere
}

fn missing(path: &Path, dir: &Path, depth: usize) -> Option<Missing> {
    let path = dir.join(path);
    // A fifo would keep us.
    if !path.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return None;
    }
    let mut file = File::open(&path).ok()?;
    let mut beginning = Vec::new();
    (&mut file).take(FIRST_LINE).read_to_end(&mut beginning).ok()?;
    if let Some(line) = beginning.strip_prefix(b"#!") {
        let interpreter = interpreter(line)?;
        return match dir.join(&interpreter).try_exists() {
            Ok(false) => Some(Missing::Interpreter(interpreter)),
            _ if depth > 0 => missing(&interpreter, dir, depth - 1),
            _ => None,
        };
    }
    let loader = loader(file)?;
    matches!(dir.join(&loader).try_exists(), Ok(false)).then_some(Missing::Loader(loader))
}

/// The first word of the line; a carriage return is part of it, and no white space.
fn interpreter(line: &[u8]) -> Option<PathBuf> {
    let line = line.split(|byte| matches!(byte, b'\n' | 0)).next()?;
    let word = line.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty())?;
    Some(OsString::from_vec(word.to_vec()).into())
}

fn loader(mut file: File) -> Option<PathBuf> {
    file.rewind().ok()?;
    let mut program = ElfStream::<AnyEndian, _>::open_stream(file).ok()?;
    let segment = *program.segments().iter().find(|segment| segment.p_type == PT_INTERP)?;
    let path = program.segment_data(&segment).ok()?.split(|byte| *byte == 0).next()?;
    Some(OsString::from_vec(path.to_vec()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_the_interpreter() {
        let first = |line: &str| interpreter(line.as_bytes()).map(|path| path.display().to_string());
        assert_eq!(first("/bin/sh\nx"), Some("/bin/sh".into()));
        assert_eq!(first(" \t/usr/bin/env python3 -u\n"), Some("/usr/bin/env".into()));
        assert_eq!(first("/bin/sh\r\nx"), Some("/bin/sh\r".into()));
        assert_eq!(first("  \n/bin/sh"), None);
    }
}
