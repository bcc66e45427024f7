//! Sessions that an application keeps in its own tables: from its cookie to its user.
//!
//! It writes nothing but what an operator allowed it: rows that sign somebody in, the end of a row, its deletion. It
//! believes no row longer than its source's short bound. What must always hold: only the application's own tables say who
//! is signed in; a legacy user never has the name of one of ours, unless an operator said that they are the same; a row
//! that cannot be read is nobody's, counted and logged once a minute; a table that cannot be asked is *could not ask*.

mod check;
mod copying;
mod desk;
mod ended;
mod envelope;
mod everyone;
mod facts;
mod keys;
mod lookups;
mod mapping;
mod newcomer;
mod opening;
mod payload;
mod preset;
#[cfg(any(test, fuzzing))]
pub(crate) mod probe;
mod remembered;
mod steps;
mod touching;
mod trial;

pub use check::{SourceReport, check_source};
pub use copying::{CopyError, CopyReport, CopySettings, copy_sessions};
pub(super) use desk::KnownRow;
pub use desk::{EndError, SourceDesk, TheirSession, TheirSessions};
pub use everyone::EndedThere;
pub use facts::principal;
pub use keys::Secrets;
pub(super) use lookups::Lookups;
pub use mapping::{Condition, Mapping, Place, PlaceError, Touching, UsersMapping};
pub(super) use opening::Misfit;
pub use opening::OpenCookie;
pub use payload::{MOST_PAYLOAD, PayloadError, PayloadFormat};
pub use preset::Preset;
pub(super) use steps::Key;
pub use steps::{Derive, Encoding, Hash, Step};
pub(super) use touching::apart;
pub use trial::try_cookie;

use super::Digest;
use crate::store::LegacySettings;
use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How one source works.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// What rules, logs and people call it; part of its users' names.
    pub name: String,
    /// Canonical hosts on which its sessions count; nowhere else.
    pub hosts: Vec<String>,
    /// From cookie to user.
    pub mapping: Mapping,
    /// The application's own secrets.
    pub secrets: Arc<Secrets>,
    /// Its tables.
    pub table: LegacySettings,
    /// Subjects who are users of ours, by name.
    pub user_map: BTreeMap<String, String>,
    /// Groups that are groups of ours, by name.
    pub group_map: BTreeMap<String, String>,
    /// Paths of the application's log-out: after an answer from one its row is asked for anew.
    pub logout_paths: Vec<String>,
    /// How long a row is believed.
    pub max_age: Duration,
    /// The cookie of sessions that a log-in here opens in the application; `None`: it opens none.
    pub open: Option<OpenCookie>,
    /// Whether its sessions were copied into our store, so that its tables are not asked any more.
    pub moved: bool,
}

impl PartialEq for SourceSettings {
    fn eq(&self, other: &Self) -> bool {
        let facts = |one: &Self| {
            let maps = (one.user_map.clone(), one.group_map.clone(), one.logout_paths.clone());
            (
                one.name.clone(),
                one.hosts.clone(),
                one.mapping.clone(),
                maps,
                (one.max_age, one.moved),
                one.open.clone(),
            )
        };
        facts(self) == facts(other) && self.secrets == other.secrets && self.table == other.table
    }
}

impl SourceSettings {
    /// Whether this source's sessions count on `host`.
    #[must_use]
    pub fn serves(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| known == host)
    }

    /// The row that these cookies name, with the digest by which it is cached; `None` when they name none.
    pub(super) fn named(&self, cookies: &[(&[u8], &[u8])], now: i64) -> Option<(Digest, Key)> {
        let (name, value) = self.mapping.choose(cookies)?;
        let key = steps::run(&self.mapping.steps, value, name, &self.secrets, now)?;
        Some((self.digest(&key), key))
    }

    /// By what the copy of a row is known in our store: a keyed digest, so that who reads it can neither try keys nor tell
    /// from which row it came. `secret` is what the row must hold besides.
    pub(super) fn copy_digest(&self, mac: &hmac::Key, key: &str, secret: Option<&[u8]>) -> Digest {
        let mut context = hmac::Context::with_key(mac);
        for part in [self.name.as_bytes(), key.as_bytes(), secret.unwrap_or_default()] {
            // Lengths first, so that no two lists of parts are one text.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0_u8; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        Digest(bytes)
    }

    /// What a row's payload says; null where the mapping reads none, or the row has none.
    fn payload(&self, stored: Option<&[u8]>) -> Result<Value, PayloadError> {
        match (&self.mapping.payload, stored) {
            (Some((_, format)), Some(bytes)) => payload::decode(*format, bytes, &self.secrets),
            _ => Ok(Value::Null),
        }
    }

    /// By what a row is known here, from SHA-256 of its key as the database has it: nothing that a native token could have,
    /// and never the key itself.
    pub(super) fn row(&self, key: &[u8; 32]) -> Digest {
        let text = [self.label().as_slice(), key].concat();
        Digest(bytes_of(&digest::digest(&digest::SHA256, &text)))
    }

    /// What stands before the hash of a key, so that two sources' rows differ. Statements make the same of it.
    fn label(&self) -> Vec<u8> {
        format!("source\0{}\0", self.name).into_bytes()
    }

    /// The same, from the key itself.
    pub(super) fn row_of(&self, key: &str) -> Digest {
        self.row(&hash_of(key))
    }

    /// By what an answer about the row is cached: never the cookie's text, of which there may be several for one row. With
    /// a secret that is compared with the row's, only the first half is the row's own.
    fn digest(&self, key: &Key) -> Digest {
        let mut row = self.row_of(&key.text);
        if let Some((_, secret)) = &key.verify {
            let mut context = digest::Context::new(&digest::SHA256);
            context.update(&row.0);
            context.update(secret);
            row.0[HALF..].copy_from_slice(&context.finish().as_ref()[..HALF]);
        }
        row
    }
}

/// Bytes of a digest that are the row's own whatever its secret.
const HALF: usize = 16;

/// As `sha256(convert_to(key::text, 'UTF8'))` has it.
fn hash_of(key: &str) -> [u8; 32] {
    bytes_of(&digest::digest(&digest::SHA256, key.as_bytes()))
}

fn bytes_of(digest: &digest::Digest) -> [u8; 32] {
    let mut bytes = [0_u8; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}
