//! `portcullis admin`: how operators are let in.

use super::failure::Wrong;
use super::healthcheck::reachable;
use super::output;
use super::place::{Desk, Place};
use crate::account::LINK_LIFE;
use crate::config::Config;
use crate::store::Role;
use crate::web::Purpose;
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::json;
use std::io::IsTerminal;
use url::Url;
use zeroize::Zeroizing;

/// Let operators in
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Print a fresh token for programs that use the admin API
    Token(Token),
    /// Print a link that opens the overview in one browser, once, within five minutes
    LoginLink(LoginLink),
}

#[derive(Args, Debug)]
pub(super) struct Token {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct LoginLink {
    #[command(flatten)]
    place: Place,
    /// Where the admin listener is reached, if not at the address of the configuration
    #[arg(long, value_name = "URL")]
    admin_url: Option<Url>,
}

pub(super) async fn run(command: Command) -> Result<()> {
    match command {
        Command::Token(options) => token(&options),
        Command::LoginLink(options) => login_link(options).await,
    }
}

async fn login_link(options: LoginLink) -> Result<()> {
    let config = options.place.config()?;
    let mut url = match options.admin_url {
        Some(url) => url,
        None => listener_of(&config)?,
    };
    let desk = Desk::open(&config, Role::Command).await?;
    let link = desk.accounts.make_link(Desk::ACTOR).await?;
    desk.close().await;
    url.set_path("/open");
    url.set_query(Some(&format!("link={}", link.expose_secret())));
    if options.place.json {
        return output::json(&json!({ "url": url.as_str(), "seconds": LINK_LIFE.as_secs() }));
    }
    output::line(&url)?;
    if std::io::stdout().is_terminal() {
        anstream::eprintln!("Open it within five minutes, in one browser; it works once.");
    }
    Ok(())
}

/// The URL of the admin listener as the configuration has it.
fn listener_of(config: &Config) -> Result<Url> {
    let listener = config
        .net
        .listeners
        .iter()
        .find(|listener| listener.purpose == Purpose::Admin);
    let address = reachable(listener.context("the configuration has no admin listener")?.address);
    if address.port() == 0 {
        bail!(Wrong(
            "the port of [admin] is 0, another one at each start; add --admin-url with the address that the gateway's log names"
                .into()
        ));
    }
    Ok(Url::parse(&format!("http://{address}"))?)
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
