//! The lines of the journal, and what each does to the state.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::apply::{Asked, Brought, Fate, Malformed};
use super::product::Product;
use super::state::State;

/// A line of the journal; times are microseconds since the epoch.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event<'a> {
    /// The first line: the root of all device secrets, and whether names that differ in case only
    /// are the same.
    Founded {
        seed: Cow<'a, str>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ignore_case: bool,
    },
    /// A start of the simulator, with the devices that existed from the beginning, by product, and
    /// the applies that are stuck from then on.
    Run {
        run: u64,
        at: u64,
        exists: Vec<(Cow<'a, str>, Cow<'a, str>)>,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        stuck: BTreeSet<u64>,
    },
    Check {
        apply: u64,
        product: Cow<'a, str>,
        at: u64,
        ready: u64,
        /// The well-formed names between spaces, which no name holds. One long text is read many
        /// times faster than a list.
        #[serde(borrow)]
        names: Cow<'a, str>,
        #[serde(default, skip_serializing_if = "HashMap::is_empty")]
        nicknames: HashMap<u32, Box<str>>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        malformed: Vec<Malformed>,
        #[serde(default, skip_serializing_if = "Fate::is_none")]
        fate: Fate,
    },
    Create {
        apply: u64,
        at: u64,
        ready: u64,
        #[serde(default, skip_serializing_if = "Fate::is_none")]
        fate: Fate,
    },
    /// A creation of which nothing was checked: of random names, or an import.
    Begin {
        apply: u64,
        product: Cow<'a, str>,
        at: u64,
        ready: u64,
        /// As in a check.
        #[serde(borrow)]
        names: Cow<'a, str>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        brought: Option<Box<[Brought]>>,
        #[serde(default, skip_serializing_if = "Fate::is_none")]
        fate: Fate,
    },
    Delete {
        product: Cow<'a, str>,
        name: Cow<'a, str>,
        at: u64,
    },
    /// A fault was set or lifted: these applies are stuck from then on, and no others.
    Stuck { at: u64, applies: BTreeSet<u64> },
}

impl Event<'_> {
    /// Does to the state what was done to it when the line was written.
    pub(super) fn replay(self, state: &mut State) -> anyhow::Result<()> {
        match self {
            Event::Founded { ignore_case, .. } => {
                if ignore_case {
                    state.ignore_case();
                }
            }
            Event::Run {
                at, exists, stuck, ..
            } => {
                state.hold(&stuck, at);
                state.settle(at);
                for (product, name) in exists {
                    state.add_existing(product_of(&product)?, &name);
                }
            }
            Event::Check {
                apply,
                product,
                at,
                ready,
                names,
                nicknames,
                malformed,
                fate,
            } => {
                state.settle(at);
                let asked = Asked {
                    product: product_of(&product)?,
                    names: split(&names),
                    nicknames,
                    malformed: malformed.into(),
                    brought: None,
                };
                state.start_check(apply, asked, ready, &fate);
            }
            Event::Create {
                apply,
                at,
                ready,
                fate,
            } => {
                state.settle(at);
                state.start_create(apply, ready, &fate);
            }
            Event::Begin {
                apply,
                product,
                at,
                ready,
                names,
                brought,
                fate,
            } => {
                state.settle(at);
                let asked = Asked {
                    product: product_of(&product)?,
                    names: split(&names),
                    nicknames: HashMap::new(),
                    malformed: Box::default(),
                    brought,
                };
                state.begin(apply, asked, ready, &fate);
            }
            Event::Delete { product, name, at } => {
                state.settle(at);
                state.delete(product_of(&product)?, &name);
            }
            Event::Stuck { at, applies } => {
                state.settle(at);
                state.hold(&applies, at);
            }
        }
        Ok(())
    }
}

fn split(names: &str) -> Box<[Arc<str>]> {
    let names = names.split(' ').filter(|name| !name.is_empty());
    names.map(Into::into).collect()
}

fn product_of(key: &str) -> anyhow::Result<Product> {
    Product::of_key(key).with_context(|| format!("there is no product `{key}`"))
}
