//! How often something may be tried, across all instances: by account, by address, by browser.
//!
//! Cells of the generic cell rate algorithm stand in the store, so that every instance counts the same. An attempt is
//! counted before any password is hashed and given back when the password was right. Waiting is bounded by one interval:
//! nobody is locked out for longer, however often somebody tries.

use super::KnownBrowser;
use super::Origin;
use super::rate::Rate;
use super::rate::Rates;
use super::standing::Standing;
use crate::clock::Clock;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::Timestamp;
use crate::model::User;
use crate::store::Admission;
use crate::store::BucketKind;
use crate::store::Cell;
use crate::store::Store;
use crate::store::StoreError;
use aws_lc_rs::hmac;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long a refusal is repeated without asking the store: a ban that was lifted elsewhere ends here after this.
const REPEAT: Duration = Duration::from_secs(1);
/// How often cells that say nothing any more are deleted, at most.
const FORGET_EVERY: Duration = Duration::from_mins(1);
/// How many of them by one statement.
const FORGET: u32 = 1_000;
/// How many statements in a row.
const FORGET_TIMES: u32 = 100;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub enum Attempt<'a> {
    /// A password for a user, however the name was spelled.
    Password {
        /// Whose.
        user: &'a User,
        /// The name as it was given, in `canonical` spelling.
        login: &'a str,
        /// From where.
        origin: &'a Origin,
    },
    /// A password for a name that is nobody's: counted like the others, so that nobody learns who is a user.
    Nobody {
        /// As `canonical` spells it. Kept as a keyed hash: it may be a mistyped password.
        login: &'a str,
        /// From where.
        origin: &'a Origin,
    },
    /// A registration. Never given back.
    Registration {
        /// From where.
        address: IpAddr,
    },
    /// A wrong token of an administrator; see [`Throttle::check_token`].
    Token {
        /// From where.
        address: IpAddr,
    },
}

/// An attempt that was counted, to be given back by [`Throttle::give_back`] when it turned out to be right.
#[derive(Debug)]
#[must_use = "an attempt that was right is given back"]
pub struct Admitted(Vec<Cell>);

/// Why something may not be tried.
#[derive(Debug, thiserror::Error)]
pub enum ThrottleError {
    /// It was tried too often.
    #[error("too many attempts")]
    Throttled {
        /// When it may be tried again; at least a second.
        retry_after: Duration,
    },
    /// Could not ask.
    #[error("the store of attempts cannot be asked")]
    Store(#[from] StoreError),
}

/// Tells the time by which attempts are counted: the database's, so that all instances count alike.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Counts attempts.
pub struct Throttle {
    store: Arc<dyn Store>,
    rates: Rates,
    key: hmac::Key,
    now: Now,
    clock: Clock,
    standing: Standing,
    forgot_at: AtomicU64,
}

impl Throttle {
    pub(super) fn new(store: Arc<dyn Store>, rates: Rates, keys: &[hmac::Key], now: Now, clock: Clock) -> Self {
        Self {
            store,
            rates,
            key: keys.first().cloned().unwrap_or_else(own_key),
            now,
            clock,
            standing: Standing::default(),
            forgot_at: AtomicU64::new(0),
        }
    }

    /// Counts an attempt, in every cell or in none.
    ///
    /// # Errors
    /// See [`ThrottleError`]; it was not counted then, and nothing is to be tried.
    pub async fn admit(&self, attempt: &Attempt<'_>) -> Result<Admitted, ThrottleError> {
        let cells = self.cells(attempt);
        if cells.is_empty() {
            return Ok(Admitted(cells));
        }
        let now = (self.now)();
        let buckets: Vec<String> = cells.iter().map(Cell::bucket).collect();
        self.repeat(buckets.iter().map(String::as_str), now)?;
        let ban = ban(attempt, now);
        match self.store.admit(&cells, now, &ban).await? {
            Admission::Admitted => {
                self.forget_sometimes(now);
                Ok(Admitted(cells))
            }
            Admission::Refused(refusals) => {
                // No row any more: the ban was lifted between the two questions.
                let free_at = refusals.iter().map(|(_, free_at)| *free_at).max().unwrap_or(now);
                for (bucket, free_at) in refusals {
                    // Also by the name that was given, so that the next one need not ask whose it is.
                    if let Attempt::Password { login, .. } = attempt
                        && bucket.starts_with(BucketKind::Account.as_str())
                    {
                        self.refuse(self.name_bucket(login), free_at);
                    }
                    self.refuse(bucket, free_at);
                }
                Err(throttled(free_at, now))
            }
        }
    }

    /// Takes back what an attempt counted that was right. What others tried stays counted.
    pub async fn give_back(&self, admitted: Admitted) {
        if admitted.0.is_empty() {
            return;
        }
        if let Err(error) = self.store.give_back(&admitted.0).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a right password stays counted as an attempt");
        }
    }

    /// Whether `is_right` says so of an administrator's token, unless there were too many wrong ones from `address`: then
    /// it is not looked at. A right one writes nothing to the store.
    ///
    /// # Errors
    /// See [`ThrottleError`].
    pub async fn check_token(&self, address: IpAddr, is_right: impl FnOnce() -> bool) -> Result<bool, ThrottleError> {
        let attempt = Attempt::Token { address };
        for cell in self.cells(&attempt) {
            let (bucket, now) = (cell.bucket(), (self.now)());
            self.repeat([bucket.as_str()].into_iter(), now)?;
            let free_at = self.store.free_at(&bucket).await?;
            if free_at.is_some_and(|free_at| free_at > now) {
                // Refused as every attempt is, so that the start of the ban is written down.
                let counted = self.admit(&attempt).await?;
                // It was freed at this very moment.
                let right = is_right();
                if right {
                    self.give_back(counted).await;
                }
                return Ok(right);
            }
        }
        if is_right() {
            return Ok(true);
        }
        let _counted = self.admit(&attempt).await?;
        Ok(false)
    }

    /// Refuses what this process knows to be refused, before anything is asked or hashed. That it does not know allows
    /// nothing.
    pub(super) fn glance(&self, login: &str, origin: &Origin) -> Result<(), ThrottleError> {
        if !origin.browsers.is_empty() {
            return Ok(());
        }
        let buckets = [
            self.name_bucket(login),
            address_bucket(BucketKind::Address, origin.address),
        ];
        self.repeat(buckets.iter().map(String::as_str), (self.now)())
    }

    /// Forgets what this process knows to be refused.
    pub(super) fn forget_standing(&self) {
        self.standing.clear();
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.now)()
    }

    fn repeat<'a>(&self, buckets: impl Iterator<Item = &'a str>, now: Timestamp) -> Result<(), ThrottleError> {
        match self
            .standing
            .find(buckets, self.clock.elapsed())
            .filter(|free_at| *free_at > now)
        {
            Some(free_at) => Err(throttled(free_at, now)),
            None => Ok(()),
        }
    }

    fn refuse(&self, bucket: String, free_at: Timestamp) {
        let elapsed = self.clock.elapsed();
        self.standing
            .insert(bucket, free_at, elapsed, elapsed.saturating_add(REPEAT));
    }

    /// What the attempt is counted by. A browser that is known answers for itself alone: what strangers do to the account
    /// or from the same address does not concern it.
    fn cells(&self, attempt: &Attempt<'_>) -> Vec<Cell> {
        let rates = &self.rates;
        let by_address = |kind, rate, address| cell(rate, kind, address_key(address));
        let cells = match attempt {
            Attempt::Password { user, origin, .. } => match origin.browser_of(user.id) {
                Some(browser) => [
                    None,
                    cell(rates.browser, BucketKind::Browser, browser_key(user, browser)),
                ],
                None => [
                    cell(rates.account, BucketKind::Account, user.id.to_string()),
                    by_address(BucketKind::Address, rates.address, origin.address),
                ],
            }
            .map(|cell| {
                cell.map(|cell| Cell {
                    user: (cell.kind != BucketKind::Address).then_some(user.id),
                    ..cell
                })
            }),
            Attempt::Nobody { login, origin } => [
                cell(rates.account, BucketKind::Name, self.name_key(login)),
                by_address(BucketKind::Address, rates.address, origin.address),
            ],
            Attempt::Registration { address } => {
                [by_address(BucketKind::Registration, rates.registration, *address), None]
            }
            Attempt::Token { address } => [by_address(BucketKind::Token, rates.token, *address), None],
        };
        cells.into_iter().flatten().collect()
    }

    pub(super) fn name_bucket(&self, login: &str) -> String {
        format!("{}:{}", BucketKind::Name.as_str(), self.name_key(login))
    }

    fn name_key(&self, login: &str) -> String {
        hex::encode(&hmac::sign(&self.key, login.as_bytes()).as_ref()[..16])
    }

    /// Deletes what says nothing any more, now and then and behind everybody's back.
    fn forget_sometimes(&self, now: Timestamp) {
        let elapsed = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        let before = self.forgot_at.load(Relaxed);
        let every = u64::try_from(FORGET_EVERY.as_millis()).unwrap_or(u64::MAX);
        let is_due = before == 0 || elapsed.saturating_sub(before) >= every;
        let next = elapsed.max(1);
        if !is_due || self.forgot_at.compare_exchange(before, next, Relaxed, Relaxed).is_err() {
            return;
        }
        let store = Arc::clone(&self.store);
        tokio::spawn(async move {
            for _ in 0..FORGET_TIMES {
                match store.forget_cells(now, FORGET).await {
                    Ok(gone) if gone >= u64::from(FORGET) => {}
                    Ok(_) => return,
                    Err(error) => {
                        let error: &dyn std::error::Error = &error;
                        tracing::warn!(error, "attempts of long ago could not be deleted; it is tried again");
                        return;
                    }
                }
            }
        });
    }
}

/// How names are compared: a user name or an address in any case.
#[must_use]
pub(super) fn canonical(login: &str) -> String {
    login.trim().to_lowercase()
}

/// The buckets of an address, of every kind.
pub(super) fn address_buckets(address: IpAddr) -> Vec<String> {
    [BucketKind::Address, BucketKind::Registration, BucketKind::Token]
        .map(|kind| address_bucket(kind, address))
        .to_vec()
}

fn address_bucket(kind: BucketKind, address: IpAddr) -> String {
    format!("{}:{}", kind.as_str(), address_key(address))
}

/// An IPv4 address, or the first 64 bits of an IPv6 one: whoever has one of those has them all.
fn address_key(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            format!("{}/64", Ipv6Addr::from(network))
        }
    }
}

fn browser_key(user: &User, browser: &KnownBrowser) -> String {
    format!("{}:{}", user.id, hex::encode(browser.id))
}

fn cell(rate: Option<Rate>, kind: BucketKind, key: String) -> Option<Cell> {
    rate.map(|rate| Cell {
        kind,
        key,
        user: None,
        burst: rate.count.max(1),
        interval: rate.interval(),
    })
}

/// What the audit log is told when this attempt begins a ban.
fn ban(attempt: &Attempt<'_>, now: Timestamp) -> Event {
    let event = Event {
        address: Some(match attempt {
            Attempt::Password { origin, .. } | Attempt::Nobody { origin, .. } => origin.address,
            Attempt::Registration { address } | Attempt::Token { address } => *address,
        }),
        ..Event::new(now, EventKind::BanStarted, "system")
    };
    match attempt {
        Attempt::Password { user, .. } => Event {
            user: Some(user.id),
            username: Some(user.username.to_string()),
            ..event
        },
        _ => event,
    }
}

/// A key that nobody else has.
fn own_key() -> hmac::Key {
    let mut key = [0; 32];
    // Without randomness names are still hashed, and nothing else is made with it.
    let _ = getrandom::fill(&mut key);
    hmac::Key::new(hmac::HMAC_SHA256, &key)
}

fn throttled(free_at: Timestamp, now: Timestamp) -> ThrottleError {
    ThrottleError::Throttled {
        retry_after: free_at.since(now).max(Duration::from_secs(1)),
    }
}
