//! Keeps everything that a run said, and everything that it must not have said.

use crate::support::client::Response;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt::Write as _;

/// Tokens that are made are at least so long.
const SHORTEST: usize = 20;

/// What was said where, and the secrets. Whatever hands a secret over (a `Set-Cookie`, a field of a form, a command that
/// prints a token) is cut out of the one place that does, once; the rest of what was said is kept.
#[derive(Default)]
pub struct Witness {
    secrets: Vec<Named>,
    /// What a browser said itself, and may be answered with; nobody else.
    of_the_browser: Vec<Named>,
    said: Vec<Named>,
    answered: Vec<Named>,
    session_tokens: Vec<[u8; 32]>,
}

impl Witness {
    /// Something that must be nowhere.
    pub fn learn(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 8, "{what} is too short to be looked for: {secret:?}");
        self.secrets.push((what.to_owned(), secret.as_bytes().to_vec()));
        // As it stands in JSON, in HTML and in a URL.
        let escaped = form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
        if escaped != secret {
            self.secrets.push((format!("{what}, encoded"), escaped.into_bytes()));
        }
    }

    /// Something that must be in no log and nowhere in what is kept, but may be in an answer to whoever sent it.
    pub fn learn_of_the_browser(&mut self, what: &str, secret: &str) {
        self.of_the_browser.push((what.to_owned(), secret.as_bytes().to_vec()));
    }

    /// The value of a session cookie: itself, its token alone, and the token as bytes and in hexadecimal.
    fn learn_session(&mut self, value: &str) {
        self.learn("a session cookie", value);
        let bytes = URL_SAFE_NO_PAD.decode(value).expect("base64");
        let token: [u8; 32] = bytes[..32].try_into().expect("a token");
        self.secrets.push(("a token in bytes".to_owned(), token.to_vec()));
        self.learn("a token in hexadecimal", &hex(&token));
        self.learn("a token in base64", &URL_SAFE_NO_PAD.encode(token)[..42]);
        self.session_tokens.push(token);
    }

    /// Digests of the session tokens, in hexadecimal: what may be kept of them.
    pub fn digests(&self) -> Vec<String> {
        let digests = self.session_tokens.iter();
        digests.map(|token| hex(digest(&SHA256, token).as_ref())).collect()
    }

    /// What was said somewhere.
    pub fn hear(&mut self, place: &str, bytes: impl Into<Vec<u8>>) {
        self.said.push((place.to_owned(), bytes.into()));
    }

    /// What an answer said, without what it hands over: values of its cookies, tokens of its forms, places of its lists.
    pub fn hear_answer(&mut self, place: &str, answer: &Response) {
        let mut text = format!("{}\n", answer.status);
        for (name, value) in &answer.headers {
            let value = if name.eq_ignore_ascii_case("set-cookie") {
                self.without_cookie(value)
            } else {
                value.clone()
            };
            let _ = writeln!(text, "{name}: {value}");
        }
        let mut body = String::from_utf8_lossy(&answer.body).into_owned();
        for (what, before) in [
            ("the token of a form", "name=\"csrf\" value=\""),
            ("a link", "name=\"link\" value=\""),
            ("a place in a list", "\"next\":\""),
        ] {
            body = self.without(what, &body, before, '"');
        }
        // What somebody typed as a name stands in that field again, for them alone, even if it was the password.
        if let Some((before, rest)) = body.split_once("name=\"username\" value=\"") {
            let (_, after) = rest.split_once('"').unwrap_or_default();
            body = format!("{before}{after}");
        }
        text.push_str(&body);
        for (name, value) in &answer.trailers {
            let _ = writeln!(text, "{name}: {value}");
        }
        self.answered.push((place.to_owned(), text.into_bytes()));
    }

    /// `text` with every value after `before` and up to `end` learned and cut.
    pub fn without(&mut self, what: &str, text: &str, before: &str, end: char) -> String {
        let mut parts = text.split(before);
        let mut left = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (value, rest) = part.split_once(end).unwrap_or((part, ""));
            // An address to go on to is called `next` too.
            if value.len() < SHORTEST {
                let _ = write!(left, "{before}{part}");
                continue;
            }
            if !self.knows(value) {
                self.learn(what, value);
            }
            let _ = write!(left, "{before}{end}{rest}");
        }
        left
    }

    fn without_cookie(&mut self, line: &str) -> String {
        let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
        let (name, value) = pair.split_once('=').expect("name=value");
        if !value.is_empty() && !self.knows(value) {
            if name.ends_with("portcullis") {
                self.learn_session(value);
            } else {
                self.learn(name, value);
            }
        }
        format!("{name}=;{attributes}")
    }

    fn knows(&self, secret: &str) -> bool {
        self.secrets.iter().any(|(_, known)| known == secret.as_bytes())
    }

    /// What was learned, by its name.
    pub fn learned(&self, what: &str) -> usize {
        self.secrets.iter().filter(|(name, _)| name == what).count()
    }

    /// Where a secret was said: nowhere, if all is well.
    pub fn leaks(&self) -> Vec<String> {
        let everywhere = find(self.said.iter().chain(&self.answered), &self.secrets);
        everywhere
            .into_iter()
            .chain(find(self.said.iter(), &self.of_the_browser))
            .collect()
    }
}

type Named = (String, Vec<u8>);

fn find<'a>(said: impl Iterator<Item = &'a Named>, secrets: &[Named]) -> Vec<String> {
    let mut leaks = Vec::new();
    for (place, said) in said {
        for (what, secret) in secrets {
            if let Some(at) = memchr::memmem::find(said, secret) {
                let around = &said[at.saturating_sub(80)..(at + secret.len() + 40).min(said.len())];
                leaks.push(format!("{place} holds {what}: …{}…", String::from_utf8_lossy(around)));
            }
        }
    }
    leaks
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
