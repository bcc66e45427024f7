use crate::model::Digest;
use aws_lc_rs::constant_time;
use aws_lc_rs::digest;
use aws_lc_rs::hkdf;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret;
use secrecy::SecretSlice;
use secrecy::SecretString;
use zeroize::Zeroizing;

const TOKEN: usize = 32;
const MAC: usize = 16;
/// 48 bytes in base64url: no padding and no spare bits, so each value has exactly one spelling.
const TEXT: usize = 64;

/// Derives one HMAC-SHA-256 key from each secret under `label` (HKDF-SHA-256, RFC 5869), so that no two uses share a key.
pub(super) fn derive(secrets: &[SecretSlice<u8>], label: &str) -> Vec<hmac::Key> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis");
    let derive_one = |secret: &SecretSlice<u8>| {
        let info = [label.as_bytes()];
        let prk = salt.extract(secret.expose_secret());
        let okm = prk.expand(&info, hmac::HMAC_SHA256);
        hmac::Key::from(okm.expect("32 bytes are fewer than the 8160 that HKDF-SHA-256 can give"))
    };
    secrets.iter().map(derive_one).collect()
}

/// What makes and checks cookie values: prefix + base64url(token ‖ first 16 bytes of HMAC-SHA-256(key, token)).
pub(super) struct Tokens {
    prefix: Vec<u8>,
    keys: Vec<hmac::Key>,
}

impl Tokens {
    pub(super) fn new(secrets: &[SecretSlice<u8>], prefix: &str) -> Self {
        Self {
            prefix: prefix.as_bytes().to_vec(),
            keys: derive(secrets, "cookie"),
        }
    }

    /// A fresh token from the operating system: its digest and the whole cookie value. `None` when there is no
    /// randomness or no secret to sign with.
    pub(super) fn mint(&self) -> Option<(Digest, SecretString)> {
        let mut token = Zeroizing::new([0_u8; TOKEN]);
        getrandom::fill(token.as_mut_slice()).ok()?;
        let value = self.sign(&token)?;
        Some((digest_of(&token), value))
    }

    /// The digest of a cookie value that one of our secrets signed. Allocates nothing; a forged value costs no look-up.
    pub(super) fn check(&self, value: &[u8]) -> Option<Digest> {
        let text = value.strip_prefix(self.prefix.as_slice())?;
        if text.len() != TEXT {
            return None;
        }
        let mut raw = Zeroizing::new([0_u8; TOKEN + MAC]);
        if URL_SAFE_NO_PAD.decode_slice(text, raw.as_mut_slice()) != Ok(TOKEN + MAC) {
            return None;
        }
        let (token, mac) = raw.split_first_chunk::<TOKEN>()?;
        let signed_by = |key: &hmac::Key| {
            let expected = hmac::sign(key, token);
            constant_time::verify_slices_are_equal(&expected.as_ref()[..MAC], mac).is_ok()
        };
        self.keys.iter().any(signed_by).then(|| digest_of(token))
    }

    /// The same token as in `value`, signed with the first secret. `None` when none of them signed `value`.
    pub(super) fn sign_again(&self, value: &[u8]) -> Option<SecretString> {
        self.check(value)?;
        let text = value.strip_prefix(self.prefix.as_slice())?;
        let mut raw = Zeroizing::new([0_u8; TOKEN + MAC]);
        URL_SAFE_NO_PAD.decode_slice(text, raw.as_mut_slice()).ok()?;
        let (token, _) = raw.split_first_chunk::<TOKEN>()?;
        self.sign(token)
    }

    /// The whole cookie value of a token. `None` without a secret to sign with.
    fn sign(&self, token: &[u8; TOKEN]) -> Option<SecretString> {
        let mac = hmac::sign(self.keys.first()?, token);
        let mut raw = Zeroizing::new([0_u8; TOKEN + MAC]);
        raw[..TOKEN].copy_from_slice(token);
        raw[TOKEN..].copy_from_slice(&mac.as_ref()[..MAC]);
        // Reserved whole, so that no growing leaves a copy of the token behind.
        let mut value = String::with_capacity(self.prefix.len() + TEXT);
        value.push_str(&String::from_utf8_lossy(&self.prefix));
        URL_SAFE_NO_PAD.encode_string(raw.as_slice(), &mut value);
        Some(SecretString::from(value))
    }

    /// Reads the values of one request's cookies of our name.
    pub(super) fn read(&self, values: &[&[u8]]) -> Named {
        let mut named = Named {
            any: !values.is_empty(),
            ..Named::nobody()
        };
        for value in values.iter().take(Named::MOST_VALUES) {
            if let Some(digest) = self.check(value) {
                named.add(digest);
            }
        }
        named
    }
}

fn digest_of(token: &[u8; TOKEN]) -> Digest {
    let mut bytes = [0_u8; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
    Digest(bytes)
}

/// The sessions that one request names, each once, in the order of its cookies.
pub(super) struct Named {
    /// Whether there was any cookie of our name.
    pub(super) any: bool,
    count: usize,
    digests: [Digest; Self::MOST],
}

impl Named {
    /// Most sessions looked up for one request.
    const MOST: usize = 4;
    /// Most values whose signature is checked: a head of 64 KiB could hold a thousand.
    pub(super) const MOST_VALUES: usize = 32;

    /// No session.
    pub(super) const fn nobody() -> Self {
        Self {
            any: false,
            count: 0,
            digests: [Digest([0; 32]); Self::MOST],
        }
    }

    pub(super) fn digests(&self) -> &[Digest] {
        &self.digests[..self.count]
    }

    /// One session more, where there is room and it is not named yet.
    pub(super) fn add(&mut self, digest: Digest) {
        if self.count < Self::MOST && !self.digests().contains(&digest) {
            self.digests[self.count] = digest;
            self.count += 1;
        }
    }

    pub(super) fn add_all(&mut self, others: &Self) {
        for digest in others.digests() {
            self.add(*digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret(byte: u8) -> SecretSlice<u8> {
        SecretSlice::from(vec![byte; 32])
    }

    fn tokens(secrets: &[SecretSlice<u8>]) -> Tokens {
        Tokens::new(secrets, "aiq_")
    }

    fn minted(tokens: &Tokens) -> (Digest, String) {
        let (digest, value) = tokens.mint().unwrap();
        (digest, value.expose_secret().to_owned())
    }

    #[test]
    fn a_minted_value_is_prefix_and_64_characters_and_names_its_digest() {
        let tokens = tokens(&[secret(1)]);
        let (digest, value) = minted(&tokens);
        assert_eq!(value.len(), 4 + TEXT);
        assert_eq!(tokens.check(value.as_bytes()), Some(digest));
        let raw = URL_SAFE_NO_PAD.decode(&value[4..]).unwrap();
        assert_eq!(digest::digest(&digest::SHA256, &raw[..TOKEN]).as_ref(), &digest.0);
        assert_ne!(minted(&tokens).0, digest);
    }

    #[test]
    fn the_prefix_is_required() {
        let tokens = tokens(&[secret(1)]);
        let (_, value) = minted(&tokens);
        assert_eq!(tokens.check(&value.as_bytes()[4..]), None);
        assert_eq!(tokens.check(value.replace("aiq_", "aiQ_").as_bytes()), None);
    }

    #[test]
    fn the_first_secret_signs_and_all_verify() {
        let old = tokens(&[secret(1)]);
        let both = tokens(&[secret(2), secret(1)]);
        let new = tokens(&[secret(2)]);
        let (digest, value) = minted(&old);
        assert_eq!(both.check(value.as_bytes()), Some(digest));
        assert_eq!(new.check(value.as_bytes()), None);
        let (digest, value) = minted(&both);
        assert_eq!(new.check(value.as_bytes()), Some(digest));
        assert_eq!(old.check(value.as_bytes()), None);
    }

    #[test]
    fn a_token_is_signed_again_with_the_first_secret_and_stays_the_same() {
        let old = tokens(&[secret(1)]);
        let both = tokens(&[secret(2), secret(1)]);
        let new = tokens(&[secret(2)]);
        let (digest, value) = minted(&old);
        let again = both.sign_again(value.as_bytes()).unwrap();
        assert_ne!(again.expose_secret(), value);
        assert_eq!(new.check(again.expose_secret().as_bytes()), Some(digest));
        let same = both.sign_again(again.expose_secret().as_bytes()).unwrap();
        assert_eq!(same.expose_secret(), again.expose_secret());
        assert!(new.sign_again(value.as_bytes()).is_none());
    }

    #[test]
    fn padding_white_space_and_the_other_alphabet_are_refused() {
        let tokens = tokens(&[secret(1)]);
        let (_, value) = minted(&tokens);
        for other in [
            format!("{value}="),
            format!("{value}A"),
            format!(" {value}"),
            value[..67].to_owned(),
        ] {
            assert_eq!(tokens.check(other.as_bytes()), None, "{other}");
        }
        let with_symbols = std::iter::repeat_with(|| minted(&tokens).1).find(|value| value[4..].contains(['-', '_']));
        let standard = format!("aiq_{}", with_symbols.unwrap()[4..].replace('-', "+").replace('_', "/"));
        assert_eq!(tokens.check(standard.as_bytes()), None);
    }

    #[test]
    fn keys_differ_by_label_and_by_secret() {
        let tag = |key: &hmac::Key| hmac::sign(key, b"x").as_ref().to_vec();
        let cookie = derive(&[secret(1), secret(2)], "cookie");
        let form = derive(&[secret(1)], "form");
        assert_ne!(tag(&cookie[0]), tag(&cookie[1]));
        assert_ne!(tag(&cookie[0]), tag(&form[0]));
        assert_eq!(tag(&cookie[0]), tag(&derive(&[secret(1)], "cookie")[0]));
    }

    #[test]
    fn a_request_names_each_session_once_and_at_most_four() {
        let tokens = tokens(&[secret(1)]);
        let values: Vec<_> = (0..6).map(|_| minted(&tokens)).collect();
        let mut lines: Vec<&[u8]> = vec![b"forged", values[0].1.as_bytes(), values[0].1.as_bytes()];
        lines.extend(values[1..].iter().map(|(_, value)| value.as_bytes()));
        let named = tokens.read(&lines);
        let expected: Vec<_> = values[..4].iter().map(|(digest, _)| *digest).collect();
        assert_eq!(named.digests(), expected);
        assert!(named.any);
        assert!(!tokens.read(&[]).any);
    }

    #[test]
    fn values_past_the_32nd_are_not_read() {
        let tokens = tokens(&[secret(1)]);
        let (_, value) = minted(&tokens);
        let mut lines: Vec<&[u8]> = vec![b"forged"; 31];
        lines.push(value.as_bytes());
        assert_eq!(tokens.read(&lines).digests().len(), 1);
        lines.insert(0, b"forged");
        assert_eq!(tokens.read(&lines).digests().len(), 0);
    }

    proptest! {
        #[test]
        fn no_invented_value_verifies(value in proptest::collection::vec(any::<u8>(), 0..80), text in "[A-Za-z0-9_-]{64}") {
            let tokens = tokens(&[secret(1), secret(2)]);
            prop_assert_eq!(tokens.check(&value), None);
            prop_assert_eq!(tokens.check(format!("aiq_{text}").as_bytes()), None);
        }

        #[test]
        fn no_altered_value_verifies(at in 0_usize..68, byte in any::<u8>()) {
            let tokens = tokens(&[secret(1)]);
            let (_, value) = minted(&tokens);
            let mut altered = value.clone().into_bytes();
            altered[at] = byte;
            prop_assume!(altered != value.as_bytes());
            prop_assert_eq!(tokens.check(&altered), None);
        }
    }
}
