use super::HashError;
use super::memory;
use super::text;
use argon2::Algorithm;
use argon2::Argon2;
use argon2::Params;
use argon2::PasswordHash;
use argon2::Version;
use zeroize::Zeroizing;

pub(in crate::account) const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 8;
/// Most memory times passes, in KiB: about a second.
const MOST_WORK: u64 = 1024 * 1024;

/// The most passes over so much memory.
pub(in crate::account) fn most_passes(memory_kib: u32) -> u32 {
    let fits = MOST_WORK / u64::from(memory_kib.max(1));
    u32::try_from(fits).unwrap_or(MOST_PASSES).clamp(1, MOST_PASSES)
}

/// Argon2 as a PHC string, in any of its three kinds and both its versions.
pub(in crate::account) struct Argon {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Vec<u8>,
    output: Vec<u8>,
}

impl Argon {
    pub(super) fn read(text: &str) -> Result<Self, HashError> {
        let damaged = |_| HashError::Damaged;
        let hash = PasswordHash::new(text).map_err(|_| HashError::Damaged)?;
        let algorithm = Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| HashError::Unknown)?;
        let version = match hash.version {
            // https://github.com/P-H-C/phc-winner-argon2: strings of the first version have no number.
            None => Version::V0x10,
            Some(number) => Version::try_from(number).map_err(|_| HashError::Damaged)?,
        };
        let number = |name: &str| {
            let value = hash.params.get_decimal(name).ok_or(HashError::Damaged)?;
            if value == 0 { Err(HashError::Damaged) } else { Ok(value) }
        };
        let (memory, passes, lanes) = (number("m")?, number("t")?, number("p")?);
        if hash.params.iter().count() != 3 {
            return Err(HashError::Damaged);
        }
        if memory > MOST_MEMORY_KIB {
            return Err(HashError::TooDear("Argon2 with more than 256 MiB of memory"));
        }
        if passes > MOST_PASSES || lanes > MOST_LANES || u64::from(memory) * u64::from(passes) > MOST_WORK {
            return Err(HashError::TooDear(
                "Argon2 with more than 16 passes, 8 lanes, or 1 GiB over all passes",
            ));
        }
        let salt = text::salt(hash.salt.ok_or(HashError::Damaged)?.to_vec())?;
        let output = text::output(hash.hash.ok_or(HashError::Damaged)?.as_bytes().to_vec())?;
        if salt.len() < argon2::MIN_SALT_LEN {
            return Err(HashError::Damaged);
        }
        Ok(Self {
            algorithm,
            version,
            params: Params::new(memory, passes, lanes, Some(output.len())).map_err(damaged)?,
            salt,
            output,
        })
    }

    pub(super) fn matches(&self, password: &[u8]) -> bool {
        let mut derived = Zeroizing::new(vec![0; self.output.len()]);
        let argon2 = Argon2::new(self.algorithm, self.version, self.params.clone());
        let done = memory::derive(&argon2, password, &self.salt, &mut derived);
        done.is_ok() && text::same(&derived, &self.output)
    }

    pub(super) fn is_weaker_than(&self, memory_kib: u32, passes: u32) -> bool {
        let own = self.algorithm == Algorithm::Argon2id && self.version == Version::V0x13;
        let enough = self.params.m_cost() >= memory_kib && self.work() >= u64::from(memory_kib) * u64::from(passes);
        !(own && enough)
    }

    pub(super) fn work(&self) -> u64 {
        u64::from(self.params.m_cost()) * u64::from(self.params.t_cost())
    }
}
