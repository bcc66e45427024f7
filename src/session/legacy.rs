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
use crate::clock::Clock;
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
    settings: SourceSettings,
    clock: Clock,
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
            let cache = Cache::new(store, &bounds, rules, clock.clone(), native.control.clone(), metrics);
            let cache = Arc::new(cache);
            (cache, lookups)
        });
        Self {
            settings: settings.clone(),
            clock,
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

    /// Adds this source's cookies to `withheld` where the session that they name was ended here, which is known by `digest`.
    async fn withhold(&self, digest: &Digest, withheld: &mut Vec<String>) {
        let lookups = self.lookups().filter(|_| self.settings.table.are_ended());
        if let Some(lookups) = lookups
            && lookups.was_ended(digest).await
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

    /// By what the session that these cookies name is known, and what is known of it; `None` where they name none.
    async fn find(&self, cookies: &[(&[u8], &[u8])], grace: Duration) -> Option<(Digest, Answer)> {
        let (digest, key) = self.settings.named(cookies, self.clock.now().as_seconds())?;
        let Some((cache, lookups)) = &self.cache else {
            return Some((digest, Answer::Unavailable));
        };
        if cache.at_hand(&digest).await.is_none() {
            lookups.remember(digest, key).await;
        }
        Some((digest, cache.find(&digest, grace).await))
    }
}

impl Cache {
    /// The row of a source is believed no longer, and its open streams are judged anew.
    pub(super) fn forget_row(&self, row: &Digest) {
        // A secret makes the second half of what an answer is kept by; the counters look at the first.
        self.forget(row);
        if self.has_row_secrets() {
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

    /// The source whose application keeps this session; `None` for one of ours.
    pub(super) fn source_of(&self, entry: &Entry) -> Option<&Legacy> {
        self.source(entry.source.as_deref()?)
    }

    /// The cache that `entry` came from.
    pub(super) fn cache_of(&self, entry: &Entry) -> &Arc<Cache> {
        self.source_of(entry).and_then(Legacy::cache).unwrap_or(&self.cache)
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
                Some((_, Answer::Live { entry, stale })) => Live { entry, stale },
                Some((_, Answer::Unavailable)) => return Identified::Unavailable,
                Some((_, Answer::Absent)) | None => continue,
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
        let paths = self.source_of(entry).map(|source| &source.settings.logout_paths);
        paths.is_some_and(|paths| paths.iter().any(|known| known == path))
    }

    /// Heeds an application's answer to a request with one of its own sessions: after its log-out, or where it gives its
    /// browser another session's cookie or none, the row is asked for again; the same cookie with a later end says nothing.
    /// `set` are the cookies that it sets, name and value. Nothing for one of ours.
    pub fn heed<'a>(&self, entry: &Entry, logs_out: bool, mut set: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        let Some(source) = self.source_of(entry) else {
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
                    Some((_, Answer::Live { entry, stale })) => Live { entry, stale },
                    Some((_, Answer::Unavailable)) if decided => continue,
                    Some((_, Answer::Unavailable)) => return Among::One(Identified::Unavailable),
                    // The application would say the same: there was a session, and it is over.
                    Some((digest, Answer::Absent)) => {
                        ours = Identified::Dead;
                        source.withhold(&digest, &mut withheld).await;
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
        let hash = |key: &str| {
            digest::digest(&digest::SHA256, key.as_bytes())
                .as_ref()
                .try_into()
                .unwrap()
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
        let crm = bench.sessions.source("crm").unwrap();
        let forget = |key: &str| crm.cache().unwrap().forget_row(&crm.settings.row(&hash(key)));
        forget("none");
        assert_eq!(believed(), [true, true, true]);
        forget("one");
        assert_eq!(believed(), [false, true, true]);
        crm.cache().unwrap().forget_all();
        assert_eq!(believed(), [false, false, true]);
    }
}
