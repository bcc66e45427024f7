//! Cookies that are envelopes: encrypted by Laravel, signed by Rails.

use super::keys::Secrets;
use super::steps::Encoding;
use super::steps::Hash;
use super::steps::is_same;
use super::steps::tag_of;
use aws_lc_rs::cipher::AES_256;
use aws_lc_rs::cipher::DecryptionContext;
use aws_lc_rs::cipher::PaddedBlockDecryptingKey;
use aws_lc_rs::cipher::UnboundCipherKey;
use aws_lc_rs::iv::FixedLength;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const AES_KEY: usize = 32;
/// Hexadecimal HMAC-SHA-1.
const NAME_TAG: usize = 40;

#[derive(Deserialize)]
struct Encrypted {
    iv: String,
    value: String,
    mac: String,
}

/// The id inside a cookie that Laravel's `EncryptCookies` made for the cookie of this name.
pub(super) fn laravel(text: &str, cookie: &str, secrets: &Secrets) -> Option<String> {
    let envelope: Encrypted = serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()?;
    secrets.iter().find_map(|secret| {
        let key = laravel_key(secret.expose_secret())?;
        opened(&envelope, &key).and_then(|plain| bound_to(&plain, cookie, &key))
    })
}

/// `base64:…` as in `APP_KEY`.
fn laravel_key(secret: &[u8]) -> Option<[u8; AES_KEY]> {
    let text = secret.strip_prefix(b"base64:")?;
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// The tag comes first: nothing that the application did not make is ever decrypted.
fn opened(envelope: &Encrypted, key: &[u8; AES_KEY]) -> Option<String> {
    let message = [envelope.iv.as_bytes(), envelope.value.as_bytes()].concat();
    let expected = Encoding::Hex.encode(&tag_of(Hash::Sha256, key, &message));
    if !is_same(&expected, &envelope.mac) {
        return None;
    }
    let iv: [u8; 16] = STANDARD.decode(&envelope.iv).ok()?.try_into().ok()?;
    let mut text = STANDARD.decode(&envelope.value).ok()?;
    let unbound = UnboundCipherKey::new(&AES_256, key).ok()?;
    let cipher = PaddedBlockDecryptingKey::cbc_pkcs7(unbound).ok()?;
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    let plain = cipher.decrypt(&mut text, context).ok()?;
    String::from_utf8(plain.to_vec()).ok()
}

/// The value of another cookie is no session id, though the same key encrypted it.
fn bound_to(plain: &str, cookie: &str, key: &[u8; AES_KEY]) -> Option<String> {
    let (tag, id) = plain.split_at_checked(NAME_TAG)?;
    let expected = Encoding::Hex.encode(&tag_of(Hash::Sha1, key, format!("{cookie}v2").as_bytes()));
    is_same(&expected, tag).then(|| id.strip_prefix('|').map(str::to_owned))?
}

#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "_rails")]
    rails: Inner,
}

#[derive(Deserialize)]
struct Inner {
    message: String,
    exp: Option<String>,
    pur: Option<String>,
}

/// The id inside a cookie of Rails' `cookies.signed`, made for the cookie of this name and not over at `now`.
///
/// The tag is by SHA-1 unless `signed_cookie_digest` says otherwise (Rails 8.1 too); its length tells. Only how the key is
/// derived changed with Rails 7.0.
pub(super) fn rails(text: &str, cookie: &str, secrets: &Secrets, now: i64) -> Option<String> {
    let (message, tag) = text.rsplit_once("--")?;
    let hash = if tag.len() == NAME_TAG {
        Hash::Sha1
    } else {
        Hash::Sha256
    };
    let keys = secrets.rails();
    let expected = |key: &[u8]| Encoding::Hex.encode(&tag_of(hash, key, message.as_bytes()));
    keys.iter()
        .any(|key| is_same(&expected(key.as_slice()), tag))
        .then_some(())?;
    let signed: Signed = serde_json::from_slice(&STANDARD.decode(message).ok()?).ok()?;
    if signed.rails.pur.as_deref() != Some(&format!("cookie.{cookie}")) {
        return None;
    }
    if let Some(end) = signed.rails.exp {
        let end = OffsetDateTime::parse(&end, &Rfc3339).ok()?;
        // Exact at the boundary, and fractions of a second count as over.
        (now < end.unix_timestamp()).then_some(())?;
    }
    match serde_json::from_slice(&STANDARD.decode(&signed.rails.message).ok()?).ok()? {
        serde_json::Value::String(id) => Some(id),
        serde_json::Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// A cookie as Laravel writes it, with an initialization vector that says nothing.
#[cfg(any(test, fuzzing))]
pub(super) fn sealed_by_laravel(id: &str, cookie: &str, secret: &[u8]) -> Option<String> {
    use aws_lc_rs::cipher::EncryptionContext;
    use aws_lc_rs::cipher::PaddedBlockEncryptingKey;
    let (key, iv) = (laravel_key(secret)?, [7_u8; 16]);
    let tag = Encoding::Hex.encode(&tag_of(Hash::Sha1, &key, format!("{cookie}v2").as_bytes()));
    let mut text = format!("{tag}|{id}").into_bytes();
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, &key).ok()?).ok()?;
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    cipher.less_safe_encrypt(&mut text, context).ok()?;
    let (iv, value) = (STANDARD.encode(iv), STANDARD.encode(text));
    let mac = Encoding::Hex.encode(&tag_of(Hash::Sha256, &key, format!("{iv}{value}").as_bytes()));
    let envelope = serde_json::json!({"iv": iv, "value": value, "mac": mac, "tag": ""});
    Some(STANDARD.encode(envelope.to_string()))
}

/// A cookie as Rails' `cookies.signed` writes it, by the last of the secrets: the id's length says by which of its keys and
/// which hash.
#[cfg(any(test, fuzzing))]
pub(super) fn signed_by_rails(id: &str, cookie: &str, secrets: &Secrets) -> String {
    let hash = if id.len() & 2 == 0 { Hash::Sha1 } else { Hash::Sha256 };
    let inner = STANDARD.encode(serde_json::json!(id).to_string());
    let rails = serde_json::json!({"_rails": {"message": inner, "exp": null, "pur": format!("cookie.{cookie}")}});
    let message = STANDARD.encode(rails.to_string());
    let key = secrets.rails().iter().rev().nth(id.len() & 1);
    let key = key.map_or(&[][..], |key| key.as_slice());
    let tag = Encoding::Hex.encode(&tag_of(hash, key, message.as_bytes()));
    format!("{message}--{tag}")
}
