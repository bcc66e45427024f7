use super::HashError;
use super::text;
use scrypt::Params;
use zeroize::Zeroizing;

/// Most memory, 128 · N · r bytes, as a number of such blocks: 256 MiB.
const MOST_BLOCKS: u64 = 2 * 1024 * 1024;
/// Most N · r · p: two seconds of a core.
const MOST_WORK: u64 = 4 * 1024 * 1024;
const MOST_LANES: u64 = 16;
/// Most r; eight is usual. What is mixed first and last takes 128 · r · p bytes besides.
const MOST_WIDTH: u64 = 256;
/// Lengths of output that are in use. Any other was cut: the start of a longer output is the whole of a shorter one.
const PHC_OUTPUTS: &[usize] = &[32, 64];
const OUTPUTS: &[usize] = &[64];

/// scrypt as a PHC string (`$scrypt$ln=15,r=8,p=1$salt$hash`), as Django (`scrypt$N$salt$r$p$hash`) and as Werkzeug
/// (`scrypt:N:r:p$salt$hex`) write it. The salts of the latter two are text.
pub(in crate::account) struct Scrypt {
    params: Params,
    salt: Vec<u8>,
    output: Vec<u8>,
}

impl Scrypt {
    /// `None` when the text is something else.
    pub(super) fn read(text: &str) -> Option<Result<Self, HashError>> {
        if let Some(bare) = text.strip_prefix("$scrypt$") {
            return Some(Self::read_phc(bare));
        }
        if let Some(bare) = text.strip_prefix("scrypt:") {
            return Some(Self::read_werkzeug(bare));
        }
        text.strip_prefix("scrypt$").map(Self::read_django)
    }

    fn read_phc(text: &str) -> Result<Self, HashError> {
        let [parameters, salt, output] = parts(text, '$')?;
        let number = |name| text::count(text::parameter(parameters, name).ok_or(HashError::Damaged)?);
        if parameters.split(',').count() != 3 {
            return Err(HashError::Damaged);
        }
        // What does not fit 64 bits is beyond the bound as well.
        let size = 1_u64.checked_shl(u32::try_from(number("ln")?).unwrap_or(u32::MAX));
        let size = size.unwrap_or(u64::MAX);
        let output = whole(text::base64(output)?, PHC_OUTPUTS)?;
        Self::new(size, number("r")?, number("p")?, text::base64(salt)?, output)
    }

    fn read_django(text: &str) -> Result<Self, HashError> {
        let [size, salt, r, p, output] = parts(text, '$')?;
        let numbers = (text::count(size)?, text::count(r)?, text::count(p)?);
        let output = whole(text::base64(output)?, OUTPUTS)?;
        Self::new(numbers.0, numbers.1, numbers.2, salt.as_bytes().to_vec(), output)
    }

    fn read_werkzeug(text: &str) -> Result<Self, HashError> {
        let [numbers, salt, output] = parts(text, '$')?;
        let [size, r, p] = parts(numbers, ':')?;
        let output = whole(hex::decode(output).map_err(|_| HashError::Damaged)?, OUTPUTS)?;
        let salt = salt.as_bytes().to_vec();
        Self::new(text::count(size)?, text::count(r)?, text::count(p)?, salt, output)
    }

    fn new(size: u64, r: u64, p: u64, salt: Vec<u8>, output: Vec<u8>) -> Result<Self, HashError> {
        if !size.is_power_of_two() && size != u64::MAX || size < 2 {
            return Err(HashError::Damaged);
        }
        let blocks = size.saturating_mul(r);
        let work = blocks.saturating_mul(p);
        if blocks > MOST_BLOCKS || r > MOST_WIDTH || p > MOST_LANES || work > MOST_WORK {
            return Err(HashError::TooDear(
                "scrypt with more than 256 MiB of memory, an r above 256, 16 lanes, or an N·r·p of more than 4,194,304",
            ));
        }
        let log_size = u8::try_from(size.trailing_zeros()).map_err(|_| HashError::Damaged)?;
        let narrow = |number| u32::try_from(number).map_err(|_| HashError::Damaged);
        Ok(Self {
            params: Params::new(log_size, narrow(r)?, narrow(p)?).map_err(|_| HashError::Damaged)?,
            salt: text::salt(salt)?,
            output,
        })
    }

    pub(super) fn matches(&self, password: &[u8]) -> bool {
        let mut derived = Zeroizing::new(vec![0; self.output.len()]);
        let done = scrypt::scrypt(password, &self.salt, &self.params, &mut derived);
        done.is_ok() && text::same(&derived, &self.output)
    }

    #[cfg(test)]
    pub(super) fn work(&self) -> u64 {
        (1 << self.params.log_n()) * u64::from(self.params.r()) * u64::from(self.params.p())
    }
}

fn whole(output: Vec<u8>, lengths: &[usize]) -> Result<Vec<u8>, HashError> {
    let fits = lengths.contains(&output.len());
    fits.then_some(output).ok_or(HashError::Damaged)
}

fn parts<const COUNT: usize>(text: &str, separator: char) -> Result<[&str; COUNT], HashError> {
    let parts: Vec<_> = text.split(separator).take(COUNT + 1).collect();
    parts.try_into().map_err(|_| HashError::Damaged)
}
