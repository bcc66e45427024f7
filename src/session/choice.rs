use super::Identified;
use super::Live;
use super::Sessions;
use super::cache::Answer;
use super::token::Named;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::PublicId;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

/// Most bytes of a name in the audit log. Names are ASCII.
const MOST_NAME: usize = 64;

impl Sessions {
    /// Which of the named sessions the request is of. Any that could not be asked for makes the whole undecided: it might
    /// be the one of another user.
    pub(super) async fn ask(&self, named: &Named, grace: Duration) -> Identified {
        let mut newest: Option<Live> = None;
        let mut other: Option<Live> = None;
        for digest in named.digests() {
            let live = match self.cache.find(digest, grace).await {
                Answer::Live { entry, stale } => Live { entry, stale },
                Answer::Absent => continue,
                Answer::Unavailable => return Identified::Unavailable,
            };
            match &newest {
                Some(one) if one.entry.user.id != live.entry.user.id => other = Some(live),
                Some(one) if one.entry.session.authenticated_at >= live.entry.session.authenticated_at => {}
                _ => newest = Some(live),
            }
        }
        match (newest, other) {
            (Some(one), Some(other)) => {
                self.record_conflict(&[one, other]);
                Identified::Conflict
            }
            (Some(live), None) => Identified::Live(live),
            (None, _) if named.any => Identified::Dead,
            (None, _) => Identified::Anonymous,
        }
    }

    /// Every live session that the cookie values of one request name; `None` when one of them could not be asked for. For
    /// a log-out, which must leave none of them open.
    pub async fn every(&self, values: &[&[u8]]) -> Option<Vec<Live>> {
        self.all_of(&self.tokens.read(values)).await
    }

    pub(super) async fn all_of(&self, named: &Named) -> Option<Vec<Live>> {
        let mut live = Vec::new();
        for digest in named.digests() {
            match self.cache.find(digest, Duration::ZERO).await {
                Answer::Live { entry, stale } => live.push(Live { entry, stale }),
                Answer::Absent => {}
                Answer::Unavailable => return None,
            }
        }
        Some(live)
    }

    /// Writes one event for each of the two users, once a minute for each pair of sessions: a page makes many requests.
    pub(super) fn record_conflict(&self, pair: &[Live; 2]) {
        let moment = self.cache.time.moment();
        let sessions = [pair[0].entry.session.public_id, pair[1].entry.session.public_id];
        if !self.conflicts.is_news(sessions, moment.elapsed) {
            return;
        }
        let events = pair.each_ref().map(|live| Event {
            // An application's user is none of ours; the name says whose it is.
            user: live.entry.source.is_none().then_some(live.entry.user.id),
            username: Some(live.entry.user.username.to_string().chars().take(MOST_NAME).collect()),
            session: Some(live.entry.session.public_id),
            reason: Some("two_users"),
            ..Event::new(moment.now, EventKind::SessionConflict, "system")
        });
        let cache = Arc::clone(&self.cache);
        self.cache.control.spawn(async move {
            for event in events {
                if let Err(error) = cache.guarded(cache.store.record(event)).await {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a session conflict was not audited"
                    );
                }
            }
        });
    }
}

/// Conflicts that were audited a short while ago.
#[derive(Default)]
pub(super) struct Conflicts(Mutex<HashMap<[PublicId; 2], Duration>>);

impl Conflicts {
    const PAUSE: Duration = Duration::from_mins(1);
    /// Most pairs remembered, so most events a pause.
    const MOST: usize = 256;

    fn is_news(&self, pair: [PublicId; 2], now: Duration) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now < at.saturating_add(Self::PAUSE));
        let news = told.len() < Self::MOST && !told.contains_key(&pair);
        if news {
            told.insert(pair, now);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_conflict_is_news_once_a_minute_and_what_is_remembered_is_bounded() {
        let conflicts = Conflicts::default();
        let pair = |n: u128| [PublicId(Uuid::from_u128(n)), PublicId(Uuid::from_u128(0))];
        assert!(conflicts.is_news(pair(1), Duration::ZERO));
        assert!(!conflicts.is_news(pair(1), Duration::from_secs(59)));
        assert!(conflicts.is_news(pair(1), Duration::from_mins(1)));
        let news = (2..1000)
            .filter(|n| conflicts.is_news(pair(*n), Duration::from_secs(61)))
            .count();
        assert_eq!(news, Conflicts::MOST - 1);
    }
}
