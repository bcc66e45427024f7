//! Follows the feed of changes by other processes, and decides how long cached answers are believed.
//!
//! The feed is healthy while a heartbeat that was sent less than [`LEASE`] ago was heard: the *last heartbeat heard* is
//! the truth, not the state of a connection, which may be dead without a word. Heartbeats go out the way that changes
//! are written and come back the way that changes are told, in the order of the commits. So when one that was sent at
//! `t` is heard, everything that was committed before `t` has been heard too, and a change that was lost keeps the lease
//! from being renewed by anything that came after it. Each hit of the cache looks at the lease itself, so that a process
//! that stood still believes nothing for longer than one that did not.
//!
//! The order of a beginning: LISTEN is in force, a heartbeat is heard, everything that was learnt before is forgotten,
//! the long bound holds.

mod pulse;
mod words;

pub(in crate::session) use pulse::Pulse;
pub(in crate::session) use words::Lost;

use super::cache::Cache;
use super::load::GUARD;
use super::moment::DatabaseTime;
use super::token::derive;
use super::watch::set_time;
use crate::model::Digest;
use crate::store::Beat;
use crate::store::BeatKey;
use crate::store::Call;
use crate::store::FeedMessage;
use crate::store::Heartbeat;
use crate::store::StoreError;
use crate::store::Subscription;
use aws_lc_rs::hmac;
use secrecy::SecretSlice;
use std::sync::Arc;
use std::time::Duration;
use words::Word;

/// How long changes count as seen after a heartbeat that was heard was sent.
pub(super) const LEASE: Duration = Duration::from_secs(2);
/// Between two attempts to listen, at first and at most, less up to a half.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often an application's table is looked at that has no trigger, or not the one that belongs to it.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How far ahead of the time a heartbeat may be: less than the short bound is longer than [`LEASE`]. One that is further
/// ahead says that the database's clock was set, and nobody knows how late it is.
const AHEAD: Duration = Duration::from_secs(1);
/// What heartbeats are sealed with, for each of `secrets`: derived from them, since all gateways of a database share them.
pub(super) fn keys(secrets: &[SecretSlice<u8>]) -> Arc<[BeatKey]> {
    let one = |key: &hmac::Key| {
        let bytes = hmac::sign(key, b"portcullis heartbeat");
        BeatKey::new(bytes.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes"))
    };
    derive(secrets, "feed").iter().map(one).collect()
}

/// The same for the feed of the source called `name`: keys of its own, since another's database sees them.
pub(super) fn keys_of_source(secrets: &[SecretSlice<u8>], name: &str) -> Arc<[BeatKey]> {
    let label = format!("portcullis heartbeat of source {name}");
    let one = |key: &hmac::Key| {
        let bytes = hmac::sign(key, label.as_bytes());
        BeatKey::new(bytes.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes"))
    };
    derive(secrets, "feed").iter().map(one).collect()
}

/// Follows the feed until it is dropped; returns where the engine has none. That of a source is followed while its table
/// has the trigger.
pub(super) async fn follow(cache: &Cache) {
    let mut follower = Follower::new(cache);
    while let Some(lost) = follower.subscription().await {
        let pause = follower.lost(&lost);
        tokio::time::sleep(pause).await;
    }
}

pub(super) struct Follower<'a> {
    cache: &'a Cache,
    healthy: bool,
    told: Vec<Word>,
    /// Attempts since the feed was healthy.
    attempts: u32,
}

impl<'a> Follower<'a> {
    pub(super) fn new(cache: &'a Cache) -> Self {
        Self {
            cache,
            healthy: false,
            told: Vec::new(),
            attempts: 0,
        }
    }

    /// One subscription, from LISTEN to its end; `None` where the engine has no feed.
    async fn subscription(&mut self) -> Option<Lost> {
        if let Some(lookups) = &self.cache.lookups
            && let Err(lost) = lookups.is_told().await
        {
            return Some(lost);
        }
        let listening = tokio::time::timeout(GUARD, self.cache.listen());
        // How late a heartbeat is depends on the database's clock, which may be another server's by now.
        let (listening, ()) = tokio::join!(listening, self.cache.set_feed_time());
        match listening.unwrap_or(Err(StoreError::TimedOut)) {
            Ok(Some(mut subscription)) => Some(self.listen(&mut *subscription).await),
            Ok(None) => None,
            Err(error) => Some(Lost::Broken(error)),
        }
    }

    /// Hears what is told until nothing is any more.
    pub(super) async fn listen(&mut self, subscription: &mut dyn Subscription) -> Lost {
        let cache = self.cache;
        let mut pulse = Pulse::new(cache.time.elapsed());
        let mut sending: Option<Call<'_, Beat>> = None;
        loop {
            let now = cache.time.elapsed();
            if let Some(lost) = pulse.lost(now) {
                return lost;
            }
            if pulse.flush(now) {
                cache.forget_all();
            }
            if sending.is_none() && pulse.beat(now) {
                let keys = cache.beat_keys();
                sending = keys.first().cloned().map(|key| cache.send_beat(key));
            }
            let sent = async {
                match &mut sending {
                    Some(beat) => beat.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                heard = subscription.next() => match heard {
                    Ok(message) => self.hear(message, &mut pulse),
                    Err(error) => return Lost::Broken(error),
                },
                sent = sent => {
                    sending = None;
                    pulse.sent(sent);
                }
                () = tokio::time::sleep(pulse.wake_at().saturating_sub(now)) => {}
            }
        }
    }

    pub(super) fn hear(&mut self, message: FeedMessage, pulse: &mut Pulse) {
        match message {
            FeedMessage::Sessions(told) => told.iter().for_each(|digest| self.cache.forget_told(digest)),
            FeedMessage::User(user) => self.cache.forget_user(user),
            FeedMessage::Everything => {
                if pulse.everything(self.cache.time.elapsed()) {
                    self.cache.forget_all();
                }
            }
            FeedMessage::Unknown => pulse.unknown(self.cache.time.elapsed()),
            FeedMessage::Beat(beat) => self.hear_beat(&beat, pulse),
        }
    }

    fn hear_beat(&mut self, beat: &Heartbeat, pulse: &mut Pulse) {
        // Any role of the database may say such words: to renew the lease where nothing else is told, or to hide how late
        // everything is.
        let Some(sent) = beat.sent(&self.cache.beat_keys()) else {
            return;
        };
        let moment = self.cache.feed_time().moment();
        if sent.since(moment.now) > AHEAD {
            pulse.clock_set = true;
            return;
        }
        let lag = moment.now.since(sent);
        self.cache.told_by.lag.set(lag.as_secs_f64());
        let Some(until) = pulse.heard(moment.elapsed.saturating_sub(lag), moment.elapsed) else {
            return;
        };
        if !self.healthy {
            // Before the long bound holds: nothing from the time without a feed is believed by it.
            self.cache.forget_all();
            self.seen();
        }
        self.cache.trust_until(until);
    }

    fn seen(&mut self) {
        self.healthy = true;
        self.attempts = 0;
        self.told.clear();
        self.cache.told_by.healthy.set(1);
        words::seen(self.cache.source().as_deref());
    }

    /// The short bound holds from here on. How long to wait before the next attempt.
    pub(super) fn lost(&mut self, lost: &Lost) -> Duration {
        self.cache.distrust();
        self.cache.told_by.healthy.set(0);
        if std::mem::take(&mut self.healthy) {
            // The answers that open streams go by are older than they may be by the short bound.
            self.cache.doubt_streams();
        }
        self.tell(lost);
        if matches!(lost, Lost::NoTrigger | Lost::OtherTrigger | Lost::Impossible) {
            return LOOK_AGAIN.saturating_sub(part_of(LOOK_AGAIN / 2));
        }
        let (first, most) = PAUSES;
        let pause = first.saturating_mul(1 << self.attempts.min(10)).min(most);
        self.attempts = self.attempts.saturating_add(1);
        pause.saturating_sub(part_of(pause / 2))
    }

    /// One line for each change, not for each attempt.
    fn tell(&mut self, lost: &Lost) {
        let Some(word) = Word::of(lost) else {
            return;
        };
        if !self.told.contains(&word) {
            self.told.push(word);
            match self.cache.source() {
                Some(name) => words::tell_of_source(word, lost.cause(), &name),
                None => words::tell(word, lost.cause()),
            }
        }
    }
}

impl Cache {
    fn listen(&self) -> Call<'_, Option<Box<dyn Subscription>>> {
        match &self.lookups {
            None => self.store.listen(),
            Some(lookups) => Box::pin(async { lookups.feed().listen().await.map(Some) }),
        }
    }

    fn send_beat(&self, key: BeatKey) -> Call<'_, Beat> {
        match &self.lookups {
            None => self.store.beat(key),
            Some(lookups) => lookups.feed().beat(key),
        }
    }

    /// The time of the database that tells.
    fn feed_time(&self) -> &DatabaseTime {
        self.lookups.as_ref().map_or(&self.time, |lookups| lookups.feed_time())
    }

    async fn set_feed_time(&self) {
        match &self.lookups {
            None => drop(set_time(self).await),
            Some(lookups) => lookups.read_time().await,
        }
    }

    /// A session of ours may have changed, or an application's row by the digest of its key.
    fn forget_told(&self, digest: &Digest) {
        match &self.lookups {
            None => self.forget(digest),
            Some(lookups) => self.forget_row(&lookups.settings().row(&digest.0)),
        }
    }
}

/// A random part of `whole`, so that instances do not act in step.
fn part_of(whole: Duration) -> Duration {
    let mut random = [0];
    // Without randomness they do; nothing else is lost.
    let _ = getrandom::fill(&mut random);
    whole * u32::from(random[0]) / 256
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::super::testing::MAX_AGE;
    use super::super::testing::NO_GRACE;
    use super::super::testing::SHORT;
    use super::pulse::QUIET;
    use super::*;
    use crate::model::Timestamp;
    use crate::model::UserId;
    use crate::session::Identified;
    use crate::session::Local;

    const STEP: Duration = Duration::from_millis(100);

    struct Followed {
        bench: Bench,
        pulse: Pulse,
        value: String,
        digest: Digest,
        user: UserId,
        local: Local,
    }

    impl Followed {
        /// Somebody is signed in and known to a core; nothing was heard yet.
        async fn new() -> Self {
            let bench = Bench::new();
            let opened = bench.open("anna").await;
            let local = bench.local();
            let pulse = Pulse::new(bench.clock.elapsed());
            let user = super::super::testing::user("anna").id;
            let this = Self {
                bench,
                pulse,
                value: opened.0,
                digest: opened.1,
                user,
                local,
            };
            assert!(this.is_live().await);
            this
        }

        async fn is_live(&self) -> bool {
            let values = [self.value.as_bytes()];
            matches!(self.local.identify(&values, NO_GRACE).await, Identified::Live(_))
        }

        /// Whether it is believed without a question.
        fn is_believed(&self) -> bool {
            self.local.try_identify(&[self.value.as_bytes()]).is_some()
        }

        fn beat_of(&self, sent: Timestamp) -> FeedMessage {
            FeedMessage::Beat(self.bench.sessions.cache.beat_keys()[0].beat(sent))
        }

        fn beat(&mut self, follower: &mut Follower<'_>) {
            let now = self.bench.sessions.now();
            follower.hear(self.beat_of(now), &mut self.pulse);
        }
    }

    #[tokio::test]
    async fn what_is_told_is_forgotten_and_nothing_else() {
        let mut this = Followed::new().await;
        let cache = std::sync::Arc::clone(&this.bench.sessions.cache);
        let mut follower = Follower::new(&cache);
        this.beat(&mut follower);
        let (other, nobody) = (Digest([9; 32]), UserId(uuid::Uuid::from_u128(9)));
        for (message, believed) in [
            (FeedMessage::Sessions(vec![other]), true),
            (FeedMessage::User(nobody), true),
            (FeedMessage::Sessions(vec![other, this.digest]), false),
            (FeedMessage::User(this.user), false),
            (FeedMessage::Everything, false),
        ] {
            assert!(this.is_live().await);
            follower.hear(message.clone(), &mut this.pulse);
            assert_eq!(this.is_believed(), believed, "{message:?}");
        }
    }

    #[tokio::test]
    async fn the_long_bound_holds_from_the_first_heartbeat_on_and_nothing_older_is_believed_by_it() {
        let mut this = Followed::new().await;
        let cache = std::sync::Arc::clone(&this.bench.sessions.cache);
        let mut follower = Follower::new(&cache);
        this.bench.store.delete(&this.digest);
        assert!(this.is_believed(), "within the short bound");
        this.beat(&mut follower);
        assert!(!this.is_live().await, "it was learnt before anybody listened");
        assert!(this.bench.metrics.text().contains("portcullis_feed_healthy 1"));
    }

    #[tokio::test]
    async fn the_short_bound_is_back_two_seconds_after_the_last_heartbeat_whoever_notices() {
        let mut this = Followed::new().await;
        let cache = std::sync::Arc::clone(&this.bench.sessions.cache);
        let mut follower = Follower::new(&cache);
        this.beat(&mut follower);
        assert!(this.is_live().await);
        let mut age = Duration::ZERO;
        while age < 2 * SHORT {
            this.bench.clock.advance(STEP);
            age += STEP;
            this.beat(&mut follower);
            assert!(this.is_believed(), "{age:?}");
        }
        this.bench.clock.advance(LEASE.saturating_sub(STEP));
        assert!(this.is_believed());
        this.bench.clock.advance(STEP);
        assert!(!this.is_believed(), "nobody did anything");
        // Nor is it believed again without being asked for, when the feed is back.
        this.bench.store.delete(&this.digest);
        follower.lost(&Lost::Unheard);
        this.beat(&mut follower);
        assert!(!this.is_live().await);
        assert_eq!(cache.bound(this.bench.clock.elapsed()), MAX_AGE);
    }

    #[tokio::test]
    async fn a_heartbeat_that_comes_late_is_none() {
        let mut this = Followed::new().await;
        let cache = std::sync::Arc::clone(&this.bench.sessions.cache);
        let mut follower = Follower::new(&cache);
        let sent = this.bench.sessions.now();
        this.bench.clock.advance(LEASE);
        follower.hear(this.beat_of(sent), &mut this.pulse);
        assert_eq!(cache.bound(this.bench.clock.elapsed()), SHORT);
        assert!(this.bench.metrics.text().contains("portcullis_feed_healthy 0"));
        assert!(this.bench.metrics.text().contains("portcullis_feed_lag_seconds 2"));
        // One from ahead, as far as it may be, lasts no longer than one of this moment.
        let ahead = this.bench.sessions.now().plus(AHEAD);
        follower.hear(this.beat_of(ahead), &mut this.pulse);
        assert_eq!(cache.bound(this.bench.clock.elapsed()), MAX_AGE);
        this.bench.clock.advance(LEASE);
        assert_eq!(cache.bound(this.bench.clock.elapsed()), SHORT);
    }

    #[tokio::test]
    async fn a_heartbeat_of_a_stranger_is_none_and_one_of_another_secret_of_ours_is() {
        let mut this = Followed::new().await;
        let cache = std::sync::Arc::clone(&this.bench.sessions.cache);
        let mut follower = Follower::new(&cache);
        let now = this.bench.sessions.now();
        let stranger = BeatKey::new([7; 32]);
        for sent in [
            now,
            now.plus(LEASE),
            Timestamp::from_micros(i64::MIN),
            Timestamp::from_micros(i64::MAX),
        ] {
            follower.hear(FeedMessage::Beat(stranger.beat(sent)), &mut this.pulse);
            assert_eq!(cache.bound(this.bench.clock.elapsed()), SHORT, "{sent:?}");
            assert!(this.pulse.lost(this.bench.clock.elapsed()).is_none());
        }
        assert!(
            this.pulse.beat(this.bench.clock.elapsed()),
            "nobody is kept from sending one"
        );
        cache.adopt_beat_keys([cache.beat_keys()[0].clone(), stranger.clone()].into());
        follower.hear(FeedMessage::Beat(stranger.beat(now)), &mut this.pulse);
        assert_eq!(cache.bound(this.bench.clock.elapsed()), MAX_AGE);
    }

    #[tokio::test]
    async fn a_heartbeat_from_far_ahead_says_that_the_clock_was_set_and_renews_nothing() {
        let mut this = Followed::new().await;
        let cache = std::sync::Arc::clone(&this.bench.sessions.cache);
        let mut follower = Follower::new(&cache);
        let ahead = this.bench.sessions.now().plus(AHEAD + STEP);
        follower.hear(this.beat_of(ahead), &mut this.pulse);
        assert_eq!(cache.bound(this.bench.clock.elapsed()), SHORT);
        assert!(matches!(this.pulse.lost(Duration::ZERO), Some(Lost::ClockSet)));
    }

    /// Whoever sees those of one database can renew the lease of no other.
    #[test]
    fn heartbeats_of_each_database_are_sealed_with_keys_of_its_own() {
        let secrets = [SecretSlice::from(vec![7; 32])];
        let all = [
            keys(&secrets),
            keys_of_source(&secrets, "crm"),
            keys_of_source(&secrets, "shop"),
        ];
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        for (number, one) in all.iter().enumerate() {
            let beat = one[0].beat(now);
            let heeded = all.each_ref().map(|known| beat.sent(known) == Some(now));
            assert_eq!(heeded.iter().filter(|heeded| **heeded).count(), 1);
            assert!(heeded[number]);
        }
    }

    #[test]
    fn who_hears_nothing_sends_a_heartbeat_and_who_hears_one_waits() {
        let mut pulse = Pulse::new(Duration::ZERO);
        assert!(pulse.beat(Duration::ZERO) && !pulse.beat(STEP));
        for count in 1..20 {
            let now = count * STEP;
            assert!(pulse.heard(now, now).is_some());
            assert!(!pulse.beat(now + QUIET.saturating_sub(STEP / 2)));
        }
        let last = 19 * STEP;
        assert!(pulse.beat(last + QUIET + QUIET / 2));
        assert!(pulse.lost(last + LEASE.saturating_sub(STEP)).is_none());
        assert!(
            matches!(pulse.lost(last + LEASE), Some(Lost::Unsent(_))),
            "it did not get out"
        );
        pulse.sent(Err(StoreError::NotReady));
        assert!(matches!(
            pulse.lost(last + LEASE),
            Some(Lost::Unsent(StoreError::NotReady))
        ));
        pulse.sent(Ok(Beat::Untold));
        assert!(matches!(pulse.lost(last + LEASE), Some(Lost::Untold)));
        pulse.sent(Ok(Beat::Sent));
        pulse.sent(Err(StoreError::TimedOut));
        assert!(matches!(pulse.lost(last + LEASE), Some(Lost::Unheard)), "one did");
    }

    #[test]
    fn a_heartbeat_that_is_back_before_it_is_known_to_be_out_is_not_missed() {
        let mut pulse = Pulse::new(Duration::ZERO);
        assert!(pulse.beat(Duration::ZERO));
        assert!(pulse.heard(Duration::ZERO, STEP).is_some());
        pulse.sent(Ok(Beat::Sent));
        // From here on changes are not told.
        assert!(pulse.beat(QUIET * 2));
        pulse.sent(Ok(Beat::Untold));
        assert!(matches!(pulse.lost(LEASE), Some(Lost::Untold)));
    }

    #[test]
    fn unknown_words_cause_one_flush_a_second_and_the_last_of_them_is_not_lost() {
        let mut pulse = Pulse::new(Duration::ZERO);
        let mut flushes = Vec::new();
        for count in 0..35 {
            let now = count * STEP;
            if count < 25 {
                pulse.unknown(now);
            }
            if pulse.flush(now) {
                flushes.push(count);
            }
        }
        assert_eq!(flushes, [0, 10, 20, 30]);
    }

    #[test]
    fn a_flood_of_flushes_leaves_time_to_look_up_and_the_last_of_it_is_not_lost() {
        let mut pulse = Pulse::new(Duration::ZERO);
        let at = Duration::from_millis;
        let mut flushes = Vec::new();
        for now in 0..300 {
            let told = now < 220 && pulse.everything(at(now));
            if told || pulse.flush(at(now)) {
                flushes.push(now);
            }
        }
        assert_eq!(flushes, [0, 50, 100, 150, 200, 250]);
        pulse.unknown(at(300));
        assert!(!pulse.everything(at(270)), "not earlier for being told twice");
        assert!(pulse.everything(at(301)), "nor later for words that nobody understood");
    }

    #[tokio::test]
    async fn attempts_are_never_closer_than_they_should_be_and_the_first_comes_soon() {
        let bench = Bench::new();
        let mut follower = Follower::new(&bench.sessions.cache);
        let pauses: Vec<Duration> = (0..40).map(|_| follower.lost(&Lost::Unheard)).collect();
        assert!(pauses[0] <= PAUSES.0 && pauses[0] >= PAUSES.0 / 2);
        assert!(
            pauses[10..]
                .iter()
                .all(|pause| (PAUSES.1 / 2..=PAUSES.1).contains(pause))
        );
    }
}
