use super::*;
use crate::support::client::Client;

#[tokio::test]
async fn the_application_keeps_every_byte_of_a_head_and_the_body_behind_its_coding() {
    let upstream = Upstream::hello();
    let mut client = Client::plain(upstream.address()).await;
    let head = b"POST /a%2Fb?c HTTP/1.1\r\nhOsT:  x \r\ntransfer-encoding: chunked\r\n\r\n";
    client.send(head).await;
    client.send(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    let request = upstream.last();
    assert_eq!(request.head, head);
    assert_eq!(request.body, b"abcde");
    assert_eq!(request.trailers, ["T: 1"]);
    assert_eq!(request.target(), "/a%2Fb?c");
    assert_eq!(request.values("HOST"), ["x"]);
}

#[tokio::test]
async fn a_chunked_answer_is_read_to_its_trailers() {
    let upstream = Upstream::start(|_| Reply::Chunked {
        headers: vec![],
        pieces: vec![(Duration::ZERO, b"one".to_vec()), (Duration::ZERO, b"two".to_vec())],
        trailers: vec![("X-End".into(), "yes".into())],
    });
    let mut client = Client::plain(upstream.address()).await;
    for _ in 0..2 {
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!(response.text(), "onetwo");
        assert_eq!(response.trailers, [("X-End".to_owned(), "yes".to_owned())]);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn frames_come_back_unmasked() {
    let upstream = Upstream::start(|_| Reply::WebSocketEcho);
    let mut client = Client::plain(upstream.address()).await;
    client
        .send(b"GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .await;
    let response = client.head().await;
    assert_eq!(response.status, 101);
    assert_eq!(
        response.values("sec-websocket-accept"),
        ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
    );
    client.send(&[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]).await;
    assert_eq!(client.exactly(4).await, [0x81, 2, b'h', b'i']);
}
