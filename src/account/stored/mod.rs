//! Password hashes as they stand in the store: our own Argon2id, and those that other programs made.
//!
//! It makes no hashes and asks no store; how many are checked at once is the hasher's business.
//!
//! Called by the hasher, on its threads, and by the import of users.
//!
//! What must always hold: no text makes it panic, and none makes it work longer or take more memory than the bounds below,
//! about two seconds of a core and 256 MiB: whoever can write one row must not be able to stop the gateway. A hash that is
//! short enough to be met by chance is none.

mod argon;
mod bcrypt;
mod memory;
mod pbkdf2;
mod scrypt;
mod text;

pub(super) use argon::{MOST_MEMORY_KIB, most_passes};
pub(super) use memory::derive;

use argon::Argon;
use bcrypt::Bcrypt;
use pbkdf2::Pbkdf2;
use scrypt::Scrypt;

/// Most bytes of a stored hash; the column takes no more.
const LONGEST: usize = 512;
/// Fewest and most bytes of what was derived from a password.
const SHORTEST_OUTPUT: usize = 16;
const LONGEST_OUTPUT: usize = 64;
/// Most bytes of a salt.
const LONGEST_SALT: usize = 128;

/// Why a text is no password hash that can be checked here. Repeats nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Of no known form.
    #[error(
        "the password hash has a form that is not known here; known are Argon2, bcrypt ($2a$, $2b$, $2y$), scrypt and \
         PBKDF2, also as Django, Werkzeug and passlib write them"
    )]
    Unknown,
    /// Of a known form, but not whole.
    #[error(
        "the password hash is damaged: a part of it is missing, too short, too long or not written as it should be"
    )]
    Damaged,
    /// Asks for too much work or memory.
    #[error("checking the password hash would take too much: {0}")]
    TooDear(&'static str),
}

/// A hash that can be checked within bounds.
pub(super) enum StoredHash {
    Argon(Argon),
    Bcrypt(Bcrypt),
    Scrypt(Scrypt),
    Pbkdf2(Pbkdf2),
}

impl StoredHash {
    /// Reads what stands in the store.
    pub(super) fn read(text: &str) -> Result<Self, HashError> {
        if text.len() > LONGEST {
            return Err(HashError::Damaged);
        }
        // Django puts a name of its own in front of what others wrote.
        if let Some(bare) = text.strip_prefix("argon2").filter(|bare| bare.starts_with('$')) {
            return Argon::read(bare).map(Self::Argon);
        }
        if text.starts_with("$argon2") {
            return Argon::read(text).map(Self::Argon);
        }
        let read = Bcrypt::read(text).map(|read| read.map(Self::Bcrypt));
        let read = read.or_else(|| Scrypt::read(text).map(|read| read.map(Self::Scrypt)));
        let read = read.or_else(|| Pbkdf2::read(text).map(|read| read.map(Self::Pbkdf2)));
        read.unwrap_or(Err(HashError::Unknown))
    }

    /// Whether `password` is the one that was hashed.
    pub(super) fn matches(&self, password: &[u8]) -> bool {
        match self {
            Self::Argon(hash) => hash.matches(password),
            Self::Bcrypt(hash) => hash.matches(password),
            Self::Scrypt(hash) => hash.matches(password),
            Self::Pbkdf2(hash) => hash.matches(password),
        }
    }

    /// Whether it should be replaced by an Argon2id hash of `password`, which matches, with these parameters.
    pub(super) fn is_to_be_replaced(&self, password: &[u8], memory_kib: u32, passes: u32) -> bool {
        match self {
            Self::Argon(hash) => hash.is_weaker_than(memory_kib, passes),
            Self::Bcrypt(hash) => hash.covers(password),
            Self::Scrypt(_) | Self::Pbkdf2(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HashError, StoredHash};
    use proptest::prelude::*;

    const PASSWORD: &str = "Grüße, 42 Türme";

    /// Made by the programs that are named, not by this one.
    const VECTORS: &[(&str, &str)] = &[
        (
            "Django 5.2 PBKDF2",
            "pbkdf2_sha256$1000$NaClNaClNaCl1x$dce8H7yIVM2yV0xmqe1esrEisE1wnxMeVsxJxG102N0=",
        ),
        (
            "Django 5.2 PBKDF2 SHA-1",
            "pbkdf2_sha1$1000$NaClNaClNaCl1x$C4acJ2f0l6MVOAL8BnenLCclh/4=",
        ),
        (
            "Django 5.2 Argon2",
            "argon2$argon2id$v=19$m=64,t=2,p=2$TmFDbE5hQ2xOYUNsMXg$ZuvXDIarx5u+PSouFECq+gZhr4ixkThiTvZ6LlJZaj0",
        ),
        (
            "Django 5.2 bcrypt with SHA-256",
            "bcrypt_sha256$$2b$04$O0fiSLcex0GjxhRXnLb.9O95tkFe1kEHFO9mOtvOFA1aXaBPBRegq",
        ),
        (
            "Django 5.2 bcrypt",
            "bcrypt$$2b$04$XfRbz/tbbgTwaUWb9pKuduWeaSQ.gLOBtqQ.AZSAp1YAULFwmWCs.",
        ),
        (
            "Django 5.2 scrypt",
            "scrypt$128$NaClNaClNaCl1x$8$5$80IqOTHlXp7YJf9s1aZckDjDnbWSo+O9TrCg38k7a2p865yxnThoRnr+3IvJTpAUdSUyO0ZdSz4mSezj\
             D4Ie7Q==",
        ),
        (
            "Werkzeug 3.1 scrypt",
            "scrypt:128:8:1$QzjKJ026vdGZ7xXk$7d1aba8f358f8fc721f7e5fc8b6539ba695ec78622fabdd192e308624226c082024d0f902935f0\
             7a35fd85492f02fac5d83a6f955b7ecd835a7f15384e0756b3",
        ),
        (
            "Werkzeug 3.1 PBKDF2 SHA-256",
            "pbkdf2:sha256:1000$prrtVOP51xu3lXbb$de9e0450de8b21061996837a19252496669db1c98dc61beafd6d3b5f837f7be0",
        ),
        (
            "Werkzeug 3.1 PBKDF2 SHA-1",
            "pbkdf2:sha1:1000$m6NzEIaEMfEaIONY$84f38db3c1f14b41c9a2fe7d6c5ac95e34fd8056",
        ),
        (
            "Werkzeug 3.1 PBKDF2 SHA-512",
            "pbkdf2:sha512:1000$xa1OzVjfq6k37zHz$262e41824f023670d65bf55ce1719d447f1fe713452ed47f5cec1beffc6d3e93531408bab6\
             d3e59329d6993f11538144f663c306c871d596e02d6a46b7f2c00d",
        ),
        (
            "passlib 1.7 PBKDF2 SHA-256",
            "$pbkdf2-sha256$1000$G0NoLUWo1RrDmJOSkjLGOA$SlwanNXUtSHbLHLy3SWRnqi6OOKQd4NKhXykvsJ1eok",
        ),
        (
            "passlib 1.7 PBKDF2 SHA-512",
            "$pbkdf2-sha512$1000$4vzfu/e.17pXSmmtdQ5BqA$CwiQmWjoOLbuKnUaNB3rnbKNsrTRL1u7.OsniT9iT0FZ97Zgf7xyLKBp6eZzws7b7DgK\
             SnWBHE9T1kGQjyvjaQ",
        ),
        (
            "passlib 1.7 PBKDF2 SHA-1",
            "$pbkdf2$1000$NgYgxLh3jjGGEKLUei8FoA$QHitgPrcSopLOzOxV8quBRtkQb8",
        ),
        (
            "passlib 1.7 scrypt",
            "$scrypt$ln=4,r=8,p=1$vFfq3XtP6d37/z+HcE5JiQ$AjZP95m4GWpxS6Pmbxxb9MpRyBoKjD3BhEXvTh29954",
        ),
        (
            "argon2-cffi 25.1 Argon2d",
            "$argon2d$v=19$m=64,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$Wb+ZrfmdL0nVPnLOvQEVNn3x2UG7WFQZ/05XmlR38WI",
        ),
        (
            "argon2-cffi 25.1 Argon2i",
            "$argon2i$v=19$m=64,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$7DM0UweGJ492R8LdgDcXr0fgWC7aNxwq7tpUGQ/kkRw",
        ),
        (
            "argon2-cffi 25.1 Argon2i, first version",
            "$argon2i$v=16$m=64,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$V3vkYQ0uRdCBbx/CCX5rKqavvr2uF4ddsGca/mY0qe4",
        ),
        (
            "the same without its version, which is the first then",
            "$argon2i$m=64,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$V3vkYQ0uRdCBbx/CCX5rKqavvr2uF4ddsGca/mY0qe4",
        ),
        (
            "argon2-cffi 25.1 Argon2id",
            "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$YjSNL4ugIsx9XF60il58R9m8J0FtmyDDMuedCq+ymhc",
        ),
        (
            "Python bcrypt 5.0",
            "$2b$04$7bbXXU4swi1DwUe3gZ.W1OeEpUm0P8fc8iq3MxOWE3MfvNcnodg4W",
        ),
        (
            "Python bcrypt 5.0, 2a",
            "$2a$04$dYruEhEWxsIUAJTA108XluNXP0XPsXnzMe/KtKQPaJf0Jc.YPD6da",
        ),
        (
            "PHP's prefix",
            "$2y$04$FrBr3AJoyjhCSUbfpg7LZO1Vxg8B53o.jJ3F/Ey/21lU6EVLbb9wK",
        ),
        (
            "bcryptjs 3.0",
            "$2b$04$CMQDxgiyBNTzICCbEbcH6.K3zJjt0D8itb1eBpMU2Z2tmxyETWO1m",
        ),
        (
            "node bcrypt 6.0",
            "$2b$04$GtagHEUpzS49mlaHR0RpGOzug1h9I8gxAIozuKCC3XDGWb6gpMuHG",
        ),
    ];

    fn matches(stored: &str, password: &str) -> bool {
        StoredHash::read(stored).unwrap().matches(password.as_bytes())
    }

    #[test]
    fn what_other_programs_stored_matches_its_password_only() {
        for (program, stored) in VECTORS {
            assert!(matches(stored, PASSWORD), "{program}");
            for wrong in ["", "Grüße, 42 Türm", "grüße, 42 türme", "Gru\u{308}ße, 42 Tu\u{308}rme"] {
                assert!(!matches(stored, wrong), "{program}: {wrong:?}");
            }
        }
    }

    #[test]
    fn a_hash_that_was_changed_anywhere_no_longer_matches() {
        for (program, stored) in VECTORS {
            let changed = if stored.contains(':') || stored.ends_with('=') {
                // The last character of hexadecimal digits and of padded base64 counts in full.
                let at = stored.trim_end_matches('=').len() - 2;
                let other = if stored.as_bytes()[at] == b'0' { "1" } else { "0" };
                format!("{}{other}{}", &stored[..at], &stored[at + 1..])
            } else {
                let at = stored.len() - 4;
                let other = if stored.as_bytes()[at] == b'A' { "B" } else { "A" };
                format!("{}{other}{}", &stored[..at], &stored[at + 1..])
            };
            assert!(!matches(&changed, PASSWORD), "{program}: {changed}");
        }
    }

    #[test]
    fn a_hash_that_is_cut_short_is_refused_or_matches_nothing() {
        for (program, stored) in VECTORS {
            for end in 0..stored.trim_end_matches('=').len() {
                let Ok(read) = StoredHash::read(&stored[..end]) else {
                    continue;
                };
                assert!(!read.matches(PASSWORD.as_bytes()), "{program}: {}", &stored[..end]);
            }
        }
    }

    #[test]
    fn forms_that_are_not_known_are_refused() {
        for strange in [
            "",
            "plain",
            "$",
            "$$",
            "$1$salt$hash",
            "$5$rounds=5000$salt$hash",
            "$6$salt$hash",
            "$2$04$CMQDxgiyBNTzICCbEbcH6.K3zJjt0D8itb1eBpMU2Z2tmxyETWO1m",
            "$2x$04$CMQDxgiyBNTzICCbEbcH6.K3zJjt0D8itb1eBpMU2Z2tmxyETWO1m",
            "sha1$salt$0123456789abcdef0123456789abcdef01234567",
            "md5$salt$0123456789abcdef0123456789abcdef",
            "pbkdf2:md5:1000$salt$0123456789abcdef0123456789abcdef",
            "{SSHA}x",
            "5f4dcc3b5aa765d61d8327deb882cf99",
        ] {
            assert_eq!(StoredHash::read(strange).err(), Some(HashError::Unknown), "{strange}");
        }
    }

    /// Nothing at all, or next to nothing, would be met by every password.
    #[test]
    fn a_hash_without_enough_of_a_digest_is_refused() {
        let short = "AAAAAAAAAAAAAAAAAAAA";
        for damaged in [
            "pbkdf2_sha256$1000$salt$".to_owned(),
            format!("pbkdf2_sha256$1000$salt${short}"),
            "pbkdf2:sha256:1000$salt$".to_owned(),
            "pbkdf2:sha256:1000$salt$00".to_owned(),
            "pbkdf2_sha256$0$salt$dce8H7yIVM2yV0xmqe1esrEisE1wnxMeVsxJxG102N0=".to_owned(),
            "pbkdf2_sha256$1000$$dce8H7yIVM2yV0xmqe1esrEisE1wnxMeVsxJxG102N0=".to_owned(),
            format!("$pbkdf2-sha256$1000$AAAA${short}"),
            "scrypt$128$salt$8$1$".to_owned(),
            "scrypt:128:8:1$salt$".to_owned(),
            format!("$scrypt$ln=4,r=8,p=1$AAAA${short}"),
            format!("$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA${short}"),
            "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA".to_owned(),
            "$argon2id$".to_owned(),
            "$2b$04$CMQDxgiyBNTzICCbEbcH6.K3zJjt0D8itb1eBpMU2Z2".to_owned(),
            format!(
                "pbkdf2_sha256$1000${}$dce8H7yIVM2yV0xmqe1esrEisE1wnxMeVsxJxG102N0=",
                "s".repeat(500)
            ),
        ] {
            assert_eq!(StoredHash::read(&damaged).err(), Some(HashError::Damaged), "{damaged}");
        }
    }

    #[test]
    fn no_hash_asks_for_more_than_its_share() {
        let hash = "dce8H7yIVM2yV0xmqe1esrEisE1wnxMeVsxJxG102N0=";
        let long = "d".repeat(86);
        let hex = "00".repeat(64);
        let argon = |parameters: &str| format!("$argon2id$v=19${parameters}$c2FsdHNhbHRzYWx0c2FsdA${}", "A".repeat(43));
        let bcrypt = |cost: &str| format!("$2b${cost}$CMQDxgiyBNTzICCbEbcH6.K3zJjt0D8itb1eBpMU2Z2tmxyETWO1m");
        for fits in [
            argon("m=262144,t=4,p=8"),
            argon("m=65536,t=16,p=1"),
            bcrypt("15"),
            format!("scrypt$131072$salt$8$4${long}"),
            format!("$scrypt$ln=17,r=16,p=1$c2FsdA${}", "A".repeat(43)),
            format!("scrypt:1024:256:16$salt${hex}"),
            format!("pbkdf2_sha256$4000000$salt${hash}"),
            format!("$pbkdf2-sha512$4000000$c2FsdA${long}"),
            format!("$pbkdf2-sha256$i=2000000,l=64$c2FsdA${long}"),
        ] {
            assert!(StoredHash::read(&fits).is_ok(), "{fits}");
        }
        for dear in [
            argon("m=262145,t=1,p=1"),
            argon("m=262144,t=5,p=1"),
            argon("m=19456,t=17,p=1"),
            argon("m=19456,t=2,p=9"),
            argon("m=4294967295,t=4294967295,p=1"),
            bcrypt("16"),
            bcrypt("31"),
            format!("scrypt$131072$salt$8$5${long}"),
            format!("scrypt$524288$salt$8$1${long}"),
            format!("scrypt:2:8:1048576$salt${hex}"),
            format!("scrypt:2:1000000:2$salt${hex}"),
            format!("scrypt:2:257:16$salt${hex}"),
            format!("$scrypt$ln=63,r=8,p=1$c2FsdA${}", "A".repeat(43)),
            format!("$scrypt$ln=4,r=4294967295,p=1$c2FsdA${}", "A".repeat(43)),
            format!("pbkdf2_sha256$4000001$salt${hash}"),
            format!("pbkdf2_sha256$4294967295$salt${hash}"),
            // Each further block of output is made with all the rounds again.
            format!("$pbkdf2-sha256$i=4000000,l=64$c2FsdA${long}"),
        ] {
            let read = StoredHash::read(&dear).err();
            assert!(matches!(read, Some(HashError::TooDear(_))), "{dear}: {read:?}");
        }
    }

    /// bcrypt reads 72 bytes and, in some programs, only up to a NUL.
    #[test]
    fn what_bcrypt_cannot_see_is_neither_guessed_nor_made_permanent() {
        let tail = "$2b$04$IrCaD0nWUt4OcHtwUsDpNOFGZOzWFURpiVtEbSU.EPgY5UnqYF.XG";
        let read = StoredHash::read(tail).unwrap();
        let (start, whole) = ("x".repeat(72), format!("{}tail", "x".repeat(72)));
        // Made from `whole` by bcryptjs, which cuts: the right password must pass, so its first 72 bytes do, too.
        assert!(read.matches(whole.as_bytes()) && read.matches(start.as_bytes()));
        assert!(!read.matches("x".repeat(71).as_bytes()));
        // Whoever types those must not become the owner of a password that differs from the owner's.
        assert!(!read.is_to_be_replaced(start.as_bytes(), 19_456, 2));
        assert!(!read.is_to_be_replaced(whole.as_bytes(), 19_456, 2));
        let short = StoredHash::read(VECTORS[19].1).unwrap();
        assert!(short.is_to_be_replaced(PASSWORD.as_bytes(), 19_456, 2));
        // node's bcrypt takes "a\0a" for "a" (the key repeats); this one takes no NUL at all.
        for with_nul in ["Grüße, 42 Türme\0", "Grüße, 42 Türme\0Grüße, 42 Türme"] {
            assert!(!short.matches(with_nul.as_bytes()), "{with_nul:?}");
        }
        let exactly = "$2b$04$55Uss.wqe5lVplxmF2VKY.HFjP5IeZ2SJC36aIVs13eeNGF.5nEgu";
        assert!(matches(exactly, &"ä".repeat(36)));
    }

    #[test]
    fn only_what_is_weaker_than_ours_is_replaced() {
        let replaced = |stored: &str| {
            let read = StoredHash::read(stored).unwrap();
            read.is_to_be_replaced(PASSWORD.as_bytes(), 64, 2)
        };
        for (program, stored) in VECTORS {
            let ours = stored.contains("argon2id");
            assert_eq!(replaced(stored), !ours, "{program}");
        }
        let weak = VECTORS[18].1.replace("m=64", "m=32");
        assert!(replaced(&weak) && replaced(&VECTORS[18].1.replace("t=2", "t=1")));
        assert!(!replaced(&VECTORS[18].1.replace("t=2", "t=1").replace("m=64", "m=128")));
    }

    /// Texts near those that are known, with numbers from everywhere.
    fn near() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just(String::new()),
            "[$:=,]{1,3}",
            "[a-zA-Z0-9+/.=]{0,90}",
            any::<u64>().prop_map(|number| number.to_string()),
            any::<String>().prop_map(|text| text.chars().take(12).collect()),
        ];
        let start = prop::sample::select(vec![
            "$argon2id$v=19$m=",
            "argon2$argon2i$",
            "$argon2d$m=",
            "$2b$0",
            "$2a$",
            "bcrypt$$2y$1",
            "bcrypt_sha256$$2b$04$",
            "$scrypt$ln=",
            "scrypt$",
            "scrypt:",
            "pbkdf2:sha256:",
            "pbkdf2:sha512:",
            "pbkdf2_sha256$",
            "pbkdf2_sha1$",
            "$pbkdf2-sha256$",
            "$pbkdf2$",
            "$pbkdf2-sha512$i=",
            "",
        ]);
        let joint = prop::sample::select(vec!["$", ":", ",", ",t=", ",p=", ",r=", ",l=", "$salt$", ""]);
        (start, prop::collection::vec((word, joint), 0..6)).prop_map(|(start, rest)| {
            rest.into_iter()
                .fold(start.to_owned(), |text, (word, joint)| text + &word + joint)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn no_text_makes_it_panic_or_match(text in near()) {
            if let Ok(read) = StoredHash::read(&text) {
                // What is allowed but slow is held by the test of the bounds.
                prop_assert!(read.is_slow_for_tests() || !read.matches(PASSWORD.as_bytes()));
            }
        }
    }

    impl StoredHash {
        fn is_slow_for_tests(&self) -> bool {
            match self {
                Self::Argon(hash) => hash.work() > 1_000,
                Self::Bcrypt(hash) => hash.cost() > 5,
                Self::Scrypt(hash) => hash.work() > 10_000,
                Self::Pbkdf2(hash) => hash.work() > 10_000,
            }
        }
    }
}
