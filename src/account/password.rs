//! Argon2id on threads made for it, a few at a time.

use super::AccountError;
use super::Settings;
use super::rules::LONGEST_PASSWORD;
use argon2::Algorithm;
use argon2::Argon2;
use argon2::Params;
use argon2::PasswordHash;
use argon2::PasswordHasher;
use argon2::PasswordVerifier;
use argon2::Version;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

/// The most that a stored hash may ask for: whoever can write one row must not be able to stop the gateway.
const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 8;

/// Hashes passwords and checks them.
pub(super) struct Hasher {
    argon2: Argon2<'static>,
    /// What the passwords of unknown users are checked against: the same work, and never a match.
    stand_in: Arc<SecretString>,
    at_once: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// Too many wait already.
#[derive(Debug)]
pub(super) struct Full;

/// A place in the queue.
pub(super) struct Place {
    permit: OwnedSemaphorePermit,
}

impl Hasher {
    pub(super) fn new(settings: &Settings) -> Self {
        let memory = settings.memory_kib.clamp(Params::MIN_M_COST, MOST_MEMORY_KIB);
        let passes = settings.passes.clamp(Params::MIN_T_COST, MOST_PASSES);
        let params = Params::new(memory, passes, 1, None).expect("both lie within their bounds");
        let at_once = settings.at_once.clamp(1, Semaphore::MAX_PERMITS / 2);
        let queue = settings.queue.min(Semaphore::MAX_PERMITS / 2);
        // 16 bytes of salt and 32 of a hash that nobody ever computed, in unpadded base64.
        let (salt, hash) = ("A".repeat(22), "A".repeat(43));
        let stand_in = format!("$argon2id$v=19$m={memory},t={passes},p=1${salt}${hash}");
        Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            stand_in: Arc::new(stand_in.into()),
            at_once: Arc::new(Semaphore::new(at_once)),
            places: Arc::new(Semaphore::new(at_once + queue)),
        }
    }

    /// A place in the queue, or the news that there is none.
    pub(super) fn queue(&self) -> Result<Place, Full> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Full)?;
        Ok(Place { permit })
    }

    /// Whether `password` is the one whose PHC string is `stored`. Costs the same when nothing, or nothing usable, is
    /// stored. Runs to its end when the future is dropped, and holds its place until then.
    pub(super) async fn verify(&self, place: Place, password: SecretString, stored: Option<SecretString>) -> bool {
        let (argon2, stand_in) = (self.argon2.clone(), Arc::clone(&self.stand_in));
        let matches = move || matches(&argon2, &password, stored.as_ref(), &stand_in);
        // A check that panicked proved nothing.
        self.run(place, matches).await.unwrap_or(false)
    }

    /// The PHC string of a password, with a fresh salt.
    pub(super) async fn hash(&self, password: SecretString) -> Result<SecretString, AccountError> {
        let place = self.queue().map_err(|Full| AccountError::Busy)?;
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|_| AccountError::Randomness)?;
        let argon2 = self.argon2.clone();
        let hash = move || {
            let hash = argon2.hash_password_with_salt(password.expose_secret().as_bytes(), &salt);
            hash.map(|hash| SecretString::from(hash.to_string()))
        };
        // The work itself fails only where there is no memory for it.
        self.run(place, hash)
            .await
            .and_then(Result::ok)
            .ok_or(AccountError::Busy)
    }

    async fn run<T: Send + 'static>(&self, place: Place, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let permit = Arc::clone(&self.at_once).acquire_owned().await.ok()?;
        // The permits go with the work: dropping this future does not stop it, and it still takes its memory.
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((permit, place.permit));
            done
        });
        task.await
            .inspect_err(|error| tracing::error!(%error, "hashing a password failed"))
            .ok()
    }
}

fn matches(argon2: &Argon2, password: &SecretString, stored: Option<&SecretString>, stand_in: &SecretString) -> bool {
    let usable = stored.and_then(|stored| usable(stored.expose_secret()));
    // Longer ones were never set.
    let password = Some(password.expose_secret().as_bytes()).filter(|password| password.len() <= LONGEST_PASSWORD);
    if let (Some(hash), Some(password)) = (usable, password) {
        return argon2.verify_password(password, &hash).is_ok();
    }
    let work = PasswordHash::new(stand_in.expose_secret()).map(|hash| argon2.verify_password(b"", &hash));
    // There was nothing to match, but the work must be done: the optimiser is not to see that nobody looks at it.
    let _ = std::hint::black_box(work);
    false
}

/// A stored hash that is Argon2id and asks for no more than it may.
fn usable(stored: &str) -> Option<PasswordHash> {
    let hash = PasswordHash::new(stored).ok()?;
    let params = Params::try_from(&hash).ok()?;
    let modest = params.m_cost() <= MOST_MEMORY_KIB && params.t_cost() <= MOST_PASSES && params.p_cost() <= MOST_LANES;
    let argon2id = Algorithm::try_from(hash.algorithm.as_str()).is_ok_and(|found| found == Algorithm::Argon2id);
    (modest && argon2id && hash.salt.is_some() && hash.hash.is_some()).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::{Hasher, usable};
    use crate::account::Settings;
    use secrecy::{ExposeSecret, SecretString};
    use std::time::Duration;

    fn hasher(at_once: usize, queue: usize) -> Hasher {
        Hasher::new(&Settings {
            memory_kib: 64,
            passes: 1,
            at_once,
            queue,
            least_failure_time: Duration::ZERO,
            ..Settings::default()
        })
    }

    fn secret(text: &str) -> SecretString {
        text.to_owned().into()
    }

    async fn verify(hasher: &Hasher, password: &str, stored: Option<SecretString>) -> bool {
        let place = hasher.queue().unwrap();
        hasher.verify(place, secret(password), stored).await
    }

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let hasher = hasher(1, 0);
        let stored = hasher.hash(secret("correct horse")).await.unwrap();
        assert!(stored.expose_secret().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert!(verify(&hasher, "correct horse", Some(stored.clone())).await);
        for wrong in ["", "correct hors", "Correct horse", "correct horse "] {
            assert!(!verify(&hasher, wrong, Some(stored.clone())).await, "{wrong:?}");
        }
        let again = hasher.hash(secret("correct horse")).await.unwrap();
        assert_ne!(
            stored.expose_secret(),
            again.expose_secret(),
            "each hash has a salt of its own"
        );
    }

    #[tokio::test]
    async fn nothing_matches_when_nothing_usable_is_stored() {
        let hasher = hasher(1, 0);
        assert!(!verify(&hasher, "", None).await);
        for strange in [
            "",
            "plain",
            "$argon2id$",
            "$2b$12$abcdefghijklmnopqrstuv",
            hasher.stand_in.expose_secret(),
        ] {
            assert!(!verify(&hasher, strange, Some(secret(strange))).await, "{strange:?}");
        }
    }

    #[test]
    fn a_stored_hash_cannot_ask_for_the_machines_whole_memory() {
        let stored = |algorithm: &str, params: &str| {
            let text = format!("${algorithm}$v=19${params}${}${}", "A".repeat(22), "A".repeat(43));
            usable(&text).is_some()
        };
        assert!(stored("argon2id", "m=262144,t=16,p=8"));
        assert!(!stored("argon2id", "m=262145,t=2,p=1"));
        assert!(!stored("argon2id", "m=19456,t=17,p=1"));
        assert!(!stored("argon2id", "m=19456,t=2,p=9"));
        assert!(!stored("argon2i", "m=19456,t=2,p=1"));
    }

    #[tokio::test]
    async fn who_finds_the_queue_full_is_told_at_once() {
        let hasher = hasher(1, 1);
        let first = hasher.queue().unwrap();
        let second = hasher.queue().unwrap();
        assert!(hasher.queue().is_err());
        drop(second);
        assert!(!hasher.verify(first, secret("x"), None).await);
        assert!(hasher.queue().is_ok());
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_place_until_it_is_done() {
        let hasher = hasher(1, 0);
        let place = hasher.queue().unwrap();
        let checking = hasher.verify(place, secret("x"), None);
        drop(tokio::time::timeout(Duration::ZERO, checking).await);
        // Taken again only after the thread gave it back; a leak would wait here for ever.
        let waiting = hasher.places.acquire();
        drop(
            tokio::time::timeout(Duration::from_mins(1), waiting)
                .await
                .unwrap()
                .unwrap(),
        );
    }
}
