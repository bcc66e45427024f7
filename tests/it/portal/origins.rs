//! Who may change anything: every endpoint that does, against every way in which a request can say where it is from.

use super::bench::*;
use super::{COOKIE, LOGIN, LOGOUT, ME, SESSION};
use bytes::Bytes;
use http::{HeaderValue, Method};
use portcullis::web::Answer;
use portcullis::web::Desk;
use portcullis::web::Exchange;
use serde_json::json;

/// Takes JSON only.
const SYNC: &str = "/.portcullis/sync";
const LISTED: &str = "https://app.example.com";

/// Every endpoint that changes something, by the methods that do. Whoever adds one adds it here.
fn changing() -> Vec<(Method, &'static str)> {
    vec![
        (Method::POST, LOGIN),
        (Method::POST, LOGOUT),
        (Method::POST, SYNC),
        (Method::POST, "/.portcullis/sessions/end-others"),
        (
            Method::DELETE,
            "/.portcullis/sessions/0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6",
        ),
        (
            Method::POST,
            "/.portcullis/sessions/0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6/end",
        ),
    ]
}

const SITES: [Option<&str>; 5] = [
    None,
    Some("same-origin"),
    Some("none"),
    Some("same-site"),
    Some("cross-site"),
];
const ORIGINS: [Option<&str>; 5] = [
    None,
    Some("https://crm.example.com"),
    Some("https://evil.example"),
    Some("null"),
    Some(LISTED),
];
const KINDS: [Option<&str>; 5] = [
    Some("application/json"),
    Some("application/x-www-form-urlencoded"),
    Some("text/plain"),
    Some("multipart/form-data; boundary=x"),
    None,
];

fn request(method: &Method, path: &str, headers: &[(&'static str, Option<&str>)], sent: &'static str) -> Exchange {
    let mut request = exchange(method.clone(), path);
    for (name, value) in headers {
        if let Some(value) = value {
            request.headers.insert(*name, value.parse().unwrap());
        }
    }
    request.body = Bytes::from_static(sent.as_bytes());
    request
}

/// What section 12 of the design says of the origin alone.
fn is_refused(site: Option<&str>, origin: Option<&str>, kind: Option<&str>, cookie: bool) -> bool {
    let form = kind == Some("application/x-www-form-urlencoded");
    let listed = origin == Some(LISTED) && !form && matches!(site, None | Some("same-site" | "cross-site"));
    let foreign_site = matches!(site, Some("same-site" | "cross-site"));
    let foreign_origin = matches!(origin, Some(origin) if origin != "https://crm.example.com");
    let unsaid = site.is_none() && origin.is_none();
    let must_say = match kind {
        None => true,
        Some("application/json") => cookie,
        _ => false,
    };
    (!listed && (foreign_site || foreign_origin)) || (unsaid && must_say)
}

#[tokio::test]
async fn nothing_changes_without_proof_of_where_a_request_is_from() {
    for (method, path) in changing() {
        let (bench, mut browser) = (Bench::new(), Browser::default());
        browser.sign_in(&bench, "alice").await;
        let value = format!("{COOKIE}={}", browser.cookies[COOKIE]);
        let mut tried = 0;
        for site in SITES {
            for origin in ORIGINS {
                for kind in KINDS {
                    for cookie in [None, Some(value.as_str())] {
                        let form = kind == Some("application/x-www-form-urlencoded");
                        let readable = matches!(kind, None | Some("application/json")) || (form && path != SYNC);
                        let sent = match kind {
                            Some("application/json") if path == LOGIN => r#"{"username":"alice","password":"wrong"}"#,
                            Some("application/json") => "{}",
                            None => "",
                            _ => "csrf=forged&username=alice&password=correct+horse+battery",
                        };
                        let headers = [
                            ("sec-fetch-site", site),
                            ("origin", origin),
                            ("content-type", kind),
                            ("cookie", cookie),
                            ("accept", Some("application/json")),
                        ];
                        // What would be carried out is held by tests of its own.
                        let refused = is_refused(site, origin, kind, cookie.is_some());
                        if !refused && readable && !form && path != LOGIN {
                            continue;
                        }
                        let answer = bench.portal.answer(request(&method, path, &headers, sent)).await;
                        let status = answer.status().as_u16();
                        let case = format!("{method} {path} {site:?} {origin:?} {kind:?} {}", cookie.is_some());
                        tried += 1;
                        if refused && readable {
                            assert_eq!(status, 403, "{case}");
                        } else if !readable {
                            assert!(matches!(status, 403 | 415), "{case}: {status}");
                            assert_eq!(status == 403, refused, "{case}: {status}");
                        } else if form {
                            let nobody = path != LOGIN && path != LOGOUT && cookie.is_none();
                            assert_eq!(status, if nobody { 401 } else { 403 }, "{case}: a form needs its token");
                        } else {
                            assert!(matches!(status, 400 | 401), "{case}: {status}");
                        }
                        assert!(header(&answer, "set-cookie").is_none(), "{case}");
                    }
                }
            }
        }
        assert!(tried > 150, "{tried}");
        assert_eq!(bench.store.sessions(), 1, "{method} {path} changed something");
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_it_should_be_is_400() {
    let deep = Bytes::from("[".repeat(60_000));
    let (bench, mut browser) = (Bench::new(), Browser::default());
    browser.sign_in(&bench, "alice").await;
    for (method, path) in changing() {
        for sent in [
            Bytes::from_static(br#"{"unknown":1}"#),
            Bytes::from_static(br#"{"username":"a","username":"b","password":"c"}"#),
            Bytes::from_static(b"{\"username\":\"\xff\",\"password\":\"b\"}"),
            Bytes::from_static(b"{"),
            Bytes::from_static(b"[]"),
            Bytes::from_static(b"null"),
            Bytes::from_static(b"\xef\xbb\xbf{}"),
            Bytes::from_static(b"{} {}"),
            deep.clone(),
        ] {
            let mut asked = json(path, &json!({}));
            asked.method = method.clone();
            asked.body = sent.clone();
            let answer = browser.send(&bench, asked).await;
            let start = String::from_utf8_lossy(&sent[..sent.len().min(40)]).into_owned();
            assert_eq!(answer.status(), 400, "{method} {path} {start}: {}", text(&answer));
            assert_eq!(header(&answer, "content-type"), Some("application/problem+json"));
            assert!(body(&answer)["error"].is_string());
        }
    }
    assert_eq!(bench.store.sessions(), 1);
}

fn from_page(origin: &str, method: Method, path: &str) -> Exchange {
    let mut asked = exchange(method, path);
    asked.headers.insert("origin", origin.parse().unwrap());
    asked
        .headers
        .insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
    asked.headers.insert("sec-fetch-mode", HeaderValue::from_static("cors"));
    asked
}

async fn asks_first(bench: &Bench, origin: &str, method: &str, path: &str) -> Answer {
    let mut asked = from_page(origin, Method::OPTIONS, path);
    asked
        .headers
        .insert("access-control-request-method", method.parse().unwrap());
    asked.headers.insert(
        "access-control-request-headers",
        HeaderValue::from_static("content-type"),
    );
    bench.portal.answer(asked).await
}

fn no_permission(answer: &Answer) -> bool {
    let mut names = answer.headers().keys();
    !names.any(|name| name.as_str().starts_with("access-control-"))
}

#[tokio::test]
async fn a_listed_page_may_ask_first_for_what_an_endpoint_takes() {
    let bench = Bench::new();
    for (method, path, methods) in [
        ("POST", LOGIN, "GET, HEAD, POST"),
        ("GET", ME, "GET, HEAD"),
        ("DELETE", "/.portcullis/sessions/x", "DELETE"),
        ("PUT", SESSION, "GET, HEAD"),
    ] {
        let answer = asks_first(&bench, LISTED, method, path).await;
        assert_eq!(answer.status(), 204, "{path}");
        assert_eq!(header(&answer, "access-control-allow-origin"), Some(LISTED));
        assert_eq!(header(&answer, "access-control-allow-methods"), Some(methods));
        assert_eq!(header(&answer, "access-control-allow-headers"), Some("content-type"));
        assert_eq!(header(&answer, "access-control-allow-credentials"), Some("true"));
        assert_eq!(header(&answer, "vary"), Some("Origin"));
    }
    assert_eq!(
        asks_first(&bench, LISTED, "GET", "/.portcullis/nothing").await.status(),
        403
    );
}

#[tokio::test]
async fn nobody_elses_page_is_given_any_permission() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    browser.sign_in(&bench, "alice").await;
    for origin in [
        "https://evil.example",
        "null",
        "http://app.example.com",
        "https://app.example.com:444",
        "https://APP.example.com",
        "https://sub.app.example.com",
        "https://app.example.com.evil.example",
        "",
    ] {
        let answer = asks_first(&bench, origin, "POST", LOGIN).await;
        assert!(answer.status() == 403 && no_permission(&answer), "{origin}");
        let answer = browser.send(&bench, from_page(origin, Method::GET, ME)).await;
        assert!(no_permission(&answer), "{origin}");
        assert_eq!(header(&answer, "vary"), Some("Origin"), "{origin}");
    }
    let mut doubled = from_page(LISTED, Method::GET, ME);
    doubled.headers.append("origin", LISTED.parse().unwrap());
    assert!(no_permission(&browser.send(&bench, doubled).await));
    let mut contradicts = from_page(LISTED, Method::GET, ME);
    contradicts
        .headers
        .insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
    assert!(no_permission(&browser.send(&bench, contradicts).await));
}

#[tokio::test]
async fn a_listed_page_reads_data_and_never_a_page_of_ours() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    let mut asked = from_page(LISTED, Method::POST, LOGIN);
    asked
        .headers
        .insert("content-type", HeaderValue::from_static("application/json"));
    asked.body = Bytes::from(json!({"username": "alice", "password": PASSWORD}).to_string());
    let answer = browser.send(&bench, asked).await;
    assert_eq!(answer.status(), 200, "{}", text(&answer));
    assert_eq!(header(&answer, "access-control-allow-origin"), Some(LISTED));
    for path in [ME, SESSION, "/.portcullis/sessions", "/.portcullis/nothing"] {
        let answer = browser.send(&bench, from_page(LISTED, Method::GET, path)).await;
        assert_eq!(header(&answer, "access-control-allow-origin"), Some(LISTED), "{path}");
        assert_eq!(
            header(&answer, "access-control-allow-credentials"),
            Some("true"),
            "{path}"
        );
    }
    for path in [LOGIN, LOGOUT] {
        let answer = browser.send(&bench, from_page(LISTED, Method::GET, path)).await;
        assert_eq!(
            header(&answer, "content-type"),
            Some("text/html; charset=utf-8"),
            "{path}"
        );
        assert!(no_permission(&answer), "{path}: its form holds a token");
    }
    let answer = browser.send(&bench, from_page(LISTED, Method::POST, LOGOUT)).await;
    assert_eq!(answer.status(), 204);
    assert_eq!(header(&answer, "access-control-allow-origin"), Some(LISTED));
    assert_eq!(bench.store.sessions(), 0);
}

#[tokio::test]
async fn without_listed_origins_nothing_is_said_of_them() {
    let bench = Bench::with(|settings, _| settings.return_origins.clear());
    let answer = asks_first(&bench, LISTED, "POST", LOGIN).await;
    assert!(answer.status() == 403 && no_permission(&answer));
    let answer = bench.portal.answer(exchange(Method::GET, SESSION)).await;
    assert_eq!(header(&answer, "vary"), None);
}
