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

/// A browser in which users signed in before, as a cookie proved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBrowser {
    /// Which one; a new one at every log-in.
    pub id: [u8; 16],
    /// Who signed in there.
    pub users: Vec<UserId>,
}

impl Origin {
    /// Whether `user` signed in before in the browser that this comes from.
    #[must_use]
    pub fn is_known_to(&self, user: UserId) -> bool {
        self.browser_of(user).is_some()
    }

    pub(super) fn browser_of(&self, user: UserId) -> Option<&KnownBrowser> {
        self.browsers.iter().find(|browser| browser.users.contains(&user))
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
