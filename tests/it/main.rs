//! Tests over real sockets, real databases and the real program: one binary, one module an area.

mod support;
