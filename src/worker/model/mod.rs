//! A model of the whole protocol, without I/O: claim, call, record, fence.
//!
//! Rounds go their way by the code that they go by in production: [`super::judge`], [`super::brought`],
//! [`super::ends`], [`super::follows`], `step::learnt`, and below them the rules of `domain`. Around it
//! everything that can go wrong does: workers die between any two actions or act on after their
//! lease, calls arrive late, twice or never, answers are lost, time passes, callers accept, cancel
//! and retry. The truth is a pretend [`upstream`] that knows what it was asked and what it made.
//!
//! After each action [`truths`] must hold, and once faults stop, every apply must settle. The same
//! is run without one guard at a time, to show that it would be missed.

mod calls;
mod guards;
mod rows;
mod steps;
mod story;
mod truths;
mod upstream;
mod world;

use std::{
    panic::catch_unwind,
    sync::{Arc, atomic::AtomicUsize},
};

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngSeed, TestRunner},
};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use self::{
    guards::Guards,
    story::{Action, Setting, Story},
    world::{World, at},
};
use crate::domain::{Outcome, Phase, apply::Wish};

struct Model;

impl StateMachineTest for Model {
    type SystemUnderTest = (World, Vec<Outcome>);
    type Reference = Story;

    fn init_test(setting: &Setting) -> Self::SystemUnderTest {
        let mut sets = vec![Vec::new(); setting.rounds.min(setting.devices as usize)];
        let rounds = sets.len();
        (0..setting.devices).for_each(|at| sets[at as usize % rounds].push(at));
        let Setting {
            after_check,
            import,
            manner,
            guards,
            ..
        } = setting.clone();
        let world = World::new(&sets, after_check, import, manner, guards);
        let outcomes = world.rows.outcomes.clone();
        (world, outcomes)
    }

    fn apply(
        (mut world, _): Self::SystemUnderTest,
        _: &Setting,
        action: Action,
    ) -> Self::SystemUnderTest {
        let before = world.rows.outcomes.clone();
        act(&mut world, &action);
        let retries = matches!(action, Action::Accept(wish) if wish.retry_failed);
        let moved = before.iter().zip(&world.rows.outcomes).any(|(was, is)| {
            let may_move = was.is_open() || retries && *was == Outcome::Failed;
            was != is && !may_move
        });
        if moved {
            world.wrong = Some(format!("{before:?} became {:?}", world.rows.outcomes));
        }
        (world, before)
    }

    fn check_invariants((world, _): &Self::SystemUnderTest, _: &Setting) {
        hold(world, truths::broken(world));
    }

    fn teardown((mut world, _): Self::SystemUnderTest, _: Setting) {
        settle(&mut world);
        // Who asks once more, now that all is well, learns of every device.
        world.accept(Wish {
            skip_invalid: false,
            retry_failed: true,
        });
        settle(&mut world);
        let unknown = world.rows.outcomes.contains(&Outcome::Unknown);
        let wrong = unknown && !world.rows.standing.cancelling;
        hold(&world, wrong.then(|| "a device stays UNKNOWN".to_owned()));
    }
}

fn act(world: &mut World, action: &Action) {
    let jobs = world.upstream.jobs.len();
    match *action {
        Action::Claim(pick) => drop(world.claim(pick)),
        Action::Send(pick) => drop(world.send(pick)),
        Action::TooLate(pick) => drop(world.too_late(pick)),
        Action::Deliver {
            pick,
            fault,
            answered,
            again,
        } => drop(world.deliver(pick, fault, answered, again)),
        Action::Lose(pick) => drop(world.lose(pick)),
        Action::GiveUp(pick) => drop(world.give_up(pick)),
        Action::Read(pick) => drop(world.read(pick)),
        Action::Die(pick) => drop(world.die(pick)),
        Action::Step(pick) => {
            if let Some(step) = world.claim(pick) {
                world.whole_step(step);
            }
        }
        Action::Work(pick) if jobs > 0 => world.upstream.work(jobs - 1 - pick % jobs),
        Action::Forget(pick) if jobs > 0 => world.upstream.forget(jobs - 1 - pick % jobs),
        Action::Work(_) | Action::Forget(_) => {}
        Action::Strike(at) => world.strike(at),
        Action::Pass(seconds) => world.pass(seconds),
        Action::Accept(wish) => world.accept(wish),
        Action::Cancel => world.cancel(),
    }
}

/// Steps without a fault until nothing is due any more, as they come due.
fn settle(world: &mut World) {
    world.calm();
    for _ in 0..2_000 {
        (0..world.upstream.jobs.len()).for_each(|job| world.upstream.work(job));
        let due = (0..world.rows.rounds.len())
            .filter_map(|n| Some((world.rows.rounds[n].due_at?, n)))
            .min();
        let Some((due_at, n)) = due else {
            return hold(world, truths::unsettled(world));
        };
        world.pass((due_at - world.now).max(1));
        let step = world.claim_round(n).expect("it is due");
        world.whole_step(step);
        hold(world, truths::broken(world));
    }
    hold(world, Some("it goes on for ever".to_owned()));
}

#[track_caller]
fn hold(world: &World, broken: Option<String>) {
    if let Some(broken) = broken {
        panic!("{broken}\n{}", world.log.join("\n"));
    }
}

/// The cases, always the same unless PROPTEST_RNG_SEED says otherwise; PROPTEST_CASES asks for more.
fn config() -> Config {
    let given = Config::default();
    let asked = |name| std::env::var_os(name).is_some();
    Config {
        cases: match asked("PROPTEST_CASES") {
            true => given.cases,
            false => 300,
        },
        rng_seed: match asked("PROPTEST_RNG_SEED") {
            true => given.rng_seed,
            false => RngSeed::Fixed(1),
        },
        max_shrink_iters: 5_000,
        failure_persistence: None,
        ..given
    }
}

fn actions() -> impl Strategy<Value = (Setting, Vec<Action>, Seen)> {
    Story::sequential_strategy(1..120)
}

/// How many actions of a case have been done.
type Seen = Option<Arc<AtomicUsize>>;

#[test]
fn every_device_has_one_outcome_and_it_is_the_truth() {
    let config = config();
    let mut runner = TestRunner::new(config.clone());
    let held = runner.run(&actions(), |(setting, actions, seen)| {
        Model::test_sequential(config.clone(), setting, actions, seen);
        Ok(())
    });
    if let Err(found) = held {
        panic!("{found}");
    }
}

#[test]
fn the_cases_lead_through_every_phase() {
    let mut left = Phase::ALL.to_vec();
    let config = config();
    let mut runner = TestRunner::new(config.clone());
    for _ in 0..config.cases {
        let case = actions().new_tree(&mut runner).expect("a case").current();
        let (setting, actions, _) = case;
        let mut model = Model::init_test(&setting);
        for action in actions {
            model = Model::apply(model, &setting, action);
            let rounds = &model.0.rows.rounds;
            left.retain(|phase| rounds.iter().all(|row| row.round.phase != *phase));
        }
    }
    assert_eq!(left, []);
}

#[test]
fn without_the_fence_a_device_may_be_created_twice() {
    let fence = false;
    let guards = Guards {
        fence,
        ..Guards::ALL
    };
    assert!(is_found("may be created 2 times", guards));
}

#[test]
fn without_an_intent_a_device_is_created_after_a_cancel() {
    let intent = false;
    let guards = Guards {
        intent,
        ..Guards::ALL
    };
    assert!(is_found("is Cancelled and may yet be created", guards));
}

#[test]
fn without_the_time_window_a_device_is_given_up_that_may_yet_be_created() {
    let window = false;
    let guards = Guards {
        window,
        ..Guards::ALL
    };
    assert!(is_found("and may yet be created", guards));
}

#[test]
fn an_import_that_is_sent_again_as_another_request_may_be_created_twice() {
    let same_request = false;
    let guards = Guards {
        same_request,
        ..Guards::ALL
    };
    assert!(is_found("may be created 2 times", guards));
}

/// Whether the model finds a case, among four times as many as it must hold in, in which this comes
/// of a guard that is left out.
fn is_found(what: &str, guards: Guards) -> bool {
    let config = config();
    let mut runner = TestRunner::new(config.clone());
    (0..4 * config.cases).any(|_| {
        let case = actions().new_tree(&mut runner).expect("a case").current();
        let (setting, actions, _) = case;
        let setting = Setting { guards, ..setting };
        let played =
            catch_unwind(|| Model::test_sequential(Config::default(), setting, actions, None));
        played.is_err_and(|panic| {
            let said = panic.downcast_ref::<String>();
            said.is_some_and(|said| said.lines().next().is_some_and(|line| line.contains(what)))
        })
    })
}
