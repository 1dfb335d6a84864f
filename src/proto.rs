//! The generated API, from `proto/registrar/v1`.

#![allow(missing_debug_implementations, unreachable_pub, clippy::all)]

tonic::include_proto!("registrar.v1");

/// The descriptors of the API, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/registrar.v1.bin"));

impl std::fmt::Debug for NewDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewDevice")
            .field("device_name", &self.device_name)
            .field("nickname", &self.nickname)
            .field("sn", &self.sn)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ExportedDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportedDevice")
            .field("device", &self.device)
            .field("iot_id", &self.iot_id)
            .field("credentials_missing", &self.credentials_missing)
            .finish_non_exhaustive()
    }
}
