//! The end of a circle: somebody signed in three times within ten seconds, and none of it held.

use super::Portal;
use super::desk::refuse;
use super::error_page::{Action, ErrorPage};
use crate::session::Identified;
use crate::session::Opened;
use crate::session::Secure;
use crate::web::Answer;
use crate::web::Exchange;
use crate::web::Scheme;
use http::StatusCode;
use std::time::Duration;
use url::Url;

/// Why a browser does not come back signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// A `Secure` cookie came over plain http.
    NotEncrypted,
    /// The way back leads to a host that the cookie is not for.
    OtherHost,
    /// The session is over before anybody can use it.
    TooShort,
    /// Other cookies of the name came, none of them a live session's.
    OtherCookie,
    /// None came.
    NoCookie,
}

impl Why {
    /// The word in the log.
    const fn as_str(self) -> &'static str {
        match self {
            Self::NotEncrypted => "secure_cookie_over_http",
            Self::OtherHost => "domain_does_not_cover_the_host",
            Self::TooShort => "session_over_at_once",
            Self::OtherCookie => "other_cookie_of_the_name",
            Self::NoCookie => "cookie_not_kept",
        }
    }

    /// What happened and what helps, for people.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::NotEncrypted => (
                "This site was opened over plain http, and your browser keeps the sign-in of this site over https only.",
                "Open the site with https://. If you run it: serve https, or set session.secure = \"auto\".",
            ),
            Self::OtherHost => (
                "The sign-in holds for this host only, and the page that you came from is on another one.",
                "Sign in on that host itself. If you run this site: name a domain that covers both in session.domains.",
            ),
            Self::TooShort => (
                "Your session ended as soon as it began.",
                "If you run this site: check session.lifetime and idle_timeout, and the clock of the database.",
            ),
            Self::OtherCookie => (
                "Your browser sends another cookie under the name of the sign-in, and not the new one.",
                "Remove the cookies of this site in your browser, and check the clock of this device. If you run this \
                 site: look for another program that sets a cookie of this name.",
            ),
            Self::NoCookie => (
                "Your browser did not keep the cookie that says that you are signed in.",
                "Allow cookies for this site, and check the clock of this device. If you run this site: check that \
                 session.cookie, domains and same_site fit the way it is opened.",
            ),
        }
    }
}

impl Portal {
    /// A page that says why, in place of one more redirect.
    pub(super) fn end_of_circle(
        &self,
        exchange: &Exchange,
        before: &Identified,
        opened: &Opened,
        next: &str,
    ) -> Answer {
        let why = self.why(exchange, before, opened, next);
        tracing::warn!(request.id = %exchange.request_id, reason = why.as_str(),
            "a browser signed in three times within ten seconds and was not signed in");
        let (sentence, hint) = why.words();
        let page = ErrorPage {
            title: "Your sign-in does not hold",
            sentence,
            hint: Some(hint),
            action: Some(Action {
                label: "Try to go on",
                href: next,
                new_tab: false,
            }),
            ..self.error(exchange, StatusCode::CONFLICT)
        };
        refuse(exchange, "sign-in-does-not-hold", &page)
    }

    fn why(&self, exchange: &Exchange, before: &Identified, opened: &Opened, next: &str) -> Why {
        let cookie = self.sessions.cookie();
        let session = &opened.entry.session;
        let left = session.expires_at.min(session.ends_at).since(self.sessions.now());
        let other_host = Url::parse(next)
            .ok()
            .and_then(|next| next.host_str().map(str::to_owned))
            .filter(|host| *host != exchange.host);
        if exchange.scheme == Scheme::Http && cookie.secure == Secure::Always {
            Why::NotEncrypted
        } else if other_host.is_some_and(|host| !cookie.reaches(&exchange.host, &host)) {
            Why::OtherHost
        } else if left < Duration::from_secs(10) {
            Why::TooShort
        } else if matches!(before, Identified::Dead | Identified::Conflict) {
            Why::OtherCookie
        } else {
            Why::NoCookie
        }
    }
}
