//! [`Replay`]: a run as a file: what it takes to run it again, and to notice that it is not the same any more.

use crate::order::chance::Choice;
use crate::play::setup::Setup;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The choices of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) seed: u64,
    verdict: String,
    /// What the kernel was built with.
    kernel: String,
    pub(crate) choices: Vec<Choice>,
}

const HEAD: &str = "steadfast replay 1";

impl Replay {
    pub(crate) fn new(seed: u64, kernel: &Setup, verdict: &str, choices: Vec<Choice>) -> Replay {
        Replay { seed, verdict: verdict.to_owned(), kernel: format!("{kernel:?}"), choices }
    }

    pub(crate) fn write(&self, file: &Path) -> std::io::Result<()> {
        std::fs::write(file, self.to_string())
    }

    /// Into a file that was not there, and that only this user can read: in a directory where others can write, too.
    pub(crate) fn write_new(&self, file: &Path) -> std::io::Result<PathBuf> {
        let mut created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        created.write_all(self.to_string().as_bytes())?;
        Ok(file.to_owned())
    }

    /// What a kernel is built with, if it is not what this was written with: then and now.
    pub(crate) fn misfit(&self, kernel: &Setup) -> Option<(String, String)> {
        let now = format!("{kernel:?}");
        (self.kernel != now).then(|| (self.kernel.clone(), now))
    }

    /// From the text of a file; or what is wrong with it, and in which line.
    pub(crate) fn parse(text: &str) -> Result<Replay, String> {
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            return Err(format!("line 1: not {HEAD:?}, so that it is no replay, or one of another version"));
        }
        let mut field = |number: usize, name: &str| {
            let line = lines.next().ok_or_else(|| format!("cut off before line {number}, {name:?}"))?;
            let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
            value.map(str::to_owned).ok_or_else(|| format!("line {number}: not {name:?}, but {line:?}"))
        };
        let seed = field(2, "seed")?.parse().map_err(|error| format!("line 2: {error}"))?;
        let (verdict, kernel) = (field(3, "verdict")?, field(4, "kernel")?);
        let choices = field(5, "choices")?;
        let choices: Option<Vec<Choice>> = choices.split_whitespace().map(parse_choice).collect();
        let choices = choices.ok_or("line 5: a choice is two numbers, TAKEN/OF, of which the first is lower")?;
        let replay = Replay { seed, verdict, kernel, choices };
        let end = field(6, "end")?;
        if end != replay.checksum() {
            return Err("cut off or changed: its end does not fit the rest".into());
        }
        Ok(replay)
    }

    /// FNV-1a over what was written: it must be the same everywhere and for ever.
    fn checksum(&self) -> String {
        let hash = self
            .body()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        format!("{hash:016x}")
    }

    fn body(&self) -> String {
        let choices: Vec<String> = self.choices.iter().map(|choice| format!("{}/{}", choice.taken, choice.of)).collect();
        let Replay { seed, verdict, kernel, .. } = self;
        format!("{HEAD}\nseed: {seed}\nverdict: {verdict}\nkernel: {kernel}\nchoices: {}\n", choices.join(" "))
    }
}

fn parse_choice(word: &str) -> Option<Choice> {
    let (taken, of) = word.split_once('/')?;
    let choice = Choice { taken: taken.parse().ok()?, of: of.parse().ok()? };
    (choice.taken < choice.of).then_some(choice)
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}end: {}", self.body(), self.checksum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kernel;

    #[test]
    fn what_is_written_is_read_and_what_is_cut_off_is_refused() {
        let setup = Kernel::builder().pid_max(9).build();
        let choices = [(0, 2), (1, 3), (2, 65_535)].map(|(taken, of)| Choice { taken, of }).to_vec();
        for choices in [choices, Vec::new()] {
            let replay = Replay::new(4711, &setup.shared.setup, "leak", choices);
            let text = replay.to_string();
            assert_eq!(Replay::parse(&text), Ok(replay));
            // The last line may lack its line feed, and nothing else.
            for end in 0..text.len() - 1 {
                assert!(Replay::parse(&text[..end]).is_err(), "{:?}", &text[..end]);
            }
            assert!(Replay::parse(&text.replace("4711", "4712")).unwrap_err().contains("its end"));
            assert!(Replay::parse(&text.replace("choices: ", "choices: 2/2 ")).unwrap_err().contains("TAKEN/OF"));
        }
    }
}
