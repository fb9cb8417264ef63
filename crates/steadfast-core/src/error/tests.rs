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

#[test]
fn of_a_pidfile_it_says_which_and_whose() {
    let of = |is| Error::Pidfile { path: "/run/a.pid".into(), is };
    let taken = of(PidfileIs::Taken { pid: Pid::MAX });
    assert_eq!(taken.to_string(), format!("pidfile `/run/a.pid`: it is held by process {}, which runs", Pid::MAX));
    assert_eq!(taken.kind(), ErrorKind::PidfileTaken);
    assert_eq!(io::Error::from(taken).kind(), io::ErrorKind::AlreadyExists);
    let unknown = of(PidfileIs::Unknown { why: "it is hidden".into(), errno: Some(Errno::MFILE) });
    assert!(unknown.is_of_the_moment() && unknown.to_string().contains("it is hidden"), "{unknown}");
    assert_eq!((unknown.kind(), format!("{unknown:#?}").contains("MFILE")), (ErrorKind::Pidfile, true), "{unknown:#?}");
    for is in [PidfileIs::Elsewhere, PidfileIs::Lost, PidfileIs::Busy { limit: Duration::from_secs(2) }] {
        assert_eq!((of(is.clone()).kind(), io::Error::from(of(is)).kind()), (ErrorKind::Pidfile, io::ErrorKind::Other));
    }
}
