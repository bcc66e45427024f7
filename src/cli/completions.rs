//! `portcullis completions`: what shells need to complete commands.

use super::output::OutputError;
use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::Write;

/// Print completions for a shell
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Which shell
    shell: Shell,
}

pub(super) fn run(options: &Options) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut super::Cli::command(), "portcullis", &mut script);
    std::io::stdout().lock().write_all(&script).map_err(OutputError)?;
    Ok(())
}
