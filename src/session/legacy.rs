//! Sessions that applications keep: which of a request's cookies name one, and what becomes of several at once.

use super::CacheSettings;
use super::Entry;
use super::Identified;
use super::Live;
use super::Local;
use super::Sessions;
use super::Settings;
use super::activity::Activity;
use super::cache::Answer;
use super::cache::Cache;
use super::cache::Rules;
use super::feed;
use super::source::Lookups;
use super::source::SourceSettings;
use crate::model::Digest;
use std::sync::Arc;
use std::time::Duration;

/// Most rows of one source that are remembered.
const MOST: u64 = 100_000;

/// Whose sessions a route accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Ours.
    pub native: bool,
    /// Of applications, by name, in the order in which they count.
    pub sources: Vec<String>,
    /// Whether the first of several users counts, instead of none.
    pub first_wins: bool,
}

impl Default for Accepted {
    /// Ours only.
    fn default() -> Self {
        Self {
            native: true,
            sources: Vec::new(),
            first_wins: false,
        }
    }
}

/// Whose request it is, of all that a route accepts.
#[derive(Debug)]
pub enum Among {
    /// As if there were one kind of session.
    One(Identified),
    /// Live sessions of two users, at least one of them an application's: no session at all, and no cookie is to be
    /// cleared, because one of them is not ours. It was audited.
    Twice(Box<[Live; 2]>),
}

/// What became of sessions that an application keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The row changed or is gone whose key has this SHA-256: `sha256(convert_to(key::text, 'UTF8'))`.
    Key(Digest),
    /// Any row may have.
    Everything,
}

/// What the cookies of a request say.
#[derive(Debug)]
pub struct Recognised {
    /// Whose request it is.
    pub who: Among,
    /// Cookies by name that must not go to the application: each names a session of its own that was ended here, whose row
    /// a request that was under way may have brought back.
    pub withheld: Vec<String>,
}

/// One source with a cache of its own, so that an application's slow database is nobody else's affair.
pub(super) struct Legacy {
    pub(super) settings: SourceSettings,
    /// `None` where the address of its database cannot be used, which the configuration has refused.
    cache: Option<(Arc<Cache>, Arc<Lookups>)>,
}

/// The long bound holds while the application's own trigger tells of its log-outs.
fn bounds(settings: &SourceSettings, all: &Settings) -> CacheSettings {
    CacheSettings {
        capacity: MOST,
        max_age: all.cache.max_age.max(settings.max_age),
        max_age_without_feed: settings.max_age,
    }
}

/// The sources of one configuration.
pub(super) type Sources = Arc<[Arc<Legacy>]>;

/// Those of `settings`: of `known` where nothing is changed, with all that they remember; else anew. `native` is the cache of
/// our own sessions.
pub(super) fn sources(settings: &Settings, known: &[Arc<Legacy>], native: &Arc<Cache>) -> Sources {
    let source = |wanted: &SourceSettings| {
        let same = known.iter().find(|known| known.settings == *wanted);
        same.map_or_else(|| Arc::new(Legacy::new(wanted, settings, native)), Arc::clone)
    };
    let read = settings.sources.iter().filter(|source| !source.moved);
    read.map(source).collect()
}

pub(super) fn caches(sources: &[Arc<Legacy>]) -> Vec<Arc<Cache>> {
    let caches = sources.iter().filter_map(|source| source.cache());
    caches.map(Arc::clone).collect()
}

impl Legacy {
    /// `native` is the cache of our own sessions, which is told of ends.
    fn new(settings: &SourceSettings, all: &Settings, native: &Arc<Cache>) -> Self {
        let clock = native.time.clock().clone();
        let lookups = Lookups::new(settings.clone(), clock.clone()).ok();
        let knowing = |lookups: Lookups| lookups.counting(&native.metrics).knowing(Arc::clone(&native.store));
        let lookups = lookups.map(|lookups| Arc::new(knowing(lookups)));
        let cache = lookups.map(|lookups| {
            let rules = Rules {
                longest_grace: Sessions::LONGEST_GRACE,
                activity: Activity::new(all),
                lookups: Some(Arc::clone(&lookups)),
                elder: settings.table.are_ended().then(|| Arc::clone(native)),
                beat_keys: feed::keys_of_source(&all.secrets, &settings.name),
            };
            let (store, metrics) = (Arc::clone(&native.store), Arc::clone(&native.metrics));
            let bounds = bounds(settings, all);
            let cache = Cache::new(store, &bounds, rules, clock, native.control.clone(), metrics);
            let cache = Arc::new(cache);
            (cache, lookups)
        });
        Self {
            settings: settings.clone(),
            cache,
        }
    }

    pub(super) fn settings(&self) -> &SourceSettings {
        &self.settings
    }

    /// Its cache, and who asks its tables.
    pub(super) fn desk(&self) -> Option<&(Arc<Cache>, Arc<Lookups>)> {
        self.cache.as_ref()
    }

    pub(super) fn lookups(&self) -> Option<&Arc<Lookups>> {
        self.cache.as_ref().map(|(_, lookups)| lookups)
    }

    pub(super) fn cache(&self) -> Option<&Arc<Cache>> {
        self.cache.as_ref().map(|(cache, _)| cache)
    }

    /// Adds the cookies that name a session which was ended here to `withheld`.
    async fn withhold(&self, cookies: &[(&[u8], &[u8])], withheld: &mut Vec<String>) {
        let (Some(cache), Some(lookups)) = (self.cache(), self.lookups()) else {
            return;
        };
        let now = cache.time.clock().now().as_seconds();
        let are_ended = self.settings.table.are_ended();
        let named = self.settings.named(cookies, now).filter(|_| are_ended);
        if let Some((digest, _)) = named
            && lookups.was_ended(&digest).await
        {
            withheld.extend(self.settings.mapping.cookies.iter().cloned());
        }
    }

    /// Makes its table where an operator allows it and there is none; once its settings are in effect.
    pub(super) async fn make_ready(&self) {
        let lookups = self.cache.as_ref().map(|(_, lookups)| lookups);
        let Some(lookups) = lookups.filter(|_| self.settings.table.adding.table) else {
            return;
        };
        if let Err(error) = lookups.table().make_ready().await {
            tracing::warn!(
                source.name = self.settings.name,
                error = &error as &dyn std::error::Error,
                "the table of an application's sessions is not there yet"
            );
        }
    }

    /// Goes by `all` from here on, as far as it is not its own settings that count.
    pub(super) fn adopt(&self, all: &Settings, longest_grace: Duration) {
        if let Some(cache) = self.cache() {
            cache.adopt(&bounds(&self.settings, all), longest_grace);
            cache.adopt_beat_keys(feed::keys_of_source(&all.secrets, &self.settings.name));
        }
    }

    /// The live session that these cookies name, as far as can be said; `None` where they name none.
    async fn find(&self, cookies: &[(&[u8], &[u8])], grace: Duration) -> Option<Answer> {
        let Some((cache, lookups)) = &self.cache else {
            return Some(Answer::Unavailable);
        };
        let now = cache.time.clock().now().as_seconds();
        let (digest, key) = self.settings.named(cookies, now)?;
        if cache.at_hand(&digest).await.is_none() {
            lookups.remember(digest, key).await;
        }
        Some(cache.find(&digest, grace).await)
    }
}

impl Cache {
    /// The row of a source is believed no longer, and its open streams are judged anew.
    pub(super) fn forget_row(&self, row: &Digest) {
        // A secret makes the second half of what an answer is kept by; the counters look at the first.
        self.forget(row);
        if self
            .lookups
            .as_ref()
            .is_some_and(|lookups| lookups.settings().table.verify.is_some())
        {
            self.streams.doubt_all();
        }
    }
}

impl SourceSettings {
    /// Whether a session that was found first and one of this source are of one person: `user_map` gave both one name, or
    /// an administrator said who the user of ours is in the application.
    fn is_same(&self, first: &Live, found: &Live) -> bool {
        let (first, found) = (&first.entry, &found.entry);
        first.user.username == found.user.username
            || (first.source.is_none() && self.is_same_person(&first.user, &found.user.username))
    }
}

impl Sessions {
    pub(super) fn source(&self, name: &str) -> Option<&Legacy> {
        let named = |source: &&Arc<Legacy>| source.settings.name == name;
        self.sources.iter().find(named).map(Arc::as_ref)
    }

    /// Has what is remembered of a source's rows asked for anew, and closes the open streams of those that are gone. To be
    /// called after the change was committed; nothing for a source that there is none of.
    pub fn drop_of_source(&self, source: &str, which: Gone) {
        let Some(source) = self.source(source) else { return };
        match which {
            Gone::Key(key) => {
                let row = source.settings.row(&key.0);
                if let Some(cache) = source.cache() {
                    cache.forget_row(&row);
                }
            }
            Gone::Everything => {
                if let Some(cache) = source.cache() {
                    cache.forget_all();
                }
            }
        }
    }

    /// The cache that `entry` came from.
    pub(super) fn cache_of(&self, entry: &Entry) -> &Arc<Cache> {
        let source = entry.source.as_deref().and_then(|name| self.source(name));
        source.and_then(Legacy::cache).unwrap_or(&self.cache)
    }

    /// Where the users of the named sources sign out on `host`, as far as an operator said: name and path of each.
    #[must_use]
    pub fn log_outs(&self, accepted: &Accepted, host: &str) -> Vec<(String, String)> {
        let named = accepted.sources.iter().filter_map(|name| self.source(name));
        named
            .map(|source| &source.settings)
            .filter(|settings| settings.serves(host))
            .filter_map(|settings| Some((settings.name.clone(), settings.logout_paths.first()?.clone())))
            .collect()
    }

    /// Whose application's session the cookies of a request to `host` name, whatever route it is for; sources are asked in
    /// their order. For our own pages, on the control runtime.
    pub async fn identify_theirs(&self, host: &str, cookies: &[(&[u8], &[u8])]) -> Identified {
        let mut live: Option<Live> = None;
        for source in self.sources.iter().filter(|source| source.settings.serves(host)) {
            let found = match source.find(cookies, Duration::ZERO).await {
                Some(Answer::Live { entry, stale }) => Live { entry, stale },
                Some(Answer::Unavailable) => return Identified::Unavailable,
                Some(Answer::Absent) | None => continue,
            };
            match &live {
                Some(one) if !source.settings.is_same(one, &found) => return Identified::Conflict,
                Some(_) => {}
                None => live = Some(found),
            }
        }
        live.map_or(Identified::Anonymous, Identified::Live)
    }

    /// Whether a request for `path` with this session is for the log-out of the application that keeps it. False at once
    /// for one of ours.
    #[must_use]
    pub fn is_log_out(&self, entry: &Entry, path: &str) -> bool {
        let source = entry.source.as_deref().and_then(|name| self.source(name));
        source.is_some_and(|source| source.settings.logout_paths.iter().any(|known| known == path))
    }

    /// Heeds an application's answer to a request with one of its own sessions: after its log-out, or where it gives its
    /// browser another session's cookie or none, the row is asked for again; the same cookie with a later end says nothing.
    /// `set` are the cookies that it sets, name and value. Nothing for one of ours.
    pub fn heed<'a>(&self, entry: &Entry, logs_out: bool, mut set: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        let Some(source) = entry.source.as_deref().and_then(|name| self.source(name)) else {
            return;
        };
        let cache = self.cache_of(entry);
        let is_theirs = |name: &[u8]| {
            source
                .settings
                .mapping
                .cookies
                .iter()
                .any(|known| known.as_bytes() == name)
        };
        let names_another = |pair: (&[u8], &[u8])| {
            let named = source.settings.named(&[pair], cache.time.clock().now().as_seconds());
            is_theirs(pair.0) && named.is_none_or(|(digest, _)| digest != entry.session.digest)
        };
        if logs_out || set.any(names_another) {
            cache.forget(&entry.session.digest);
        }
    }
}

impl Local {
    /// As [`Local::identify`] among all that a route accepts. `values` are those of our cookie, `cookies` all of the
    /// request, with their names. Live sessions of two users are [`Among::Twice`], unless the first counts.
    pub async fn identify_among(
        &self,
        accepted: &Accepted,
        host: &str,
        values: &[&[u8]],
        cookies: &[(&[u8], &[u8])],
        grace: Duration,
    ) -> Recognised {
        let mut withheld = Vec::new();
        let who = async {
            let mut live: Option<Live> = None;
            let mut ours = Identified::Anonymous;
            for named in self.shared().named_among(accepted, host, values, cookies) {
                match self.identify_named(&named, grace).await {
                    Identified::Live(found) => live = Some(found),
                    undecided @ (Identified::Unavailable | Identified::Conflict) => return Among::One(undecided),
                    Identified::Dead => ours = Identified::Dead,
                    Identified::Anonymous => {}
                }
                if accepted.first_wins && live.is_some() {
                    break;
                }
            }
            for name in accepted.sources.iter().filter(|name| !self.shared().moved.has(name)) {
                let Some(source) = self.shared().source(name) else {
                    return Among::One(Identified::Unavailable);
                };
                let decided = accepted.first_wins && live.is_some();
                // Where ours counts first, what another cookie names is asked only where it may have been ended.
                if !source.settings.serves(host) || (decided && !source.settings.table.are_ended()) {
                    continue;
                }
                let found = match source.find(cookies, grace).await {
                    Some(Answer::Live { entry, stale }) => Live { entry, stale },
                    Some(Answer::Unavailable) if decided => continue,
                    Some(Answer::Unavailable) => return Among::One(Identified::Unavailable),
                    // The application would say the same: there was a session, and it is over.
                    Some(Answer::Absent) => {
                        ours = Identified::Dead;
                        source.withhold(cookies, &mut withheld).await;
                        continue;
                    }
                    None => continue,
                };
                match live {
                    Some(one) if !decided && !source.settings.is_same(&one, &found) => {
                        let pair = [one, found];
                        self.shared().record_conflict(&pair);
                        return Among::Twice(Box::new(pair));
                    }
                    Some(one) => live = Some(one),
                    None => live = Some(found),
                }
            }
            Among::One(live.map_or(ours, Identified::Live))
        }
        .await;
        Recognised { who, withheld }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::super::source::Preset;
    use super::super::source::Secrets;
    use super::super::testing::Bench;
    use super::super::testing::FakeStore;
    use super::super::testing::START;
    use super::super::testing::entry;
    use super::super::testing::settings;
    use super::*;
    use crate::clock::Clock;
    use crate::store::LegacySettings;
    use aws_lc_rs::digest;
    use std::collections::BTreeMap;

    fn source(name: &str) -> SourceSettings {
        let mapping = Preset::PlainTable.mapping();
        SourceSettings {
            name: name.to_owned(),
            hosts: vec!["app.example.test".to_owned()],
            secrets: Arc::new(Secrets::new(Vec::new())),
            table: LegacySettings {
                url: "postgres://reader@127.0.0.1:1/none".to_owned().into(),
                table: mapping.table.clone(),
                key: mapping.key.clone(),
                payload: None,
                payload_paths: None,
                verify: None,
                columns: vec!["user_id".to_owned()],
                expiry: mapping.expiry.clone(),
                zone: mapping.zone.clone(),
                users: None,
                may_touch: false,
                may_end: false,
                adding: crate::store::Adding::default(),
                max_connections: 1,
                call_timeout: Duration::from_secs(1),
                prepared_statements: true,
            },
            mapping,
            user_map: BTreeMap::new(),
            group_map: BTreeMap::new(),
            logout_paths: Vec::new(),
            max_age: Duration::from_mins(1),
            open: None,
            moved: false,
        }
    }

    #[tokio::test]
    async fn a_row_that_is_gone_is_dropped_by_the_hash_of_its_key_and_no_other() {
        let settings = Settings {
            sources: vec![source("crm"), source("shop")],
            ..settings()
        };
        let bench = Bench::with(Arc::new(FakeStore::new()), Clock::manual(START), settings);
        let key = |key: &str| {
            Digest(
                digest::digest(&digest::SHA256, key.as_bytes())
                    .as_ref()
                    .try_into()
                    .unwrap(),
            )
        };
        let of = |name: &str, key: &str| {
            let source = bench.sessions.source(name).unwrap();
            let (digest, _) = source.settings.named(&[(b"session", key.as_bytes())], 0).unwrap();
            let cache = source.cache().unwrap();
            let user = entry("anna").user;
            let stamps = cache.stripes.standing(&digest, user.id);
            (Arc::clone(cache), digest, user.id, stamps)
        };
        let cached = [of("crm", "one"), of("crm", "two"), of("shop", "one")];
        let believed = || {
            cached
                .each_ref()
                .map(|(cache, digest, user, stamps)| cache.stripes.hold(digest, *user, *stamps))
        };
        bench.sessions.drop_of_source("crm", Gone::Key(key("none")));
        bench.sessions.drop_of_source("nobody", Gone::Everything);
        assert_eq!(believed(), [true, true, true]);
        bench.sessions.drop_of_source("crm", Gone::Key(key("one")));
        assert_eq!(believed(), [false, true, true]);
        bench.sessions.drop_of_source("crm", Gone::Everything);
        assert_eq!(believed(), [false, false, true]);
    }
}
