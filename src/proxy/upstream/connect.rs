use super::super::body::Inbound;
use hyper::client::conn::http1::Builder;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use socket2::TcpKeepalive;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// Read buffer of an upstream connection at most: a head of an answer must fit, and a body's pieces grow up to it.
const MOST_BUFFER: usize = 256 * 1024;
/// A peer that vanished without a word is noticed after this and the kernel's probes.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(1);

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectFault {
    /// The server does not take it, or its name is unknown.
    Refused,
    /// Nothing within the deadline.
    TimedOut,
    /// This machine is out of descriptors or ports.
    Exhausted,
}

/// Opens a connection within `deadline` and starts HTTP/1.1 on it.
pub(super) async fn open(host: &str, port: u16, deadline: Duration) -> Result<SendRequest<Inbound>, ConnectFault> {
    let stream = match tokio::time::timeout(deadline, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(upstream.server = %format_args!("{host}:{port}"), error = %error, "cannot connect");
            return Err(fault_of(&error));
        }
        Err(_) => return Err(ConnectFault::TimedOut),
    };
    // Both only tune the socket: without them it is slower, not wrong.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER));
    let mut builder = Builder::new();
    builder.max_buf_size(MOST_BUFFER);
    let (sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| ConnectFault::Refused)?;
    tokio::task::spawn_local(async move {
        // Its errors reach whoever waits for the answer.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

fn fault_of(error: &io::Error) -> ConnectFault {
    // ENOMEM, ENFILE, EMFILE, EADDRNOTAVAIL, ENOBUFS: ours to mend, and not the application's fault.
    match (error.raw_os_error(), error.kind()) {
        (Some(12 | 23 | 24 | 99 | 105), _) => ConnectFault::Exhausted,
        (_, io::ErrorKind::TimedOut) => ConnectFault::TimedOut,
        _ => ConnectFault::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectFault, fault_of};
    use std::io;

    #[test]
    fn our_own_shortage_is_told_from_the_applications_refusal() {
        assert_eq!(fault_of(&io::Error::from_raw_os_error(24)), ConnectFault::Exhausted);
        assert_eq!(fault_of(&io::Error::from_raw_os_error(111)), ConnectFault::Refused);
        assert_eq!(fault_of(&io::Error::from_raw_os_error(110)), ConnectFault::TimedOut);
    }
}
