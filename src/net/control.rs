//! What connections are accepted with: made at start, and made anew while it runs. Addresses stay what they are.

use super::Limits;
use super::ListenerSettings;
use super::NetError;
use super::Settings;
use super::lease::Seats;
use super::listener::Door;
use super::listener::Way;
use super::tls;
use super::tls::Tls;
use super::workers::Order;
use crate::telemetry::Metrics;
use crate::web::ListenerFacts;
use crate::web::Purpose;
use crate::web::Scheme;
use ipnet::IpNet;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::mpsc::WeakUnboundedSender;
use tokio::sync::oneshot;
use tokio::sync::watch;

/// Changes what connections are accepted with, while the workers run. Connections that are open go on as they began.
pub struct Control {
    gates: Vec<Gate>,
    cores: Vec<WeakUnboundedSender<Order>>,
    metrics: Arc<Metrics>,
}

/// One address and what stands behind it.
struct Gate {
    /// As it was asked for at start.
    asked: SocketAddr,
    /// As it was got.
    address: SocketAddr,
    purpose: Purpose,
    /// The acceptor's.
    socket: Weak<TcpListener>,
    door: watch::Sender<Arc<Door>>,
}

/// What was made and does not take effect yet. Dropping it changes nothing.
pub struct Prepared {
    /// In the order of the gates; `None` where nothing changes.
    doors: Vec<Option<Arc<Door>>>,
    limits: Arc<Limits>,
    seats: Option<Arc<Seats>>,
    /// What needs a restart, as in `listener 0.0.0.0:8443`.
    pub pending: Vec<String>,
    /// The port that browsers reach https at, from here on.
    pub https_port: Option<u16>,
}

/// What all doors share.
struct Frame<'a> {
    metrics: &'a Metrics,
    proxy_protocol: &'a [IpNet],
    seats: Option<Arc<Seats>>,
}

impl Control {
    pub(super) fn new<'a>(
        gates: impl Iterator<Item = (((ListenerSettings, SocketAddr), &'a Arc<TcpListener>), Option<Tls>)>,
        settings: &Settings,
        cores: &[Way],
        metrics: &Arc<Metrics>,
    ) -> (Self, Vec<watch::Receiver<Arc<Door>>>) {
        let frame = Frame {
            metrics,
            proxy_protocol: &settings.proxy_protocol,
            seats: settings.limits.connections_per_address.map(Seats::new),
        };
        let mut doors = Vec::new();
        let gates = gates.map(|(((listener, address), socket), tls)| {
            let door = frame.door(&listener, address, tls);
            tell_expiry(metrics, &door);
            let (door, seen) = watch::channel(Arc::new(door));
            doors.push(seen);
            Gate {
                asked: listener.address,
                address,
                purpose: listener.purpose,
                socket: Arc::downgrade(socket),
                door,
            }
        });
        let control = Self {
            gates: gates.collect(),
            cores: cores.iter().map(|core| core.sender.downgrade()).collect(),
            metrics: Arc::clone(metrics),
        };
        (control, doors)
    }

    /// Loads every certificate of `settings` and makes what their listeners need. Changes nothing yet, except that local
    /// certificates which end soon are made anew on disk. Blocks on files.
    ///
    /// # Errors
    /// The first certificate that cannot be used.
    pub fn prepare(&self, settings: &Settings, now: OffsetDateTime) -> Result<Prepared, NetError> {
        let seats = settings
            .limits
            .connections_per_address
            .map(|each| self.seats().unwrap_or_else(|| Seats::new(each)));
        let frame = Frame {
            metrics: &self.metrics,
            proxy_protocol: &settings.proxy_protocol,
            seats: seats.clone(),
        };
        let mut wanted: Vec<Option<&ListenerSettings>> = settings.listeners.iter().map(Some).collect();
        let mut pending = Vec::new();
        let mut doors = Vec::new();
        for gate in &self.gates {
            let Some(listener) = wanted.iter_mut().find_map(|one| one.take_if(|one| gate.is_for(one))) else {
                pending.push(named(gate.purpose, gate.asked));
                doors.push(None);
                continue;
            };
            let before = Arc::clone(&gate.door.borrow());
            let tls = listener.tls.as_ref().map(|tls| tls::load(tls, now)).transpose()?;
            let tls = tls.map(|tls| tls.or_unchanged(before.tls.as_ref()));
            doors.push(Some(Arc::new(frame.door(listener, gate.address, tls))));
        }
        let fresh = wanted.into_iter().flatten();
        pending.extend(fresh.map(|listener| named(listener.purpose, listener.address)));
        pending.sort();
        pending.dedup();
        let standing = self.gates.iter().zip(&doors);
        let facts: Vec<_> = standing
            .map(|(gate, door)| Arc::clone(&door.as_ref().unwrap_or(&gate.door.borrow()).facts))
            .collect();
        let serves_https =
            |facts: &&Arc<ListenerFacts>| facts.scheme == Scheme::Https && facts.purpose == Purpose::Serve;
        Ok(Prepared {
            https_port: facts.iter().find(serves_https).map(|facts| facts.public_port),
            doors,
            limits: Arc::new(settings.limits.clone()),
            seats,
            pending,
        })
    }

    /// Accepts by what was prepared from here on; returns when every core knows it, or after `most`: those that do
    /// not will. Dropping the future takes nothing back.
    pub async fn adopt(&self, prepared: Prepared, most: Duration) {
        if let (Some(seats), Some(each)) = (&prepared.seats, prepared.limits.connections_per_address) {
            seats.resize(each);
        }
        let mut told = Vec::new();
        for core in self.cores.iter().filter_map(WeakUnboundedSender::upgrade) {
            let (done, heard) = oneshot::channel();
            if core.send(Order::Adopt(Arc::clone(&prepared.limits), done)).is_ok() {
                told.push(heard);
            }
        }
        for (gate, door) in self.gates.iter().zip(prepared.doors) {
            if let Some(door) = door {
                tell_expiry(&self.metrics, &door);
                gate.door.send_replace(door);
            }
        }
        // A core that ended serves nobody.
        let _ = tokio::time::timeout(most, futures_util::future::join_all(told)).await;
    }

    /// The listening sockets once more, for the process that takes over. Who connects meanwhile waits in the one queue that
    /// both take from. None when the stop has begun.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn sockets(&self) -> io::Result<Vec<OwnedFd>> {
        let open = self.gates.iter().filter_map(|gate| gate.socket.upgrade());
        open.map(|socket| socket.try_clone().map(OwnedFd::from)).collect()
    }

    fn seats(&self) -> Option<Arc<Seats>> {
        self.gates.iter().find_map(|gate| gate.door.borrow().seats.clone())
    }
}

impl Gate {
    fn is_for(&self, listener: &ListenerSettings) -> bool {
        let both_admin = (self.purpose == Purpose::Admin) == (listener.purpose == Purpose::Admin);
        both_admin && self.asked == listener.address
    }
}

/// The key that an operator looks for.
fn named(purpose: Purpose, address: SocketAddr) -> String {
    match purpose {
        Purpose::Admin => "admin.address".to_owned(),
        Purpose::Serve | Purpose::RedirectToHttps => format!("listener {address}"),
    }
}

fn tell_expiry(metrics: &Metrics, door: &Door) {
    if let Some(expiry) = door.tls.as_ref().and_then(|tls| tls.expiry) {
        metrics.certificate_expiry(&door.facts.name).set(expiry);
    }
}

impl Frame<'_> {
    fn door(&self, listener: &ListenerSettings, address: SocketAddr, tls: Option<Tls>) -> Door {
        let name = listener.address.to_string();
        let is_admin = listener.purpose == Purpose::Admin;
        Door {
            gauge: self.metrics.connections(&name),
            facts: Arc::new(ListenerFacts {
                name,
                purpose: listener.purpose,
                scheme: if tls.is_some() { Scheme::Https } else { Scheme::Http },
                public_port: listener.public_port.unwrap_or(address.port()),
                hsts: listener.hsts,
            }),
            tls,
            // Balancers stand in front of applications; an operator's probe speaks plain HTTP.
            proxy_protocol: if is_admin {
                Vec::new()
            } else {
                self.proxy_protocol.to_vec()
            },
            seats: if is_admin { None } else { self.seats.clone() },
        }
    }
}
