//! "My sessions": where somebody is signed in, and the way to end what should not go on.

use super::Portal;
use super::desk::{json, parameter, plain, reader, refuse, see_other, shown_host};
use super::error_page::{Action, ErrorPage};
use super::fields::{Body, LogoutFields};
use super::moment::{ago, in_words, until};
use super::pages::{SessionCard, SessionsPage};
use super::visitor::{display_name, wants_page};
use crate::model::Event;
use crate::model::EventKind;
use crate::model::PublicId;
use crate::model::Session;
use crate::model::Timestamp;
use crate::session::EndError;
use crate::session::Identified;
use crate::session::Live;
use crate::session::SessionError;
use crate::session::Which;
use crate::web::Answer;
use crate::web::Audience;
use crate::web::Exchange;
use http::StatusCode;
use std::net::IpAddr;
use uuid::Uuid;

/// Most sessions that are shown; "all others" means those beyond them as well.
pub(super) const MOST: usize = 100;
/// Rows asked for at once, and how often: rows that are over and not swept yet are passed over.
const PAGE: u32 = 200;
const PAGES: usize = 5;

const STALE: &str =
    "This page was open for too long, or your browser did not send its cookie. Nothing was ended. Please try again.";
const GONE: &str = "There is no such session. It may have ended by itself.";
const ENDED: &str = "The session was ended.";
const OTHERS_ENDED: &str = "You are signed out everywhere else.";

/// A session as its owner sees it.
#[derive(serde::Serialize)]
struct OwnSession<'a> {
    public_id: PublicId,
    current: bool,
    device: Option<&'a str>,
    address: Option<IpAddr>,
    created_at: Option<Timestamp>,
    last_seen_at: Option<Timestamp>,
    expires_at: Timestamp,
}

#[derive(serde::Serialize)]
struct OwnSessions<'a> {
    sessions: Vec<OwnSession<'a>>,
}

/// What a change of one's own sessions has proven before anything is done.
struct Admitted {
    body: Body,
    live: Live,
}

impl Portal {
    /// `GET sessions`: JSON, and a page for who asks for pages.
    pub(super) async fn own_sessions(&self, exchange: &Exchange) -> Answer {
        let known = self.identify_anyone(exchange).await;
        let Identified::Live(live) = &known else {
            return self.unauthenticated(exchange, &known, "/sessions");
        };
        if wants_page(exchange) {
            let notice = match parameter(exchange, "notice").as_deref() {
                Some("ended") => Some(ENDED),
                Some("others-ended") => Some(OTHERS_ENDED),
                _ => None,
            };
            return self.sessions_page(exchange, live, StatusCode::OK, None, notice).await;
        }
        match self.of_user(live).await {
            Ok(sessions) => {
                let sessions = sessions.iter().map(|session| told(session, live)).collect();
                json(exchange, &OwnSessions { sessions })
            }
            Err(error) => self.could_not_list(exchange, &error),
        }
    }

    /// `DELETE sessions/{public_id}`, and `POST sessions/{public_id}/end` for forms. A session of somebody else is as
    /// unknown as one that never was.
    pub(super) async fn end_one(&self, exchange: &Exchange, id: &str) -> Answer {
        let Admitted { body, live } = match self.admit_owner(exchange).await {
            Ok(admitted) => admitted,
            Err(answer) => return *answer,
        };
        // One spelling only: the one that we show.
        let Some(target) = Uuid::parse_str(id).ok().filter(|parsed| parsed.to_string() == id) else {
            return self.no_such_session(exchange, &live).await;
        };
        if live.entry.source().is_some() {
            return self.end_one_of_theirs(exchange, &live, PublicId(target), body).await;
        }
        let found = match self.sessions.show(PublicId(target)).await {
            Ok(found) => found.filter(|found| found.session.user == live.entry.user.id),
            Err(error) => return self.not_ended(exchange, &error),
        };
        let Some(found) = found.filter(|found| !found.session.is_over(self.sessions.now())) else {
            return self.no_such_session(exchange, &live).await;
        };
        let itself = found.session.digest == live.entry.session.digest;
        let kind = if itself {
            EventKind::LoggedOut
        } else {
            EventKind::SessionEnded
        };
        let event = self.by_owner(exchange, &live, kind, "own_session");
        match self.sessions.end(Which::Digest(found.session.digest), event).await {
            Ok(ended) if ended.is_empty() => return self.no_such_session(exchange, &live).await,
            Ok(_) => {}
            Err(error) => return self.not_ended(exchange, &error),
        }
        let prefix = &self.settings.prefix;
        let mut answer = match body {
            Body::Form if itself => see_other(exchange, &format!("{prefix}/login?notice=signed-out")),
            Body::Form => see_other(exchange, &format!("{prefix}/sessions?notice=ended")),
            Body::Json | Body::Nothing => plain(exchange, StatusCode::NO_CONTENT),
        };
        if itself {
            self.sign_off(exchange, &mut answer);
        }
        answer
    }

    /// `POST sessions/end-others`: every session of the user but this browser's.
    pub(super) async fn end_others(&self, exchange: &Exchange) -> Answer {
        let Admitted { body, live } = match self.admit_owner(exchange).await {
            Ok(admitted) => admitted,
            Err(answer) => return *answer,
        };
        if live.entry.source().is_some() {
            return self.end_others_of_theirs(exchange, &live, body).await;
        }
        let others = Which::Others {
            user: live.entry.user.id,
            keep: live.entry.session.digest,
        };
        let event = self.by_owner(exchange, &live, EventKind::SessionEnded, "own_other_sessions");
        if let Err(error) = self.sessions.end(others, event).await {
            return self.not_ended(exchange, &error);
        }
        match body {
            Body::Form => {
                let back = format!("{}/sessions?notice=others-ended", self.settings.prefix);
                see_other(exchange, &back)
            }
            Body::Json | Body::Nothing => plain(exchange, StatusCode::NO_CONTENT),
        }
    }

    /// Whether the request came from here, is whole, and is of somebody who is signed in.
    async fn admit_owner(&self, exchange: &Exchange) -> Result<Admitted, Box<Answer>> {
        let body = self
            .admit(exchange)
            .map_err(|objection| Box::new(self.object(exchange, objection)))?;
        let fields =
            LogoutFields::read(body, &exchange.body).map_err(|fault| Box::new(self.unreadable(exchange, fault)))?;
        let known = self.identify_anyone(exchange).await;
        let Identified::Live(live) = known else {
            return Err(Box::new(self.unauthenticated(exchange, &known, "/sessions")));
        };
        if body == Body::Form && !self.form_is_ours(exchange, &fields.csrf) {
            let stale = self.stale_sessions(exchange, &live).await;
            return Err(Box::new(stale));
        }
        Ok(Admitted { body, live })
    }

    /// Sessions of the user of `live` that are not over: this one first, then the last seen.
    async fn of_user(&self, live: &Live) -> Result<Vec<Session>, SessionError> {
        if live.entry.source().is_some() {
            return self.of_user_of_theirs(live).await;
        }
        let mut current = live.entry.session.clone();
        let now = self.sessions.now();
        let mut others: Vec<Session> = Vec::new();
        let mut after = None;
        for _ in 0..PAGES {
            let page = self.sessions.list(Some(current.user), after, PAGE).await?;
            after = page.last().map(|found| found.session.public_id);
            let is_last = page.len() < PAGE as usize;
            for session in page.into_iter().map(|found| found.session) {
                if session.digest == current.digest {
                    current = session;
                } else if !session.is_over(now) {
                    others.push(session);
                }
            }
            if is_last || others.len() >= MOST {
                break;
            }
        }
        others.sort_by_key(|session| std::cmp::Reverse(session.last_seen_at));
        others.insert(0, current);
        others.truncate(MOST);
        Ok(others)
    }

    async fn sessions_page(
        &self,
        exchange: &Exchange,
        live: &Live,
        status: StatusCode,
        trouble: Option<&str>,
        notice: Option<&str>,
    ) -> Answer {
        let sessions = match self.of_user(live).await {
            Ok(sessions) => sessions,
            Err(error) => return self.could_not_list(exchange, &error),
        };
        let now = self.sessions.now();
        let may_end = self.may_end(live);
        let cards: Vec<SessionCard> = sessions
            .iter()
            .map(|session| card(session, live, now, may_end))
            .collect();
        let host = shown_host(exchange);
        self.form(exchange, status, |token| SessionsPage {
            site: self.site(),
            prefix: &self.settings.prefix,
            host: &host,
            token,
            who: display_name(&live.entry.user),
            others: cards.len() > 1 && self.may_end(live),
            cards,
            trouble,
            notice,
        })
    }

    pub(super) fn by_owner(&self, exchange: &Exchange, live: &Live, kind: EventKind, reason: &'static str) -> Event {
        let user = &live.entry.user;
        Event {
            user: Some(user.id),
            username: Some(user.username.to_string()),
            address: Some(exchange.address),
            reason: Some(reason),
            ..Event::new(self.sessions.now(), kind, user.username.as_str())
        }
    }

    pub(super) async fn no_such_session(&self, exchange: &Exchange, live: &Live) -> Answer {
        let missing = StatusCode::NOT_FOUND;
        if reader(exchange) == Audience::Person {
            return self.sessions_page(exchange, live, missing, Some(GONE), None).await;
        }
        let page = ErrorPage {
            sentence: GONE,
            ..self.error(exchange, missing)
        };
        refuse(exchange, "no-such-session", &page)
    }

    async fn stale_sessions(&self, exchange: &Exchange, live: &Live) -> Answer {
        let stale = StatusCode::FORBIDDEN;
        if reader(exchange) == Audience::Person {
            return self.sessions_page(exchange, live, stale, Some(STALE), None).await;
        }
        let page = ErrorPage {
            sentence: STALE,
            ..self.error(exchange, stale)
        };
        refuse(exchange, "stale-form", &page)
    }

    fn could_not_list(&self, exchange: &Exchange, error: &SessionError) -> Answer {
        tracing::warn!(request.id = %exchange.request_id, error = error as &dyn std::error::Error,
            "a user's own sessions could not be listed");
        self.cannot_ask(exchange)
    }

    pub(super) fn not_ended(&self, exchange: &Exchange, error: &SessionError) -> Answer {
        tracing::warn!(request.id = %exchange.request_id, error = error as &dyn std::error::Error,
            "a user's own sessions were not ended");
        let back = format!("{}/sessions", self.settings.prefix);
        if let SessionError::NotEnded(EndError::RowsStand(_)) = error {
            return self.rows_stand(exchange);
        }
        let page = ErrorPage {
            title: "Nothing was ended",
            sentence: "The sessions could not be ended, because the place where sign-ins are kept is not answering.",
            hint: Some("Please try again in a moment. Until it has worked, count the sessions as still open."),
            action: Some(Action {
                label: "Try again",
                href: &back,
                new_tab: false,
            }),
            ..self.error(exchange, StatusCode::SERVICE_UNAVAILABLE)
        };
        refuse(exchange, "unavailable", &page)
    }
}

fn device(session: &Session) -> Option<&str> {
    session.device.as_deref().or(session.user_agent.as_deref())
}

fn told<'a>(session: &'a Session, live: &Live) -> OwnSession<'a> {
    // An application says neither when its session began nor when it was last seen.
    let is_ours = live.entry.source().is_none();
    OwnSession {
        public_id: session.public_id,
        current: session.digest == live.entry.session.digest,
        device: device(session),
        address: session.last_address.or(session.first_address),
        created_at: Some(session.created_at).filter(|_| is_ours),
        last_seen_at: Some(session.last_seen_at).filter(|_| is_ours),
        expires_at: session.expires_at.min(session.ends_at),
    }
}

fn card<'a>(session: &'a Session, live: &Live, now: Timestamp, may_end: bool) -> SessionCard<'a> {
    let told = told(session, live);
    SessionCard {
        id: told.public_id.to_string(),
        current: told.current,
        theirs: live.entry.source().is_some(),
        may_end,
        device: match told.device {
            Some(device) => device,
            None if live.entry.source().is_some() => "Signed in at the application",
            None => "Unknown device",
        },
        address: told.address.map(|address| address.to_string()),
        created: session.created_at.to_string(),
        created_exact: in_words(session.created_at),
        created_words: ago(session.created_at, now),
        seen: session.last_seen_at.to_string(),
        seen_exact: in_words(session.last_seen_at),
        seen_words: if told.current {
            "now".to_owned()
        } else {
            ago(session.last_seen_at, now)
        },
        ends: told.expires_at.to_string(),
        ends_exact: in_words(told.expires_at),
        ends_words: until(told.expires_at, now),
    }
}
