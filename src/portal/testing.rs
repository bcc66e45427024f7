//! Requests for this room's tests.

use crate::web::Exchange;
use crate::web::RequestId;
use crate::web::Scheme;
use bytes::Bytes;
use http::{HeaderMap, Method};
use std::net::{IpAddr, Ipv4Addr};

/// A bare request to `https://crm.example.com`.
pub(super) fn exchange(method: Method, path: &str) -> Exchange {
    Exchange {
        method,
        path: path.to_owned(),
        aliased: false,
        query: None,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        scheme: Scheme::Https,
        host: "crm.example.com".to_owned(),
        port: None,
        request_id: RequestId(1),
    }
}
