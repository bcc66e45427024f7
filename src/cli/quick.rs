//! What `demo` and `run --to` share: a gateway that needs no configuration file.

use super::demo;
use super::failure;
use super::output;
use super::place::Desk;
use super::secret::readable_password;
use crate::account::AccountError;
use crate::account::Accounts;
use crate::account::NewAccount;
use crate::app;
use crate::config;
use crate::config::Environment;
use crate::config::Quick;
use crate::lifecycle::Lifecycle;
use crate::net::NetError;
use crate::telemetry;
use anyhow::{Context, Result};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The control runtime is for the database, pages and passwords; requests have threads of their own.
const CONTROL_THREADS: usize = 2;
const DEMO_USER: &str = "demo";
const FIRST_USER: &str = "admin";
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

/// Options of both.
#[derive(Args, Debug)]
pub(super) struct Front {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_ADDRESS)]
    listen: SocketAddr,
    /// Where certificates, users and sessions are kept [default: data, for demo data/demo]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Allow --listen to name an address that other machines reach
    #[arg(long)]
    unsafe_listen_anywhere: bool,
}

/// What stands behind the gateway.
pub(super) enum Target {
    /// The demo application.
    Demo,
    /// The operator's own.
    Application(String),
}

/// What there is to tell when it is ready.
struct Ready {
    url: String,
    admin_url: Option<String>,
    user: Option<(String, SecretString)>,
    ca: Option<PathBuf>,
    data_dir: PathBuf,
}

impl Ready {
    /// The line for programs.
    fn to_json(&self) -> Value {
        let (user, password) = self
            .user
            .as_ref()
            .map(|(user, password)| (user, password.expose_secret()))
            .unzip();
        json!({
            "url": self.url,
            "admin_url": self.admin_url,
            "user": user,
            "password": password,
            "ca": self.ca,
            "data_dir": self.data_dir,
        })
    }
}

/// Runs until a signal stops it.
pub(super) fn run(target: Target, options: &Front, as_json: bool) -> Result<ExitCode> {
    on_control_runtime(async {
        let life = Lifecycle::default();
        let is_demo = matches!(target, Target::Demo);
        let (to, folder) = match target {
            Target::Demo => {
                let address = demo::serve(&life).await.context("cannot start the demo application")?;
                (format!("http://{address}"), "data/demo")
            }
            Target::Application(url) => (url, "data"),
        };
        let data_dir = std::path::absolute(options.data_dir.clone().unwrap_or_else(|| folder.into()))?;
        let loaded = config::quick(Quick {
            to,
            listen: Some(options.listen),
            unsafe_listen_anywhere: options.unsafe_listen_anywhere,
            data_dir: data_dir.clone(),
            environment: Environment::of_process(),
        })?;
        failure::show(&loaded.warnings);
        let mut config = loaded.config;
        // Nothing in front of it has to notice that it is going away; a person who stops it should not wait.
        config.life.drain_delay = Duration::ZERO;
        telemetry::init(&config.telemetry, &config.log_level)?;
        let running = app::start(config, None)
            .await
            .map_err(|error| advise(error, options.listen))?;
        let accounts = &running.accounts;
        let user = if is_demo {
            demo_user(accounts).await?
        } else {
            first_user(accounts).await?
        };
        let ready = Ready {
            url: running
                .listeners
                .first()
                .map(|url| browser_url(url))
                .unwrap_or_default(),
            admin_url: running.admin_url.clone(),
            user,
            ca: running.ca.clone(),
            data_dir,
        };
        if as_json {
            output::json(&ready.to_json())?;
        } else {
            welcome(&ready, is_demo)?;
        }
        let ended = running.wait().await;
        life.streams.cancel();
        ended
    })
}

/// A start that failed because the port is taken tells what to do about it in the words of these commands.
fn advise(error: anyhow::Error, listen: SocketAddr) -> anyhow::Error {
    match error.downcast_ref() {
        Some(NetError::Bind { address, .. }) if *address == listen => error.context(format!(
            "{listen} cannot be had; choose another port with --listen, or a free one with --listen 127.0.0.1:0"
        )),
        _ => error,
    }
}

/// Runs `work` on the runtime for everything but requests.
pub(super) fn on_control_runtime(work: impl Future<Output = Result<()>>) -> Result<ExitCode> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()?;
    runtime.block_on(work).map(|()| ExitCode::SUCCESS)
}

/// The user `demo`, with a fresh password at each start.
async fn demo_user(accounts: &Accounts) -> Result<Option<(String, SecretString)>> {
    let password = readable_password()?;
    if accounts.find(DEMO_USER).await?.is_some() {
        accounts.set_password(DEMO_USER, password.clone(), Desk::ACTOR).await?;
        accounts.enable(DEMO_USER, Desk::ACTOR).await?;
    } else {
        let added = add_user(accounts, DEMO_USER, "Demo User", "demo", password.clone()).await;
        added.with_context(|| format!("cannot add the user {DEMO_USER}; begin anew with another --data-dir"))?;
    }
    Ok(Some((DEMO_USER.to_owned(), password)))
}

/// The first user, once: where there are users, or were, nothing is added and nothing is shown.
async fn first_user(accounts: &Accounts) -> Result<Option<(String, SecretString)>> {
    if !accounts.list(None, None, 1).await?.is_empty() {
        return Ok(None);
    }
    let password = readable_password()?;
    match add_user(accounts, FIRST_USER, "Administrator", "admins", password.clone()).await {
        Ok(()) => Ok(Some((FIRST_USER.to_owned(), password))),
        Err(AccountError::Taken(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn add_user(
    accounts: &Accounts,
    user: &str,
    name: &str,
    group: &str,
    password: SecretString,
) -> Result<(), AccountError> {
    let account = NewAccount {
        username: user.to_owned(),
        email: Some(format!("{user}@example.com")),
        name: Some(name.to_owned()),
        groups: vec![group.to_owned()],
        password: Some(password),
    };
    accounts.add(account, Desk::ACTOR).await?;
    Ok(())
}

/// The listener's URL by the name that browsers have for this machine.
fn browser_url(listener: &str) -> String {
    let url = listener
        .replace("//127.0.0.1:", "//localhost:")
        .replace("//[::1]:", "//localhost:");
    if url.ends_with('/') { url } else { url + "/" }
}

fn welcome(ready: &Ready, is_demo: bool) -> Result<()> {
    let folder = ready.data_dir.display();
    // As it was called, so that the lines below can be copied.
    let program = std::env::args().next().unwrap_or_else(|| "portcullis".into());
    output::line(format_args!(
        "\n  Portcullis is running.\n\n    Open      {}",
        ready.url
    ))?;
    if let Some((user, password)) = &ready.user {
        let note = if is_demo {
            "a new one at every start"
        } else {
            "shown this once"
        };
        output::line(format_args!("    User      {user}"))?;
        output::line(format_args!("    Password  {}   ({note})", password.expose_secret()))?;
    } else {
        output::line("\n  Sign in as one of your users. To add one, or to set a password:")?;
        output::line(format_args!("    {program} user add NAME --data-dir {folder}"))?;
        output::line(format_args!("    {program} user password NAME --data-dir {folder}"))?;
    }
    if let Some(ca) = &ready.ca {
        output::line(format_args!(
            "\n  Your browser will warn of the certificate: it comes from a local authority that was made for this\n  \
             machine. Go on past the warning, or {}",
            trust_advice(ca)
        ))?;
    }
    output::line(format_args!("\n  Data      {folder}"))?;
    if let Some(admin) = &ready.admin_url {
        output::line(format_args!(
            "  Health    {}/readyz, figures on /metrics",
            admin.trim_end_matches('/')
        ))?;
    }
    if is_demo {
        output::line(format_args!(
            "  Next      {program} run --to http://127.0.0.1:3000   (your own application)"
        ))?;
    } else {
        output::line(format_args!(
            "  Next      {program} config init > portcullis.toml   (a file to start from)"
        ))?;
    }
    output::line("  Stop      Ctrl+C\n")
}

/// How a browser is told to trust the local authority. Those on Linux do not look where the system keeps its own.
fn trust_advice(ca: &Path) -> String {
    let ca = ca.display();
    if cfg!(target_os = "macos") {
        format!(
            "trust the authority first:\n    sudo security add-trusted-cert -d -k /Library/Keychains/System.keychain {ca}"
        )
    } else {
        format!("import the authority in its settings (certificates, authorities):\n    {ca}")
    }
}

#[cfg(test)]
mod tests {
    use super::browser_url;

    #[test]
    fn a_listener_on_loopback_is_shown_by_the_name_that_its_certificate_has() {
        assert_eq!(browser_url("https://127.0.0.1:8443"), "https://localhost:8443/");
        assert_eq!(browser_url("https://[::1]:8443/"), "https://localhost:8443/");
        assert_eq!(browser_url("https://192.0.2.1:8443"), "https://192.0.2.1:8443/");
    }
}
