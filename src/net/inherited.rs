//! Listening sockets that this process was started with: by the service manager (socket activation) or by the gateway
//! that it takes over from. Both say so in `LISTEN_FDS`.

use super::NetError;
use super::listener;
use listenfd::ListenFd;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;

/// Most sockets that are looked at: more listeners than anybody configures.
const MOST: usize = 1024;

/// Sockets to be taken. Those that are not are closed with it.
#[derive(Default)]
pub struct Inherited {
    listeners: Vec<(SocketAddr, TcpListener)>,
    predecessor: Option<UnixDatagram>,
    takes_over: bool,
}

impl Inherited {
    /// What `LISTEN_FDS` says, where `LISTEN_PID` is this process or is not set. To be called once.
    ///
    /// # Errors
    /// A descriptor that is no listening TCP socket.
    pub fn of_process() -> Result<Self, NetError> {
        let mut passed = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..passed.len().min(MOST) {
            if let Ok(Some(predecessor)) = passed.take_unix_datagram(index) {
                // A pair of a predecessor's; the service manager's have no other end.
                predecessor.peer_addr().map_err(|error| unusable(index, error))?;
                inherited.predecessor = Some(predecessor);
                inherited.takes_over = true;
                continue;
            }
            let listener = passed
                .take_tcp_listener(index)
                .map_err(|error| unusable(index, error))?;
            let Some(listener) = listener else { continue };
            let listening = SockRef::from(&listener).is_listener();
            if !listening.map_err(|error| unusable(index, error))? {
                let what = format!("number {index} does not listen; write `Accept=no` in the socket unit");
                return Err(NetError::Inherited { what, source: None });
            }
            let address = listener.local_addr().map_err(|error| unusable(index, error))?;
            inherited.listeners.push((address, listener));
        }
        Ok(inherited)
    }

    /// The way to the gateway that this one takes over from, if there is one: it waits for a word that this one serves.
    pub fn predecessor(&mut self) -> Option<UnixDatagram> {
        self.predecessor.take()
    }

    /// The socket of `wanted`. Port 0 takes one of the same address from a predecessor, whose port nobody chose.
    pub(super) fn take(&mut self, wanted: SocketAddr) -> Result<Option<(TcpListener, SocketAddr)>, NetError> {
        let free = wanted.port() == 0 && self.takes_over;
        let is_it = |address: &SocketAddr| *address == wanted || (free && address.ip() == wanted.ip());
        let Some(index) = self.listeners.iter().position(|(address, _)| is_it(address)) else {
            return Ok(None);
        };
        let (address, listener) = self.listeners.remove(index);
        listener::adopt(&listener).map_err(|error| unusable(index, error))?;
        Ok(Some((listener, address)))
    }

    /// Closes what nobody asked for. A listener that the new configuration has no more is meant; a socket that the
    /// service manager opened would be one that nobody answers on.
    pub(super) fn rest(self) -> Result<(), NetError> {
        match self.listeners.first() {
            Some((address, _)) if !self.takes_over => Err(NetError::Inherited {
                what: format!("no [[listener]] has the address {address}; add one, or take it out of the socket unit"),
                source: None,
            }),
            _ => Ok(()),
        }
    }
}

fn unusable(index: usize, error: io::Error) -> NetError {
    NetError::Inherited {
        what: format!("number {index} is no listening TCP socket"),
        source: Some(error),
    }
}
