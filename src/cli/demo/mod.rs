//! `portcullis demo`: the gateway in front of an application that shows what applications see. Needs nothing else.
//!
//! It does not differ from `run --to` but for the application and the user `demo`. Called by the command line. What must
//! always hold: it listens on loopback, and the application behind it is reached through the gateway's rules only (its
//! own port is on loopback too). Dropping its future ends everything; state stays in the data folder.

mod application;
mod page;
mod websocket;

pub(super) use application::serve;

use super::quick;
use super::quick::Target;
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;

/// Try it: the gateway in front of a small application of its own, ready in a second
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    quick: quick::Front,
    /// Print one line of JSON when ready, for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    quick::run(Target::Demo, &options.quick, options.json)
}
