//! Devices that clients submit: good ones, and some that are not.

use rand::{Rng as _, rngs::StdRng};
use registrar::{proto::NewDevice, simulator::PRODUCT};

use crate::support::stack::named;

/// Devices that the product has from the beginning.
const EXISTING: usize = 50;

/// Begins every secret that a client brings.
pub(crate) const SECRET: &str = "Hush-";

/// The setting of the simulator that makes them exist.
pub(crate) fn existing() -> String {
    let names = (0..EXISTING).map(|n| format!("{PRODUCT}/exists-{n:03}"));
    names.collect::<Vec<_>>().join(",")
}

/// 10 to 2,000 devices, most often few.
pub(crate) fn names(rng: &mut StdRng, prefix: &str) -> Vec<NewDevice> {
    let count = 10.0 * 200_f64.powf(rng.random::<f64>());
    let mut devices = some(prefix, count as usize);
    if rng.random_bool(0.2) {
        for (n, device) in devices.iter_mut().enumerate() {
            device.nickname = format!("灯_{n:04}");
        }
    }
    if rng.random_bool(0.5) {
        spoil(rng, &mut devices);
    }
    devices
}

/// 10 to 200 devices that bring their secrets.
pub(crate) fn import(rng: &mut StdRng, prefix: &str) -> Vec<NewDevice> {
    let count = rng.random_range(10..=200);
    let mut devices = some(prefix, count);
    if rng.random_bool(0.4) {
        spoil(rng, &mut devices);
    }
    for (n, device) in devices.iter_mut().enumerate() {
        device.device_secret = format!("{SECRET}{prefix}-{n:05}");
        if n % 3 == 0 {
            device.sn = format!("SN_{n}");
        }
    }
    if rng.random_bool(0.2) {
        devices[0]
            .device_secret
            .push_str(" and is no secret, being too long");
    }
    devices
}

/// So many devices for an upload.
pub(crate) fn many(rng: &mut StdRng, prefix: &str, import: bool) -> Vec<NewDevice> {
    let count = rng.random_range(10_001..24_000);
    let mut devices = some(prefix, count);
    spoil(rng, &mut devices);
    if import {
        for (n, device) in devices.iter_mut().enumerate() {
            device.device_secret = format!("{SECRET}{prefix}-{n:05}");
        }
    }
    devices
}

fn some(prefix: &str, count: usize) -> Vec<NewDevice> {
    let names = (0..count).map(|n| named(&format!("{prefix}-{n:05}")));
    names.collect()
}

/// Makes some of them break a rule, repeat a name or exist already.
fn spoil(rng: &mut StdRng, devices: &mut [NewDevice]) {
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(1..devices.len());
        devices[at].device_name = match rng.random_range(0..4) {
            0 => "bad name".to_owned(),
            1 => "x".to_owned(),
            2 => devices[at - 1].device_name.clone(),
            _ => format!("exists-{:03}", rng.random_range(0..EXISTING)),
        };
    }
}
