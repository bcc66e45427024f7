use super::HashError;
use super::text;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;
use zeroize::Zeroizing;

/// Two seconds of a core; twelve is usual.
const MOST_COST: u32 = 15;
/// All that bcrypt sees of a password.
const SEEN: usize = 72;

/// Other programs leave bits in the last character that nothing stands for.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// bcrypt as a string of 60 characters, alone or behind a name of Django's.
///
/// bcrypt sees 72 bytes of a password. What lies behind is cut here, as node, PHP and older Pythons cut it; else the
/// passwords of their users would be refused. A password with a NUL is nobody's: in some programs it ends the password, and
/// in others the key that it makes is the same as that of a shorter password.
pub(in crate::account) struct Bcrypt {
    cost: u32,
    salt: [u8; 16],
    output: Vec<u8>,
    /// Whether Django hashed the password with SHA-256 first, so that bcrypt sees all of it.
    digested: bool,
}

impl Bcrypt {
    /// `None` when the text is something else.
    pub(super) fn read(text: &str) -> Option<Result<Self, HashError>> {
        let (text, digested) = match (text.strip_prefix("bcrypt_sha256$"), text.strip_prefix("bcrypt$")) {
            (Some(bare), _) => (bare, true),
            (None, Some(bare)) => (bare, false),
            (None, None) => (text, false),
        };
        let bare = ["$2a$", "$2b$", "$2y$"]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))?;
        Some(
            Self::read_bare(bare, digested)
                .ok_or(HashError::Damaged)
                .and_then(Self::bounded),
        )
    }

    fn read_bare(text: &str, digested: bool) -> Option<Self> {
        let (cost, rest) = text.split_once('$')?;
        let two_digits = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
        if !two_digits || rest.len() != 53 || !rest.is_ascii() {
            return None;
        }
        let (salt, output) = rest.split_at(22);
        Some(Self {
            cost: cost.parse().ok()?,
            salt: BASE64.decode(salt).ok()?.try_into().ok()?,
            output: BASE64.decode(output).ok()?,
            digested,
        })
    }

    fn bounded(self) -> Result<Self, HashError> {
        match self.cost {
            0..4 => Err(HashError::Damaged),
            4..=MOST_COST => Ok(self),
            _ => Err(HashError::TooDear("bcrypt with a cost of more than 15")),
        }
    }

    pub(super) fn matches(&self, password: &[u8]) -> bool {
        let digest = self.digested.then(|| hex::encode(digest(&SHA256, password)));
        let password = digest.as_ref().map_or(password, |digest| digest.as_bytes());
        if password.contains(&0) {
            return false;
        }
        let mut key = Zeroizing::new(Vec::with_capacity(SEEN + 1));
        key.extend_from_slice(&password[..password.len().min(SEEN)]);
        key.push(0);
        key.truncate(SEEN);
        let derived = bcrypt::bcrypt(self.cost, self.salt, &key);
        // The last of its 24 bytes is never stored.
        text::same(&derived[..23], &self.output)
    }

    /// Whether bcrypt saw all of `password`. Only then is it known to be the user's own: another one that begins with the
    /// same 72 bytes matches as well.
    pub(super) fn covers(&self, password: &[u8]) -> bool {
        self.digested || password.len() < SEEN
    }

    #[cfg(test)]
    pub(super) fn cost(&self) -> u32 {
        self.cost
    }
}
