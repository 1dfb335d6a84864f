//! Which calls a fault is for: those of one action, a share of them, the first, the third.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::action::Action;

/// The calls that a fault is for: all, as far as nothing is said. What is said must all hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Action>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<Share>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<Numbers>,
}

/// From 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub(super) struct Share(f64);

/// At least one number. The calls of the action are counted from 1, from when the fault is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<u64>")]
struct Numbers(BTreeSet<u64>);

impl Which {
    /// Takes what is said of it out of a fault's fields.
    pub(super) fn take(fault: &mut Map<String, Value>) -> Result<Which, String> {
        let fields = ["action", "share", "calls"];
        let said = fields.into_iter().filter_map(|name| {
            let value = fault.remove(name)?;
            Some((name.to_owned(), value))
        });
        serde_json::from_value(Value::Object(said.collect())).map_err(|error| error.to_string())
    }

    /// Whether calls of this action are meant. It is None for one that is not known.
    pub(super) fn counts(&self, called: Option<Action>) -> bool {
        self.action.is_none() || self.action == called
    }

    /// Whether the call with this number is among them, its lot being from 0 up to but not 1.
    pub(super) fn has(&self, number: u64, lot: impl FnOnce() -> f64) -> bool {
        let numbers = self.calls.as_ref();
        numbers.is_none_or(|Numbers(numbers)| numbers.contains(&number))
            && self.share.is_none_or(|share| share.has(lot()))
    }
}

impl Share {
    /// Whether something whose lot is `lot`, from 0 up to but not 1, is part of it.
    pub(super) fn has(self, lot: f64) -> bool {
        lot < self.0
    }
}

impl TryFrom<f64> for Share {
    type Error = &'static str;

    fn try_from(share: f64) -> Result<Share, Self::Error> {
        let allowed = (0.0..=1.0).contains(&share);
        allowed
            .then_some(Share(share))
            .ok_or("a share is from 0 to 1")
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> f64 {
        share.0
    }
}

impl TryFrom<BTreeSet<u64>> for Numbers {
    type Error = &'static str;

    fn try_from(numbers: BTreeSet<u64>) -> Result<Numbers, Self::Error> {
        let allowed = numbers.first().is_some_and(|first| *first > 0);
        allowed
            .then_some(Numbers(numbers))
            .ok_or("`calls` is a list of numbers from 1; leave it out to mean all")
    }
}
