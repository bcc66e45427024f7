//! What a user's words may look like. They end in headers, lists and pages of other applications.

use super::AccountError;
use secrecy::ExposeSecret;
use secrecy::SecretString;

/// Fewest characters of a password, whatever they are (NIST SP 800-63B: length counts, composition does not).
pub const SHORTEST_PASSWORD: usize = 8;
/// Most bytes of a password.
pub(super) const LONGEST_PASSWORD: usize = 1024;
/// Most groups of a user: a header holds them all.
pub const MOST_GROUPS: usize = 64;
const LONGEST_EMAIL: usize = 254;
const LONGEST_NAME: usize = 128;
const LONGEST_GROUP: usize = 64;

/// An address as it is stored: lower-cased.
pub(super) fn email(text: &str) -> Result<String, AccountError> {
    let email = text.trim().to_lowercase();
    let plain = !email
        .chars()
        .any(|letter| letter.is_control() || letter.is_whitespace() || is_unseen(letter));
    let shaped = email
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    (plain && shaped && email.len() <= LONGEST_EMAIL)
        .then_some(email)
        .ok_or(AccountError::Email)
}

/// A display name: whatever people are called, without what would change how text around it is shown.
pub(super) fn name(text: &str) -> Result<String, AccountError> {
    let name = text.trim();
    let plain = !name.chars().any(|letter| letter.is_control() || is_unseen(letter));
    let fits = plain && !name.is_empty() && name.len() <= LONGEST_NAME;
    fits.then(|| name.to_owned()).ok_or(AccountError::Name)
}

/// Groups, sorted and without doubles. A comma, the list delimiter of headers, is no part of a group.
pub(super) fn groups(groups: &[String]) -> Result<Vec<String>, AccountError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@+-".contains(&byte);
    let is_group = |group: &String| (1..=LONGEST_GROUP).contains(&group.len()) && group.bytes().all(fits);
    if let Some(strange) = groups.iter().find(|group| !is_group(group)) {
        return Err(AccountError::Group(strange.chars().take(LONGEST_GROUP).collect()));
    }
    let mut sorted = groups.to_vec();
    sorted.sort();
    sorted.dedup();
    (sorted.len() <= MOST_GROUPS)
        .then_some(sorted)
        .ok_or(AccountError::TooManyGroups)
}

/// A password to be set. One that is already set is checked against its hash only.
pub(super) fn password(password: &SecretString) -> Result<(), AccountError> {
    let text = password.expose_secret();
    if text.chars().count() < SHORTEST_PASSWORD {
        return Err(AccountError::ShortPassword);
    }
    (text.len() <= LONGEST_PASSWORD)
        .then_some(())
        .ok_or(AccountError::LongPassword)
}

/// Characters that turn the direction of text or take no room: with them one name can look like another.
fn is_unseen(letter: char) -> bool {
    matches!(letter,
        '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{email, groups, name, password};

    #[test]
    fn an_address_has_exactly_one_at_and_is_lower_cased() {
        assert_eq!(email(" Ann@Example.COM ").unwrap(), "ann@example.com");
        assert_eq!(email("grüße@ÄÖ.example").unwrap(), "grüße@äö.example");
        let long = format!("{}@example.com", "a".repeat(243));
        for bad in [
            "",
            "ann",
            "@example.com",
            "ann@",
            "a@b@c",
            "a b@c",
            "a\n@c",
            "a\u{202e}@c",
            &long,
        ] {
            assert!(email(bad).is_err(), "{bad:?}");
        }
        assert!(email(&long[1..]).is_ok());
    }

    #[test]
    fn a_display_name_has_no_controls_and_turns_no_text_round() {
        assert_eq!(name(" Ann Übel 王 ").unwrap(), "Ann Übel 王");
        // A joiner belongs into names of several languages.
        assert!(name("नी\u{200d}ल").is_ok());
        let long = "ä".repeat(65);
        for bad in [
            "",
            "  ",
            "a\u{7f}b",
            "a\u{85}b",
            "a\nb",
            "\u{202e}nna",
            "a\u{2066}b",
            "a\u{200f}",
            &long,
        ] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_group_can_stand_in_a_list() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            groups(&words(&["staff", "Admins", "staff"])).unwrap(),
            words(&["Admins", "staff"])
        );
        assert!(groups(&words(&["ou:a.b_c@d+e-f"])).is_ok());
        for bad in ["", "a,b", "a b", "a;b", "ä", "a\"", &"a".repeat(65)] {
            assert!(groups(&words(&[bad])).is_err(), "{bad:?}");
        }
        let many: Vec<_> = (0..65).map(|number| format!("g{number}")).collect();
        assert!(groups(&many).is_err() && groups(&many[1..]).is_ok());
    }

    #[test]
    fn a_password_is_measured_in_characters_and_bounded_in_bytes() {
        let check = |text: &str| password(&text.to_owned().into());
        assert!(check("1234567").is_err() && check("ääää").is_err());
        assert!(check("12345678").is_ok() && check("        ").is_ok() && check("пароль78").is_ok());
        assert!(check(&"a".repeat(1024)).is_ok() && check(&"a".repeat(1025)).is_err());
    }
}
