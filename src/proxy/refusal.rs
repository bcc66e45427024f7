//! The one thing that turns into a refusal on the way of a request: a closed list, each with status, public text, log
//! level and metric label. Detail goes to the log once.

use super::intake::Context;
use super::outgoing::Outgoing;
use crate::portal;
use crate::portal::Action;
use crate::portal::ErrorPage;
use crate::session::CookieSettings;
use crate::telemetry::UpstreamFailure;
use crate::web::Answer;
use crate::web::Audience;
use crate::web::Fault;
use crate::web::Problem;
use crate::web::own_headers;
use bytes::Bytes;
use http::HeaderValue;
use http::Response;
use http::StatusCode;
use http::header::ACCESS_CONTROL_ALLOW_CREDENTIALS;
use http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use http::header::ALLOW;
use http::header::CONNECTION;
use http::header::LOCATION;
use http::header::RETRY_AFTER;
use http::header::SET_COOKIE;
use http::header::VARY;

/// Why a request was not forwarded, or its answer not relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The head guard refused the head.
    Head(Fault),
    /// Well-formed HTTP that must not be forwarded; the word goes to the log.
    Malformed(&'static str),
    /// Bytes that can be read as another path, another host or another rule.
    Ambiguous(&'static str),
    /// No route is for this host.
    UnknownHost,
    /// No route is for this path.
    NoRoute,
    /// CONNECT and TRACE.
    Method,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The request target is longer than the limit.
    TargetTooLong,
    /// Too many headers.
    HeadTooLarge,
    /// The client stopped sending its body.
    BodyTimeout,
    /// The route is denied to everybody, or its rule to this user or network.
    Forbidden(&'static str),
    /// A WebSocket from a foreign page.
    Origin,
    /// Nobody is signed in. `dead`: a cookie came, but no live session belongs to it.
    Unauthenticated {
        /// Whether a cookie of ours came.
        dead: bool,
    },
    /// Live sessions of two users in one request.
    Conflict,
    /// Live sessions of two users, one of them an application's own.
    SignedInTwice,
    /// The session store could not be asked.
    Unavailable,
    /// The application failed.
    Upstream(UpstreamFailure),
    /// The application has as many requests as it may.
    Overloaded,
    /// This process is stopping or a task of it ended early.
    Internal,
    /// Plain HTTP on a listener that only redirects, with a method that cannot be redirected.
    PlainHttp,
}

impl Refusal {
    /// The status that the client sees.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Head(Fault::Malformed(_)) | Self::Malformed(_) | Self::Ambiguous(_) => StatusCode::BAD_REQUEST,
            Self::Head(Fault::HeadTimeout) | Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Head(Fault::TargetTooLong) | Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Head(Fault::HeadTooLarge) | Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Head(Fault::UnknownTransferCoding) => StatusCode::NOT_IMPLEMENTED,
            Self::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Forbidden(_) | Self::Origin | Self::PlainHttp => StatusCode::FORBIDDEN,
            Self::Unauthenticated { .. } | Self::Conflict | Self::SignedInTwice => StatusCode::UNAUTHORIZED,
            Self::Unavailable | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Upstream(UpstreamFailure::Connect | UpstreamFailure::Invalid) => StatusCode::BAD_GATEWAY,
            Self::Upstream(UpstreamFailure::Timeout) => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The label in `portcullis_refusals_total`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Head(Fault::Malformed(_)) | Self::Malformed(_) => "malformed",
            Self::Head(Fault::HeadTimeout) => "head_timeout",
            Self::Head(Fault::TargetTooLong) | Self::TargetTooLong => "target_too_long",
            Self::Head(Fault::HeadTooLarge) | Self::HeadTooLarge => "head_too_large",
            Self::Head(Fault::UnknownTransferCoding) => "transfer_coding",
            Self::Ambiguous(_) => "ambiguous",
            Self::UnknownHost => "unknown_host",
            Self::NoRoute => "no_route",
            Self::Method => "method",
            Self::Expectation => "expectation",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::Forbidden(_) => "forbidden",
            Self::Origin => "origin",
            Self::Unauthenticated { .. } => "unauthenticated",
            Self::Conflict => "conflict",
            Self::SignedInTwice => "signed_in_twice",
            Self::Unavailable => "unavailable",
            Self::Upstream(UpstreamFailure::Connect) => "upstream_connect",
            Self::Upstream(UpstreamFailure::Timeout) => "upstream_timeout",
            Self::Upstream(UpstreamFailure::Invalid) => "upstream_invalid",
            Self::Overloaded => "overloaded",
            Self::Internal => "internal",
            Self::PlainHttp => "plain_http",
        }
    }

    /// The word that tells the log more than the label.
    #[must_use]
    pub const fn detail(self) -> Option<&'static str> {
        match self {
            Self::Head(Fault::Malformed(word))
            | Self::Malformed(word)
            | Self::Ambiguous(word)
            | Self::Forbidden(word) => Some(word),
            _ => None,
        }
    }

    /// Every label, so that each metric is there at zero.
    pub const REASONS: [&'static str; 25] = [
        "malformed",
        "head_timeout",
        "target_too_long",
        "head_too_large",
        "transfer_coding",
        "ambiguous",
        "unknown_host",
        "no_route",
        "method",
        "expectation",
        "body_too_large",
        "body_timeout",
        "forbidden",
        "origin",
        "unauthenticated",
        "conflict",
        "signed_in_twice",
        "unavailable",
        "upstream_connect",
        "upstream_timeout",
        "upstream_invalid",
        "overloaded",
        "internal",
        "plain_http",
        "client_gone",
    ];

    /// The `error` of a problem: what a program's author reads.
    const fn sentence(self) -> &'static str {
        match self {
            Self::Head(Fault::HeadTimeout) => "The head did not arrive in time",
            Self::BodyTimeout => "The body did not arrive in time",
            Self::Head(Fault::TargetTooLong) | Self::TargetTooLong => "The request target is too long",
            Self::Head(Fault::HeadTooLarge) | Self::HeadTooLarge => "The headers are too large",
            Self::Head(Fault::UnknownTransferCoding) => "Only the transfer coding chunked is supported",
            Self::Head(Fault::Malformed(_)) | Self::Malformed(_) => "The request is malformed",
            Self::Ambiguous(_) => "The request can be read in more than one way",
            Self::UnknownHost => "This host is not served here",
            Self::NoRoute => "There is nothing at this address",
            Self::Method => "This method is not allowed",
            Self::Expectation => "Only the expectation 100-continue is supported",
            Self::BodyTooLarge => "The body is too large",
            Self::Forbidden(_) => "Not allowed",
            Self::Origin => "WebSockets from this origin are not allowed",
            Self::PlainHttp => "This address is for https only",
            Self::Unauthenticated { dead: false } => "Not authenticated",
            Self::Unauthenticated { dead: true } => "Session expired",
            Self::Conflict | Self::SignedInTwice => "Two users are signed in at once",
            Self::Unavailable => "The session store cannot be asked right now",
            Self::Overloaded => "The application is busy",
            Self::Upstream(UpstreamFailure::Connect) => "The application cannot be reached",
            Self::Upstream(UpstreamFailure::Timeout) => "The application did not answer in time",
            Self::Upstream(UpstreamFailure::Invalid) => "The application gave an invalid answer",
            Self::Internal => "Something went wrong here",
        }
    }

    /// The whole answer: a redirect or page for a person, a problem for a script.
    #[must_use]
    pub fn answer(
        self,
        context: &Context<'_>,
        cookie: &CookieSettings,
        portal: &portal::Settings,
    ) -> Response<Outgoing> {
        let mut answer = match (self, context.audience) {
            (Self::Unauthenticated { .. }, Audience::Person) if context.safe_method => {
                redirect_to_login(context, portal)
            }
            (_, Audience::Person) => self.page(context, portal),
            (_, Audience::Script) => self.problem(context, portal),
        };
        self.add_headers(&mut answer, context, cookie);
        if context.audience == Audience::Script {
            share(&mut answer, context, portal);
        }
        answer.map(Outgoing::whole)
    }

    fn page(self, context: &Context<'_>, portal: &portal::Settings) -> Answer {
        let name = portal.name.as_deref();
        let login = context.login_location(portal);
        let mut log_outs = context.log_outs.iter().map(|(label, href)| Action {
            label,
            href,
            new_tab: false,
        });
        let page = match self {
            Self::Unavailable => ErrorPage::cannot_ask(context.request_id, name),
            Self::Unauthenticated { .. } => ErrorPage::sign_in_then_send_again(&login, context.request_id, name),
            Self::Conflict => ErrorPage {
                title: "You were signed in twice",
                sentence: "Two users were signed in at once in this browser, so it was not clear who you are.",
                hint: Some("Both were signed out here. Sign in again to go on."),
                action: Some(Action {
                    label: "Sign in",
                    href: &login,
                    new_tab: false,
                }),
                ..ErrorPage::of(self.status(), context.request_id, name)
            },
            Self::SignedInTwice => ErrorPage {
                title: "You are signed in twice",
                sentence: "This browser is signed in here and in the application, as two different users, so it is not \
                           clear who you are.",
                hint: Some("Nothing is lost. Sign out, and open this page again: whoever is signed in then counts."),
                action: log_outs.next(),
                others: log_outs.collect(),
                ..ErrorPage::of(self.status(), context.request_id, name)
            },
            _ => ErrorPage::of(self.status(), context.request_id, name),
        };
        page.into_answer()
    }

    fn problem(self, context: &Context<'_>, portal: &portal::Settings) -> Answer {
        let slug = self.reason().replace('_', "-");
        let mut problem = Problem::new(self.status(), &slug, self.sentence(), context.request_id);
        if matches!(self, Self::Unauthenticated { .. } | Self::Conflict) {
            problem.login_url = Some(format!("{}/login", portal.prefix));
        }
        if self == Self::SignedInTwice {
            problem.logout_urls = context.log_outs.iter().map(|(_, path)| path.clone()).collect();
        }
        problem.into_answer(context.request_id)
    }

    fn add_headers(self, answer: &mut Answer, context: &Context<'_>, cookie: &CookieSettings) {
        let headers = answer.headers_mut();
        match self {
            Self::Unavailable | Self::Overloaded => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Self::Method => {
                headers.insert(
                    ALLOW,
                    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
                );
            }
            Self::Conflict => {
                for line in cookie.clear(context.host, context.https) {
                    if let Ok(value) = HeaderValue::from_str(&line) {
                        headers.append(SET_COOKIE, value);
                    }
                }
            }
            // What is left of this request's bytes cannot be told from the next request: the connection ends.
            Self::Head(_) | Self::Malformed(_) | Self::Ambiguous(_) | Self::BodyTooLarge | Self::BodyTimeout
                if context.http1 =>
            {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
    }
}

/// Lets a page of a listed origin read a problem: else its script could not tell 401 from a network that is down.
fn share(answer: &mut Answer, context: &Context<'_>, portal: &portal::Settings) {
    if portal.return_origins.is_empty() {
        return;
    }
    let headers = answer.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let listed = |origin: &&HeaderValue| portal.return_origins.iter().any(|listed| *origin == listed.as_str());
    if let Some(origin) = context.origin.filter(listed) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

fn redirect_to_login(context: &Context<'_>, portal: &portal::Settings) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::FOUND;
    if let Ok(location) = HeaderValue::from_str(&context.login_location(portal)) {
        answer.headers_mut().insert(LOCATION, location);
    }
    own_headers(&mut answer, context.request_id);
    answer
}
