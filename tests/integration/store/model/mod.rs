//! The store against a model: callers and workers in any order, leases that run out, records that
//! come too late. After each transition all rows must be as the rules of the domain have them.

mod compare;
mod events;
mod expected;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
};

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngSeed, TestRunner},
};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use registrar::domain::{ApplyId, Counts, Outcome, Round};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::runtime::Runtime;

use self::{
    compare::{compare, dump},
    events::{events_in, leaves_the_intent},
    expected::Expected,
};
use super::{imports::import, *};

/// What happens. Numbers pick one of those that it can happen to; where there is none, nothing does.
#[derive(Clone, Debug)]
enum Action {
    Submit {
        devices: usize,
        after_check: AfterCheck,
        import: bool,
    },
    Claim(Lane),
    /// Some claim, however old, records what it learnt. `later`: its round is due in an hour.
    Record {
        claim: usize,
        event: usize,
        later: bool,
    },
    /// All leases run out, and whatever waits is due.
    Pass,
    Accept(usize, Wish),
    Cancel(usize),
}

/// Whether the lease of a record is looked at, or the round handed to whoever records.
#[derive(Clone, Debug)]
struct Fence(bool);

struct Story;

impl ReferenceStateMachine for Story {
    type State = Fence;
    type Transition = Action;

    fn init_state() -> BoxedStrategy<Fence> {
        Just(Fence(true)).boxed()
    }

    fn transitions(_: &Fence) -> BoxedStrategy<Action> {
        let after_check = prop_oneof![
            Just(AfterCheck::Stop),
            Just(AfterCheck::RegisterIfAllValid),
            Just(AfterCheck::RegisterValid),
        ];
        let submit = (1..=4_usize, after_check, any::<bool>());
        let wish = any::<[bool; 2]>().prop_map(|[skip_invalid, retry_failed]| Wish {
            skip_invalid,
            retry_failed,
        });
        // The newest claims are picked more often than those that have lost their lease.
        let claim = prop_oneof![4 => Just(0_usize), 1 => 1..6_usize];
        prop_oneof![
            2 => submit.prop_map(|(devices, after_check, import)| Action::Submit {
                devices, after_check, import,
            }),
            12 => prop::sample::select(Lane::ALL).prop_map(Action::Claim),
            12 => (claim, 0..8_usize, prop::bool::weighted(0.1)).prop_map(
                |(claim, event, later)| Action::Record { claim, event, later }),
            1 => Just(Action::Pass),
            2 => (0..3_usize, wish).prop_map(|(apply, wish)| Action::Accept(apply, wish)),
            1 => (0..9_usize).prop_map(Action::Cancel),
        ]
        .boxed()
    }

    fn apply(fence: Fence, _: &Action) -> Fence {
        fence
    }
}

/// What all cases share: they come one after another.
struct Stage {
    runtime: Runtime,
    store: Store,
    database: Database,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let runtime = Runtime::new().expect("a runtime");
        let (store, database) = runtime.block_on(store());
        Stage {
            runtime,
            store,
            database,
        }
    })
}

struct Model {
    applies: Vec<Expected>,
    /// The claims so far, with whose they are and the token that each was given.
    claims: Vec<(Claim, usize, usize, uuid::Uuid)>,
}

impl StateMachineTest for Model {
    type SystemUnderTest = Self;
    type Reference = Story;

    fn init_test(_: &Fence) -> Self {
        let stage = stage();
        let empty = sqlx::raw_sql("TRUNCATE applies, blocks RESTART IDENTITY CASCADE");
        let emptied = stage.runtime.block_on(empty.execute(&stage.database.pool));
        emptied.expect("the tables are emptied");
        Self {
            applies: Vec::new(),
            claims: Vec::new(),
        }
    }

    fn apply(mut model: Self, fence: &Fence, action: Action) -> Self {
        let stage = stage();
        stage.runtime.block_on(model.act(stage, fence, action));
        model
    }

    fn check_invariants(model: &Self, _: &Fence) {
        let stage = stage();
        for expected in &model.applies {
            stage.runtime.block_on(compare(stage, expected));
        }
    }
}

impl Model {
    async fn act(&mut self, stage: &Stage, fence: &Fence, action: Action) {
        let store = &stage.store;
        match action {
            Action::Submit { .. } if self.applies.len() == 3 => {}
            Action::Submit {
                devices: count,
                after_check,
                import: imports,
            } => {
                let names: Vec<_> = (0..count).map(|n| format!("light-{n}")).collect();
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                let submission = match imports {
                    true => import(&names, after_check),
                    false => devices("light", count, after_check),
                };
                let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
                let new = Expected::new(apply.id, count, after_check, imports);
                self.applies.push(new);
            }
            Action::Claim(lane) => self.claim(stage, lane).await,
            Action::Record {
                claim,
                event,
                later,
            } => self.record(stage, fence, claim, event, later).await,
            Action::Pass => {
                let past = "UPDATE rounds SET due_at = now() - interval '1 s'
                            WHERE due_at IS NOT NULL";
                sqlx::query(past)
                    .execute(&stage.database.pool)
                    .await
                    .unwrap();
                for row in self.applies.iter_mut().flat_map(|apply| &mut apply.rounds) {
                    row.due = true;
                }
            }
            Action::Accept(pick, wish) => {
                if let Some(apply) = self.applies.get_mut(pick) {
                    let told = store.accept(&ANYONE, apply.id, wish, None).await;
                    match apply.accepted(wish) {
                        true => assert_eq!(told.unwrap().1.revision, apply.revision),
                        false => assert!(matches!(told, Err(Error::NotAcceptable { .. }))),
                    }
                }
            }
            Action::Cancel(pick) => {
                if let Some(apply) = self.applies.get_mut(pick) {
                    let told = store.cancel(&ANYONE, apply.id, None).await.unwrap();
                    apply.cancelled();
                    assert_eq!(told.1.revision, apply.revision);
                }
            }
        }
    }

    /// A claim takes a round that is due, and none that another claim has; nothing only if none is.
    async fn claim(&mut self, stage: &Stage, lane: Lane) {
        let by = self.claims.len();
        let is_due = |row: &expected::Row| row.due && row.round.phase.lane() == Some(lane);
        let Some(claim) = claim(&stage.store, lane).await else {
            let mut rounds = self.applies.iter().flat_map(|apply| &apply.rounds);
            assert!(!rounds.any(is_due), "nothing is claimed for {lane}");
            return;
        };
        let at = self
            .applies
            .iter()
            .position(|one| one.id == claim.apply)
            .unwrap();
        let n = claim.round_no as usize - 1;
        let apply = &mut self.applies[at];
        assert!(
            is_due(&apply.rounds[n]),
            "claimed for {lane}: {:?}",
            apply.rounds[n]
        );
        let had_intent = apply.rounds[n].intent;
        apply.claimed(n, by);
        assert_eq!(claim.round, apply.rounds[n].round);
        assert_eq!(claim.intent.is_some(), apply.rounds[n].intent);
        assert!(claim.intent.is_none_or(|intent| intent.fresh != had_intent));
        let token =
            sqlx::query_scalar("SELECT lease FROM rounds WHERE apply_id = $1 AND round_no = $2")
                .bind(claim.apply.0)
                .bind(claim.round_no)
                .fetch_one(&stage.database.pool)
                .await
                .unwrap();
        self.claims.push((claim, at, n, token));
    }

    async fn record(
        &mut self,
        stage: &Stage,
        fence: &Fence,
        pick: usize,
        event: usize,
        later: bool,
    ) {
        let Some(by) = self.claims.len().checked_sub(pick + 1) else {
            return;
        };
        let (claim, at, n, token) = &self.claims[by];
        let apply = &mut self.applies[*at];
        let open = apply.open(*n);
        let Some(event) = events_in(&claim.round, &open, event) else {
            return;
        };
        let intent_open = leaves_the_intent(&claim.round, &event);
        let change = claim.round.clone().on(event, &open).expect("a legal event");
        let record = Record {
            due_in: Duration::from_secs(if later { 3600 } else { 0 }),
            intent_open,
            ..record(change.clone())
        };
        if !fence.0 {
            let hand = "UPDATE rounds SET lease = $3
                        WHERE apply_id = $1 AND round_no = $2 AND due_at IS NOT NULL";
            let hand = sqlx::query(hand).bind(claim.apply.0).bind(claim.round_no);
            hand.bind(token)
                .execute(&stage.database.pool)
                .await
                .unwrap();
        }
        if apply.rounds[*n].leased_by == Some(by) {
            let told = stage.store.record(claim, &open, &record).await;
            told.expect("its lease is its own");
            apply.recorded(*n, change, intent_open, !later);
        } else {
            let before = dump(stage).await;
            let told = stage.store.record(claim, &open, &record).await;
            assert!(
                matches!(told, Err(Error::LeaseLost { .. })),
                "a lost lease: {told:?}"
            );
            assert_eq!(dump(stage).await, before, "a lost lease wrote something");
        }
    }
}

/// The cases, always the same unless PROPTEST_RNG_SEED says otherwise; PROPTEST_CASES asks for more.
fn config() -> Config {
    let given = Config::default();
    let asked = |name| std::env::var_os(name).is_some();
    Config {
        cases: match asked("PROPTEST_CASES") {
            true => given.cases,
            false => 20,
        },
        rng_seed: match asked("PROPTEST_RNG_SEED") {
            true => given.rng_seed,
            false => RngSeed::Fixed(1),
        },
        max_shrink_iters: 200,
        failure_persistence: None,
        ..given
    }
}

/// Two tests in one, since they share the stage: the second shows that the first can fail.
#[test]
fn the_store_does_as_the_model_and_without_its_fence_it_would_not() {
    let config = config();
    let mut runner = TestRunner::new(config.clone());
    let cases = Story::sequential_strategy(20..120);
    let held = runner.run(&cases, |(fence, actions, seen)| {
        Model::test_sequential(config.clone(), fence, actions, seen);
        Ok(())
    });
    if let Err(found) = held {
        panic!("{found}");
    }
    let found = (0..config.cases).any(|_| {
        let (_, actions, _) = cases.new_tree(&mut runner).expect("a case").current();
        let played = AssertUnwindSafe(|| {
            Model::test_sequential(Config::default(), Fence(false), actions, None);
        });
        catch_unwind(played).is_err_and(|panic| {
            let said = panic.downcast_ref::<String>();
            said.is_some_and(|said| said.starts_with("a lost lease"))
        })
    });
    assert!(found, "a record without a lease is noticed");
}
