//! The operators' side: health, readiness, metrics, on a listener of its own.

use crate::telemetry::Metrics;
use std::sync::Arc;

/// Tells whether this instance may be sent requests.
pub trait Readiness: Send + Sync + 'static {
    /// `Ok` when ready; else a short reason for `readyz`.
    ///
    /// # Errors
    /// Not ready, and why.
    fn ready(&self) -> Result<(), &'static str>;
}

/// The admin desk.
pub struct Admin {
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Readiness.
    pub readiness: Arc<dyn Readiness>,
    /// Hosts (canonical) that a request may name, against DNS rebinding; addresses of loopback always may.
    pub hosts: Vec<String>,
}
