//! From the value of an application's cookie to the key of its row, as a list of steps.
//!
//! Each step is a fact about one library (names and vectors in the tests). A step that does not fit ends in *no key*:
//! the cookie is then nobody's, exactly as the application would take it. Tags are compared as text and in constant
//! time; a presented tag is never decoded, because lenient decoders take several spellings for one.

use super::envelope;
use super::keys::Secrets;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode;
use std::borrow::Cow;
use std::ops::Range;

/// Most bytes of a cookie's value that are looked at. Envelopes of Laravel have about 400.
pub(super) const MOST_VALUE: usize = 4_096;
/// Most characters of a tag: SHA-256 in hexadecimal.
const MOST_TAG: usize = 64;
/// Most bytes of a key.
const MOST_KEY: usize = 1_024;

/// How a tag is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `A-Za-z0-9+/`, padded or not.
    Standard {
        /// With `=` at the end.
        pad: bool,
    },
    /// `A-Za-z0-9-_`, padded or not.
    Url {
        /// With `=` at the end.
        pad: bool,
    },
    /// Lower-case hexadecimal.
    Hex,
}

impl Encoding {
    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Standard { pad: true } => STANDARD.encode(bytes),
            Self::Standard { pad: false } => STANDARD_NO_PAD.encode(bytes),
            Self::Url { pad: true } => URL_SAFE.encode(bytes),
            Self::Url { pad: false } => URL_SAFE_NO_PAD.encode(bytes),
            Self::Hex => hex::encode(bytes),
        }
    }

    /// Whether `presented` is how `tag` is spelled, compared in constant time.
    fn spells(self, tag: &[u8], presented: &str) -> bool {
        let mut text = [0_u8; MOST_TAG];
        let written = match self {
            Self::Standard { pad: true } => STANDARD.encode_slice(tag, &mut text).ok(),
            Self::Standard { pad: false } => STANDARD_NO_PAD.encode_slice(tag, &mut text).ok(),
            Self::Url { pad: true } => URL_SAFE.encode_slice(tag, &mut text).ok(),
            Self::Url { pad: false } => URL_SAFE_NO_PAD.encode_slice(tag, &mut text).ok(),
            Self::Hex => {
                let digits = text.get_mut(..2 * tag.len());
                digits.and_then(|digits| hex::encode_to_slice(tag, digits).ok().map(|()| 2 * tag.len()))
            }
        };
        written.is_some_and(|written| verify_slices_are_equal(&text[..written], presented.as_bytes()).is_ok())
    }
}

/// Which hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1: only in HMAC, where some applications still have it.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Hash {
    pub(super) fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        }
    }

    pub(super) fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        }
    }
}

/// How the key of a tag is made of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Derive {
    /// The secret's bytes.
    Nothing,
    /// `HMAC(hash, secret, salt)`: itsdangerous.
    Hmac(Hash, String),
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `decodeURIComponent`: `+` stays, and a malformed escape leaves the whole value as it is.
    PercentDecode,
    /// The value begins with this, which is cut.
    RequirePrefix(String),
    /// Put in front.
    AddPrefix(String),
    /// The value ends with the separator and a tag over what stands before the *last* separator, by any of the secrets;
    /// separator and tag are cut.
    HmacVerify {
        /// Hash of the HMAC.
        hash: Hash,
        /// Spelling of the tag.
        encoding: Encoding,
        /// What stands before the tag.
        separator: char,
        /// How the key is made.
        derive: Derive,
    },
    /// The hash of the value in lower-case hexadecimal, with something in front.
    HashHex {
        /// Which.
        hash: Hash,
        /// In front.
        prefix: String,
    },
    /// The standard alphabet; to be UTF-8 afterwards.
    Base64Decode,
    /// Everything before the first separator, or all.
    CutAfter(char),
    /// `id.secret`: the id is the key, and the row's column must hold the hash of the secret.
    SplitVerify {
        /// Between id and secret.
        separator: char,
        /// Column with the raw hash.
        column: String,
        /// Which.
        hash: Hash,
    },
    /// Laravel's encrypted cookie, bound to the cookie's name.
    LaravelDecrypt,
    /// Rails' signed cookie of `cookies.signed`, for the purpose `cookie.NAME`.
    RailsSigned,
    /// Refuses what begins with `digits::`.
    RefuseVersioned,
}

impl Step {
    /// `id.secret`, of whose secret this column holds the SHA-256.
    #[must_use]
    pub fn verify(column: &str) -> Self {
        Self::SplitVerify {
            separator: '.',
            column: column.to_owned(),
            hash: Hash::Sha256,
        }
    }
}

/// The key of a row, and what else the row must hold. It may be as good as a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Compared with the key column.
    pub text: String,
    /// A column and the bytes that it must hold, compared in constant time.
    pub verify: Option<(String, Vec<u8>)>,
}

/// The key of the row that `value` names; `None` when the application would not know it either. `cookie` is the name under
/// which it came; `now` in seconds since 1970, for envelopes that expire.
pub(super) fn run(steps: &[Step], value: &[u8], cookie: &str, secrets: &Secrets, now: i64) -> Option<Key> {
    if value.len() > MOST_VALUE {
        return None;
    }
    let mut text = Cow::Borrowed(std::str::from_utf8(unquoted(value)).ok()?);
    let mut verify = None;
    for step in steps {
        text = match step {
            Step::PercentDecode => decoded(text),
            Step::RequirePrefix(prefix) => {
                let inner = text.starts_with(prefix.as_str()).then_some(prefix.len()..text.len())?;
                part(text, inner)
            }
            Step::AddPrefix(prefix) => format!("{prefix}{text}").into(),
            Step::HmacVerify {
                hash,
                encoding,
                separator,
                derive,
            } => {
                let (message, tag) = text.rsplit_once(*separator)?;
                let keys = secrets.tag_keys(*hash, derive);
                let made_by = |key: &hmac::Key| encoding.spells(hmac::sign(key, message.as_bytes()).as_ref(), tag);
                let message = keys.iter().any(made_by).then_some(0..message.len())?;
                part(text, message)
            }
            Step::HashHex { hash, prefix } => {
                let digest = digest::digest(hash.digest(), text.as_bytes());
                format!("{prefix}{}", hex::encode(digest)).into()
            }
            Step::Base64Decode => String::from_utf8(FORGIVING.decode(text.as_bytes()).ok()?).ok()?.into(),
            Step::CutAfter(separator) => {
                let end = text.find(*separator).unwrap_or(text.len());
                part(text, 0..end)
            }
            Step::SplitVerify {
                separator,
                column,
                hash,
            } => {
                let (id, secret) = text.split_once(*separator)?;
                (!secret.is_empty()).then_some(())?;
                let digest = digest::digest(hash.digest(), secret.as_bytes());
                verify = Some((column.clone(), digest.as_ref().to_vec()));
                let id = 0..id.len();
                part(text, id)
            }
            Step::LaravelDecrypt => envelope::laravel(&text, cookie, secrets)?.into(),
            Step::RailsSigned => envelope::rails(&text, cookie, secrets, now)?.into(),
            Step::RefuseVersioned => (!is_versioned(&text)).then_some(text)?,
        };
    }
    // Postgres keeps no NUL: such a key is nobody's, and not a fault of the database.
    let fits = !text.is_empty() && text.len() <= MOST_KEY && !text.contains('\0');
    fits.then(|| Key {
        text: text.into_owned(),
        verify,
    })
}

/// What stands there of `text`, without another copy.
fn part(text: Cow<'_, str>, at: Range<usize>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[at]),
        Cow::Owned(mut text) => {
            text.truncate(at.end);
            text.drain(..at.start);
            Cow::Owned(text)
        }
    }
}

/// Padding or none, and spare bits as they come: what a decoder of the application takes, too.
const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Without the double quotes that stand around a value (RFC 6265, 4.1.1).
fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        all => all,
    }
}

fn decoded(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains('%') {
        return text;
    }
    let bytes = text.as_bytes();
    let escapes_fit = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .all(|(at, _)| {
            let digits = bytes.get(at + 1..at + 3);
            digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        });
    match percent_decode(bytes).decode_utf8() {
        Ok(plain) if escapes_fit => Cow::Owned(plain.into_owned()),
        _ => text,
    }
}

/// Ids that look like the stored form of another are refused by the library itself.
fn is_versioned(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && text[digits..].starts_with("::")
}

pub(super) fn tag_of(hash: Hash, key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hash.hmac(), key), message).as_ref().to_vec()
}

/// The key of tags that a secret makes.
pub(super) fn tag_key(hash: Hash, derive: &Derive, secret: &[u8]) -> hmac::Key {
    match derive {
        Derive::Nothing => hmac::Key::new(hash.hmac(), secret),
        Derive::Hmac(by, salt) => hmac::Key::new(hash.hmac(), &tag_of(*by, secret, salt.as_bytes())),
    }
}

pub(super) fn is_same(expected: &str, presented: &str) -> bool {
    verify_slices_are_equal(expected.as_bytes(), presented.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::preset::Preset;
    use super::*;

    const LARAVEL: &str = "eyJpdiI6IklDRWlJeVFsSmljb0tTb3JMQzB1THc9PSIsInZhbHVlIjoiT05uaHlzVlVmSDNRR1AvcWRhTUxZWjNHaVUxZHpFUlZKRHpUUEprL1YvNm5reHZ1U3Jqc1NqTkt4U3lyMEV5cjM0NlM3WEZ3NVB0bVYzMlJpODJ1aTlsd2sweVdQL202ajNkT3lMT1pUL0FORWJXcjhDZUdtb1c3ek5ENWphemsiLCJtYWMiOiI5NGIwMTQ3YTIxMzM5Nzk4NmQ5ZGNjZGVlODlmOTE5YWE3Mjc1NGNiYWVlMDZjNjM1ODJhODEyMTUxNTQ5OGViIiwidGFnIjoiIn0=";
    const RAILS: &str = "eyJfcmFpbHMiOnsibWVzc2FnZSI6Ik53PT0iLCJleHAiOiIyMDQ2LTExLTIxVDA4OjA0OjQzLjc5NVoiLCJwdXIiOiJjb29raWUuc2Vzc2lvbl9pZCJ9fQ%3D%3D--40e873bc43c813caa62429de6b297b09f1321e92";
    const RAILS_7: &str = "eyJfcmFpbHMiOnsibWVzc2FnZSI6Ik53PT0iLCJleHAiOiIyMDQ2LTExLTIxVDA4OjA0OjQzLjc5NVoiLCJwdXIiOiJjb29raWUuc2Vzc2lvbl9pZCJ9fQ%3D%3D--06f06efc6d17001cd356e83a3c0d8367e83c7da5";
    const NOW: i64 = 1_795_000_000;

    fn key_at(preset: Preset, cookie: &str, value: &str, secrets: &[&str], now: i64) -> Option<String> {
        let secrets = Secrets::of(secrets);
        run(&preset.mapping().steps, value.as_bytes(), cookie, &secrets, now).map(|key| key.text)
    }

    fn key(preset: Preset, value: &str, secret: &str) -> Option<String> {
        let cookie = preset.mapping().cookies[0].clone();
        key_at(preset, &cookie, value, &[secret], NOW)
    }

    #[test]
    fn express_cookies_that_the_library_signed_name_their_row() {
        for (secret, sid, value) in [
            (
                "keyboard cat",
                "AbCdEfGhIjKlMnOpQrStUvWxYz012345",
                "s%3AAbCdEfGhIjKlMnOpQrStUvWxYz012345.Rep3%2FFvg0qav4rmx0KMMPMPLPqwiVeA7cAX7m1k6618",
            ),
            (
                "keyboard cat",
                "aiq_1737500000000_k3j9x0q2z",
                "s%3Aaiq_1737500000000_k3j9x0q2z.PNN13Ow4FlceK6OnJokvXvX4vIjdXwPlxuwJEfoxN38",
            ),
            (
                "0123456789abcdef0123456789abcdef",
                "nS0-_zQ7cJf3oXyWb2eLkP9tRvUuHhGg",
                "s%3AnS0-_zQ7cJf3oXyWb2eLkP9tRvUuHhGg.5nN%2B0bxsBZ2EbUhG7JEyj1OP5ba4xIRwMDbBpKFiDnQ",
            ),
            (
                "sécrèt ☃",
                "dots.in.sid",
                "s%3Adots.in.sid.IPqexBogX4NaX56dPfHpPtQBbl9M9%2BwvkpugTGGdNc8",
            ),
            (
                "keyboard cat",
                "sid0",
                "s%3Asid0.hjffqvafnodC8S8w%2FeszTjZm%2Bk%2B2C%2FJcl%2BptM70Du%2F0",
            ),
            // Unencoded, and in quotes.
            (
                "keyboard cat",
                "sid0",
                "s:sid0.hjffqvafnodC8S8w/eszTjZm+k+2C/Jcl+ptM70Du/0",
            ),
            (
                "keyboard cat",
                "sid0",
                "\"s:sid0.hjffqvafnodC8S8w/eszTjZm+k+2C/Jcl+ptM70Du/0\"",
            ),
        ] {
            assert_eq!(key(Preset::Express, value, secret).as_deref(), Some(sid), "{value}");
        }
    }

    #[test]
    fn express_cookies_that_the_library_refuses_are_nobodys() {
        for value in [
            "s%3Asid0.hjffqvafnodC8S8w%2FeszTjZm%2Bk%2B2C%2FJcl%2BptM70Du%2F0%3D",
            "s%3Asid0.hjffqvafnodC8S8w_eszTjZm-k-2C_Jcl-ptM70Du_0",
            "s%3Asid0.hjffqvafnodC8S8w%2FeszTjZm%2Bk%2B2C%2FJcl%2BptM70Du%2F1",
            "s%3Asid0.hjffqvafnodC8S8w%2FeszTjZm%2Bk%2B2C%2FJcl%2BptM70Du%2F",
            "sid0.hjffqvafnodC8S8w/eszTjZm+k+2C/Jcl+ptM70Du/0",
            "s%3Asid0",
            "s%3Asid0.",
            "s%3A.",
            "",
            // A malformed escape leaves all of them as they are.
            "s%3Asid0.hjffqvafnodC8S8w%2FeszTjZm%2Bk%2B2C%2FJcl%2BptM70Du%2F0%zz",
            // A plus is no blank, and a blank no plus.
            "s:sid0.hjffqvafnodC8S8w/eszTjZm k 2C/Jcl ptM70Du/0",
        ] {
            assert_eq!(key(Preset::Express, value, "keyboard cat"), None, "{value}");
        }
        let good = "s%3Asid0.hjffqvafnodC8S8w%2FeszTjZm%2Bk%2B2C%2FJcl%2BptM70Du%2F0";
        assert_eq!(key(Preset::Express, good, "another"), None);
        let long = format!("s%3A{}.x", "a".repeat(MOST_VALUE));
        assert_eq!(key(Preset::Express, &long, "keyboard cat"), None);
    }

    #[test]
    fn an_empty_id_is_nobodys_however_well_it_is_signed() {
        let tag = Encoding::Standard { pad: false }.encode(&tag_of(Hash::Sha256, b"keyboard cat", b""));
        assert_eq!(key(Preset::Express, &format!("s:.{tag}"), "keyboard cat"), None);
        let tag = Encoding::Standard { pad: false }.encode(&tag_of(Hash::Sha256, b"keyboard cat", b"a\0b"));
        assert_eq!(key(Preset::Express, &format!("s%3Aa%00b.{tag}"), "keyboard cat"), None);
    }

    #[test]
    fn every_secret_of_a_rotation_verifies() {
        let value = "s%3Asid0.hjffqvafnodC8S8w%2FeszTjZm%2Bk%2B2C%2FJcl%2BptM70Du%2F0";
        let rotated = key_at(
            Preset::Express,
            "connect.sid",
            value,
            &["new secret", "keyboard cat"],
            NOW,
        );
        assert_eq!(rotated.as_deref(), Some("sid0"));
    }

    #[test]
    fn better_auth_pads_its_tags_and_express_does_not() {
        let secret = "better-auth-secret-0123456789abcdef";
        let token = "1wf9TcldgIswUx4PL83A5BZkYqbNXY8G";
        let value = format!("{token}.OWq4YoyEUrokJxXbwWbCcgmTVN%2FRMIj1AjQvu0bkQhg%3D");
        assert_eq!(key(Preset::BetterAuth, &value, secret).as_deref(), Some(token));
        let bare = value.trim_end_matches("%3D");
        assert_eq!(key(Preset::BetterAuth, bare, secret), None);
        assert_eq!(key(Preset::BetterAuth, &value, "another"), None);
        assert_eq!(key(Preset::BetterAuth, &value.replace("OWq4", "OWq5"), secret), None);
        assert_eq!(key(Preset::BetterAuth, token, secret), None);
        let other = "0123456789abcdefghijklmnopqrstuv.Bd1Z5wJPn0WPWWbd6qor+vPCZ0VIOudwQTrZvGQvWY4=";
        assert!(key(Preset::BetterAuth, other, secret).is_some());
    }

    #[test]
    fn raw_keys_are_taken_as_they_are() {
        let uuid = "a2cba005-cf77-4ed6-ae8d-1e34d2f0e3fd";
        for preset in [
            Preset::AuthJs,
            Preset::PlainTable,
            Preset::Django,
            Preset::TowerSessions,
            Preset::Lucia,
        ] {
            assert_eq!(key(preset, uuid, "").as_deref(), Some(uuid));
        }
        assert_eq!(
            key(Preset::TowerSessions, "EA8ODQwLCgkIBwYFBAMCAQ", "").as_deref(),
            Some("EA8ODQwLCgkIBwYFBAMCAQ")
        );
    }

    #[test]
    fn laravels_envelope_opens_for_its_own_cookie_name_only() {
        let secret = "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let at = |cookie: &str, value: &str, secret: &str| key_at(Preset::Laravel, cookie, value, &[secret], NOW);
        let id = Some("aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789AbCd");
        assert_eq!(at("laravel_session", LARAVEL, secret).as_deref(), id);
        assert_eq!(
            at("laravel_session", &LARAVEL.replace('=', "%3D"), secret).as_deref(),
            id
        );
        assert_eq!(at("other_session", LARAVEL, secret), None);
        let other = "base64:AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        assert_eq!(at("laravel_session", LARAVEL, other), None);
        assert_eq!(at("laravel_session", &LARAVEL[..200], secret), None);
        let open = |text: &str| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
        let bent = open(LARAVEL).replace("\"value\":\"ON", "\"value\":\"OM");
        assert_eq!(at("laravel_session", &STANDARD.encode(bent), secret), None);
    }

    #[test]
    fn rails_signed_cookies_are_checked_for_tag_purpose_and_end() {
        let secret = "a".repeat(64);
        let at = |cookie: &str, value: &str, now| key_at(Preset::Rails8, cookie, value, &[&secret], now);
        let end = 2_426_400_283;
        // The key as Rails derives it since 7.0, and before; the tag is by SHA-1 in both.
        for cookie in [RAILS_7, RAILS] {
            assert_eq!(at("session_id", cookie, NOW).as_deref(), Some("7"));
            assert_eq!(at("session_id", cookie, end - 1).as_deref(), Some("7"));
            assert_eq!(at("session_id", cookie, end), None);
            assert_eq!(at("user_id", cookie, NOW), None);
            let (message, tag) = cookie.rsplit_once("--").unwrap();
            for wrong in [
                format!("{message}--{}", tag.replace('6', "7")),
                format!("{message}--{}", tag.to_uppercase()),
                format!("{message}--{}", &tag[..20]),
                format!("{message}--"),
                message.to_owned(),
                format!("--{tag}"),
                // Another id under the same tag.
                cookie.replace("Ik53PT0i", "Ik9BPT0i"),
            ] {
                assert_eq!(at("session_id", &wrong, NOW), None, "{wrong}");
            }
            let other = key_at(Preset::Rails8, "session_id", cookie, &["another"], NOW);
            assert_eq!(other, None);
        }
        // An id that is a text, in a cookie without an end.
        let text = "eyJfcmFpbHMiOnsibWVzc2FnZSI6IkluVXROeUk9IiwiZXhwIjpudWxsLCJwdXIiOiJjb29raWUuc2Vzc2lvbl9pZCJ9fQ==--8e9fa8c853ef6ee9e175125d072b83dad24e5818";
        assert_eq!(at("session_id", text, NOW).as_deref(), Some("u-7"));
    }

    #[test]
    fn a_rails_application_that_signs_by_sha_256_is_understood() {
        let secret = "a".repeat(64);
        let message = RAILS_7.split_once("--").unwrap().0.replace("%3D", "=");
        let secrets = Secrets::of(&[&secret]);
        let tag = tag_of(Hash::Sha256, secrets.rails()[0].as_slice(), message.as_bytes());
        let cookie = format!("{message}--{}", hex::encode(tag));
        assert_eq!(key(Preset::Rails8, &cookie, &secret).as_deref(), Some("7"));
    }

    #[test]
    fn rails_ids_are_hashed_and_stored_forms_refused() {
        let value = "0123456789abcdef0123456789abcdef";
        let stored = "2::3eb1bd439947eb762998e566ccc2e099c791118b2f40579cc4f7da2b5061b7f9";
        assert_eq!(key(Preset::Rails, value, "").as_deref(), Some(stored));
        for refused in [stored, "12::x", "2::"] {
            assert_eq!(key(Preset::Rails, refused, ""), None, "{refused}");
        }
        assert!(key(Preset::Rails, "a2::x", "").is_some());
        // Rack reads escapes, so another spelling is the same session, and ended with it.
        assert_eq!(
            key(Preset::Rails, &value.replace('0', "%30"), "").as_deref(),
            Some(stored)
        );
        assert_eq!(key(Preset::Rails, "%32::x", ""), None);
    }

    #[test]
    fn tower_sessions_ids_are_read_with_their_escapes() {
        let escaped = key(Preset::TowerSessions, "%45A8ODQwLCgkIBwYFBAMCAQ", "");
        assert_eq!(escaped.as_deref(), Some("EA8ODQwLCgkIBwYFBAMCAQ"));
    }

    #[test]
    fn spring_ids_are_base64_of_what_is_stored() {
        let value = "M2Y4YjVjMWUtOWE0Ny00ZDdlLThmMGEtMWMyZDNlNGY1YTZi";
        let id = Some("3f8b5c1e-9a47-4d7e-8f0a-1c2d3e4f5a6b");
        assert_eq!(key(Preset::SpringSession, value, "").as_deref(), id);
        let routed = STANDARD.encode("3f8b5c1e-9a47-4d7e-8f0a-1c2d3e4f5a6b.node1");
        assert_eq!(key(Preset::SpringSession, &routed, "").as_deref(), id);
        assert_eq!(key(Preset::SpringSession, "!!!", ""), None);
    }

    #[test]
    fn flask_ids_get_their_prefix_and_the_old_signer_is_known() {
        let sid = "tocozXrd279Cy_ZNqCQd6xaYHFK1ZKU0MjO4LNJ4vvk";
        let stored = Some(format!("session:{sid}"));
        assert_eq!(key(Preset::FlaskSession, sid, ""), stored);
        let signed = [
            Step::HmacVerify {
                hash: Hash::Sha1,
                encoding: Encoding::Url { pad: false },
                separator: '.',
                derive: Derive::Hmac(Hash::Sha1, "flask-session".to_owned()),
            },
            Step::AddPrefix("session:".to_owned()),
        ];
        let value = format!("{sid}.K31xtKJQslG1jhe2TLGttptLadA");
        let secrets = Secrets::of(&["flask-secret"]);
        let key = |value: &str| run(&signed, value.as_bytes(), "session", &secrets, NOW).map(|key| key.text);
        assert_eq!(key(&value), stored);
        assert_eq!(key(sid), None);
        for wrong in [
            value.replace("LadA", "LadB"),
            format!("{value}="),
            value.replace('K', "k"),
            format!("{sid}."),
        ] {
            assert_eq!(key(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lucias_later_forms_are_presets() {
        let token = "mp3enctlv6ot7hyobf2mg5cmxv3mkx5y5nvhi3wz";
        let hashed = "0be73d41793fa6fb551e94f7dffe7df298954e2b0fa7514bb03b170c24e52b39";
        assert_eq!(key(Preset::LuciaHashed, token, "").as_deref(), Some(hashed));
        assert_ne!(key(Preset::LuciaHashed, hashed, "").as_deref(), Some(hashed));
        let none = Secrets::of(&[]);
        let split = Preset::LuciaSecret.mapping().steps;
        let key = run(&split, b"id.secret", "session", &none, NOW).unwrap();
        assert_eq!(key.text, "id");
        let expected = digest::digest(&digest::SHA256, b"secret").as_ref().to_vec();
        assert_eq!(key.verify, Some(("secret_hash".to_owned(), expected)));
        // What stands behind the first dot is the secret, other dots included.
        let dots = run(&split, b"id.a.b", "session", &none, NOW).unwrap();
        let expected = digest::digest(&digest::SHA256, b"a.b").as_ref().to_vec();
        assert_eq!((dots.text.as_str(), dots.verify.unwrap().1), ("id", expected));
        for wrong in [&b"id"[..], b"id.", b".secret", b"."] {
            assert!(run(&split, wrong, "session", &none, NOW).is_none());
        }
    }
}
