//! Connections from the socket to the handler: TLS, PROXY protocol, limits, deadlines, stopping.

use crate::support::client::Client;
use crate::support::net;
use crate::support::net::Served;
use crate::support::net::listener;
use crate::support::tls;
use crate::support::tls::Http2;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use http_body_util::Full;
use portcullis::net::CertificateFiles;
use portcullis::net::NetError;
use portcullis::net::TlsSettings;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A local authority and the listener setting that uses it.
fn local(hosts: &[&str]) -> (TempDir, TlsSettings) {
    let dir = tempfile::tempdir().unwrap();
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    let settings = TlsSettings::Local {
        dir: dir.path().to_owned(),
        hosts,
    };
    (dir, settings)
}

/// TLS with a local authority, which is returned (PEM).
fn with_tls(change: impl FnOnce(&mut portcullis::net::Settings)) -> (Served, String) {
    let (dir, settings) = local(&["app.test", "127.0.0.1"]);
    let served = Served::with(|all| {
        all.listeners = vec![listener(Some(settings))];
        change(all);
    });
    (served, tls::local_ca(dir.path()))
}

/// Copies a leaf and its key out of a local authority's folder.
fn files_of(dir: &Path) -> CertificateFiles {
    CertificateFiles {
        chain: dir.join("leaf.pem"),
        key: dir.join("leaf.key"),
    }
}

#[tokio::test]
async fn the_protocol_is_chosen_by_alpn() {
    let (served, ca) = with_tls(|_| {});
    let mut h1 = Client::tls(served.address(), "app.test", &ca).await;
    assert_eq!(h1.get("app.test", "/a", &[]).await.text(), "GET /a 0");
    assert_eq!(h1.get("app.test", "/b", &[]).await.text(), "GET /b 0");
    let mut h2 = Http2::connect(served.address(), "app.test", &ca).await;
    assert_eq!(
        h2.get("https://app.test/c").await,
        (200, "GET https://app.test/c 0".to_owned())
    );
    // Without ALPN: HTTP/1.1.
    let mut plain = tls::connect(served.address(), "app.test", &ca, &[]).await.unwrap();
    plain
        .write_all(b"GET /d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("GET /d 0"), "{answer}");
    // HTTP/2 by prior knowledge on HTTP/1.1 is refused.
    let mut guessed = Client::tls(served.address(), "app.test", &ca).await;
    guessed.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(guessed.response().await.status, 400);
}

#[tokio::test]
async fn many_streams_share_one_connection() {
    let (served, ca) = with_tls(|_| {});
    let h2 = Http2::connect(served.address(), "app.test", &ca).await;
    let requests = (0..200).map(|index| {
        let mut sender = h2.sender.clone();
        async move {
            let body = Full::new(Bytes::from(vec![b'x'; index * 100]));
            let request = Request::post(format!("https://app.test/{index}")).body(body).unwrap();
            sender.ready().await.unwrap();
            let answer = sender.send_request(request).await.unwrap().into_body();
            let text = answer.collect().await.unwrap().to_bytes();
            assert_eq!(text, format!("POST https://app.test/{index} {}", index * 100));
        }
    });
    futures_util::future::join_all(requests).await;
}

#[tokio::test]
async fn a_large_answer_arrives_whole_over_both_protocols() {
    let (served, ca) = with_tls(|_| {});
    let mut h1 = Client::tls(served.address(), "app.test", &ca).await;
    assert_eq!(h1.get("app.test", "/large", &[]).await.body.len(), 64 * 1024 * 1024);
    let mut h2 = Http2::connect(served.address(), "app.test", &ca).await;
    assert_eq!(h2.get("https://app.test/large").await.1.len(), 64 * 1024 * 1024);
}

#[tokio::test]
async fn limits_of_a_head_hold_on_http_2_too() {
    let (served, ca) = with_tls(|_| {});
    let mut h2 = Http2::connect(served.address(), "app.test", &ca).await;
    let long = format!("https://app.test/{}", "a".repeat(5000));
    assert_eq!(h2.get(&long).await.0, 414);
    let mut many = Request::get("https://app.test/");
    for index in 0..101 {
        many = many.header(format!("x-{index}"), "y");
    }
    assert_eq!(
        h2.send(many.body(Full::default()).unwrap()).await.unwrap().status(),
        431
    );
    assert_eq!(h2.get("https://app.test/good").await.0, 200, "the connection goes on");
    let large = Request::get("https://app.test/").header("x", "y".repeat(20_000));
    let refused = h2.send(large.body(Full::default()).unwrap()).await;
    assert!(refused.is_err() || refused.unwrap().status() == 431);
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_that_the_client_asks_for() {
    let (first, one) = local(&["first.test"]);
    let (second, two) = local(&["second.test", "*.second.test"]);
    drop(Served::with(|all| {
        all.listeners = vec![listener(Some(one)), listener(Some(two))];
    }));
    let files = TlsSettings::Files(vec![files_of(first.path()), files_of(second.path())]);
    let served = Served::with(|all| all.listeners = vec![listener(Some(files))]);
    let (first, second) = (tls::local_ca(first.path()), tls::local_ca(second.path()));
    for (name, ca) in [
        ("first.test", &first),
        ("second.test", &second),
        ("SECOND.test", &second),
        ("a.second.test", &second),
    ] {
        let mut client = Client::tls(served.address(), name, ca).await;
        let seen = client.get(name, "/peer", &[]).await.text();
        assert!(seen.ends_with(&format!(" {}", name.to_ascii_lowercase())), "{seen}");
    }
    // Unknown names, two labels under a wildcard, and no name at all are shown the first.
    for name in ["other.test", "a.b.second.test", "127.0.0.1"] {
        let refused = tls::connect(served.address(), name, &first, &[])
            .await
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("NotValidForName") || refused.contains("not valid for name"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_local_authority_cannot_vouch_for_other_hosts() {
    let (dir, settings) = local(&["app.test"]);
    drop(Served::with(|all| all.listeners = vec![listener(Some(settings))]));
    let ca = rcgen::KeyPair::from_pem(&std::fs::read_to_string(dir.path().join("ca.key")).unwrap()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&tls::local_ca(dir.path()), ca).unwrap();
    for stranger in ["bank.test", "192.0.2.1"] {
        let key = rcgen::KeyPair::generate().unwrap();
        let forged = rcgen::CertificateParams::new(vec![stranger.to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let files = CertificateFiles {
            chain: dir.path().join("forged.pem"),
            key: dir.path().join("forged.key"),
        };
        std::fs::write(&files.chain, forged.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        let served = Served::with(|all| all.listeners = vec![listener(Some(TlsSettings::Files(vec![files])))]);
        let refused = tls::connect(served.address(), stranger, &tls::local_ca(dir.path()), &[])
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("NameConstraint"), "{refused}");
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named_with_the_reason() {
    let (good, settings) = local(&["app.test"]);
    let (other, more) = local(&["other.test"]);
    drop(Served::with(|all| {
        all.listeners = vec![listener(Some(settings)), listener(Some(more))];
    }));
    let error = |chain: &Path, key: &Path| {
        let files = CertificateFiles {
            chain: chain.to_owned(),
            key: key.to_owned(),
        };
        let mut settings = crate::support::net::settings();
        settings.listeners = vec![listener(Some(TlsSettings::Files(vec![files])))];
        match portcullis::net::bind(&settings, OffsetDateTime::now_utc()) {
            Err(error @ NetError::Certificate { .. }) => error.to_string(),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it was taken"),
        }
    };
    let (leaf, key) = (good.path().join("leaf.pem"), good.path().join("leaf.key"));
    let nonsense = other.path().join("nonsense.pem");
    std::fs::write(&nonsense, "nonsense").unwrap();
    assert!(error(&good.path().join("none.pem"), &key).contains("there is no such file"));
    assert!(error(&nonsense, &key).contains("there is no certificate in it"));
    assert!(error(&key, &key).contains("there is no certificate in it"));
    assert!(error(&leaf, &leaf).contains("there is no private key in it"));
    let mismatch = error(&leaf, &other.path().join("leaf.key"));
    assert!(
        mismatch.contains("does not belong to the first certificate"),
        "{mismatch}"
    );
}

#[tokio::test]
async fn the_end_of_a_certificate_is_a_metric() {
    let (served, _) = with_tls(|_| {});
    let text = served.metrics.text();
    let line = text
        .lines()
        .find(|line| line.starts_with("portcullis_certificate_expiry_timestamp_seconds{"));
    let ends: i64 = line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap();
    let days = (ends - OffsetDateTime::now_utc().unix_timestamp()) / 86_400;
    assert!((390..=397).contains(&days), "{days}");
}

#[tokio::test]
async fn an_address_in_use_is_named_with_what_to_do() {
    let taken = Served::plain();
    let mut settings = crate::support::net::settings();
    settings.listeners[0].address = taken.address();
    let error = portcullis::net::bind(&settings, OffsetDateTime::now_utc())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains(&taken.address().to_string()) && error.contains("ss -ltnp"),
        "{error}"
    );
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut() {
    let (served, ca) = with_tls(|all| all.limits.handshake = Duration::from_secs(2));
    let starts = [&b""[..], b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"].map(async |start| {
        let mut client = Client::plain(served.address()).await;
        client.send(start).await;
        let _alert = client.rest().await;
    });
    futures_util::future::join_all(starts).await;
    Client::tls(served.address(), "app.test", &ca).await;
}

#[tokio::test]
async fn a_full_gateway_lets_clients_wait_and_serves_them_when_there_is_room() {
    let served = Served::with(|all| all.limits.connections = 2);
    let mut first = Client::plain(served.address()).await;
    let mut second = Client::plain(served.address()).await;
    assert_eq!(first.get("a", "/1", &[]).await.status, 200);
    assert_eq!(second.get("a", "/2", &[]).await.status, 200);
    let mut third = Client::plain(served.address()).await;
    third.send(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let waiting = tokio::time::timeout(Duration::from_millis(300), third.response()).await;
    assert!(waiting.is_err(), "it is neither served nor refused");
    drop(first);
    assert_eq!(third.response().await.text(), "GET /3 0");
}

#[tokio::test]
async fn one_address_gets_no_more_than_its_share() {
    let served = Served::with(|all| all.limits.connections_per_address = Some(2));
    let mut first = Client::plain(served.address()).await;
    let mut second = Client::plain(served.address()).await;
    assert_eq!(first.get("a", "/1", &[]).await.status, 200);
    assert_eq!(second.get("a", "/2", &[]).await.status, 200);
    assert!(Client::plain(served.address()).await.is_closed().await);
    drop(first);
    let again = async {
        loop {
            let mut client = Client::plain(served.address()).await;
            client
                .send_anyway(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                .await;
            if !client.is_closed().await {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again)
        .await
        .expect("the share is given back");
}

#[tokio::test]
async fn the_proxy_protocol_tells_the_client_and_is_required_where_it_is_spoken() {
    let served = Served::with(|all| {
        all.proxy_protocol = vec!["127.0.0.0/8".parse().unwrap()];
        all.limits.handshake = Duration::from_secs(3);
        all.limits.connections_per_address = Some(1);
    });
    let one = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n";
    let two = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"[..],
        &[0x20, 1, 0xd, 0xb8],
        &[0; 11],
        &[7],
        &[0; 16],
        &[0xC8, 0x22, 1, 0xBB],
    ]
    .concat();
    let request = b"GET /peer HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut held = Vec::new();
    for (header, expected) in [(&one[..], "203.0.113.7:51234 -"), (&two, "[2001:db8::7]:51234 -")] {
        for together in [true, false] {
            let mut client = Client::plain(served.address()).await;
            if together {
                client.send(&[header, request].concat()).await;
            } else {
                for byte in header {
                    client.send(&[*byte]).await;
                }
                client.send(request).await;
            }
            if together {
                assert_eq!(client.response().await.text(), expected);
                held.push(client);
            } else {
                assert!(
                    client.is_closed().await,
                    "a second connection of one client behind the balancer"
                );
            }
        }
    }
    let mut own = Client::plain(served.address()).await;
    own.send(&[b"PROXY UNKNOWN\r\n", &request[..]].concat()).await;
    assert!(own.response().await.text().starts_with("127.0.0.1:"));
    for wrong in [&request[..], b"PROXY TCP4 x\r\n", b"", b"PROXY TCP4 203.0.113.8"] {
        let mut client = Client::plain(served.address()).await;
        client.send(wrong).await;
        assert!(client.is_closed().await, "{:?}", wrong.escape_ascii().to_string());
    }
}

#[tokio::test]
async fn a_proxy_header_from_anybody_else_is_a_malformed_request() {
    let served = Served::with(|all| all.proxy_protocol = vec!["192.0.2.0/24".parse().unwrap()]);
    let mut client = Client::plain(served.address()).await;
    client
        .send(b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status, 400);
}

#[tokio::test]
async fn a_bug_in_one_request_ends_nothing_but_that_request() {
    let (served, ca) = with_tls(|all| all.workers = 1);
    for _ in 0..3 {
        let mut client = Client::tls(served.address(), "app.test", &ca).await;
        client.send(b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(client.is_closed().await);
    }
    let mut h2 = Http2::connect(served.address(), "app.test", &ca).await;
    let request = Request::get("https://app.test/panic").body(Full::default()).unwrap();
    assert!(h2.send(request).await.is_err());
    assert_eq!(h2.get("https://app.test/good").await.0, 200, "the other streams go on");
    assert_eq!(connections(&served), 1, "what the others occupied was given back");
}

/// The gauge of open connections over all listeners.
fn connections(served: &Served) -> i64 {
    let text = served.metrics.text();
    let lines = text.lines().filter(|line| line.starts_with("portcullis_connections{"));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap())
        .sum()
}

#[tokio::test]
async fn a_soft_stop_finishes_the_answer_under_way_and_closes() {
    let (mut served, ca) = with_tls(|_| {});
    let mut idle = Client::tls(served.address(), "app.test", &ca).await;
    assert_eq!(idle.get("app.test", "/a", &[]).await.status, 200);
    let mut busy = Client::tls(served.address(), "app.test", &ca).await;
    busy.send(b"GET /stopping HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    let mut h2 = Http2::connect(served.address(), "app.test", &ca).await;
    let slow = Request::get("https://app.test/stopping").body(Full::default()).unwrap();
    let under_way = tokio::spawn({
        let sending = h2.sender.send_request(slow);
        async move { sending.await.unwrap().into_body().collect().await.unwrap().to_bytes() }
    });
    let address = served.address();
    while net::STOPPING.load(std::sync::atomic::Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    served.lifecycle.soft.cancel();
    assert!(idle.is_closed().await);
    let answer = busy.response().await;
    assert_eq!(
        (answer.text().as_str(), answer.value("connection")),
        ("slow", Some("close"))
    );
    assert!(busy.is_closed().await);
    assert_eq!(under_way.await.unwrap(), "slow");
    h2.closed().await.expect("GOAWAY, not a broken connection");
    let workers = served.workers.take().unwrap();
    assert_eq!(workers.finished().await, 0);
    assert!(!served.lifecycle.failed.is_cancelled());
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens there");
}

#[tokio::test]
async fn a_client_that_has_just_connected_is_answered_at_a_stop() {
    let mut served = Served::plain();
    let mut early = Client::plain(served.address()).await;
    let mut silent = Client::plain(served.address()).await;
    // The acceptor shares this thread: these wait in the kernel when the stop comes.
    served.lifecycle.soft.cancel();
    early.send(b"GET /early HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = early.response().await;
    assert_eq!(answer.text(), "GET /early 0");
    // Its core may have answered before it heard of the stop: then there was no time to announce the end, and it comes.
    assert!(matches!(answer.value("connection"), None | Some("close")));
    assert!(early.is_closed().await);
    assert!(silent.is_closed().await);
    assert_eq!(served.workers.take().unwrap().finished().await, 0);
}

#[tokio::test]
async fn a_connection_that_rested_goes_on_as_before() {
    let (dir, settings) = local(&["app.test"]);
    let served = Served::with(|all| all.listeners = vec![listener(None), listener(Some(settings))]);
    let mut plain = Client::plain(served.addresses[0]).await;
    let mut secure = Client::tls(served.addresses[1], "app.test", &tls::local_ca(dir.path())).await;
    for client in [&mut plain, &mut secure] {
        assert_eq!(client.get("a", "/before", &[]).await.text(), "GET /before 0");
    }
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let large = vec![b'x'; 100_000];
    for client in [&mut plain, &mut secure] {
        let answer = client.request("POST", "a", "/after", &["X: y"], &large).await;
        assert_eq!(answer.text(), "POST /after 100000");
        let pipelined = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/9\r\n\r\n";
        client.send(pipelined).await;
        assert_eq!(client.response().await.text(), "GET /1 0");
        assert_eq!(client.response().await.text(), "GET /2 0");
        assert_eq!(client.response().await.status, 400);
    }
}

#[tokio::test]
async fn a_hard_stop_cuts_what_is_left_and_says_how_much() {
    let mut served = Served::plain();
    let mut stuck = Client::plain(served.address()).await;
    stuck.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut tunnel = Client::plain(served.address()).await;
    tunnel
        .send(b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    assert_eq!(tunnel.response().await.status, 101);
    served.lifecycle.soft.cancel();
    let workers = served.workers.take().unwrap();
    let finished = tokio::spawn(workers.finished());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!finished.is_finished(), "a tunnel and a request are waited for");
    tunnel.send(b"still here").await;
    assert_eq!(tunnel.exactly(10).await, b"still here");
    served.lifecycle.hard.cancel();
    assert_eq!(finished.await.unwrap(), 2);
    assert!(stuck.is_closed().await && tunnel.is_closed().await);
}

#[tokio::test]
async fn a_client_that_takes_no_bytes_is_cut() {
    let served = Served::with(|all| all.limits.body_idle = Duration::from_millis(500));
    let mut client = TcpStream::connect(served.address()).await.unwrap();
    client
        .write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let began = Instant::now();
    while connections(&served) > 0 || began.elapsed() < Duration::from_millis(300) {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "the connection is still held"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn an_http_2_client_that_opens_no_window_is_cut() {
    let (served, ca) = with_tls(|all| all.limits.body_idle = Duration::from_millis(500));
    let mut h2 = Http2::connect(served.address(), "app.test", &ca).await;
    let request = Request::get("https://app.test/large").body(Full::default()).unwrap();
    let unread = h2.send(request).await.unwrap();
    let began = Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(20), &mut h2.connection).await;
    assert!(ended.is_ok(), "the connection is still held");
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert!(
        unread.into_body().collect().await.is_err(),
        "a cut answer is not a complete one"
    );
}

#[tokio::test]
async fn an_idle_http_2_connection_is_closed_politely_and_a_silent_one_is_cut() {
    let (served, ca) = with_tls(|all| {
        all.limits.idle = Duration::from_millis(1_500);
        all.limits.body_idle = Duration::from_millis(1_500);
    });
    let mut h2 = Http2::connect(served.address(), "app.test", &ca).await;
    for _ in 0..6 {
        assert_eq!(h2.get("https://app.test/slow").await.0, 200);
    }
    tokio::time::timeout(Duration::from_secs(20), &mut h2.connection)
        .await
        .expect("it is closed")
        .unwrap()
        .expect("GOAWAY, not a broken connection");
    // A client that speaks TLS and then nothing.
    let mut silent = tls::connect(served.address(), "app.test", &ca, &[b"h2"]).await.unwrap();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), silent.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the connection is still held");
}

#[tokio::test]
async fn connections_are_spread_over_the_workers() {
    let served = Served::with(|all| all.workers = 4);
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = Client::plain(served.address()).await;
        assert_eq!(client.get("a", "/thread", &[]).await.status, 200);
        clients.push(client);
    }
    let mut threads = std::collections::BTreeMap::<String, usize>::new();
    for client in &mut clients {
        *threads.entry(client.get("a", "/thread", &[]).await.text()).or_default() += 1;
    }
    let expected = (0..4).map(|core| (format!("core-{core}"), 10)).collect();
    assert_eq!(threads, expected);
    assert_eq!(connections(&served), 40);
}

#[tokio::test]
async fn every_listener_has_its_own_address_and_all_lead_to_the_handler() {
    let (_dir, settings) = local(&["app.test"]);
    let served = Served::with(|all| all.listeners = vec![listener(None), listener(Some(settings)), listener(None)]);
    let addresses: &[SocketAddr] = &served.addresses;
    assert_eq!(
        Client::plain(addresses[0]).await.get("a", "/0", &[]).await.text(),
        "GET /0 0"
    );
    assert_eq!(
        Client::plain(addresses[2]).await.get("a", "/2", &[]).await.text(),
        "GET /2 0"
    );
}

#[tokio::test]
async fn a_local_certificate_is_made_anew_before_it_ends_while_connections_go_on() {
    let (dir, settings) = local(&["app.test"]);
    let served = Served::with(|all| all.listeners = vec![listener(Some(settings.clone()))]);
    let ca = tls::local_ca(dir.path());
    let mut open = Client::tls(served.address(), "app.test", &ca).await;
    let leaf = || std::fs::read_to_string(dir.path().join("leaf.pem")).unwrap();
    let first = leaf();
    let control = served.workers.as_ref().unwrap().control();
    let mut wanted = net::settings();
    wanted.listeners = vec![listener(Some(settings))];
    for (days, renewed) in [(300, false), (380, true)] {
        let then = OffsetDateTime::now_utc() + time::Duration::days(days);
        let prepared = control.prepare(&wanted, then).unwrap();
        assert!(prepared.pending.is_empty());
        control.adopt(prepared, Duration::from_secs(5)).await;
        assert_eq!(leaf() != first, renewed, "after {days} days");
    }
    // It was made for a time to come, which is how this client knows it.
    let shown = tls::connect(served.address(), "app.test", &ca, &[b"http/1.1"]).await;
    let error = shown.unwrap_err().to_string();
    assert!(error.contains("not valid yet"), "{error}");
    assert_eq!(open.get("app.test", "/a", &[]).await.text(), "GET /a 0");
}

#[tokio::test]
async fn connections_of_one_address_are_counted_on_through_a_change_of_their_limit() {
    let served = Served::with(|all| all.limits.connections_per_address = Some(2));
    let mut first = Client::plain(served.address()).await;
    assert_eq!(first.get("h", "/a", &[]).await.status, 200);
    let control = served.workers.as_ref().unwrap().control();
    let mut wanted = net::settings();
    wanted.limits.connections_per_address = Some(1);
    let prepared = control.prepare(&wanted, OffsetDateTime::now_utc()).unwrap();
    control.adopt(prepared, Duration::from_secs(5)).await;
    let mut second = Client::plain(served.address()).await;
    assert!(second.is_closed().await, "the first one still counts");
    assert_eq!(first.get("h", "/b", &[]).await.status, 200);
}

#[tokio::test]
async fn answers_say_that_the_connection_ends_before_any_is_closed() {
    let (served, ca) = with_tls(|_| {});
    let mut open = Client::tls(served.address(), "app.test", &ca).await;
    let mut h2 = Http2::connect(served.address(), "app.test", &ca).await;
    let answer = open.get("app.test", "/a", &[]).await;
    assert_eq!(answer.value("connection"), None);
    served.lifecycle.parting.cancel();
    let mut fresh = Client::tls(served.address(), "app.test", &ca).await;
    for client in [&mut open, &mut fresh] {
        let begun = Instant::now();
        let mut answer = client.get("app.test", "/a", &[]).await;
        while answer.value("connection") != Some("close") {
            assert!(begun.elapsed() < Duration::from_secs(30), "it never said so");
            answer = client.get("app.test", "/a", &[]).await;
        }
        assert!(client.is_closed().await);
    }
    assert_eq!(h2.get("https://app.test/b").await.0, 200);
    served.lifecycle.soft.cancel();
    h2.closed().await.expect("a polite end");
}
