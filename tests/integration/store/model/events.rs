//! What an answer can make of a round in each phase.

use registrar::domain::{
    Ordinal, Phase, Reason, ReasonCode, Round,
    round::Event::{self, *},
};

/// One of the events that can happen to a round with these open devices.
pub(super) fn events_in(round: &Round, open: &[Ordinal], pick: usize) -> Option<Event> {
    let why = |code| Reason::local(code, "the upstream says so".into());
    let refused = |those: &[Ordinal]| -> Vec<(Ordinal, Reason)> {
        let exist = those.iter().map(|at| (*at, why(ReasonCode::Exists)));
        exist.collect()
    };
    let (some, rest) = open.split_at(open.len().min(1));
    let given_up = |sent| GivenUp {
        why: why(ReasonCode::UpstreamUnclear),
        sent,
    };
    let check_failed = |refused, valid: &[Ordinal]| CheckFailed {
        refused,
        valid: valid.to_vec(),
        said: why(ReasonCode::Refused),
    };
    let create_failed = |refused| CreateFailed {
        created: rest.to_vec(),
        refused,
    };
    // As many as will do: each case picks the same ones again and again.
    let upstream_apply = 7;
    let events = match round.phase {
        Phase::Check => vec![
            CheckAccepted { upstream_apply },
            check_failed(refused(some), &[]),
            check_failed(Vec::new(), &[]),
            TooLarge,
            CheckAccepted { upstream_apply },
            given_up(false),
        ],
        Phase::Checking => vec![
            CheckPassed,
            check_failed(refused(some), rest),
            check_failed(refused(some), &[]),
            ApplyGone,
            TimedOut,
            CheckPassed,
            given_up(false),
        ],
        Phase::Registering => vec![
            RegisterAccepted,
            RegisterUnheard,
            NotRegistered,
            RegisterRefused,
            Stale,
            ApplyGone,
            TimedOut,
            given_up(true),
        ],
        Phase::Creating if round.import => vec![
            NoStatus,
            CreateSucceeded,
            create_failed(refused(some)),
            create_failed(Vec::new()),
            TimedOut,
        ],
        Phase::Creating => vec![
            CreateSucceeded,
            create_failed(refused(some)),
            create_failed(Vec::new()),
            TimedOut,
            given_up(true),
        ],
        Phase::Counting | Phase::Imported => vec![
            Counted {
                total: open.len() as u64,
            },
            Counted { total: 0 },
            TimedOut,
        ],
        Phase::Listing | Phase::ListImported => vec![
            Listed {
                present: some.to_vec(),
            },
            Listed {
                present: open.to_vec(),
            },
        ],
        Phase::Unknown if round.import => vec![CreateSucceeded, NoStatus, TimedOut],
        Phase::Unknown => vec![CreateSucceeded, NotRegistered, ApplyGone, TimedOut],
        Phase::CheckImport => vec![
            CheckPassed,
            check_failed(refused(some), &[]),
            CheckPassed,
            TooLarge,
            given_up(false),
        ],
        Phase::Importing => vec![
            ImportAccepted { upstream_apply },
            NotRegistered,
            ImportLost {
                why: why(ReasonCode::Unresolved),
            },
            ImportRefused {
                refused: refused(some),
                said: why(ReasonCode::Refused),
            },
            Stale,
        ],
        Phase::Lookup => vec![
            LookedUp {
                ours: some.to_vec(),
                others: Vec::new(),
                absent: rest.to_vec(),
                proven: true,
            },
            LookedUp {
                ours: Vec::new(),
                others: refused(some),
                absent: rest.to_vec(),
                proven: false,
            },
            TimedOut,
        ],
        Phase::Held | Phase::Register | Phase::Import | Phase::Unresolved | Phase::Ended => {
            Vec::new()
        }
    };
    let of_nobody = [
        Phase::Check,
        Phase::CheckImport,
        Phase::Importing,
        Phase::Lookup,
    ];
    if open.is_empty() {
        return of_nobody.contains(&round.phase).then_some(NothingLeft);
    }
    let len = events.len();
    events.into_iter().nth(pick.checked_rem(len)?)
}

/// As workers have it: whether a request may be under way after an event.
pub(super) fn leaves_the_intent(round: &Round, event: &Event) -> bool {
    match (round.import, event) {
        (false, TimedOut | GivenUp { .. } | RegisterUnheard) => true,
        (true, CreateSucceeded | CreateFailed { .. }) => round.resent,
        (true, NotRegistered | ImportRefused { .. } | TooLarge) => false,
        (import, _) => import,
    }
}
