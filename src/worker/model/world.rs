//! Workers, the wire and time: who acts on the rows and on the upstream, in any order.

use std::{collections::HashSet, time::Duration};

use time::OffsetDateTime;

use super::{
    calls::{Ask, Fault, Request, Said},
    guards::Guards,
    rows::Rows,
    steps::Does,
    upstream::{Maker, Manner, Upstream},
};
use crate::{
    domain::{AfterCheck, ApplyStatus, Lane, Ordinal, apply::Wish, round::Event},
    store::{Claim, Members},
    upstream::Error,
    worker::{ends::Waits, judge::Judged, pace::Pace},
};

/// A worker at one step of a round.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) n: usize,
    pub(super) token: u128,
    pub(super) lane: Lane,
    pub(super) claim: Claim,
    pub(super) members: Option<Members>,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// It has claimed its round.
    Begun,
    /// It waits for the answer to a call.
    Asked(Request),
    /// It has an answer, or has given up on it.
    Answered(Ask, Result<Said, Error>),
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: i64,
    pub(super) rows: Rows,
    pub(super) upstream: Upstream,
    pub(super) steps: Vec<Step>,
    /// Calls that may yet arrive.
    wire: Vec<Request>,
    pub(super) pace: Pace,
    pub(super) waits: Waits,
    pub(super) guards: Guards,
    /// Whether a caller has had the devices registered.
    wanted: bool,
    /// What must not happen and did.
    pub(super) wrong: Option<String>,
    /// What has happened, for who reads a counterexample.
    pub(super) log: Vec<String>,
}

impl World {
    pub(super) fn new(
        sets: &[Vec<Ordinal>],
        after_check: AfterCheck,
        import: bool,
        manner: Manner,
        guards: Guards,
    ) -> Self {
        let seconds = Duration::from_secs;
        Self {
            now: 0,
            rows: Rows::new(sets, after_check, import, guards),
            upstream: Upstream::new(manner),
            steps: Vec::new(),
            wire: Vec::new(),
            pace: Pace::default(),
            waits: Waits {
                check_timeout: seconds(1800),
                create_timeout: seconds(super::upstream::AT_IT as u64),
                reconcile_for: seconds(86400),
                block_for: seconds(3600),
                attempts: 8,
                give_up_after: seconds(900),
                give_up_when_down_after: seconds(86400),
            },
            guards,
            wanted: after_check != AfterCheck::Stop,
            wrong: None,
            log: Vec::new(),
        }
    }

    pub(super) fn says(&mut self, what: String) {
        self.log.push(format!("{:>6} {what}", self.now));
    }

    /// Some worker claims one of the rounds that can be claimed.
    pub(super) fn claim(&mut self, pick: usize) -> Option<usize> {
        let rounds = self.rows.rounds.len();
        (0..rounds).find_map(|k| self.claim_round((pick + k) % rounds))
    }

    pub(super) fn claim_round(&mut self, n: usize) -> Option<usize> {
        let lane = self.rows.rounds[n].round.phase.lane()?;
        let (claim, token) = self.rows.claim(n, self.now)?;
        let fresh = claim.intent.is_some_and(|intent| intent.fresh);
        self.says(format!(
            "claim {n} for {lane}: {:?} {:?}",
            claim.round, claim.intent
        ));
        if fresh && matches!(lane, Lane::Register | Lane::Import) && self.rows.standing.cancelling {
            self.wrong = Some("a request to register is begun after a cancel".to_owned());
        }
        self.steps.push(Step {
            n,
            token,
            lane,
            claim,
            members: None,
            stage: Stage::Begun,
        });
        Some(self.steps.len() - 1)
    }

    fn stage(&self, pick: usize, wanted: impl Fn(&Stage) -> bool) -> Option<usize> {
        let those: Vec<_> = (0..self.steps.len())
            .filter(|at| wanted(&self.steps[*at].stage))
            .collect();
        Some(those[pick.checked_rem(those.len())?])
    }

    /// A worker that has claimed a round makes its call, however late.
    pub(super) fn send(&mut self, pick: usize) -> Option<()> {
        let at = self.stage(pick, |stage| matches!(stage, Stage::Begun))?;
        match self.does(at) {
            Does::Records(judged, members) => self.record(at, judged, members, false),
            Does::Asks(request, members) => {
                self.says(format!("send {request:?}"));
                self.wire.push(request.clone());
                self.steps[at].members = members;
                self.steps[at].stage = Stage::Asked(request);
            }
        }
        Some(())
    }

    /// A worker that has claimed a round finds that it is too late to make its call.
    pub(super) fn too_late(&mut self, pick: usize) -> Option<()> {
        let at = self.stage(pick, |stage| matches!(stage, Stage::Begun))?;
        let Does::Asks(request, members) = self.does(at) else {
            return self.send(pick);
        };
        let fresh = self.steps[at].claim.intent.is_some_and(|one| one.fresh);
        let judged = match (request.ask, fresh) {
            (Ask::Register(_) | Ask::Import(_), true) => Judged::now(Event::NotRegistered),
            (Ask::Register(_), false) => Judged::now(Event::RegisterUnheard),
            _ => Judged::wait(Duration::ZERO),
        };
        self.record(at, judged, members, false);
        Some(())
    }

    /// A call arrives. `answered`: so does its answer. `again`: it may arrive once more.
    pub(super) fn deliver(
        &mut self,
        pick: usize,
        fault: Fault,
        answered: bool,
        again: bool,
    ) -> Option<()> {
        let at = pick.checked_rem(self.wire.len())?;
        let request = match again {
            true => self.wire[at].clone(),
            false => self.wire.remove(at),
        };
        let registers = matches!(request.ask, Ask::Register(_) | Ask::Import(_));
        if registers && self.upstream.takes(&request, self.now) {
            let cancelled = self.rows.standing.status == ApplyStatus::Cancelled;
            if cancelled || !self.wanted {
                self.wrong = Some(format!("{:?} arrives, cancelled: {cancelled}", request.ask));
            }
        }
        let reply = self.upstream.answer(&request, fault, self.now);
        self.says(format!(
            "answer {:?} with {fault:?}: {reply:?}",
            request.ask
        ));
        let waits = |step: &&mut Step| matches!(&step.stage, Stage::Asked(asked) if asked.nonce == request.nonce);
        if answered && let Some(step) = self.steps.iter_mut().rev().find(waits) {
            step.stage = Stage::Answered(request.ask, reply);
        }
        Some(())
    }

    /// A call gets lost.
    pub(super) fn lose(&mut self, pick: usize) -> Option<()> {
        let at = pick.checked_rem(self.wire.len())?;
        self.wire.remove(at);
        Some(())
    }

    /// A worker waits no longer for an answer.
    pub(super) fn give_up(&mut self, pick: usize) -> Option<()> {
        let at = self.stage(pick, |stage| matches!(stage, Stage::Asked(_)))?;
        let step = &mut self.steps[at];
        let Stage::Asked(request) = &step.stage else {
            return None;
        };
        let lost = Err(Error::unclear("no answer", None));
        step.stage = Stage::Answered(request.ask.clone(), lost);
        Some(())
    }

    /// A worker judges its answer and records what it learnt.
    pub(super) fn read(&mut self, pick: usize) -> Option<()> {
        let at = self.stage(pick, |stage| matches!(stage, Stage::Answered(..)))?;
        let Stage::Answered(ask, said) = std::mem::replace(&mut self.steps[at].stage, Stage::Begun)
        else {
            return None;
        };
        let (judged, members) = self.judge(at, &ask, said);
        self.record(at, judged, members, true);
        Some(())
    }

    /// A worker dies.
    pub(super) fn die(&mut self, pick: usize) -> Option<()> {
        let at = pick.checked_rem(self.steps.len())?;
        let step = self.steps.remove(at);
        self.says(format!("the worker at {} dies", step.n));
        Some(())
    }

    /// A whole step without a fault.
    pub(super) fn whole_step(&mut self, at: usize) {
        let token = self.steps[at].token;
        if let Does::Records(judged, members) = self.does(at) {
            return self.record(at, judged, members, false);
        }
        let begun = |stage: &Stage| matches!(stage, Stage::Begun);
        let pick = self.steps[..at]
            .iter()
            .filter(|step| begun(&step.stage))
            .count();
        self.send(pick);
        self.deliver(self.wire.len() - 1, Fault::None, true, false);
        let answered = |step: &&Step| matches!(step.stage, Stage::Answered(..));
        let pick = self
            .steps
            .iter()
            .filter(answered)
            .position(|step| step.token == token);
        self.read(pick.expect("its answer has come"));
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.now += seconds;
        self.upstream.is_late(self.now);
    }

    pub(super) fn accept(&mut self, wish: Wish) {
        let accepted = self.rows.accept(wish, self.now);
        self.wanted |= accepted;
        self.says(format!("accept {wish:?}: {accepted}"));
    }

    pub(super) fn cancel(&mut self) {
        self.rows.cancel(self.now);
        self.says("cancel".to_owned());
    }

    pub(super) fn strike(&mut self, at: Ordinal) {
        self.upstream.exists.entry(at).or_insert(Maker::Stranger);
    }

    /// The workers that are at it die, and their calls get lost.
    pub(super) fn calm(&mut self) {
        self.steps.clear();
        self.wire.clear();
    }

    /// Of a device how many requests or upstream applies may yet create it: none if it is another's.
    pub(super) fn may_create(&self, at: Ordinal) -> usize {
        if self.upstream.exists.get(&at) == Some(&Maker::Stranger) {
            return 0;
        }
        let creates = self.upstream.jobs.iter().filter(|job| {
            job.phase == crate::upstream::Phase::Create && job.names[job.tried..].contains(&at)
        });
        let unsent = self.steps.iter().filter_map(|step| {
            let begun = matches!(step.stage, Stage::Begun);
            let intent = step.claim.intent.filter(|_| begun)?;
            let signed_at = intent.signed_at.unix_timestamp();
            let ask = match (step.lane, step.claim.round.upstream_apply) {
                (Lane::Register, Some(id)) => Ask::Register(id),
                (Lane::Import, _) => Ask::Import(self.rows.open(step.n)),
                _ => return None,
            };
            let nonce = intent.nonce.map_or(0, |nonce| nonce.as_u128());
            let signed = Request {
                ask,
                signed_at,
                nonce,
            };
            Some(signed)
        });
        let requested: HashSet<(Option<i64>, u128)> = self
            .wire
            .iter()
            .cloned()
            .chain(unsent)
            .filter(|request| self.upstream.takes(request, self.now))
            .filter_map(|request| match request.ask {
                Ask::Register(id) => {
                    let names = &self.upstream.jobs[id as usize - 1].names;
                    let may = names.contains(&at) && self.upstream.can_register(id);
                    may.then_some((Some(id), 0))
                }
                Ask::Import(names) => names.contains(&at).then_some((None, request.nonce)),
                _ => None,
            })
            .collect();
        creates.count() + requested.len()
    }
}

/// A time of the model.
pub(super) fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)
}
