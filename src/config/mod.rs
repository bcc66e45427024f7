//! Text in, settings out: every room's `Settings`, from flags, environment, file and defaults.

use std::path::PathBuf;

/// The whole configuration as values.
#[derive(Clone, Debug)]
pub struct Config {
    /// Local CA, SQLite file, generated secrets.
    pub data_dir: PathBuf,
    /// Listeners and limits; the admin listener among them.
    pub net: crate::net::Settings,
    /// Routes and upstreams.
    pub proxy: crate::proxy::Settings,
    /// Pages.
    pub portal: crate::portal::Settings,
    /// Sessions.
    pub session: crate::session::Settings,
    /// Database.
    pub store: crate::store::Settings,
    /// Passwords.
    pub account: crate::account::Settings,
    /// Logs.
    pub telemetry: crate::telemetry::Settings,
    /// Stop.
    pub life: crate::lifecycle::Settings,
}
