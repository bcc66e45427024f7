use super::Ask;
use super::List;
use super::users::NO_USER;
use crate::admin::Admin;
use crate::admin::refusal::Refusal;
use crate::admin::refusal::sentence;
use crate::audit::Event;
use crate::audit::EventKind;
use crate::model::PublicId;
use crate::model::Timestamp;
use crate::model::UserId;
use crate::model::Username;
use crate::session::Found;
use crate::session::Sessions;
use crate::session::Which;
use crate::web::Answer;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use std::net::IpAddr;

const NO_SESSION: &str = "There is no such session";

/// A session as it is shown. Nothing here opens it.
#[derive(Serialize)]
struct Item {
    public_id: PublicId,
    user: Username,
    user_id: UserId,
    state: &'static str,
    created_at: Timestamp,
    authenticated_at: Timestamp,
    last_seen_at: Timestamp,
    expires_at: Timestamp,
    ends_at: Timestamp,
    remembered: bool,
    methods: Vec<String>,
    device: Option<String>,
    user_agent: Option<String>,
    first_address: Option<IpAddr>,
    last_address: Option<IpAddr>,
    data: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(deserialize_with = "Option::deserialize")]
    data: Option<Value>,
}

impl Item {
    fn new(found: Found, now: Timestamp) -> Self {
        let Found { session, user } = found;
        Self {
            state: if session.is_over(now) { "expired" } else { "active" },
            public_id: session.public_id,
            user: user.username,
            user_id: user.id,
            created_at: session.created_at,
            authenticated_at: session.authenticated_at,
            last_seen_at: session.last_seen_at,
            expires_at: session.expires_at,
            ends_at: session.ends_at,
            remembered: session.remembered,
            methods: session.methods,
            device: session.device,
            user_agent: session.user_agent,
            first_address: session.first_address,
            last_address: session.last_address,
            data: session.data,
        }
    }
}

impl Admin {
    pub(super) async fn list_sessions(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        // Before the user is looked for: a wrong question is wrong whoever it asks about.
        ask.query.limit()?;
        self.place(ask)?;
        let user = match ask.query.username("user")? {
            None => None,
            Some(name) => match self.accounts.find(name.as_str()).await? {
                Some(user) => Some(user.id),
                // Nobody of that name has no sessions.
                None => return Ok(ask.json(&json!({ "items": [], "next": null }))),
            },
        };
        self.sessions_of(ask, user).await
    }

    pub(super) async fn list_sessions_of_user(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let user = self.user_of(ask).await?;
        self.sessions_of(ask, Some(user.id)).await
    }

    async fn sessions_of(&self, ask: &Ask<'_>, user: Option<UserId>) -> Result<Answer, Refusal> {
        let limit = ask.query.limit()?;
        let after = self
            .place(ask)?
            .and_then(|place| uuid::Uuid::from_slice(&place).ok())
            .map(PublicId);
        let found = self.sessions.list(user, after, limit + 1).await?;
        let now = self.sessions.now();
        let place = |found: &Found| found.session.public_id.0.as_bytes().to_vec();
        let (items, next) = self.page(ask, found, limit, place, |found| Item::new(found, now));
        Ok(ask.json(&List { items, next }))
    }

    pub(super) async fn end_sessions(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let (which, username) = match (ask.query.username("user")?, ask.query.text("all")) {
            (Some(name), None) => {
                let user = self
                    .accounts
                    .find(name.as_str())
                    .await?
                    .ok_or(Refusal::Absent(NO_USER))?;
                (Which::User(user.id), Some(user))
            }
            (None, Some("true")) => (Which::All, None),
            _ => {
                let text = "Say whose sessions end: `user=NAME`, or `all=true` for everybody's";
                return Err(Refusal::Invalid(text.to_owned()));
            }
        };
        let event = Event {
            user: username.as_ref().map(|user| user.id),
            username: username.map(|user| user.username.to_string()),
            ..self.event(ask, EventKind::SessionEnded)
        };
        let ended = self.sessions.end(which, event).await?;
        Ok(ask.json(&json!({ "ended": ended.len() })))
    }

    pub(super) async fn show_session(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let found = self.session_of(ask).await?;
        Ok(ask.json(&Item::new(found, self.sessions.now())))
    }

    pub(super) async fn end_session(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let found = self.session_of(ask).await?;
        let event = Event {
            username: Some(found.user.username.to_string()),
            ..self.event(ask, EventKind::SessionEnded)
        };
        // By its digest: that is forgotten here even if the store fails half-way.
        let ended = self.sessions.end(Which::Digest(found.session.digest), event).await?;
        if ended.is_empty() {
            return Err(Refusal::Absent(NO_SESSION));
        }
        Ok(ask.done())
    }

    pub(super) async fn change_session(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let id = PublicId(ask.uuid(NO_SESSION)?);
        let Change { data } = ask.body("data")?;
        if let Some(data) = &data {
            Sessions::check_data(data).map_err(|error| Refusal::Invalid(sentence(&error.to_string())))?;
        }
        let event = self.event(ask, EventKind::SessionDataChanged);
        if !self.sessions.set_data(id, data, event).await? {
            return Err(Refusal::Absent(NO_SESSION));
        }
        self.show_session(ask).await
    }

    /// The session that the path names.
    async fn session_of(&self, ask: &Ask<'_>) -> Result<Found, Refusal> {
        let id = PublicId(ask.uuid(NO_SESSION)?);
        self.sessions.show(id).await?.ok_or(Refusal::Absent(NO_SESSION))
    }

    fn event(&self, ask: &Ask<'_>, kind: EventKind) -> Event {
        Event {
            address: Some(ask.exchange.address),
            ..Event::new(self.sessions.now(), kind, ask.caller.actor.as_str())
        }
    }
}
