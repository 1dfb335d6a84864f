//! All tests that need a server, in one binary, so that one PostgreSQL serves them.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "the helpers of tests are not seen to be in tests, and their tasks end with the test"
)]

mod access;
mod again;
mod api_docs;
mod bad_input;
mod blocks;
mod crash;
mod doctor;
mod drain;
mod ends;
mod explaining;
mod export;
mod flow;
mod hearing;
#[cfg(target_os = "linux")]
mod hostile;
mod import_calls;
mod imports;
mod lanes;
mod nameless;
mod observability;
mod operations;
mod postgres;
mod private_postgres;
mod reconcile;
mod restored;
mod rolling;
mod store;
mod support;
mod surface;
mod telemetry;
mod upload;
mod watching;
mod x509;
