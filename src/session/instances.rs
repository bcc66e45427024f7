//! Instances that know of each other: each says every ten seconds that it runs and how it signs, and hears who else does.
//! A live one that does not understand our cookies signs our users out, so that is a warning, once for each change.

use super::CookieSettings;
use super::Sessions;
use super::sweep::fraction;
use super::token::derive;
use crate::model::Timestamp;
use crate::store::Instance;
use crate::store::SeenInstance;
use crate::store::Signing;
use crate::store::Store;
use crate::store::StoreError;
use crate::telemetry::Metrics;
use aws_lc_rs::hmac;
use secrecy::SecretSlice;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often an instance says that it runs, give or take a tenth.
const BEAT: Duration = Duration::from_secs(10);
/// The same until it was heard for the first time.
const FIRST_BEAT: Duration = Duration::from_secs(1);
/// How long after its last beat an instance counts as running: two beats may be lost.
const LIVE: Duration = Duration::from_secs(35);
/// After which a silent one is forgotten.
const FORGET_AFTER: Duration = Duration::from_mins(5);
/// Bytes of a fingerprint: enough to tell secrets apart.
const FINGERPRINT: usize = 8;

/// How an instance with these settings signs. Fingerprints are derived from the secrets (HKDF under a label of their own,
/// then HMAC, cut to eight bytes): no key that signs anything can be had from one.
#[must_use]
pub fn signing(secrets: &[SecretSlice<u8>], cookie: &CookieSettings) -> Signing {
    let fingerprint = |key: &hmac::Key| {
        let whole = hmac::sign(key, b"portcullis instance");
        hex::encode(&whole.as_ref()[..FINGERPRINT])
    };
    Signing {
        cookie: format!("{}={}", cookie.name, cookie.token_prefix),
        fingerprints: derive(secrets, "fingerprint").iter().map(fingerprint).collect(),
    }
}

/// What keeps two instances from understanding each other's cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Discord {
    /// The other one cannot verify what this one signs.
    OursIsUnknown,
    /// This one cannot verify what the other one signs.
    TheirsIsUnknown,
    /// The other one's session cookie has another name or prefix.
    OtherCookie,
}

impl Discord {
    /// What is wrong and what to do, as seen by one of the two, of "the other".
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::OursIsUnknown => {
                "cannot verify the session cookies that this one signs, so users of this one are signed out there; write \
                 this one's first session.secrets entry behind that one's own, and only then go on: a new secret comes \
                 second in the list everywhere before it comes first anywhere"
            }
            Self::TheirsIsUnknown => {
                "signs session cookies that this one cannot verify, so its users are signed out here; write its first \
                 session.secrets entry into this one's list: an old secret is dropped only when none signs with it"
            }
            Self::OtherCookie => {
                "has another session cookie, so users are signed out when they move between the two; give both the same \
                 session.cookie and session.token_prefix"
            }
        }
    }
}

/// What keeps `ours` and `theirs` apart; nothing in each step of an orderly change of secrets.
#[must_use]
pub fn discords(ours: &Signing, theirs: &Signing) -> Vec<Discord> {
    let knows = |one: &Signing, other: &Signing| {
        let signs = other.fingerprints.first();
        signs.is_none_or(|signs| one.fingerprints.contains(signs))
    };
    let found = [
        (!knows(theirs, ours), Discord::OursIsUnknown),
        (!knows(ours, theirs), Discord::TheirsIsUnknown),
        (ours.cookie != theirs.cookie, Discord::OtherCookie),
    ];
    found
        .into_iter()
        .filter_map(|(is_so, discord)| is_so.then_some(discord))
        .collect()
}

/// An instance, as operators are told of it.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceFacts {
    /// Made at each start.
    pub id: Uuid,
    /// Name of its machine.
    pub host: String,
    /// Where it listens first.
    pub address: String,
    /// Of the program.
    pub version: String,
    /// Its first beat.
    pub started_at: Timestamp,
    /// Its last beat.
    pub last_seen_at: Timestamp,
    /// Whether it runs: it was seen within 35 seconds.
    pub live: bool,
    /// Live ones whose session cookies it refuses, by id.
    pub refuses_cookies_of: Vec<Uuid>,
}

/// What operators are told of `all`.
#[must_use]
pub fn facts(all: &[SeenInstance]) -> Vec<InstanceFacts> {
    let tell = |one: &SeenInstance| {
        let others = all.iter().filter(|other| is_live(one) && is_live(other));
        let refused = others.filter(|other| {
            let found = discords(&one.instance.signing, &other.instance.signing);
            found.iter().any(|discord| *discord != Discord::OursIsUnknown)
        });
        InstanceFacts {
            id: one.instance.id,
            host: one.instance.host.clone(),
            address: one.instance.address.clone(),
            version: one.instance.version.clone(),
            started_at: one.started_at,
            last_seen_at: one.last_seen,
            live: is_live(one),
            refuses_cookies_of: refused.map(|other| other.instance.id).collect(),
        }
    };
    all.iter().map(tell).collect()
}

/// The live ones of `all` that an instance with `ours` would not get on with, and why.
#[must_use]
pub fn strangers<'a>(ours: &Signing, all: &'a [SeenInstance]) -> Vec<(&'a Instance, Discord)> {
    let live = all.iter().filter(|one| is_live(one)).map(|one| &one.instance);
    live.flat_map(|one| {
        let found = discords(ours, &one.signing).into_iter();
        found.map(move |discord| (one, discord))
    })
    .collect()
}

fn is_live(one: &SeenInstance) -> bool {
    one.silent_for <= LIVE
}

/// What this instance says of itself besides how it signs.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    /// Name of the machine.
    pub host: String,
    /// Where it listens first.
    pub address: String,
}

/// This instance among the others. Nothing is done where the state has one gateway only.
pub struct Presence {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    whereabouts: Whereabouts,
    id: Uuid,
    /// Asked before each beat: secrets can change while the process runs.
    signing: Box<dyn Fn() -> Signing + Send + Sync>,
    told: Mutex<Told>,
}

/// What was logged last.
#[derive(Default)]
struct Told {
    strangers: BTreeSet<(Uuid, Discord)>,
    silenced: bool,
}

impl Presence {
    /// Under a new id; `signing` tells before each beat how this instance signs by then.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
        whereabouts: Whereabouts,
        signing: impl Fn() -> Signing + Send + Sync + 'static,
    ) -> Self {
        Self {
            store,
            metrics,
            whereabouts,
            id: Uuid::now_v7(),
            signing: Box::new(signing),
            told: Mutex::default(),
        }
    }

    /// Beats until `stop`, on the control runtime. Each beat is bounded by the store's call timeout, and none is waited
    /// for by anybody.
    pub async fn beat_regularly(&self, stop: CancellationToken) {
        let work = async {
            let mut pause = FIRST_BEAT;
            loop {
                if self.beat().await {
                    pause = BEAT;
                }
                tokio::time::sleep(pause.mul_f64(0.9 + fraction() / 5.0)).await;
            }
        };
        if self.store.is_shared() {
            stop.run_until_cancelled(work).await;
        } else {
            stop.cancelled().await;
        }
    }

    /// One beat; whether the others can see it.
    async fn beat(&self) -> bool {
        let mine = Instance {
            id: self.id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: cut(&self.whereabouts.host),
            address: cut(&self.whereabouts.address),
            signing: (self.signing)(),
        };
        match self.store.show_instance(&mine, FORGET_AFTER).await {
            Ok(all) => {
                self.heard(&mine, &all);
                true
            }
            Err(error) => {
                self.missed(&error);
                false
            }
        }
    }

    fn heard(&self, mine: &Instance, all: &[SeenInstance]) {
        let strangers = strangers(&mine.signing, all);
        let apart: BTreeSet<Uuid> = strangers.iter().map(|(one, _)| one.id).collect();
        let live = all.iter().filter(|one| is_live(one)).count();
        self.metrics.instances("disagreeing").set(count(apart.len()));
        self.metrics.instances("agreeing").set(count(live - apart.len()));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut told.silenced) {
            tracing::info!("the other instances see this one again");
        }
        let found: BTreeSet<_> = strangers.iter().map(|(one, discord)| (one.id, *discord)).collect();
        let before = std::mem::replace(&mut told.strangers, found);
        for (one, discord) in &strangers {
            if !before.contains(&(one.id, *discord)) {
                tracing::warn!(
                    instance.id = %one.id,
                    instance.host = one.host,
                    instance.address = one.address,
                    "the instance on {} ({}) {}",
                    one.host,
                    one.address,
                    discord.advice()
                );
            }
        }
        if strangers.is_empty() && !before.is_empty() {
            tracing::info!("all live instances verify each other's session cookies");
        }
    }

    fn missed(&self, error: &StoreError) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut told.silenced, true) && !matches!(error, StoreError::NotReady) {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the other instances cannot be told that this one runs; requests are not affected"
            );
        }
    }

    /// Tells that this instance is gone; to be called after [`Presence::beat_regularly`] has ended. Bounded by the store's
    /// call timeout; where it fails, the others forget this one within minutes.
    pub async fn leave(&self) {
        if self.store.is_shared()
            && let Err(error) = self.store.forget_instance(self.id).await
        {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "the other instances were not told that this one stops");
        }
    }
}

impl Sessions {
    /// How this instance signs at this moment.
    #[must_use]
    pub fn signing(&self) -> Signing {
        signing(&self.settings.secrets, &self.settings.cookie)
    }
}

/// At most what a column takes, on a border of characters.
fn cut(text: &str) -> String {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SameSite;
    use crate::session::Secure;

    const OLD: &[u8] = b"the old secret of thirty-two bytes";
    const NEW: &[u8] = b"the new secret of thirty-two bytes";

    fn cookie(name: &str) -> CookieSettings {
        CookieSettings {
            name: name.to_owned(),
            domains: Vec::new(),
            secure: Secure::Always,
            same_site: SameSite::Lax,
            token_prefix: String::new(),
        }
    }

    fn with(secrets: &[&[u8]]) -> Signing {
        let secrets: Vec<_> = secrets.iter().map(|one| SecretSlice::from(one.to_vec())).collect();
        signing(&secrets, &cookie("sid"))
    }

    fn seen(signing: Signing, silent_for: Duration) -> SeenInstance {
        let at = Timestamp::from_micros(1_769_860_800_000_000);
        SeenInstance {
            instance: Instance {
                id: Uuid::now_v7(),
                version: "1".to_owned(),
                host: "web-1".to_owned(),
                address: "https://10.0.0.1:8443".to_owned(),
                signing,
            },
            started_at: at,
            last_seen: at,
            silent_for,
        }
    }

    #[test]
    fn no_step_of_an_orderly_change_of_secrets_sets_two_instances_apart() {
        // Neighbouring steps run side by side, as long as it takes to go through all instances.
        let steps: [&[&[u8]]; 4] = [&[OLD], &[OLD, NEW], &[NEW, OLD], &[NEW]];
        for pair in steps.windows(2) {
            for (one, other) in [(pair[0], pair[1]), (pair[1], pair[0]), (pair[0], pair[0])] {
                assert_eq!(discords(&with(one), &with(other)), [], "{one:?} beside {other:?}");
            }
        }
    }

    #[test]
    fn a_change_of_secrets_in_the_wrong_order_sets_them_apart() {
        use Discord::{OursIsUnknown, TheirsIsUnknown};
        // First before it is second everywhere.
        assert_eq!(discords(&with(&[NEW, OLD]), &with(&[OLD])), [OursIsUnknown]);
        assert_eq!(discords(&with(&[OLD]), &with(&[NEW, OLD])), [TheirsIsUnknown]);
        // Dropped while another still signs with it.
        assert_eq!(discords(&with(&[NEW]), &with(&[OLD, NEW])), [TheirsIsUnknown]);
        assert_eq!(discords(&with(&[OLD]), &with(&[NEW])), [OursIsUnknown, TheirsIsUnknown]);
    }

    #[test]
    fn another_cookie_sets_instances_apart_too() {
        let secrets = [SecretSlice::from(OLD.to_vec())];
        let other = signing(&secrets, &cookie("other"));
        let mut prefixed = cookie("sid");
        prefixed.token_prefix = "aiq_".to_owned();
        for other in [other, signing(&secrets, &prefixed)] {
            assert_eq!(discords(&with(&[OLD]), &other), [Discord::OtherCookie]);
        }
    }

    #[test]
    fn a_fingerprint_is_short_stable_and_no_key_of_anything() {
        let one = with(&[OLD, NEW]);
        assert_eq!(one, with(&[OLD, NEW]));
        assert_eq!(one.fingerprints[0], with(&[OLD]).fingerprints[0]);
        assert_ne!(one.fingerprints[0], one.fingerprints[1]);
        assert!(one.fingerprints.iter().all(|print| print.len() == 16));
        let plain = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, OLD));
        assert!(!plain.contains(&one.fingerprints[0]));
        let secret = [SecretSlice::from(OLD.to_vec())];
        for label in [
            "cookie",
            "form",
            "trips",
            "browser",
            "throttle",
            "admin-list",
            "admin-form",
        ] {
            let other = hmac::sign(&derive(&secret, label)[0], b"portcullis instance");
            assert!(!hex::encode(other).starts_with(&one.fingerprints[0]), "{label}");
        }
    }

    #[test]
    fn who_was_not_seen_for_a_while_troubles_nobody() {
        let all = [
            seen(with(&[OLD]), LIVE),
            seen(with(&[NEW]), LIVE + Duration::from_micros(1)),
        ];
        assert_eq!(strangers(&with(&[OLD]), &all), []);
        assert_eq!(strangers(&with(&[NEW]), &all).len(), 2);
        let told = facts(&all);
        assert_eq!((told[0].live, told[1].live), (true, false));
        assert!(told.iter().all(|one| one.refuses_cookies_of.is_empty()));
    }

    #[test]
    fn operators_are_told_who_refuses_whose_cookies() {
        let all = [
            seen(with(&[OLD]), Duration::ZERO),
            seen(with(&[NEW, OLD]), Duration::ZERO),
        ];
        let told = facts(&all);
        assert_eq!(told[0].refuses_cookies_of, [all[1].instance.id]);
        assert!(told[1].refuses_cookies_of.is_empty());
    }

    #[test]
    fn what_is_written_down_has_its_bounds() {
        assert_eq!(cut(&"ä".repeat(200)).len(), 254);
        assert_eq!(cut("web-1"), "web-1");
    }
}
