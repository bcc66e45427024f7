//! The cookie of a session that goes on: its life in the browser follows the session's own.

use crate::session::Entry;
use crate::session::Sessions;
use crate::session::cache::Verdict;
use crate::session::token::Named;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A cookie that may be given again, with the token that the browser showed.
pub struct Renewal {
    entry: Arc<Entry>,
    shown: SecretString,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Renewal")
            .field("session", &self.entry.session.public_id)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// How long the cookie of this session is to live: until its idle end.
    #[must_use]
    pub fn cookie_life(&self, entry: &Entry) -> Duration {
        entry.ends().since(self.now())
    }

    /// What a fresh cookie for this session can be made of on the way back, when one is owed since its last touch.
    /// `values` are those of the request's cookies of our name. One relaxed load unless one is owed.
    #[must_use]
    pub fn renewal<'a>(&self, entry: &Arc<Entry>, values: impl Iterator<Item = &'a [u8]>) -> Option<Renewal> {
        if !entry.renewal_owed.load(Relaxed) {
            return None;
        }
        let shown = values
            .take(Named::MOST_VALUES)
            .find(|value| self.tokens.check(value) == Some(entry.session.digest))?;
        Some(Renewal {
            entry: Arc::clone(entry),
            shown: SecretString::from(std::str::from_utf8(shown).ok()?),
        })
    }

    /// The `Set-Cookie` value that renews the cookie for a browser on `host`: the same token, signed with the first
    /// secret. Once for each touch, whichever answer comes first; `None` for the others. `None` too when the session may
    /// have been ended or replaced meanwhile (an answer that was long on its way must not take the place of a newer
    /// cookie), and where nothing would change: the end of a session that activity does not move is known to its browser.
    /// A secret.
    #[must_use]
    pub fn renew(&self, renewal: &Renewal, host: &str, https: bool) -> Option<String> {
        let Renewal { entry, shown } = renewal;
        let at = self.cache.time.moment();
        if self.cache.judge(entry, at) != Verdict::Fresh || !entry.renewal_owed.swap(false, Relaxed) {
            return None;
        }
        let value = self.tokens.sign_again(shown.expose_secret().as_bytes())?;
        if !self.cache.activity.moves(entry) && value.expose_secret() == shown.expose_secret() {
            return None;
        }
        let life = self.cookie_life(entry);
        Some(self.settings.cookie.set(value.expose_secret(), host, https, life))
    }
}
