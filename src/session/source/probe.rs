//! What cookies and payloads of applications must never do to us, for any bytes. Each probe panics where a promise is
//! broken, and says nothing otherwise.

use super::Preset;
use super::envelope;
use super::facts;
use super::facts::Row;
use super::keys::Secrets;
use super::mapping::Mapping;
use super::mapping::Place;
use super::payload;
use super::payload::MOST_PAYLOAD;
use super::payload::PayloadError;
use super::payload::PayloadFormat;
use super::steps;
use super::steps::Derive;
use super::steps::Encoding;
use super::steps::Hash;
use super::steps::MOST_VALUE;
use super::steps::Step;
use super::steps::tag_of;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::percent_decode_str;
use percent_encoding::utf8_percent_encode;
use rmpv::Value as Pack;
use secrecy::SecretSlice;
use serde_json::Value;
use std::sync::LazyLock;

const NOW: i64 = 1_795_000_000;
const MOST_KEY: usize = 1_024;
const MOST_DEPTH: usize = 128;
const MOST_UNPACKED: usize = 256 * 1024;
/// Serves every library: Laravel's must be 32 bytes in base64, the others take any text.
const SECRET: &[u8] = b"base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The one that signs stands behind another, as in the middle of a rotation.
static SECRETS: LazyLock<Secrets> = LazyLock::new(|| of(&[b"new", SECRET]));
static OTHERS: LazyLock<Secrets> = LazyLock::new(|| of(&[b"another", b"base64:AAAA"]));

fn of(secrets: &[&[u8]]) -> Secrets {
    Secrets::new(
        secrets
            .iter()
            .map(|secret| SecretSlice::from(secret.to_vec()))
            .collect(),
    )
}

/// The steps of a preset, with the name of its cookie.
pub(crate) fn preset(preset: Preset, bytes: &[u8]) {
    let mapping = preset.mapping();
    cookie(&mapping.steps, &mapping.cookies[0], bytes);
}

/// The signer of Flask-Session, which is itsdangerous'.
pub(crate) fn flask_signed(bytes: &[u8]) {
    let signed = Step::HmacVerify {
        hash: Hash::Sha1,
        encoding: Encoding::Url { pad: false },
        separator: '.',
        derive: Derive::Hmac(Hash::Sha1, "flask-session".to_owned()),
    };
    cookie(&[signed, Step::AddPrefix("session:".to_owned())], "session", bytes);
}

/// `id.secret`, and the hash of the whole: what Lucia's documents advise.
pub(crate) fn lucia_later(bytes: &[u8]) {
    preset(Preset::LuciaSecret, bytes);
    preset(Preset::LuciaHashed, bytes);
}

/// A cookie's value as it may come from anybody, and one that the application made for an id of these bytes.
fn cookie(steps: &[Step], name: &str, bytes: &[u8]) {
    let run = |value: &[u8], name: &str, secrets: &Secrets| steps::run(steps, value, name, secrets, NOW);
    let is_signed = |step: &Step| matches!(step, Step::HmacVerify { .. } | Step::LaravelDecrypt | Step::RailsSigned);
    let key = run(bytes, name, &SECRETS);
    assert!(key == run(bytes, name, &SECRETS), "it depends on more than its bytes");
    if let Some(key) = &key {
        assert!(bytes.len() <= MOST_VALUE, "a value without a bound");
        assert!((1..=MOST_KEY).contains(&key.text.len()) && !key.text.contains('\0'));
        assert!(key.verify.as_ref().is_none_or(|(_, hash)| hash.len() == 32));
        if steps.iter().any(is_signed) {
            assert!(run(bytes, name, &OTHERS).is_none(), "whoever signed it");
            assert!(
                is_only_spelling(steps, bytes, &key.text),
                "two spellings of one signature"
            );
        }
    }
    let Ok(id) = std::str::from_utf8(bytes) else { return };
    let Some((made, expected)) = made(steps, name, id) else {
        return;
    };
    let found = run(made.as_bytes(), name, &SECRETS).map(|key| key.text);
    let fits = (1..=MOST_KEY).contains(&expected.len()) && !expected.contains('\0');
    let expected = (fits && made.len() <= MOST_VALUE).then_some(expected);
    assert_eq!(found, expected, "what the application made is {made:?}");
    if steps.iter().any(is_signed) {
        for behind in ["=", "%3D", " ", "%20", ".", "A", "\0"] {
            let bent = format!("{made}{behind}");
            assert!(run(bent.as_bytes(), name, &SECRETS).is_none(), "{bent:?} has no tag");
        }
    }
    let bound = |step: &Step| matches!(step, Step::LaravelDecrypt | Step::RailsSigned);
    if steps.iter().any(bound) {
        assert!(
            run(made.as_bytes(), "other", &SECRETS).is_none(),
            "a cookie of another name"
        );
    }
}

/// A tag is compared as text, so one signature has one spelling, but for escapes and quotes around it.
fn is_only_spelling(steps: &[Step], bytes: &[u8], key: &str) -> bool {
    let (mut text, mut signed) = (key.to_owned(), false);
    for step in steps.iter().rev() {
        match step {
            Step::HmacVerify { .. } => {
                text = with_tag(step, &text);
                signed = true;
            }
            Step::RequirePrefix(prefix) => text.insert_str(0, prefix),
            Step::AddPrefix(prefix) => text = text.strip_prefix(prefix.as_str()).unwrap_or_default().to_owned(),
            Step::PercentDecode => {}
            _ => return true,
        }
    }
    let presented = String::from_utf8_lossy(bytes);
    let bare = presented
        .strip_prefix('"')
        .and_then(|inner| inner.strip_suffix('"'))
        .unwrap_or(&presented);
    let plain = percent_decode_str(bare).decode_utf8_lossy();
    !signed || plain == text || bare == text
}

/// The cookie that an application writes for `id`, and the key of its row; `None` where it would not write one that can
/// be told from another.
fn made(steps: &[Step], cookie: &str, id: &str) -> Option<(String, String)> {
    let mut key = id.to_owned();
    for step in steps {
        match step {
            Step::AddPrefix(prefix) => key.insert_str(0, prefix),
            Step::HashHex { hash, prefix } => {
                let digest = aws_lc_rs::digest::digest(hash.digest(), key.as_bytes());
                key = format!("{prefix}{}", hex::encode(digest));
            }
            Step::CutAfter(separator) | Step::SplitVerify { separator, .. } if key.contains(*separator) => return None,
            Step::RefuseVersioned if key.trim_start_matches(|it: char| it.is_ascii_digit()).starts_with("::") => {
                return None;
            }
            _ => {}
        }
    }
    let mut value = id.to_owned();
    for step in steps.iter().rev() {
        value = match step {
            Step::PercentDecode => utf8_percent_encode(&value, NON_ALPHANUMERIC).to_string(),
            Step::RequirePrefix(prefix) => format!("{prefix}{value}"),
            Step::HmacVerify { .. } => with_tag(step, &value),
            Step::Base64Decode => STANDARD.encode(&value),
            Step::SplitVerify { separator, .. } => format!("{value}{separator}secret"),
            Step::CutAfter(separator) => format!("{value}{separator}node1"),
            Step::LaravelDecrypt => envelope::sealed_by_laravel(&value, cookie, SECRET)?,
            Step::RailsSigned => envelope::signed_by_rails(&value, cookie, &SECRETS),
            Step::AddPrefix(_) | Step::HashHex { .. } | Step::RefuseVersioned => value,
        };
    }
    // Quotes around a value are no part of it.
    (!value.starts_with('"')).then_some((value, key))
}

fn with_tag(step: &Step, message: &str) -> String {
    let Step::HmacVerify {
        hash,
        encoding,
        separator,
        derive,
    } = step
    else {
        return message.to_owned();
    };
    let key = match derive {
        Derive::Nothing => SECRET.to_vec(),
        Derive::Hmac(hash, salt) => tag_of(*hash, SECRET, salt.as_bytes()),
    };
    let tag = encoding.encode(&tag_of(*hash, &key, message.as_bytes()));
    format!("{message}{separator}{tag}")
}

/// A payload as it may stand in any row, and one that the library made of it.
pub(crate) fn payload(format: PayloadFormat, bytes: &[u8]) {
    let read = payload::decode(format, bytes, &SECRETS);
    if bytes.len() > MOST_PAYLOAD {
        assert_eq!(read, Err(PayloadError::Large));
        return;
    }
    if let Ok(value) = &read {
        assert!(size(value) <= bytes.len().max(MOST_UNPACKED), "more than was written");
        facts_hold(value);
    }
    if format == PayloadFormat::DjangoSigned && read.is_ok() {
        let other = payload::decode(format, bytes, &OTHERS);
        assert_eq!(other, Err(PayloadError::Signature), "whoever signed it");
    }
    let Ok(said) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    facts_hold(&said);
    // A number with a fraction may change its last digit on the way, and names nobody.
    if depth(&said) > MOST_DEPTH / 2 || has_fraction(&said) {
        return;
    }
    let Some(written) = written(format, &said) else { return };
    let again = payload::decode(format, &written, &SECRETS);
    if written.len() > MOST_PAYLOAD {
        assert_eq!(again, Err(PayloadError::Large));
    } else {
        assert_eq!(
            again.as_ref(),
            Ok(&said),
            "what the library wrote is read as something else"
        );
    }
}

/// As the library writes it; `None` where it never writes such a thing.
fn written(format: PayloadFormat, said: &Value) -> Option<Vec<u8>> {
    let text = said.to_string();
    match format {
        PayloadFormat::Json => Some(text.into_bytes()),
        PayloadFormat::MessagePack => {
            let mut packed = Vec::new();
            // Writing to memory cannot fail. A list would be read as what stands around a map.
            rmpv::encode::write_value(&mut packed, &as_pack(said)).ok()?;
            (!said.is_array()).then_some(packed)
        }
        PayloadFormat::DjangoSigned => {
            let packed = text.len() % 2 == 1;
            let data = if packed {
                format!(".{}", URL_SAFE_NO_PAD.encode(deflated(text.as_bytes())))
            } else {
                URL_SAFE_NO_PAD.encode(&text)
            };
            Some(payload::signed_by_django(&format!("{data}:1taN7Y"), SECRET).into_bytes())
        }
        PayloadFormat::RailsJson => {
            let text = STANDARD.encode(text).into_bytes();
            Some(text.chunks(60).collect::<Vec<_>>().join(&b'\n'))
        }
    }
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let written = std::io::Write::write_all(&mut packer, bytes).and_then(|()| packer.finish());
    written.expect("writing to memory cannot fail")
}

fn as_pack(value: &Value) -> Pack {
    match value {
        Value::Null => Pack::Nil,
        Value::Bool(truth) => Pack::from(*truth),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Pack::from(number),
            (None, Some(number)) => Pack::from(number),
            (None, None) => Pack::Nil,
        },
        Value::String(text) => Pack::from(text.as_str()),
        Value::Array(items) => Pack::Array(items.iter().map(as_pack).collect()),
        Value::Object(pairs) => Pack::Map(
            pairs
                .iter()
                .map(|(name, value)| (Pack::from(name.as_str()), as_pack(value)))
                .collect(),
        ),
    }
}

/// Values and bytes of text.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(pairs) => {
            1 + pairs
                .iter()
                .map(|(name, value)| name.len() + size(value))
                .sum::<usize>()
        }
        _ => 1,
    }
}

fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(pairs) => pairs.values().map(depth).max(),
        _ => None,
    };
    1 + deepest.unwrap_or(0)
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(pairs) => pairs.values().any(has_fraction),
        _ => false,
    }
}

static MAPPING: LazyLock<Mapping> = LazyLock::new(|| {
    let places = |texts: &[&str]| texts.iter().filter_map(|text| Place::parse(text).ok()).collect();
    Mapping {
        user: places(&[
            "/passport/user",
            "/userId",
            "/_auth_user_id",
            "/_user_id",
            "/value/warden.user.user.key/0/0",
        ]),
        email: places(&["/email"]),
        name: places(&["/name"]),
        groups: places(&["/roles"]),
        ..Preset::Express.mapping()
    }
});

/// What reaches rules, headers and logs is bounded and can stand there.
fn facts_hold(payload: &Value) {
    let row = Row {
        payload: payload.clone(),
        ..Row::default()
    };
    if let Some(subject) = facts::subject(&MAPPING, &row) {
        assert!((1..=256).contains(&subject.len()) && !subject.chars().any(char::is_control));
        let principal = facts::principal("crm", &subject);
        let name = principal.as_str();
        assert!(
            name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','),
            "{name}"
        );
        let encoded = name.strip_prefix("crm:").unwrap_or_default();
        let plain = percent_decode_str(encoded).decode_utf8_lossy();
        assert_eq!(plain, subject, "two subjects of one name");
    }
    if let Some(email) = facts::email(&MAPPING, &row) {
        assert!(email.len() <= 254 && email.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(email.matches('@').count() == 1 && !email.contains(','));
    }
    if let Some(name) = facts::name(&MAPPING, &row) {
        assert!((1..=128).contains(&name.len()) && !name.chars().any(char::is_control));
    }
    let (groups, _) = facts::groups(&MAPPING, &row);
    assert!(groups.len() <= 100 && groups.is_sorted());
    for group in groups {
        assert!((1..=128).contains(&group.len()) && !group.contains(',') && !group.chars().any(char::is_control));
    }
}
