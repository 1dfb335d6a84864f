//! What the rows of an apply are to be, worked out by the rules of the domain alone.

use registrar::domain::{
    AfterCheck, ApplyId, ApplyStatus, CHUNK, Counts, Ordinal, Outcome, Phase, Round,
    apply::{Acceptance, Rounds, Standing, Wish, accept, decide, may_cancel},
    round::{Change, Settle},
};

/// A round, as far as a claim or a record changes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) round: Round,
    pub(super) ordinals: Vec<Ordinal>,
    /// Which of the claims so far has it.
    pub(super) leased_by: Option<usize>,
    /// Whether its time has come, or its lease has run out.
    pub(super) due: bool,
    pub(super) intent: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) id: ApplyId,
    pub(super) standing: Standing,
    pub(super) revision: i64,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) rounds: Vec<Row>,
    import: bool,
}

impl Expected {
    pub(super) fn new(id: ApplyId, devices: usize, after_check: AfterCheck, import: bool) -> Self {
        let mut new = Self {
            id,
            standing: Standing {
                status: ApplyStatus::Check,
                after_check,
                sealed: true,
                cancelling: false,
                counts: Counts::pending(devices as i32),
            },
            revision: 1,
            outcomes: vec![Outcome::Pending; devices],
            rounds: Vec::new(),
            import,
        };
        new.add(
            Phase::first(import),
            false,
            (0..devices as i32).collect(),
            (0, 0),
        );
        new
    }

    fn add(
        &mut self,
        phase: Phase,
        accepted: bool,
        ordinals: Vec<Ordinal>,
        (nameless, fruitless): (i16, i16),
    ) {
        self.rounds.push(Row {
            round: Round {
                phase,
                import: self.import,
                resent: false,
                restored: false,
                accepted,
                upstream_apply: None,
                nameless,
                fruitless,
            },
            ordinals,
            leased_by: None,
            due: true,
            intent: false,
        });
    }

    pub(super) fn open(&self, n: usize) -> Vec<Ordinal> {
        let all = self.rounds[n].ordinals.iter().copied();
        all.filter(|at| self.outcomes[*at as usize].is_open())
            .collect()
    }

    /// Claim number `by` takes a round.
    pub(super) fn claimed(&mut self, n: usize, by: usize) {
        let row = &mut self.rounds[n];
        (row.leased_by, row.due) = (Some(by), false);
        match row.round.phase {
            Phase::Register => row.intent = true,
            Phase::Import => (row.intent, row.round.resent) = (true, false),
            Phase::Importing => row.round.resent = true,
            _ => {}
        }
        row.round.phase = row.round.phase.claimed();
    }

    /// A step is recorded whose lease is its own.
    pub(super) fn recorded(&mut self, n: usize, change: Change, intent_open: bool, due: bool) {
        let change = match self.standing.cancelling {
            true => change.when_cancelling(intent_open),
            false => change,
        };
        let open = self.open(n);
        let row = &mut self.rounds[n];
        let accepted = row.round.accepted;
        row.round = Round {
            accepted,
            ..change.round
        };
        (row.leased_by, row.due) = (None, due);
        let phase = row.round.phase;
        let asks = matches!(
            phase,
            Phase::Register | Phase::Registering | Phase::Unknown | Phase::Unresolved
        );
        let imports = matches!(
            phase,
            Phase::Importing
                | Phase::Creating
                | Phase::Imported
                | Phase::ListImported
                | Phase::Lookup
        );
        row.intent &= intent_open && (asks || imports && self.import);
        let before = self.outcomes.clone();
        match change.settle {
            Settle::Nothing => {}
            Settle::Open(to) => open.iter().for_each(|at| self.settle(*at, to)),
            Settle::Each(each) => each.iter().for_each(|(at, to, _)| self.settle(*at, *to)),
        }
        for part in change.parts {
            let first = Phase::first(self.import);
            let counters = (part.nameless, part.fruitless);
            self.add(first, accepted, part.ordinals, counters);
        }
        let changed = before != self.outcomes;
        self.follow(changed);
    }

    fn settle(&mut self, at: Ordinal, to: Outcome) {
        let outcome = &mut self.outcomes[at as usize];
        if outcome.is_open() {
            self.standing.counts.shift(*outcome, to);
            *outcome = to;
        }
    }

    fn follow(&mut self, mut changed: bool) {
        let mut rounds = Rounds::default();
        for Row { round, .. } in &self.rounds {
            match (round.phase, round.accepted) {
                (Phase::Held, _) => rounds.held += 1,
                (Phase::Unresolved | Phase::Ended, _) => {}
                (_, true) => rounds.moving += 1,
                (_, false) => rounds.checking += 1,
            }
        }
        let decision = decide(&self.standing, rounds);
        if decision.release {
            self.release();
        }
        if decision.status != self.standing.status {
            changed = true;
            self.standing.status = decision.status;
            if decision.status == ApplyStatus::Cancelled {
                for at in 0..self.outcomes.len() {
                    if self.outcomes[at] != Outcome::Unknown {
                        self.settle(at as Ordinal, Outcome::Cancelled);
                    }
                }
            }
        }
        self.revision += i64::from(changed);
    }

    /// Checks are never old in these tests.
    fn release(&mut self) {
        for row in &mut self.rounds {
            if row.round.phase == Phase::Held {
                row.round.accepted = true;
                row.due = true;
                row.round.phase = match (self.import, row.round.upstream_apply) {
                    (true, _) => Phase::Import,
                    (false, Some(_)) => Phase::Register,
                    (false, None) => Phase::Check,
                };
            }
        }
    }

    /// Whether a caller is told that it is accepted, or that it was.
    pub(super) fn accepted(&mut self, wish: Wish) -> bool {
        match accept(&self.standing, wish) {
            Acceptance::Refuse(_) => return false,
            Acceptance::Unchanged => return true,
            Acceptance::Accept => {
                self.pack();
                self.release();
            }
            Acceptance::Retry => self.reopen(),
        }
        self.standing.status = ApplyStatus::Create;
        self.follow(true);
        true
    }

    fn pack(&mut self) {
        let held = |row: &Row| row.round.phase == Phase::Held && row.round.upstream_apply.is_none();
        let held: Vec<usize> = (0..self.rounds.len())
            .filter(|n| held(&self.rounds[*n]) && !self.import)
            .collect();
        let mut all: Vec<Ordinal> = held.iter().flat_map(|n| self.open(*n)).collect();
        if all.len().div_ceil(CHUNK) < held.len() {
            all.sort_unstable();
            held.iter()
                .for_each(|n| self.rounds[*n].round.phase = Phase::Ended);
            self.add(Phase::Held, false, all, (0, 0));
        }
    }

    fn reopen(&mut self) {
        for n in 0..self.rounds.len() {
            if self.rounds[n].round.phase == Phase::Unresolved {
                let open = self.open(n);
                let row = &mut self.rounds[n];
                row.ordinals = open;
                row.round.fruitless = 0;
                row.due = true;
                row.round.phase = match row.round.upstream_apply {
                    Some(_) => Phase::Unknown,
                    None => Phase::Lookup,
                };
            }
        }
        let failed: Vec<Ordinal> = (0..)
            .zip(&self.outcomes)
            .filter(|(_, outcome)| **outcome == Outcome::Failed)
            .map(|(at, _)| at)
            .collect();
        for at in &failed {
            self.outcomes[*at as usize] = Outcome::Pending;
        }
        self.standing
            .counts
            .shift_all(Outcome::Failed, Outcome::Pending);
        if !failed.is_empty() {
            self.add(Phase::first(self.import), true, failed, (0, 0));
        }
    }

    pub(super) fn cancelled(&mut self) {
        if !may_cancel(&self.standing) {
            return;
        }
        for row in &mut self.rounds {
            let is_unsent = matches!(
                row.round.phase,
                Phase::Check
                    | Phase::Checking
                    | Phase::Held
                    | Phase::Register
                    | Phase::CheckImport
                    | Phase::Import
            );
            match (is_unsent, row.intent) {
                (false, _) => {}
                (true, true) => row.round.phase = Phase::Registering,
                (true, false) => (row.round.phase, row.leased_by) = (Phase::Ended, None),
            }
        }
        self.standing.cancelling = true;
        self.follow(true);
    }
}
