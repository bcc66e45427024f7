use crate::model::UserId;
use crate::model::device_name;
use std::net::IpAddr;

/// Where an attempt comes from. An address alone is an origin too.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The client's address after `trust.proxies`.
    pub address: IpAddr,
    /// The browser's own description.
    pub user_agent: Option<String>,
    /// What the browser proves of log-ins before. Never signs anybody in.
    pub browsers: Vec<KnownBrowser>,
}

/// A browser in which a user signed in before, as a cookie proved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBrowser {
    /// Who signed in there.
    pub user: UserId,
    /// Which one, to this user; a new one at each of their log-ins, and never at somebody else's.
    pub id: [u8; 16],
}

impl Origin {
    /// Whether `user` signed in before in the browser that this comes from.
    #[must_use]
    pub fn is_known_to(&self, user: UserId) -> bool {
        self.browser_of(user).is_some()
    }

    pub(super) fn browser_of(&self, user: UserId) -> Option<&KnownBrowser> {
        self.browsers.iter().find(|browser| browser.user == user)
    }

    pub(super) fn device(&self) -> Option<String> {
        self.user_agent.as_deref().and_then(device_name)
    }
}

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        Self {
            address,
            user_agent: None,
            browsers: Vec::new(),
        }
    }
}
