use super::Entry;
use super::SessionError;
use super::Sessions;
use crate::model::Digest;
use crate::model::Event;
use crate::model::EventKind;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

/// What became of a device's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a name that came too soon was not stored"]
pub enum Naming {
    /// The device has it.
    Named,
    /// It was given too many names a moment ago; the next one is taken after so long.
    TooSoon(Duration),
}

impl Sessions {
    /// Gives the device of a session a name of at most 128 bytes, and forgets the cached copy. Does nothing where it has
    /// that name. A dropped future names it all the same. Each name is a row and an audit event, so a session has few of
    /// them a minute.
    ///
    /// # Errors
    /// The store's; whether it has the name is not known then.
    pub async fn name_device(&self, entry: &Entry, name: &str, address: IpAddr) -> Result<Naming, SessionError> {
        let (session, user) = (&entry.session, &entry.user);
        if session.device.as_deref() == Some(name) {
            return Ok(Naming::Named);
        }
        if let Some(wait) = self.namings.one_more(session.digest, self.cache.time.elapsed()) {
            return Ok(Naming::TooSoon(wait));
        }
        let event = Event {
            user: Some(user.id),
            username: Some(user.username.to_string()),
            session: Some(session.public_id),
            address: Some(address),
            ..Event::new(self.now(), EventKind::DeviceNamed, user.username.as_str())
        };
        let (cache, digest, name) = (Arc::clone(&self.cache), session.digest, name.to_owned());
        self.on_control(async move {
            let named = cache.guarded(cache.store.name_device(&digest, &name, event)).await;
            cache.forget(&digest);
            named?;
            Ok(Naming::Named)
        })
        .await
    }
}

/// Names that were given in the minute of each session that is under way.
#[derive(Default)]
pub(super) struct Namings(Mutex<HashMap<Digest, (Duration, u8)>>);

impl Namings {
    const SPAN: Duration = Duration::from_mins(1);
    /// Most names of a session in that time.
    const MOST: u8 = 5;
    /// Most sessions that are remembered: about a megabyte. Where there are more, the rest waits.
    const MOST_SESSIONS: usize = 10_000;

    /// Counts one more; how long it has to wait where there were too many.
    fn one_more(&self, digest: Digest, now: Duration) -> Option<Duration> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |since: Duration| now >= since.saturating_add(Self::SPAN);
        if known.len() >= Self::MOST_SESSIONS {
            known.retain(|_, (since, _)| !over(*since));
            if known.len() >= Self::MOST_SESSIONS && !known.contains_key(&digest) {
                return Some(Self::SPAN);
            }
        }
        let (since, count) = known.entry(digest).or_insert((now, 0));
        if over(*since) {
            (*since, *count) = (now, 0);
        }
        if *count >= Self::MOST {
            return Some(since.saturating_add(Self::SPAN).saturating_sub(now));
        }
        *count += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;

    #[tokio::test]
    async fn a_session_gives_its_device_few_names_a_minute_and_the_same_one_as_often_as_it_likes() {
        let bench = Bench::new();
        let entry = bench.sessions.open(bench.login("anna")).await.unwrap().entry;
        let other = bench.sessions.open(bench.login("bob")).await.unwrap().entry;
        let name = async |entry: &Entry, name: &str| {
            let address = IpAddr::from([192, 0, 2, 1]);
            bench.sessions.name_device(entry, name, address).await.unwrap()
        };
        for number in 0..Namings::MOST {
            assert_eq!(name(&entry, &number.to_string()).await, Naming::Named);
        }
        bench.clock.advance(Duration::from_secs(20));
        assert_eq!(name(&entry, "one more").await, Naming::TooSoon(Duration::from_secs(40)));
        assert_eq!(name(&other, "one more").await, Naming::Named, "each has its own");
        if let Some(device) = &entry.session.device {
            assert_eq!(name(&entry, device).await, Naming::Named);
        }
        bench.clock.advance(Duration::from_secs(40));
        assert_eq!(name(&entry, "one more").await, Naming::Named);
    }

    #[test]
    fn what_is_remembered_of_names_is_bounded() {
        let namings = Namings::default();
        let session = |number: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            Digest(digest)
        };
        for number in 0..Namings::MOST_SESSIONS {
            assert_eq!(namings.one_more(session(number), Duration::ZERO), None);
        }
        assert!(namings.one_more(session(usize::MAX), Duration::ZERO).is_some());
        assert_eq!(namings.one_more(session(0), Duration::ZERO), None);
        assert_eq!(namings.one_more(session(usize::MAX), Namings::SPAN), None);
        assert_eq!(namings.0.lock().unwrap().len(), 1);
    }
}
