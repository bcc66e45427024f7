//! What an attacker tries on the way of a request; after each, a fresh connection still works.

mod answers;
mod claims;
mod floods;
mod http2;
mod requests;

use crate::support::client::Client;
use crate::support::stage::{HOST, Stage};

/// A fresh connection works.
pub(super) async fn assert_alive(stage: &Stage) {
    assert_eq!(
        stage.client().await.get(HOST, "/.portcullis/session", &[]).await.status,
        200
    );
}

/// A head with `Host`, the stage's cookie and `lines`.
pub(super) fn head(stage: &Stage, start: &str, lines: &[&str]) -> String {
    let mut text = format!("{start} HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n", stage.cookie_line());
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text + "\r\n"
}

/// Sends bytes on a fresh connection and tells the status, or 0 when it ended without an answer.
pub(super) async fn status_of(stage: &Stage, bytes: &[u8]) -> u16 {
    let mut client: Client = stage.client().await;
    client.send_anyway(bytes).await;
    client.response().await.status
}
