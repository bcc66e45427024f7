//! Composition root: settings in, running system out. The only file that knows every room.

use crate::account::Accounts;
use crate::config::Config;
use std::path::PathBuf;
use std::sync::Arc;

/// A gateway that accepts requests.
pub struct Running {
    /// `https://…` or `http://…` of every listener but the admin's, in the order of the configuration.
    pub listeners: Vec<String>,
    /// The admin listener's address.
    pub admin_url: Option<String>,
    /// The local CA's certificate, where there is one.
    pub ca: Option<PathBuf>,
    /// Users of this gateway, for the commands that start it.
    pub accounts: Arc<Accounts>,
}

/// Starts everything on the current (control) runtime.
///
/// # Errors
/// What kept it from starting. Nothing runs then.
#[expect(clippy::unused_async, reason = "skeleton")]
pub async fn start(config: Config) -> anyhow::Result<Running> {
    let _ = config;
    anyhow::bail!("the rooms are not joined yet")
}

impl Running {
    /// Waits for a signal to stop, drains, and returns when everything has ended.
    ///
    /// # Errors
    /// A task that must not end did.
    #[expect(clippy::unused_async, reason = "skeleton")]
    pub async fn wait(self) -> anyhow::Result<()> {
        Ok(())
    }
}
