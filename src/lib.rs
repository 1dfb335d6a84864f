//! Registers IoT devices in bulk on Alibaba Cloud IoT Platform, without losing one.
//!
//! ```text
//!  gRPC clients ──► service ──► store ◄── worker ──► upstream ──HTTP──► Alibaba IoT, or the simulator
//!  grpcurl            │           │          ▲
//!  registrar CLI      └──► hub ◄──┘ LISTEN   └── permits (quota) in store
//! ```
//!
//! Four walks, each one way. *Submit*: [`service`] turns messages into values of [`domain`],
//! [`store`] writes them in one transaction, the bell rings. *Step*: a lane of [`worker`] takes a
//! permit, claims the round whose turn it is, asks [`upstream`], and records what it learnt.
//! *Watch*: [`service`] reads the events after the caller's revision and goes on with what [`hub`]
//! hands it. *Export*: [`service`] reads devices, and [`credentials`] what the upstream made for
//! them, within the [`lanes`] that workers share. `worker` and `service` never name each other: they meet in rows.
//!
//! ARCHITECTURE.md has the map, the state model and the invariants.

pub mod app;
pub mod breaking;
pub mod config;

pub mod domain;
pub mod store;
pub mod vault;

pub mod lanes;
pub mod upstream;
pub mod worker;

pub mod credentials;
pub mod hub;
pub mod proto;
pub mod service;

pub mod admin;
pub mod telemetry;

pub mod cli;
pub mod dev;
pub mod doctor;
pub mod simulator;
