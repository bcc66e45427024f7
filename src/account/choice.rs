//! Which passwords may be chosen: NIST SP 800-63B, section 3.1.1.2. Length counts and composition does not; what is tried
//! first is refused. A password that is already set is checked against its hash only.
//!
//! A password is what was typed, byte by byte: nothing is trimmed, cut, folded or normalised, neither when it is set nor
//! when it is checked, so no two passwords are ever taken for one. (A keyboard that composes letters in another way writes
//! another password; browsers send what keyboards write, which is NFC nearly everywhere.)

use super::AccountError;
use super::Settings;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use std::sync::LazyLock;

/// Fewest characters of a password, whatever they are.
pub const SHORTEST_PASSWORD: usize = 8;
/// Most bytes of a password.
pub(super) const LONGEST_PASSWORD: usize = 1024;

/// What is tried first, sorted, in lower case.
static COMMON: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let lines = include_str!("common_passwords.txt").lines();
    lines.filter(|line| !line.starts_with('#')).collect()
});

/// Words that stand beside a password and are tried with it.
#[derive(Default)]
pub(super) struct OwnWords<'a> {
    pub username: &'a str,
    pub email: Option<&'a str>,
    pub name: Option<&'a str>,
}

/// Whether somebody with these words may choose `password`.
pub(super) fn check(password: &SecretString, own: &OwnWords<'_>, settings: &Settings) -> Result<(), AccountError> {
    let text = password.expose_secret();
    if text.len() > LONGEST_PASSWORD {
        return Err(AccountError::LongPassword);
    }
    if text.chars().count() < SHORTEST_PASSWORD {
        return Err(AccountError::ShortPassword);
    }
    let folded = SecretString::from(text.to_lowercase());
    if is_common(folded.expose_secret()) {
        return Err(AccountError::CommonPassword);
    }
    let before_at = own.email.and_then(|email| email.split('@').next());
    let site = settings.site.as_deref();
    let mut words = [Some(own.username), own.email, before_at, own.name, site]
        .into_iter()
        .flatten();
    if words.any(|word| word.trim().to_lowercase() == folded.expose_secret().trim()) {
        return Err(AccountError::OwnPassword);
    }
    Ok(())
}

fn is_common(folded: &str) -> bool {
    let mut letters = folded.chars();
    let first = letters.next();
    letters.all(|letter| Some(letter) == first) || COMMON.binary_search(&folded).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{COMMON, OwnWords, SHORTEST_PASSWORD, check};
    use crate::account::AccountError;
    use crate::account::Settings;

    fn choose(password: &str) -> Result<(), AccountError> {
        let own = OwnWords {
            username: "lovelace",
            email: Some("ada.king@example.com"),
            name: Some("Ada Lovelace"),
        };
        let settings = Settings {
            site: Some("Example Ltd".to_owned()),
            ..Settings::default()
        };
        check(&password.to_owned().into(), &own, &settings)
    }

    #[test]
    fn a_password_is_measured_in_characters_and_bounded_in_bytes() {
        for short in ["", "1234567", "ääääää7", "ab cd e"] {
            assert!(matches!(choose(short), Err(AccountError::ShortPassword)), "{short:?}");
        }
        // Eight characters of any kind are enough; nothing is asked of their kinds.
        for long_enough in [
            "mfkwqpzd",
            "71946025",
            "пароль7ц",
            "  x  y  ",
            "\u{1f600}\u{1f601}bcdefg",
            "g\u{0}hijklmn",
        ] {
            assert!(choose(long_enough).is_ok(), "{long_enough:?}");
        }
        let longest = "ab".repeat(512);
        assert!(choose(&longest).is_ok());
        assert!(matches!(
            choose(&format!("{longest}c")),
            Err(AccountError::LongPassword)
        ));
        assert!(matches!(choose(&"ж".repeat(513)), Err(AccountError::LongPassword)));
    }

    #[test]
    fn the_most_common_passwords_are_refused_in_any_case() {
        for common in [
            "password",
            "PassWord",
            "12345678",
            "qwertyuiop",
            "IloveYou",
            "Portcullis",
            "trustno1",
        ] {
            assert!(matches!(choose(common), Err(AccountError::CommonPassword)), "{common}");
        }
        for one_letter in ["aaaaaaaa", "        ", "AaAaAaAaA", "жжжжжжжж"] {
            assert!(
                matches!(choose(one_letter), Err(AccountError::CommonPassword)),
                "{one_letter}"
            );
        }
        // Only as a whole: a rule about parts would be one about composition.
        assert!(choose("password of the day").is_ok());
    }

    #[test]
    fn a_password_is_no_word_that_stands_beside_it() {
        for own in [
            "lovelace",
            "LoveLace",
            "ada.king@example.com",
            "Ada.King",
            "ada lovelace",
            " Ada Lovelace",
            "example ltd",
        ] {
            assert!(matches!(choose(own), Err(AccountError::OwnPassword)), "{own}");
        }
        assert!(choose("ada lovelace's").is_ok());
    }

    /// The search by halves finds nothing in a list that is not sorted.
    #[test]
    fn the_list_is_sorted_lower_case_and_of_passwords_that_are_long_enough() {
        assert!(COMMON.len() > 5_000, "{}", COMMON.len());
        assert!(COMMON.is_sorted_by(|one, next| one < next));
        for word in COMMON.iter() {
            assert!(
                word.chars().count() >= SHORTEST_PASSWORD && *word == word.to_lowercase(),
                "{word}"
            );
        }
    }
}
