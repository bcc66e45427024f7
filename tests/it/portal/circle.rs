//! Log-ins that do not hold end in a page that says why, never in one more redirect.

use super::bench::*;
use super::{COOKIE, LOGIN, LOGOUT, right};
use portcullis::web::Answer;
use portcullis::web::Scheme;
use std::time::Duration;

/// Signs in by the form and loses the session's cookie, as a browser does that refuses it.
async fn lose(bench: &Bench, browser: &mut Browser, fields: &[(&str, &str)]) -> Answer {
    let answer = browser.submit(bench, LOGIN, LOGIN, fields).await;
    browser.cookies.remove(COOKIE);
    answer
}

#[tokio::test]
async fn the_third_log_in_that_does_not_hold_ends_in_a_page_that_says_why() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    for _ in 0..2 {
        let answer = lose(&bench, &mut browser, &right()).await;
        assert_eq!(answer.status(), 303);
        bench.clock.advance(Duration::from_secs(2));
    }
    let answer = lose(&bench, &mut browser, &[right()[0], right()[1], ("next", "/orders")]).await;
    assert_eq!(answer.status(), 409);
    assert!(header(&answer, "location").is_none(), "no fourth round");
    let page = text(&answer);
    assert!(
        page.contains("did not keep the cookie") && page.contains("href=\"/orders\""),
        "{page}"
    );
    let lines = answer.headers().get_all("set-cookie");
    assert!(
        lines.iter().any(|line| line.to_str().unwrap().starts_with(COOKIE)),
        "the sign-in was proven and may hold this time"
    );
    bench.clock.advance(Duration::from_secs(11));
    assert_eq!(
        lose(&bench, &mut browser, &right()).await.status(),
        303,
        "a while later it is tried again"
    );
}

#[tokio::test]
async fn log_ins_that_hold_or_are_far_apart_are_no_circle() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    for _ in 0..6 {
        let answer = browser.submit(&bench, LOGIN, LOGIN, &right()).await;
        assert_eq!(answer.status(), 303);
    }
    let mut other = Browser::default();
    for _ in 0..6 {
        assert_eq!(lose(&bench, &mut other, &right()).await.status(), 303);
        bench.clock.advance(Duration::from_secs(6));
    }
}

#[tokio::test]
async fn who_signs_out_in_between_is_no_circle() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    for _ in 0..5 {
        assert_eq!(browser.submit(&bench, LOGIN, LOGIN, &right()).await.status(), 303);
        assert_eq!(browser.submit(&bench, LOGOUT, LOGOUT, &[]).await.status(), 303);
        assert!(!browser.cookies.contains_key("__Host-portcullis-trips"));
    }
}

#[tokio::test]
async fn the_page_names_the_cause_that_it_can_see() {
    let third = async |bench: &Bench, next: &str, kept: Option<&str>| {
        let mut browser = Browser::default();
        for _ in 0..2 {
            lose(bench, &mut browser, &right()).await;
        }
        if let Some(kept) = kept {
            browser.cookies.insert(COOKIE.to_owned(), kept.to_owned());
        }
        let answer = lose(bench, &mut browser, &[right()[0], right()[1], ("next", next)]).await;
        assert_eq!(answer.status(), 409);
        text(&answer).to_owned()
    };
    let bench = Bench::new();
    let page = third(&bench, "https://app.example.com/", None).await;
    assert!(page.contains("holds for this host only"), "{page}");
    let page = third(&bench, "/", Some("AAAA")).await;
    assert!(page.contains("another cookie under the name"), "{page}");

    let bench = Bench::with(|settings, _| settings.unsafe_plain_login = true);
    let mut browser = Browser::default();
    let mut page = String::new();
    for _ in 0..3 {
        let mut shown = exchange(http::Method::GET, LOGIN);
        shown.scheme = Scheme::Http;
        let shown = browser.send(&bench, shown).await;
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("csrf", &token(&shown).unwrap()).extend_pairs(right());
        let mut sent = form(LOGIN, body.finish());
        sent.scheme = Scheme::Http;
        sent.headers.insert("origin", "http://crm.example.com".parse().unwrap());
        page = text(&browser.send(&bench, sent).await).to_owned();
        browser.cookies.remove(COOKIE);
    }
    assert!(page.contains("plain http"), "{page}");
}
