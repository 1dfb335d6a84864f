//! registrar
pub mod domain;
pub mod store;
pub mod upstream;
pub mod worker;
pub mod hub;
pub mod service;
pub mod admin;
pub mod cli;
pub mod simulator;
pub mod dev;
