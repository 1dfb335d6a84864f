//! The rows of one apply, in memory: what the statements of `store` do to them, with the rules that
//! those call on themselves. The tests of `store` prove of each statement that it does the same.

use uuid::Uuid;

use super::guards::Guards;
use crate::{
    domain::{
        AfterCheck, ApplyStatus, Counts, Ordinal, Outcome, Phase, Round,
        apply::{Acceptance, Rounds, Standing, Wish, accept, decide, may_cancel},
        round::Settle,
    },
    store::{Claim, Intent, Record},
};

/// As `store::follow` has it, in seconds.
const CHECK_GOOD_FOR: i64 = 3600;

/// How long a worker may take over a step.
pub(super) const LEASE: i64 = 30;

/// A row of `rounds`.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) round: Round,
    pub(super) ordinals: Vec<Ordinal>,
    pub(super) lease: Option<u128>,
    pub(super) due_at: Option<i64>,
    attempts: i32,
    setbacks: i16,
    page: i32,
    asked_at: Option<i64>,
    failing_since: Option<i64>,
    checked_at: Option<i64>,
    pub(super) intent_at: Option<i64>,
    pub(super) nonce: Option<u128>,
}

impl Row {
    fn new(phase: Phase, import: bool, accepted: bool, ordinals: Vec<Ordinal>, now: i64) -> Self {
        Self {
            round: Round {
                phase,
                import,
                resent: false,
                restored: false,
                accepted,
                upstream_apply: None,
                nameless: 0,
                fruitless: 0,
            },
            ordinals,
            lease: None,
            due_at: phase.lane().map(|_| now),
            attempts: 0,
            setbacks: 0,
            page: 0,
            asked_at: None,
            failing_since: None,
            checked_at: None,
            intent_at: None,
            nonce: None,
        }
    }
}

/// The rows of an apply, of its rounds and of its devices.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) standing: Standing,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) rounds: Vec<Row>,
    import: bool,
    guards: Guards,
    /// The latest of the random numbers that a database would have made.
    random: u128,
}

impl Rows {
    /// `store::submit`: a round for each of these sets of devices.
    pub(super) fn new(
        sets: &[Vec<Ordinal>],
        after_check: AfterCheck,
        import: bool,
        guards: Guards,
    ) -> Self {
        let devices = sets.iter().map(Vec::len).sum();
        let first = Phase::first(import);
        Self {
            standing: Standing {
                status: ApplyStatus::Check,
                after_check,
                sealed: true,
                cancelling: false,
                counts: Counts::pending(devices as i32),
            },
            outcomes: vec![Outcome::Pending; devices],
            rounds: sets
                .iter()
                .map(|set| Row::new(first, import, false, set.clone(), 0))
                .collect(),
            import,
            guards,
            random: 0,
        }
    }

    pub(super) fn random(&mut self) -> u128 {
        self.random += 1;
        self.random
    }

    /// `store::members`.
    pub(super) fn open(&self, n: usize) -> Vec<Ordinal> {
        let all = self.rounds[n].ordinals.iter().copied();
        all.filter(|at| self.outcomes[*at as usize].is_open())
            .collect()
    }

    /// `store::claim`. The due time of a round that nobody leases only spares the upstream calls, so
    /// here a round may be claimed before it.
    pub(super) fn claim(&mut self, n: usize, now: i64) -> Option<(Claim, u128)> {
        let token = self.random();
        let nonce = self.random();
        let cancelling = self.standing.cancelling;
        let row = &mut self.rounds[n];
        let leased = row.lease.is_some() && row.due_at > Some(now);
        if row.due_at.is_none() || leased {
            return None;
        }
        let before = row.clone();
        row.lease = Some(token);
        row.due_at = Some(now + LEASE);
        row.attempts += 1;
        row.round.phase = row.round.phase.claimed();
        if matches!(before.round.phase, Phase::Register | Phase::Import) {
            row.intent_at = row.intent_at.or(Some(now));
        }
        match before.round.phase {
            Phase::Import => (row.nonce, row.round.resent) = (Some(nonce), false),
            Phase::Importing => row.round.resent = true,
            _ => {}
        }
        let ago = |at: Option<i64>| at.map(|at| std::time::Duration::from_secs((now - at) as u64));
        let mut claim = Claim::of(row.round.clone());
        claim.devices = row.ordinals.len() as i32;
        claim.attempts = row.attempts;
        claim.setbacks = row.setbacks;
        claim.page = row.page;
        claim.asked_ago = ago(row.asked_at);
        claim.failing_for = ago(row.failing_since);
        claim.stale = row.checked_at.is_some_and(|at| at < now - CHECK_GOOD_FOR);
        claim.cancelling = cancelling;
        claim.intent = row.intent_at.map(|at| Intent {
            signed_at: super::at(at),
            nonce: row.nonce.map(Uuid::from_u128),
            fresh: before.intent_at.is_none(),
        });
        if !self.guards.intent {
            (row.round.phase, row.intent_at) = (before.round.phase, before.intent_at);
            row.nonce = before.nonce;
        }
        Some((claim, token))
    }

    /// `store::record`. Whether it was written.
    pub(super) fn record(
        &mut self,
        n: usize,
        token: u128,
        before: Phase,
        open: &[Ordinal],
        record: Record,
        now: i64,
    ) -> bool {
        // `WHERE lease = $3`
        if self.guards.fence && self.rounds[n].lease != Some(token) {
            return false;
        }
        let moves = record.moves_the_apply();
        let record = match moves && self.standing.cancelling {
            true => record.when_cancelling(),
            false => record,
        };
        self.update_round(n, before, &record, now);
        if moves {
            match &record.change.settle {
                Settle::Nothing => {}
                Settle::Open(to) => open.iter().for_each(|at| self.settle(*at, *to)),
                Settle::Each(each) => each.iter().for_each(|(at, to, _)| self.settle(*at, *to)),
            }
            for part in &record.change.parts {
                let accepted = self.rounds[n].round.accepted;
                let first = Phase::first(self.import);
                let all = part.ordinals.clone();
                let mut row = Row::new(first, self.import, accepted, all, now);
                row.round.nameless = part.nameless;
                row.round.fruitless = part.fruitless;
                self.rounds.push(row);
            }
            self.follow(now);
        }
        true
    }

    /// `store::record::update_round`.
    fn update_round(&mut self, n: usize, before: Phase, record: &Record, now: i64) {
        let row = &mut self.rounds[n];
        let accepted = row.round.accepted;
        row.round = Round {
            accepted,
            ..record.change.round.clone()
        };
        row.attempts = record.attempts;
        row.setbacks = record.setbacks;
        row.page = record.pages.after(row.page);
        row.lease = None;
        let due_in = record.due_in.as_secs_f64().ceil() as i64;
        row.due_at = row.round.phase.lane().map(|_| now + due_in);
        if record.asked {
            row.asked_at = Some(now);
        }
        if record.passes_the_check(before) {
            row.checked_at = Some(now);
        }
        if !record.keeps_the_intent() {
            (row.intent_at, row.nonce) = (None, None);
        }
        row.failing_since = match row.attempts > 0 || row.setbacks > 0 {
            true => row.failing_since.or(Some(now)),
            false => None,
        };
    }

    /// `store::chunk::Fold::write`.
    fn settle(&mut self, at: Ordinal, to: Outcome) {
        let outcome = &mut self.outcomes[at as usize];
        if outcome.is_open() {
            self.standing.counts.shift(*outcome, to);
            *outcome = to;
        }
    }

    /// `store::follow::Locked::follow`.
    fn follow(&mut self, now: i64) {
        let mut rounds = Rounds::default();
        for Row { round, .. } in &self.rounds {
            let checks = matches!(
                round.phase,
                Phase::Check | Phase::Checking | Phase::CheckImport
            );
            let rests = matches!(round.phase, Phase::Unresolved | Phase::Ended);
            rounds.checking += i64::from(checks && !round.accepted);
            rounds.held += i64::from(round.phase == Phase::Held);
            rounds.moving += i64::from(round.accepted && !rests);
        }
        let decision = decide(&self.standing, rounds);
        if decision.release {
            self.release(now);
        }
        let news = self.standing.status != decision.status;
        self.standing.status = decision.status;
        if news && decision.status == ApplyStatus::Cancelled {
            for at in 0..self.outcomes.len() {
                if matches!(self.outcomes[at], Outcome::Pending | Outcome::Valid) {
                    self.settle(at as Ordinal, Outcome::Cancelled);
                }
            }
        }
    }

    /// `store::follow::release`.
    fn release(&mut self, now: i64) {
        for row in &mut self.rounds {
            let round = &mut row.round;
            if round.phase != Phase::Held {
                continue;
            }
            let good = (round.upstream_apply.is_some() || round.import)
                && row.checked_at.is_some_and(|at| at > now - CHECK_GOOD_FOR);
            round.accepted = true;
            round.phase = match (round.import, good) {
                (true, true) => Phase::Import,
                (true, false) => Phase::CheckImport,
                (false, true) => Phase::Register,
                (false, false) => Phase::Check,
            };
            round.upstream_apply = round.upstream_apply.filter(|_| good);
            row.due_at = Some(now);
            (row.attempts, row.setbacks, row.failing_since) = (0, 0, None);
        }
    }

    /// `store::accept`. Whether it was accepted, or sent again.
    pub(super) fn accept(&mut self, wish: Wish, now: i64) -> bool {
        match accept(&self.standing, wish) {
            Acceptance::Accept => {
                self.pack(now);
                self.release(now);
            }
            Acceptance::Retry => self.reopen_failed(now),
            Acceptance::Unchanged | Acceptance::Refuse(_) => return false,
        }
        self.standing.status = ApplyStatus::Create;
        self.follow(now);
        true
    }

    /// `store::accept::pack`: into one round, since all devices fit in it.
    fn pack(&mut self, now: i64) {
        let left = |row: &Row| {
            row.round.phase == Phase::Held && row.round.upstream_apply.is_none() && !self.import
        };
        let held: Vec<usize> = (0..self.rounds.len())
            .filter(|n| left(&self.rounds[*n]))
            .collect();
        if held.len() < 2 {
            return;
        }
        let mut all: Vec<Ordinal> = held.iter().flat_map(|n| self.open(*n)).collect();
        all.sort_unstable();
        for n in held {
            self.rounds[n].round.phase = Phase::Ended;
        }
        self.rounds
            .push(Row::new(Phase::Held, false, false, all, now));
    }

    /// `store::retry::reopen_failed`.
    fn reopen_failed(&mut self, now: i64) {
        let with = |outcomes: &[Outcome], wanted| {
            let all = (0..).zip(outcomes).filter(|(_, to)| **to == wanted);
            all.map(|(at, _)| at).collect::<Vec<Ordinal>>()
        };
        let unknown = with(&self.outcomes, Outcome::Unknown);
        for row in &mut self.rounds {
            if row.round.phase == Phase::Unresolved {
                row.round.phase = match row.round.upstream_apply {
                    None => Phase::Lookup,
                    Some(_) => Phase::Unknown,
                };
                row.ordinals.retain(|at| unknown.contains(at));
                (row.due_at, row.asked_at) = (Some(now), Some(now));
                (row.attempts, row.setbacks, row.page) = (0, 0, 0);
                (row.failing_since, row.round.fruitless) = (None, 0);
            }
        }
        let failed = with(&self.outcomes, Outcome::Failed);
        for at in &failed {
            self.outcomes[*at as usize] = Outcome::Pending;
        }
        self.standing
            .counts
            .shift_all(Outcome::Failed, Outcome::Pending);
        if !failed.is_empty() {
            let first = Phase::first(self.import);
            self.rounds
                .push(Row::new(first, self.import, true, failed, now));
        }
    }

    /// `store::cancel`.
    pub(super) fn cancel(&mut self, now: i64) {
        if !may_cancel(&self.standing) {
            return;
        }
        for row in &mut self.rounds {
            let unsent = matches!(
                row.round.phase,
                Phase::Check
                    | Phase::Checking
                    | Phase::Held
                    | Phase::Register
                    | Phase::CheckImport
                    | Phase::Import
            );
            match (unsent, row.intent_at) {
                (false, _) => {}
                (true, Some(_)) => row.round.phase = Phase::Registering,
                (true, None) => {
                    row.round.phase = Phase::Ended;
                    (row.lease, row.due_at) = (None, None);
                }
            }
        }
        self.standing.cancelling = true;
        self.follow(now);
    }
}
