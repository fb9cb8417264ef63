//! `steadfast id`: the identity of a process.

use crate::say::{self, Format, Outcome};
use crate::which::{Found, find};
use serde_json::json;

/// Prints the identity of each process: a line that names this life of it, and can be stored
///
/// Whoever has the PID later, and after the next boot, is not taken for it: give the line to `steadfast wait` or `steadfast kill`. The exit code is
/// 0, or 125 if a process is not there or cannot be named.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A PID, an identity, or the path of a pidfile
    #[arg(required = true, value_name = "PROCESS")]
    processes: Vec<String>,
}

pub(crate) fn id(args: &Args, format: Format) -> Outcome {
    let mut named = Vec::new();
    for text in &args.processes {
        let Found::Process(process) = find(text)? else {
            return Err(format!("{text}: has ended, and has no identity any more").into());
        };
        named.push((process.pid(), process.identity()?));
    }
    match format {
        Format::Text => named.iter().try_for_each(|(_, identity)| say::print(&format!("{identity}\n")))?,
        Format::Json => {
            let of = |(pid, identity): &(steadfast::Pid, steadfast::Identity)| json!({ "pid": pid.as_raw(), "identity": identity.to_string(), "evidence": format!("{:?}", identity.evidence()) });
            say::print_json(&named.iter().map(of).collect())?;
        }
    }
    Ok(0)
}
