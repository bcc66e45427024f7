use super::Call;
use crate::model::Digest;
use crate::model::Timestamp;
use crate::model::UserId;
use aws_lc_rs::digest;
use uuid::Uuid;

/// Most bytes of a schema's name that stand in its channel as they are; names of channels end after 63.
const PLAIN: usize = 52;

/// What other processes changed, as it is told. A part of [`super::Store`].
pub trait Feed: Send + Sync {
    /// Listens, on a connection of its own. `Pooled` where that would be lost, as far as it can be found out; `None` where the engine tells nothing ([`super::Store::data_version`] does).
    /// What was committed before it returns may go untold, nothing after. Dropped, the subscription closes its connection
    /// without a farewell.
    fn listen(&self) -> Call<'_, Option<Box<dyn Subscription>>> {
        Box::pin(std::future::ready(Ok(None)))
    }
    /// Sends a heartbeat to everybody who listens, by the way that changes are written and not by the one on which is
    /// listened: so what is heard says that changes would be.
    fn beat(&self) -> Call<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Somebody who listens.
pub trait Subscription: Send {
    /// The next message, in the order of the commits. An error means that messages may have been lost; the subscription
    /// is good for nothing then. Waits without a deadline: a connection that died without a word is silent. A dropped
    /// future loses no message.
    fn next(&mut self) -> Call<'_, FeedMessage>;
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedMessage {
    /// These sessions changed or are gone.
    Sessions(Vec<Digest>),
    /// This user changed or is gone, or many of their sessions are.
    User(UserId),
    /// Anything may have changed.
    Everything,
    /// Nothing changed: sent at this moment of the database's clock.
    Beat(Timestamp),
    /// Words of another version; anything may have changed.
    Unknown,
}

impl FeedMessage {
    /// Reads a payload.
    #[must_use]
    pub fn parse(payload: &str) -> Self {
        Self::known(payload).unwrap_or(Self::Unknown)
    }

    fn known(payload: &str) -> Option<Self> {
        if payload == "f" {
            return Some(Self::Everything);
        }
        let (kind, rest) = payload.split_once(':')?;
        match kind {
            "s" => digests(rest).map(Self::Sessions),
            "u" => Uuid::try_parse(rest).ok().map(|id| Self::User(UserId(id))),
            "h" => rest
                .parse()
                .ok()
                .map(|micros| Self::Beat(Timestamp::from_micros(micros))),
            _ => None,
        }
    }
}

/// Digests in hex, one after the other; at least one.
fn digests(text: &str) -> Option<Vec<Digest>> {
    let bytes = hex::decode(text).ok()?;
    let (digests, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && !digests.is_empty()).then(|| digests.iter().copied().map(Digest).collect())
}

/// The channel of `schema`, as the trigger function of migration 5 names it.
pub(super) fn channel(schema: &str) -> String {
    if schema.len() <= PLAIN {
        return format!("portcullis_{schema}");
    }
    let hash = hex::encode(digest::digest(&digest::SHA256, schema.as_bytes()));
    format!("portcullis_{}", &hash[..40])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_triggers_write_is_read_and_anything_else_is_unknown() {
        let one = Digest([0xab; 32]);
        let user = Uuid::from_u128(7);
        for (payload, message) in [
            (format!("s:{}", "ab".repeat(32)), FeedMessage::Sessions(vec![one])),
            (format!("s:{}", "ab".repeat(96)), FeedMessage::Sessions(vec![one; 3])),
            (format!("u:{user}"), FeedMessage::User(UserId(user))),
            ("f".to_owned(), FeedMessage::Everything),
            (
                "h:1769860800000000".to_owned(),
                FeedMessage::Beat(Timestamp::from_micros(1_769_860_800_000_000)),
            ),
        ] {
            assert_eq!(FeedMessage::parse(&payload), message, "{payload}");
        }
        let odd = format!("s:{}", "ab".repeat(31));
        let broken = format!("s:{}x", "ab".repeat(31));
        for payload in [
            "", "f:", "F", "s", "s:", "u:", "u:7", "h:", "h:soon", "x:1", "s:ä", &odd, &broken,
        ] {
            assert_eq!(FeedMessage::parse(payload), FeedMessage::Unknown, "{payload}");
        }
    }

    #[test]
    fn the_name_of_a_channel_fits_whatever_the_schema_is_called() {
        assert_eq!(channel("portcullis"), "portcullis_portcullis");
        assert_eq!(channel(&"s".repeat(52)).len(), 63);
        let long = channel(&"s".repeat(53));
        assert!(long.len() <= 63 && long != channel(&"s".repeat(54)), "{long}");
    }
}
