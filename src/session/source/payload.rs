//! What an application wrote into its row, read as JSON. No format that can name code to run is ever read: no Marshal,
//! pickle, PHP or Java.

use super::keys::Secrets;
use super::steps::Encoding;
use super::steps::Hash;
use super::steps::is_same;
use super::steps::tag_of;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::read::ZlibDecoder;
use rmpv::Value as Pack;
use secrecy::ExposeSecret;
use serde_json::Map;
use serde_json::Number;
use serde_json::Value;
use std::io::Read;

/// Most bytes of a payload that are read.
pub const MOST_PAYLOAD: usize = 64 * 1024;
/// Most bytes that a packed payload may unfold to.
const MOST_UNPACKED: u64 = 256 * 1024;
/// As deep as JSON is read, too.
const MOST_DEPTH: usize = 128;

/// How a payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadFormat {
    /// JSON, as text or in a column of that type.
    Json,
    /// `MessagePack`: a map, or an array whose first map it is (tower-sessions).
    MessagePack,
    /// Django's signed JSON, perhaps packed.
    DjangoSigned,
    /// Base64 of JSON, as activerecord-session_store's JSON serializer writes it.
    RailsJson,
}

/// Why a payload could not be read. The row is nobody's then; the application may take it all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Over 64 KiB, or over 256 KiB unpacked.
    #[error("it is too large")]
    Large,
    /// Not of this format.
    #[error("it is not of the format that was configured")]
    Format,
    /// No secret made its signature.
    #[error("none of the secrets signed it")]
    Signature,
}

/// What `payload` says.
///
/// # Errors
/// See [`PayloadError`].
pub(super) fn decode(format: PayloadFormat, payload: &[u8], secrets: &Secrets) -> Result<Value, PayloadError> {
    if payload.len() > MOST_PAYLOAD {
        return Err(PayloadError::Large);
    }
    match format {
        PayloadFormat::Json => json(payload),
        PayloadFormat::MessagePack => message_pack(payload),
        PayloadFormat::DjangoSigned => django(payload, secrets),
        PayloadFormat::RailsJson => {
            // In lines of 60.
            let text: Vec<u8> = payload
                .iter()
                .copied()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect();
            json(&STANDARD.decode(text).map_err(|_| PayloadError::Format)?)
        }
    }
}

fn json(bytes: &[u8]) -> Result<Value, PayloadError> {
    serde_json::from_slice(bytes).map_err(|_| PayloadError::Format)
}

fn message_pack(mut bytes: &[u8]) -> Result<Value, PayloadError> {
    let read = rmpv::decode::read_value_with_max_depth(&mut bytes, MOST_DEPTH).map_err(|_| PayloadError::Format)?;
    if !bytes.is_empty() {
        return Err(PayloadError::Format);
    }
    let map = match read {
        Pack::Array(items) => items.into_iter().find(Pack::is_map).ok_or(PayloadError::Format)?,
        other => other,
    };
    Ok(as_json(map))
}

/// What JSON has no word for becomes null, and a map's key that is no text is left out: neither names a user.
fn as_json(value: Pack) -> Value {
    match value {
        Pack::Boolean(truth) => Value::Bool(truth),
        Pack::Integer(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::Null,
        },
        Pack::F32(number) => Number::from_f64(number.into()).map_or(Value::Null, Value::Number),
        Pack::F64(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        Pack::String(text) => text.into_str().map_or(Value::Null, Value::String),
        Pack::Array(items) => Value::Array(items.into_iter().map(as_json).collect()),
        Pack::Map(pairs) => {
            let named = pairs.into_iter().filter_map(|(name, value)| match name {
                Pack::String(name) => Some((name.into_str()?, as_json(value))),
                _ => None,
            });
            Value::Object(named.collect::<Map<_, _>>())
        }
        Pack::Nil | Pack::Binary(_) | Pack::Ext(..) => Value::Null,
    }
}

/// `[.]base64url(JSON or zlib(JSON)):time:tag` (`django.core.signing`). Django itself takes a bad tag for an empty session.
fn django(payload: &[u8], secrets: &Secrets) -> Result<Value, PayloadError> {
    let text = std::str::from_utf8(payload).map_err(|_| PayloadError::Format)?;
    let (message, tag) = text.rsplit_once(':').ok_or(PayloadError::Format)?;
    let (data, _time) = message.rsplit_once(':').ok_or(PayloadError::Format)?;
    let signed = secrets.iter().any(|secret| {
        let key = django_key(SIGNER, secret.expose_secret());
        let expected = Encoding::Url { pad: false }.encode(&tag_of(Hash::Sha256, &key, message.as_bytes()));
        is_same(&expected, tag)
    });
    if !signed {
        return Err(PayloadError::Signature);
    }
    let (packed, data) = data.strip_prefix('.').map_or((false, data), |data| (true, data));
    let bytes = URL_SAFE_NO_PAD.decode(data).map_err(|_| PayloadError::Format)?;
    if packed { json(&unpacked(&bytes)?) } else { json(&bytes) }
}

/// `data:time` with the tag that Django writes behind it.
#[cfg(any(test, fuzzing))]
pub(super) fn signed_by_django(message: &str, secret: &[u8]) -> String {
    let tag = tag_of(Hash::Sha256, &django_key(SIGNER, secret), message.as_bytes());
    format!("{message}:{}", Encoding::Url { pad: false }.encode(&tag))
}

const SIGNER: &str = "django.contrib.sessions.SessionStoresigner";
const AUTH_HASH: &str = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash";

fn django_key(salt: &str, secret: &[u8]) -> Vec<u8> {
    let bytes = [salt.as_bytes(), secret].concat();
    digest::digest(&digest::SHA256, &bytes).as_ref().to_vec()
}

fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let mut plain = Vec::new();
    let mut reader = ZlibDecoder::new(bytes).take(MOST_UNPACKED + 1);
    reader.read_to_end(&mut plain).map_err(|_| PayloadError::Format)?;
    if plain.len() as u64 > MOST_UNPACKED {
        return Err(PayloadError::Large);
    }
    Ok(plain)
}

/// Whether Django would still take a session for its user's: `said` is the session's `_auth_user_hash`, `password` the
/// user's column. After a change of password it differs, though the row looks live.
pub(super) fn django_auth_hash_holds(said: &str, password: &str, secrets: &Secrets) -> bool {
    secrets.iter().any(|secret| {
        let key = django_key(AUTH_HASH, secret.expose_secret());
        let expected = Encoding::Hex.encode(&tag_of(Hash::Sha256, &key, password.as_bytes()));
        is_same(&expected, said)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const KEY: &str = "django-insecure-0123456789abcdefghijklmnopqrstuvwxyz0123456789";
    const DJANGO: &str = ".eJyrVopPLC3JiC8tTi2Kz0xRslIyVNJBFktKTM5OzQNJpGQl5qXn6yXn55UUZSbpgZToQWWL9XzzU1JznKBqUQzISCzOAOpOTEpWqgUAjnEncw:1taN7Y:EQ1f5qQCbJn3EiQQSoTyjMYDFyK8kufF-nIV7mDiJN4";

    fn read(format: PayloadFormat, payload: &[u8]) -> Result<Value, PayloadError> {
        decode(format, payload, &Secrets::of(&[KEY]))
    }

    #[test]
    fn djangos_text_is_read_when_a_secret_signed_it() {
        let said = json!({
            "_auth_user_id": "1",
            "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
            "_auth_user_hash": "abc",
        });
        assert_eq!(read(PayloadFormat::DjangoSigned, DJANGO.as_bytes()), Ok(said.clone()));
        let rotated = Secrets::of(&["new", KEY]);
        assert_eq!(
            decode(PayloadFormat::DjangoSigned, DJANGO.as_bytes(), &rotated),
            Ok(said)
        );
        let other = Secrets::of(&["another"]);
        let refused = Err(PayloadError::Signature);
        assert_eq!(decode(PayloadFormat::DjangoSigned, DJANGO.as_bytes(), &other), refused);
        let bent = DJANGO.replace(":1taN7Y:", ":1taN7Z:");
        assert_eq!(read(PayloadFormat::DjangoSigned, bent.as_bytes()), refused);
        assert_eq!(read(PayloadFormat::DjangoSigned, b"x"), Err(PayloadError::Format));
    }

    #[test]
    fn djangos_hash_of_the_password_must_be_that_of_the_password_now() {
        let password = "pbkdf2_sha256$1000000$YStdgI8PTUNsOn6bCohVdu$+JWTXjT/94PNKWk+gEhS94cHJzGVLt3plYF+Mm25j5o=";
        let said = "4c40a35af1f3c1e616e5d9598f1be402ea4e978bb78152fa13d3c11f9afa6015";
        assert!(django_auth_hash_holds(said, password, &Secrets::of(&[KEY])));
        assert!(django_auth_hash_holds(said, password, &Secrets::of(&["new", KEY])));
        assert!(!django_auth_hash_holds(
            said,
            "pbkdf2_sha256$1$changed",
            &Secrets::of(&[KEY])
        ));
        assert!(!django_auth_hash_holds("", password, &Secrets::of(&[KEY])));
        assert!(!django_auth_hash_holds(said, password, &Secrets::of(&[])));
    }

    #[test]
    fn message_pack_is_a_map_or_an_array_around_one() {
        let mut packed = Vec::new();
        let map = Pack::Map(vec![
            (Pack::from("_user_id"), Pack::from("42")),
            (Pack::from(7), Pack::from("no name")),
            (Pack::from("blob"), Pack::Binary(vec![1, 2])),
        ]);
        rmpv::encode::write_value(&mut packed, &map).unwrap();
        let said = json!({"_user_id": "42", "blob": null});
        assert_eq!(read(PayloadFormat::MessagePack, &packed), Ok(said.clone()));
        let tower = Pack::Array(vec![
            Pack::Binary(vec![0; 16]),
            map,
            Pack::Array(vec![Pack::from(2026)]),
        ]);
        let mut packed = Vec::new();
        rmpv::encode::write_value(&mut packed, &tower).unwrap();
        assert_eq!(read(PayloadFormat::MessagePack, &packed), Ok(said));
        packed.push(0);
        assert_eq!(read(PayloadFormat::MessagePack, &packed), Err(PayloadError::Format));
    }

    #[test]
    fn what_is_too_large_or_too_deep_or_unfolds_too_far_is_refused() {
        let large = vec![b' '; MOST_PAYLOAD + 1];
        assert_eq!(read(PayloadFormat::Json, &large), Err(PayloadError::Large));
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        assert_eq!(read(PayloadFormat::Json, deep.as_bytes()), Err(PayloadError::Format));
        // Arrays of one item in each other.
        assert_eq!(
            read(PayloadFormat::MessagePack, &[0x91; 1_000]),
            Err(PayloadError::Format)
        );
        // An array that says it has four thousand million items.
        let liar = [0xdd, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(read(PayloadFormat::MessagePack, &liar), Err(PayloadError::Format));
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut packer, &vec![b' '; 10_000_000]).unwrap();
        assert_eq!(unpacked(&packer.finish().unwrap()), Err(PayloadError::Large));
    }

    #[test]
    fn rails_json_is_base64_in_lines() {
        let text = STANDARD.encode(r#"{"value":{"warden.user.user.key":[[1],"$2a$11$abc"]}}"#);
        let (first, second) = text.split_at(20);
        let said = read(PayloadFormat::RailsJson, format!("{first}\n{second}\n").as_bytes()).unwrap();
        assert_eq!(said.pointer("/value/warden.user.user.key/0/0"), Some(&json!(1)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for format in [
                PayloadFormat::Json,
                PayloadFormat::MessagePack,
                PayloadFormat::DjangoSigned,
                PayloadFormat::RailsJson,
            ] {
                let _ = read(format, &bytes);
            }
        }
    }
}
