//! `registrar dev`: everything on one machine, with nothing installed but PostgreSQL's binaries.
//!
//! Start at [`postgres::Postgres::start`], the private server that the rest stands on.

pub mod postgres;
