//! Races that are known: the checker meets all that can come of them.

use crate::checker::{Condvar, Mutex, in_every_order, remember_only, share};
use libtest_mimic::Trial;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::sync::{Arc, PoisonError};

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, run: fn()| {
        Trial::test(format!("every order: the checker: {name}"), move || {
            run();
            Ok(())
        })
    };
    vec![
        trial("each number of lost updates is met", lost_updates),
        trial("each order of three is met", permutations),
        trial("a lost wake-up is met", || assert!(catch_unwind(|| wake_up(false)).is_err(), "nobody slept for ever")),
        trial("none is met where there is none", || wake_up(true)),
    ]
}

thread_local! {
    static COUNT: RefCell<u32> = RefCell::default();
}

/// What comes of three threads that do so, each with its number.
fn all_that_comes(of: fn(u32)) -> Vec<u32> {
    let all = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let met = Arc::clone(&all);
    in_every_order(None, move || {
        COUNT.take();
        let threads = [1, 2, 3].map(|number| {
            shuttle::thread::spawn(move || {
                remember_only(&number);
                of(number);
            })
        });
        threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
        met.lock().unwrap_or_else(PoisonError::into_inner).insert(COUNT.take());
    });
    let all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().copied().collect()
}

fn lost_updates() {
    let all = all_that_comes(|_| {
        let seen = share(&COUNT, |count| *count);
        share(&COUNT, |count| *count = seen + 1);
    });
    assert_eq!(all, [1, 2, 3]);
}

fn permutations() {
    let all = all_that_comes(|number| share(&COUNT, |count| *count = 10 * *count + number));
    assert_eq!(all, [123, 132, 213, 231, 312, 321]);
}

/// One waits for a flag that the other one sets; it looks at it under the lock with which it falls asleep, or before.
fn wake_up(is_right: bool) {
    in_every_order(None, move || {
        let flag = Arc::new((Mutex::new(false), Condvar::default()));
        let own = Arc::clone(&flag);
        let waiter = shuttle::thread::spawn(move || {
            let lock = || own.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mut seen = lock();
            while !*seen {
                if !is_right {
                    drop(seen);
                    seen = lock();
                }
                seen = own.1.wait(seen).unwrap_or_else(PoisonError::into_inner);
            }
        });
        *flag.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        flag.1.notify_all();
        waiter.join().expect("it does not panic");
    });
}
