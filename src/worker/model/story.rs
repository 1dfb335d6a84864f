//! What a case begins with, and what may happen in it.

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

use super::{calls::Fault, guards::Guards, upstream::Manner};
use crate::domain::{AfterCheck, Ordinal, apply::Wish};

/// What a case begins with.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) devices: Ordinal,
    /// Rounds that share them.
    pub(super) rounds: usize,
    pub(super) after_check: AfterCheck,
    pub(super) import: bool,
    pub(super) manner: Manner,
    pub(super) guards: Guards,
}

/// What happens. Numbers pick one of those that it can happen to; where there is none, nothing does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// A worker claims a round.
    Claim(usize),
    /// It sends its call.
    Send(usize),
    /// It is too late for that.
    TooLate(usize),
    /// A call arrives.
    Deliver {
        pick: usize,
        fault: Fault,
        answered: bool,
        again: bool,
    },
    /// A call gets lost.
    Lose(usize),
    /// A worker waits for its answer no longer.
    GiveUp(usize),
    /// It judges its answer and records.
    Read(usize),
    /// It dies.
    Die(usize),
    /// A whole step without a fault.
    Step(usize),
    /// The upstream does a bit of what it is at.
    Work(usize),
    /// It forgets an upstream apply that was not asked to create.
    Forget(usize),
    /// A stranger makes a device.
    Strike(Ordinal),
    /// So many seconds pass.
    Pass(i64),
    Accept(Wish),
    Cancel,
}

/// What was asked for and what the upstream is like. The truth itself grows with what is asked of
/// the upstream, and is in [`World`].
pub(super) struct Story;

impl ReferenceStateMachine for Story {
    type State = Setting;
    type Transition = Action;

    fn init_state() -> BoxedStrategy<Setting> {
        let some = prop_oneof![2 => Just(0_u8), 1 => any::<u8>().prop_map(|mask| mask & mask >> 3)];
        let manner = (
            [some.clone(), some.clone(), some.clone(), some].prop_map(|masks| masks),
            any::<[bool; 3]>(),
        );
        let after_check = prop_oneof![
            Just(AfterCheck::Stop),
            Just(AfterCheck::RegisterIfAllValid),
            Just(AfterCheck::RegisterValid),
        ];
        (1..=4, 1..=3_usize, after_check, any::<bool>(), manner)
            .prop_map(|(devices, rounds, after_check, import, (masks, are))| {
                let [foreign, bad_at_check, bad_at_create, left_out] = masks;
                let [nameless, at_once, import_status] = are;
                Setting {
                    devices,
                    rounds,
                    after_check,
                    import,
                    manner: Manner {
                        foreign,
                        bad_at_check,
                        bad_at_create,
                        left_out,
                        nameless,
                        at_once,
                        import_status,
                    },
                    guards: Guards::ALL,
                }
            })
            .boxed()
    }

    fn transitions(_: &Setting) -> BoxedStrategy<Action> {
        let pick = || 0..8_usize;
        let fault = prop_oneof![
            8 => Just(Fault::None),
            1 => Just(Fault::Throttled),
            1 => Just(Fault::Denied),
            1 => Just(Fault::BreaksBefore),
            1 => Just(Fault::BreaksAfter),
        ];
        let deliver = (
            pick(),
            fault,
            prop::bool::weighted(0.8),
            prop::bool::weighted(0.1),
        );
        let seconds = prop_oneof![
            4 => 1..40_i64,
            3 => Just(31_i64),
            2 => 100..1000_i64,
            1 => Just(3700_i64),
            1 => Just(90_000_i64),
        ];
        let wish = any::<[bool; 2]>().prop_map(|[skip_invalid, retry_failed]| Wish {
            skip_invalid,
            retry_failed,
        });
        prop_oneof![
            8 => pick().prop_map(Action::Step),
            6 => pick().prop_map(Action::Claim),
            6 => pick().prop_map(Action::Send),
            6 => deliver.prop_map(|(pick, fault, answered, again)| Action::Deliver {
                pick, fault, answered, again,
            }),
            6 => pick().prop_map(Action::Read),
            6 => pick().prop_map(Action::Work),
            5 => seconds.prop_map(Action::Pass),
            2 => wish.prop_map(Action::Accept),
            1 => pick().prop_map(Action::Lose),
            1 => pick().prop_map(Action::GiveUp),
            1 => pick().prop_map(Action::Die),
            1 => pick().prop_map(Action::TooLate),
            1 => pick().prop_map(Action::Forget),
            1 => (0..4).prop_map(Action::Strike),
            1 => Just(Action::Cancel),
        ]
        .boxed()
    }

    fn apply(setting: Setting, _: &Action) -> Setting {
        setting
    }
}
