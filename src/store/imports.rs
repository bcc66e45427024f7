use super::Call;
use super::StoreError;
use super::records::Ended;
use super::records::NewUser;
use crate::model::Digest;
use crate::model::Event;
use crate::model::Session;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::UserId;
use crate::model::Username;

/// Copies of sessions that applications kept. A part of [`super::Store`]; the same rules hold.
pub trait Imports: Send + Sync {
    /// Copies sessions, each with its audit event, and tells in their order what became of each; one transaction. What was
    /// copied before is never copied again, nor what is being ended by [`super::Tombstones::bury`] meanwhile. With `dry_run`
    /// nothing is written.
    fn import_sessions<'a>(&'a self, _batch: &'a ImportBatch) -> Call<'a, Vec<Imported>> {
        unasked()
    }
    /// How many copies from `source` are there, over or not.
    fn count_imported<'a>(&'a self, _source: &'a str) -> Call<'a, u64> {
        unasked()
    }
    /// Ends at most `limit` copies from `source` whose row was last seen before `before`, each with an event like `event`;
    /// in one transaction. Where they are forgotten, a row that comes back is copied again.
    fn end_unseen<'a>(
        &'a self,
        _source: &'a str,
        _before: Timestamp,
        _limit: u32,
        _event: &'a Event,
        _forget: bool,
    ) -> Call<'a, Vec<Ended>> {
        unasked()
    }
    /// The user who was made for this user of a source.
    fn find_imported_user<'a>(&'a self, _source: &'a str, _subject: &'a str) -> Call<'a, Option<User>> {
        unasked()
    }
    /// Makes a user for a user of a source, as [`super::Store::add_user`] does, in one transaction.
    fn import_user<'a>(&'a self, _source: &'a str, _subject: &'a str, _new: NewUser, _event: Event) -> Call<'a, ()> {
        unasked()
    }
}

/// The answer of a store that keeps nothing of this: a stand-in of tests.
fn unasked<T: Send + 'static>() -> Call<'static, T> {
    Box::pin(std::future::ready(Err(StoreError::NotReady)))
}

/// Sessions to be copied together.
#[derive(Clone, Debug)]
pub struct ImportBatch {
    /// From where.
    pub source: String,
    /// When the run began whose batch it is.
    pub seen_at: Timestamp,
    /// The copies, each digest once.
    pub sessions: Vec<ImportedSession>,
    /// Whether the application's table still decides: an end that moved there moves here, and a copy whose row has another
    /// user by now ends.
    pub follows_table: bool,
    /// Whether to look only.
    pub dry_run: bool,
    /// What the audit log is told of each, filled in with its user and session.
    pub event: Event,
    /// What it is told of each copy that ends, likewise.
    pub ended: Event,
}

/// A session to be copied.
#[derive(Clone, Debug)]
pub struct ImportedSession {
    /// The copy.
    pub session: Session,
    /// What its user is called.
    pub username: Username,
    /// By what [`super::Tombstone`] knows the row that it is a copy of.
    pub of_row: Digest,
}

impl ImportBatch {
    /// `template` told of one session.
    pub(super) fn event_of(template: &Event, session: &Session, username: &Username) -> Event {
        Event {
            user: Some(session.user),
            username: Some(username.to_string()),
            session: Some(session.public_id),
            ..template.clone()
        }
    }

    /// In the order in which rows are locked everywhere.
    pub(super) fn in_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.sessions.len()).collect();
        order.sort_by_key(|at| self.sessions[*at].session.digest.0);
        order
    }
}

/// What became of a session that was to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It was copied.
    Copied,
    /// Its copy is there, and stays as it is.
    Kept,
    /// Its copy is there, and ends when the row does by now.
    Moved,
    /// Its copy was ended here; it is not copied again.
    EndedBefore,
    /// Its copy was another user's and ended; it was copied anew.
    Replaced,
    /// Its user is gone or disabled.
    UserGone,
}

/// What is known of a key that was copied before.
pub(super) struct Before {
    /// User and end of the copy; `None` when it ended.
    pub(super) copy: Option<(UserId, Timestamp)>,
}

/// What is to be done with a session; `before` is what is known of its key.
pub(super) fn decide(batch: &ImportBatch, session: &Session, before: Option<&Before>) -> Imported {
    let Some(before) = before else {
        return Imported::Copied;
    };
    match before.copy {
        None => Imported::EndedBefore,
        Some(_) if !batch.follows_table => Imported::Kept,
        Some((user, _)) if user != session.user => Imported::Replaced,
        // Ends are told as what is left, so two looks at one row differ by the time between them.
        Some((_, ends_at)) if apart(ends_at, session.ends_at) > SAME_END => Imported::Moved,
        Some(_) => Imported::Kept,
    }
}

/// Two readings of one end lie no further apart than this.
const SAME_END: i64 = 2_000_000;

fn apart(one: Timestamp, other: Timestamp) -> i64 {
    one.as_micros().saturating_sub(other.as_micros()).saturating_abs()
}
