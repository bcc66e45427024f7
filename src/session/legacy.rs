//! Sessions that applications keep: the sources of one configuration, and which row the cookies of a request name.

use super::CacheSettings;
use super::Entry;
use super::Identified;
use super::Live;
use super::Local;
use super::Sessions;
use super::Settings;
use super::activity::Activity;
use super::among::Accepted;
use super::cache::Answer;
use super::cache::Cache;
use super::cache::Rules;
use super::feed;
use super::source::Key;
use super::source::Lookups;
use super::source::SourceSettings;
use crate::clock::Clock;
use crate::model::Digest;
use std::sync::Arc;
use std::time::Duration;

/// Most rows of one source that are remembered.
const MOST: u64 = 100_000;

/// One source with a cache of its own, so that an application's slow database is nobody else's affair.
pub(super) struct Legacy {
    settings: SourceSettings,
    clock: Clock,
    /// `None` where the address of its database cannot be used, which the configuration has refused.
    cache: Option<(Arc<Cache>, Arc<Lookups>)>,
}

/// What can be said of a request's cookies without waiting.
pub(super) enum AtOnce {
    /// They name no session of the source.
    Nobody,
    /// They name one that this core remembers.
    Lives(Arc<Entry>),
    /// Somebody must be asked.
    Unknown,
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
    pub(super) async fn withhold(&self, digest: &Digest, withheld: &mut Vec<String>) {
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

    /// By what the session that these cookies name is known, and the key of its row; `None` where they name none.
    fn named(&self, cookies: &[(&[u8], &[u8])]) -> Option<(Digest, Key)> {
        self.settings.named(cookies, self.clock.now().as_seconds())
    }

    /// By what the session that these cookies name is known, and what is known of it; `None` where they name none.
    pub(super) async fn find(&self, cookies: &[(&[u8], &[u8])], grace: Duration) -> Option<(Digest, Answer)> {
        let (digest, key) = self.named(cookies)?;
        let Some((cache, lookups)) = &self.cache else {
            return Some((digest, Answer::Unavailable));
        };
        if cache.at_hand(&digest).await.is_none() {
            lookups.remember(digest, key).await;
        }
        Some((digest, cache.find(&digest, grace).await))
    }

    /// What is known of it without waiting. A cookie that this core knows is not verified once more.
    pub(super) fn find_now(&self, local: &Local, cookies: &[(&[u8], &[u8])]) -> AtOnce {
        let mapping = &self.settings.mapping;
        let Some((name, value)) = mapping.choose(cookies) else {
            return AtOnce::Nobody;
        };
        let Some((cache, lookups)) = &self.cache else {
            return AtOnce::Unknown;
        };
        let verified = local.verified(lookups, name, value);
        let Some(digest) = verified.or_else(|| self.named(cookies).map(|(digest, _)| digest)) else {
            return AtOnce::Nobody;
        };
        let Some(entry) = local.remembered_of(cache, lookups, &digest) else {
            return AtOnce::Unknown;
        };
        // Whose session lives only: nobody's invented cookies are kept.
        if verified.is_none() && mapping.is_timeless() {
            local.verify(lookups, name, value, digest);
        }
        AtOnce::Lives(entry)
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
    pub(super) fn is_same(&self, first: &Live, found: &Live) -> bool {
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

    /// Whether `entry` is one of ours, or was read by one of these very sources.
    pub(super) fn keeps(&self, entry: &Entry) -> bool {
        entry.source.as_ref().is_none_or(|name| self.reads(name))
    }

    /// Whether one of these very sources is called `name`.
    pub(super) fn reads(&self, name: &Arc<str>) -> bool {
        let is_called = |source: &Arc<Legacy>| source.lookups().is_some_and(|lookups| lookups.are_called(name));
        self.sources.iter().any(is_called)
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

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::super::source::Preset;
    use super::super::testing::Bench;
    use super::super::testing::FakeStore;
    use super::super::testing::START;
    use super::super::testing::entry;
    use super::super::testing::settings;
    use super::super::testing::source;
    use super::*;
    use aws_lc_rs::digest;

    #[tokio::test]
    async fn a_row_that_is_gone_is_dropped_by_the_hash_of_its_key_and_no_other() {
        let settings = Settings {
            sources: ["crm", "shop"]
                .map(|name| source(name, Preset::PlainTable.mapping()))
                .to_vec(),
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
