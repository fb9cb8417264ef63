//! Manual pages and completions, made of the same description as `--help`.

use crate::Cli;
use crate::say::Outcome;
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::PathBuf;

/// Writes the manual pages into a directory: `steadfast.1`, `steadfast-run.1`, …
#[derive(clap::Args)]
pub(crate) struct ManArgs {
    /// Which one; it must be there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Prints what a shell needs to complete the words of this program
#[derive(clap::Args)]
pub(crate) struct CompletionsArgs {
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn man(args: &ManArgs) -> Outcome {
    clap_mangen::generate_to(Cli::command(), &args.dir).map_err(|error| format!("{}: {error}", args.dir.display()))?;
    Ok(0)
}

pub(crate) fn completions(args: &CompletionsArgs) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "steadfast", &mut text);
    crate::say::print(&String::from_utf8_lossy(&text))?;
    Ok(0)
}
