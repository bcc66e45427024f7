//! An answer that comes after its session was ended: some applications save what they had read once more, and give the
//! browser a cookie for it.

use super::core::Core;
use crate::session::EndedMeanwhile;
use crate::session::Entry;
use crate::web::set_cookie_pairs;
use crate::web::strike;
use http::HeaderMap;
use http::HeaderValue;
use http::Response;
use http::header::SET_COOKIE;
use hyper::body::Incoming;
use std::sync::Arc;

/// Asks whether the session was ended meanwhile, and takes its cookies from the answer then.
pub(super) async fn drop_session_of_ended(core: &Core, entry: Arc<Entry>, response: &mut Response<Incoming>) {
    let sessions = &core.shared().around.sessions;
    let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
    let set: Vec<(Vec<u8>, Vec<u8>)> = set_cookie_pairs(response.headers()).map(owned).collect();
    if sessions.ended_meanwhile(&entry, set).await == EndedMeanwhile::Yes {
        drop_session(response.headers_mut(), sessions.cookies_of(&entry));
    }
}

/// Whether an answer gives its browser a session under one of these names.
pub(super) fn sets_session(headers: &HeaderMap, names: &[String]) -> bool {
    headers.get_all(SET_COOKIE).iter().any(|line| opens(line, names))
}

fn drop_session(headers: &mut HeaderMap, names: &[String]) {
    if !sets_session(headers, names) {
        return;
    }
    let lines = headers.get_all(SET_COOKIE).iter();
    let kept: Vec<HeaderValue> = lines.filter(|line| !opens(line, names)).cloned().collect();
    strike(headers, SET_COOKIE);
    for line in kept {
        headers.append(SET_COOKIE, line);
    }
}

/// Whether this line sets one of these cookies to something; to nothing, it takes it from the browser.
fn opens(line: &HeaderValue, names: &[String]) -> bool {
    let pair = line.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (&pair[..0], pair),
    };
    let is_theirs = names.iter().any(|known| known.as_bytes() == name.trim_ascii());
    is_theirs && !matches!(value.trim_ascii(), b"" | b"\"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_opens_a_session_is_taken_from_an_answer() {
        let names = ["connect.sid".to_owned()];
        let lines = [
            ("connect.sid=s%3Aabc.def; Path=/; HttpOnly", false),
            (" connect.sid =x", false),
            ("connect.sid=; Max-Age=0", true),
            ("connect.sid=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT", true),
            ("connect.sid2=x", true),
            ("theme=dark", true),
            ("a=connect.sid=x", true),
        ];
        let mut headers = HeaderMap::new();
        for (line, _) in lines {
            headers.append(SET_COOKIE, HeaderValue::from_static(line));
        }
        drop_session(&mut headers, &names);
        let kept: Vec<&str> = headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|line| line.to_str().unwrap())
            .collect();
        let expected: Vec<&str> = lines.iter().filter(|(_, kept)| *kept).map(|(line, _)| *line).collect();
        assert_eq!(kept, expected);
    }
}
