use super::*;
use crate::support::postgres::Postgres;
use crate::support::stage;
use crate::support::tls::Http2;
use crate::support::upstream::Upstream;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use std::sync::Arc;
use tokio::sync::Notify;

#[tokio::test]
async fn a_websocket_ends_with_a_close_on_both_sides_when_its_user_logs_out_elsewhere() {
    let heard = Heard::default();
    let mut stage = stage(&heard).await;
    let mut old = socket(&stage, "/ws").await;
    old.send(&frame(b"before")).await;
    while heard.bytes() != frame(b"before") {
        pause();
    }
    log_out(&stage).await;
    let ended = Instant::now();
    // What is sent after the log-out was answered is not the user's any more.
    old.send_anyway(&frame(b"after")).await;
    assert_eq!(old.exactly(4).await, POLICY);
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
    assert!(old.is_closed().await);
    while heard.ended() == 0 {
        assert!(ended.elapsed() < PATIENCE);
        pause();
    }
    assert_eq!(heard.bytes(), [frame(b"before"), MASKED_POLICY.to_vec()].concat());
    // The user is back at once, and so are their streams.
    sign_in_again(&mut stage).await;
    let mut new = socket(&stage, "/echo").await;
    new.send(&frame(b"hi")).await;
    assert_eq!(new.exactly(4).await, [0x82, 2, b'h', b'i']);
    drop((old, new));
    until_none_is_open(&stage.gateway).await;
}

/// An application that sends `first`, and `then` when the gate is opened.
async fn gated(first: Vec<u8>, then: Vec<u8>) -> (Stage, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    let reply = Reply::Gated {
        first,
        gate: Arc::clone(&gate),
        then,
    };
    (Stage::with("", ROUTES, move |_| reply.clone()).await, gate)
}

#[tokio::test]
async fn a_frame_under_way_is_sent_to_its_end_and_nothing_of_the_next() {
    const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let header = [0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0];
    let first = [SWITCH, &header, b"first"].concat();
    let mut then = vec![b'x'; 0x10_0000 - 5];
    then.extend([0x81, 2, b'n', b'o', 0x81, 2, b'n', b'o']);
    let (stage, gate) = gated(first, then).await;
    let mut client = socket(&stage, "/").await;
    assert_eq!(client.exactly(15).await, [&header[..], b"first"].concat());
    log_out(&stage).await;
    gate.notify_one();
    let rest = client.rest().await;
    // Where the machine was too busy for the time that a frame is given, it is cut, and no Close is put into it.
    let (frame, close) = rest.split_at(rest.len().min(0x10_0000 - 5));
    assert!(frame.iter().all(|byte| *byte == b'x'));
    let whole = frame.len() == 0x10_0000 - 5;
    assert_eq!(close, if whole { &POLICY[..] } else { b"" });
}

#[tokio::test]
async fn a_frame_that_does_not_end_is_cut_and_no_close_is_put_into_it() {
    let stage = stage(&Heard::default()).await;
    let mut client = socket(&stage, "/cut-frame").await;
    assert_eq!(client.exactly(5).await, [0x82, 126, 0x9c, 0x40, b'x']);
    log_out(&stage).await;
    let ended = Instant::now();
    assert!(client.is_closed().await);
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
    until_none_is_open(&stage.gateway).await;
}

#[tokio::test]
async fn a_stream_of_events_ends_cleanly_between_two_events() {
    let mut stage = stage(&Heard::default()).await;
    let (mut busy, head) = begin(&stage, "/events").await;
    assert_eq!(head.value("content-type"), Some("text/event-stream"));
    let (mut quiet, _) = begin(&stage, "/quiet-events").await;
    busy.chunk().await;
    quiet.chunk().await;
    log_out(&stage).await;
    let ended = Instant::now();
    let text = chunks(&mut busy).await.expect("it ends as a whole answer does");
    let events = text.strip_suffix("0\r\n\r\n").expect("the last chunk");
    assert!(events.is_empty() || events.ends_with("\n\n\r\n"), "{text:?}");
    assert_eq!(chunks(&mut quiet).await.as_deref(), Some("0\r\n\r\n"));
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
    sign_in_again(&mut stage).await;
    let (mut again, head) = begin(&stage, "/events").await;
    assert_eq!(head.status, 200);
    for _ in 0..5 {
        assert!(!again.chunk().await.is_empty());
    }
    drop(again);
    until_none_is_open(&stage.gateway).await;
}

#[tokio::test]
async fn an_event_under_way_is_sent_to_its_end_and_nothing_of_the_next() {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let first = format!("{head}{}", chunk("data: whole\n\ndata: ha"));
    let then = chunk("lf\r\n\r\ndata: no\n\n");
    let (stage, gate) = gated(first.into(), then.into()).await;
    let (mut client, _) = begin(&stage, "/").await;
    assert_eq!(client.chunk().await, b"data: whole\n\ndata: ha");
    log_out(&stage).await;
    gate.notify_one();
    let text = chunks(&mut client).await.expect("it ends as a whole answer does");
    // Where the machine was too busy for the time that an event is given, it is cut: a browser drops what has no end.
    assert!(
        text == format!("{}0\r\n\r\n", chunk("lf\r\n\r")) || text == "0\r\n\r\n",
        "{text:?}"
    );
}

#[tokio::test]
async fn a_long_answer_is_cut_and_never_looks_whole() {
    let stage = stage(&Heard::default()).await;
    let (mut slow, _) = begin(&stage, "/download").await;
    let (mut fast, head) = begin(&stage, "/large").await;
    let length: u64 = head.value("content-length").unwrap().parse().unwrap();
    let fast = tokio::spawn(async move {
        let mut read = 0_u64;
        loop {
            let more = fast.some().await;
            if more == 0 {
                return read;
            }
            read += more as u64;
        }
    });
    // Neither is watched before it has taken a second.
    slow.chunk().await;
    until_open(&stage.gateway, "body", 2).await;
    log_out(&stage).await;
    let ended = Instant::now();
    assert_eq!(chunks(&mut slow).await, None);
    let read = tokio::time::timeout(PATIENCE, fast).await.expect("it is cut").unwrap();
    assert!(read < length);
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
    until_none_is_open(&stage.gateway).await;
}

#[tokio::test]
async fn short_answers_are_never_registered_and_end_as_they_are() {
    let stage = stage(&Heard::default()).await;
    let (mut client, _) = begin(&stage, "/short").await;
    assert_eq!(client.chunk().await, b"a short ");
    log_out(&stage).await;
    let rest = chunks(&mut client)
        .await
        .expect("it passed before, and takes no second");
    assert!(rest.contains("answer"));
}

#[tokio::test]
async fn streams_on_http2_end_alone_and_the_connection_goes_on() {
    let stage = stage(&Heard::default()).await;
    let mut client = Http2::connect(stage.gateway.address(0), HOST, &stage.gateway.ca()).await;
    let request = |target: &str| {
        let request = Request::get(format!("https://{HOST}{target}")).header("cookie", &stage.cookie);
        request.body(Full::<Bytes>::default()).unwrap()
    };
    let events = client.send(request("/quiet-events")).await.unwrap().into_body();
    let mut download = client.send(request("/download")).await.unwrap().into_body();
    until_open(&stage.gateway, "events", 1).await;
    let reading = tokio::spawn(async move {
        loop {
            match download.frame().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error,
                None => panic!("a cut answer looks whole"),
            }
        }
    });
    until_open(&stage.gateway, "body", 1).await;
    log_out(&stage).await;
    let events = tokio::time::timeout(SOON, events.collect()).await.expect("it ends");
    assert_eq!(events.expect("it ends cleanly").to_bytes(), "data: 1\n\n");
    let error = tokio::time::timeout(SOON, reading).await.expect("it is cut").unwrap();
    assert!(!error.is_closed(), "the stream is reset, not the connection: {error:?}");
    let (status, _) = client.get(&format!("https://{HOST}/public")).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_command_in_another_process_ends_streams_and_so_does_a_disabled_user() {
    let mut stage = stage(&Heard::default()).await;
    for command in [&["session", "end", "--user", USER][..], &["user", "disable", USER]] {
        let mut socket = socket(&stage, "/echo").await;
        let (mut events, _) = begin(&stage, "/quiet-events").await;
        events.chunk().await;
        let output = stage.gateway.command(command, "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let ended = Instant::now();
        assert_eq!(socket.exactly(4).await, POLICY, "{command:?}");
        assert_eq!(chunks(&mut events).await.as_deref(), Some("0\r\n\r\n"));
        assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
        if command[0] == "session" {
            sign_in_again(&mut stage).await;
        }
    }
    until_none_is_open(&stage.gateway).await;
}

#[tokio::test]
async fn who_leaves_a_group_loses_the_streams_that_need_it_and_no_other() {
    let mut stage = stage(&Heard::default()).await;
    let group = |change: &str| {
        let output = stage.gateway.command(&["user", "group", change, USER, "staff"], "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    group("add");
    sign_in_again(&mut stage).await;
    let mut staff = socket(&stage, "/staff/echo").await;
    let mut other = socket(&stage, "/echo").await;
    let group = |change: &str| {
        let output = stage.gateway.command(&["user", "group", change, USER, "staff"], "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    group("remove");
    assert_eq!(staff.exactly(4).await, POLICY);
    other.send(&frame(b"hi")).await;
    assert_eq!(other.exactly(4).await, [0x82, 2, b'h', b'i']);
}

#[tokio::test]
async fn streams_end_when_the_session_expires() {
    let heard = Heard::default();
    let top = "[session]\nidle_timeout = \"2s\"\n";
    let stage = Stage::with(top, ROUTES, application(&heard)).await;
    let opened = Instant::now();
    let mut socket = socket(&stage, "/ws").await;
    let (mut events, _) = begin(&stage, "/quiet-events").await;
    events.chunk().await;
    let (mut download, _) = begin(&stage, "/download").await;
    assert_eq!(socket.exactly(4).await, POLICY);
    assert_eq!(chunks(&mut events).await.as_deref(), Some("0\r\n\r\n"));
    assert_eq!(chunks(&mut download).await, None);
    assert!(
        opened.elapsed() < Duration::from_secs(2) + SOON + SOON,
        "{:?}",
        opened.elapsed()
    );
    until_none_is_open(&stage.gateway).await;
}

#[tokio::test]
async fn what_a_client_says_in_a_websocket_keeps_its_session_and_silence_ends_it() {
    let top = "[session]\nidle_timeout = \"3s\"\n";
    let stage = Stage::with(top, ROUTES, application(&Heard::default())).await;
    let mut socket = socket(&stage, "/echo").await;
    let (mut events, _) = begin(&stage, "/quiet-events").await;
    events.chunk().await;
    let opened = Instant::now();
    while opened.elapsed() < Duration::from_secs(5) {
        socket.send(&frame(b"hi")).await;
        assert_eq!(socket.exactly(4).await, [0x82, 2, b'h', b'i'], "{:?}", opened.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let silent = Instant::now();
    assert_eq!(socket.exactly(4).await, POLICY);
    assert_eq!(chunks(&mut events).await.as_deref(), Some("0\r\n\r\n"));
    assert!(
        silent.elapsed() < Duration::from_secs(3) + SOON,
        "{:?}",
        silent.elapsed()
    );
    until_none_is_open(&stage.gateway).await;
}

fn on_postgres(url: &str, app: &str) -> String {
    let top = format!(
        "[store]\nurl = \"{url}\"\ncall_timeout = \"1s\"\n\
         [session]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n\
         [cache]\nmax_age_without_feed = \"3s\"\n"
    );
    stage::config(&top, ROUTES, app)
}

async fn stage_on(server: &Postgres) -> (Stage, String) {
    let url = server.database();
    let app = Upstream::start(application(&Heard::default()));
    let gateway = Gateway::start(&on_postgres(&url, &app.url()));
    gateway.add_user(USER, PASSWORD, &[]);
    let mut client = Client::tls(gateway.address(0), HOST, &gateway.ca()).await;
    let cookie = client.sign_in(HOST, USER, PASSWORD).await;
    (Stage { app, gateway, cookie }, url)
}

#[tokio::test]
async fn a_row_deleted_by_hand_in_postgres_ends_streams_within_the_bound() {
    let server = Postgres::shared();
    let (stage, url) = stage_on(server).await;
    let mut socket = socket(&stage, "/echo").await;
    // Longer than any answer is believed: it lives by being asked for.
    tokio::time::sleep(Duration::from_secs(4)).await;
    socket.send(&frame(b"hi")).await;
    assert_eq!(socket.exactly(4).await, [0x82, 2, b'h', b'i']);
    server.sql(&url, "DELETE FROM portcullis.sessions");
    let ended = Instant::now();
    assert_eq!(socket.exactly(4).await, POLICY);
    assert!(ended.elapsed() < Duration::from_secs(3) + SOON, "{:?}", ended.elapsed());
    until_none_is_open(&stage.gateway).await;
}

#[tokio::test]
async fn an_outage_ends_streams_at_the_bound_and_signs_nobody_out() {
    let server = Postgres::private();
    let (stage, _) = stage_on(&server).await;
    let mut socket = socket(&stage, "/echo").await;
    server.stop();
    let down = Instant::now();
    assert_eq!(
        socket.exactly(4).await,
        [0x88, 2, 0x03, 0xf5],
        "a Close 1013: try again later"
    );
    assert!(
        down.elapsed() < Duration::from_secs(3) + SOON + SOON,
        "{:?}",
        down.elapsed()
    );
    server.start();
    let back = Instant::now();
    loop {
        let mut client = stage.client().await;
        client.send(handshake("/echo", &stage.cookie).as_bytes()).await;
        if client.head().await.status == 101 {
            break;
        }
        assert!(back.elapsed() < PATIENCE);
        pause();
    }
}

#[tokio::test]
async fn a_thousand_streams_of_one_session_end_together() {
    let stage = stage(&Heard::default()).await;
    let open = |count: usize| {
        let (address, cookie) = (stage.gateway.address(1), stage.cookie.clone());
        async move {
            let mut client = Client::plain(address).await;
            if count.is_multiple_of(2) {
                client.send(handshake("/echo", &cookie).as_bytes()).await;
                assert_eq!(client.head().await.status, 101);
            } else {
                let head = format!("GET /quiet-events HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n");
                client.send(head.as_bytes()).await;
                assert_eq!(client.head().await.status, 200);
            }
            client
        }
    };
    let mut clients = Vec::new();
    for batch in 0..20 {
        clients.extend(futures_util::future::join_all((batch * 50..batch * 50 + 50).map(open)).await);
    }
    until_open(&stage.gateway, "upgrade", 500).await;
    until_open(&stage.gateway, "events", 500).await;
    log_out(&stage).await;
    let ended = Instant::now();
    let rests = clients.iter_mut().enumerate().map(|(count, client)| async move {
        if count.is_multiple_of(2) {
            assert_eq!(client.rest().await, POLICY);
        } else {
            assert!(chunks(client).await.is_some());
        }
    });
    futures_util::future::join_all(rests).await;
    assert!(ended.elapsed() < 2 * SOON, "{:?}", ended.elapsed());
    until_none_is_open(&stage.gateway).await;
}

#[tokio::test]
async fn a_stream_that_opens_as_its_session_ends_never_survives() {
    let mut stage = stage(&Heard::default()).await;
    for round in 0..40_u64 {
        sign_in_again(&mut stage).await;
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(stage.client().await);
        }
        let cookie = stage.cookie.clone();
        let opening = clients.into_iter().enumerate().map(|(count, mut client)| {
            let (cookie, wait) = (cookie.clone(), Duration::from_micros(round * 40 * count as u64));
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                client.send(handshake("/echo", &cookie).as_bytes()).await;
                let status = client.head().await.status;
                (status, client)
            })
        });
        let opening: Vec<_> = opening.collect();
        log_out(&stage).await;
        let ended = Instant::now();
        for one in opening {
            let (status, mut client) = one.await.unwrap();
            match status {
                101 => assert!(client.rest().await.ends_with(&POLICY), "round {round}"),
                401 => {}
                other => panic!("{other} in round {round}"),
            }
        }
        assert!(ended.elapsed() < 2 * SOON, "{:?}", ended.elapsed());
    }
    until_none_is_open(&stage.gateway).await;
}
