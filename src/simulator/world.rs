//! The state with its journal: an event is written before it happens.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use anyhow::{Context, ensure};
use rand::RngCore;

use super::apply::{Asked, Brought, Fate};
use super::choices::{CheckedNames, FailedCreations, LetterCase, OverCap};
use super::credentials::{Credentials, Keys, Place};
use super::event::Event;
use super::faults::Faults;
use super::journal::Lines;
use super::maxima;
use super::options::Options;
use super::pace::{CHECK_TAKES, CREATE_TAKES, Pace};
use super::product::Product;
use super::rules::Sifted;
use super::signature::hex;
use super::state::State;
use super::switches::Switches;

/// The field of a check before its names are filled in.
const NO_NAMES: &str = r#""names":"""#;

/// Everything that survives a restart, except the ledger, and the faults, which do not.
#[derive(Debug)]
pub(super) struct World {
    pub(super) state: State,
    /// Counts from 1 in a directory; each start of the simulator is a run.
    pub(super) run: u64,
    faults: Arc<Faults>,
    journal: Option<Lines>,
    keys: Keys,
    pace: Pace,
    switches: Switches,
}

impl World {
    /// Replays the journal, if there is a directory, and starts a new run.
    pub(super) fn open(options: &Options, now: u64) -> anyhow::Result<World> {
        let mut state = State::default();
        let ignore_case = options.switches.case == LetterCase::Ignore;
        let mut seed = None;
        let mut run = 0;
        let mut journal = None;
        if let Some(directory) = &options.dir {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("{} cannot be made", directory.display()))?;
            journal = Some(Lines::open(&directory.join("state.jsonl"), |_, line| {
                let event: Event<'_> = serde_json::from_str(line)?;
                match &event {
                    Event::Founded {
                        seed: written,
                        ignore_case: founded,
                    } => {
                        ensure!(
                            *founded == ignore_case,
                            "it was made with another --simulator-case"
                        );
                        seed = Some(written.clone().into_owned());
                    }
                    Event::Run { run: last, .. } => run = *last,
                    Event::Check { .. }
                    | Event::Create { .. }
                    | Event::Begin { .. }
                    | Event::Delete { .. }
                    | Event::Stuck { .. } => {}
                }
                event.replay(&mut state)
            })?);
        }
        let mut write = |event: &Event<'_>| -> anyhow::Result<()> {
            let line = serde_json::to_string(event)?;
            journal
                .as_mut()
                .map_or(Ok(0), |journal| journal.append(&line))?;
            Ok(())
        };
        let seed = match seed {
            Some(seed) => seed,
            None => {
                let mut bytes = [0; 32];
                rand::rng().fill_bytes(&mut bytes);
                let seed = hex(&bytes);
                let founded = Event::Founded {
                    seed: Cow::Borrowed(&seed),
                    ignore_case,
                };
                write(&founded)?;
                founded.replay(&mut state)?;
                seed
            }
        };
        run += 1;
        let faults = Faults::new(options.seed, &options.faults).map_err(anyhow::Error::msg)?;
        let exists = options.exists.iter();
        let exists =
            exists.map(|device| (device.product.as_str().into(), device.name.as_str().into()));
        let started = Event::Run {
            run,
            at: now,
            exists: exists.collect(),
            stuck: stuck(&state, &faults),
        };
        write(&started)?;
        started.replay(&mut state)?;
        let pace = Pace::new(options.speed, options.seed);
        Ok(World {
            state,
            run,
            faults: Arc::new(faults),
            journal,
            keys: Keys::new(&seed),
            pace,
            switches: options.switches.clone(),
        })
    }

    /// Queues a check of these devices and returns its ApplyId.
    pub(super) fn check(
        &mut self,
        product: Product,
        sifted: &Sifted<'_>,
        now: u64,
    ) -> io::Result<u64> {
        self.state.settle(now);
        let apply = self.state.next_apply();
        let count = sifted.sound.len() + sifted.malformed.len();
        let ready = now + self.pace.span(CHECK_TAKES, count);
        let sound = sifted.sound.iter();
        let listed: Box<[Arc<str>]> = sound.map(|entry| entry.name.as_ref().into()).collect();
        let mut fate = self.faults.fate_of_check(product, &listed);
        if self.switches.checked_names == CheckedNames::Reserved {
            fate.reserved_until = Some(self.switches.end_of_apply(now));
        }
        let mut nicknames = HashMap::new();
        for (position, entry) in (0..).zip(&sifted.sound) {
            if let Some(nickname) = &entry.nickname {
                nicknames.insert(position, nickname.as_ref().into());
            }
        }
        if let Some(journal) = &mut self.journal {
            let line = serde_json::to_string(&Event::Check {
                apply,
                product: product.key().into(),
                at: now,
                ready,
                names: "".into(),
                nicknames: nicknames.clone(),
                malformed: sifted.malformed.clone(),
                fate: fate.clone(),
            })?;
            let names = listed.join(" ");
            // Names hold nothing to escape, and looking for it would cost as much as all the rest.
            let line = line.replacen(NO_NAMES, &format!("\"names\":\"{names}\""), 1);
            journal.append(&line)?;
        }
        let asked = Asked {
            product,
            names: listed,
            nicknames,
            malformed: sifted.malformed.clone().into(),
            brought: None,
        };
        self.state.start_check(apply, asked, ready, &fate);
        self.state.settle(now);
        Ok(apply)
    }

    /// Starts the creation of an apply; from CHECK and CHECK_FAILED as the state says.
    pub(super) fn create(&mut self, apply: u64, now: u64) -> io::Result<()> {
        self.state.settle(now);
        let Some(checked) = self.state.apply(apply) else {
            return Ok(());
        };
        let count = checked.names.len();
        let fate = self.fate_of_creation(checked.product, &checked.names);
        let ready = now + self.pace.span(CREATE_TAKES, count);
        if let Some(journal) = &mut self.journal {
            let line = serde_json::to_string(&Event::Create {
                apply,
                at: now,
                ready,
                fate: fate.clone(),
            })?;
            journal.append(&line)?;
        }
        self.state.start_create(apply, ready, &fate);
        self.state.settle(now);
        Ok(())
    }

    /// Starts a creation of which nothing was checked, and returns its ApplyId.
    pub(super) fn begin(
        &mut self,
        product: Product,
        names: Box<[Arc<str>]>,
        brought: Option<Box<[Brought]>>,
        now: u64,
    ) -> io::Result<u64> {
        self.state.settle(now);
        let apply = self.state.next_apply();
        let fate = self.fate_of_creation(product, &names);
        let ready = now + self.pace.span(CREATE_TAKES, names.len());
        if let Some(journal) = &mut self.journal {
            let line = serde_json::to_string(&Event::Begin {
                apply,
                product: product.key().into(),
                at: now,
                ready,
                names: names.join(" ").into(),
                brought: brought.clone(),
                fate: fate.clone(),
            })?;
            journal.append(&line)?;
        }
        let asked = Asked {
            product,
            names,
            nicknames: HashMap::new(),
            malformed: Box::default(),
            brought,
        };
        self.state.begin(apply, asked, ready, &fate);
        self.state.settle(now);
        Ok(apply)
    }

    /// Deletes a device.
    pub(super) fn delete(&mut self, product: Product, name: &str, now: u64) -> io::Result<()> {
        if let Some(journal) = &mut self.journal {
            let line = serde_json::to_string(&Event::Delete {
                product: product.key().into(),
                name: name.into(),
                at: now,
            })?;
            journal.append(&line)?;
        }
        self.state.settle(now);
        self.state.delete(product, name);
        Ok(())
    }

    /// Devices that the product and its instance still take.
    pub(super) fn room(&self, product: Product) -> usize {
        maxima::room(&self.state, &self.switches, product)
    }

    /// The faults that are set.
    pub(super) fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    /// Puts other faults in the place of those that are set. Which checks and creations under way
    /// are stuck is kept, since it decides what they find when they end.
    pub(super) fn set_faults(&mut self, faults: Faults, now: u64) -> io::Result<()> {
        self.state.settle(now);
        let applies = stuck(&self.state, &faults);
        if applies != self.state.stuck() {
            let held = Event::Stuck {
                at: now,
                applies: applies.clone(),
            };
            if let Some(journal) = &mut self.journal {
                journal.append(&serde_json::to_string(&held)?)?;
            }
            self.state.hold(&applies, now);
            self.state.settle(now);
        }
        self.faults = Arc::new(faults);
        Ok(())
    }

    /// The credentials of a device: the same each time, and stored nowhere.
    pub(super) fn credentials(&self, place: Place, name: &str) -> Credentials {
        self.keys.credentials(place, name)
    }

    /// Where the device with this IotId is to be found; None if there cannot be one.
    pub(super) fn place_of(&self, iot_id: &str) -> Option<Place> {
        self.keys.place_of(iot_id)
    }

    /// The names of so many devices that are to have random ones in the next apply.
    pub(super) fn random_names(&self, count: usize) -> Box<[Arc<str>]> {
        let apply = self.state.next_apply();
        (0..)
            .take(count)
            .map(|position| self.keys.random_name(apply, position).into())
            .collect()
    }

    /// Lets go of the journal.
    pub(super) fn close(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.close();
        }
    }

    /// What becomes of a creation of these names that begins now.
    fn fate_of_creation(&self, product: Product, names: &[Arc<str>]) -> Fate {
        let mut fate = self.faults.fate_of_creation(product, names);
        fate.undone = self.switches.failed_creations == FailedCreations::Undo;
        if self.switches.over_cap == OverCap::CreateFailed {
            maxima::keep(&mut fate, &self.state, &self.switches, product, names);
        }
        fate
    }
}

/// The applies under way that do not end while these faults are set.
fn stuck(state: &State, faults: &Faults) -> BTreeSet<u64> {
    let held = state.under_way().filter(|(_, apply)| faults.hold(apply));
    held.map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::super::apply::Phase;
    use super::super::request::Params;
    use super::super::rules::sift;
    use super::*;

    const LISTED: &str = "DeviceNameList.1.DeviceName=dev3&DeviceNameList.2.DeviceName=old1&\
        DeviceNameList.2.DeviceNickname=灯灯&DeviceNameList.3.DeviceName=x*";

    fn check(world: &mut World, body: &str, now: u64) -> u64 {
        let params = Params::parse("", body);
        world
            .check(
                Product::Secret,
                &sift(&params.devices, &Switches::default()),
                now,
            )
            .unwrap()
    }

    #[test]
    fn a_restart_goes_on_where_the_run_before_was_killed() {
        let directory = tempfile::tempdir().unwrap();
        let dir = Some(directory.path().to_owned());
        let options = Options {
            dir,
            exists: vec!["a1Simulator/old1".parse().unwrap()],
            ..Options::default()
        };
        let mut world = World::open(&options, 0).unwrap();
        let first = check(&mut world, "DeviceName.1=dev1&DeviceName.2=dev2", 1);
        let open = check(&mut world, LISTED, 400_000);
        world.create(first, 400_001).unwrap();
        let dev1 = Place {
            product: Product::Secret,
            apply: first,
            position: 0,
        };
        let secret = world.credentials(dev1, "dev1").secret;
        drop(world);
        let path = directory.path().join("state.jsonl");
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(
            &path,
            [&whole, br#"{"check":{"apply":3,"na"#.as_slice()].concat(),
        )
        .unwrap();

        let without = Options {
            exists: Vec::new(),
            ..options
        };
        let mut world = World::open(&without, 400_002).unwrap();

        assert_eq!(world.run, 2);
        assert_eq!(world.state.apply(first).unwrap().phase, Phase::Create);
        assert_eq!(world.state.apply(open).unwrap().phase, Phase::Check);
        world.state.settle(2_000_000);
        assert_eq!(
            world.state.apply(first).unwrap().phase,
            Phase::CreateSuccess
        );
        let failed = world.state.apply(open).unwrap();
        assert_eq!(failed.phase, Phase::CheckFailed);
        let complaints: Vec<_> = failed
            .complaints("taken")
            .map(|one| (one.name, one.nickname))
            .collect();
        assert_eq!(complaints, [("old1", Some("灯灯")), ("x*", None)]);
        assert_eq!(world.credentials(dev1, "dev1").secret, secret);
        assert_eq!(check(&mut world, "DeviceName.1=dev4", 2_000_001), open + 1);
    }
}
