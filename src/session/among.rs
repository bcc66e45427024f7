//! Whose request it is, of all kinds of sessions that a route accepts.

use super::Identified;
use super::Live;
use super::Local;
use super::Sessions;
use super::cache::Answer;
use super::legacy::AtOnce;
use super::legacy::Legacy;
use std::time::Duration;

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

/// What is known so far of one request.
struct Tally<'a> {
    accepted: &'a Accepted,
    host: &'a str,
    live: Option<Live>,
    /// What it is where nobody lives.
    nobody: Identified,
}

impl<'a> Tally<'a> {
    fn new(accepted: &'a Accepted, host: &'a str) -> Self {
        Self {
            accepted,
            host,
            live: None,
            nobody: Identified::Anonymous,
        }
    }

    /// Whether no other session can change whose request it is.
    fn is_decided(&self) -> bool {
        self.accepted.first_wins && self.live.is_some()
    }

    /// Counts what sessions of ours, and copies, say; the end where that is undecided.
    fn count_ours(&mut self, found: Identified) -> Option<Among> {
        match found {
            Identified::Live(live) => self.live = Some(live),
            Identified::Dead => self.nobody = Identified::Dead,
            Identified::Anonymous => {}
            undecided @ (Identified::Unavailable | Identified::Conflict) => return Some(Among::One(undecided)),
        }
        None
    }

    /// Whether a source is to be asked. Where another counts first, only whether what its cookie names was ended.
    fn asks(&self, source: &Legacy) -> bool {
        let settings = source.settings();
        settings.serves(self.host) && (!self.is_decided() || settings.table.are_ended())
    }

    /// Counts a live session of a source; the two where they contradict each other.
    fn count_theirs(&mut self, source: &Legacy, found: Live) -> Option<[Live; 2]> {
        match self.live.take() {
            Some(one) if !self.accepted.first_wins && !source.settings().is_same(&one, &found) => {
                return Some([one, found]);
            }
            Some(one) => self.live = Some(one),
            None => self.live = Some(found),
        }
        None
    }

    fn end(self) -> Identified {
        self.live.map_or(self.nobody, Identified::Live)
    }
}

impl Sessions {
    /// The sources that a route accepts, without those that have moved; `None` for one that there is none of.
    fn accepted<'a>(&'a self, accepted: &'a Accepted) -> impl Iterator<Item = Option<&'a Legacy>> {
        let asked = accepted.sources.iter().filter(|name| !self.moved.has(name));
        asked.map(|name| self.source(name))
    }
}

impl Local {
    /// As [`Local::identify_among`] when that needs no waiting: this core remembers every session that the cookies name.
    /// `None`: call that.
    #[must_use]
    pub fn try_identify_among(
        &self,
        accepted: &Accepted,
        host: &str,
        values: &[&[u8]],
        cookies: &[(&[u8], &[u8])],
    ) -> Option<Identified> {
        let mut tally = Tally::new(accepted, host);
        for named in self.shared().named_among(accepted, host, values, cookies) {
            if tally.count_ours(self.at_once(&named)?).is_some() {
                return None;
            }
            if tally.is_decided() {
                break;
            }
        }
        for source in self.shared().accepted(accepted) {
            let source = source?;
            if !tally.asks(source) {
                continue;
            }
            let live = match source.find_now(self, cookies) {
                AtOnce::Nobody => continue,
                AtOnce::Lives(entry) => Live { entry, stale: None },
                AtOnce::Unknown => return None,
            };
            if tally.count_theirs(source, live).is_some() {
                return None;
            }
        }
        Some(tally.end())
    }

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
            let mut tally = Tally::new(accepted, host);
            for named in self.shared().named_among(accepted, host, values, cookies) {
                if let Some(undecided) = tally.count_ours(self.identify_named(&named, grace).await) {
                    return undecided;
                }
                if tally.is_decided() {
                    break;
                }
            }
            for source in self.shared().accepted(accepted) {
                let Some(source) = source else {
                    return Among::One(Identified::Unavailable);
                };
                if !tally.asks(source) {
                    continue;
                }
                let found = match source.find(cookies, grace).await {
                    Some((_, Answer::Live { entry, stale })) => Live { entry, stale },
                    Some((_, Answer::Unavailable)) if tally.is_decided() => continue,
                    Some((_, Answer::Unavailable)) => return Among::One(Identified::Unavailable),
                    // The application would say the same: there was a session, and it is over.
                    Some((digest, Answer::Absent)) => {
                        tally.nobody = Identified::Dead;
                        source.withhold(&digest, &mut withheld).await;
                        continue;
                    }
                    None => continue,
                };
                if found.stale.is_none() {
                    self.remember(&found.entry);
                }
                if let Some(pair) = tally.count_theirs(source, found) {
                    self.shared().record_conflict(&pair);
                    return Among::Twice(Box::new(pair));
                }
            }
            Among::One(tally.end())
        }
        .await;
        Recognised { who, withheld }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::super::SourceSettings;
    use super::super::StreamEnd;
    use super::super::load::Loaded;
    use super::super::source::Preset;
    use super::super::testing::Bench;
    use super::super::testing::FakeStore;
    use super::super::testing::IDLE;
    use super::super::testing::NO_GRACE;
    use super::super::testing::SHORT;
    use super::super::testing::START;
    use super::super::testing::entry;
    use super::super::testing::settings;
    use super::super::testing::source;
    use super::*;
    use crate::clock::Clock;
    use crate::model::Digest;
    use std::sync::Arc;

    const HOST: &str = "app.example.test";

    fn crm(preset: Preset) -> SourceSettings {
        let mut crm = source("crm", preset.mapping());
        crm.table.verify = crm.mapping.verified().map(str::to_owned);
        crm
    }

    fn bench(sources: Vec<SourceSettings>) -> Bench {
        let settings = Settings { sources, ..settings() };
        Bench::with(Arc::new(FakeStore::new()), Clock::manual(START), settings)
    }

    fn accepted(sources: &[&str]) -> Accepted {
        Accepted {
            native: true,
            sources: sources.iter().map(|name| (*name).to_owned()).collect(),
            first_wins: false,
        }
    }

    /// The row of `value` as its table would have said just now that it is `user`'s.
    async fn read(sessions: &Sessions, name: &str, value: &str, user: &str) -> Digest {
        let source = sessions.source(name).unwrap();
        let cookies = cookies(source, value);
        let (digest, key) = source.settings().named(&[(&cookies.0, &cookies.1)], 0).unwrap();
        let (cache, lookups) = source.desk().unwrap();
        lookups.remember(digest, key).await;
        let mut found = entry(user);
        found.session.digest = digest;
        found.stamps = cache.stripes.standing(&digest, found.session.user);
        found.loaded_at = cache.time.elapsed();
        found.source = Some(lookups.name());
        cache.keep(digest, &Loaded::Found(Arc::new(found))).await;
        digest
    }

    fn cookies(source: &Legacy, value: &str) -> (Vec<u8>, Vec<u8>) {
        let name = source.settings().mapping.cookies[0].clone();
        (name.into_bytes(), value.as_bytes().to_vec())
    }

    /// What this core says at once of a request with this cookie of `crm`.
    fn at_once(local: &Local, value: &str) -> Option<Identified> {
        let (name, value) = cookies(local.shared().source("crm").unwrap(), value);
        local.try_identify_among(&accepted(&["crm"]), HOST, &[], &[(&name, &value)])
    }

    fn is_believed(local: &Local, value: &str) -> bool {
        matches!(at_once(local, value), Some(Identified::Live(_)))
    }

    /// A request that makes the core remember.
    async fn ask(local: &Local, value: &str) -> Among {
        let (name, value) = cookies(local.shared().source("crm").unwrap(), value);
        let pairs = [(name.as_slice(), value.as_slice())];
        local
            .identify_among(&accepted(&["crm"]), HOST, &[], &pairs, NO_GRACE)
            .await
            .who
    }

    async fn known(bench: &Bench, value: &str) -> (Local, Digest) {
        let digest = read(&bench.sessions, "crm", value, "anna").await;
        let local = bench.local();
        assert!(at_once(&local, value).is_none(), "a core knows nothing at first");
        assert!(matches!(ask(&local, value).await, Among::One(Identified::Live(_))));
        assert!(is_believed(&local, value), "and remembers from then on");
        (local, digest)
    }

    #[tokio::test]
    async fn what_a_core_remembers_of_a_row_is_gone_with_every_way_of_forgetting_it() {
        type Way = fn(&Bench, &Legacy, &Digest, &Live);
        let ways: [(&str, Way); 9] = [
            ("told by its trigger", |_, crm, row, _| {
                crm.cache().unwrap().forget_row(row);
            }),
            ("its table was emptied", |_, crm, _, _| {
                crm.cache().unwrap().forget_all();
            }),
            ("its user changed here", |bench, _, _, live| {
                bench.sessions.cache.forget_user(live.entry.session.user);
            }),
            ("ended by another instance", |bench, _, row, _| {
                bench.sessions.cache.forget(row);
            }),
            ("anything may have changed", |bench, _, _, _| {
                bench.sessions.forget_all();
            }),
            ("ended here", |_, crm, _, live| {
                let digest = live.entry.session.digest;
                crm.cache().unwrap().is_over(&digest, StreamEnd::Ended);
            }),
            ("its application's log-out", |bench, _, _, live| {
                bench.sessions.heed(&live.entry, true, std::iter::empty());
            }),
            ("another cookie in an answer", |bench, crm, _, live| {
                let (name, _) = cookies(crm, "");
                let other: &[u8] = b"another.one";
                bench
                    .sessions
                    .heed(&live.entry, false, [(name.as_slice(), other)].into_iter());
            }),
            ("let go of", |_, crm, _, live| {
                crm.cache().unwrap().drop_entry(&live.entry.session.digest);
            }),
        ];
        for (preset, value) in [(Preset::PlainTable, "one"), (Preset::LuciaSecret, "one.secret")] {
            for (name, way) in ways {
                let mut source = crm(preset);
                source.table.may_end = true;
                let bench = bench(vec![source]);
                let (local, digest) = known(&bench, value).await;
                let Some(Identified::Live(live)) = at_once(&local, value) else {
                    panic!()
                };
                let crm = bench.sessions.source("crm").unwrap();
                let row = crm.settings().row_of("one");
                assert_eq!(row == digest, preset == Preset::PlainTable);
                way(&bench, crm, &row, &live);
                assert!(at_once(&local, value).is_none(), "{name}: {preset:?}");
            }
        }
    }

    #[tokio::test]
    async fn another_answer_for_the_row_takes_the_place_of_what_a_core_remembers() {
        let bench = bench(vec![crm(Preset::PlainTable)]);
        let (local, digest) = known(&bench, "one").await;
        let cache = bench.sessions.source("crm").and_then(Legacy::cache).unwrap();
        read(&bench.sessions, "crm", "one", "bob").await;
        assert!(at_once(&local, "one").is_none(), "the row is another user's now");
        let Among::One(Identified::Live(live)) = ask(&local, "one").await else {
            panic!()
        };
        assert_eq!(live.entry.user.username.as_str(), "bob");
        assert!(is_believed(&local, "one"));
        let before = cache.stripes.before(&digest, None);
        let absent = cache
            .conclude(&digest, None, before, cache.time.elapsed(), None)
            .unwrap();
        cache.keep(digest, &absent).await;
        assert!(at_once(&local, "one").is_none(), "there is no such row any more");
        assert!(matches!(ask(&local, "one").await, Among::One(Identified::Dead)));
    }

    #[tokio::test]
    async fn a_core_believes_a_row_no_longer_than_the_shared_cache_does() {
        for may_end in [false, true] {
            let mut source = crm(Preset::PlainTable);
            source.table.may_end = may_end;
            let bench = bench(vec![source]);
            let cache = bench.sessions.source("crm").and_then(Legacy::cache).unwrap();
            let ours = &bench.sessions.cache;
            for told in [cache, ours] {
                told.trust_until(IDLE * 2);
            }
            let (local, _) = known(&bench, "one").await;
            bench.clock.advance(SHORT * 2);
            assert!(
                is_believed(&local, "one"),
                "while changes are told, the long bound holds"
            );
            cache.distrust();
            assert!(at_once(&local, "one").is_none(), "it is taken back");
            cache.trust_until(IDLE * 2);
            assert!(is_believed(&local, "one"));
            // Ends by other instances come by our own feed.
            ours.distrust();
            assert_eq!(at_once(&local, "one").is_none(), may_end);
            ours.trust_until(IDLE * 2);
            cache.set_bound(IDLE * 2);
            bench.clock.advance(IDLE.saturating_sub(SHORT * 3));
            assert!(is_believed(&local, "one"));
            bench.clock.advance(SHORT);
            assert!(at_once(&local, "one").is_none(), "the row is over");
        }
    }

    #[tokio::test]
    async fn what_a_core_remembers_of_a_source_goes_with_it_and_stays_with_one_that_is_unchanged() {
        let bench = bench(vec![
            crm(Preset::PlainTable),
            source("shop", Preset::PlainTable.mapping()),
        ]);
        let (local, _) = known(&bench, "one").await;
        let mut changed = crm(Preset::PlainTable);
        changed.logout_paths = vec!["/logout".to_owned()];
        let with = |sources: Vec<SourceSettings>| Settings { sources, ..settings() };
        let same = local.successor(bench.sessions.successor(with(vec![crm(Preset::PlainTable)])));
        assert!(is_believed(&same, "one"), "another source is gone, not this one");
        let other = local.successor(bench.sessions.successor(with(vec![changed])));
        assert_eq!(other.held(), 0, "its memory is given back");
        assert!(at_once(&other, "one").is_none());
        // A request that began before goes on as it began, and says nothing to those that began later.
        assert!(matches!(ask(&local, "one").await, Among::One(Identified::Live(_))));
        assert!(is_believed(&local, "one") && at_once(&other, "one").is_none());
        let none = local.successor(bench.sessions.successor(with(Vec::new())));
        assert_eq!(none.held(), 0);
        let gone = none.try_identify_among(&accepted(&["crm"]), HOST, &[], &[(b"session", b"one")]);
        assert!(
            gone.is_none(),
            "who names a source that is gone waits for the answer that it cannot be asked"
        );
    }

    #[tokio::test]
    async fn a_core_keeps_sources_hosts_and_people_apart_at_once_as_it_does_when_it_asks() {
        let bench = bench(vec![
            crm(Preset::PlainTable),
            source("shop", Preset::PlainTable.mapping()),
        ]);
        let (local, _) = known(&bench, "one").await;
        let pairs: [(&[u8], &[u8]); 1] = [(b"session", b"one")];
        let now = |accepted: &Accepted, host: &str, values: &[&[u8]]| {
            local.try_identify_among(accepted, host, values, &pairs)
        };
        let elsewhere = now(&accepted(&["crm"]), "other.example.test", &[]);
        assert!(matches!(elsewhere, Some(Identified::Anonymous)));
        assert!(
            now(&accepted(&["shop"]), HOST, &[]).is_none(),
            "the same key in another table"
        );
        let (value, _) = bench.open("bob").await;
        let values = [value.as_bytes()];
        local.identify(&values, NO_GRACE).await;
        let both = accepted(&["crm"]);
        assert!(now(&both, HOST, &values).is_none(), "two people");
        let asked = local.identify_among(&both, HOST, &values, &pairs, NO_GRACE).await;
        assert!(matches!(asked.who, Among::Twice(_)));
        let first = Accepted {
            first_wins: true,
            ..both
        };
        let Some(Identified::Live(live)) = now(&first, HOST, &values) else {
            panic!()
        };
        assert_eq!(live.entry.user.username.as_str(), "bob");
        let theirs_only = Accepted {
            native: false,
            ..accepted(&["crm"])
        };
        let Some(Identified::Live(live)) = now(&theirs_only, HOST, &values) else {
            panic!()
        };
        assert_eq!(live.entry.source(), Some("crm"));
    }
}
