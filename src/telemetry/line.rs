use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// What the access log says of one request. Nothing here is a secret: no query, no cookie.
#[derive(Clone, Copy, Debug)]
pub struct AccessLine<'a> {
    /// The request's id.
    pub request_id: u128,
    /// The client's address after `trust.proxies`.
    pub address: IpAddr,
    /// Method.
    pub method: &'a str,
    /// Host, canonical where it was understood.
    pub host: &'a str,
    /// Path without query: values in a query may be secrets.
    pub path: &'a str,
    /// Status sent; 499 when the client went away before there was an answer.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// From the head to the answer's last byte.
    pub duration: Duration,
    /// Whether the answer was sent whole.
    pub complete: bool,
    /// The route's name.
    pub route: Option<&'a str>,
    /// The user's id.
    pub user: Option<Uuid>,
    /// The session's public id.
    pub session: Option<Uuid>,
    /// Why it was refused: a word of a closed list.
    pub refusal: Option<&'a str>,
    /// What else is known of the refusal.
    pub detail: Option<&'a str>,
    /// The server that answered.
    pub server: Option<&'a str>,
}

impl AccessLine<'_> {
    /// Appends the line as JSON, in the same form as the log's lines. Pure ASCII: whatever a client sends, it starts no
    /// line of its own and moves no terminal's cursor.
    pub(super) fn write_json(&self, micros: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"timestamp\":\"");
        write_time(micros, out);
        out.extend_from_slice(b"\",\"level\":\"INFO\",\"message\":\"request\"");
        put(out, format_args!(",\"request.id\":\"{:032x}\"", self.request_id));
        put(out, format_args!(",\"client.address\":\"{}\"", self.address));
        text(out, "method", self.method);
        text(out, "host", self.host);
        text(out, "path", self.path);
        put(
            out,
            format_args!(",\"status\":{},\"bytes\":{}", self.status, self.bytes),
        );
        let micros = self.duration.as_micros();
        put(
            out,
            format_args!(",\"duration_ms\":{}.{:03}", micros / 1_000, micros % 1_000),
        );
        if !self.complete {
            out.extend_from_slice(b",\"complete\":false");
        }
        maybe(out, "route.name", self.route);
        if let Some(user) = self.user {
            put(out, format_args!(",\"user.id\":\"{user}\""));
        }
        if let Some(session) = self.session {
            put(out, format_args!(",\"session.id\":\"{session}\""));
        }
        maybe(out, "refusal.reason", self.refusal);
        maybe(out, "refusal.detail", self.detail);
        maybe(out, "upstream.server", self.server);
        out.extend_from_slice(b"}\n");
    }

    /// Appends the line for people.
    pub(super) fn write_pretty(&self, micros: i64, out: &mut Vec<u8>) {
        write_time(micros, out);
        put(out, format_args!("  {} ", self.status));
        escape(self.method.as_bytes(), out);
        out.push(b' ');
        escape(self.host.as_bytes(), out);
        escape(self.path.as_bytes(), out);
        let micros = self.duration.as_micros();
        put(
            out,
            format_args!(" {}.{:03} ms {} bytes", micros / 1_000, micros % 1_000, self.bytes),
        );
        put(out, format_args!(" from {}", self.address));
        for (word, value) in [(" refused ", self.refusal), (": ", self.detail), (" by ", self.server)] {
            if let Some(value) = value {
                out.extend_from_slice(word.as_bytes());
                escape(value.as_bytes(), out);
            }
        }
        if !self.complete {
            out.extend_from_slice(b" cut off");
        }
        put(out, format_args!(" {:032x}\n", self.request_id));
    }
}

fn put(out: &mut Vec<u8>, what: fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _never = out.write_fmt(what);
}

fn maybe(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(out, name, value);
    }
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    put(out, format_args!(",\"{name}\":\""));
    escape(value.as_bytes(), out);
    out.push(b'"');
}

/// Appends `value` as the inside of a JSON string in printable ASCII (RFC 8259, 7). Bytes that are no UTF-8 become U+FFFD.
fn escape(value: &[u8], out: &mut Vec<u8>) {
    let plain = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'"' && *byte != b'\\';
    if value.iter().all(plain) {
        out.extend_from_slice(value);
        return;
    }
    for character in String::from_utf8_lossy(value).chars() {
        match u8::try_from(character) {
            Ok(byte) if plain(&byte) => out.push(byte),
            Ok(byte @ (b'"' | b'\\')) => out.extend_from_slice(&[b'\\', byte]),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    put(out, format_args!("\\u{unit:04x}"));
                }
            }
        }
    }
}

/// RFC 3339 in UTC with milliseconds.
fn write_time(micros: i64, out: &mut Vec<u8>) {
    let at = OffsetDateTime::from_unix_timestamp(micros.div_euclid(1_000_000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second) = at.to_hms();
    let (year, month, day) = at.to_calendar_date();
    let millis = micros.rem_euclid(1_000_000) / 1_000;
    put(
        out,
        format_args!(
            "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z",
            u8::from(month)
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn line<'a>() -> AccessLine<'a> {
        AccessLine {
            request_id: 0x0123_4567_89ab_cdef_0fed_cba9_8765_4321,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            method: "GET",
            host: "crm.example.com",
            path: "/a/b",
            status: 200,
            bytes: 12,
            duration: Duration::from_micros(1_002),
            complete: true,
            route: Some("crm"),
            user: Some(Uuid::from_u128(1)),
            session: None,
            refusal: None,
            detail: None,
            server: Some("127.0.0.1:3000"),
        }
    }

    fn json(line: &AccessLine<'_>) -> (String, serde_json::Value) {
        let mut out = Vec::new();
        line.write_json(1_769_860_800_042_999, &mut out);
        let text = String::from_utf8(out).unwrap();
        let value = serde_json::from_str(&text).unwrap();
        (text, value)
    }

    #[test]
    fn a_line_says_what_is_known_and_leaves_out_the_rest() {
        let (text, _) = json(&line());
        assert_eq!(
            text,
            concat!(
                r#"{"timestamp":"2026-01-31T12:00:00.042Z","level":"INFO","message":"request","#,
                r#""request.id":"0123456789abcdef0fedcba987654321","client.address":"127.0.0.1","method":"GET","#,
                r#""host":"crm.example.com","path":"/a/b","status":200,"bytes":12,"duration_ms":1.002,"#,
                r#""route.name":"crm","user.id":"00000000-0000-0000-0000-000000000001","#,
                r#""upstream.server":"127.0.0.1:3000"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_refused_and_cut_off_request_says_so_in_both_forms() {
        let line = AccessLine {
            refusal: Some("no_session"),
            complete: false,
            ..line()
        };
        let (_, value) = json(&line);
        assert_eq!(value["refusal.reason"], "no_session");
        assert_eq!(value["complete"], false);
        let mut pretty = Vec::new();
        line.write_pretty(1_769_860_800_042_999, &mut pretty);
        let pretty = String::from_utf8(pretty).unwrap();
        assert!(
            pretty.starts_with("2026-01-31T12:00:00.042Z  200 GET crm.example.com/a/b 1.002 ms"),
            "{pretty}"
        );
        assert!(
            pretty.contains("refused no_session") && pretty.contains("cut off"),
            "{pretty}"
        );
    }

    #[test]
    fn nobody_starts_a_line_or_a_member_of_their_own() {
        let path = "/\",\"user.id\":\"root\r\n{\"\u{1b}[2J\u{9b}\u{202e}\\\u{1f600}";
        let line = AccessLine { path, ..line() };
        let (text, value) = json(&line);
        assert_eq!(value["path"], path);
        assert_eq!(value["user.id"], "00000000-0000-0000-0000-000000000001");
        assert_eq!(text.matches('\n').count(), 1);
    }

    proptest! {
        #[test]
        fn every_line_is_one_line_of_printable_ascii_that_reads_back(path in any::<String>(), host in any::<String>()) {
            let line = AccessLine { path: &path, host: &host, ..line() };
            let (text, value) = json(&line);
            prop_assert!(text.trim_end_matches('\n').bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(value["path"].as_str(), Some(path.as_str()));
            prop_assert_eq!(value["host"].as_str(), Some(host.as_str()));
            let mut pretty = Vec::new();
            line.write_pretty(0, &mut pretty);
            prop_assert!(pretty[..pretty.len() - 1].iter().all(|byte| (b' '..=b'~').contains(byte)));
        }
    }
}
