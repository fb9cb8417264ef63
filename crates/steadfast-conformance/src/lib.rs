//! The contract of steadfast as promises that any backend can be held to, a third party's too.
//!
//! One list, [`promises`]; a backend cannot pick among them. What it cannot do follows from its
//! [`BackendInfo`](steadfast_core::BackendInfo) and from what its [`Subject`] can arrange, shows as *skipped, because …*, and
//! is counted. A promise that a backend is declared unable to keep, and keeps all the same, is a failure: the declaration is wrong.
//!
//! ```
//! use std::sync::Arc;
//! use steadfast_conformance::{Subject, run};
//! use steadfast_core::ProcessBackend;
//!
//! fn keeps_the_contract(my_backend: Arc<dyn ProcessBackend>) {
//!     let report = run(&Subject::new(my_backend, "path/to/actor"));
//!     println!("{report}");
//!     assert!(report.failed().is_empty());
//! }
//! ```
//!
//! The promises need a child that does as it is told: the `actor`, a program that obeys the words of an [`Act`]. A real backend is
//! given the path of one; a simulated one, a program that does the same.
//!
//! | file | holds |
//! | --- | --- |
//! | `act.rs` | [`Act`]: what the actor can be told |
//! | `subject.rs` | [`Subject`]: a backend and what can be arranged around it |
//! | `contract.rs` | the contract's table, row by row |
//! | `races.rs` | threads, recycled PIDs, and what drops and releases leave behind |
//! | `watching.rs` | being told of an exit |
//! | `sequences.rs` | random sequences of operations, against a model and against another backend |
//! | `play/` | random scripts of process trees, on a real kernel and in a simulation at once |
//! | `report.rs` | running it all, and the [`Report`] |
#![forbid(unsafe_code)]

mod act;
mod contract;
mod play;
mod promise;
mod races;
mod report;
mod sequences;
mod subject;
mod watching;

pub use act::Act;
pub use play::{Life, Order, Sight, Theatre, same_play};
pub use promise::{Outcome, Promise};
pub use report::{Report, promises, run};
pub use sequences::same_answers;
pub use subject::Subject;
