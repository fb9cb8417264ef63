//! The text of an identity: whatever is named comes back the same; whatever is no identity is refused, with the place; and what two of them say of
//! each other.
#![forbid(unsafe_code)]

use proptest::prelude::*;
use steadfast_core::{BootId, Error, Evidence, Identity, Pid, StartTime};

const TEXT: &str = "life1.705fcf3c983447c9a67801b7c2c496dd.n4026531836.p4711.f38788465.t771043";

fn start_time() -> impl Strategy<Value = StartTime> {
    (any::<u64>(), any::<bool>()).prop_map(|(ticks, later)| StartTime::seen(ticks, ticks.saturating_add(u64::from(later))))
}

fn evidence() -> impl Strategy<Value = Evidence> {
    prop_oneof![
        any::<u64>().prop_map(Evidence::Pidfs),
        start_time().prop_map(Evidence::StartTime),
        (any::<u64>(), start_time()).prop_map(|(number, start_time)| Evidence::Both(number, start_time)),
    ]
}

fn identity() -> impl Strategy<Value = Identity> {
    (any::<[u8; 16]>(), any::<u64>(), 1..=Pid::MAX.as_raw(), evidence()).prop_map(|(boot, namespace, pid, evidence)| {
        Identity::new(BootId::from_bytes(boot), namespace, Pid::new(pid).unwrap(), evidence)
    })
}

/// One that differs from the other in something, or not.
fn pair() -> impl Strategy<Value = (Identity, Identity)> {
    (identity(), identity(), 0..16_u8).prop_map(|(one, two, from_one)| {
        let is_ones = |bit: u8| from_one & 1 << bit != 0;
        let mixed = Identity::new(
            if is_ones(0) { one.boot() } else { two.boot() },
            if is_ones(1) { one.namespace() } else { two.namespace() },
            if is_ones(2) { one.pid() } else { two.pid() },
            if is_ones(3) { one.evidence() } else { two.evidence() },
        );
        (one, mixed)
    })
}

/// Something close to an identity, which most texts are not.
fn spoilt() -> impl Strategy<Value = String> {
    let spoil =
        (identity(), any::<prop::sample::Index>(), prop_oneof![Just('.'), Just('0'), Just('f'), Just(' '), any::<char>()], 0..3);
    spoil.prop_map(|(identity, at, letter, how)| {
        let mut text: Vec<char> = identity.to_string().chars().collect();
        let at = at.index(text.len());
        match how {
            0 => text[at] = letter,
            1 => text.insert(at, letter),
            _ => drop(text.drain(at..)),
        }
        text.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn it_comes_back_the_same(identity in identity()) {
        let text = identity.to_string();
        prop_assert_eq!(text.parse::<Identity>().unwrap(), identity);
        prop_assert!(text.len() <= 113 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'), "{}", text);
    }

    #[test]
    fn one_text_for_each(text in prop_oneof![spoilt(), any::<String>()]) {
        match text.parse::<Identity>() {
            Ok(identity) => prop_assert_eq!(identity.to_string(), text),
            Err(Error::InvalidIdentity { at, .. }) => prop_assert!(at <= text.len() && text.is_char_boundary(at)),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn one_life_is_said_by_both_alike((one, two) in pair()) {
        let answer = one.is_same_life(&two);
        prop_assert_eq!(answer, two.is_same_life(&one));
        if answer == Some(true) {
            prop_assert_eq!(one.boot(), two.boot());
            let (a, b) = (one.evidence(), two.evidence());
            let by_number = a.pidfs().is_some() && a.pidfs() == b.pidfs();
            let is_exact = |evidence: Evidence| evidence.start_time().is_some_and(StartTime::is_exact);
            prop_assert!(by_number || (one.namespace(), one.pid()) == (two.namespace(), two.pid()) && is_exact(a) && is_exact(b));
        }
    }
}

#[test]
fn what_is_wrong_and_where() {
    let cases = [
        ("", 0, "life1"),
        ("life2.705fcf3c983447c9a67801b7c2c496dd.n1.p2.f3", 0, "later version"),
        ("life1", 5, "boot ID is missing"),
        ("life1.705fcf3c-9834-47c9-a678-01b7c2c496dd.n1.p2.f3", 6, "32 digits"),
        ("life1.705FCF3C983447C9A67801B7C2C496DD.n1.p2.f3", 6, "32 digits"),
        ("life1.705fcf3c983447c9a67801b7c2c496dd.1.p2.f3", 39, "PID namespace"),
        ("life1.705fcf3c983447c9a67801b7c2c496dd.n01.p2.f3", 39, "leading zeros"),
        ("life1.705fcf3c983447c9a67801b7c2c496dd.n18446744073709551616.p2.f3", 39, "number"),
        ("life1.705fcf3c983447c9a67801b7c2c496dd.n1.p0.f3", 42, "no process"),
        ("life1.705fcf3c983447c9a67801b7c2c496dd.n1.p+2.f3", 42, "number"),
        ("life1.705fcf3c983447c9a67801b7c2c496dd.n1.p4294967298.f3", 42, "no process"),
        ("life1.705fcf3c983447c9a67801b7c2c496dd.n1.p2", 44, "evidence is missing"),
        ("life1.705fcf3c983447c9a67801b7c2c496dd.n1.p2.", 45, "evidence is missing"),
        ("life1.705fcf3c983447c9a67801b7c2c496dd.n1.p2.t3.f4", 48, "nothing may follow"),
        ("life1.705fcf3c983447c9a67801b7c2c496dd.n1.p2.f3.t4.", 51, "nothing may follow"),
        ("life1.705fcf3c983447c9a67801b7c2c496dd.n1.p2.f3\n", 45, "number"),
    ];
    for (text, place, words) in cases {
        match text.parse::<Identity>() {
            Err(Error::InvalidIdentity { given, at, why }) => {
                assert_eq!(at, place, "{text}: {why}");
                assert!(why.contains(words) && given.starts_with('"'), "{text}: {why}, {given}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    // Of a long one the beginning is shown.
    let error = "x".repeat(100_000).parse::<Identity>().unwrap_err().to_string();
    assert!(error.len() < 300 && error.contains('…'), "{error}");
}

#[test]
fn it_is_padded_as_a_whole() {
    let identity: Identity = TEXT.parse().unwrap();
    assert_eq!(format!("{identity:>80}"), format!("{TEXT:>80}"));
    assert_eq!(format!("{identity:?}"), format!("Identity({TEXT})"));
}

#[test]
fn what_start_times_tell() {
    let named = |evidence| Identity::new(BootId::from_bytes([1; 16]), 2, Pid::new(3).unwrap(), evidence);
    let at = |ticks, now| named(Evidence::StartTime(StartTime::seen(ticks, now)));
    assert_eq!(at(5, 6).is_same_life(&at(5, 9)), Some(true));
    // One of them may have been there before the other one, in the same tick.
    assert_eq!(at(5, 5).is_same_life(&at(5, 9)), None);
    assert_eq!(at(5, 5).is_same_life(&at(6, 6)), Some(false));
    // A number in pidfs says more.
    let both = |number| named(Evidence::Both(number, StartTime::seen(5, 6)));
    assert_eq!(both(1).is_same_life(&both(2)), Some(false));
    assert_eq!(both(1).is_same_life(&at(5, 6)), Some(true));
    assert_eq!(named(Evidence::Pidfs(1)).is_same_life(&at(5, 6)), None);
    assert_eq!(named(Evidence::Pidfs(1)).is_same_life(&both(1)), Some(true));
}

#[test]
fn a_boot_is_read_as_the_kernel_writes_it() {
    let boot = BootId::parse("705fcf3c-9834-47c9-a678-01b7c2c496dd\n").unwrap();
    assert_eq!(boot.to_string(), "705fcf3c983447c9a67801b7c2c496dd");
    assert_eq!(BootId::parse("705fcf3c-9834-47c9-a678-01b7c2c496d"), None);
    assert_eq!(BootId::parse(""), None);
}

#[cfg(feature = "serde")]
#[test]
fn it_is_serialized_as_its_text() {
    let identity: Identity = TEXT.parse().unwrap();
    let json = serde_json::to_string(&identity).unwrap();
    assert_eq!(json, format!("{TEXT:?}"));
    assert_eq!(serde_json::from_str::<Identity>(&json).unwrap(), identity);
    let error = serde_json::from_str::<Identity>("\"life1\"").unwrap_err().to_string();
    assert!(error.contains("boot ID is missing"), "{error}");
    assert!(serde_json::from_str::<Identity>("4711").is_err());
}
