use super::Portal;
use super::desk::{json, parameter, reader, refuse, see_other, shown_host};
use super::entrances::{ApplicationFacts, hand_over_entrances};
use super::error_page::{Action, ErrorPage};
use super::fields::{Body, FieldsError, LoginFields};
use super::pages::{LoginPage, SignedInPage};
use super::refused::{Refused, warn};
use super::return_address::register_and_then;
use super::visitor::{SessionFacts, UserFacts, display_name};
use crate::account::Origin;
use crate::model::User;
use crate::session::Entrance;
use crate::session::Identified;
use crate::session::Live;
use crate::session::Login;
use crate::session::Opened;
use crate::session::SessionError;
use crate::web::Answer;
use crate::web::Audience;
use crate::web::Exchange;
use crate::web::Scheme;
use http::header::SET_COOKIE;
use http::{HeaderValue, StatusCode};
use secrecy::ExposeSecret;

const TWICE: &str = "You were signed in as two different users at once, so neither was used. Please sign in again.";
const ENDED: &str = "Your session has ended. Please sign in again.";
const OUT: &str = "You are signed out.";

/// What scripts are told of a session that was opened for them.
#[derive(serde::Serialize)]
struct SignedIn<'a> {
    user: UserFacts<'a>,
    session: SessionFacts<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
    /// Applications that the log-in is for, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    applications: Vec<ApplicationFacts<'a>>,
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
                self.welcome(exchange, body, fields.next.as_deref(), &opened, &before)
                    .await
            }
            Err(refused) => {
                self.metrics.login(refused.result()).inc();
                self.refuse_login(exchange, &fields, &refused)
            }
        }
    }

    /// Proves the password and opens a session in place of the one that this browser had.
    async fn sign_in(&self, exchange: &Exchange, fields: &LoginFields) -> Result<(Opened, Identified), Refused> {
        let before = self.identify(exchange).await;
        if matches!(before, Identified::Unavailable) {
            return Err(Refused::DOWN);
        }
        let origin = self.origin(exchange);
        let password = fields.password.clone();
        let proven = self.accounts.sign_in(&fields.username, password, origin.clone()).await;
        let proven = proven.map_err(|error| Refused::of_proof(exchange, &error))?;
        let login = Login {
            proven: Some(proven.proof),
            ..login_of(origin, proven.user, fields.remember, &before)
        };
        match self.sessions.open(login).await {
            Ok(opened) => Ok((opened, before)),
            Err(SessionError::Full) => Err(Refused::FULL),
            Err(SessionError::UserGone) => Err(Refused::WRONG),
            Err(error) => {
                warn(
                    exchange,
                    &error,
                    "a log-in was proven, but its session could not be stored",
                );
                Err(Refused::DOWN)
            }
        }
    }

    /// The answer to who was just signed in, here and in the applications that it is for, too. Where one of those cannot
    /// be entered, they are signed in here all the same, and told so.
    pub(super) async fn welcome(
        &self,
        exchange: &Exchange,
        body: Body,
        next: Option<&str>,
        opened: &Opened,
        before: &Identified,
    ) -> Answer {
        let next = self.accept_next(exchange, next);
        let next = next.as_deref().unwrap_or("/");
        let entrances = self.enter(exchange, opened).await;
        // Whoever is signed in already comes with the cookie: it holds.
        let is_trip = body != Body::Json && !matches!(before, Identified::Live(_));
        let trips = self.trips.of(exchange, self.sessions.now());
        let answer = match body {
            Body::Json => signed_in(exchange, opened, Some(next), &entrances),
            Body::Form | Body::Nothing if is_trip && trips.are_many() => {
                self.end_of_circle(exchange, before, opened, next)
            }
            Body::Form | Body::Nothing => self
                .not_everywhere(exchange, opened, next, &entrances)
                .unwrap_or_else(|| see_other(exchange, next)),
        };
        let mut answer = self.hand_over(exchange, answer, opened, before);
        hand_over_entrances(&mut answer, &entrances);
        if is_trip && let Some(line) = self.trips.one_more(trips, exchange, self.sessions.now()) {
            answer.headers_mut().append(SET_COOKIE, line);
        }
        answer
    }

    /// Gives the browser the cookie of its new session.
    pub(super) fn hand_over(
        &self,
        exchange: &Exchange,
        mut answer: Answer,
        opened: &Opened,
        before: &Identified,
    ) -> Answer {
        if matches!(before, Identified::Conflict) {
            self.clear_cookie(exchange, &mut answer);
        } else {
            self.clear_moved(exchange, &mut answer);
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
        self.know_browser(exchange, opened.entry.session.user, &mut answer);
        answer
    }

    fn refuse_fields(&self, exchange: &Exchange, mut fields: LoginFields, fault: FieldsError) -> Answer {
        if fault == FieldsError::LongUsername {
            fields.username.clear();
        }
        self.refuse_login(exchange, &fields, &Refused::invalid(fault.to_string()))
    }

    /// The form again, with what was wrong and a fresh token; a problem for programs.
    fn refuse_login(&self, exchange: &Exchange, fields: &LoginFields, refused: &Refused) -> Answer {
        if reader(exchange) == Audience::Script {
            return refused.problem(exchange);
        }
        let kept = LoginFields {
            username: fields.username.clone(),
            remember: fields.remember,
            next: self.accept_next(exchange, fields.next.as_deref()),
            ..LoginFields::default()
        };
        refused.dress(self.login_form(exchange, refused.status, &kept, Some(&refused.text), None))
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
        let next = fields.next.as_deref();
        let register = self
            .settings
            .registration
            .then(|| register_and_then(&self.settings.prefix, next));
        self.form(exchange, status, |token| LoginPage {
            site: self.site(),
            prefix: &self.settings.prefix,
            host: &host,
            token,
            next,
            username: &fields.username,
            remember: self.sessions.remembers().then_some(fields.remember),
            trouble,
            notice,
            register: register.as_deref(),
        })
    }

    /// The page for who is signed in.
    pub(super) fn already(&self, exchange: &Exchange, live: &Live, next: Option<&str>) -> Answer {
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
    pub(super) fn is_exposed(&self, exchange: &Exchange) -> bool {
        exchange.scheme == Scheme::Http
            && !exchange.address.to_canonical().is_loopback()
            && !self.settings.unsafe_plain_login
    }

    /// 403: not in the clear.
    pub(super) fn refuse_exposed(&self, exchange: &Exchange) -> Answer {
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

/// A log-in of `user` from `origin`, in place of the session that this browser had.
pub(super) fn login_of(origin: Origin, user: User, remember: bool, before: &Identified) -> Login {
    Login {
        known_browser: origin.is_known_to(user.id),
        user,
        methods: vec!["pwd".to_owned()],
        remember,
        user_agent: origin.user_agent,
        address: origin.address,
        replaces: match before {
            Identified::Live(live) => Some(live.entry.session.digest),
            _ => None,
        },
        proven: None,
    }
}

/// Who is signed in now, for scripts.
pub(super) fn signed_in(exchange: &Exchange, opened: &Opened, next: Option<&str>, entrances: &[Entrance]) -> Answer {
    let signed_in = SignedIn {
        user: UserFacts::of(&opened.entry.user),
        session: SessionFacts::of(&opened.entry),
        next,
        applications: ApplicationFacts::of(entrances),
        top: exchange.aliased.then(|| UserFacts::of(&opened.entry.user)),
    };
    json(exchange, &signed_in)
}
