//! `portcullis reload`: has the running gateway read its configuration anew.

use super::failure;
use super::failure::Wrong;
use super::healthcheck::reachable;
use super::output;
use super::place;
use crate::config::Config;
use crate::web::Purpose;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpStream;
use url::Url;

/// A reload reads files and makes certificates; it waits for no database.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST_ANSWER: usize = 1 << 20;

/// Have the running gateway read its configuration anew: 0 applied, 1 failed (the old one runs on), 2 invalid
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The configuration that the gateway runs with
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the admin listener is reached, if not at the address of the configuration
    #[arg(long, value_name = "URL")]
    admin_url: Option<Url>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(options: Options) -> Result<()> {
    let loaded = place::read(&place::config_file(options.config, "")?)?;
    failure::show(&loaded.warnings);
    let address = match &options.admin_url {
        Some(url) => address_of(url)?,
        None => listener_of(&loaded.config)?,
    };
    let request = request(&loaded.config, address)?;
    let asked = tokio::time::timeout(PATIENCE, ask(address, request)).await;
    let (status, answer) =
        asked.with_context(|| format!("no answer from {address} within {} s", PATIENCE.as_secs()))??;
    if status == StatusCode::UNPROCESSABLE_ENTITY {
        bail!(Wrong(problems(&answer)));
    }
    if status == StatusCode::UNAUTHORIZED {
        bail!(
            "the running gateway has another admin token than this configuration; send it SIGHUP, and it knows this one"
        );
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        bail!(
            "the store is not answering, so the gateway could not let this command in; send it SIGHUP, which asks nobody"
        );
    }
    if !status.is_success() {
        let why = answer["error"].as_str().unwrap_or("the answer does not say why");
        bail!("nothing was applied: {why}");
    }
    if options.json {
        return output::json(&answer);
    }
    output::line("The configuration is in effect.")?;
    let pending: Vec<&str> = texts(&answer["pending"]);
    if !pending.is_empty() {
        output::line(format_args!("These wait for a restart: {}", pending.join(", ")))?;
    }
    Ok(())
}

fn address_of(url: &Url) -> Result<SocketAddr> {
    let addresses = url
        .socket_addrs(|| None)
        .context("the address of --admin-url cannot be found")?;
    addresses.first().copied().context("--admin-url has no address")
}

/// Where the admin listener of the configuration is.
fn listener_of(config: &Config) -> Result<SocketAddr> {
    let mut listeners = config.net.listeners.iter();
    let listener = listeners.find(|listener| listener.purpose == Purpose::Admin);
    let address = reachable(
        listener
            .context("the configuration has no admin listener to ask")?
            .address,
    );
    if address.port() == 0 {
        bail!(Wrong(
            "the port of [admin] is 0, another one at each start; add --admin-url with the address that the gateway's log \
             names, or send the gateway SIGHUP"
                .into()
        ));
    }
    Ok(address)
}

fn request(config: &Config, address: SocketAddr) -> Result<Request<Empty<Bytes>>> {
    let Some(token) = &config.admin.token else {
        bail!(Wrong(
            "no admin token is set; set `token` under [admin], or send the gateway SIGHUP".into()
        ));
    };
    let mut line = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
        .map_err(|_| Wrong("the admin token holds what no header can".into()))?;
    line.set_sensitive(true);
    let request = Request::post("/api/reload")
        .header(header::HOST, address.to_string())
        .header(header::AUTHORIZATION, line)
        .body(Empty::new())?;
    Ok(request)
}

async fn ask(address: SocketAddr, request: Request<Empty<Bytes>>) -> Result<(StatusCode, Value)> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.with_context(|| {
        format!("nothing answers on {address}; is the gateway running? An address that was changed waits for a restart")
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
        let body = body.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    };
    tokio::select! {
        answer = exchange => answer,
        Err(broken) = connection => Err(broken.into()),
    }
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// What the gateway found, which may have another environment than this command.
fn problems(answer: &Value) -> String {
    let mut lines = vec!["the gateway refuses the configuration; the old one runs on".to_owned()];
    for problem in answer["problems"].as_array().into_iter().flatten() {
        let message = problem["message"].as_str().unwrap_or_default();
        match (problem["file"].as_str(), problem["line"].as_u64()) {
            (Some(file), Some(line)) => lines.push(format!("{file}:{line}: {message}")),
            _ => lines.push(message.to_owned()),
        }
    }
    lines.join("\n  ")
}
