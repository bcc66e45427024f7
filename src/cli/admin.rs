//! `portcullis admin`: how operators are let in.

use super::output;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::IsTerminal;
use zeroize::Zeroizing;

/// Let operators in
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Print a fresh token for programs that use the admin API
    Token(Token),
}

#[derive(Args, Debug)]
pub(super) struct Token {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Token(options) => token(options),
    }
}

/// Nothing is stored: where the token is kept is the operator's choice.
fn token(options: &Token) -> Result<()> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(bytes.as_mut())
        .map_err(std::io::Error::from)
        .context("the system gave no randomness")?;
    let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
    if options.json {
        return output::json(&json!({ "token": token.as_str() }));
    }
    output::line(token.as_str())?;
    if std::io::stdout().is_terminal() {
        let hint =
            "Keep it in a file that only the gateway may read, and write `token = \"file:admin.token\"` under [admin].";
        anstream::eprintln!("{hint}");
    }
    Ok(())
}
