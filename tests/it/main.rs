//! Tests over real sockets, real databases and the real program: one binary, one module an area.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod accounts;
mod activity;
mod admin;
mod aliases;
mod bad_days;
mod coherence;
mod commands;
mod config_messages;
mod config_settings;
mod connections;
mod credentials;
mod deploying;
mod deployments;
mod documents;
mod head_guard;
mod hostile;
mod instances;
mod logging;
mod metrics;
mod outages;
mod portal;
mod promises;
mod refusals;
mod relay;
mod reload;
mod rolling;
mod secrecy;
mod sessions;
mod sources;
mod status_codes;
mod store_contract;
mod store_faults;
mod streams;
mod support;
mod throttling;
