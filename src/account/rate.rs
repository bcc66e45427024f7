use std::time::Duration;

/// `count` attempts within `per`: as many at once, then one each `per / count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub count: u32,
    /// At least a millisecond for each of them.
    pub per: Duration,
}

impl Rate {
    const fn new(count: u32, per: Duration) -> Self {
        Self { count, per }
    }

    /// How long one attempt takes to be forgotten, and the longest that anybody waits.
    #[must_use]
    pub fn interval(self) -> Duration {
        (self.per / self.count.max(1)).max(Duration::from_millis(1))
    }
}

/// How often something may be tried; `None` for as often as anybody likes.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Passwords for one account, from browsers that nobody signed in with before.
    pub account: Option<Rate>,
    /// Passwords from one address (IPv4) or network of 64 bits (IPv6), from such browsers.
    pub address: Option<Rate>,
    /// Passwords for one account from one browser in which its user signed in before.
    pub browser: Option<Rate>,
    /// Registrations from one address.
    pub registration: Option<Rate>,
    /// Wrong tokens of administrators from one address.
    pub token: Option<Rate>,
}

impl Default for Rates {
    fn default() -> Self {
        const SPAN: Duration = Duration::from_mins(10);
        Self {
            account: Some(Rate::new(10, SPAN)),
            address: Some(Rate::new(100, SPAN)),
            browser: Some(Rate::new(20, SPAN)),
            registration: Some(Rate::new(10, Duration::from_hours(1))),
            token: Some(Rate::new(20, SPAN)),
        }
    }
}
