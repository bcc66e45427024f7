//! The slow tier: real applications, large bodies, thousands of connections. `./test --full` runs it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod applications;
mod browser;
mod chaos;
mod cluster;
mod load;
mod openapi;
mod outages;
mod pooler;
mod python;
mod radicale;
#[path = "../it/support/mod.rs"]
mod support;
