//! The slow tier: what takes minutes, run by `./test --full`.
