//! The play: what simulated programs do, in the words of a test; which are installed, which commands are expected, which calls fail; and what
//! was run, to be asked for afterwards.
//!
//! **It must not know** how it is performed: threads, chance (what it leaves to chance it is given), time, and whoever tells the machine what is
//! called. Of the model it knows the instructions, and nothing of its state.

pub(crate) mod check;
pub(crate) mod expect;
pub(crate) mod fault;
pub(crate) mod log;
pub(crate) mod programs;
pub(crate) mod run;
pub(crate) mod script;
pub(crate) mod setup;
