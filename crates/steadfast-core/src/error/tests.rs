//! What an error keeps as an `io::Error`, and how it is shown.

use super::*;

#[test]
fn an_io_error_keeps_the_text_the_kind_and_the_errno() {
    let spawn = Error::Spawn { program: "foo".into(), stage: Stage::Chdir { path: "/nope".into() }, source: Errno::NOENT };
    let text = "spawn `foo`: chdir to `/nope`: No such file or directory (os error 2)";
    assert_eq!(spawn.to_string(), text);
    let io = io::Error::from(spawn);
    assert_eq!((io.to_string().as_str(), io.kind(), Errno::of(&io)), (text, io::ErrorKind::NotFound, Some(Errno::NOENT)));
    let boxed: Box<dyn std::error::Error> = io.into();
    assert_eq!(Errno::of(&*boxed), Some(Errno::NOENT));
    let io = io::Error::from(Error::NoChild { pid: Pid::MAX });
    assert_eq!((io.kind(), Errno::of(&io)), (io::Error::from_raw_os_error(10).kind(), Some(Errno::CHILD)));
    assert!(matches!(io.downcast::<Error>(), Ok(Error::NoChild { pid: Pid::MAX })));
    assert_eq!(Errno::of(&io::Error::from_raw_os_error(5)), Some(Errno::from_raw(5)));
    assert_eq!(Errno::of(&io::Error::from(Error::Released { pid: Pid::MAX })), None);
}

#[test]
fn debug_is_the_sentence_and_alternate_the_fields() {
    let spawn = Error::Spawn { program: "foo".into(), stage: Stage::Clone, source: Errno::MFILE };
    assert_eq!(format!("{spawn:?}"), spawn.to_string());
    let fields = format!("{spawn:#?}");
    assert!(fields.starts_with("Spawn {") && fields.contains("stage: Clone"), "{fields}");
    assert!(format!("{:#?}", Error::NoChild { pid: Pid::MAX }).starts_with("NoChild {"));
}

#[test]
fn an_io_error_without_an_errno_keeps_the_text() {
    let done = Error::ProcessDone { pid: Pid::MAX };
    let text = done.to_string();
    let io = io::Error::from(done);
    assert_eq!((io.kind(), io.to_string()), (io::ErrorKind::NotFound, text));
}
