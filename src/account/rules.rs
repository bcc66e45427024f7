//! What a user's words may look like. They end in headers, lists and pages of other applications.

use super::AccountError;
use super::HEADER_ACTOR;
use super::LINK_ACTOR;
use super::TOKEN_ACTOR;
use crate::model::Username;
use unicode_security::GeneralSecurityProfile;
use unicode_security::RestrictionLevel;
use unicode_security::RestrictionLevelDetection;

/// Who acts in the audit log without being a user: nobody may be called so.
const RESERVED: &[&str] = &[HEADER_ACTOR, LINK_ACTOR, TOKEN_ACTOR, "command", "system"];
/// What applications call whoever runs them, or nobody: many give the account of this name everything as soon as it is
/// named to them, and these are not for visitors to take.
const OFFICES: &[&str] = &[
    "admin",
    "administrator",
    "anonymous",
    "daemon",
    "guest",
    "hostmaster",
    "moderator",
    "nobody",
    "none",
    "null",
    "operator",
    "owner",
    "portcullis",
    "postmaster",
    "registered",
    "root",
    "security",
    "staff",
    "superadmin",
    "superuser",
    "support",
    "sysadmin",
    "undefined",
    "webmaster",
];
/// The group of users who registered themselves, and their only one.
pub const REGISTERED: &str = "registered";
/// Most groups of a user: a header holds them all.
pub const MOST_GROUPS: usize = 64;
const LONGEST_EMAIL: usize = 254;
const LONGEST_NAME: usize = 128;
const LONGEST_GROUP: usize = 64;

/// A user name that somebody may have.
pub(super) fn username(text: &str) -> Result<Username, AccountError> {
    let name = Username::parse(text.trim())?;
    if RESERVED.contains(&name.as_str()) {
        return Err(AccountError::Reserved(name.to_string()));
    }
    Ok(name)
}

/// A user name that visitors may give themselves. One with an @ could be somebody's e-mail address, and applications that
/// know people by their address would believe it. A mark at either end makes `ann.` of `ann`, and some applications cut it
/// off again.
pub(super) fn own_username(text: &str) -> Result<Username, AccountError> {
    let name = username(text)?;
    if name.as_str().contains('@') {
        return Err(AccountError::At);
    }
    if OFFICES.contains(&name.as_str()) {
        return Err(AccountError::Office(name.to_string()));
    }
    let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_str().as_bytes();
    if !is_letter(bytes.first()) || !is_letter(bytes.last()) {
        return Err(AccountError::Edge);
    }
    Ok(name)
}

/// An address as it is stored: lower-cased.
pub(super) fn email(text: &str) -> Result<String, AccountError> {
    let email = text.trim().to_lowercase();
    let plain = !email
        .chars()
        .any(|letter| letter.is_control() || letter.is_whitespace() || is_unseen(letter) || ",;|<>\"".contains(letter));
    let shaped = email
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    (plain && shaped && email.len() <= LONGEST_EMAIL)
        .then_some(email)
        .ok_or(AccountError::Email)
}

/// A display name: whatever people are called, without what would change how text around it is shown, what ends a list's
/// entry, and letters that are there to look like others.
pub(super) fn name(text: &str) -> Result<String, AccountError> {
    let name = text.trim();
    let plain = !name.chars().any(|letter| letter.is_control() || is_unseen(letter));
    if !plain || name.is_empty() || name.len() > LONGEST_NAME {
        return Err(AccountError::Name);
    }
    if name.contains([',', ';', '|']) {
        return Err(AccountError::NameDelimiter);
    }
    // UTS #39: no styled or wide letters, and none of Latin, Greek and Cyrillic beside each other.
    let letters: String = name.chars().filter(|letter| letter.is_alphanumeric()).collect();
    let usual = letters.chars().all(GeneralSecurityProfile::identifier_allowed);
    if !usual || !letters.check_restriction_level(RestrictionLevel::ModeratelyRestrictive) {
        return Err(AccountError::LookAlike);
    }
    Ok(name.to_owned())
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

/// Characters that turn the direction of text or take no room: with them one name can look like another.
#[must_use]
pub fn is_unseen(letter: char) -> bool {
    matches!(letter,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' |
        '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::{email, groups, name, own_username, username};
    use crate::account::AccountError;

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
            "a,b@c",
            "Ann<a@c>",
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
    fn a_display_name_looks_like_no_other_and_ends_no_entry_of_a_list() {
        for fine in [
            "Ann O’Neill-Smith",
            "Иван Иванов",
            "Αλέξης",
            "王 小明 Wang",
            "山田 太郎 Taro",
            "李 3rd",
            "Zoë (Ops) \u{1f600}",
        ] {
            assert!(name(fine).is_ok(), "{fine}");
        }
        for mixed in [
            "\u{410}nn",
            "Ann \u{410}dmin",
            "Ann \u{39f}ps",
            "\u{1d400}nn",
            "\u{ff21}nn",
            "\u{1d00}nn",
            "\u{3a9}\u{43d}\u{430}",
        ] {
            assert!(matches!(name(mixed), Err(AccountError::LookAlike)), "{mixed}");
        }
        for listed in ["Lovelace, Ada", "a;b", "a|b"] {
            assert!(matches!(name(listed), Err(AccountError::NameDelimiter)), "{listed}");
        }
    }

    #[test]
    fn nobody_is_called_like_an_actor_of_the_audit_log() {
        for reserved in ["command", "system", " admin-token-user ", "admin-token", "admin-link"] {
            assert!(
                matches!(username(reserved), Err(AccountError::Reserved(_))),
                "{reserved}"
            );
        }
        assert_eq!(username(" ann ").unwrap().as_str(), "ann");
        assert!(username("ann@example.com").is_ok());
        assert!(matches!(own_username("ann@example.com"), Err(AccountError::At)));
        assert!(matches!(own_username("system"), Err(AccountError::Reserved(_))));
        assert!(own_username("ann.b_c+d-e").is_ok());
    }

    #[test]
    fn visitors_give_themselves_no_name_that_applications_obey_and_none_with_a_mark_at_its_end() {
        for office in ["admin", "root", "administrator", " postmaster ", "portcullis"] {
            assert!(matches!(own_username(office), Err(AccountError::Office(_))), "{office}");
            assert!(username(office).is_ok(), "an operator may: {office}");
        }
        for edged in [
            "ann.", ".ann", "-ann", "ann-", "_ann", "ann_", "+ann", "ann+", ".", "--",
        ] {
            assert!(matches!(own_username(edged), Err(AccountError::Edge)), "{edged}");
        }
        assert!(own_username("a").is_ok() && own_username("7.of-9").is_ok());
        assert!(super::OFFICES.is_sorted());
    }
}
