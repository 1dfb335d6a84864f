//! All tests that need a server, in one binary, so that one PostgreSQL serves them.

#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests are not seen to be in tests"
)]

mod crash;
mod flow;
mod private_postgres;
mod store;
mod support;
