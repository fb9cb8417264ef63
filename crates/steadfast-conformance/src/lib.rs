//! The contract of steadfast, as a list of promises for any backend, including a third party's.
//!
//! There is one list, [`promises`], and a backend cannot choose from it. What a backend cannot do follows from its
//! [`BackendInfo`](steadfast_core::BackendInfo) and from what its [`Subject`] can arrange. It is reported as *skipped, because …*, and
//! counted. If a backend declares that it cannot keep a promise, and keeps it, that is a failure: the declaration is wrong.
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
//! The promises need a child program that follows orders: the `actor`, which does what an [`Act`] says. A real backend is
//! given the path of an actor; a simulated one has a simulated program that does the same.
//!
//! | file | holds |
//! | --- | --- |
//! | `act.rs` | [`Act`]: what the actor can be told |
//! | `subject.rs` | [`Subject`]: a backend and what can be arranged around it |
//! | `contract.rs` | the contract's table, row by row |
//! | `races.rs` | threads, recycled PIDs, and what drops and releases leave behind |
//! | `jobs.rs` | jobs: who is a member, what ends with it |
//! | `through.rs` | what a handle is made from, and what is done through it |
//! | `names.rs` | identities: what a stored name means later |
//! | `walls.rs` | walls: had, refused by name, or reported |
//! | `watching.rs` | being told of an exit |
//! | `changes.rs` | stops and continuations |
//! | `sequences.rs` | random sequences of operations, against a model and against another backend |
//! | `play/` | random scripts of process trees, on a real kernel and in a simulation at once |
//! | `report.rs` | running it all, and the [`Report`] |
#![forbid(unsafe_code)]

mod act;
mod changes;
mod contract;
mod jobs;
mod limits;
mod looks;
mod names;
mod play;
mod promise;
mod races;
mod report;
mod sequences;
mod starts;
mod subject;
mod through;
mod walls;
mod watching;

pub use act::{Act, Kin};
pub use play::{Life, Order, Sight, Theatre, same_play};
pub use promise::{Outcome, Promise};
pub use report::{Report, promises, run};
pub use sequences::same_answers;
pub use subject::Subject;
