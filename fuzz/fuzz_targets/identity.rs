//! Property: a text is refused with the place of what is wrong, or it names a process, and this is the only text that names it so.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadfast::{Error, Identity};

fuzz_target!(|text: &str| {
    match text.parse::<Identity>() {
        Ok(identity) => {
            assert_eq!(identity.to_string(), text);
            assert_ne!(identity.is_same_life(&identity), Some(false));
        }
        Err(Error::InvalidIdentity { at, .. }) => assert!(text.is_char_boundary(at), "{at}"),
        Err(error) => panic!("{error}"),
    }
});
