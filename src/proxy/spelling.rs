//! Cookies of applications' sessions in spellings that nobody writes, and that some application's library takes all the
//! same: a name with escapes, a value in half a pair of quotes. The gateway knows no session by them, so it could not
//! keep one that was ended here from its application. They do not go there. Where sessions are not ended here, or the
//! cookie is not the application's, every spelling passes.

use crate::session::TheirCookie;
use http::HeaderMap;
use http::header::COOKIE;
use percent_encoding::percent_decode;

/// The cookies by which applications know sessions that may be ended here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TheirCookies(Vec<TheirCookie>);

impl TheirCookies {
    pub(super) fn new(cookies: impl Iterator<Item = TheirCookie>) -> Self {
        Self(cookies.collect())
    }

    /// The names of which a cookie is spelled so that nobody can say what the application of `host` makes of it. Nothing is
    /// allocated where there is none.
    pub(super) fn ambiguous(&self, host: &str, headers: &HeaderMap) -> Vec<&str> {
        let pairs = || {
            let lines = headers.get_all(COOKIE).iter();
            lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        };
        let served = self
            .0
            .iter()
            .filter(|cookie| cookie.hosts.iter().any(|known| known == host));
        let ambiguous = served.filter(|cookie| {
            let name = cookie.name.as_bytes();
            pairs().any(|pair| is_odd(pair, name)) || cookie.single && are_several(name, pairs())
        });
        ambiguous.map(|cookie| cookie.name.as_str()).collect()
    }
}

fn are_several<'a>(name: &[u8], pairs: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut values = pairs
        .map(parts)
        .filter(|(found, _)| *found == name)
        .map(|(_, value)| value);
    values.next().is_some_and(|first| values.any(|value| value != first))
}

/// Whether `pair` is the cookie called `name`, in this spelling or in one of its own.
pub(super) fn is_called(pair: &[u8], name: &[u8]) -> bool {
    parts(pair).0 == name || is_misspelled(pair, name)
}

/// Name and value, without blanks around them.
fn parts(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()),
        None => (&[], pair.trim_ascii()),
    }
}

fn is_odd(pair: &[u8], name: &[u8]) -> bool {
    let (found, value) = parts(pair);
    if found == name {
        is_odd_value(value)
    } else {
        is_misspelled(pair, name)
    }
}

/// Escapes in names are read by Rack and by the cookie crate; what is a blank to somebody (in Latin-1 or UTF-8) is cut by
/// JavaScript and Python; `=name=value` is a cookie to some servers.
fn is_misspelled(pair: &[u8], name: &[u8]) -> bool {
    let (mut found, value) = parts(pair);
    if found.is_empty() {
        found = parts(value).0;
    } else if found.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'%') {
        return false;
    }
    percent_decode(found)
        .filter(u8::is_ascii_graphic)
        .eq(name.iter().copied())
}

/// Half a pair of quotes is cut by JavaScript's `cookie` before 0.7, escapes within quotes are read by Python, blanks that
/// are not ASCII are cut by both, and `j:` begins what Express' `cookie-parser` reads as JSON.
fn is_odd_value(value: &[u8]) -> bool {
    let (inner, quoted) = match value {
        [b'"', inner @ .., b'"'] => (inner, true),
        all => (all, false),
    };
    let odd = |byte: &u8| !byte.is_ascii() || *byte == b'"' || quoted && *byte == b'\\';
    inner.iter().any(odd) || percent_decode(inner).take(2).eq(*b"j:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn ambiguous(lines: &[&[u8]]) -> Vec<String> {
        let cookie = |(name, single): (&str, bool)| TheirCookie {
            name: name.to_owned(),
            hosts: vec!["app.example".to_owned()],
            single,
        };
        let names = [("connect.sid", false), ("_session_id", false), ("id", true)];
        let their = TheirCookies::new(names.map(cookie).into_iter());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        assert!(their.ambiguous("other.example", &headers).is_empty());
        let found = their.ambiguous("app.example", &headers);
        found.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn what_libraries_write_themselves_is_never_odd() {
        for line in [
            "connect.sid=s%3Aabc.Rep3%2FFvg0qav4rmx0KMMPMPLPqwiVeA7cAX7m1k6618",
            "connect.sid=s:abc.Rep3/Fvg0; theme=\"dark\\040\"; a=j%3A%7B%7D",
            "connect.sid=\"s:abc.Rep3/Fvg0\"",
            "connect.sid=; connect.sid=x; connect.sid",
            "connect%2Esid2=x; _session_i=y; =z; connect.SID=j:",
            " id=one ;id=one",
            "j:=x; _session_id=json; %=x; %5F=x",
        ] {
            assert!(ambiguous(&[line.as_bytes()]).is_empty(), "{line}");
        }
    }

    #[test]
    fn every_spelling_that_some_library_takes_for_the_cookie_is_found() {
        for (line, name) in [
            (&b"connect.sid=j%3A%22s%3Aabc.Rep3%22"[..], "connect.sid"),
            (b"a=1; connect.sid=j:\"s:abc.Rep3\"", "connect.sid"),
            (b"connect.sid=%6a:[]", "connect.sid"),
            (b"connect.sid=\"s:abc.Rep3x", "connect.sid"),
            (b"connect.sid=\"s:\\141bc.Rep3\"", "connect.sid"),
            (b"connect.sid=\xa0s:abc.Rep3", "connect.sid"),
            (b"connect.sid=s:abc.Rep3\xc2\xa0", "connect.sid"),
            (b"\xa0connect.sid=s:abc.Rep3", "connect.sid"),
            (b"connect.sid\xe3\x80\x80=s:abc.Rep3", "connect.sid"),
            (b"connect%2Esid=x", "connect.sid"),
            (b"%5Fsession_id=x", "_session_id"),
            (b"=_session_id=x", "_session_id"),
            (b"id=one; id=two", "id"),
        ] {
            assert_eq!(ambiguous(&[line]), [name], "{}", line.escape_ascii());
        }
        assert_eq!(ambiguous(&[b"id=one; a=1", b"id=two"]), ["id"]);
    }
}
