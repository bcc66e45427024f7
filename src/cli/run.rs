//! `portcullis run`: the gateway itself.

use super::output;
use super::place;
use super::quick;
use super::quick::Target;
use crate::app;
use crate::telemetry;
use anyhow::Result;
use clap::{ArgGroup, Args};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Run the gateway, in front of one application or as a configuration file says
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("what"))]
pub(super) struct Options {
    /// Stand in front of this application, with nothing to configure
    #[arg(long, value_name = "URL", group = "what")]
    to: Option<String>,
    /// Run as this file says
    #[arg(long, value_name = "FILE", group = "what", conflicts_with_all = ["listen", "data_dir", "unsafe_listen_anywhere"])]
    config: Option<PathBuf>,
    #[command(flatten)]
    quick: quick::Front,
    /// Print one line of JSON when ready, for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: Options) -> Result<ExitCode> {
    match options.to {
        Some(to) => quick::run(Target::Application(to), &options.quick, options.json),
        None => run_file(&place::config_file(options.config, " or --to URL")?, options.json),
    }
}

fn run_file(file: &Path, as_json: bool) -> Result<ExitCode> {
    let config = place::load(file)?;
    telemetry::init(&config.telemetry, &config.log_level)?;
    let again = file.to_owned();
    let reread = app::Reread {
        file: file.to_owned(),
        read: Arc::new(move || place::read(&again)),
    };
    quick::on_control_runtime(async move {
        let running = app::start(config, Some(reread)).await?;
        if as_json {
            output::json(&json!({ "listeners": running.listeners, "admin_url": running.admin_url }))?;
        }
        running.wait().await
    })
}
