use super::Mistake;
use crate::model::Username;

/// The command that makes a good secret.
const MAKE_ONE: &str = "make a good one with `openssl rand -base64 48` or `head -c 48 /dev/urandom | base64`";

pub fn path(text: &str) -> Result<(), Mistake> {
    if text.is_empty() || text.contains('\0') {
        return Err(Mistake::new("is not a path", "name a file or folder"));
    }
    Ok(())
}

pub fn label(text: &str) -> Result<(), Mistake> {
    if text.trim().is_empty() || text.chars().count() > 64 || text.chars().any(char::is_control) {
        return Err(Mistake::new("can't be shown", "write 1 to 64 characters on one line"));
    }
    Ok(())
}

pub fn name(text: &str) -> Result<(), Mistake> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if is_made_of(text, 64, fits) {
        Ok(())
    } else {
        Err(Mistake::new(
            "is not a name",
            "write 1 to 64 of a-z, A-Z, 0-9 and . _ -",
        ))
    }
}

pub fn group(text: &str) -> Result<(), Mistake> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@+-".contains(&byte);
    if is_made_of(text, 64, fits) {
        Ok(())
    } else {
        Err(Mistake::new(
            "is not a group",
            "write 1 to 64 of a-z, A-Z, 0-9 and . _ : @ + -",
        ))
    }
}

pub fn user(text: &str) -> Result<(), Mistake> {
    if Username::parse(text).is_ok() {
        return Ok(());
    }
    let lower = text.to_ascii_lowercase();
    Err(if Username::parse(&lower).is_ok() {
        Mistake::new("is not a user name", format!("user names are lower case: \"{lower}\""))
    } else {
        Mistake::new("is not a user name", "write 1 to 64 of a-z, 0-9 and . _ @ + -")
    })
}

pub fn schema(text: &str) -> Result<(), Mistake> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if is_made_of(text, 63, fits) && !text.starts_with(|c: char| c.is_ascii_digit()) && !text.starts_with("pg_") {
        Ok(())
    } else {
        Err(Mistake::new(
            "is not a schema name",
            "write 1 to 63 of a-z, 0-9 and _, not starting with a digit or pg_",
        ))
    }
}

/// RFC 6265bis, 4.1.1: a token.
pub fn cookie(text: &str) -> Result<(), Mistake> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !is_made_of(text, 128, fits) {
        return Err(Mistake::new(
            "is not a cookie name",
            "write 1 to 128 letters, digits, - and _",
        ));
    }
    for prefix in ["__Host-", "__Secure-"] {
        let head = text.get(..prefix.len());
        if head.is_some_and(|head| head.eq_ignore_ascii_case(prefix)) {
            if head != Some(prefix) {
                return Err(Mistake::new(
                    "has a misspelt prefix",
                    format!("browsers know {prefix} in this case only"),
                ));
            }
            if text.len() == prefix.len() {
                return Err(Mistake::new(
                    "is only a prefix",
                    format!("as in \"{prefix}portcullis\""),
                ));
            }
        }
    }
    Ok(())
}

pub fn token_prefix(text: &str) -> Result<(), Mistake> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    if is_made_of(text, 32, fits) {
        Ok(())
    } else {
        Err(Mistake::new(
            "can't stand in front of a token",
            "write 1 to 32 of a-z, A-Z, 0-9 and . _ ~ -",
        ))
    }
}

pub fn source(text: &str) -> Result<(), Mistake> {
    if text == "native" { Ok(()) } else { is_source_name(text) }
}

pub fn source_name(text: &str) -> Result<(), Mistake> {
    if text == "native" {
        let hint = "the gateway's own sessions are called that; take another";
        return Err(Mistake::new("is no name for a source", hint));
    }
    is_source_name(text)
}

fn is_source_name(text: &str) -> Result<(), Mistake> {
    let fits = (1..=32).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let hint = "1 to 32 of a-z, 0-9 and -, a letter first";
    fits.then_some(())
        .ok_or_else(|| Mistake::new("is no name for a source", hint))
}

/// An application's own, as short as it is.
pub fn their_secret(text: &str) -> Result<(), Mistake> {
    let hint = "give what the application has";
    (!text.is_empty())
        .then_some(())
        .ok_or_else(|| Mistake::new("is empty", hint))
}

pub fn column(text: &str) -> Result<(), Mistake> {
    let fits = (1..=63).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c == '.');
    let hint = "write the column's name as the database shows it, without quotes";
    fits.then_some(())
        .ok_or_else(|| Mistake::new("is no column's name", hint))
}

pub fn table(text: &str) -> Result<(), Mistake> {
    let parts: Vec<&str> = text.split('.').collect();
    let fits = parts.len() <= 2 && parts.iter().all(|part| column(part).is_ok());
    let hint = "write \"table\" or \"schema.table\", without quotes inside";
    fits.then_some(())
        .ok_or_else(|| Mistake::new("is no table's name", hint))
}

pub fn zone(text: &str) -> Result<(), Mistake> {
    let fits = (1..=64).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b));
    let hint = "write \"utc\", \"session\" or an IANA name such as \"Europe/Berlin\"";
    fits.then_some(()).ok_or_else(|| Mistake::new("is no time zone", hint))
}

pub fn place(text: &str) -> Result<(), Mistake> {
    let parsed = crate::session::Place::parse(text);
    parsed
        .map(drop)
        .map_err(|error| Mistake::new("is no place", error.to_string()))
}

/// As `tracing-subscriber` reads it, kept to the plain form: levels, and `part=level`.
pub fn log_level(text: &str) -> Result<(), Mistake> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b));
    let good = text.split(',').all(|directive| match directive.split_once('=') {
        Some((part, level)) => is_part(part) && LEVELS.contains(&level),
        None => LEVELS.contains(&directive),
    });
    if good {
        Ok(())
    } else {
        Err(Mistake::new(
            "is not a log level",
            "write \"error\", \"warn\", \"info\", \"debug\" or \"trace\"; by part as in \"info,portcullis::net=debug\"",
        ))
    }
}

pub fn signing_secret(text: &str) -> Result<(), Mistake> {
    if text.len() < 32 {
        let what = format!("has only {} bytes; a session secret needs 32", text.len());
        return Err(Mistake::new(what, MAKE_ONE));
    }
    Ok(())
}

pub fn admin_token(text: &str) -> Result<(), Mistake> {
    const MAKE_ONE: &str = "make a good one with `portcullis admin token`";
    if text.len() < 32 {
        let what = format!("has only {} bytes; an admin token needs 32", text.len());
        return Err(Mistake::new(what, MAKE_ONE));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Mistake::new("can't be sent in a header", MAKE_ONE));
    }
    Ok(())
}

fn is_made_of(text: &str, most: usize, fits: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.len() <= most && text.bytes().all(fits)
}
