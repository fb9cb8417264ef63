//! What one does with this repository: `cargo xtask probe | test | bench | hazards | twins | environments | mutants | tidy`. One file per command; the tests use some of them.
#![forbid(unsafe_code)]

pub mod arrows;
pub mod cgroups;
pub mod compare;
pub mod environments;
pub mod mutants;
pub mod namespace;
pub mod noop;
pub mod probe;
pub mod recycle;
pub mod release;
pub mod test;
pub mod tidy;
pub mod tree;
