use super::Portal;
use super::credential_fields::PasswordFields;
use super::desk::{reader, see_other, shown_host};
use super::fields::Body;
use super::login::{login_of, signed_in};
use super::pages::{PasswordChangedPage, PasswordPage, page};
use super::refused::Refused;
use super::return_address::login_and_then;
use crate::account::ChangeError;
use crate::account::SHORTEST_PASSWORD;
use crate::account::SignInError;
use crate::session::Identified;
use crate::session::Live;
use crate::session::Opened;
use crate::web::Answer;
use crate::web::Audience;
use crate::web::Exchange;
use crate::web::Problem;
use http::StatusCode;

impl Portal {
    /// `GET password`: the form, for who is signed in.
    pub(super) async fn password_page(&self, exchange: &Exchange) -> Answer {
        if self.is_exposed(exchange) {
            return self.refuse_exposed(exchange);
        }
        match self.identify(exchange).await {
            Identified::Live(live) => self.password_form(exchange, StatusCode::OK, &live, None),
            known => self.who_are_you(exchange, &known),
        }
    }

    /// `POST password`: ends every session of the user and gives this browser a new one.
    pub(super) async fn change_password(&self, exchange: &Exchange) -> Answer {
        if self.is_exposed(exchange) {
            return self.refuse_exposed(exchange);
        }
        let body = match self.admit(exchange) {
            Ok(body) => body,
            Err(objection) => return self.object(exchange, objection),
        };
        let fields = match PasswordFields::read(body, &exchange.body) {
            Ok(fields) => fields,
            Err(fault) => return self.unreadable(exchange, fault),
        };
        let known = self.identify(exchange).await;
        let Identified::Live(live) = &known else {
            return self.who_are_you(exchange, &known);
        };
        if body == Body::Form && !self.form_is_ours(exchange, &fields.csrf) {
            return self.refuse_change(exchange, live, &Refused::STALE);
        }
        if let Err(fault) = fields.check() {
            return self.refuse_change(exchange, live, &Refused::invalid(fault.to_string()));
        }
        match self.replace_password(exchange, live, fields, &known).await {
            Ok(opened) => {
                let answer = match body {
                    Body::Json => signed_in(exchange, &opened, None, &[]),
                    Body::Form | Body::Nothing => self.changed_page(exchange),
                };
                self.hand_over(exchange, answer, &opened, &known)
            }
            Err(refused) => self.refuse_change(exchange, live, &refused),
        }
    }

    async fn replace_password(
        &self,
        exchange: &Exchange,
        live: &Live,
        fields: PasswordFields,
        known: &Identified,
    ) -> Result<Opened, Refused> {
        let (user, origin) = (&live.entry.user, self.origin(exchange));
        let prepared = self
            .accounts
            .prepare_change(user, fields.current, fields.new, origin.clone())
            .await;
        let change = prepared.map_err(|error| match error {
            ChangeError::Current(SignInError::Wrong) => Refused::WRONG_CURRENT,
            ChangeError::Current(error @ SignInError::Store(_)) => Refused {
                text: Refused::UNCHANGED.text,
                ..Refused::of_proof(exchange, &error)
            },
            ChangeError::Current(error) => Refused::of_proof(exchange, &error),
            ChangeError::New(error) => Refused::of_choice(exchange, &error, Refused::UNCHANGED),
        })?;
        let login = login_of(origin, user.clone(), live.entry.session.remembered, known);
        let reopened = self.sessions.reopen(login, change).await;
        reopened.map_err(|error| Refused::of_reopening(exchange, &error))
    }

    /// The answer to who is not signed in.
    fn who_are_you(&self, exchange: &Exchange, known: &Identified) -> Answer {
        if matches!(known, Identified::Unavailable) {
            return self.cannot_ask(exchange);
        }
        let prefix = &self.settings.prefix;
        let mut answer = if reader(exchange) == Audience::Person {
            see_other(exchange, &login_and_then(prefix, Some(&format!("{prefix}/password"))))
        } else {
            let error = match known {
                Identified::Dead => "Session expired",
                _ => "Not authenticated",
            };
            let id = exchange.request_id;
            let mut refusal = Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", error, id);
            refusal.login_url = Some(login_and_then(prefix, None));
            refusal.into_answer(id)
        };
        if matches!(known, Identified::Conflict) {
            self.clear_cookie(exchange, &mut answer);
        }
        answer
    }

    fn refuse_change(&self, exchange: &Exchange, live: &Live, refused: &Refused) -> Answer {
        if reader(exchange) == Audience::Script {
            return refused.problem(exchange);
        }
        refused.dress(self.password_form(exchange, refused.status, live, Some(&refused.text)))
    }

    fn password_form(&self, exchange: &Exchange, status: StatusCode, live: &Live, trouble: Option<&str>) -> Answer {
        self.form(exchange, status, |token| PasswordPage {
            site: self.site(),
            prefix: &self.settings.prefix,
            token,
            username: live.entry.user.username.as_str(),
            shortest: SHORTEST_PASSWORD,
            trouble,
        })
    }

    fn changed_page(&self, exchange: &Exchange) -> Answer {
        let template = PasswordChangedPage {
            site: self.site(),
            prefix: &self.settings.prefix,
            host: &shown_host(exchange),
        };
        page(StatusCode::OK, &template, &self.policy, exchange.request_id)
    }
}
