//! The command line: one short file a command.
//!
//! Each command reads its options, asks the rooms below, and prints a table for people or JSON for programs. Nothing is
//! decided here that a running gateway would decide otherwise: commands that touch state go through the same store.
//!
//! Called by `main.rs` only. What must always hold: exit code 0 done, 1 failed, 2 wrong usage or configuration; no
//! secret in an argument, an output or an error; no command hangs when its output is closed. A command that is
//! interrupted has either carried out its change whole or not at all, because each change is one transaction.

mod admin;
mod audit;
mod ban;
mod check;
mod completions;
mod config;
mod copying;
mod demo;
mod failure;
mod healthcheck;
mod import;
mod migrate;
mod output;
mod password;
mod place;
mod progress;
mod quick;
mod reload;
mod run;
mod secret;
mod session;
mod source;
mod stats;
mod theirs;
mod user;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// An authentication gateway: knows whose request it is, and forwards it to applications that nobody has to change.
#[derive(Parser, Debug)]
#[command(name = "portcullis", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Demo(demo::Options),
    Run(run::Options),
    Check(check::Options),
    Reload(reload::Options),
    #[command(subcommand)]
    Config(config::Command),
    Migrate(migrate::Options),
    #[command(subcommand)]
    User(user::Command),
    #[command(subcommand)]
    Session(session::Command),
    #[command(subcommand)]
    Source(source::Command),
    Audit(audit::Options),
    #[command(subcommand)]
    Admin(admin::Command),
    #[command(subcommand)]
    Ban(ban::Command),
    Healthcheck(healthcheck::Options),
    Completions(completions::Options),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and version come here too; a closed output is no reason to fail.
            let _ = answer.print();
            return ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(2));
        }
    };
    carry_out(cli.command).unwrap_or_else(|error| failure::report(&error))
}

fn carry_out(command: Command) -> anyhow::Result<ExitCode> {
    let outcome = match command {
        Command::Demo(options) => return demo::run(&options),
        Command::Run(options) => return run::run(options),
        Command::Check(options) => return wait_for(check::run(options)),
        Command::Config(command) => config::run(command),
        Command::Completions(options) => completions::run(&options),
        Command::Reload(options) => wait_for(reload::run(options)),
        Command::Migrate(options) => wait_for(migrate::run(options)),
        Command::User(command) => wait_for(user::run(command)),
        Command::Session(command) => wait_for(session::run(command)),
        Command::Source(command) => wait_for(source::run(command)),
        Command::Audit(options) => wait_for(audit::run(options)),
        Command::Admin(command) => wait_for(admin::run(command)),
        Command::Ban(command) => wait_for(ban::run(command)),
        Command::Healthcheck(options) => wait_for(healthcheck::run(options)),
    };
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Runs a command that asks the store, on a runtime of its own.
fn wait_for<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_without_contradiction() {
        super::Cli::command().debug_assert();
    }
}
