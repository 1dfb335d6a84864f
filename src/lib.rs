//! registrar
pub mod domain;
pub mod proto;
pub mod store;
pub mod hub;
pub mod service;
pub mod cli;
