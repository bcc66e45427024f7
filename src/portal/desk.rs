use super::Portal;
use super::endpoint::{methods_of, one_session};
use super::error_page::{Action, ErrorPage};
use super::fields::{Body, FieldsError};
use super::form_token::clearing;
use super::pages::page;
use super::return_address::MAX_NEXT;
use super::trips::Trips;
use super::visitor::wants_page;
use crate::session::Identified;
use crate::session::Live;
use crate::web::Answer;
use crate::web::Answering;
use crate::web::Audience;
use crate::web::Desk;
use crate::web::Exchange;
use crate::web::Problem;
use crate::web::Scheme;
use crate::web::Sender;
use crate::web::audience_of;
use crate::web::cookie_pairs;
use crate::web::cookie_values;
use crate::web::own_headers;
use crate::web::sender;
use askama::Template;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, Method, Response, StatusCode};
use std::time::Duration;

/// Why a request that would change something was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Objection {
    /// A page of another origin sent it.
    Foreign,
    /// It does not say who sent it, and it has to.
    Unsaid,
    /// Its body is of a type that is not taken.
    Unreadable,
}

impl Desk for Portal {
    fn answer(&self, exchange: Exchange) -> Answering<'_> {
        Box::pin(async move {
            let mut answer = if let Some(permission) = self.preflight(&exchange) {
                permission
            } else {
                let mut answer = self.serve(&exchange).await;
                self.share(&exchange, &mut answer);
                answer
            };
            if exchange.method == Method::HEAD {
                let length = answer.body().len();
                answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
                *answer.body_mut() = Bytes::new();
            }
            answer
        })
    }
}

impl Portal {
    async fn serve(&self, exchange: &Exchange) -> Answer {
        let asks = matches!(exchange.method, Method::GET | Method::HEAD);
        let sends = exchange.method == Method::POST;
        let prefix = self.settings.prefix.as_str();
        let Some(path) = exchange.path.strip_prefix(prefix) else {
            return self.not_found(exchange);
        };
        match path {
            "" | "/" if asks => self.front_door(exchange).await,
            "/login" if asks => self.login_page(exchange).await,
            "/login" if sends => self.login(exchange).await,
            "/logout" if asks => self.logout_page(exchange).await,
            "/logout" if sends => self.logout(exchange).await,
            "/me" if asks => self.me(exchange).await,
            "/password" if asks => self.password_page(exchange).await,
            "/password" if sends => self.change_password(exchange).await,
            "/register" if asks && self.settings.registration => self.register_page(exchange).await,
            "/register" if sends && self.settings.registration => self.register(exchange).await,
            "/session" if asks => self.session(exchange).await,
            "/events" if exchange.method == Method::GET => self.events(exchange).await,
            "/sync" if sends => self.sync(exchange).await,
            "/sessions" if asks => self.own_sessions(exchange).await,
            "/sessions/end-others" if sends => self.end_others(exchange).await,
            _ => self.serve_further(exchange, path).await,
        }
    }

    /// What stands at no fixed path, and what does not stand at all.
    async fn serve_further(&self, exchange: &Exchange, path: &str) -> Answer {
        let Some(methods) = self.methods(path) else {
            return self.not_found(exchange);
        };
        match one_session(path).filter(|(_, way)| way.takes(&exchange.method)) {
            Some((id, _)) if path != "/sessions/end-others" => self.end_one(exchange, id).await,
            _ => self.wrong_method(exchange, methods),
        }
    }

    /// The methods of what stands at `path` below the prefix.
    pub(super) fn methods(&self, path: &str) -> Option<&'static str> {
        methods_of(path).filter(|_| path != "/register" || self.settings.registration)
    }

    fn not_found(&self, exchange: &Exchange) -> Answer {
        refuse(exchange, "not-found", &self.error(exchange, StatusCode::NOT_FOUND))
    }

    fn wrong_method(&self, exchange: &Exchange, allow: &'static str) -> Answer {
        let page = self.error(exchange, StatusCode::METHOD_NOT_ALLOWED);
        let mut answer = refuse(exchange, "method-not-allowed", &page);
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        answer
    }

    /// Whose session the request carries.
    pub(super) async fn identify(&self, exchange: &Exchange) -> Identified {
        let name = self.sessions.cookie().name.as_str();
        let values: Vec<&[u8]> = cookie_values(&exchange.headers, name).collect();
        let cookies: Vec<(&[u8], &[u8])> = cookie_pairs(&exchange.headers).collect();
        let sessions = &self.sessions;
        sessions
            .identify_on(&exchange.host, &values, &cookies, Duration::ZERO)
            .await
    }

    /// Every live session that the request carries; `None` when one could not be asked for.
    pub(super) async fn every_session(&self, exchange: &Exchange) -> Option<Vec<Live>> {
        let name = self.sessions.cookie().name.as_str();
        let values: Vec<&[u8]> = cookie_values(&exchange.headers, name).collect();
        let cookies: Vec<(&[u8], &[u8])> = cookie_pairs(&exchange.headers).collect();
        self.sessions.every_on(&exchange.host, &values, &cookies).await
    }

    /// What a request that changes something must prove first: that no foreign page sent it, and how its body is
    /// written. A page's form proves more by its token; what a script sends must name its origin when it carries a
    /// session, because nothing else does.
    pub(super) fn admit(&self, exchange: &Exchange) -> Result<Body, Objection> {
        let sender = sender(&exchange.headers, &exchange.origin());
        let body = Body::of(&exchange.headers, &exchange.body);
        if sender == Sender::Foreign {
            // Forms are our own pages' alone, whoever is listed.
            let listed = self.listed_origin(exchange).is_some() && body != Some(Body::Form);
            return match body {
                Some(body) if listed => Ok(body),
                None if listed => Err(Objection::Unreadable),
                _ => Err(Objection::Foreign),
            };
        }
        let body = body.ok_or(Objection::Unreadable)?;
        let name = &self.sessions.cookie().name;
        let must_say = match body {
            Body::Form => false,
            Body::Json => {
                let moved = cookie_pairs(&exchange.headers).map(|(name, _)| name);
                cookie_values(&exchange.headers, name).next().is_some()
                    || self.sessions.brings_moved(&exchange.host, moved)
            }
            // A foreign page can send this one without asking first.
            Body::Nothing => true,
        };
        if must_say && sender == Sender::Unsaid {
            return Err(Objection::Unsaid);
        }
        Ok(body)
    }

    /// The answer to a request that was not admitted.
    pub(super) fn object(&self, exchange: &Exchange, objection: Objection) -> Answer {
        match objection {
            Objection::Foreign => refuse(exchange, "foreign-origin", &self.foreign(exchange)),
            Objection::Unsaid => {
                let page = ErrorPage {
                    sentence: "A request like this must say where it comes from: send Origin or Sec-Fetch-Site.",
                    ..self.foreign(exchange)
                };
                refuse(exchange, "origin-missing", &page)
            }
            Objection::Unreadable => {
                let page = ErrorPage {
                    sentence: "This address takes application/json or application/x-www-form-urlencoded.",
                    ..self.error(exchange, StatusCode::UNSUPPORTED_MEDIA_TYPE)
                };
                refuse(exchange, "unsupported-media-type", &page)
            }
        }
    }

    fn foreign<'a>(&'a self, exchange: &'a Exchange) -> ErrorPage<'a> {
        ErrorPage {
            title: "This came from somewhere else",
            sentence: "The request was sent by a page of another site, so nothing was done.",
            hint: Some("Open this site itself and try again there."),
            action: Some(Action {
                label: "Open this site",
                href: "/",
                new_tab: false,
            }),
            ..self.error(exchange, StatusCode::FORBIDDEN)
        }
    }

    /// 400 for a body that cannot be read.
    pub(super) fn unreadable(&self, exchange: &Exchange, fault: FieldsError) -> Answer {
        let text = fault.to_string();
        let page = ErrorPage {
            sentence: &text,
            hint: Some("Go back and try again."),
            ..self.error(exchange, StatusCode::BAD_REQUEST)
        };
        refuse(exchange, "invalid-request", &page)
    }

    /// 503: could not ask, and nobody was signed out.
    pub(super) fn cannot_ask(&self, exchange: &Exchange) -> Answer {
        let page = ErrorPage::cannot_ask(exchange.request_id, self.settings.name.as_deref());
        refuse(exchange, "unavailable", &page)
    }

    /// 500: a fault of our own.
    pub(super) fn fault(&self, exchange: &Exchange) -> Answer {
        refuse(
            exchange,
            "internal",
            &self.error(exchange, StatusCode::INTERNAL_SERVER_ERROR),
        )
    }

    pub(super) fn error<'a>(&'a self, exchange: &Exchange, status: StatusCode) -> ErrorPage<'a> {
        ErrorPage::of(status, exchange.request_id, self.settings.name.as_deref())
    }

    /// One of our pages with a form in it. `fill` makes the page around the form's token.
    pub(super) fn form<T: Template>(
        &self,
        exchange: &Exchange,
        status: StatusCode,
        fill: impl FnOnce(String) -> T,
    ) -> Answer {
        let Ok(issued) = self.forms.issue(exchange, self.sessions.now()) else {
            return self.fault(exchange);
        };
        let template = fill(issued.token);
        let mut answer = page(status, &template, &self.policy, exchange.request_id);
        if let Some(cookie) = issued.cookie {
            answer.headers_mut().append(SET_COOKIE, cookie);
        }
        answer
    }

    /// The form's token belongs to this browser and is fresh.
    pub(super) fn form_is_ours(&self, exchange: &Exchange, token: &str) -> bool {
        self.forms.accepts(exchange, token, self.sessions.now())
    }

    /// Where `next` leads, if it may lead there.
    pub(super) fn accept_next(&self, exchange: &Exchange, next: Option<&str>) -> Option<String> {
        self.returns.accept(next?, &exchange.origin())
    }

    /// Gives the browser a fresh cookie, if it is owed one since its last activity. Every answer of ours may carry one: no
    /// cache keeps it.
    pub(super) fn renew_cookie(&self, exchange: &Exchange, session: &Live, answer: &mut Answer) {
        let shown = cookie_values(&exchange.headers, &self.sessions.cookie().name);
        let https = exchange.scheme == Scheme::Https;
        let renewal = self.sessions.renewal(&session.entry, shown);
        let line = renewal.and_then(|renewal| self.sessions.renew(&renewal, &exchange.host, https));
        if let Some(mut value) = line.and_then(|line| HeaderValue::try_from(line).ok()) {
            value.set_sensitive(true);
            answer.headers_mut().append(SET_COOKIE, value);
        }
    }

    /// Takes the session cookie from the browser, and that of an application whose sessions were moved over.
    pub(super) fn clear_cookie(&self, exchange: &Exchange, answer: &mut Answer) {
        let https = exchange.scheme == Scheme::Https;
        for text in self.sessions.clear_cookies(&exchange.host, https) {
            if let Ok(value) = HeaderValue::try_from(text) {
                answer.headers_mut().append(SET_COOKIE, value);
            }
        }
    }

    /// Takes from the browser what is left of an application's sessions that were moved over.
    pub(super) fn clear_moved(&self, exchange: &Exchange, answer: &mut Answer) {
        let https = exchange.scheme == Scheme::Https;
        for text in self.sessions.clear_moved(&exchange.host, https) {
            if let Ok(value) = HeaderValue::try_from(text) {
                answer.headers_mut().append(SET_COOKIE, value);
            }
        }
    }

    /// What a browser forgets at a log-out: our cookies, and its cache where the host asks for that. Nothing else of the
    /// application's: `"cookies"` and `"storage"` would take those.
    pub(super) fn sign_off(&self, exchange: &Exchange, answer: &mut Answer) {
        self.clear_cookie(exchange, answer);
        // Chromium keeps `no-store` pages for going back until HttpOnly cookies change, and forgives the page that came
        // right after log-in one change: the cookie that the log-in itself had set. This is the second.
        let form = HeaderValue::from_static(clearing(exchange.scheme));
        answer.headers_mut().append(SET_COOKIE, form);
        if let Some(line) = Trips::clear(exchange) {
            answer.headers_mut().append(SET_COOKIE, line);
        }
        if self.settings.clear_cache.contains(&exchange.host) {
            answer
                .headers_mut()
                .insert("clear-site-data", HeaderValue::from_static("\"cache\""));
        }
    }

    pub(super) fn site(&self) -> &str {
        self.settings.name.as_deref().unwrap_or(super::DEFAULT_NAME)
    }
}

/// An error's text as a sentence on a page.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}

/// Who reads the answer: whoever sends JSON is a program, whatever else it says; so is who comes by an alias, unless they
/// ask for a page by name.
pub(super) fn reader(exchange: &Exchange) -> Audience {
    match Body::of(&exchange.headers, &exchange.body) {
        Some(Body::Json) => Audience::Script,
        _ if exchange.aliased && !wants_page(exchange) => Audience::Script,
        _ => audience_of(&exchange.headers),
    }
}

/// The value of the query parameter `name`, when it is there once.
pub(super) fn parameter(exchange: &Exchange, name: &str) -> Option<String> {
    let query = exchange.query.as_deref()?;
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    match (values.next(), values.next()) {
        (Some((_, value)), None) if value.len() <= MAX_NEXT => Some(value.into_owned()),
        _ => None,
    }
}

/// Host and port as the visitor sees them in the address bar.
pub(super) fn shown_host(exchange: &Exchange) -> String {
    match exchange.port {
        Some(port) => format!("{}:{port}", exchange.host),
        None => exchange.host.clone(),
    }
}

/// 303 to `location`, which was checked or made here.
pub(super) fn see_other(exchange: &Exchange, location: &str) -> Answer {
    let mut answer = plain(exchange, StatusCode::SEE_OTHER);
    let location = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/"));
    answer.headers_mut().insert(LOCATION, location);
    answer
}

/// An answer without a body.
pub(super) fn plain(exchange: &Exchange, status: StatusCode) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    own_headers(&mut answer, exchange.request_id);
    answer
}

/// 200 with `body` as JSON.
pub(super) fn json(exchange: &Exchange, body: &impl serde::Serialize) -> Answer {
    let mut answer = plain(exchange, StatusCode::OK);
    *answer.body_mut() = Bytes::from(serde_json::to_vec(body).unwrap_or_default());
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The refusal as a page for people and as a problem for programs.
pub(super) fn refuse(exchange: &Exchange, slug: &str, refusal: &ErrorPage<'_>) -> Answer {
    match reader(exchange) {
        Audience::Person => refusal.clone().into_answer(),
        Audience::Script => problem(exchange, slug, refusal),
    }
}

/// The refusal for programs.
pub(super) fn problem(exchange: &Exchange, slug: &str, refusal: &ErrorPage<'_>) -> Answer {
    let id = exchange.request_id;
    let mut answer = Problem::new(refusal.status, slug, refusal.sentence, id).into_answer(id);
    if let Some(seconds) = refusal.retry_after {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}
