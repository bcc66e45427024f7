//! Reading the configuration anew, as the API knows it.

use serde_json::Value;
use std::future::Future;
use std::pin::Pin;

/// A reload under way.
pub type Reloading<'a> = Pin<Box<dyn Future<Output = Result<Reloaded, NotReloaded>> + Send + 'a>>;

/// Reads the configuration anew and applies it. One at a time; what was begun is carried through when its future is
/// dropped.
pub trait Reload: Send + Sync + 'static {
    /// Does it once.
    fn reload(&self) -> Reloading<'_>;
}

/// A configuration that took effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Reloaded {
    /// Keys that were changed too and need a restart.
    pub pending: Vec<String>,
    /// What is likely not what was meant: severity, key, message, hint, file, line and column of each.
    pub warnings: Vec<Value>,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq)]
pub enum NotReloaded {
    /// The configuration is not valid: severity, key, message, hint, file, line and column of each problem.
    Invalid(Vec<Value>),
    /// It is, but cannot take effect, or could not be read; the text says why.
    Failed(String),
}
