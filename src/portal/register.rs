use super::Portal;
use super::credential_fields::RegisterFields;
use super::desk::{parameter, reader, shown_host};
use super::fields::Body;
use super::login::login_of;
use super::pages::RegisterPage;
use super::refused::{Refused, warn};
use super::return_address::login_and_then;
use crate::account::Registration;
use crate::account::SHORTEST_PASSWORD;
use crate::session::Identified;
use crate::session::Login;
use crate::session::Opened;
use crate::web::Answer;
use crate::web::Audience;
use crate::web::Exchange;
use http::StatusCode;

const MADE_ONLY: &str = "Your account was made, but signing in is not possible right now. Please sign in in a moment.";

impl Portal {
    /// `GET register`: the form, or who is signed in already.
    pub(super) async fn register_page(&self, exchange: &Exchange) -> Answer {
        if self.is_exposed(exchange) {
            return self.refuse_exposed(exchange);
        }
        let next = self.accept_next(exchange, parameter(exchange, "next").as_deref());
        match self.identify(exchange).await {
            Identified::Unavailable => self.cannot_ask(exchange),
            Identified::Live(live) => self.already(exchange, &live, next.as_deref()),
            Identified::Anonymous | Identified::Dead | Identified::Conflict => {
                let fields = RegisterFields {
                    next,
                    ..RegisterFields::default()
                };
                self.register_form(exchange, StatusCode::OK, &fields, None)
            }
        }
    }

    /// `POST register`: makes an account and signs in as a log-in does.
    pub(super) async fn register(&self, exchange: &Exchange) -> Answer {
        if self.is_exposed(exchange) {
            return self.refuse_exposed(exchange);
        }
        let body = match self.admit(exchange) {
            Ok(body) => body,
            Err(objection) => return self.object(exchange, objection),
        };
        let fields = match RegisterFields::read(body, &exchange.body) {
            Ok(fields) => fields,
            Err(fault) => return self.unreadable(exchange, fault),
        };
        if body == Body::Form && !self.form_is_ours(exchange, &fields.csrf) {
            return self.refuse_register(exchange, &fields, &Refused::STALE);
        }
        if let Err(fault) = fields.check() {
            return self.refuse_register(exchange, &fields, &Refused::invalid(fault.to_string()));
        }
        match self.make_account(exchange, &fields).await {
            Ok((opened, before)) => {
                self.metrics.login("succeeded").inc();
                self.welcome(exchange, body, fields.next.as_deref(), &opened, &before)
                    .await
            }
            Err(refused) => self.refuse_register(exchange, &fields, &refused),
        }
    }

    async fn make_account(
        &self,
        exchange: &Exchange,
        fields: &RegisterFields,
    ) -> Result<(Opened, Identified), Refused> {
        let before = self.identify(exchange).await;
        if matches!(before, Identified::Unavailable) {
            return Err(Refused::NOT_MADE);
        }
        let registration = Registration {
            username: fields.username.clone(),
            email: fields.email.clone(),
            name: fields.name.clone(),
            password: fields.password.clone(),
        };
        let origin = self.origin(exchange);
        let registered = self.accounts.register(registration, origin.clone()).await;
        let user = registered.map_err(|error| Refused::of_choice(exchange, &error, Refused::NOT_MADE))?;
        let login = Login {
            // Every device of a new account is new.
            known_browser: true,
            ..login_of(origin, user, false, &before)
        };
        match self.sessions.open(login).await {
            Ok(opened) => Ok((opened, before)),
            Err(error) => {
                warn(
                    exchange,
                    &error,
                    "an account was made, but its session could not be stored",
                );
                Err(Refused {
                    text: MADE_ONLY.into(),
                    ..Refused::DOWN
                })
            }
        }
    }

    /// The form again, with what was wrong and a fresh token; a problem for programs.
    fn refuse_register(&self, exchange: &Exchange, fields: &RegisterFields, refused: &Refused) -> Answer {
        if reader(exchange) == Audience::Script {
            return refused.problem(exchange);
        }
        let kept = RegisterFields {
            username: short(&fields.username),
            email: fields.email.as_deref().map(short),
            name: fields.name.as_deref().map(short),
            next: self.accept_next(exchange, fields.next.as_deref()),
            ..RegisterFields::default()
        };
        refused.dress(self.register_form(exchange, refused.status, &kept, Some(&refused.text)))
    }

    fn register_form(
        &self,
        exchange: &Exchange,
        status: StatusCode,
        fields: &RegisterFields,
        trouble: Option<&str>,
    ) -> Answer {
        let host = shown_host(exchange);
        let next = fields.next.as_deref();
        let login = login_and_then(&self.settings.prefix, next);
        self.form(exchange, status, |token| RegisterPage {
            site: self.site(),
            prefix: &self.settings.prefix,
            host: &host,
            token,
            next,
            username: &fields.username,
            email: fields.email.as_deref().unwrap_or_default(),
            name: fields.name.as_deref().unwrap_or_default(),
            shortest: SHORTEST_PASSWORD,
            trouble,
            login: &login,
        })
    }
}

/// What is shown again of what somebody typed: nothing, where it was too long for anything.
fn short(text: &str) -> String {
    if text.len() > 256 {
        String::new()
    } else {
        text.to_owned()
    }
}
