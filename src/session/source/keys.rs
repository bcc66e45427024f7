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
    rails: OnceLock<RailsKeys>,
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
            rails: OnceLock::new(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SecretSlice<u8>> {
        self.secrets.iter()
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
            self.secrets.iter().flat_map(of).collect()
        })
    }

    #[cfg(test)]
    pub(super) fn of(texts: &[&str]) -> Self {
        let secret = |text: &&str| SecretSlice::from(text.as_bytes().to_vec());
        Self::new(texts.iter().map(secret).collect())
    }
}
