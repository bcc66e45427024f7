//! What the areas share: the real program, an application that keeps what it was sent, a client that sends raw bytes,
//! a database server.
#![allow(clippy::panic, reason = "a panic is how a test fails")]
#![allow(dead_code, reason = "each area uses its own part of the support")]

pub mod balancer;
pub mod client;
pub mod fleet;
pub mod gateway;
pub mod net;
pub mod path;
pub mod pooler;
pub mod postgres;
pub mod stage;
pub mod store;
pub mod tls;
pub mod upstream;
pub mod usher;
