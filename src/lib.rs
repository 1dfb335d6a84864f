//! registrar
pub mod domain;
pub mod proto;
pub mod store;
pub mod upstream;
pub mod worker;
