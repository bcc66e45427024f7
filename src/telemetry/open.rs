use prometheus_client::metrics::gauge::Gauge;

/// Counts something in a gauge while it is open.
pub struct Open(Gauge);

impl Open {
    /// One more.
    #[must_use]
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
