//! Property: whatever a plan is made of, `Command::spawn` answers: the program of that name runs, or the error names it. PIDs and
//! signals that were printed are read back as they were.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use steadfast::{Command, ErrorKind, Pid, Signal};

fuzz_target!(|input: (Vec<u8>, Vec<u8>, Vec<u8>, String)| {
    let (program, arg, dir, text) = input;
    // Never a program that exists: this directory does not.
    let mut path = b"/nonexistent/".to_vec();
    path.extend(&program);
    if path.windows(2).any(|pair| pair == b"..") {
        return;
    }
    let mut command = Command::new(OsStr::from_bytes(&path));
    command.arg(OsStr::from_bytes(&arg)).env("X", OsStr::from_bytes(&arg)).current_dir(OsStr::from_bytes(&dir));
    let error = command.spawn().map(|child| child.pid()).expect_err("there is no such program");
    let has_nul = [&path, &arg, &dir].iter().any(|bytes| bytes.contains(&0));
    assert_eq!(error.kind() == ErrorKind::InvalidInput, has_nul, "{error}");
    assert!(error.to_string().contains("/nonexistent/"), "{error}");

    if let Ok(signal) = text.parse::<Signal>() {
        // The C library's own two have no name to be read.
        let read_back = signal.to_string().parse::<Signal>().ok();
        assert!(read_back == Some(signal) || (32..34).contains(&signal.as_raw()));
    }
    if let Ok(pid) = text.parse::<Pid>() {
        assert_eq!(pid.to_string().parse::<Pid>().expect("printed by us"), pid);
    }
});
