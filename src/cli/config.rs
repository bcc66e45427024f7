//! `portcullis config`: the configuration as it could be, and as it is.

use super::output;
use super::place;
use crate::config;
use anyhow::Result;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Write, show and describe configurations
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Print a configuration file to start from
    Init(Init),
    /// Print the configuration that takes effect; secrets are left out
    Show(Show),
    /// Print a JSON schema of the configuration file, for editors
    Schema,
}

#[derive(Args, Debug)]
pub(super) struct Init {
    /// Print every key with its default and what it does
    #[arg(long)]
    full: bool,
}

#[derive(Args, Debug)]
pub(super) struct Show {
    /// The file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tell where each value comes from
    #[arg(long)]
    origin: bool,
}

pub(super) fn run(command: Command) -> Result<()> {
    let text = match command {
        Command::Init(Init { full: true }) => config::reference(),
        Command::Init(Init { full: false }) => config::init().to_owned(),
        Command::Schema => config::schema(),
        Command::Show(options) => {
            let loaded = place::read(&place::config_file(options.config, "")?)?;
            super::failure::show(&loaded.warnings);
            config::show(&loaded, options.origin)
        }
    };
    output::line(text.trim_end())
}
