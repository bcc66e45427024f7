use crate::account::AccountError;
use crate::account::ThrottleError;
use crate::audit::StoreError;
use crate::session::EndError;
use crate::session::SessionError;
use crate::web::Answer;
use crate::web::Problem;
use crate::web::RequestId;
use http::HeaderValue;
use http::StatusCode;
use http::header::ALLOW;
use http::header::RETRY_AFTER;
use http::header::WWW_AUTHENTICATE;

/// Why a request of an operator was not carried out. One `match` gives status, slug and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Something in the query, the path or the body is not as documented; the text says what, and repeats no secret.
    Invalid(String),
    /// Nobody that may ask; the text says how to.
    Unauthenticated(&'static str),
    /// A member whose log-in lies too far back, with where to sign in again.
    StepUp(String),
    /// Nobody is signed in, with where to sign in.
    SignIn(String),
    /// By an alias: neither the token nor a member, with where to sign in.
    AdminNeeded(String),
    /// The token came over plain http.
    NotEncrypted,
    /// Signed in, and no member of the group.
    NotMember,
    /// A page of another site sent it, or one that does not say where it is from.
    Foreign,
    /// What it names is not there.
    Absent(&'static str),
    /// What it wants is taken or cannot be now.
    Conflict(String),
    /// The body is of another type than JSON.
    MediaType,
    /// The path is known, the method is not; these are.
    Method(String),
    /// The configuration that was to be read anew is not valid; its problems.
    BadConfiguration(Vec<serde_json::Value>),
    /// Too many wrong tokens came from there; so many seconds must pass.
    Throttled(u64),
    /// Too many passwords are being hashed.
    Busy,
    /// A session of an application is refused from now on, and its row still stands.
    RowsStand,
    /// The store could not be asked: it is not known whether anything was done.
    Unavailable,
}

impl Refusal {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated(_) | Self::StepUp(_) | Self::SignIn(_) | Self::AdminNeeded(_) => {
                StatusCode::UNAUTHORIZED
            }
            Self::NotMember | Self::Foreign | Self::NotEncrypted => StatusCode::FORBIDDEN,
            Self::Absent(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadConfiguration(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::RowsStand | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn slug(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid-request",
            Self::Unauthenticated(_) | Self::SignIn(_) | Self::AdminNeeded(_) => "unauthenticated",
            Self::NotEncrypted => "not-encrypted",
            Self::StepUp(_) => "step-up",
            Self::NotMember => "forbidden",
            Self::Foreign => "foreign-origin",
            Self::Absent(_) => "not-found",
            Self::Conflict(_) => "conflict",
            Self::MediaType => "unsupported-media-type",
            Self::Method(_) => "method-not-allowed",
            Self::BadConfiguration(_) => "invalid-configuration",
            Self::Throttled(_) => "throttled",
            Self::Busy => "busy",
            Self::RowsStand => "rows-stand",
            Self::Unavailable => "unavailable",
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Invalid(text) | Self::Conflict(text) => text,
            Self::Unauthenticated(text) | Self::Absent(text) => text,
            Self::StepUp(_) => "This needs a fresh log-in: sign in again, then repeat it",
            Self::SignIn(_) => "Not authenticated",
            Self::AdminNeeded(_) => "Admin authentication required",
            Self::NotEncrypted => "The token must not travel over plain http; nothing was looked at",
            Self::NotMember => "This is open to members of the administrators' group only",
            Self::Foreign => "The request must come from a page of this site: Origin or Sec-Fetch-Site has to say so",
            Self::BadConfiguration(_) => "The configuration is not valid; the one before runs on",
            Self::MediaType => "The body must be application/json, and not compressed",
            Self::Method(_) => "This method is not allowed here",
            Self::Throttled(_) => "Too many wrong tokens came from this address; wait, or lift its ban by command",
            Self::Busy => "Too many passwords are being hashed at once; nothing was done, try again in a moment",
            Self::RowsStand => {
                "The gateway refuses the session from now on, but the application's database did not delete its row, so the \
                 application itself may still accept it; try again in a moment"
            }
            Self::Unavailable => "The store is not answering, so nothing is reported as done; try again in a moment",
        }
    }

    /// As a problem of RFC 9457.
    pub(super) fn into_answer(self, id: RequestId) -> Answer {
        let mut problem = Problem::new(self.status(), self.slug(), self.text(), id);
        if let Self::StepUp(login) | Self::SignIn(login) | Self::AdminNeeded(login) = &self {
            problem.login_url = Some(login.clone());
        }
        if let Self::BadConfiguration(problems) = &self {
            problem.problems.clone_from(problems);
        }
        let mut answer = problem.into_answer(id);
        let headers = answer.headers_mut();
        match &self {
            Self::Unauthenticated(_) => {
                headers.insert(
                    WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"portcullis admin\""),
                );
            }
            Self::Method(allow) => {
                if let Ok(allow) = HeaderValue::from_str(allow) {
                    headers.insert(ALLOW, allow);
                }
            }
            Self::Throttled(seconds) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
            }
            Self::Busy | Self::RowsStand | Self::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        answer
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(error, "an operator's request was not carried out");
        Self::Unavailable
    }
}

impl From<ThrottleError> for Refusal {
    fn from(error: ThrottleError) -> Self {
        match error {
            ThrottleError::Throttled { retry_after } => Self::Throttled(retry_after.as_secs().max(1)),
            ThrottleError::Store(error) => error.into(),
        }
    }
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Store(error)
            | SessionError::NotEnded(EndError::NotStored(error) | EndError::Unread(error)) => error.into(),
            SessionError::NotEnded(EndError::RowsStand(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "rows of sessions that were ended could not be deleted");
                Self::RowsStand
            }
            SessionError::NotEnded(error @ EndError::MayNot) => Self::Conflict(sentence(&error.to_string())),
            SessionError::NoSource => Self::Absent("There is no such source"),
            SessionError::Full | SessionError::UserGone | SessionError::PasswordChanged | SessionError::Randomness => {
                Self::Unavailable
            }
        }
    }
}

impl From<AccountError> for Refusal {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NoSuchUser(_) => Self::Absent("There is no such user"),
            AccountError::Taken(_) => Self::Conflict(sentence(&error.to_string())),
            AccountError::Busy | AccountError::Throttled { .. } | AccountError::Randomness => Self::Busy,
            AccountError::Store(error) => error.into(),
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
            | AccountError::ShortPassword
            | AccountError::LongPassword
            | AccountError::CommonPassword
            | AccountError::OwnPassword
            | AccountError::SamePassword
            | AccountError::Hash(_) => Self::Invalid(sentence(&error.to_string())),
        }
    }
}

/// With a capital at its start.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
