use super::Call;
use crate::model::Digest;
use crate::model::Timestamp;
use crate::model::UserId;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use std::fmt;
use uuid::Uuid;

/// Most bytes of a schema's name that stand in its channel as they are; names of channels end after 63.
const PLAIN: usize = 52;
/// Bytes of a heartbeat's seal.
const SEAL: usize = 16;

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
    /// Any role of the database may tell anything, so it is sealed with `key`, by which gateways know each other's.
    fn beat(&self, _key: BeatKey) -> Call<'_, Beat> {
        Box::pin(std::future::ready(Ok(Beat::Sent)))
    }
}

/// What became of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// It is on its way.
    Sent,
    /// Not sent: the triggers that tell of changes are gone or switched off.
    Untold,
    /// Not sent: the server's queue of notifications is half full, because somebody listens and does not read.
    QueueFull,
}

impl Beat {
    /// By what the statement that sends one says.
    pub(super) fn of(outcome: Option<&str>) -> Self {
        match outcome {
            Some("untold") => Self::Untold,
            Some("full") => Self::QueueFull,
            _ => Self::Sent,
        }
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
    /// Nothing changed. Anybody may have said it.
    Beat(Heartbeat),
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
            "h" => heartbeat(rest).map(Self::Beat),
            _ => None,
        }
    }
}

/// A heartbeat as it was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    sent: Timestamp,
    seal: [u8; SEAL],
}

impl Heartbeat {
    /// When it was sent, by the database's clock; `None` where none of `keys` sealed it, so that no gateway of ours did.
    #[must_use]
    pub fn sent(&self, keys: &[BeatKey]) -> Option<Timestamp> {
        let is_ours = |key: &BeatKey| verify_slices_are_equal(&key.seal(self.sent), &self.seal).is_ok();
        keys.iter().any(is_ours).then_some(self.sent)
    }
}

/// What heartbeats are sealed with: the same in all gateways that share a session secret, and known to nobody else.
#[derive(Clone)]
pub struct BeatKey([u8; 32]);

impl BeatKey {
    /// From secret bytes that serve for nothing else: the database sees them.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A heartbeat of this moment.
    #[must_use]
    pub fn beat(&self, sent: Timestamp) -> Heartbeat {
        Heartbeat {
            sent,
            seal: self.seal(sent),
        }
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As the statement `beat` makes it. Two rounds, since a single one could be lengthened by who does not know the key.
    fn seal(&self, sent: Timestamp) -> [u8; SEAL] {
        let round = |text: &[u8]| {
            let mut context = digest::Context::new(&digest::SHA256);
            context.update(&self.0);
            context.update(text);
            context.finish()
        };
        let whole = round(round(sent.as_micros().to_string().as_bytes()).as_ref());
        let mut seal = [0; SEAL];
        seal.copy_from_slice(&whole.as_ref()[..SEAL]);
        seal
    }
}

impl fmt::Debug for BeatKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("BeatKey(…)")
    }
}

/// `<microseconds>:<seal in hex>`.
fn heartbeat(text: &str) -> Option<Heartbeat> {
    let (sent, seal) = text.split_once(':')?;
    let mut heard = Heartbeat {
        sent: Timestamp::from_micros(sent.parse().ok()?),
        seal: [0; SEAL],
    };
    hex::decode_to_slice(seal, &mut heard.seal).ok()?;
    Some(heard)
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
        let beat = BeatKey::new([7; 32]).beat(Timestamp::from_micros(1_769_860_800_000_000));
        for (payload, message) in [
            (format!("s:{}", "ab".repeat(32)), FeedMessage::Sessions(vec![one])),
            (format!("s:{}", "ab".repeat(96)), FeedMessage::Sessions(vec![one; 3])),
            (format!("u:{user}"), FeedMessage::User(UserId(user))),
            ("f".to_owned(), FeedMessage::Everything),
            (
                format!("h:1769860800000000:{}", hex::encode(beat.seal)),
                FeedMessage::Beat(beat),
            ),
        ] {
            assert_eq!(FeedMessage::parse(&payload), message, "{payload}");
        }
        let odd = format!("s:{}", "ab".repeat(31));
        let broken = format!("s:{}x", "ab".repeat(31));
        for payload in [
            "", "f:", "F", "s", "s:", "u:", "u:7", "h:", "h:soon", "h:7", "h:7:", "h:7:ab", "x:1", "s:ä", &odd, &broken,
        ] {
            assert_eq!(FeedMessage::parse(payload), FeedMessage::Unknown, "{payload}");
        }
    }

    #[test]
    fn a_heartbeat_counts_by_the_keys_of_gateways_only_and_for_its_own_moment() {
        let (ours, theirs) = (BeatKey::new([1; 32]), BeatKey::new([2; 32]));
        let sent = Timestamp::from_micros(1_769_860_800_000_000);
        let beat = ours.beat(sent);
        assert_eq!(beat.sent(&[theirs.clone(), ours.clone()]), Some(sent));
        assert_eq!(beat.sent(std::slice::from_ref(&theirs)), None);
        let moved = Heartbeat {
            sent: sent.plus(std::time::Duration::from_micros(1)),
            ..beat
        };
        assert_eq!(moved.sent(&[ours.clone(), theirs]), None);
        assert_eq!(format!("{ours:?}"), "BeatKey(…)");
    }

    #[test]
    fn the_name_of_a_channel_fits_whatever_the_schema_is_called() {
        assert_eq!(channel("portcullis"), "portcullis_portcullis");
        assert_eq!(channel(&"s".repeat(52)).len(), 63);
        let long = channel(&"s".repeat(53));
        assert!(long.len() <= 63 && long != channel(&"s".repeat(54)), "{long}");
    }
}
