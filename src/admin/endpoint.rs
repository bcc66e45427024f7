//! The one table of the API: it routes requests, says what they may hold, and is what the `OpenAPI` document is made from.

use http::Method;
use http::StatusCode;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    ListUsers,
    AddUser,
    ShowUser,
    ChangeUser,
    DeleteUser,
    ListSessionsOfUser,
    ListSessions,
    EndSessions,
    ShowSession,
    ChangeSession,
    EndSession,
    Statistics,
    ListBans,
    LiftBan,
    ListEvents,
    Sweep,
    Reload,
    Document,
}

/// A method, as far as the table knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

impl Verb {
    pub(super) const fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }
}

/// A path and what can be done there.
pub(super) struct Endpoint {
    /// Below where the API lives, with one of [`VALUES`] where a value stands.
    pub path: &'static str,
    pub operations: &'static [Operation],
}

/// A method of a path.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    pub method: Verb,
    pub act: Act,
    pub summary: &'static str,
    pub query: &'static [Parameter],
    /// The schema of the body; `None`: there is none.
    pub body: Option<&'static str>,
    pub success: StatusCode,
    /// The schema of the answer; `None`: it has no body.
    pub answer: Option<&'static str>,
    /// What it may be refused with besides [`ALWAYS`].
    pub refusals: &'static [StatusCode],
}

/// A query parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    pub name: &'static str,
    /// The schema of its value.
    pub schema: &'static str,
    pub says: &'static str,
}

/// What may stand in a path, with its schema.
pub(super) const VALUES: [(&str, &str); 2] = [("{id}", "Uuid"), ("{who}", "BanWho")];

/// What every operation may be refused with.
pub(super) const ALWAYS: &[StatusCode] = &[
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::SERVICE_UNAVAILABLE,
];

const NOT_FOUND: StatusCode = StatusCode::NOT_FOUND;
const CONFLICT: StatusCode = StatusCode::CONFLICT;
const MEDIA: StatusCode = StatusCode::UNSUPPORTED_MEDIA_TYPE;

const AFTER: Parameter = Parameter {
    name: "after",
    schema: "PageToken",
    says: "The `next` of the page before, with the same filters.",
};
const LIMIT: Parameter = Parameter {
    name: "limit",
    schema: "Limit",
    says: "How many items, at most.",
};
const USER: Parameter = Parameter {
    name: "user",
    schema: "Username",
    says: "Only of this user.",
};
const OWNER: Parameter = Parameter {
    schema: "Owner",
    says: "Only of this user, or of an application's, as `SOURCE:SUBJECT`.",
    ..USER
};
const SOURCE: Parameter = Parameter {
    name: "source",
    schema: "Source",
    says: "Those that this application keeps, by the name of its source.",
};

const fn get(act: Act, summary: &'static str, query: &'static [Parameter], answer: &'static str) -> Operation {
    Operation {
        method: Verb::Get,
        act,
        summary,
        query,
        body: None,
        success: StatusCode::OK,
        answer: Some(answer),
        refusals: &[],
    }
}

const fn of_one(operation: Operation) -> Operation {
    Operation {
        refusals: &[NOT_FOUND],
        ..operation
    }
}

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: "/users",
        operations: &[
            get(
                Act::ListUsers,
                "Users by name",
                &[
                    Parameter {
                        name: "search",
                        schema: "Search",
                        says: "A part of the name or the e-mail address, in any case.",
                    },
                    AFTER,
                    LIMIT,
                ],
                "UserList",
            ),
            Operation {
                method: Verb::Post,
                body: Some("NewUser"),
                success: StatusCode::CREATED,
                refusals: &[CONFLICT, MEDIA],
                ..get(Act::AddUser, "Add a user", &[], "User")
            },
        ],
    },
    Endpoint {
        path: "/users/{id}",
        operations: &[
            of_one(get(Act::ShowUser, "One user", &[], "User")),
            Operation {
                method: Verb::Patch,
                body: Some("UserChange"),
                refusals: &[NOT_FOUND, CONFLICT, MEDIA],
                ..get(
                    Act::ChangeUser,
                    "Change a user; who is disabled or gets a new password is signed out",
                    &[],
                    "User",
                )
            },
            Operation {
                method: Verb::Delete,
                success: StatusCode::NO_CONTENT,
                answer: None,
                refusals: &[NOT_FOUND, CONFLICT],
                ..get(
                    Act::DeleteUser,
                    "Delete a user with all sessions; the name is not given out again",
                    &[],
                    "User",
                )
            },
        ],
    },
    Endpoint {
        path: "/users/{id}/sessions",
        operations: &[of_one(get(
            Act::ListSessionsOfUser,
            "Sessions of a user, the newest first",
            &[AFTER, LIMIT],
            "SessionList",
        ))],
    },
    Endpoint {
        path: "/sessions",
        operations: &[
            of_one(get(
                Act::ListSessions,
                "Sessions, the newest first; those of an application that can be asked for live ones, in an order of its own",
                &[OWNER, SOURCE, AFTER, LIMIT],
                "SessionList",
            )),
            Operation {
                method: Verb::Delete,
                refusals: &[NOT_FOUND, CONFLICT],
                ..get(
                    Act::EndSessions,
                    "End all sessions of a user, or of everybody",
                    &[
                        OWNER,
                        Parameter {
                            name: "all",
                            schema: "True",
                            says: "`true`: those of everybody, and of applications whose source has `end = true`. Either this or `user`.",
                        },
                    ],
                    "Ended",
                )
            },
        ],
    },
    Endpoint {
        path: "/sessions/{id}",
        operations: &[
            of_one(get(Act::ShowSession, "One session", &[], "Session")),
            Operation {
                method: Verb::Patch,
                body: Some("SessionChange"),
                refusals: &[NOT_FOUND, MEDIA],
                ..get(
                    Act::ChangeSession,
                    "Change what applications keep with a session",
                    &[],
                    "Session",
                )
            },
            Operation {
                method: Verb::Delete,
                success: StatusCode::NO_CONTENT,
                answer: None,
                refusals: &[NOT_FOUND, CONFLICT],
                ..get(Act::EndSession, "End a session", &[], "Session")
            },
        ],
    },
    Endpoint {
        path: "/stats",
        operations: &[get(
            Act::Statistics,
            "Sessions and log-ins in numbers, some seconds old at most",
            &[],
            "Statistics",
        )],
    },
    Endpoint {
        path: "/audit",
        operations: &[get(
            Act::ListEvents,
            "The audit log, the newest event first",
            &[
                Parameter {
                    name: "since",
                    schema: "Time",
                    says: "Only events from this moment on.",
                },
                Parameter {
                    name: "until",
                    schema: "Time",
                    says: "Only events before this moment.",
                },
                USER,
                Parameter {
                    name: "kind",
                    schema: "EventKind",
                    says: "Only of this kind, such as `login_failed`.",
                },
                Parameter {
                    name: "session",
                    schema: "Uuid",
                    says: "Only about the session with this public id.",
                },
                Parameter {
                    name: "format",
                    schema: "Format",
                    says: "`jsonl`: one event a line, and the next page in the header `Link`; the same by \
                           `Accept: application/x-ndjson`.",
                },
                AFTER,
                LIMIT,
            ],
            "EventList",
        )],
    },
    Endpoint {
        path: "/bans",
        operations: &[get(
            Act::ListBans,
            "Who may not try to sign in now, because they tried too often",
            &[AFTER, LIMIT],
            "BanList",
        )],
    },
    Endpoint {
        path: "/bans/{who}",
        operations: &[Operation {
            method: Verb::Delete,
            success: StatusCode::NO_CONTENT,
            answer: None,
            ..of_one(get(
                Act::LiftBan,
                "Lift the bans of a user name, an e-mail address or an address, or one by its id",
                &[],
                "Ban",
            ))
        }],
    },
    Endpoint {
        path: "/sweep",
        operations: &[Operation {
            method: Verb::Post,
            ..get(Act::Sweep, "Remove the sessions that are over", &[], "Sweep")
        }],
    },
    Endpoint {
        path: "/reload",
        operations: &[Operation {
            method: Verb::Post,
            refusals: &[CONFLICT, StatusCode::UNPROCESSABLE_ENTITY],
            ..get(
                Act::Reload,
                "Read the configuration anew; one that is refused changes nothing",
                &[],
                "Reload",
            )
        }],
    },
    Endpoint {
        path: "/openapi.json",
        operations: &[get(Act::Document, "This document", &[], "OpenApi")],
    },
];

impl Endpoint {
    /// The endpoint of a path, and what stands for its value there.
    pub(super) fn find(path: &str) -> Option<(&'static Self, Option<&str>)> {
        ENDPOINTS.iter().find_map(|endpoint| {
            let value = VALUES
                .into_iter()
                .find_map(|(value, _)| endpoint.path.split_once(value));
            if let Some((before, after)) = value {
                let id = path.strip_prefix(before)?.strip_suffix(after)?;
                (!id.is_empty() && !id.contains('/')).then_some((endpoint, Some(id)))
            } else {
                (endpoint.path == path).then_some((endpoint, None))
            }
        })
    }

    /// What `method` does here; HEAD is GET.
    pub(super) fn operation(&self, method: &Method) -> Option<&'static Operation> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let operations: &'static [Operation] = self.operations;
        operations.iter().find(|operation| operation.method.method() == *method)
    }

    /// The value of `Allow`.
    pub(super) fn allow(&self) -> String {
        let own = self.operations.iter().map(|operation| operation.method.method());
        let mut allow: Vec<Method> = own.collect();
        if allow.contains(&Method::GET) {
            allow.push(Method::HEAD);
        }
        allow.push(Method::OPTIONS);
        allow.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl Operation {
    /// Whether the document says that it may be answered so.
    pub(super) fn documents(&self, status: StatusCode) -> bool {
        status == self.success || self.refusals.contains(&status) || ALWAYS.contains(&status)
    }
}

#[cfg(test)]
mod tests {
    use super::{Act, ENDPOINTS, Endpoint};
    use http::Method;

    #[test]
    fn a_path_leads_to_one_endpoint_and_its_value() {
        let found = |path| Endpoint::find(path).map(|(endpoint, id)| (endpoint.path, id));
        assert_eq!(found("/users"), Some(("/users", None)));
        assert_eq!(found("/users/1"), Some(("/users/{id}", Some("1"))));
        assert_eq!(found("/users/1/sessions"), Some(("/users/{id}/sessions", Some("1"))));
        for nothing in [
            "/api",
            "/",
            "/users/",
            "/users//sessions",
            "/users/1/2",
            "/users/1/sessions/",
        ] {
            assert_eq!(found(nothing), None, "{nothing}");
        }
        let (endpoint, _) = Endpoint::find("/users").unwrap();
        assert_eq!(
            endpoint.operation(&Method::HEAD).map(|operation| operation.act),
            Some(Act::ListUsers)
        );
        assert!(endpoint.operation(&Method::PUT).is_none());
        assert_eq!(endpoint.allow(), "GET, POST, HEAD, OPTIONS");
    }

    #[test]
    fn each_act_stands_in_the_table_once() {
        let acts: Vec<_> = ENDPOINTS
            .iter()
            .flat_map(|one| one.operations)
            .map(|one| one.act)
            .collect();
        for (index, act) in acts.iter().enumerate() {
            assert!(!acts[..index].contains(act), "{act:?}");
        }
    }
}
