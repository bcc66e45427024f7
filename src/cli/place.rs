//! Where state is, for the commands that read and change it, beside a running gateway or without one.

use super::failure;
use super::failure::Wrong;
use crate::account::AccountError;
use crate::account::Accounts;
use crate::app;
use crate::clock::Clock;
use crate::config;
use crate::config::Config;
use crate::config::Environment;
use crate::config::Loaded;
use crate::config::Problems;
use crate::config::Sources;
use crate::config::Text;
use crate::model::User;
use crate::session::SourceDesk;
use crate::session::SourceSettings;
use crate::store;
use crate::store::Place as Engine;
use crate::store::Role;
use crate::store::Store;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Options of every command that touches state.
#[derive(Args, Debug)]
pub(super) struct Place {
    #[command(flatten)]
    source: Source,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
#[group(multiple = false)]
struct Source {
    /// The configuration of the gateway
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder of `demo` or `run --to`
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// What a command works with.
pub(super) struct Desk {
    pub store: Arc<dyn Store>,
    pub accounts: Arc<Accounts>,
    pub clock: Clock,
    /// Applications that keep sessions of their own.
    pub sources: Vec<SourceSettings>,
    /// How long other instances may believe what they know; `None` where there are none.
    unseen_for: Option<Duration>,
}

/// The configuration file that was named, by option or by `PORTCULLIS_CONFIG`. Without one, `otherwise` is what else
/// could have been said.
pub(super) fn config_file(option: Option<PathBuf>, otherwise: &str) -> Result<PathBuf> {
    let file = option.or_else(|| Environment::of_process().config_file());
    Ok(file.ok_or_else(|| {
        Wrong(format!(
            "no configuration is named: add --config FILE{otherwise}, or set PORTCULLIS_CONFIG"
        ))
    })?)
}

/// Reads and checks a configuration file.
pub(super) fn read(file: &Path) -> Result<Loaded, Problems> {
    config::load(Sources {
        text: Text::File(file.to_owned()),
        environment: Environment::of_process(),
        options: Vec::new(),
    })
}

/// Reads a configuration file that must be valid; warnings are shown.
pub(super) fn load(file: &Path) -> Result<Config> {
    let loaded = read(file)?;
    failure::show(&loaded.warnings);
    Ok(loaded.config)
}

impl Place {
    /// Opens the store, migrated as the configuration says.
    pub(super) async fn open(&self) -> Result<Desk> {
        Desk::open(&self.config()?, Role::Command).await
    }

    /// Opens the store as it is.
    pub(super) async fn open_unmigrated(&self) -> Result<Desk> {
        Desk::open(&self.config()?, Role::Migration).await
    }

    /// The configuration that was named.
    pub(super) fn config(&self) -> Result<Config> {
        let Some(folder) = &self.source.data_dir else {
            return load(&config_file(self.source.config.clone(), " or --data-dir DIR")?);
        };
        let config = config::for_data_dir(folder, Environment::of_process())?.config;
        if let Engine::Sqlite { path } = &config.store.place
            && !path
                .try_exists()
                .with_context(|| format!("cannot look into {}", folder.display()))?
        {
            let advice = "name the data folder that `demo` or `run --to` printed";
            bail!("there is no database in {}; {advice}", folder.display());
        }
        Ok(config)
    }
}

impl Desk {
    /// The actor in audit events.
    pub(super) const ACTOR: &'static str = "command";

    /// Opens the store of `config` beside whatever gateway uses it.
    pub(super) async fn open(config: &Config, role: Role) -> Result<Self> {
        let clock = Clock::system();
        let store = store::open(&config.store, role, clock.clone())
            .await
            .map_err(|error| app::name_store(error, &config.store))?;
        Ok(Self {
            accounts: Accounts::new(Arc::clone(&store), config.account.clone(), clock.clone()),
            clock,
            sources: config.session.sources.clone(),
            unseen_for: matches!(config.store.place, Engine::Postgres { .. })
                .then(|| config.session.cache.unseen_for()),
            store,
        })
    }

    /// The user of this name.
    pub(super) async fn user(&self, name: &str) -> Result<User> {
        let found = self.accounts.find(name).await?;
        Ok(found.ok_or_else(|| AccountError::NoSuchUser(name.to_owned()))?)
    }

    /// The application whose sessions are meant by a source's name, or a user called `SOURCE:SUBJECT`.
    pub(super) fn source(&self, name: &str) -> Result<SourceDesk> {
        let (name, _) = name.split_once(':').unwrap_or((name, ""));
        let found = self.sources.iter().find(|source| source.name == name);
        let settings = found.ok_or_else(|| {
            Wrong(format!(
                "there is no source {name:?}; `portcullis source list` shows them"
            ))
        })?;
        Ok(SourceDesk::new(settings, self.clock.clone(), Arc::clone(&self.store))?)
    }

    /// When running gateways act on a change, as a sentence.
    pub(super) fn effect(&self) -> String {
        match self.unseen_for {
            Some(span) => format!(
                "Every instance acts on it at once; one that has lost the database's feed, within {} seconds.",
                span.as_secs_f64().ceil()
            ),
            None => "A running gateway acts on it at once.".into(),
        }
    }

    /// Gives the connections back.
    pub(super) async fn close(self) {
        // What was asked is done; a connection that does not close in time is dropped with the process.
        let _ = self.store.close().await;
    }
}
