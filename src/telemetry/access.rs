use std::net::IpAddr;
use std::time::Duration;
use uuid::Uuid;

/// Writes a line a request.
#[derive(Clone, Debug)]
pub struct AccessLog {
    _private: (),
}

/// One request, as the log tells it.
#[derive(Debug)]
pub struct AccessLine<'a> {
    /// 32 hex digits.
    pub request_id: u128,
    /// The client's address.
    pub address: IpAddr,
    /// Method.
    pub method: &'a str,
    /// Canonical host.
    pub host: &'a str,
    /// Path without query: values in a query may be secrets.
    pub path: &'a str,
    /// Status; 499 when the client went away before there was one.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// From the head to the answer's end.
    pub duration: Duration,
    /// Whether the answer's body ended as it should.
    pub complete: bool,
    /// The route's name.
    pub route: Option<&'a str>,
    /// Whose request it was.
    pub user: Option<Uuid>,
    /// Public id of the session.
    pub session: Option<Uuid>,
    /// Why it was refused.
    pub refusal: Option<&'a str>,
    /// A word more about that.
    pub detail: Option<&'a str>,
    /// Which server answered.
    pub server: Option<&'a str>,
}

impl AccessLog {
    /// Writes one line; never waits.
    pub fn write(&self, line: &AccessLine<'_>) {
        tracing::info!(target: "access", ?line);
    }
}
