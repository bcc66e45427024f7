//! `portcullis healthcheck`: for service managers and containers.

use super::failure::Wrong;
use super::output;
use super::place;
use crate::web::Purpose;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpStream;

/// Service managers give up after some seconds; the answer must come before.
const PATIENCE: Duration = Duration::from_secs(3);
const LONGEST_ANSWER: usize = 4096;

/// Ask a running gateway whether it may be sent requests
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The configuration that the gateway runs with
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) async fn run(options: Options) -> Result<()> {
    let config = place::load(&place::config_file(options.config, "")?)?;
    let listener = config
        .net
        .listeners
        .iter()
        .find(|listener| listener.purpose == Purpose::Admin);
    let address = reachable(
        listener
            .context("the configuration has no admin listener to ask")?
            .address,
    );
    if address.port() == 0 {
        bail!(Wrong(
            "the port of [admin] is 0, another one at each start; name one that can be asked".into()
        ));
    }
    let asked = tokio::time::timeout(PATIENCE, ask(address)).await;
    let (ready, text) =
        asked.with_context(|| format!("no answer from {address} within {} s", PATIENCE.as_secs()))??;
    if !ready {
        bail!("not ready: {text}");
    }
    output::line("ready")
}

/// Where a listener on every address is reached from this machine.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, address.port())
}

async fn ask(address: SocketAddr) -> Result<(bool, String)> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.with_context(|| format!("nothing answers on {address}; is the gateway running?"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/readyz")
        .header(header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let ready = answer.status().is_success();
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
        let body = body.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
        Ok((ready, String::from_utf8_lossy(&body).trim().to_owned()))
    };
    tokio::select! {
        answer = exchange => answer,
        Err(broken) = connection => Err(broken.into()),
    }
}
