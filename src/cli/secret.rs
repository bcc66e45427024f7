//! Passwords that are made here and printed once.

use anyhow::{Context, Result};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// Letters and digits that nobody mistakes for others, and no vowels, so that no words come out.
const ALPHABET: &[u8; 27] = b"bcdfghjkmnpqrstvwxz23456789";
const GROUPS: usize = 3;
const GROUP: usize = 4;

/// A password that a person can read off a screen: 12 letters out of 27, 57 bits.
pub(super) fn readable_password() -> Result<SecretString> {
    let mut text = String::new();
    while text.len() < GROUPS * GROUP + GROUPS - 1 {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut())
            .map_err(std::io::Error::from)
            .context("the system gave no randomness")?;
        for byte in bytes.iter().copied().map(usize::from) {
            // Bytes past the last whole multiple would make some letters likelier than others.
            if byte >= 256 - 256 % ALPHABET.len() || text.len() >= GROUPS * GROUP + GROUPS - 1 {
                continue;
            }
            if text.len() % (GROUP + 1) == GROUP {
                text.push('-');
            }
            text.push(char::from(ALPHABET[byte % ALPHABET.len()]));
        }
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::{ALPHABET, readable_password};
    use secrecy::ExposeSecret;
    use std::collections::BTreeSet;

    #[test]
    fn made_passwords_are_readable_and_differ() {
        let made: BTreeSet<String> = (0..1000)
            .map(|_| readable_password().unwrap().expose_secret().to_owned())
            .collect();
        assert_eq!(made.len(), 1000);
        let mut seen = BTreeSet::new();
        for password in &made {
            assert_eq!(
                password.split('-').map(str::len).collect::<Vec<_>>(),
                [4, 4, 4],
                "{password}"
            );
            seen.extend(password.bytes().filter(|byte| *byte != b'-'));
        }
        assert_eq!(seen, ALPHABET.iter().copied().collect());
    }
}
