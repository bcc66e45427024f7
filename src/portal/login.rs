use super::Portal;
use super::desk::{json, parameter, reader, refuse, see_other, shown_host};
use super::error_page::{Action, ErrorPage};
use super::fields::{Body, FieldsError, LoginFields};
use super::pages::{LoginPage, SignedInPage};
use super::visitor::{SessionFacts, UserFacts, display_name};
use crate::account::Origin;
use crate::account::SignInError;
use crate::model::User;
use crate::session::Identified;
use crate::session::Live;
use crate::session::Login;
use crate::session::Opened;
use crate::session::SessionError;
use crate::web::Answer;
use crate::web::Audience;
use crate::web::Exchange;
use crate::web::Problem;
use crate::web::Scheme;
use http::header::{RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use secrecy::ExposeSecret;
use std::borrow::Cow;
use std::time::Duration;

const STALE: &str = "This form was open for too long, or your browser did not send its cookie. Please try again.";
const WRONG: &str = "The user name or the password is wrong. Please try again.";
const BUSY: &str = "Many people are signing in right now. Please try again in a moment.";
const FULL: &str = "You are signed in on as many devices as you may use at once. Please sign out on another one first.";
const DOWN: &str = "Signing in is not possible right now. Nobody was signed out. Please try again in a moment.";
const TWICE: &str = "You were signed in as two different users at once, so neither was used. Please sign in again.";
const ENDED: &str = "Your session has ended. Please sign in again.";
const OUT: &str = "You are signed out.";

/// Why nobody was signed in, with what the form keeps.
struct Refused<'a> {
    status: StatusCode,
    slug: &'static str,
    text: Cow<'a, str>,
    retry_after: Option<u64>,
}

impl Refused<'static> {
    const WRONG: Self = Self::new(StatusCode::UNAUTHORIZED, "wrong-credentials", WRONG, None);
    const STALE: Self = Self::new(StatusCode::FORBIDDEN, "stale-form", STALE, None);
    const BUSY: Self = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", BUSY, Some(2));
    const DOWN: Self = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", DOWN, Some(5));
    const FULL: Self = Self::new(StatusCode::CONFLICT, "too-many-sessions", FULL, None);

    /// Tried too often; may be tried again after `wait`.
    fn throttled(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            slug: "too-many-attempts",
            text: Cow::Owned(format!(
                "There were too many attempts to sign in. Please try again in {}.",
                span(seconds)
            )),
            retry_after: Some(seconds),
        }
    }
}

impl<'a> Refused<'a> {
    const fn new(status: StatusCode, slug: &'static str, text: &'a str, retry_after: Option<u64>) -> Self {
        Self {
            status,
            slug,
            text: Cow::Borrowed(text),
            retry_after,
        }
    }

    /// The word in metrics.
    fn result(&self) -> &'static str {
        match self.slug {
            "wrong-credentials" => "failed",
            "too-many-attempts" => "throttled",
            "too-many-sessions" => "too_many_sessions",
            "busy" => "busy",
            _ => "unavailable",
        }
    }
}

#[derive(serde::Serialize)]
struct SignedIn<'a> {
    user: UserFacts<'a>,
    session: SessionFacts<'a>,
    next: &'a str,
    /// The user once more at the top, where older front ends look.
    #[serde(flatten)]
    top: Option<UserFacts<'a>>,
}

impl Portal {
    /// `GET login`: the form, or who is signed in already. It never redirects to `next` by itself: a page that keeps
    /// asking for a log-in would send the visitor round for ever.
    pub(super) async fn login_page(&self, exchange: &Exchange) -> Answer {
        if self.is_exposed(exchange) {
            return self.refuse_exposed(exchange);
        }
        let next = self.accept_next(exchange, parameter(exchange, "next").as_deref());
        let fields = LoginFields {
            next: next.clone(),
            ..LoginFields::default()
        };
        let ok = StatusCode::OK;
        match self.identify(exchange).await {
            Identified::Unavailable => self.cannot_ask(exchange),
            Identified::Live(live) => self.already(exchange, &live, next.as_deref()),
            Identified::Conflict => {
                let mut answer = self.login_form(exchange, ok, &fields, Some(TWICE), None);
                self.clear_cookie(exchange, &mut answer);
                answer
            }
            Identified::Dead => self.login_form(exchange, ok, &fields, None, Some(ENDED)),
            Identified::Anonymous => {
                let left = parameter(exchange, "notice").as_deref() == Some("signed-out");
                self.login_form(exchange, ok, &fields, None, left.then_some(OUT))
            }
        }
    }

    /// `POST login`.
    pub(super) async fn login(&self, exchange: &Exchange) -> Answer {
        if self.is_exposed(exchange) {
            return self.refuse_exposed(exchange);
        }
        let body = match self.admit(exchange) {
            Ok(body) => body,
            Err(objection) => return self.object(exchange, objection),
        };
        let fields = match LoginFields::read(body, &exchange.body) {
            Ok(fields) => fields,
            Err(fault) => return self.unreadable(exchange, fault),
        };
        if body == Body::Form && !self.form_is_ours(exchange, &fields.csrf) {
            return self.refuse_login(exchange, &fields, &Refused::STALE);
        }
        if let Err(fault) = fields.check() {
            return self.refuse_fields(exchange, fields, fault);
        }
        match self.sign_in(exchange, &fields).await {
            Ok((opened, before)) => {
                self.metrics.login("succeeded").inc();
                self.welcome(exchange, body, &fields, &opened, &before)
            }
            Err(refused) => {
                self.metrics.login(refused.result()).inc();
                self.refuse_login(exchange, &fields, &refused)
            }
        }
    }

    /// Proves the password and opens a session in place of the one that this browser had.
    async fn sign_in(
        &self,
        exchange: &Exchange,
        fields: &LoginFields,
    ) -> Result<(Opened, Identified), Refused<'static>> {
        let before = self.identify(exchange).await;
        let replaces = match &before {
            Identified::Unavailable => return Err(Refused::DOWN),
            Identified::Live(live) => Some(live.entry.session.digest),
            Identified::Anonymous | Identified::Dead | Identified::Conflict => None,
        };
        let origin = self.origin(exchange);
        let user = self.prove(exchange, fields, origin.clone()).await?;
        let login = Login {
            known_browser: origin.is_known_to(user.id),
            user,
            methods: vec!["pwd".to_owned()],
            remember: fields.remember,
            user_agent: origin.user_agent,
            address: exchange.address,
            replaces,
        };
        match self.sessions.open(login).await {
            Ok(opened) => Ok((opened, before)),
            Err(SessionError::Full) => Err(Refused::FULL),
            Err(SessionError::UserGone) => Err(Refused::WRONG),
            Err(error) => {
                tracing::warn!(request.id = %exchange.request_id, error = &error as &dyn std::error::Error,
                    "a log-in was proven, but its session could not be stored");
                Err(Refused::DOWN)
            }
        }
    }

    async fn prove(&self, exchange: &Exchange, fields: &LoginFields, origin: Origin) -> Result<User, Refused<'static>> {
        let password = fields.password.clone();
        let proven = self.accounts.sign_in(&fields.username, password, origin).await;
        proven.map_err(|error| match error {
            SignInError::Wrong => Refused::WRONG,
            SignInError::Throttled { retry_after } => Refused::throttled(retry_after),
            SignInError::Busy => Refused::BUSY,
            SignInError::Store(_) => {
                tracing::warn!(request.id = %exchange.request_id, error = &error as &dyn std::error::Error,
                    "a log-in could not be checked");
                Refused::DOWN
            }
        })
    }

    fn welcome(
        &self,
        exchange: &Exchange,
        body: Body,
        fields: &LoginFields,
        opened: &Opened,
        before: &Identified,
    ) -> Answer {
        let next = self.accept_next(exchange, fields.next.as_deref());
        let next = next.as_deref().unwrap_or("/");
        // Whoever is signed in already comes with the cookie: it holds.
        let is_trip = body != Body::Json && !matches!(before, Identified::Live(_));
        let trips = self.trips.of(exchange, self.sessions.now());
        let mut answer = match body {
            Body::Json => json(
                exchange,
                &SignedIn {
                    user: UserFacts::of(&opened.entry.user),
                    session: SessionFacts::of(&opened.entry),
                    next,
                    top: exchange.aliased.then(|| UserFacts::of(&opened.entry.user)),
                },
            ),
            Body::Form | Body::Nothing if is_trip && trips.are_many() => {
                self.end_of_circle(exchange, before, opened, next)
            }
            Body::Form | Body::Nothing => see_other(exchange, next),
        };
        if matches!(before, Identified::Conflict) {
            self.clear_cookie(exchange, &mut answer);
        }
        let https = exchange.scheme == Scheme::Https;
        let life = self.sessions.cookie_life(&opened.entry);
        let value = opened.cookie_value.expose_secret();
        let cookie = self.sessions.cookie().set(value, &exchange.host, https, life);
        let Ok(mut cookie) = HeaderValue::try_from(cookie) else {
            return self.fault(exchange);
        };
        cookie.set_sensitive(true);
        answer.headers_mut().append(SET_COOKIE, cookie);
        if is_trip && let Some(line) = self.trips.one_more(trips, exchange, self.sessions.now()) {
            answer.headers_mut().append(SET_COOKIE, line);
        }
        self.know_browser(exchange, opened.entry.session.user, &mut answer);
        answer
    }

    fn refuse_fields(&self, exchange: &Exchange, mut fields: LoginFields, fault: FieldsError) -> Answer {
        if fault == FieldsError::LongUsername {
            fields.username.clear();
        }
        let text = fault.to_string();
        let refused = Refused::new(StatusCode::BAD_REQUEST, "invalid-request", &text, None);
        self.refuse_login(exchange, &fields, &refused)
    }

    /// The form again, with what was wrong and a fresh token; a problem for programs.
    fn refuse_login(&self, exchange: &Exchange, fields: &LoginFields, refused: &Refused<'_>) -> Answer {
        let mut answer = if reader(exchange) == Audience::Person {
            let kept = LoginFields {
                username: fields.username.clone(),
                remember: fields.remember,
                next: self.accept_next(exchange, fields.next.as_deref()),
                ..LoginFields::default()
            };
            self.login_form(exchange, refused.status, &kept, Some(&refused.text), None)
        } else {
            let id = exchange.request_id;
            Problem::new(refused.status, refused.slug, refused.text.as_ref(), id).into_answer(id)
        };
        if let Some(seconds) = refused.retry_after {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }

    fn login_form(
        &self,
        exchange: &Exchange,
        status: StatusCode,
        fields: &LoginFields,
        trouble: Option<&str>,
        notice: Option<&str>,
    ) -> Answer {
        let host = shown_host(exchange);
        self.form(exchange, status, |token| LoginPage {
            site: self.site(),
            prefix: &self.settings.prefix,
            host: &host,
            token,
            next: fields.next.as_deref(),
            username: &fields.username,
            remember: fields.remember,
            trouble,
            notice,
        })
    }

    fn already(&self, exchange: &Exchange, live: &Live, next: Option<&str>) -> Answer {
        let host = shown_host(exchange);
        self.form(exchange, StatusCode::OK, |token| SignedInPage {
            site: self.site(),
            prefix: &self.settings.prefix,
            host: &host,
            token,
            next,
            who: display_name(&live.entry.user),
        })
    }

    /// Whether a password would travel in the clear over a network.
    fn is_exposed(&self, exchange: &Exchange) -> bool {
        exchange.scheme == Scheme::Http
            && !exchange.address.to_canonical().is_loopback()
            && !self.settings.unsafe_plain_login
    }

    fn refuse_exposed(&self, exchange: &Exchange) -> Answer {
        let secure = format!("https://{}{}/login", exchange.host, self.settings.prefix);
        let page = ErrorPage {
            title: "This connection is not encrypted",
            sentence: "Everybody on the way could read your password here, so signing in over plain http is switched off.",
            hint: Some(
                "Open this site with https:// instead. If you run it and a proxy in front already speaks https, add that \
                 proxy to trust.proxies.",
            ),
            action: exchange.port.is_none().then_some(Action {
                label: "Open with https",
                href: &secure,
                new_tab: false,
            }),
            ..self.error(exchange, StatusCode::FORBIDDEN)
        };
        refuse(exchange, "not-encrypted", &page)
    }
}

/// A time to wait, for people.
fn span(seconds: u64) -> String {
    match seconds {
        0 | 1 => "a second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Refused, span};
    use std::time::Duration;

    #[test]
    fn a_wait_is_rounded_up_so_that_nobody_comes_too_early() {
        assert_eq!(Refused::throttled(Duration::from_millis(1001)).retry_after, Some(2));
        assert_eq!(Refused::throttled(Duration::from_mins(1)).retry_after, Some(60));
        assert_eq!(
            [span(1), span(60), span(91), span(240)],
            ["a second", "60 seconds", "2 minutes", "4 minutes"]
        );
    }
}
