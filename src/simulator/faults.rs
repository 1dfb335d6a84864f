//! The faults that are set, and whether one of them applies.
//!
//! They are in memory only. What one did to a check or a creation is part of that, and is kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::action::Action;
use super::apply::{Apply, Fate, Phase};
use super::fault::{Code, Fault, Kind, NamedFault, Names, Stage};
use super::harm::Harm;
use super::product::Product;

/// Faults set at a time.
const MAX_FAULTS: usize = 100;

/// All faults by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    seed: u64,
    set: BTreeMap<String, Set>,
}

/// A fault since it was set.
#[derive(Debug, Clone)]
struct Set {
    fault: Fault,
    /// How many calls it might have hit. All copies count on, since another fault that is set or
    /// lifted does not begin this one anew.
    calls: Arc<AtomicU64>,
}

impl Faults {
    /// Those set from the beginning. Refused if two have one name.
    pub(super) fn new(seed: u64, from_start: &[NamedFault]) -> Result<Faults, String> {
        let set = BTreeMap::new();
        let mut faults = Faults { seed, set };
        for NamedFault { name, fault } in from_start {
            if faults.set.contains_key(name) {
                return Err(format!("two faults have the name `{name}`"));
            }
            faults.set(name, fault.clone())?;
        }
        Ok(faults)
    }

    /// Sets a fault, in place of the one that has the name.
    pub(super) fn set(&mut self, name: &str, fault: Fault) -> Result<(), String> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(legal) {
            return Err("a fault's name is 1 to 64 letters, digits, `.`, `_` and `-`".into());
        }
        if self.set.len() >= MAX_FAULTS && !self.set.contains_key(name) {
            return Err(format!("at most {MAX_FAULTS} faults can be set at a time"));
        }
        let calls = Arc::default();
        self.set.insert(name.into(), Set { fault, calls });
        Ok(())
    }

    /// Lifts a fault, if there is one of that name.
    pub(super) fn lift(&mut self, name: &str) -> bool {
        self.set.remove(name).is_some()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Fault)> {
        let set = self.set.iter();
        set.map(|(name, set)| (name.as_str(), &set.fault))
    }

    /// What is done to a call that comes now. Its action is None if it is not one that is known.
    ///
    /// Whoever asks is counted: the third call of a fault is the third that this was asked for.
    pub(super) fn harm(&self, called: Option<Action>) -> Harm {
        let mut harm = Harm::default();
        for (name, set) in &self.set {
            if self.hits(name, set, called) {
                harm.add(&set.fault.kind, called);
            }
        }
        harm
    }

    /// The code with which the service refuses a call for this product.
    pub(super) fn product_blocked(&self, called: Product) -> Option<&Code> {
        self.find(|fault| match fault {
            Kind::BlockProduct { product, code } if *product == called => Some(code),
            _ => None,
        })
    }

    /// What becomes of a check of these names that begins now.
    pub(super) fn fate_of_check(&self, product: Product, names: &[Arc<str>]) -> Fate {
        let nameless = self.find(|fault| match fault {
            Kind::NamelessCheckFailure { names: meant } => any(meant, names).then_some(()),
            _ => None,
        });
        Fate {
            nameless: nameless.is_some(),
            stuck: self.stuck(Stage::Check, product, names),
            ..Fate::default()
        }
    }

    /// What becomes of a creation of these names that begins now.
    pub(super) fn fate_of_creation(&self, product: Product, names: &[Arc<str>]) -> Fate {
        let fails = |name: &str| {
            self.find(|fault| match fault {
                Kind::FailCreates {
                    share,
                    names,
                    product: meant,
                } if meant.is_none_or(|meant| meant == product) => {
                    let named = names.as_ref().is_some_and(|names| names.have(name));
                    let drawn = share.is_some_and(|share| share.has(self.lot(product.key(), name)));
                    (named || drawn).then_some(())
                }
                _ => None,
            })
        };
        let all = (0..).zip(names);
        let failed = all.filter(|(_, name)| fails(name).is_some());
        Fate {
            stuck: self.stuck(Stage::Create, product, names),
            failed: failed.map(|(position, _)| position).collect(),
            ..Fate::default()
        }
    }

    /// Whether an apply that is under way does not end now.
    pub(super) fn hold(&self, apply: &Apply) -> bool {
        let stage = match apply.phase {
            Phase::Check => Stage::Check,
            Phase::Create => Stage::Create,
            Phase::CheckSuccess
            | Phase::CheckFailed
            | Phase::CreateSuccess
            | Phase::CreateFailed => return false,
        };
        self.stuck(stage, apply.product, &apply.names)
    }

    fn stuck(&self, stage: Stage, of: Product, among: &[Arc<str>]) -> bool {
        let found = self.find(|fault| match fault {
            Kind::Stuck {
                phase,
                product,
                names,
            } => {
                let product = product.is_none_or(|product| product == of);
                (*phase == stage && product && any(names, among)).then_some(())
            }
            _ => None,
        });
        found.is_some()
    }

    /// Whether this fault is for a call of this action, the next one to be counted.
    fn hits(&self, name: &str, set: &Set, called: Option<Action>) -> bool {
        let Some(which) = &set.fault.which else {
            return true;
        };
        if !which.counts(called) {
            return false;
        }
        let number = set.calls.fetch_add(1, Ordering::Relaxed) + 1;
        which.has(number, || self.lot(name, &number.to_string()))
    }

    fn find<'f, T>(&'f self, mut judge: impl FnMut(&'f Kind) -> Option<T>) -> Option<T> {
        self.set.values().find_map(|set| judge(&set.fault.kind))
    }

    /// From 0 up to but not 1: the same for the same seed and texts, each time.
    fn lot(&self, of: &str, text: &str) -> f64 {
        let seed = self.seed.to_be_bytes();
        let digest = Sha256::new_with_prefix(seed)
            .chain_update(of)
            .chain_update([0])
            .chain_update(text)
            .finalize();
        let (first, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
        // As many bits as the fraction of an f64 has.
        (u64::from_be_bytes(*first) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn any(meant: &Option<Names>, among: &[Arc<str>]) -> bool {
    meant
        .as_ref()
        .is_none_or(|meant| among.iter().any(|name| meant.have(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(seed: u64, json: &str) -> Faults {
        let mut faults = Faults::new(seed, &[]).unwrap();
        faults.set("f", Fault::parse(json).unwrap()).unwrap();
        faults
    }

    fn numbered(count: u32) -> Vec<Arc<str>> {
        (0..count).map(|n| format!("device-{n}").into()).collect()
    }

    #[test]
    fn a_share_of_the_names_fails_and_always_the_same_ones() {
        let json = r#"{"kind":"fail-creates","share":0.3}"#;
        let failed = |seed, product| {
            faults(seed, json)
                .fate_of_creation(product, &numbered(10_000))
                .failed
        };

        let once = failed(7, Product::Secret);

        assert!((2_800..3_200).contains(&once.len()), "{}", once.len());
        assert_eq!(once, failed(7, Product::Secret));
        assert_ne!(once, failed(8, Product::Secret));
        assert_ne!(once, failed(7, Product::X509));
    }

    /// Which of the next calls of this action go without an answer, counted from 1.
    fn lost(faults: &Faults, called: Option<Action>, among: u32) -> Vec<u32> {
        let lost = |_: &u32| !faults.harm(called).answered();
        (1..=among).filter(lost).collect()
    }

    #[test]
    fn a_share_of_the_calls_is_hit_and_the_same_ones_with_the_same_seed() {
        let hit = |seed, share: &str| {
            let json = format!(r#"{{"kind":"no-answer","share":{share}}}"#);
            lost(&faults(seed, &json), None, 1000)
        };

        let once = hit(7, "0.3");

        assert!((240..360).contains(&once.len()), "{}", once.len());
        assert_eq!(once, hit(7, "0.3"));
        assert_ne!(once, hit(8, "0.3"));
        assert_eq!((hit(7, "0").len(), hit(7, "1").len()), (0, 1000));
    }

    #[test]
    fn calls_are_counted_by_action_from_when_their_fault_is_set() {
        let json = r#"{"kind":"no-answer","calls":[1,3],"action":"QueryProduct"}"#;
        let called = Some(Action::QueryProduct);
        let mut faults = faults(0, json);

        assert!(lost(&faults, Some(Action::QueryPageByApplyId), 5).is_empty());
        assert!(lost(&faults, None, 5).is_empty());
        assert_eq!(lost(&faults, called, 1), [1]);
        let other = Fault::parse(r#"{"kind":"block-account"}"#).unwrap();
        faults.set("g", other).unwrap();
        let counting_on = faults.clone();
        assert_eq!(lost(&counting_on, called, 4), [2]);
        faults.set("f", Fault::parse(json).unwrap()).unwrap();
        assert_eq!(lost(&faults, called, 4), [1, 3]);
    }

    #[test]
    fn only_what_is_named_is_meant() {
        let json =
            r#"{"kind":"stuck","phase":"CHECK","product":"a1Simulator","names":["device-1"]}"#;
        let stuck = |product, count| {
            faults(0, json)
                .fate_of_check(product, &numbered(count))
                .stuck
        };
        assert!(stuck(Product::Secret, 2));
        assert!(!stuck(Product::Secret, 1));
        assert!(!stuck(Product::X509, 2));
    }

    #[test]
    fn names_and_number_of_faults_are_bounded() {
        let fault = Fault::parse(r#"{"kind":"block-account"}"#).unwrap();
        let mut faults = Faults::default();
        for name in ["", "a b", "a/b", &"x".repeat(65)] {
            assert!(faults.set(name, fault.clone()).is_err(), "{name}");
        }
        for n in 0..MAX_FAULTS {
            faults.set(&n.to_string(), fault.clone()).unwrap();
        }

        assert!(faults.set("one-more", fault.clone()).is_err());
        assert_eq!(faults.set("0", fault), Ok(()));
        assert!(faults.lift("0") && !faults.lift("0"));
    }
}
