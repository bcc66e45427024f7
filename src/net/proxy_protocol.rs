//! The PROXY protocol, versions 1 and 2: who the client behind a balancer is. Read only from peers that must speak it.

use super::socket::Socket;
use bytes::Bytes;
use ppp::HeaderResult;
use ppp::v1;
use ppp::v2;
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;

/// Version 1 has at most 107 bytes; version 2 as many as its sender likes to add, which is a few dozen in practice.
const LONGEST: usize = 1024;
const V2_START: &[u8] = v2::PROTOCOL_PREFIX;
/// Signature, command, family, length.
const V2_FIXED: usize = 16;

/// Why a connection that must begin with a PROXY header is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyProtocolError {
    #[error("no PROXY header, or a malformed one")]
    Malformed,
    #[error("the PROXY header is longer than {LONGEST} bytes")]
    TooLong,
    #[error("the connection ended within the PROXY header")]
    Ended(#[source] Option<std::io::Error>),
}

/// Reads the header and tells the client's address; `None` when the sender speaks for itself (health checks).
pub(super) async fn read(socket: &mut Socket) -> Result<Option<SocketAddr>, ProxyProtocolError> {
    let mut bytes = Vec::with_capacity(256);
    loop {
        let read = socket.read_buf(&mut bytes).await;
        match read {
            Ok(0) => return Err(ProxyProtocolError::Ended(None)),
            Ok(_) => {}
            Err(error) => return Err(ProxyProtocolError::Ended(Some(error))),
        }
        if let Some(len) = header_len(&bytes)? {
            let client = client(&bytes[..len])?;
            if bytes.len() > len {
                socket.put_back(Bytes::copy_from_slice(&bytes[len..]));
            }
            return Ok(client);
        }
    }
}

/// The header's length, once it is there in full.
fn header_len(bytes: &[u8]) -> Result<Option<usize>, ProxyProtocolError> {
    let start = bytes.len().min(V2_START.len());
    let len = if bytes[..start] == V2_START[..start] {
        if bytes.len() < V2_FIXED {
            return Ok(None);
        }
        V2_FIXED + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]))
    } else {
        let word = v1::PROTOCOL_PREFIX.as_bytes();
        let start = bytes.len().min(word.len());
        if bytes[..start] != word[..start] {
            return Err(ProxyProtocolError::Malformed);
        }
        match memchr::memchr(b'\n', bytes) {
            Some(end) => end + 1,
            None if bytes.len() > 107 => return Err(ProxyProtocolError::Malformed),
            None => return Ok(None),
        }
    };
    if len > LONGEST {
        return Err(ProxyProtocolError::TooLong);
    }
    Ok((bytes.len() >= len).then_some(len))
}

fn client(header: &[u8]) -> Result<Option<SocketAddr>, ProxyProtocolError> {
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(four) => Some(SocketAddr::from((four.source_address, four.source_port))),
            v1::Addresses::Tcp6(six) => Some(SocketAddr::from((six.source_address, six.source_port))),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) => Ok(match (header.command, header.addresses) {
            (v2::Command::Proxy, v2::Addresses::IPv4(four)) => {
                Some(SocketAddr::from((four.source_address, four.source_port)))
            }
            (v2::Command::Proxy, v2::Addresses::IPv6(six)) => {
                Some(SocketAddr::from((six.source_address, six.source_port)))
            }
            _ => None,
        }),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(ProxyProtocolError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::client;
    use super::header_len;

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = super::V2_START.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn the_source_address_is_the_client() {
        let line = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n";
        assert_eq!(header_len(line).unwrap(), Some(line.len()));
        assert_eq!(client(line).unwrap(), Some("203.0.113.7:51234".parse().unwrap()));
        let six = b"PROXY TCP6 2001:db8::7 2001:db8::1 51234 443\r\n";
        assert_eq!(client(six).unwrap(), Some("[2001:db8::7]:51234".parse().unwrap()));
        let binary = v2(0x21, 0x11, &[203, 0, 113, 7, 192, 0, 2, 1, 0xC8, 0x22, 1, 0xBB]);
        assert_eq!(header_len(&binary).unwrap(), Some(binary.len()));
        assert_eq!(client(&binary).unwrap(), Some("203.0.113.7:51234".parse().unwrap()));
    }

    #[test]
    fn a_sender_that_speaks_for_itself_keeps_its_address() {
        assert_eq!(client(b"PROXY UNKNOWN\r\n").unwrap(), None);
        assert_eq!(client(&v2(0x20, 0x00, &[])).unwrap(), None);
    }

    #[test]
    fn what_is_no_header_is_told_at_once() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"PROXX", b"\r\n\r\nX"] {
            assert!(header_len(bytes).is_err(), "{:?}", bytes.escape_ascii().to_string());
        }
        assert!(header_len(&[b"PROXY ".to_vec(), vec![b'a'; 110]].concat()).is_err());
        assert!(header_len(&v2(0x21, 0x11, &[0; 2000])).is_err());
        for bytes in [
            &b"PROXY TCP4 203.0.113.7\r\n"[..],
            b"PROXY TCP4 203.0.113.7 192.0.2.1 99999 443\r\n",
            b"PROXY\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1 443\n",
        ] {
            assert!(client(bytes).is_err(), "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn an_unfinished_header_waits_for_more() {
        let line = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n";
        let binary = v2(0x21, 0x11, &[203, 0, 113, 7, 192, 0, 2, 1, 0xC8, 0x22, 1, 0xBB]);
        for whole in [&line[..], &binary] {
            for cut in 0..whole.len() {
                assert_eq!(header_len(&whole[..cut]).unwrap(), None);
            }
        }
    }
}
