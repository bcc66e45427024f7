use super::AccountError;
use super::Accounts;
use super::throttle::address_buckets;
use super::throttle::canonical;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::Timestamp;
use crate::model::Username;
use crate::store::Ban;
use crate::store::BucketKind;
use crate::store::WhichBans;
use std::net::IpAddr;

/// Something whose attempts are refused for now, as people and programs see it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Banned {
    /// What [`Accounts::lift`] takes; says nothing secret.
    pub id: String,
    /// By what attempts are counted: a word of [`BucketKind`].
    pub kind: String,
    /// Whom or what it concerns, in words.
    pub who: String,
    /// The user whom it concerns.
    pub user: Option<Username>,
    /// When the first attempt was refused; `None` when none was yet.
    pub since: Option<Timestamp>,
    /// When the next attempt is counted again.
    pub until: Timestamp,
}

impl From<Ban> for Banned {
    fn from(ban: Ban) -> Self {
        let (kind, key) = ban.bucket.split_once(':').unwrap_or((ban.bucket.as_str(), ""));
        let known = BucketKind::ALL.into_iter().find(|known| known.as_str() == kind);
        let name = ban.username.as_ref().map_or("a user who was deleted", Username::as_str);
        let who = match known {
            Some(BucketKind::Account) => name.to_owned(),
            Some(BucketKind::Browser) => format!("{name}, in a browser that is known"),
            Some(BucketKind::Name) => "a name that is nobody's".to_owned(),
            Some(BucketKind::Address | BucketKind::Registration | BucketKind::Token) | None => key.to_owned(),
        };
        Self {
            kind: kind.to_owned(),
            who,
            user: ban.username,
            since: ban.since,
            until: ban.until,
            id: ban.bucket,
        }
    }
}

impl Accounts {
    /// Whose attempts are refused now, by id, after `after`, at most `limit`.
    ///
    /// # Errors
    /// The store's.
    pub async fn bans(&self, after: Option<&str>, limit: u32) -> Result<Vec<Banned>, AccountError> {
        let listed = self.store.list_bans(self.throttle.now(), after, limit).await;
        Ok(listed
            .map_err(AccountError::Store)?
            .into_iter()
            .map(Banned::from)
            .collect())
    }

    /// Lifts the bans of `who`: a user name, an e-mail address, an address or network as it is listed, or the id of one
    /// ban. What was counted so far is forgotten; other instances act on it within a second. The ids of what was lifted,
    /// none when there was nothing.
    ///
    /// # Errors
    /// The store's; it is not known then whether they were lifted.
    pub async fn lift(&self, who: &str, actor: &str) -> Result<Vec<String>, AccountError> {
        let (which, event) = self.find_bans(&canonical(who), self.lifting(actor)).await?;
        self.remove(which, event).await
    }

    /// Which bans are meant by `who`, and what the audit log is told.
    async fn find_bans(&self, who: &str, event: Event) -> Result<(WhichBans, Event), AccountError> {
        let because = |kind: BucketKind| Event {
            reason: Some(kind.as_str()),
            ..event.clone()
        };
        if let Some(kind) = kind_of_id(who) {
            return Ok((WhichBans::Buckets(vec![who.to_owned()]), because(kind)));
        }
        if let Some(address) = address_of(who) {
            let event = Event {
                address: Some(address),
                ..because(BucketKind::Address)
            };
            return Ok((WhichBans::Buckets(address_buckets(address)), event));
        }
        // A control character is in no name, and Postgres refuses a NUL in text.
        let nobodys = who.is_empty() || who.chars().any(char::is_control);
        let found = if nobodys {
            None
        } else {
            self.store.find_credentials(who).await.map_err(AccountError::Store)?
        };
        let Some(user) = found.map(|found| found.user) else {
            let bucket = self.throttle.name_bucket(who);
            return Ok((WhichBans::Buckets(vec![bucket]), because(BucketKind::Name)));
        };
        let event = Event {
            user: Some(user.id),
            username: Some(user.username.to_string()),
            ..because(BucketKind::Account)
        };
        Ok((WhichBans::User(user.id), event))
    }

    /// Lifts all bans.
    ///
    /// # Errors
    /// The store's; it is not known then whether they were lifted.
    pub async fn lift_all(&self, actor: &str) -> Result<Vec<String>, AccountError> {
        let event = Event {
            reason: Some("all"),
            ..self.lifting(actor)
        };
        self.remove(WhichBans::All, event).await
    }

    fn lifting(&self, actor: &str) -> Event {
        let actor = actor.chars().take(64).collect::<String>();
        Event::new(self.throttle.now(), EventKind::BanLifted, actor)
    }

    async fn remove(&self, which: WhichBans, event: Event) -> Result<Vec<String>, AccountError> {
        let lifted = self.store.lift_bans(&which, &event).await;
        self.throttle.forget_standing();
        lifted.map_err(AccountError::Store)
    }
}

fn kind_of_id(text: &str) -> Option<BucketKind> {
    let (kind, _) = text.split_once(':').filter(|_| !text.chars().any(char::is_control))?;
    BucketKind::ALL.into_iter().find(|known| known.as_str() == kind)
}

/// An address, alone or as the network that stands for it.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.strip_suffix("/64").unwrap_or(text);
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_lifted_is_read_as_it_is_listed() {
        assert_eq!(kind_of_id("account:018f"), Some(BucketKind::Account));
        assert_eq!(kind_of_id("2001:db8::1"), None);
        assert_eq!(kind_of_id("ada"), None);
        assert_eq!(address_of("2001:db8::/64"), "2001:db8::".parse().ok());
        assert_eq!(address_of("192.0.2.7"), "192.0.2.7".parse().ok());
        assert_eq!(address_of("ada"), None);
    }

    #[test]
    fn a_ban_says_whom_it_concerns_and_nothing_secret() {
        let ban = |bucket: &str, username: Option<&str>| {
            Banned::from(Ban {
                bucket: bucket.to_owned(),
                user: None,
                username: username.map(|name| Username::parse(name).unwrap()),
                since: None,
                until: Timestamp::from_micros(0),
            })
        };
        assert_eq!(ban("account:018f", Some("ada")).who, "ada");
        assert_eq!(ban("account:018f", None).who, "a user who was deleted");
        assert_eq!(ban("browser:018f:00ff", Some("ada")).kind, "browser");
        assert_eq!(ban("name:00ff", None).who, "a name that is nobody's");
        assert_eq!(ban("address:2001:db8::/64", None).who, "2001:db8::/64");
    }
}
