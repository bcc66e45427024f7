use super::Portal;
use super::desk::{parameter, plain, reader, refuse, see_other, shown_host};
use super::error_page::{Action, ErrorPage};
use super::fields::{Body, LogoutFields};
use super::pages::LogoutPage;
use super::return_address::login_and_then;
use super::visitor::display_name;
use crate::model::Event;
use crate::model::EventKind;
use crate::session::Identified;
use crate::session::Live;
use crate::session::SessionError;
use crate::session::Which;
use crate::web::Answer;
use crate::web::Audience;
use crate::web::Exchange;
use crate::web::Problem;
use http::HeaderValue;
use http::StatusCode;
use http::header::SET_COOKIE;

const STALE: &str = "This form was open for too long, or your browser did not send its cookie. You are still signed in. \
                     Please try again.";

impl Portal {
    /// `GET logout`: asks first, because any page can make a browser fetch an address.
    pub(super) async fn logout_page(&self, exchange: &Exchange) -> Answer {
        let next = self.accept_next(exchange, parameter(exchange, "next").as_deref());
        match self.identify_anyone(exchange).await {
            Identified::Unavailable => self.cannot_ask(exchange),
            Identified::Live(live) => self.logout_form(exchange, StatusCode::OK, Some(&live), next.as_deref(), None),
            Identified::Anonymous | Identified::Dead | Identified::Conflict => {
                see_other(exchange, &login_and_then(&self.settings.prefix, next.as_deref()))
            }
        }
    }

    /// `POST logout`: ends every session that the browser holds and takes the cookie; without a session it only takes the cookie.
    pub(super) async fn logout(&self, exchange: &Exchange) -> Answer {
        let body = match self.admit(exchange) {
            Ok(body) => body,
            Err(objection) => return self.object(exchange, objection),
        };
        let fields = match LogoutFields::read(body, &exchange.body) {
            Ok(fields) => fields,
            Err(fault) => return self.unreadable(exchange, fault),
        };
        let next = self.accept_next(exchange, fields.next.as_deref());
        if body == Body::Form && !self.form_is_ours(exchange, &fields.csrf) {
            let known = self.identify(exchange).await;
            return self.stale_logout(exchange, &known, next.as_deref());
        }
        // Whatever this browser holds: of two users' sessions neither may be left open behind a cookie that is gone.
        let Some(open) = self.every_session(exchange).await else {
            return self.not_signed_out(exchange);
        };
        let told = match self.end_own_of_theirs(exchange).await {
            Ok(told) => told,
            Err(answer) => return *answer,
        };
        let taking = match self.leave(exchange, &open).await {
            Ok(taking) => taking,
            Err(error) => {
                tracing::warn!(request.id = %exchange.request_id, error = &error as &dyn std::error::Error,
                    "a log-out was not carried out in an application, and so not here either");
                return self.not_signed_out(exchange);
            }
        };
        for live in open {
            if let Err(error) = self.end(exchange, &live).await {
                tracing::warn!(request.id = %exchange.request_id, error = &error as &dyn std::error::Error,
                    "a log-out was not carried out");
                return self.not_signed_out(exchange);
            }
        }
        // Ours are over all the same.
        if let Some(mut answer) = told {
            self.sign_off(exchange, &mut answer);
            return *answer;
        }
        let mut answer = if body == Body::Form {
            see_other(exchange, &self.after_logout(&fields, next.as_deref()))
        } else {
            plain(exchange, StatusCode::NO_CONTENT)
        };
        self.sign_off(exchange, &mut answer);
        for line in taking {
            if let Ok(line) = HeaderValue::try_from(line) {
                answer.headers_mut().append(SET_COOKIE, line);
            }
        }
        answer
    }

    async fn end(&self, exchange: &Exchange, live: &Live) -> Result<(), SessionError> {
        let (session, user) = (&live.entry.session, &live.entry.user);
        let name = user.username.as_str();
        let event = Event {
            user: Some(user.id),
            username: Some(name.to_owned()),
            session: Some(session.public_id),
            address: Some(exchange.address),
            ..Event::new(self.sessions.now(), EventKind::LoggedOut, name)
        };
        self.sessions.end(Which::Digest(session.digest), event).await.map(drop)
    }

    fn after_logout(&self, fields: &LogoutFields, next: Option<&str>) -> String {
        let prefix = &self.settings.prefix;
        match next {
            next if fields.switch => login_and_then(prefix, next),
            Some(next) => next.to_owned(),
            None => format!("{prefix}/login?notice=signed-out"),
        }
    }

    fn stale_logout(&self, exchange: &Exchange, known: &Identified, next: Option<&str>) -> Answer {
        if reader(exchange) == Audience::Script {
            let id = exchange.request_id;
            return Problem::new(StatusCode::FORBIDDEN, "stale-form", STALE, id).into_answer(id);
        }
        let live = match known {
            Identified::Live(live) => Some(live),
            _ => None,
        };
        self.logout_form(exchange, StatusCode::FORBIDDEN, live, next, Some(STALE))
    }

    pub(super) fn not_signed_out(&self, exchange: &Exchange) -> Answer {
        let back = format!("{}/logout", self.settings.prefix);
        let page = ErrorPage {
            title: "You are still signed in",
            sentence: "The sign-out could not be carried out, because the place where sign-ins are kept is not answering.",
            hint: Some("Please try again in a moment, and do not leave a shared computer before it has worked."),
            action: Some(Action {
                label: "Try again",
                href: &back,
                new_tab: false,
            }),
            ..self.error(exchange, StatusCode::SERVICE_UNAVAILABLE)
        };
        refuse(exchange, "unavailable", &page)
    }

    fn logout_form(
        &self,
        exchange: &Exchange,
        status: StatusCode,
        live: Option<&Live>,
        next: Option<&str>,
        trouble: Option<&str>,
    ) -> Answer {
        let host = shown_host(exchange);
        self.form(exchange, status, |token| LogoutPage {
            site: self.site(),
            prefix: &self.settings.prefix,
            host: &host,
            token,
            next,
            who: live.map(|live| display_name(&live.entry.user)),
            trouble,
        })
    }
}
