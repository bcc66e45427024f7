use super::pages::{CSS, DEFAULT_NAME, page, policy};
use crate::web::Answer;
use crate::web::RequestId;
use askama::Template;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

/// What somebody who was refused can do next.
#[derive(Clone, Copy, Debug)]
pub struct Action<'a> {
    /// On the button.
    pub label: &'a str,
    /// Where it leads; empty loads the same address again.
    pub href: &'a str,
    /// Whether it opens beside the page, so that a form one can go back to is not lost.
    pub new_tab: bool,
}

/// A refusal as a person sees it: what happened, what to do, and the number that the log knows it by. Never a version, a
/// path on this machine or a chain of causes. Usable without a [`super::Portal`].
#[derive(Clone, Debug)]
pub struct ErrorPage<'a> {
    /// The status.
    pub status: StatusCode,
    /// The heading.
    pub title: &'a str,
    /// What happened.
    pub sentence: &'a str,
    /// What helps.
    pub hint: Option<&'a str>,
    /// One thing to click.
    pub action: Option<Action<'a>>,
    /// What can be clicked instead.
    pub others: Vec<Action<'a>>,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// The id of the request, shown on the page.
    pub request_id: RequestId,
    /// `portal.name`.
    pub name: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorTemplate<'a> {
    site: &'a str,
    status: u16,
    title: &'a str,
    sentence: &'a str,
    hint: Option<&'a str>,
    action: Option<Action<'a>>,
    others: Vec<Action<'a>>,
    request: RequestId,
}

impl<'a> ErrorPage<'a> {
    /// The page for `status` in plain words; every part can be replaced by struct update.
    #[must_use]
    pub fn of(status: StatusCode, request_id: RequestId, name: Option<&'a str>) -> Self {
        let (title, sentence, hint) = words(status);
        let again = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
        Self {
            status,
            title,
            sentence,
            hint: Some(hint),
            action: again.then_some(Action {
                label: "Try again",
                href: "",
                new_tab: false,
            }),
            others: Vec::new(),
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(5),
            request_id,
            name,
        }
    }

    /// 503 because the session store could not be asked: nobody is signed out by that.
    #[must_use]
    pub fn cannot_ask(request_id: RequestId, name: Option<&'a str>) -> Self {
        Self {
            title: "We can't check your sign-in right now",
            sentence: "The place where sign-ins are kept is not answering. You have not been signed out.",
            hint: Some("Wait a moment and try again. Nothing else is needed."),
            ..Self::of(StatusCode::SERVICE_UNAVAILABLE, request_id, name)
        }
    }

    /// 401 for something sent without a session that a redirect would lose, such as a form. `login` is what
    /// [`super::login_location`] made.
    #[must_use]
    pub fn sign_in_then_send_again(login: &'a str, request_id: RequestId, name: Option<&'a str>) -> Self {
        Self {
            action: Some(Action {
                label: "Open the sign-in page",
                href: login,
                new_tab: true,
            }),
            ..Self::of(StatusCode::UNAUTHORIZED, request_id, name)
        }
    }

    /// The page as a whole answer.
    #[must_use]
    pub fn into_answer(self) -> Answer {
        let template = ErrorTemplate {
            site: self.name.unwrap_or(DEFAULT_NAME),
            status: self.status.as_u16(),
            title: self.title,
            sentence: self.sentence,
            hint: self.hint,
            action: self.action,
            others: self.others,
            request: self.request_id,
        };
        let mut answer = page(self.status, &template, &policy(std::iter::empty()), self.request_id);
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// What a status means to a person: heading, what happened, what helps.
type Words = (&'static str, &'static str, &'static str);

fn words(status: StatusCode) -> Words {
    match status.as_u16() {
        500..600 => server_words(status),
        401 | 403 | 404 | 405 => access_words(status),
        _ => request_words(status),
    }
}

/// Who or where was wrong.
fn access_words(status: StatusCode) -> Words {
    match status.as_u16() {
        401 => (
            "Please sign in first",
            "You are not signed in, so what you sent was not passed on.",
            "Open the sign-in page in a new tab. Then come back to this one, go one page back and send it again.",
        ),
        403 => (
            "You can't open this",
            "This page is not open to you.",
            "If you think that it should be, ask the people who run this site.",
        ),
        404 => (
            "There is nothing here",
            "No page was found at this address.",
            "Check the address for a typing mistake.",
        ),
        _ => (
            "That can't be done here",
            "This address does not take this kind of request.",
            "Go back and use the buttons and links of the page.",
        ),
    }
}

/// How it was sent was wrong.
fn request_words(status: StatusCode) -> Words {
    match status.as_u16() {
        408 => (
            "That took too long",
            "Your request did not arrive in time.",
            "Check your connection and try again.",
        ),
        413 => (
            "That is too large",
            "What you sent is larger than this site takes.",
            "Send less at once, or a smaller file.",
        ),
        414 => (
            "That address is too long",
            "The address that you opened is longer than this site takes.",
            "Start again from the first page.",
        ),
        415 => (
            "That can't be read here",
            "What was sent is of a kind that this address does not take.",
            "Go back and use the form of the page.",
        ),
        421 => (
            "This is not the right place",
            "No site is served here under the name that your browser asked for.",
            "Check the address. If it looks right, close this tab and open it again.",
        ),
        429 => (
            "That was a little fast",
            "There were too many requests in a short time.",
            "Wait a moment and try again.",
        ),
        431 => (
            "Your browser sent too much",
            "The headers of this request are larger than this site takes.",
            "Clearing the cookies of this site often helps.",
        ),
        _ => (
            "That request can't be passed on",
            "Your browser sent something that has more than one meaning, or none.",
            "Go back and try again. If you typed the address, check it for unusual characters.",
        ),
    }
}

/// Ours or the application's fault.
fn server_words(status: StatusCode) -> Words {
    match status.as_u16() {
        501 => (
            "That is not supported",
            "This request uses a feature that this site does not have.",
            "Try it with another browser.",
        ),
        502 => (
            "The application can't be reached",
            "The application behind this page is not answering as it should.",
            "It may be restarting. Try again in a minute.",
        ),
        503 => (
            "Please try again in a moment",
            "This site is very busy or being looked after right now.",
            "You have not been signed out.",
        ),
        504 => (
            "The application takes too long",
            "The application behind this page did not answer in time.",
            "If you were saving something, check whether it was saved before you send it again.",
        ),
        _ => (
            "Something went wrong",
            "This site could not answer because of a fault of its own.",
            "Try again. If it happens again, tell the people who run this site.",
        ),
    }
}
