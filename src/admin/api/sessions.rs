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
use crate::session::TheirSession;
use crate::session::Which;
use crate::web::Answer;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use std::net::IpAddr;

const NO_SESSION: &str = "There is no such session";

/// A session as it is shown. Nothing here opens it. Of an application's it is not known when it began or was last seen.
#[derive(Serialize)]
struct Item {
    public_id: PublicId,
    user: Username,
    user_id: Option<UserId>,
    source: Option<String>,
    state: &'static str,
    created_at: Option<Timestamp>,
    authenticated_at: Option<Timestamp>,
    last_seen_at: Option<Timestamp>,
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
            user_id: Some(user.id),
            source: None,
            created_at: Some(session.created_at),
            authenticated_at: Some(session.authenticated_at),
            last_seen_at: Some(session.last_seen_at),
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

    fn of_source(source: &str, theirs: &TheirSession, now: Timestamp) -> Self {
        Self {
            user_id: None,
            source: Some(source.to_owned()),
            created_at: None,
            authenticated_at: None,
            last_seen_at: None,
            ..Self::new(theirs.found.clone(), now)
        }
    }
}

/// What a path's id names.
enum One {
    Ours(Box<Found>),
    /// An application's, and its source.
    Theirs(String, Box<TheirSession>),
}

/// `SOURCE:SUBJECT`, of which the first part is the source.
fn source_of(user: &str) -> Option<&str> {
    user.split_once(':').map(|(source, _)| source)
}

impl Admin {
    pub(super) async fn list_sessions(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        // Before the user is looked for: a wrong question is wrong whoever it asks about.
        ask.query.limit()?;
        self.place(ask)?;
        let user = ask.query.text("user");
        match (ask.query.text("source"), user.and_then(source_of)) {
            (Some(source), of_user) if user.is_none() || of_user == Some(source) => {
                return self.list_theirs(ask, source, user).await;
            }
            (None, Some(source)) => return self.list_theirs(ask, source, user).await,
            (Some(_), _) => {
                let text =
                    "The users of a source are called `SOURCE:SUBJECT`: ask for one of this source, or for no user";
                return Err(Refusal::Invalid(text.to_owned()));
            }
            (None, None) => {}
        }
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

    /// Live sessions of an application.
    async fn list_theirs(&self, ask: &Ask<'_>, source: &str, user: Option<&str>) -> Result<Answer, Refusal> {
        let limit = ask.query.limit()?;
        let after = self.place(ask)?.and_then(|place| place.try_into().ok());
        let found = self.sessions.list_theirs(source, user, after, limit as usize).await?;
        let now = self.sessions.now();
        let about = ask.query.about(ask.path);
        let next = found.next.and_then(|next| self.tokens.make(&about, &next));
        let items = found
            .items
            .iter()
            .map(|one| Item::of_source(source, one, now))
            .collect();
        Ok(ask.json(&List { items, next }))
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
        if let (Some(user), None) = (ask.query.text("user"), ask.query.text("all"))
            && let Some(source) = source_of(user)
        {
            return self.end_theirs_of(ask, source, user).await;
        }
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
        let is_all = matches!(which, Which::All);
        let ended = self.sessions.end(which, event.clone()).await?.len() as u64;
        if !is_all {
            return Ok(ask.json(&json!({ "ended": ended })));
        }
        let sources = self.sessions.end_everyone_there(event).await?;
        let total = ended + sources.iter().map(|one| one.ended).sum::<u64>();
        if sources.is_empty() {
            return Ok(ask.json(&json!({ "ended": total })));
        }
        Ok(ask.json(&json!({ "ended": total, "sources": sources })))
    }

    /// Ends every session of an application's user.
    async fn end_theirs_of(&self, ask: &Ask<'_>, source: &str, user: &str) -> Result<Answer, Refusal> {
        let sessions = self.sessions.all_theirs(source, user).await?;
        let count = sessions.len();
        let event = self.event(ask, EventKind::SessionEnded);
        let event = match sessions.as_slice() {
            [] => return Ok(ask.json(&json!({ "ended": 0 }))),
            [one] => one.told(event),
            [one, ..] => Event {
                session: None,
                ..one.told(event)
            },
        };
        self.sessions.end_theirs(source, sessions, event).await?;
        Ok(ask.json(&json!({ "ended": count })))
    }

    pub(super) async fn show_session(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let now = self.sessions.now();
        Ok(match self.session_of(ask).await? {
            One::Ours(found) => ask.json(&Item::new(*found, now)),
            One::Theirs(source, theirs) => ask.json(&Item::of_source(&source, &theirs, now)),
        })
    }

    pub(super) async fn end_session(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let found = match self.session_of(ask).await? {
            One::Ours(found) => *found,
            One::Theirs(source, theirs) => {
                let event = theirs.told(self.event(ask, EventKind::SessionEnded));
                self.sessions.end_theirs(&source, vec![*theirs], event).await?;
                return Ok(ask.done());
            }
        };
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
    async fn session_of(&self, ask: &Ask<'_>) -> Result<One, Refusal> {
        let id = PublicId(ask.uuid(NO_SESSION)?);
        let found = if id.is_of_source() {
            let theirs = self.sessions.show_theirs(id).await?;
            theirs.map(|(source, theirs)| One::Theirs(source, Box::new(theirs)))
        } else {
            self.sessions.show(id).await?.map(|found| One::Ours(Box::new(found)))
        };
        found.ok_or(Refusal::Absent(NO_SESSION))
    }

    fn event(&self, ask: &Ask<'_>, kind: EventKind) -> Event {
        Event {
            address: Some(ask.exchange.address),
            ..Event::new(self.sessions.now(), kind, ask.caller.actor.as_str())
        }
    }
}
