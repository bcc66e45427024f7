//! Sessions that an application keeps in its own tables.

mod envelope;
mod facts;
mod keys;
mod mapping;
mod payload;
mod preset;
mod steps;
