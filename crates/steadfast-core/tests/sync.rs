//! Outside of a simulation, `sync` is what std has.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;
use steadfast_core::sync::{self, Condvar, Mutex};

#[test]
fn a_thread_gives_what_it_returns_or_what_it_panicked_with() {
    assert_eq!(sync::spawn(|| 42).join().unwrap(), 42);
    let panic = sync::spawn(|| -> () { std::panic::panic_any("on purpose") }).join().unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
}

#[test]
fn a_lock_is_held_by_one_and_survives_a_panic() {
    let count = Arc::new(Mutex::new(0));
    let threads: Vec<_> = (0..4)
        .map(|index| {
            let count = Arc::clone(&count);
            sync::spawn(move || {
                for _ in 0..1000 {
                    let mut count = count.lock();
                    let seen = *count;
                    std::thread::yield_now();
                    *count = seen + 1;
                }
                if index == 0 {
                    let _held = count.lock();
                    std::panic::panic_any("while it is held");
                }
            })
        })
        .collect();
    assert_eq!(threads.into_iter().map(sync::JoinHandle::join).filter(Result::is_err).count(), 1);
    assert_eq!(*count.lock(), 4000);
}

#[test]
fn a_condition_wakes_all_or_one_or_is_given_up() {
    let state = Arc::new((Mutex::new(0), Condvar::new()));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let state = Arc::clone(&state);
            sync::spawn(move || {
                let (tokens, changed) = &*state;
                let mut tokens = tokens.lock();
                while *tokens == 0 {
                    tokens = changed.wait(tokens);
                }
                *tokens -= 1;
            })
        })
        .collect();
    let (tokens, changed) = &*state;
    for _ in 0..2 {
        *tokens.lock() += 1;
        changed.notify_one();
    }
    *tokens.lock() += 1;
    changed.notify_all();
    for thread in threads {
        thread.join().unwrap();
    }
    let (left, timed_out) = changed.wait_timeout(tokens.lock(), Duration::from_millis(1));
    assert_eq!((*left, timed_out), (0, true));
}
