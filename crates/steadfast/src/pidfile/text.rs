//! What a pidfile says: the PID for programs that want a number, and below it the identity.

use steadfast_core::{Identity, Pid};

/// `4711`, and in a line of its own the identity.
pub(super) fn text_of(identity: &Identity) -> String {
    format!("{}\n{identity}\n", identity.pid())
}

/// Whom it names, or what it is instead.
pub(super) fn identity_in(text: &[u8]) -> Result<Identity, String> {
    let Ok(text) = std::str::from_utf8(text) else { return Err("it is no text".into()) };
    // Who writes into the file, instead of putting a whole one there, has it empty for a moment.
    if text.is_empty() {
        return Err("it is empty; perhaps somebody just writes it".into());
    }
    let lines: Vec<&str> = text.lines().collect();
    match lines[..] {
        [first, second] => named(first, second, text),
        [first] if first.trim().parse::<Pid>().is_ok() => {
            Err(format!("it has the number {} and nothing that tells whose that was, as other tools write it", first.trim()))
        }
        _ => Err("it is no pidfile of this kind, which has two lines: the PID and the identity".into()),
    }
}

fn named(first: &str, second: &str, text: &str) -> Result<Identity, String> {
    let identity: Identity = second.parse().map_err(|error| format!("its second line: {error}"))?;
    // One text for each identity: one that was written by half has no last line feed.
    if text_of(&identity) != text {
        return Err(format!("its first line is {first:.20?}, and its second one names process {}", identity.pid()));
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAME: &str = "life1.705fcf3c983447c9a67801b7c2c496dd.n4026531836.p4711.f38788465.t771043";

    #[test]
    fn it_comes_back_and_nothing_else_is_taken_for_it() {
        let identity: Identity = NAME.parse().unwrap();
        let text = text_of(&identity);
        assert_eq!(text, format!("4711\n{NAME}\n"));
        assert_eq!(identity_in(text.as_bytes()), Ok(identity));
        // Each byte of it counts; half a file is none.
        for end in 0..text.len() {
            assert!(identity_in(&text.as_bytes()[..end]).is_err(), "{end}");
        }
    }

    /// Something close to a pidfile, which most texts are not.
    fn spoilt() -> impl Strategy<Value = Vec<u8>> {
        let letter = prop_oneof![Just(b'\n'), Just(b'\r'), Just(b' '), Just(b'0'), Just(b'.'), any::<u8>()];
        (any::<prop::sample::Index>(), letter, 0..4).prop_map(|(at, letter, how)| {
            let mut text = format!("4711\n{NAME}\n").into_bytes();
            let at = at.index(text.len());
            match how {
                0 => text[at] = letter,
                1 => text.insert(at, letter),
                2 => text.push(letter),
                _ => text.truncate(at),
            }
            text
        })
    }

    proptest! {
        #[test]
        fn one_text_for_each(text in prop_oneof![3 => spoilt(), 1 => any::<Vec<u8>>()]) {
            match identity_in(&text) {
                Ok(identity) => prop_assert_eq!(text_of(&identity).into_bytes(), text),
                Err(why) => prop_assert!(!why.is_empty() && why.len() < 1000, "{}", why),
            }
        }
    }

    #[test]
    fn it_says_what_it_is_instead() {
        let other = format!("4712\n{NAME}\n");
        let third = format!("4711\n{NAME}\nmore\n");
        let cases: [(&[u8], &str); 10] = [
            (b"", "empty"),
            (b"4711\n", "number 4711"),
            (b" 4711", "number 4711"),
            (b"0\n", "no pidfile"),
            (b"\n", "no pidfile"),
            (b"hello", "no pidfile"),
            (b"\xff\xfe", "no text"),
            (b"4711\nlife9.x\n", "second line"),
            (other.as_bytes(), "first line is \"4712\""),
            (third.as_bytes(), "no pidfile"),
        ];
        for (text, words) in cases {
            let why = identity_in(text).unwrap_err();
            assert!(why.contains(words), "{why}, not {words}");
        }
    }
}
