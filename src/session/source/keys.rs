use super::steps::Derive;
use super::steps::Hash;
use super::steps::tag_key;
use aws_lc_rs::hmac;
use aws_lc_rs::pbkdf2;
use secrecy::ExposeSecret;
use secrecy::SecretSlice;
use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// What Rails' `ActiveSupport::KeyGenerator` does for `cookies.signed`.
const RAILS_ROUNDS: NonZeroU32 = NonZeroU32::new(1_000).expect("1000 is not zero");
const RAILS_SALT: &[u8] = b"signed cookie";

type RailsKeys = Vec<Zeroizing<[u8; 64]>>;

/// An application's own secrets: all verify, the first signs. They may be as short as the application allows.
#[derive(Debug, Default)]
pub struct Secrets {
    all: Vec<SecretSlice<u8>>,
    /// Made once: a thousand rounds a request would be a way to keep us busy.
    rails: OnceLock<RailsKeys>,
    /// Of the way that an application makes its tags: every request has one.
    tags: OnceLock<TagKeys>,
}

/// Keys made of each secret in one way.
#[derive(Debug)]
struct TagKeys {
    hash: Hash,
    derive: Derive,
    keys: Vec<hmac::Key>,
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        self.all.len() == other.all.len()
            && self
                .iter()
                .zip(other.iter())
                .all(|(one, two)| one.expose_secret() == two.expose_secret())
    }
}

impl Secrets {
    /// In the order of the configuration.
    #[must_use]
    pub fn new(secrets: Vec<SecretSlice<u8>>) -> Self {
        Self {
            all: secrets,
            rails: OnceLock::new(),
            tags: OnceLock::new(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SecretSlice<u8>> {
        self.all.iter()
    }

    /// Of each secret the key of its tags. Made once for the way that is asked for first, which is an application's only one.
    pub(super) fn tag_keys(&self, hash: Hash, derive: &Derive) -> Cow<'_, [hmac::Key]> {
        let each = || self.iter().map(|secret| tag_key(hash, derive, secret.expose_secret()));
        let known = self.tags.get_or_init(|| TagKeys {
            hash,
            derive: derive.clone(),
            keys: each().collect(),
        });
        if known.hash == hash && known.derive == *derive {
            Cow::Borrowed(&known.keys)
        } else {
            Cow::Owned(each().collect())
        }
    }

    /// Of each secret the key as Rails derives it since 7.0, and as it did before, which an application that was upgraded
    /// may still do.
    pub(super) fn rails(&self) -> &[Zeroizing<[u8; 64]>] {
        self.rails.get_or_init(|| {
            let derive = |secret: &SecretSlice<u8>, algorithm| {
                let mut key = Zeroizing::new([0_u8; 64]);
                pbkdf2::derive(
                    algorithm,
                    RAILS_ROUNDS,
                    RAILS_SALT,
                    secret.expose_secret(),
                    key.as_mut_slice(),
                );
                key
            };
            let both = [pbkdf2::PBKDF2_HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA1];
            let of = |secret| both.map(|algorithm| derive(secret, algorithm));
            self.all.iter().flat_map(of).collect()
        })
    }

    #[cfg(test)]
    pub(super) fn of(texts: &[&str]) -> Self {
        let secret = |text: &&str| SecretSlice::from(text.as_bytes().to_vec());
        Self::new(texts.iter().map(secret).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_were_made_for_one_way_are_not_taken_for_another() {
        let secrets = Secrets::of(&["new", "old"]);
        let tags = |hash, derive: &Derive| {
            let keys = secrets.tag_keys(hash, derive);
            keys.iter()
                .map(|key| hmac::sign(key, b"x").as_ref().to_vec())
                .collect::<Vec<_>>()
        };
        let salted = Derive::Hmac(Hash::Sha1, "salt".to_owned());
        let each = [
            tags(Hash::Sha256, &Derive::Nothing),
            tags(Hash::Sha1, &Derive::Nothing),
            tags(Hash::Sha256, &salted),
            tags(Hash::Sha1, &salted),
        ];
        let of = |secret: &[u8]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"x")
                .as_ref()
                .to_vec()
        };
        assert_eq!(each[0], [of(b"new"), of(b"old")]);
        for (at, one) in each.iter().enumerate() {
            assert_eq!(one.len(), 2);
            assert!(each[..at].iter().all(|other| other != one));
        }
        assert_eq!(tags(Hash::Sha256, &Derive::Nothing), each[0]);
    }
}
