use super::desk::sentence;
use crate::account::AccountError;
use crate::account::SignInError;
use crate::session::SessionError;
use crate::web::Answer;
use crate::web::Exchange;
use crate::web::Problem;
use http::HeaderValue;
use http::StatusCode;
use http::header::RETRY_AFTER;
use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

const STALE: &str = "This form was open for too long, or your browser did not send its cookie. Please try again.";
const WRONG: &str = "The user name or the password is wrong. Please try again.";
const WRONG_CURRENT: &str = "The current password is wrong. Please try again.";
const BUSY: &str = "Many people are signing in right now. Please try again in a moment.";
const FULL: &str = "You are signed in on as many devices as you may use at once. Please sign out on another one first; if you \
                    do not have it any more, the people who run this site can end it.";
const DOWN: &str = "Signing in is not possible right now. Nobody was signed out. Please try again in a moment.";
const NOT_CHANGED: &str = "Whether your password was changed is not known, because the place where it is kept is not answering. \
                           Please try again in a moment; if your current password is called wrong then, the new one holds.";
const UNCHANGED: &str = "The password was not changed. Please try again in a moment.";
const CHANGED_MEANWHILE: &str = "Your password was changed by somebody else meanwhile, so it was left as it is. Please sign in \
                                 again with the newest one.";
const NOT_MADE: &str = "The account could not be made right now. Please try again in a moment.";

/// Why a form that tells who somebody is had no effect.
pub(super) struct Refused {
    pub status: StatusCode,
    pub slug: &'static str,
    pub text: Cow<'static, str>,
    pub retry_after: Option<u64>,
}

impl Refused {
    pub(super) const WRONG: Self = Self::new(StatusCode::UNAUTHORIZED, "wrong-credentials", WRONG, None);
    /// 403: with 401, front ends would take the session for ended.
    pub(super) const WRONG_CURRENT: Self = Self::new(StatusCode::FORBIDDEN, "wrong-credentials", WRONG_CURRENT, None);
    pub(super) const STALE: Self = Self::new(StatusCode::FORBIDDEN, "stale-form", STALE, None);
    pub(super) const BUSY: Self = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", BUSY, Some(2));
    pub(super) const DOWN: Self = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", DOWN, Some(5));
    pub(super) const FULL: Self = Self::new(StatusCode::CONFLICT, "too-many-sessions", FULL, None);
    pub(super) const NOT_CHANGED: Self =
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", NOT_CHANGED, Some(5));
    pub(super) const UNCHANGED: Self = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", UNCHANGED, Some(5));
    pub(super) const CHANGED_MEANWHILE: Self =
        Self::new(StatusCode::CONFLICT, "password-changed", CHANGED_MEANWHILE, None);
    pub(super) const NOT_MADE: Self = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", NOT_MADE, Some(5));

    const fn new(status: StatusCode, slug: &'static str, text: &'static str, retry_after: Option<u64>) -> Self {
        Self {
            status,
            slug,
            text: Cow::Borrowed(text),
            retry_after,
        }
    }

    /// 400: what was sent cannot be.
    pub(super) fn invalid(text: String) -> Self {
        Self {
            text: Cow::Owned(text),
            ..Self::new(StatusCode::BAD_REQUEST, "invalid-request", "", None)
        }
    }

    /// Tried too often; may be tried again after `wait`.
    fn throttled(wait: Duration, what: &str) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            slug: "too-many-attempts",
            text: Cow::Owned(format!(
                "There were too many attempts to {what}. Please try again in {}.",
                span(seconds)
            )),
            retry_after: Some(seconds),
        }
    }

    /// What became of a password that was to be proven at a log-in; `DOWN` tells it where it could not be checked.
    pub(super) fn of_proof(exchange: &Exchange, error: &SignInError) -> Self {
        match error {
            SignInError::Wrong => Self::WRONG,
            SignInError::Throttled { retry_after } => Self::throttled(*retry_after, "sign in"),
            SignInError::Busy => Self::BUSY,
            SignInError::Store(_) => {
                warn(exchange, error, "a log-in could not be checked");
                Self::DOWN
            }
        }
    }

    /// What became of an account or a password that somebody chose; `down` where the store did not do it.
    pub(super) fn of_choice(exchange: &Exchange, error: &AccountError, down: Self) -> Self {
        match error {
            AccountError::Throttled { retry_after } => Self::throttled(*retry_after, "make an account"),
            AccountError::Busy => Self::BUSY,
            AccountError::Store(_) | AccountError::Randomness | AccountError::NoSuchUser(_) => {
                warn(exchange, error, "what a visitor asked for was not carried out");
                down
            }
            AccountError::Taken(_) => Self {
                status: StatusCode::CONFLICT,
                slug: "taken",
                ..Self::invalid("This user name is not free. Please choose another.".to_owned())
            },
            AccountError::ShortPassword
            | AccountError::LongPassword
            | AccountError::CommonPassword
            | AccountError::OwnPassword
            | AccountError::SamePassword => Self {
                slug: "unfit-password",
                ..Self::invalid(sentence(&error.to_string()))
            },
            AccountError::Username(_)
            | AccountError::Reserved(_)
            | AccountError::At
            | AccountError::Office(_)
            | AccountError::Edge
            | AccountError::Email
            | AccountError::Name
            | AccountError::NameDelimiter
            | AccountError::LookAlike
            | AccountError::Group(_)
            | AccountError::TooManyGroups
            | AccountError::Source(_)
            | AccountError::AppUser
            | AccountError::TooManyAppUsers
            | AccountError::Hash(_) => Self::invalid(sentence(&error.to_string())),
        }
    }

    /// What became of a session that was to be opened with a new password.
    pub(super) fn of_reopening(exchange: &Exchange, error: &SessionError) -> Self {
        match error {
            SessionError::PasswordChanged | SessionError::UserGone => Self::CHANGED_MEANWHILE,
            SessionError::Store(_)
            | SessionError::NotEnded(_)
            | SessionError::NoSource
            | SessionError::Full
            | SessionError::Randomness => {
                warn(exchange, error, "a change of password was not carried out");
                Self::NOT_CHANGED
            }
        }
    }

    /// The word in metrics.
    pub(super) fn result(&self) -> &'static str {
        match self.slug {
            "wrong-credentials" => "failed",
            "too-many-attempts" => "throttled",
            "too-many-sessions" => "too_many_sessions",
            "busy" => "busy",
            _ => "unavailable",
        }
    }

    /// The answer for programs.
    pub(super) fn problem(&self, exchange: &Exchange) -> Answer {
        let id = exchange.request_id;
        self.dress(Problem::new(self.status, self.slug, self.text.as_ref(), id).into_answer(id))
    }

    /// Adds to an answer when to come back.
    pub(super) fn dress(&self, mut answer: Answer) -> Answer {
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// Logs a cause that visitors are not told.
pub(super) fn warn(exchange: &Exchange, error: &(dyn Error + 'static), what: &'static str) {
    tracing::warn!(request.id = %exchange.request_id, error, "{what}");
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
        assert_eq!(
            Refused::throttled(Duration::from_millis(1001), "sign in").retry_after,
            Some(2)
        );
        assert_eq!(
            Refused::throttled(Duration::from_mins(1), "sign in").retry_after,
            Some(60)
        );
        assert_eq!(
            [span(1), span(60), span(91), span(240)],
            ["a second", "60 seconds", "2 minutes", "4 minutes"]
        );
    }
}
