//! Reading the configuration anew while the gateway runs: read, check, build everything, and only then exchange it.

use super::doorman::Cores;
use super::files;
use super::files::Contents;
use super::herald;
use super::herald::Word;
use super::pending;
use super::snapshot::Permanent;
use super::snapshot::Snapshot;
use crate::admin::NotReloaded;
use crate::admin::Reload;
use crate::admin::Reloaded;
use crate::admin::Reloading;
use crate::config::Config;
use crate::config::Loaded;
use crate::config::Problems;
use crate::net::Control;
use crate::session;
use crate::telemetry::Chain;
use crate::telemetry::Level;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::Weak;
use std::time::Duration;
use tokio::sync::watch;

/// Reads the configuration again, from where it was read at start.
#[derive(Clone)]
pub struct Reread {
    /// The file.
    pub file: PathBuf,
    /// Reads it, and whatever else counts.
    pub read: Arc<dyn Fn() -> Result<Loaded, Problems> + Send + Sync>,
}

impl Reread {
    /// A pipe can be read once, and who opens it again may wait for ever. A file that is not there may come back.
    pub(super) fn can_be_read_again(&self) -> bool {
        std::fs::metadata(&self.file).map_or(true, |found| found.is_file())
    }
}

/// How long a reload waits for a core to take its turn.
const TURN: Duration = Duration::from_secs(5);

/// Exchanges snapshots.
pub(super) struct Reloader {
    pub permanent: Permanent,
    /// `None`: there is no file to read.
    pub reread: Option<Reread>,
    /// What the process was started with: what needs a restart is compared with it.
    pub started: Config,
    pub newest: watch::Sender<Arc<Snapshot>>,
    pub network: Arc<Control>,
    pub cores: Arc<Cores>,
    /// One at a time.
    pub turn: tokio::sync::Mutex<()>,
    /// What the last attempt was read from, as it was just before.
    pub contents: Mutex<Contents>,
}

/// Why nothing was changed.
enum Refused {
    Problems(Problems),
    Objection(&'static str),
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Reloader {
    /// Reads and applies the configuration, and tells metrics and log; `cause` is what asked for it. Dropping the future
    /// does not stop it.
    pub async fn reload(self: &Arc<Self>, cause: &'static str) -> Result<Reloaded, NotReloaded> {
        let this = Arc::clone(self);
        let work = self.permanent.lifecycle.tasks.spawn(async move {
            let _turn = this.turn.lock().await;
            if this.permanent.lifecycle.draining.is_cancelled() {
                return Err(NotReloaded::Failed("the gateway is stopping".to_owned()));
            }
            herald::tell(Word::Reloading).await;
            let outcome = this.reload_now(cause).await;
            herald::tell(Word::Ready(match &outcome {
                Ok(_) => herald::SERVING,
                Err(_) => "Serving by the configuration before the last one, which was refused; the log says why",
            }))
            .await;
            outcome
        });
        let broke = |_| {
            Err(NotReloaded::Failed(
                "the reload ended by a bug in the gateway".to_owned(),
            ))
        };
        work.await.unwrap_or_else(broke)
    }

    async fn reload_now(&self, cause: &'static str) -> Result<Reloaded, NotReloaded> {
        let outcome = self.read_and_apply().await;
        let success = &self.permanent.metrics.config_reload_success;
        success.set(i64::from(outcome.is_ok()));
        match outcome {
            Ok(done) if done.pending.is_empty() => {
                tracing::info!(reload.cause = cause, "the configuration was read anew and is in effect");
                Ok(done)
            }
            Ok(done) => {
                tracing::warn!(
                    reload.cause = cause,
                    reload.pending = done.pending.join(", "),
                    "the configuration was read anew and is in effect, but for what needs a restart"
                );
                Ok(done)
            }
            Err(refused) => {
                let not = refused.told();
                let why = match &not {
                    NotReloaded::Invalid(problems) => list(problems),
                    NotReloaded::Failed(why) => why.clone(),
                };
                tracing::error!(
                    reload.cause = cause,
                    reload.problem = why,
                    "the configuration was refused; the one before runs on"
                );
                Err(not)
            }
        }
    }

    /// What the last attempt was read from.
    pub fn read_from(&self) -> Contents {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn saw(&self, contents: Contents) {
        *self.contents.lock().unwrap_or_else(PoisonError::into_inner) = contents;
    }

    /// Makes local certificates anew that end soon, and takes them up; by the configuration that is in effect.
    pub async fn renew_certificates(&self) {
        let _turn = self.turn.lock().await;
        let newest = Arc::clone(&self.newest.borrow());
        let (network, settings) = (Arc::clone(&self.network), newest.config.net.clone());
        let now = self.permanent.clock.now().into();
        match tokio::task::spawn_blocking(move || network.prepare(&settings, now)).await {
            Ok(Ok(doors)) => self.network.adopt(doors, TURN).await,
            Ok(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "certificates could not be looked after; those at hand are shown");
            }
            // The runtime ends.
            Err(_) => {}
        }
    }

    async fn read_and_apply(&self) -> Result<Reloaded, Refused> {
        let Some(reread) = self.reread.clone() else {
            return Err(Refused::Objection("this gateway runs without a configuration file"));
        };
        if !reread.can_be_read_again() {
            return Err(Refused::Objection(
                "the configuration came from something that is no file and cannot be read again; restart the gateway",
            ));
        }
        let running = files::certificates(&self.newest.borrow().config).collect();
        let (read, contents) = tokio::task::spawn_blocking(move || read_twice(&reread, running)).await?;
        self.saw(contents);
        let loaded = read.map_err(Refused::Problems)?;
        let warnings = problems_of(&loaded.warnings);
        let pending = self.apply(loaded.config).await?;
        Ok(Reloaded { pending, warnings })
    }

    /// Builds everything that may fail, then exchanges it, which cannot. Returns what waits for a restart.
    async fn apply(&self, mut config: Config) -> Result<Vec<String>, Refused> {
        if let Some(objection) = pending::objection(&self.started, &config) {
            return Err(Refused::Objection(objection));
        }
        if config.session.secrets.is_empty() {
            config.session.secrets = vec![session::load_or_make_secret(&config.data_dir)?];
        }
        let level = Level::read(&config.log_level)?;
        let mut pending = pending::keys(&self.started, &config);
        let (network, addresses) = (Arc::clone(&self.network), config.net.clone());
        let now = self.permanent.clock.now().into();
        let doors = tokio::task::spawn_blocking(move || network.prepare(&addresses, now)).await??;
        pending.extend(doors.pending.iter().cloned());
        let before = Arc::clone(&self.newest.borrow());
        let next = Arc::new(before.successor(&self.permanent, config, doors.https_port)?);
        level.adopt();
        next.sessions.take_over(next.config.proxy.longest_grace());
        // Rules before certificates: who comes by a new name finds its route.
        if !self.cores.adopt(&next.shared, TURN).await {
            tracing::warn!("a core has not taken up the new configuration yet");
        }
        self.network.adopt(doors, TURN).await;
        self.newest.send_replace(next);
        Ok(pending)
    }
}

/// Reads to know which files there are, then what is in them, then what counts: a change that comes in between is seen by
/// whoever compares the contents later. Blocks.
pub(super) fn read_twice(reread: &Reread, running: BTreeSet<PathBuf>) -> (Result<Loaded, Problems>, Contents) {
    let files = match (reread.read)() {
        Ok(loaded) => loaded
            .files
            .iter()
            .cloned()
            .chain(files::certificates(&loaded.config))
            .collect(),
        // Whoever mends it may do so in any of these, or put back what runs.
        Err(problems) => problems.files().iter().cloned().chain(running).collect(),
    };
    let contents = Contents::of(&files);
    ((reread.read)(), contents)
}

impl Refused {
    fn told(self) -> NotReloaded {
        match self {
            Self::Problems(problems) if problems.could_not_read() => NotReloaded::Failed(problems.to_string()),
            Self::Problems(problems) => NotReloaded::Invalid(problems_of(&problems)),
            Self::Objection(why) => NotReloaded::Failed(why.to_owned()),
            Self::Failed(error) => NotReloaded::Failed(Chain(error.as_ref()).to_string()),
        }
    }
}

fn problems_of(problems: &Problems) -> Vec<Value> {
    match problems.to_json()["problems"].take() {
        Value::Array(problems) => problems,
        _ => Vec::new(),
    }
}

/// Problems for the log: `portcullis.toml:3: what is wrong`.
fn list(problems: &[Value]) -> String {
    let one = |problem: &Value| {
        let message = problem["message"].as_str().unwrap_or_default();
        match (problem["file"].as_str(), problem["line"].as_u64()) {
            (Some(file), Some(line)) => format!("{file}:{line}: {message}"),
            _ => message.to_owned(),
        }
    };
    let errors = problems.iter().filter(|problem| problem["severity"] == "error");
    errors.map(one).collect::<Vec<_>>().join("; ")
}

/// What the API rings: the reloader behind it is made after the API.
#[derive(Default)]
pub(super) struct Bell(OnceLock<Weak<Reloader>>);

impl Bell {
    /// To be called once.
    pub fn belongs_to(&self, reloader: &Arc<Reloader>) {
        let _ = self.0.set(Arc::downgrade(reloader));
    }
}

impl Reload for Bell {
    fn reload(&self) -> Reloading<'_> {
        Box::pin(async move {
            let Some(reloader) = self.0.get().and_then(Weak::upgrade) else {
                return Err(NotReloaded::Failed("the gateway is starting or stopping".to_owned()));
            };
            reloader.reload("api").await
        })
    }
}
