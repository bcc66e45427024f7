//! Applications that answer in odd ways, by mistake or because somebody made them.

use super::{assert_alive, head};
use crate::support::client::Client;
use crate::support::stage::{HOST, ROUTES, Stage};
use crate::support::upstream::{Recorded, Reply};

/// Answers that cannot be read in one way only, by path.
const UNCLEAR: &[(&str, &str)] = &[
    (
        "/length-and-chunks",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "/chunks-and-length",
        "Transfer-Encoding: chunked\r\nContent-Length: 50\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    ("/two-lengths", "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    (
        "/two-other-lengths",
        "Content-Length: 5\r\nContent-Length: 3\r\n\r\nhello",
    ),
    ("/list-of-lengths", "Content-Length: 5, 5\r\n\r\nhello"),
    ("/signed-length", "Content-Length: +5\r\n\r\nhello"),
    ("/no-length", "Content-Length:\r\n\r\nhello"),
    (
        "/other-coding",
        "Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    ("/identity", "Transfer-Encoding: identity\r\n\r\nhello"),
    (
        "/two-codings",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    ("/switch", "\r\n"),
];

fn script(request: &Recorded) -> Reply {
    let target = request.target();
    let who = request.values("x-forwarded-user").concat();
    let open = |text: &str| Reply::RawOpen(text.as_bytes().to_vec());
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    match target.as_str() {
        "/switch" => open("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
        "/more-than-said" => open(&format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{poison}")),
        "/no-content-with-body" => open(&format!(
            "HTTP/1.1 204 No Content\r\nContent-Length: 47\r\n\r\n{poison}"
        )),
        "/not-modified-with-body" => open(&format!(
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 47\r\n\r\n{poison}"
        )),
        "/chunks-and-more" => open(&format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{poison}"
        )),
        "/head-with-body" => open(&format!("HTTP/1.1 200 OK\r\nContent-Length: 47\r\n\r\n{poison}")),
        "/interim" => open(&format!(
            "{}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(50)
        )),
        "/split" => open("HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: c=d\r\nContent-Length: 2\r\n\r\nok"),
        "/cut-chunks" => Reply::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec()),
        "/fresh" => Reply::text("ok").with("Cache-Control", "max-age=60"),
        "/expires" => Reply::text("ok").with("Expires", "Fri, 01 Jan 2100 00:00:00 GMT"),
        "/pragma" => Reply::text("ok").with("Pragma", "x"),
        "/for-all" => Reply::text("ok").with("Cache-Control", "Public, max-age=60"),
        "/shared" => Reply::text("ok").with("Cache-Control", "s-maxage=60"),
        _ => match UNCLEAR.iter().find(|(path, _)| *path == target) {
            Some((_, rest)) => open(&format!("HTTP/1.1 200 OK\r\n{rest}")),
            None => Reply::text(&format!("you are {who}")),
        },
    }
}

async fn stage() -> Stage {
    Stage::with("", ROUTES, script).await
}

#[tokio::test]
async fn an_answer_whose_length_is_unclear_is_502_and_its_connection_is_not_used_again() {
    let stage = stage().await;
    let cookie = stage.cookie_line();
    for (target, _) in UNCLEAR {
        let mut client = stage.client().await;
        let answer = client.get(HOST, target, &[&cookie]).await;
        assert_eq!(answer.status, 502, "{target}: {}", answer.text());
        let answer = client.get(HOST, "/", &[&cookie]).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "you are ada"),
            "{target}"
        );
        let requests = stage.app.requests();
        let [odd, next] = requests.as_slice() else {
            panic!("{target}: {requests:?}")
        };
        assert_ne!(odd.connection, next.connection, "{target}");
        stage.app.forget();
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_are_never_another_users_answer() {
    let stage = stage().await;
    stage.gateway.add_user("bob", "another long password", &[]);
    let bob = stage.client().await.sign_in(HOST, "bob", "another long password").await;
    let (ada, bob) = (stage.cookie_line(), format!("Cookie: {bob}"));
    for (method, target) in [
        ("GET", "/more-than-said"),
        ("GET", "/no-content-with-body"),
        ("GET", "/not-modified-with-body"),
        ("GET", "/chunks-and-more"),
        ("HEAD", "/head-with-body"),
    ] {
        for _ in 0..5 {
            let first = stage.client().await.request(method, HOST, target, &[&ada], b"").await;
            assert!(matches!(first.status, 200 | 204 | 304), "{target}: {}", first.status);
            assert!(!first.text().contains("poison"), "{target}");
            let second = stage.client().await.get(HOST, "/", &[&bob]).await;
            assert_eq!(second.text(), "you are bob", "behind {target}");
        }
    }
}

#[tokio::test]
async fn interim_answers_split_values_and_cut_bodies_do_no_harm() {
    let stage = stage().await;
    let cookie = stage.cookie_line();
    let answer = stage.client().await.get(HOST, "/interim", &[&cookie]).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    let answer = stage.client().await.get(HOST, "/split", &[&cookie]).await;
    assert_eq!(answer.status, 502, "{answer:?}");
    let mut client = stage.client().await;
    client.send(head(&stage, "GET /cut-chunks", &[]).as_bytes()).await;
    let rest = String::from_utf8_lossy(&client.rest().await).into_owned();
    assert!(rest.contains("hello") && !rest.contains("\r\n0\r\n"), "{rest}");
    assert_alive(&stage).await;
}

#[tokio::test]
async fn no_answer_to_a_user_may_be_kept_for_another() {
    let stage = stage().await;
    let cookie = stage.cookie_line();
    for (target, expected) in [
        ("/", vec!["private"]),
        ("/fresh", vec!["max-age=60", "private"]),
        ("/expires", vec!["private"]),
        ("/pragma", vec!["private"]),
        ("/for-all", vec!["Public, max-age=60"]),
        ("/shared", vec!["s-maxage=60"]),
    ] {
        let answer = stage.client().await.get(HOST, target, &[&cookie]).await;
        assert_eq!(answer.values("cache-control"), expected, "{target}");
    }
    let nobody = stage.client().await.get(HOST, "/public", &[]).await;
    assert!(nobody.values("cache-control").is_empty());
}

#[tokio::test]
async fn an_answer_to_head_has_its_length_and_no_body() {
    let stage = stage().await;
    let mut client: Client = stage.client().await;
    for (target, status) in [
        ("/.portcullis/login", 200),
        ("/.portcullis/none", 404),
        ("/denied", 403),
        ("/", 302),
        ("/public", 200),
    ] {
        let lines = ["Accept: text/html"];
        let get = stage.client().await.get(HOST, target, &lines).await;
        let head = client.request("HEAD", HOST, target, &lines, b"").await;
        assert_eq!((get.status, head.status), (status, status), "{target}");
        assert_eq!(head.value("content-type"), get.value("content-type"), "{target}");
        if status != 302 {
            assert!(
                head.value("content-length").is_some_and(|length| length != "0"),
                "{target}"
            );
        }
    }
}
