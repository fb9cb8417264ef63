//! The simulated kernel, for tests: `Kernel`, `Script`, `Fault`, and [`Simulated`], which makes a [`System`] of a `Kernel`.
//!
//! ```
//! use steadfast::Command;
//! use steadfast::mock::{Kernel, Script, Simulated};
//!
//! let kernel = Kernel::builder().program("flaky", Script::new().exit(1)).build();
//! let _here = kernel.system().enter();           // Command::new(..) on this thread reaches the simulation
//! assert_eq!(Command::new("flaky").status()?.code(), Some(1));
//! # Ok::<(), steadfast::Error>(())
//! ```
//!
//! How time, threads and seeds work, and what is modelled and what is not: the front page of the crate `steadfast-mock`. Three examples
//! show what it finds: `supervisor`, `job_queue` and `daemon`, each with its tests.

use crate::System;
pub use steadfast_mock::*;

/// Makes a [`System`] of a simulated kernel. (An extension, because the kernel knows nothing of the facade.)
pub trait Simulated {
    /// The simulation as a program with pidfds sees it.
    fn system(&self) -> System;

    /// The same simulation as a program without pidfds sees it: a handle is a number, with the hazards of one.
    fn system_pid_legacy(&self) -> System;
}

impl Simulated for Kernel {
    fn system(&self) -> System {
        System::with_backend(self.backend())
    }

    fn system_pid_legacy(&self) -> System {
        System::with_backend(self.backend_pid_legacy())
    }
}
