//! What devices authenticate with: derived from one seed, stored nowhere.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::product::Product;
use super::signature::hex;

/// The credentials of one device, as a page shows them.
pub(super) struct Credentials {
    pub(super) device_id: String,
    pub(super) iot_id: String,
    pub(super) secret: String,
}

/// The root of all credentials.
pub(super) struct Keys(Hmac<Sha256>);

impl Keys {
    pub(super) fn new(seed: &str) -> Keys {
        Keys(Hmac::new_from_slice(seed.as_bytes()).expect("HMAC takes keys of any length"))
    }

    /// The same for the same device, each time.
    pub(super) fn credentials(&self, product: Product, name: &str, apply: u64) -> Credentials {
        let mac = self.0.clone().chain_update(product.key()).chain_update([0]);
        let mac = mac
            .chain_update(name)
            .chain_update([0])
            .chain_update(apply.to_be_bytes());
        let bytes = mac.finalize().into_bytes();
        // A DeviceSecret has 32 characters; in samples a DeviceId has 20 and begins the IotId,
        // which ends in 000100.
        let device_id = hex(&bytes[16..26]);
        let iot_id = format!("{device_id}000100");
        Credentials {
            device_id,
            iot_id,
            secret: hex(&bytes[..16]),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("iot_id", &self.iot_id)
            .finish_non_exhaustive()
    }
}
