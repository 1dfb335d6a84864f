//! The generated API, from `proto/registrar/v1`.

#![allow(missing_debug_implementations, unreachable_pub, clippy::all)]

tonic::include_proto!("registrar.v1");

/// The descriptors of the API, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/registrar.v1.bin"));
