//! Portcullis: an authentication gateway in front of applications that nobody has to change.
//!
//! # The map
//! | room | what it is |
//! |---|---|
//! | [`app`] | composition root: settings in, running system out; the only file that knows every room |
//! | [`net`] | from socket to request: listener, PROXY protocol, TLS, head guard, connection |
//! | [`proxy`] | the way of one request: intake, route, gate, clean, identity, upstream |
//! | [`portal`] | the gateway's own pages and JSON for people |
//! | [`admin`] | health, metrics, and the operators' side |
//! | [`session`] | lives of sessions: token, cache, open, find, end |
//! | [`account`] | users and passwords |
//! | [`audit`] | what happened, to whom, by whom |
//! | [`store`] | durable state: Postgres or SQLite |
//! | [`config`] | text in, settings out |
//! | [`cli`] | one short file a command |
//! | [`model`], [`web`], [`clock`], [`telemetry`], [`lifecycle`] | plain facts, HTTP words, time, what is seen from outside, start and stop |
//!
//! # The way of one request
//! [`net`] accepts, ends TLS and guards the head; [`proxy::handle`] asks [`session`] whose request it is, takes away
//! every claim of identity that the client made, stamps ours, and forwards.

pub mod account;
pub mod admin;
pub mod app;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod lifecycle;
pub mod model;
pub mod net;
pub mod portal;
pub mod proxy;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod web;
