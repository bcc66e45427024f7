//! What the API does: one request in, one answer out. Called by the desks of [`super`] once it is known who asks.

mod audit;
mod bans;
mod reload;
mod sessions;
mod sweep;
mod users;

pub(super) use sweep::Sweeping;

use super::API;
use super::Admin;
use super::ask::Query;
use super::ask::body;
use super::ask::no_body;
use super::caller::Caller;
use super::endpoint::Act;
use super::endpoint::Endpoint;
use super::endpoint::Operation;
use super::openapi;
use super::openapi::Proof;
use super::refusal::Refusal;
use crate::web::Answer;
use crate::web::Exchange;
use crate::web::own_headers;
use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::Response;
use http::StatusCode;
use http::header::ALLOW;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde::de::DeserializeOwned;

const JSON: &str = "application/json";

/// A request that is known to be of somebody who may ask.
pub(super) struct Ask<'a> {
    exchange: &'a Exchange,
    operation: &'static Operation,
    caller: &'a Caller,
    query: Query,
    /// The path without where the API lives.
    path: &'a str,
    /// Where the API lives.
    base: &'a str,
    /// What stands for the value in the path.
    id: Option<&'a str>,
}

/// A list, and where it goes on.
#[derive(Serialize)]
struct List<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl Admin {
    /// Carries out what `path` and the method of `exchange` mean.
    pub(super) async fn serve(&self, exchange: &Exchange, path: &str, base: &str, caller: &Caller) -> Answer {
        let id = exchange.request_id;
        let Some((endpoint, value)) = Endpoint::find(path) else {
            return Refusal::Absent("There is nothing here").into_answer(id);
        };
        if exchange.method == Method::OPTIONS {
            let mut answer = nothing(exchange, StatusCode::NO_CONTENT);
            if let Ok(allow) = HeaderValue::from_str(&endpoint.allow()) {
                answer.headers_mut().insert(ALLOW, allow);
            }
            return answer;
        }
        let Some(operation) = endpoint.operation(&exchange.method) else {
            return Refusal::Method(endpoint.allow()).into_answer(id);
        };
        let outcome = match Query::read(exchange, operation) {
            Ok(query) => {
                let ask = Ask {
                    exchange,
                    operation,
                    caller,
                    query,
                    path,
                    base,
                    id: value,
                };
                self.carry_out(&ask).await
            }
            Err(refusal) => Err(refusal),
        };
        let answer = outcome.unwrap_or_else(|refusal| refusal.into_answer(id));
        debug_assert!(
            operation.documents(answer.status()),
            "{} of {path} is not documented",
            answer.status()
        );
        answer
    }

    async fn carry_out(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        if ask.operation.body.is_none() {
            no_body(ask.exchange)?;
        }
        match ask.operation.act {
            Act::ListUsers => self.list_users(ask).await,
            Act::AddUser => self.add_user(ask).await,
            Act::ShowUser => self.show_user(ask).await,
            Act::ChangeUser => self.change_user(ask).await,
            Act::DeleteUser => self.delete_user(ask).await,
            Act::ListSessionsOfUser => self.list_sessions_of_user(ask).await,
            Act::ListSessions => self.list_sessions(ask).await,
            Act::EndSessions => self.end_sessions(ask).await,
            Act::ShowSession => self.show_session(ask).await,
            Act::ChangeSession => self.change_session(ask).await,
            Act::EndSession => self.end_session(ask).await,
            Act::ListBans => self.list_bans(ask).await,
            Act::LiftBan => self.lift_ban(ask).await,
            Act::Sweep => self.sweep(ask).await,
            Act::ListEvents => self.list_events(ask).await,
            Act::Statistics => {
                let figures = self.stats.figures(&self.sessions).await?;
                let told = self.stats.tell(&figures, ask.exchange.aliased);
                Ok(text(ask.exchange, StatusCode::OK, JSON, told))
            }
            Act::Reload => self.reload(ask).await,
            Act::Document => Ok(ask.json(&self.describe(ask))),
        }
    }

    fn describe(&self, ask: &Ask<'_>) -> serde_json::Value {
        let proof = if ask.base == API {
            Proof::Token
        } else {
            Proof::Session(&self.sessions.cookie().name)
        };
        openapi::document(ask.base, proof)
    }

    /// One page of `items`, of which one more than `limit` was asked for.
    fn page<T, S: Serialize>(
        &self,
        ask: &Ask<'_>,
        mut items: Vec<T>,
        limit: u32,
        place: impl Fn(&T) -> Vec<u8>,
        show: impl FnMut(T) -> S,
    ) -> (Vec<S>, Option<String>) {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let about = ask.query.about(ask.path);
        let next = items
            .last()
            .filter(|_| more)
            .and_then(|last| self.tokens.make(&about, &place(last)));
        (items.into_iter().map(show).collect(), next)
    }

    /// The place that `after` names.
    fn place(&self, ask: &Ask<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        let about = || ask.query.about(ask.path);
        ask.query
            .text("after")
            .map(|token| self.tokens.read(&about(), token))
            .transpose()
    }
}

impl Ask<'_> {
    fn json(&self, value: &impl Serialize) -> Answer {
        let body = serde_json::to_vec(value).unwrap_or_default();
        text(self.exchange, self.operation.success, JSON, body)
    }

    fn done(&self) -> Answer {
        nothing(self.exchange, self.operation.success)
    }

    /// The UUID in the path; what is none names nothing.
    fn uuid(&self, missing: &'static str) -> Result<uuid::Uuid, Refusal> {
        self.id.and_then(super::ask::uuid).ok_or(Refusal::Absent(missing))
    }

    fn body<T: DeserializeOwned>(&self, members: &str) -> Result<T, Refusal> {
        body(self.exchange, members)
    }
}

fn text(exchange: &Exchange, status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = nothing(exchange, status);
    *answer.body_mut() = body.into();
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn nothing(exchange: &Exchange, status: StatusCode) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    own_headers(&mut answer, exchange.request_id);
    answer
}
