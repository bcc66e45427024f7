//! Copies live sessions of a source into our store, so that its holders go on with their old cookie.

use super::SourceSettings;
use super::facts::Row;
use super::lookups::Lookups;
use super::lookups::Nobody;
use super::newcomer;
use super::newcomer::Whose;
use super::payload::PayloadError;
use crate::clock::Clock;
use crate::model::Digest;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::PublicId;
use crate::model::Session;
use crate::model::Timestamp;
use crate::model::User;
use crate::session::life::new_public_id;
use crate::session::moved::LABEL;
use crate::session::token;
use crate::store::ImportBatch;
use crate::store::Imported;
use crate::store::ImportedSession;
use crate::store::KeyedRow;
use crate::store::Store;
use crate::store::StoreError;
use aws_lc_rs::hmac;
use secrecy::SecretSlice;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// No browser keeps a cookie longer (RFC 6265bis, 5.5), so no copy is.
const LONGEST: Duration = Duration::from_hours(400 * 24);
/// Copies that are ended in one transaction.
const TOGETHER: u32 = 200;
/// Subjects whose users are remembered during a run.
const MOST_KNOWN: usize = 10_000;

/// What a run of the copying goes by.
#[derive(Debug)]
pub struct CopySettings<'a> {
    /// From where.
    pub source: &'a SourceSettings,
    /// The gateway's own signing secrets: the first keys the copies.
    pub secrets: &'a [SecretSlice<u8>],
    /// The group whose members nobody becomes by a copy.
    pub admin_group: Option<&'a str>,
    /// Whether to look only.
    pub dry_run: bool,
    /// Whether users are made for those whom nobody here is known for.
    pub create_users: bool,
    /// Whether copies end whose row is gone, also where the source has moved. Before, they always do.
    pub end_missing: bool,
}

/// What became of the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CopyReport {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Rows that were read.
    pub read: u64,
    /// Sessions that were copied.
    pub copied: u64,
    /// Copies that were there, and stay.
    pub kept: u64,
    /// Copies that were there, and end when their row does by now.
    pub prolonged: u64,
    /// Copies that were ended because their row is gone; in a dry run, about how many.
    pub ended: u64,
    /// Users who were made.
    pub users_created: u64,
    /// Rows that were left, by the reason.
    pub left: BTreeMap<&'static str, u64>,
}

impl CopyReport {
    fn leave(&mut self, reason: &'static str) {
        *self.left.entry(reason).or_default() += 1;
    }
}

/// Why the copying stopped. What was copied stays copied, and running it again copies the rest.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A table could not be read or written.
    #[error("not every session could be copied")]
    Store(#[from] StoreError),
    /// There is no signing secret.
    #[error("there is no session secret to key the copies with")]
    Secret,
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Randomness,
}

/// Copies what is live; `progress` hears how many rows were read. `report` tells how far it came, also after an error.
///
/// # Errors
/// See [`CopyError`].
pub async fn copy_sessions(
    settings: &CopySettings<'_>,
    store: &Arc<dyn Store>,
    clock: &Clock,
    report: &mut CopyReport,
    progress: impl Fn(u64),
) -> Result<(), CopyError> {
    let mut keys = token::derive(settings.secrets, LABEL).into_iter();
    let began = store.now().await?;
    let mut run = Run {
        settings,
        store: store.as_ref(),
        key: keys.next().ok_or(CopyError::Secret)?,
        lookups: Arc::new(Lookups::new(settings.source.clone(), clock.clone())?),
        known: HashMap::new(),
        began,
    };
    report.dry_run = settings.dry_run;
    run.all(report, progress).await
}

struct Run<'a> {
    settings: &'a CopySettings<'a>,
    store: &'a dyn Store,
    key: hmac::Key,
    lookups: Arc<Lookups>,
    /// Whom subjects are here; forgotten when there are too many.
    known: HashMap<String, Whose>,
    began: Timestamp,
}

impl Run<'_> {
    async fn all(&mut self, report: &mut CopyReport, progress: impl Fn(u64)) -> Result<(), CopyError> {
        let lookups = Arc::clone(&self.lookups);
        let mut pages = lookups.table().pages().await?;
        loop {
            let rows = pages.next().await?;
            if rows.is_empty() {
                break;
            }
            report.read += rows.len() as u64;
            let now = self.store.now().await?;
            let ended = self.ended_here(&rows).await?;
            let mut sessions = Vec::with_capacity(rows.len());
            for row in rows {
                if ended.contains(&self.settings.source.row_of(&row.key)) {
                    report.leave("ended_here");
                    continue;
                }
                match self.copy_of(row, now, report).await? {
                    Ok(session) => sessions.push(session),
                    Err(reason) => report.leave(reason),
                }
            }
            self.write(sessions, report).await?;
            progress(report.read);
        }
        self.end_missing(report).await
    }

    /// Which of these rows were ended here, and came back or could not be deleted.
    async fn ended_here(&self, rows: &[KeyedRow]) -> Result<HashSet<Digest>, CopyError> {
        let digests: Vec<Digest> = rows.iter().map(|row| self.settings.source.row_of(&row.key)).collect();
        Ok(self.store.find_tombstones(&digests).await?.into_iter().collect())
    }

    /// The copy of a row, or why there is none.
    async fn copy_of(
        &mut self,
        keyed: KeyedRow,
        now: Timestamp,
        report: &mut CopyReport,
    ) -> Result<Result<ImportedSession, &'static str>, CopyError> {
        let KeyedRow { key, is_ambiguous, row } = keyed;
        if row.left.is_zero() {
            return Ok(Err("over"));
        }
        if is_ambiguous {
            return Ok(Err("same_key_twice"));
        }
        let left = row.left.min(LONGEST);
        let source = self.settings.source;
        let digest = source.copy_digest(&self.key, &key, row.verify.as_deref());
        if source.table.verify.is_some() && row.verify.is_none() {
            return Ok(Err("no_secret"));
        }
        let (subject, row) = match self.lookups.holder_of(row).await? {
            Ok(holder) => holder,
            Err(nobody) => return Ok(Err(word(nobody))),
        };
        let whose = match self.known.get(&subject).cloned() {
            Some(whose) => whose,
            None => self.learn(subject, &row, now, report).await?,
        };
        let user = match whose {
            Whose::Known(user) | Whose::Made(user) => user,
            Whose::Nobody(reason) => return Ok(Err(reason)),
        };
        let id = new_public_id(now).map_err(|_| CopyError::Randomness)?;
        Ok(Ok(ImportedSession {
            session: session(digest, id, &user, now, left),
            username: user.username,
            of_row: source.row_of(&key),
        }))
    }

    async fn learn(
        &mut self,
        subject: String,
        row: &Row,
        now: Timestamp,
        report: &mut CopyReport,
    ) -> Result<Whose, CopyError> {
        let told = self.lookups.user(&subject, row);
        let whose = newcomer::whose(self.settings, self.store, &subject, &told, now).await?;
        if matches!(whose, Whose::Made(_)) {
            report.users_created += 1;
        }
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(subject, whose.clone());
        Ok(whose)
    }

    async fn write(&self, sessions: Vec<ImportedSession>, report: &mut CopyReport) -> Result<(), CopyError> {
        if sessions.is_empty() {
            return Ok(());
        }
        let source = self.settings.source;
        let batch = ImportBatch {
            source: source.name.clone(),
            seen_at: self.began,
            sessions,
            follows_table: !source.moved,
            dry_run: self.settings.dry_run,
            event: self.event(EventKind::SessionImported, None),
            ended: self.event(EventKind::SessionEnded, Some("other_user")),
        };
        for outcome in self.store.import_sessions(&batch).await? {
            match outcome {
                Imported::Copied | Imported::Replaced => report.copied += 1,
                Imported::Kept => report.kept += 1,
                Imported::Moved => report.prolonged += 1,
                Imported::EndedBefore => report.leave("ended_here"),
                Imported::UserGone => report.leave("user_disabled"),
            }
        }
        Ok(())
    }

    /// While the application's table decides, a copy whose row is gone was ended there.
    async fn end_missing(&self, report: &mut CopyReport) -> Result<(), CopyError> {
        let source = self.settings.source;
        if source.moved && !self.settings.end_missing {
            return Ok(());
        }
        if self.settings.dry_run {
            let copies = self.store.count_imported(&source.name).await?;
            report.ended = copies.saturating_sub(report.kept + report.prolonged);
            return Ok(());
        }
        let event = self.event(EventKind::SessionEnded, Some("gone_from_source"));
        loop {
            let ended = self
                .store
                .end_unseen(&source.name, self.began, TOGETHER, &event, !source.moved);
            let ended = ended.await?.len() as u64;
            report.ended += ended;
            if ended < u64::from(TOGETHER) {
                return Ok(());
            }
        }
    }

    fn event(&self, kind: EventKind, reason: Option<&'static str>) -> Event {
        Event {
            reason,
            source: Some(self.settings.source.name.clone()),
            ..Event::new(self.began, kind, newcomer::ACTOR)
        }
    }
}

const fn word(nobody: Nobody) -> &'static str {
    match nobody {
        Nobody::Unreadable(PayloadError::Large) => "unreadable_too_large",
        Nobody::Unreadable(PayloadError::Format) => "unreadable_format",
        Nobody::Unreadable(PayloadError::Signature) => "unreadable_signature",
        Nobody::Visitor => "no_user",
        Nobody::Inactive => "inactive_user",
    }
}

/// It ends with the row and not before: like that of somebody who asked to be remembered. When its user last proved who
/// they are is not known, so no rule that asks for it is met.
fn session(digest: Digest, public_id: PublicId, user: &User, now: Timestamp, left: Duration) -> Session {
    let end = now.plus(left);
    Session {
        digest,
        public_id,
        user: user.id,
        created_at: now,
        authenticated_at: Timestamp::from_micros(0),
        last_seen_at: now,
        expires_at: end,
        ends_at: end,
        remembered: true,
        methods: Vec::new(),
        user_agent: None,
        device: None,
        first_address: None,
        last_address: None,
        data: None,
    }
}
