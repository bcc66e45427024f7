use super::Portal;
use super::desk::{json, problem, reader, see_other, shown_host};
use super::error_page::ErrorPage;
use super::moment::in_words;
use super::pages::AccountPage;
use super::return_address::login_and_then;
use crate::model::PublicId;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::UserId;
use crate::session::Entry;
use crate::session::Identified;
use crate::session::Live;
use crate::web::Answer;
use crate::web::Audience;
use crate::web::Exchange;
use crate::web::Problem;
use crate::web::audience_of;
use http::StatusCode;
use http::header::ACCEPT;

const TWICE: &str = "Signed in as two different users at once; neither was used";

/// A user as `me` and `login` tell them.
#[derive(serde::Serialize)]
pub(super) struct UserFacts<'a> {
    id: UserId,
    username: &'a str,
    name: Option<&'a str>,
    email: Option<&'a str>,
    groups: &'a [String],
}

impl<'a> UserFacts<'a> {
    /// What applications are told as well: an address that nobody has verified is left out.
    pub(super) fn of(user: &'a User) -> Self {
        Self {
            id: user.id,
            username: user.username.as_str(),
            name: user.name.as_deref(),
            email: user.email.as_deref().filter(|_| user.email_verified),
            groups: &user.groups,
        }
    }
}

/// A session as `login` and `sync` tell it. Nothing here opens it.
#[derive(serde::Serialize)]
pub(super) struct SessionFacts<'a> {
    public_id: PublicId,
    created_at: Timestamp,
    expires_at: Timestamp,
    ends_at: Timestamp,
    remembered: bool,
    device: Option<&'a str>,
}

impl<'a> SessionFacts<'a> {
    pub(super) fn of(entry: &'a Entry) -> Self {
        let session = &entry.session;
        Self {
            public_id: session.public_id,
            created_at: session.created_at,
            expires_at: entry.ends(),
            ends_at: session.ends_at,
            remembered: session.remembered,
            device: session.device.as_deref(),
        }
    }
}

/// What `session` answers; the members are always there.
#[derive(serde::Serialize)]
struct State {
    #[serde(rename = "state")]
    word: &'static str,
    public_id: Option<PublicId>,
    expires_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    seconds_left: Option<u64>,
}

impl State {
    const fn without_session(word: &'static str) -> Self {
        Self {
            word,
            public_id: None,
            expires_at: None,
            ends_at: None,
            seconds_left: None,
        }
    }

    fn of(live: &Live, now: Timestamp) -> Self {
        let session = &live.entry.session;
        let expires_at = live.entry.ends();
        Self {
            word: "active",
            public_id: Some(session.public_id),
            expires_at: Some(expires_at),
            ends_at: Some(session.ends_at),
            seconds_left: Some(expires_at.since(now).as_secs()),
        }
    }
}

impl Portal {
    /// `GET` of the bare prefix.
    pub(super) async fn front_door(&self, exchange: &Exchange) -> Answer {
        let prefix = &self.settings.prefix;
        match self.identify_anyone(exchange).await {
            Identified::Live(live) if reader(exchange) == Audience::Person => self.account_page(exchange, &live),
            Identified::Live(_) => see_other(exchange, &format!("{prefix}/me")),
            Identified::Unavailable => self.cannot_ask(exchange),
            Identified::Anonymous | Identified::Dead | Identified::Conflict => {
                see_other(exchange, &login_and_then(prefix, None))
            }
        }
    }

    /// `GET me`: JSON, and a page for who asks for pages.
    pub(super) async fn me(&self, exchange: &Exchange) -> Answer {
        let known = self.identify_anyone(exchange).await;
        match &known {
            Identified::Live(live) if wants_page(exchange) => self.account_page(exchange, live),
            Identified::Live(live) => json(exchange, &UserFacts::of(&live.entry.user)),
            _ => self.unauthenticated(exchange, &known, "/me"),
        }
    }

    /// The answer to who is not signed in: the log-in page that leads back to our own page `back`, or 401; 503 where it
    /// could not be asked.
    pub(super) fn unauthenticated(&self, exchange: &Exchange, known: &Identified, back: &str) -> Answer {
        let error = match known {
            Identified::Unavailable => return self.cannot_ask(exchange),
            Identified::Anonymous | Identified::Live(_) => "Not authenticated",
            Identified::Dead => "Session expired",
            Identified::Conflict => TWICE,
        };
        let prefix = &self.settings.prefix;
        if wants_page(exchange) {
            return see_other(exchange, &login_and_then(prefix, Some(&format!("{prefix}{back}"))));
        }
        let mut refusal = Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", error, exchange.request_id);
        refusal.login_url = Some(login_and_then(prefix, None));
        let mut answer = refusal.into_answer(exchange.request_id);
        if matches!(known, Identified::Conflict) {
            self.clear_cookie(exchange, &mut answer);
        }
        answer
    }

    /// `GET session`: 200 whenever the store could be asked.
    pub(super) async fn session(&self, exchange: &Exchange) -> Answer {
        match self.identify_anyone(exchange).await {
            Identified::Live(live) => {
                let mut answer = json(exchange, &State::of(&live, self.sessions.now()));
                self.renew_cookie(exchange, &live, &mut answer);
                answer
            }
            Identified::Dead => json(exchange, &State::without_session("expired")),
            Identified::Anonymous => json(exchange, &State::without_session("none")),
            Identified::Conflict => {
                let mut answer = json(exchange, &State::without_session("none"));
                self.clear_cookie(exchange, &mut answer);
                answer
            }
            Identified::Unavailable => {
                let page = ErrorPage::cannot_ask(exchange.request_id, None);
                problem(exchange, "unavailable", &page)
            }
        }
    }

    fn account_page(&self, exchange: &Exchange, live: &Live) -> Answer {
        let (user, session) = (&live.entry.user, &live.entry.session);
        let host = shown_host(exchange);
        let display = display_name(user);
        self.form(exchange, StatusCode::OK, |token| AccountPage {
            site: self.site(),
            prefix: &self.settings.prefix,
            host: &host,
            token,
            display,
            initial: display.chars().take(1).flat_map(char::to_uppercase).collect(),
            username: user.username.as_str(),
            // One that nobody has verified is a claim, and whether it was kept tells whose it is.
            email: user.email.as_deref().filter(|_| user.email_verified),
            groups: &user.groups,
            theirs: live.entry.source().is_some(),
            since: session.authenticated_at.to_string(),
            since_words: in_words(session.authenticated_at),
            until: session.ends_at.to_string(),
            until_words: in_words(session.ends_at),
        })
    }
}

/// The display name, or the user name where there is none.
pub(super) fn display_name(user: &User) -> &str {
    user.name.as_deref().unwrap_or(user.username.as_str())
}

/// `me` and the like are JSON first: only who names HTML gets the page.
pub(super) fn wants_page(exchange: &Exchange) -> bool {
    let names_html = exchange.headers.get_all(ACCEPT).iter().any(|line| {
        line.to_str()
            .is_ok_and(|text| text.to_ascii_lowercase().contains("text/html"))
    });
    names_html && audience_of(&exchange.headers) == Audience::Person
}

#[cfg(test)]
mod tests {
    use super::super::testing::exchange;
    use super::wants_page;
    use http::Method;

    #[test]
    fn me_is_a_page_only_for_who_names_html() {
        let asks = |accept: Option<&str>| {
            let mut exchange = exchange(Method::GET, "/.portcullis/me");
            if let Some(accept) = accept {
                exchange.headers.insert("accept", accept.parse().unwrap());
            }
            wants_page(&exchange)
        };
        assert!(asks(Some("text/html,application/xhtml+xml,*/*;q=0.8")));
        assert!(!asks(Some("*/*")));
        assert!(!asks(Some("application/json")));
        assert!(!asks(None));
    }
}
