use super::HashError;
use super::text;
use aws_lc_rs::pbkdf2::{self, Algorithm};
use std::num::NonZeroU32;

/// Most rounds over all blocks of output: two seconds of a core.
const MOST_WORK: u64 = 4_000_000;

/// PBKDF2 as Django (`pbkdf2_sha256$rounds$salt$hash`), Werkzeug (`pbkdf2:sha256:rounds$salt$hex`) and passlib
/// (`$pbkdf2-sha256$rounds$salt$hash`) write it, and as a PHC string (`$pbkdf2-sha256$i=rounds,l=32$salt$hash`). The salts
/// of the first two are text.
pub(in crate::account) struct Pbkdf2 {
    algorithm: Algorithm,
    rounds: NonZeroU32,
    salt: Vec<u8>,
    output: Vec<u8>,
}

/// A hash function, the length of its digest, and that of the output: a shorter one would match as well, because the
/// start of a longer output is the whole of a shorter one.
struct Function {
    algorithm: Algorithm,
    length: u64,
    wanted: u64,
}

impl Pbkdf2 {
    /// `None` when the text is something else.
    pub(super) fn read(text: &str) -> Option<Result<Self, HashError>> {
        let (head, rest) = text.strip_prefix('$').unwrap_or(text).split_once('$')?;
        if text.starts_with('$') {
            let function = function(if head == "pbkdf2" {
                "sha1"
            } else {
                head.strip_prefix("pbkdf2-")?
            })?;
            return Some(Self::read_phc(&function, rest));
        }
        if let Some(name) = head.strip_prefix("pbkdf2_") {
            let function = function(name)?;
            return Some(Self::read_django(&function, rest));
        }
        let (name, rounds) = head.strip_prefix("pbkdf2:")?.split_once(':')?;
        let function = function(name)?;
        Some(Self::read_werkzeug(&function, rounds, rest))
    }

    fn read_phc(function: &Function, text: &str) -> Result<Self, HashError> {
        let [rounds, salt, output] = parts(text)?;
        let (salt, output) = (text::base64(salt)?, text::base64(output)?);
        if !rounds.contains('=') {
            return Self::new(function, rounds, salt, output);
        }
        let length = text::parameter(rounds, "l").map(text::count).transpose()?;
        let function = Function {
            wanted: length.unwrap_or(function.wanted),
            ..*function
        };
        Self::new(
            &function,
            text::parameter(rounds, "i").unwrap_or_default(),
            salt,
            output,
        )
    }

    fn read_django(function: &Function, text: &str) -> Result<Self, HashError> {
        let [rounds, salt, output] = parts(text)?;
        Self::new(function, rounds, salt.as_bytes().to_vec(), text::base64(output)?)
    }

    fn read_werkzeug(function: &Function, rounds: &str, text: &str) -> Result<Self, HashError> {
        let [salt, output] = parts(text)?;
        let output = hex::decode(output).map_err(|_| HashError::Damaged)?;
        Self::new(function, rounds, salt.as_bytes().to_vec(), output)
    }

    fn new(function: &Function, rounds: &str, salt: Vec<u8>, output: Vec<u8>) -> Result<Self, HashError> {
        let rounds = text::count(rounds)?;
        let output = text::output(output)?;
        if output.len() as u64 != function.wanted {
            return Err(HashError::Damaged);
        }
        let blocks = function.wanted.div_ceil(function.length);
        if rounds.saturating_mul(blocks) > MOST_WORK {
            return Err(HashError::TooDear("PBKDF2 with more than 4,000,000 rounds"));
        }
        let rounds = u32::try_from(rounds).ok().and_then(NonZeroU32::new);
        Ok(Self {
            algorithm: function.algorithm,
            rounds: rounds.ok_or(HashError::Damaged)?,
            salt: text::salt(salt)?,
            output,
        })
    }

    pub(super) fn matches(&self, password: &[u8]) -> bool {
        pbkdf2::verify(self.algorithm, self.rounds, &self.salt, password, &self.output).is_ok()
    }

    #[cfg(test)]
    pub(super) fn work(&self) -> u32 {
        self.rounds.get()
    }
}

fn function(name: &str) -> Option<Function> {
    let (algorithm, length) = match name {
        "sha1" => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
        "sha256" => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
        "sha384" => (pbkdf2::PBKDF2_HMAC_SHA384, 48),
        "sha512" => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
        _ => return None,
    };
    Some(Function {
        algorithm,
        length,
        wanted: length,
    })
}

fn parts<const COUNT: usize>(text: &str) -> Result<[&str; COUNT], HashError> {
    let parts: Vec<_> = text.split('$').take(COUNT + 1).collect();
    parts.try_into().map_err(|_| HashError::Damaged)
}
