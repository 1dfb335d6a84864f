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

/// Where a device comes from: a position in an apply, or, with apply 0, among the devices that
/// existed from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) product: Product,
    pub(super) apply: u64,
    pub(super) position: u32,
}

/// What ends every IotId in samples.
const END: &str = "000100";
/// Half of a DeviceId has so many bits.
const HALF: u64 = (1 << 40) - 1;

/// The root of all credentials.
pub(super) struct Keys(Hmac<Sha256>);

impl Keys {
    pub(super) fn new(seed: &str) -> Keys {
        Keys(Hmac::new_from_slice(seed.as_bytes()).expect("HMAC takes keys of any length"))
    }

    /// The same for the same device, each time.
    pub(super) fn credentials(&self, place: Place, name: &str) -> Credentials {
        let key = place.product.key();
        let mac = self.0.clone().chain_update(key).chain_update([0]);
        let mac = mac
            .chain_update(name)
            .chain_update([0])
            .chain_update(place.apply.to_be_bytes());
        let bytes = mac.finalize().into_bytes();
        // In samples a DeviceId has 20 characters and begins the IotId.
        let device_id = self.device_id(place);
        let iot_id = format!("{device_id}{END}");
        Credentials {
            device_id,
            iot_id,
            secret: hex(&bytes[..16]),
        }
    }

    /// The place of the device with this IotId; None if there cannot be one.
    pub(super) fn place_of(&self, iot_id: &str) -> Option<Place> {
        let device_id = iot_id.strip_suffix(END)?;
        if device_id.len() != 20 || !device_id.is_ascii() {
            return None;
        }
        let (left, right) = device_id.split_at(10);
        let mut left = u64::from_str_radix(left, 16).ok()?;
        let mut right = u64::from_str_radix(right, 16).ok()?;
        for round in (0..4).rev() {
            (left, right) = (right ^ self.mixed(round, left), left);
        }
        let product = usize::try_from(right >> 32).ok()?;
        Some(Place {
            product: *Product::ALL.get(product)?,
            apply: left,
            position: right as u32,
        })
    }

    /// The name of a device that is to have a random one: 20 characters, as in samples.
    pub(super) fn random_name(&self, apply: u64, position: u32) -> String {
        let mac = self.0.clone().chain_update("name");
        let mac = mac.chain_update(apply.to_be_bytes());
        let bytes = mac.chain_update(position.to_be_bytes()).finalize();
        hex(&bytes.into_bytes()[..10])
    }

    /// A place in cipher, so that an index from IotIds to devices need not be kept.
    fn device_id(&self, place: Place) -> String {
        let mut left = place.apply & HALF;
        let mut right = ((place.product as u64) << 32) | u64::from(place.position);
        for round in 0..4 {
            (left, right) = (right, left ^ self.mixed(round, right));
        }
        format!("{left:010x}{right:010x}")
    }

    fn mixed(&self, round: u8, half: u64) -> u64 {
        let mac = self.0.clone().chain_update("place").chain_update([round]);
        let bytes = mac.chain_update(half.to_be_bytes()).finalize().into_bytes();
        let (first, _) = bytes.split_first_chunk().expect("a digest has 32 bytes");
        u64::from_be_bytes(*first) & HALF
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iot_id_leads_back_to_its_device() {
        let keys = Keys::new("seed");
        for (apply, position) in [(0, 0), (1, 9_999), (HALF, u32::MAX)] {
            let place = Place {
                product: Product::X509,
                apply,
                position,
            };
            let id = keys.credentials(place, "dev1").iot_id;
            assert_eq!(keys.place_of(&id), Some(place));
        }
        for nothing in ["", "000100", "abc", "é2345678901234567890000100"] {
            assert_eq!(keys.place_of(nothing), None);
        }
    }
}
