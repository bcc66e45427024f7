//! Visitors who are signed in at the application and not here: what they see of themselves, and what they can end.

use super::Portal;
use super::desk::{plain, refuse, see_other};
use super::error_page::{Action, ErrorPage};
use super::fields::Body;
use crate::model::EventKind;
use crate::model::PublicId;
use crate::model::Session;
use crate::session::EndError;
use crate::session::Identified;
use crate::session::Live;
use crate::session::SessionError;
use crate::session::TheirSession;
use crate::web::Answer;
use crate::web::Exchange;
use crate::web::cookie_pairs;
use http::StatusCode;

impl Portal {
    /// Whose session the request carries: ours, or else one that the application of this host keeps.
    pub(super) async fn identify_anyone(&self, exchange: &Exchange) -> Identified {
        match self.identify(exchange).await {
            nobody @ (Identified::Anonymous | Identified::Dead) => match self.theirs(exchange).await {
                Identified::Anonymous => nobody,
                known => known,
            },
            known => known,
        }
    }

    async fn theirs(&self, exchange: &Exchange) -> Identified {
        let cookies: Vec<(&[u8], &[u8])> = cookie_pairs(&exchange.headers).collect();
        self.sessions.identify_theirs(&exchange.host, &cookies).await
    }

    /// Whether the sessions of this visitor can be ended here.
    pub(super) fn may_end(&self, live: &Live) -> bool {
        live.entry.source().is_none_or(|source| self.sessions.may_end(source))
    }

    /// Sessions of the user of `live` that the application keeps: this one first.
    pub(super) async fn of_user_of_theirs(&self, live: &Live) -> Result<Vec<Session>, SessionError> {
        let current = live.entry.session.clone();
        let all = self.sessions.own_theirs(live).await?;
        let others = all.into_iter().map(|one| one.found.session);
        let others = others.filter(|session| session.public_id != current.public_id);
        Ok(std::iter::once(current.clone())
            .chain(others)
            .take(super::own_sessions::MOST)
            .collect())
    }

    pub(super) async fn end_one_of_theirs(
        &self,
        exchange: &Exchange,
        live: &Live,
        target: PublicId,
        body: Body,
    ) -> Answer {
        if !self.may_end(live) {
            return self.only_there(exchange, live);
        }
        let itself = target == live.entry.session.public_id;
        let found = if itself {
            Ok(self.sessions.theirs(live).await.map(|(_, one)| one))
        } else {
            let all = self.sessions.own_theirs(live).await;
            all.map(|all| all.into_iter().find(|one| one.found.session.public_id == target))
        };
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => return self.no_such_session(exchange, live).await,
            Err(error) => return self.not_ended(exchange, &error),
        };
        let kind = if itself {
            EventKind::LoggedOut
        } else {
            EventKind::SessionEnded
        };
        if let Err(error) = self.end_theirs(exchange, live, vec![found], kind, "own_session").await {
            return self.not_ended(exchange, &error);
        }
        let prefix = &self.settings.prefix;
        match body {
            Body::Form if itself => see_other(exchange, &format!("{prefix}/login?notice=signed-out")),
            Body::Form => see_other(exchange, &format!("{prefix}/sessions?notice=ended")),
            Body::Json | Body::Nothing => plain(exchange, StatusCode::NO_CONTENT),
        }
    }

    pub(super) async fn end_others_of_theirs(&self, exchange: &Exchange, live: &Live, body: Body) -> Answer {
        if !self.may_end(live) {
            return self.only_there(exchange, live);
        }
        let own = live.entry.session.public_id;
        let others: Vec<TheirSession> = match self.sessions.own_theirs(live).await {
            Ok(all) => all
                .into_iter()
                .filter(|one| one.found.session.public_id != own)
                .collect(),
            Err(error) => return self.not_ended(exchange, &error),
        };
        let ended = self
            .end_theirs(exchange, live, others, EventKind::SessionEnded, "own_other_sessions")
            .await;
        if let Err(error) = ended {
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

    /// At a log-out: ends the session that the application of this host keeps for this browser. What the visitor is to be
    /// told of it, when ours are over: that it goes on.
    ///
    /// # Errors
    /// The answer where nothing was done, and ours are to be left alone.
    pub(super) async fn end_own_of_theirs(&self, exchange: &Exchange) -> Result<Option<Box<Answer>>, Box<Answer>> {
        let live = match self.theirs(exchange).await {
            Identified::Live(live) => live,
            Identified::Anonymous | Identified::Dead => return Ok(None),
            Identified::Unavailable => return Err(Box::new(self.not_signed_out(exchange))),
            Identified::Conflict => return Ok(Some(Box::new(self.several(exchange)))),
        };
        if !self.may_end(&live) {
            // Where a log-in here is one there, too, the log-out is.
            let opens = live.entry.source().is_some_and(|source| self.sessions.opens(source));
            return Ok((!opens).then(|| Box::new(self.only_there(exchange, &live))));
        }
        let Some((_, own)) = self.sessions.theirs(&live).await else {
            return Err(Box::new(self.not_signed_out(exchange)));
        };
        let ended = self.end_theirs(exchange, &live, vec![own], EventKind::LoggedOut, "own_session");
        match ended.await {
            Ok(()) => Ok(None),
            Err(SessionError::NotEnded(EndError::RowsStand(_))) => Ok(Some(Box::new(self.rows_stand(exchange)))),
            Err(error) => {
                tracing::warn!(request.id = %exchange.request_id, error = &error as &dyn std::error::Error,
                    "a log-out was not carried out");
                Err(Box::new(self.not_signed_out(exchange)))
            }
        }
    }

    async fn end_theirs(
        &self,
        exchange: &Exchange,
        live: &Live,
        sessions: Vec<TheirSession>,
        kind: EventKind,
        reason: &'static str,
    ) -> Result<(), SessionError> {
        let Some(source) = live.entry.source() else {
            return Err(SessionError::NoSource);
        };
        let mut event = self.by_owner(exchange, live, kind, reason);
        event.user = None;
        if let [one] = sessions.as_slice() {
            event = one.told(event);
        }
        self.sessions.end_theirs(source, sessions, event).await
    }

    /// The application keeps the session, and nobody ends it here.
    fn only_there(&self, exchange: &Exchange, live: &Live) -> Answer {
        let page = ErrorPage {
            title: "You are still signed in at the application",
            sentence: "The application keeps this sign-in itself, and it cannot be ended here.",
            hint: Some("Sign out in the application."),
            action: Some(Action {
                label: "Go to the application",
                href: self.sessions.log_out_of(&live.entry).unwrap_or("/"),
                new_tab: false,
            }),
            ..self.error(exchange, StatusCode::CONFLICT)
        };
        refuse(exchange, "only-at-the-application", &page)
    }

    fn several(&self, exchange: &Exchange) -> Answer {
        let page = ErrorPage {
            title: "You are still signed in",
            sentence: "This browser is signed in as several users of applications at once, and none of them was signed out.",
            hint: Some("Sign out in each of the applications."),
            ..self.error(exchange, StatusCode::CONFLICT)
        };
        refuse(exchange, "signed-in-twice", &page)
    }

    /// Our own store has the end, and the application's database does not.
    pub(super) fn rows_stand(&self, exchange: &Exchange) -> Answer {
        let page = ErrorPage {
            title: "Signed out here, not yet in the application",
            sentence: "The gateway no longer accepts the session, but the application's database is not answering, so the \
                       application itself may still know it.",
            hint: Some("Please try again in a moment, and do not leave a shared computer before it has worked."),
            ..self.error(exchange, StatusCode::SERVICE_UNAVAILABLE)
        };
        refuse(exchange, "rows-stand", &page)
    }
}
