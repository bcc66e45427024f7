//! The operators' page, for browsers that used a link: an overview, with what an operator does most often. Works without
//! scripts.

use super::Admin;
use super::api::Sweeping;
use super::caller::Caller;
use super::caller::pass_cookie;
use super::form::Form;
use super::overview;
use super::overview::Lists;
use super::overview::Overview;
use super::refusal::Refusal;
use crate::account::PASS_LIFE;
use crate::audit::Event;
use crate::audit::EventFilter;
use crate::audit::EventKind;
use crate::model::Digest;
use crate::model::PublicId;
use crate::session::Which;
use crate::web::Answer;
use crate::web::Exchange;
use crate::web::Scheme;
use crate::web::Sender;
use crate::web::own_headers;
use crate::web::page_headers;
use crate::web::sender;
use askama::Template;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::Response;
use http::StatusCode;
use http::header::ALLOW;
use http::header::LOCATION;
use http::header::SET_COOKIE;
use secrecy::ExposeSecret;
use std::sync::LazyLock;

/// The portal's look, and what tables need.
pub(super) const CSS: &str = concat!(
    include_str!("../portal/pages/portcullis.css"),
    include_str!("pages/admin.css")
);
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, CSS.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; form-action 'self'; frame-ancestors 'none'; \
         base-uri 'none'"
    )
});

const COMMAND: &str = "portcullis admin login-link --config FILE";

#[derive(Template)]
#[template(path = "admin_open.html")]
struct OpenPage<'a> {
    link: &'a str,
}

#[derive(Template)]
#[template(path = "admin_closed.html")]
struct ClosedPage<'a> {
    title: &'a str,
    sentence: &'a str,
    command: Option<&'a str>,
    request: String,
}

impl Admin {
    /// The page that `exchange` asks for; `None` where there is none at its path.
    pub(super) async fn show_page(&self, exchange: &Exchange) -> Option<Answer> {
        let asks = matches!(exchange.method, Method::GET | Method::HEAD);
        let sends = exchange.method == Method::POST;
        let outcome = match exchange.path.as_str() {
            "/" if asks => self.overview(exchange).await,
            "/open" if asks => Ok(ask_to_open(exchange)),
            "/open" if sends => self.open(exchange).await,
            "/leave" if sends => self.leave(exchange).await,
            "/act" if sends => self.act(exchange).await,
            "/" => Ok(wrong_method(exchange, "GET, HEAD")),
            "/open" => Ok(wrong_method(exchange, "GET, HEAD, POST")),
            "/leave" | "/act" => Ok(wrong_method(exchange, "POST")),
            _ => return None,
        };
        Some(outcome.unwrap_or_else(|refusal| closed(exchange, &refusal)))
    }

    async fn overview(&self, exchange: &Exchange) -> Result<Answer, Refusal> {
        let Some(pass) = self.pass_of(exchange).await? else {
            return Ok(shut(
                exchange,
                StatusCode::UNAUTHORIZED,
                "Nobody is signed in here",
                "This page shows who is signed in, and ends sessions.",
                Some(COMMAND),
            ));
        };
        let figures = self.stats.figures(&self.sessions).await?;
        let lists = Lists {
            sessions: self.sessions.list(None, None, overview::ROWS).await?,
            bans: self.accounts.bans(None, overview::ROWS).await?,
            events: self.log.find(EventFilter::newest(overview::ROWS)).await?,
        };
        let notice = exchange.query.as_deref().and_then(overview::notice);
        let page = Overview::new(self.form_token(pass), notice, &figures, lists, self.sessions.now());
        Ok(page_of(exchange, StatusCode::OK, &page))
    }

    /// Uses the link up. Only a form does that: what looks at an address in advance must not burn it.
    async fn open(&self, exchange: &Exchange) -> Result<Answer, Refusal> {
        if sender(&exchange.headers, &exchange.origin()) == Sender::Foreign {
            return Err(Refusal::Foreign);
        }
        let form = Form::read(exchange)?;
        let throttle = self.accounts.throttle();
        // Whether this address may try at all; a right link counts for nothing.
        throttle.check_token(exchange.address, || true).await?;
        let link = form.text("link").unwrap_or_default();
        let Some(pass) = self.accounts.use_link(link, exchange.address).await? else {
            let _ = throttle.check_token(exchange.address, || false).await?;
            self.refused(exchange, None, "wrong_link").await;
            let sentence = "It was used already, or it is older than five minutes.";
            return Ok(shut(
                exchange,
                StatusCode::FORBIDDEN,
                "This link does not work any more",
                sentence,
                Some(COMMAND),
            ));
        };
        let mut answer = back(exchange, "/");
        set_cookie(exchange, &mut answer, pass.expose_secret(), PASS_LIFE.as_secs());
        Ok(answer)
    }

    async fn leave(&self, exchange: &Exchange) -> Result<Answer, Refusal> {
        let (pass, _) = self.admitted(exchange).await?;
        self.accounts.end_pass(pass, exchange.address).await?;
        let mut answer = back(exchange, "/");
        set_cookie(exchange, &mut answer, "", 0);
        Ok(answer)
    }

    async fn act(&self, exchange: &Exchange) -> Result<Answer, Refusal> {
        let (_, form) = self.admitted(exchange).await?;
        let caller = Caller::by_link();
        let done = if let Some(id) = form.text("end") {
            let id = super::ask::uuid(id).ok_or(Refusal::Absent("There is no such session"))?;
            let event = Event {
                address: Some(exchange.address),
                ..Event::new(self.sessions.now(), EventKind::SessionEnded, caller.actor)
            };
            let ended = self.sessions.end(Which::Public(PublicId(id)), event).await?;
            if ended.is_empty() { "gone" } else { "ended" }
        } else if let Some(id) = form.text("lift") {
            let lifted = self.accounts.lift(id, &caller.actor).await?;
            if lifted.is_empty() { "gone" } else { "lifted" }
        } else if form.text("sweep").is_some() {
            match self.sweep_now().await? {
                Sweeping::Done(_) => "swept",
                Sweeping::Running(_) => "sweeping",
                Sweeping::Elsewhere => "elsewhere",
            }
        } else {
            return Err(Refusal::Invalid("Nothing was asked for".to_owned()));
        };
        Ok(back(exchange, &format!("/?{done}")))
    }

    /// The pass and the form of a request that changes something: sent by our own page to a browser that holds the pass.
    async fn admitted(&self, exchange: &Exchange) -> Result<(Digest, Form), Refusal> {
        if sender(&exchange.headers, &exchange.origin()) != Sender::Ours {
            return Err(Refusal::Foreign);
        }
        let form = Form::read(exchange)?;
        let Some(pass) = self.pass_of(exchange).await? else {
            return Err(Refusal::Unauthenticated(
                "Your eight hours are over, or you signed out in another tab",
            ));
        };
        let given = URL_SAFE_NO_PAD
            .decode(form.text("csrf").unwrap_or_default())
            .unwrap_or_default();
        let is_ours = |key: &hmac::Key| hmac::verify(key, &pass.0, &given).is_ok();
        if !self.form_keys.iter().any(is_ours) {
            return Err(Refusal::Foreign);
        }
        Ok((pass, form))
    }

    fn form_token(&self, pass: Digest) -> String {
        let tag = self.form_keys.first().map(|key| hmac::sign(key, &pass.0));
        tag.map(|tag| URL_SAFE_NO_PAD.encode(tag)).unwrap_or_default()
    }
}

fn ask_to_open(exchange: &Exchange) -> Answer {
    let query = exchange.query.as_deref().unwrap_or_default();
    let link = query
        .strip_prefix("link=")
        .filter(|link| link.len() <= 64)
        .unwrap_or_default();
    page_of(exchange, StatusCode::OK, &OpenPage { link })
}

/// A refusal as a page.
fn closed(exchange: &Exchange, refusal: &Refusal) -> Answer {
    let title = match refusal {
        Refusal::Unauthenticated(_) => "Nobody is signed in here",
        Refusal::Unavailable | Refusal::Busy => "Please try again in a moment",
        Refusal::Throttled(_) => "That was a little fast",
        _ => "Nothing was done",
    };
    let command = matches!(refusal, Refusal::Unauthenticated(_)).then_some(COMMAND);
    shut(exchange, refusal.status(), title, refusal.text(), command)
}

fn shut(exchange: &Exchange, status: StatusCode, title: &str, sentence: &str, command: Option<&str>) -> Answer {
    let page = ClosedPage {
        title,
        sentence,
        command,
        request: exchange.request_id.to_string(),
    };
    page_of(exchange, status, &page)
}

fn wrong_method(exchange: &Exchange, allow: &'static str) -> Answer {
    let mut answer = closed(exchange, &Refusal::Method(allow.to_owned()));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

fn page_of(exchange: &Exchange, status: StatusCode, template: &impl Template) -> Answer {
    // Rendering writes into a String and fails only with it; an empty page with the right status is left then.
    let mut answer = Response::new(Bytes::from(template.render().unwrap_or_default()));
    *answer.status_mut() = status;
    page_headers(&mut answer, &POLICY, exchange.request_id);
    answer
}

fn back(exchange: &Exchange, location: &str) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::SEE_OTHER;
    own_headers(&mut answer, exchange.request_id);
    let location = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/"));
    answer.headers_mut().insert(LOCATION, location);
    answer
}

/// `Strict`: no page of another site, and none of another program on this machine's other names, makes the browser send it.
fn set_cookie(exchange: &Exchange, answer: &mut Answer, value: &str, seconds: u64) {
    let name = pass_cookie(exchange.scheme);
    let secure = match exchange.scheme {
        Scheme::Https => "; Secure",
        Scheme::Http => "",
    };
    let line = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(mut line) = HeaderValue::try_from(line) {
        line.set_sensitive(true);
        answer.headers_mut().append(SET_COOKIE, line);
    }
}
