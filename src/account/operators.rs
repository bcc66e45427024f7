//! How operators without a token are let in: a link that opens their page once, and what it leaves in the browser.

use super::AccountError;
use super::Accounts;
use crate::model::Digest;
use crate::model::Event;
use crate::model::EventKind;
use crate::store::Pass;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use std::net::IpAddr;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a link can be used.
pub const LINK_LIFE: Duration = Duration::from_mins(5);
/// How long a browser that used one is let in.
pub const PASS_LIFE: Duration = Duration::from_hours(8);
/// Who acts by a link, in the audit log.
pub const LINK_ACTOR: &str = "admin-link";
/// Who acts by the token of the admin listener, in the audit log.
pub const TOKEN_ACTOR: &str = "admin-token";
/// Who acts by the token that an older front end sends, in the audit log.
pub const HEADER_ACTOR: &str = "admin-token-user";

const TOKEN: usize = 32;

impl Accounts {
    /// Makes a link: its token, to be shown once and kept nowhere.
    ///
    /// # Errors
    /// The store's, or no randomness; there is no link then.
    pub async fn make_link(&self, actor: &str) -> Result<SecretString, AccountError> {
        let (token, digest) = mint()?;
        let now = self.store.now().await.map_err(AccountError::Store)?;
        let link = Pass {
            digest,
            expires_at: now.plus(LINK_LIFE),
        };
        let event = Event::new(now, EventKind::AdminLinkMade, actor);
        self.store
            .add_link(link, now, event)
            .await
            .map_err(AccountError::Store)?;
        Ok(token)
    }

    /// Uses a link up; the token of the browser's pass in its place, `None` where the link is none or was used or is over.
    ///
    /// # Errors
    /// The store's, or no randomness; whether the link was used up is not known then.
    pub async fn use_link(&self, link: &str, address: IpAddr) -> Result<Option<SecretString>, AccountError> {
        let Some(link) = digest_of(link) else { return Ok(None) };
        let (token, digest) = mint()?;
        let now = self.store.now().await.map_err(AccountError::Store)?;
        let browser = Pass {
            digest,
            expires_at: now.plus(PASS_LIFE),
        };
        let event = Event {
            address: Some(address),
            ..Event::new(now, EventKind::AdminSignedIn, LINK_ACTOR)
        };
        let used = self.store.use_link(link, browser, now, event).await;
        Ok(used.map_err(AccountError::Store)?.then_some(token))
    }

    /// The digest of a browser's pass that is good now.
    ///
    /// # Errors
    /// The store's.
    pub async fn find_pass(&self, token: &str) -> Result<Option<Digest>, AccountError> {
        let Some(digest) = digest_of(token) else {
            return Ok(None);
        };
        let now = self.store.now().await.map_err(AccountError::Store)?;
        let good = self.store.has_pass(digest, now).await.map_err(AccountError::Store)?;
        Ok(good.then_some(digest))
    }

    /// Ends a browser's pass.
    ///
    /// # Errors
    /// The store's; whether it was ended is not known then.
    pub async fn end_pass(&self, pass: Digest, address: IpAddr) -> Result<(), AccountError> {
        let event = Event {
            address: Some(address),
            ..Event::new(self.throttle.now(), EventKind::AdminSignedOut, LINK_ACTOR)
        };
        self.store
            .end_pass(pass, event)
            .await
            .map(drop)
            .map_err(AccountError::Store)
    }
}

fn mint() -> Result<(SecretString, Digest), AccountError> {
    let mut token = Zeroizing::new([0_u8; TOKEN]);
    getrandom::fill(token.as_mut_slice()).map_err(|_| AccountError::Randomness)?;
    Ok((
        URL_SAFE_NO_PAD.encode(token.as_slice()).into(),
        sha256(token.as_slice()),
    ))
}

fn digest_of(text: &str) -> Option<Digest> {
    let mut token = Zeroizing::new([0_u8; TOKEN]);
    let fits = text.len() == 43 && URL_SAFE_NO_PAD.decode_slice(text, token.as_mut_slice()) == Ok(TOKEN);
    fits.then(|| sha256(token.as_slice()))
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut digest = Digest([0; 32]);
    digest
        .0
        .copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    digest
}
