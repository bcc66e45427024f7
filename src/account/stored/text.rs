use super::HashError;
use super::LONGEST_OUTPUT;
use super::LONGEST_SALT;
use super::SHORTEST_OUTPUT;
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// Standard base64, padded or not; passlib writes `.` for `+`.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, HashError> {
    STANDARD.decode(text.replace('.', "+")).map_err(|_| HashError::Damaged)
}

/// What was derived from a password.
pub(super) fn output(bytes: Vec<u8>) -> Result<Vec<u8>, HashError> {
    let fits = (SHORTEST_OUTPUT..=LONGEST_OUTPUT).contains(&bytes.len());
    fits.then_some(bytes).ok_or(HashError::Damaged)
}

pub(super) fn salt(bytes: Vec<u8>) -> Result<Vec<u8>, HashError> {
    let fits = (1..=LONGEST_SALT).contains(&bytes.len());
    fits.then_some(bytes).ok_or(HashError::Damaged)
}

/// A count that is at least 1, in decimal digits only.
pub(super) fn count(text: &str) -> Result<u64, HashError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(HashError::Damaged);
    }
    // More than 64 bits is more than any bound.
    match text.parse().unwrap_or(u64::MAX) {
        0 => Err(HashError::Damaged),
        count => Ok(count),
    }
}

/// The value of `name` among `name=value` pairs with commas between them.
pub(super) fn parameter<'a>(pairs: &'a str, name: &str) -> Option<&'a str> {
    pairs
        .split(',')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

/// Whether both are the same, in a time that tells nothing of where they differ.
pub(super) fn same(left: &[u8], right: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(left, right).is_ok()
}
