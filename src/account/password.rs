//! Argon2id on threads made for it, a few at a time.

use super::AccountError;
use super::Settings;
use super::choice::LONGEST_PASSWORD;
use super::stored;
use super::stored::StoredHash;
use argon2::Algorithm;
use argon2::Argon2;
use argon2::Params;
use argon2::Version;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

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

/// What a check found.
#[derive(Default)]
pub(super) struct Checked {
    /// Whether the password is the one that is stored.
    pub right: bool,
    /// A hash of ours to be stored in place of one that another program made.
    pub replacement: Option<SecretString>,
}

impl Hasher {
    pub(super) fn new(settings: &Settings) -> Self {
        let memory = settings.memory_kib.clamp(Params::MIN_M_COST, stored::MOST_MEMORY_KIB);
        let passes = settings.passes.clamp(Params::MIN_T_COST, stored::most_passes(memory));
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

    /// Whether `password` is the one whose hash is `stored`. Costs as much as one of our own when nothing, or nothing
    /// usable, is stored; a hash of another program costs what that program chose, within bounds. With `replace`, one that
    /// is not as good as ours is made anew from a password that matches. Runs to its end when the future is dropped, and
    /// holds its place until then.
    pub(super) async fn verify(
        &self,
        place: Place,
        password: SecretString,
        stored: Option<SecretString>,
        replace: bool,
    ) -> Checked {
        let (argon2, stand_in) = (self.argon2.clone(), Arc::clone(&self.stand_in));
        let check = move || {
            let Some(hash) = matching(&password, stored.as_ref(), &stand_in) else {
                return Checked::default();
            };
            let password = password.expose_secret().as_bytes();
            let (memory, passes) = (argon2.params().m_cost(), argon2.params().t_cost());
            let replaced = replace && hash.is_to_be_replaced(password, memory, passes);
            Checked {
                right: true,
                // Without randomness or memory it is made at another log-in.
                replacement: replaced.then(|| make(&argon2, password).ok()).flatten(),
            }
        };
        // A check that panicked proved nothing.
        self.run(place, check).await.unwrap_or_default()
    }

    /// The PHC string of a password, with a fresh salt.
    pub(super) async fn hash(&self, password: SecretString) -> Result<SecretString, AccountError> {
        let place = self.queue().map_err(|Full| AccountError::Busy)?;
        let argon2 = self.argon2.clone();
        let hash = move || make(&argon2, password.expose_secret().as_bytes());
        self.run(place, hash).await.unwrap_or(Err(AccountError::Busy))
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

fn make(argon2: &Argon2, password: &[u8]) -> Result<SecretString, AccountError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| AccountError::Randomness)?;
    let mut output = Zeroizing::new([0; 32]);
    // The work itself fails only where there is no memory for it.
    stored::derive(argon2, password, &salt, output.as_mut_slice()).map_err(|_| AccountError::Busy)?;
    let params = argon2.params();
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output.as_slice()));
    Ok(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${output}").into())
}

/// The stored hash, when `password` is its own.
fn matching(password: &SecretString, stored: Option<&SecretString>, stand_in: &SecretString) -> Option<StoredHash> {
    let stored = stored.and_then(|stored| StoredHash::read(stored.expose_secret()).ok());
    // Longer ones were never set.
    let password = Some(password.expose_secret().as_bytes()).filter(|password| password.len() <= LONGEST_PASSWORD);
    if let (Some(hash), Some(password)) = (stored, password) {
        return hash.matches(password).then_some(hash);
    }
    let work = StoredHash::read(stand_in.expose_secret()).map(|hash| hash.matches(b""));
    // There was nothing to match, but the work must be done: the optimiser is not to see that nobody looks at it.
    let _ = std::hint::black_box(work);
    None
}

#[cfg(test)]
mod tests {
    use super::Hasher;
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
        hasher.verify(place, secret(password), stored, false).await.right
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

    #[tokio::test]
    async fn a_hash_of_another_program_is_made_anew_where_that_is_asked_for() {
        let hasher = hasher(1, 0);
        let stored = secret("pbkdf2_sha256$1000$NaClNaClNaCl1x$dce8H7yIVM2yV0xmqe1esrEisE1wnxMeVsxJxG102N0=");
        let check = async |password: &str, replace: bool| {
            let place = hasher.queue().unwrap();
            hasher
                .verify(place, secret(password), Some(stored.clone()), replace)
                .await
        };
        let password = "Grüße, 42 Türme";
        let kept = check(password, false).await;
        assert!(kept.right && kept.replacement.is_none());
        let wrong = check("Grüße, 42 Turme", true).await;
        assert!(!wrong.right && wrong.replacement.is_none());
        let ours = check(password, true).await.replacement.unwrap();
        assert!(ours.expose_secret().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert!(verify(&hasher, password, Some(ours.clone())).await);
        let place = hasher.queue().unwrap();
        let again = hasher.verify(place, secret(password), Some(ours), true).await;
        assert!(again.right && again.replacement.is_none(), "ours stays as it is");
    }

    #[tokio::test]
    async fn who_finds_the_queue_full_is_told_at_once() {
        let hasher = hasher(1, 1);
        let first = hasher.queue().unwrap();
        let second = hasher.queue().unwrap();
        assert!(hasher.queue().is_err());
        drop(second);
        assert!(!hasher.verify(first, secret("x"), None, true).await.right);
        assert!(hasher.queue().is_ok());
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_place_until_it_is_done() {
        let hasher = hasher(1, 0);
        let place = hasher.queue().unwrap();
        let checking = hasher.verify(place, secret("x"), None, false);
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
