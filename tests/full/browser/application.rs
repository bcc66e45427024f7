//! What stands behind the gateway of most scenarios.

use crate::support::upstream::{Recorded, Reply};
use serde_json::{Map, Value};
use std::time::Duration;

/// A small application: it greets, tells what it was told, takes a form, streams, and leaves much to browsers.
pub(super) fn application(request: &Recorded) -> Reply {
    if !request.values("upgrade").is_empty() {
        return Reply::WebSocketEcho;
    }
    let user = request.values("x-forwarded-user").pop().unwrap_or_default();
    let target = request.target();
    match target.split('?').next().unwrap_or_default() {
        "/echo" => {
            let headers = request.headers().into_iter();
            let told: Map<String, Value> = headers
                .map(|(name, value)| (name.to_lowercase(), value.into()))
                .collect();
            Reply::text(&Value::from(told).to_string()).with("Cache-Control", "no-store")
        }
        "/events" => Reply::Events {
            every: Duration::from_millis(200),
        },
        "/form" => page(
            "<h1>Form</h1><form method=post action=/save><label>Note <input name=note></label><button>Save</button></form>",
        ),
        "/save" => page("<h1>saved</h1>"),
        "/private" => page(&format!("<h1>Private</h1>only for {user}")).with("Cache-Control", "no-store"),
        "/asset" => Reply::text("the same for a day").with("Cache-Control", "private, max-age=86400"),
        "/sw.js" => script(),
        "/tools/sw.js" => script().with("Service-Worker-Allowed", "/"),
        "/stranger" => page("<h1>A page of somebody else</h1>"),
        _ => page(&format!("<h1>Hello, {user}</h1>"))
            .with("Set-Cookie", "theirs=1; Path=/; Secure")
            .with("Cache-Control", "no-store"),
    }
}

fn page(content: &str) -> Reply {
    typed(
        "text/html; charset=utf-8",
        &format!("<!doctype html><html lang=en><link rel=icon href='data:,'><title>App</title>{content}"),
    )
}

fn script() -> Reply {
    typed("text/javascript", "addEventListener('fetch', () => {});")
}

fn typed(kind: &str, body: &str) -> Reply {
    Reply::Fixed {
        status: 200,
        headers: vec![("Content-Type".into(), kind.into())],
        body: body.into(),
    }
}
