//! Log-ins that are log-ins in applications, too: the cookies that browsers get for them, and what people are told where
//! one did not become one.

use super::Portal;
use super::desk::shown_host;
use super::pages::EnteredPage;
use super::pages::page;
use super::visitor::display_name;
use crate::model::Event;
use crate::model::EventKind;
use crate::session::Entered;
use crate::session::Entrance;
use crate::session::Live;
use crate::session::Opened;
use crate::session::SessionError;
use crate::web::Answer;
use crate::web::Exchange;
use crate::web::Scheme;
use crate::web::cookie_pairs;
use http::HeaderValue;
use http::StatusCode;
use http::header::SET_COOKIE;
use secrecy::ExposeSecret;

/// What scripts are told of one application.
#[derive(serde::Serialize)]
pub(super) struct ApplicationFacts<'a> {
    source: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<String>,
}

impl<'a> ApplicationFacts<'a> {
    pub(super) fn of(entrances: &'a [Entrance]) -> Vec<Self> {
        let facts = |one: &'a Entrance| Self {
            source: &one.source,
            state: match one.entered {
                Entered::Opened(_) => "opened",
                Entered::Nobody => "no_user",
                Entered::Unavailable => "unavailable",
                Entered::Unfit => "misfit",
            },
            notice: notice(one),
        };
        entrances.iter().map(facts).collect()
    }
}

/// Why somebody is not signed into the application, and what helps; `None` where they are.
fn notice(one: &Entrance) -> Option<String> {
    let why = match one.entered {
        Entered::Opened(_) => return None,
        Entered::Nobody => {
            "nobody has said yet which of its users you are. The people who run this site can; sign in again then."
        }
        Entered::Unavailable => "it cannot be reached right now. Nothing is lost; sign in again in a moment.",
        Entered::Unfit => "it is not set up for that correctly. Please tell the people who run this site.",
    };
    Some(format!("You are signed in here, but not in {}: {why}", one.source))
}

/// Gives the browser the applications' cookies.
pub(super) fn hand_over_entrances(answer: &mut Answer, entrances: &[Entrance]) {
    for one in entrances {
        if let Entered::Opened(cookie) = &one.entered
            && let Ok(mut cookie) = HeaderValue::try_from(cookie.expose_secret())
        {
            cookie.set_sensitive(true);
            answer.headers_mut().append(SET_COOKIE, cookie);
        }
    }
}

impl Portal {
    /// Signs who was just signed in into the applications of this host that a log-in is for, too.
    pub(super) async fn enter(&self, exchange: &Exchange, opened: &Opened) -> Vec<Entrance> {
        let cookies: Vec<(&[u8], &[u8])> = cookie_pairs(&exchange.headers).collect();
        let who = (&opened.entry.session, &opened.entry.user);
        let https = exchange.scheme == Scheme::Https;
        self.sessions
            .enter(&exchange.host, https, who, exchange.address, &cookies)
            .await
    }

    /// Ends this browser's sessions in those applications; what takes their cookies away.
    /// `open` are those of ours that it has.
    pub(super) async fn leave(&self, exchange: &Exchange, open: &[Live]) -> Result<Vec<String>, SessionError> {
        let cookies: Vec<(&[u8], &[u8])> = cookie_pairs(&exchange.headers).collect();
        let https = exchange.scheme == Scheme::Https;
        let actor = open.first().map_or("system", |live| live.entry.user.username.as_str());
        let event = Event {
            address: Some(exchange.address),
            reason: Some("own_session"),
            ..Event::new(self.sessions.now(), EventKind::LoggedOut, actor)
        };
        self.sessions.leave(&exchange.host, https, &cookies, event).await
    }

    /// The page for who is signed in here and not everywhere; `None` where they are everywhere.
    pub(super) fn not_everywhere(
        &self,
        exchange: &Exchange,
        opened: &Opened,
        next: &str,
        entrances: &[Entrance],
    ) -> Option<Answer> {
        let notices: Vec<String> = entrances.iter().filter_map(notice).collect();
        if notices.is_empty() {
            return None;
        }
        let template = EnteredPage {
            site: self.site(),
            host: &shown_host(exchange),
            who: display_name(&opened.entry.user),
            next,
            notices: &notices,
        };
        Some(page(StatusCode::OK, &template, &self.policy, exchange.request_id))
    }
}
