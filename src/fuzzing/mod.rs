//! What every decoder promises for any bytes whatever: it never panics, its output is bounded, and what the other side
//! made is read as what was meant.
//!
//! It decides nothing and is part of no program: it is compiled for tests and for the targets in `fuzz/` only.
//!
//! Called by the targets of `fuzz/`, and by its own tests, which feed every target its seeds and some thousands of
//! changed ones, so that none of them rots where no fuzzer runs.
//!
//! What must always hold: a target is a pure function of its bytes. Nothing is lost with it.

#[cfg(test)]
mod tests;

use crate::model::UserId;
use crate::net::probe as net;
use crate::portal::probe as portal;
use crate::session::PayloadFormat;
use crate::session::Preset;
use crate::session::source_probe as source;
use crate::store::BeatKey;
use crate::store::FeedMessage;
use crate::web::CookiePairs;

/// A decoder and its promises.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Of its file in `fuzz/fuzz_targets` and its folder in `fuzz/seeds`.
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub run: fn(&[u8]),
}

/// All.
pub const TARGETS: &[Target] = &[
    target("chunked_body", net::chunks),
    target("cookie_authjs", |bytes| source::preset(Preset::AuthJs, bytes)),
    target("cookie_better_auth", |bytes| source::preset(Preset::BetterAuth, bytes)),
    target("cookie_django", |bytes| source::preset(Preset::Django, bytes)),
    target("cookie_express", |bytes| source::preset(Preset::Express, bytes)),
    target("cookie_flask_session", |bytes| {
        source::preset(Preset::FlaskSession, bytes);
    }),
    target("cookie_flask_signed", source::flask_signed),
    target("cookie_header", cookie_header),
    target("cookie_laravel", |bytes| source::preset(Preset::Laravel, bytes)),
    target("cookie_lucia", |bytes| source::preset(Preset::Lucia, bytes)),
    target("cookie_lucia_later", source::lucia_later),
    target("cookie_plain_table", |bytes| source::preset(Preset::PlainTable, bytes)),
    target("cookie_rails", |bytes| source::preset(Preset::Rails, bytes)),
    target("cookie_rails8", |bytes| source::preset(Preset::Rails8, bytes)),
    target("cookie_spring_session", |bytes| {
        source::preset(Preset::SpringSession, bytes);
    }),
    target("cookie_tower_sessions", |bytes| {
        source::preset(Preset::TowerSessions, bytes);
    }),
    target("feed_message", feed_message),
    target("payload_django_signed", |bytes| {
        source::payload(PayloadFormat::DjangoSigned, bytes);
    }),
    target("payload_json", |bytes| source::payload(PayloadFormat::Json, bytes)),
    target("payload_message_pack", |bytes| {
        source::payload(PayloadFormat::MessagePack, bytes);
    }),
    target("payload_rails_json", |bytes| {
        source::payload(PayloadFormat::RailsJson, bytes);
    }),
    target("request_head", net::head),
    target("return_address", portal::return_address),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// Runs one target.
///
/// # Panics
/// A promise is broken, or there is no target of this name.
pub fn run(name: &str, bytes: &[u8]) {
    let found = TARGETS.iter().find(|target| target.name == name);
    let target = found.unwrap_or_else(|| unreachable!("{name} is no target of src/fuzzing"));
    (target.run)(bytes);
}

/// A Cookie line: every byte but white space and separators is in exactly one pair.
fn cookie_header(bytes: &[u8]) {
    let pairs: Vec<_> = CookiePairs::new(bytes).collect();
    let pieces = bytes.split(|byte| *byte == b';');
    assert_eq!(pairs.len(), pieces.clone().count());
    for ((name, value), piece) in pairs.into_iter().zip(pieces) {
        assert!(!name.contains(&b';') && !name.contains(&b'=') && !value.contains(&b';'));
        assert!(name.trim_ascii() == name && value.trim_ascii() == value);
        let kept = [name, value].concat();
        let is_kept = |byte: &&u8| !byte.is_ascii_whitespace();
        let bare: Vec<u8> = kept.iter().filter(is_kept).copied().collect();
        let equals = usize::from(piece.contains(&b'='));
        let whole = piece.iter().filter(is_kept).count();
        assert_eq!(bare.len() + equals, whole, "bytes of {piece:?} are lost");
    }
}

/// A notification: what is read is what was written, and nobody's heartbeat counts without the key.
fn feed_message(bytes: &[u8]) {
    let Ok(payload) = std::str::from_utf8(bytes) else {
        return;
    };
    match FeedMessage::parse(payload) {
        FeedMessage::Sessions(digests) => {
            let hex: String = digests.iter().map(|digest| hex::encode(digest.0)).collect();
            assert_eq!(format!("s:{hex}"), payload.to_ascii_lowercase());
        }
        FeedMessage::User(UserId(id)) => {
            let digits = |text: &str| -> String { text.chars().filter(char::is_ascii_hexdigit).collect() };
            let said = payload.trim_start_matches("u:").trim_start_matches("urn:uuid:");
            assert_eq!(digits(&id.simple().to_string()), digits(&said.to_ascii_lowercase()));
        }
        FeedMessage::Everything => assert_eq!(payload, "f"),
        FeedMessage::Beat(beat) => {
            let ours = BeatKey::new([7; 32]);
            assert!(beat.sent(&[]).is_none() && beat.sent(&[BeatKey::new([8; 32])]).is_none());
            if let Some(sent) = beat.sent(std::slice::from_ref(&ours)) {
                assert_eq!(FeedMessage::Beat(ours.beat(sent)), FeedMessage::parse(payload));
            }
        }
        FeedMessage::Unknown => {}
    }
}
