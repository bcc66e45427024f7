//! Whose an answer or a tunnel is, and what ends it: the session it passed with, and the rule it met.

use super::core::Core;
use super::gate;
use super::route::Route;
use crate::session::Entry;
use crate::session::OpenStream;
use crate::session::StreamEnd;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// The session that a request passed with, before anybody watches it: costs nothing but its fields.
pub struct Owner {
    /// The core that relays.
    pub core: Rc<Core>,
    /// The session and its user.
    pub entry: Arc<Entry>,
    /// The rule.
    pub route: Arc<Route>,
}

impl Owner {
    /// Registers a stream with the session. An end that came since the request passed is not missed.
    #[must_use]
    pub fn watch(self) -> Watched {
        Watched {
            stream: self.core.sessions().shared().open_stream(&self.entry),
            route: self.route,
        }
    }
}

/// A stream that is registered with its session until this is dropped.
pub struct Watched {
    stream: OpenStream,
    route: Arc<Route>,
}

impl Watched {
    /// Waits while it is not known whether the session lived on as the stream was opened.
    pub async fn settled(&self) {
        self.stream.settled().await;
    }

    /// Whether nothing is known that ends it.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !self.stream.is_over()
    }

    /// Whether the client's bytes may pass; they are activity of the session.
    #[must_use]
    pub fn carries_from(&self, address: IpAddr) -> bool {
        let carries = self.goes_on();
        if carries {
            self.stream.touch(address);
        }
        carries
    }

    /// Waits until the session is over, or its user no longer meets the rule.
    pub async fn ends(&self) -> StreamEnd {
        let rule = &self.route.settings;
        self.stream
            .ends(rule.outage_grace, |user| gate::allows(user, rule))
            .await
    }
}
