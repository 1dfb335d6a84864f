//! How many devices a product and its instance still take.

use std::sync::Arc;

use super::apply::Fate;
use super::product::Product;
use super::state::State;
use super::switches::Switches;

/// Devices that still fit. Names that are about to be devices count as such.
pub(super) fn room(state: &State, switches: &Switches, product: Product) -> usize {
    let claimed = |product| state.devices(product).claimed();
    let instance = switches.instance(product);
    let beside = Product::ALL
        .into_iter()
        .filter(|other| switches.instance(*other) == instance);
    let of_product = switches.product_cap().saturating_sub(claimed(product));
    let in_instance: usize = beside.map(claimed).sum();
    let of_instance = switches.instance_devices.saturating_sub(in_instance);
    of_product.min(of_instance)
}

/// Has those of the names fail that no longer fit.
pub(super) fn keep(
    fate: &mut Fate,
    state: &State,
    switches: &Switches,
    product: Product,
    names: &[Arc<str>],
) {
    let mut room = room(state, switches, product);
    if room >= names.len() {
        return;
    }
    let devices = state.devices(product);
    let mut surplus = Vec::new();
    for (position, name) in (0..).zip(names) {
        let fails = fate.failed.binary_search(&position).is_ok();
        if fails || devices.is_claimed(name) {
            continue;
        }
        if room == 0 {
            surplus.push(position);
        } else {
            room -= 1;
        }
    }
    fate.failed.extend(surplus);
    fate.failed.sort_unstable();
}
