use super::steps::Hash;
use aws_lc_rs::pbkdf2;
use secrecy::ExposeSecret;
use secrecy::SecretSlice;
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
    secrets: Vec<SecretSlice<u8>>,
    /// Made once: a thousand rounds a request would be a way to keep us busy.
    rails: [OnceLock<RailsKeys>; 2],
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        self.secrets.len() == other.secrets.len()
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
            secrets,
            rails: Default::default(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SecretSlice<u8>> {
        self.secrets.iter()
    }

    pub(super) fn rails(&self, hash: Hash) -> &[Zeroizing<[u8; 64]>] {
        let (place, algorithm) = match hash {
            Hash::Sha1 => (&self.rails[0], pbkdf2::PBKDF2_HMAC_SHA1),
            Hash::Sha256 => (&self.rails[1], pbkdf2::PBKDF2_HMAC_SHA256),
        };
        place.get_or_init(|| {
            let derive = |secret: &SecretSlice<u8>| {
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
            self.secrets.iter().map(derive).collect()
        })
    }

    #[cfg(test)]
    pub(super) fn of(texts: &[&str]) -> Self {
        let secret = |text: &&str| SecretSlice::from(text.as_bytes().to_vec());
        Self::new(texts.iter().map(secret).collect())
    }
}
