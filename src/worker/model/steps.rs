//! What a worker does at each of its actions: the bodies of `Worker::step` without their I/O.

use std::time::Duration;

use futures_util::FutureExt as _;

use super::{
    calls::{Ask, Request, Said},
    upstream::{Maker, WINDOW, name, secret},
    world::{Step, World},
};
use crate::{
    domain::{Lane, Phase, round::Event},
    store::{CallMade, Members},
    upstream::{Answer, Error},
    worker::{
        brought,
        ends::Came,
        follows,
        judge::{self, Judged, Next},
        lookup::{self, Ours},
        result,
        step::{learnt, nothing_left},
    },
};

/// What a worker does with its claim.
pub(super) enum Does {
    Asks(Request, Option<Members>),
    Records(Judged, Option<Members>),
}

impl World {
    fn window(&self) -> Duration {
        match self.guards.window {
            true => Duration::from_secs(WINDOW as u64),
            false => Duration::ZERO,
        }
    }

    fn members(&self, n: usize) -> Members {
        let ordinals = self.rows.open(n);
        Members {
            names: ordinals.iter().copied().map(name).collect(),
            ordinals,
            ..Members::default()
        }
    }

    /// What `Worker::step` and the steps of imports do before they send.
    pub(super) fn does(&mut self, at: usize) -> Does {
        let Step {
            n, lane, ref claim, ..
        } = self.steps[at];
        let claim = claim.clone();
        let members = self.members(n);
        let id = claim.round.upstream_apply.unwrap_or_default();
        let now = super::at(self.now);
        let signed = |signed_at, nonce, ask| Request {
            ask,
            signed_at,
            nonce,
        };
        let nonce = self.rows.random();
        let asks = |ask| Does::Asks(signed(self.now, nonce, ask), None);
        let give_back = || Does::Records(Judged::wait(Duration::ZERO), None);
        let names = members.ordinals.clone();
        let needs_devices = matches!(
            claim.round.phase,
            Phase::Check | Phase::CheckImport | Phase::Lookup
        );
        if needs_devices && names.is_empty() {
            return Does::Records(nothing_left(), Some(members));
        }
        match (claim.round.phase, claim.intent) {
            (Phase::Check, _) => {
                Does::Asks(signed(self.now, nonce, Ask::Check(names)), Some(members))
            }
            (Phase::CheckImport, _) => Does::Asks(
                signed(self.now, nonce, Ask::CheckImport(names)),
                Some(members),
            ),
            (Phase::Lookup, _) => {
                Does::Asks(signed(self.now, nonce, Ask::LookUp(names)), Some(members))
            }
            (Phase::Registering, Some(intent)) if lane == Lane::Register => {
                if intent.fresh && claim.stale {
                    return Does::Records(Judged::now(Event::Stale), None);
                }
                if !intent.fresh && !judge::may_be_sent_again(now, &intent, self.window()) {
                    return give_back();
                }
                let signed_at = intent.signed_at.unix_timestamp();
                Does::Asks(signed(signed_at, nonce, Ask::Register(id)), None)
            }
            (Phase::Importing, Some(intent)) => {
                if intent.fresh && claim.stale {
                    return Does::Records(Judged::now(Event::Stale), None);
                }
                let in_time = judge::may_be_sent_again(now, &intent, self.window());
                if !intent.fresh && (claim.cancelling || !in_time) {
                    return Does::Records(Judged::now(brought::lost()), None);
                }
                if names.is_empty() {
                    return Does::Records(nothing_left(), Some(members));
                }
                let (signed_at, nonce) = match (self.guards.same_request, intent.nonce) {
                    (true, Some(nonce)) => (intent.signed_at.unix_timestamp(), nonce.as_u128()),
                    _ => (self.now, nonce),
                };
                Does::Asks(signed(signed_at, nonce, Ask::Import(names)), Some(members))
            }
            (Phase::Checking | Phase::Registering | Phase::Creating | Phase::Unknown, _) => {
                asks(Ask::Status(id))
            }
            (Phase::Counting | Phase::Listing, _) => asks(Ask::Page(id)),
            (Phase::Imported | Phase::ListImported, _) => asks(Ask::Imported(id)),
            (
                Phase::Held
                | Phase::Register
                | Phase::Import
                | Phase::Importing
                | Phase::Unresolved
                | Phase::Ended,
                _,
            ) => give_back(),
        }
    }

    /// What `Worker::step` and the steps of imports do with an answer.
    pub(super) fn judge(
        &mut self,
        at: usize,
        ask: &Ask,
        said: Result<Said, Error>,
    ) -> (Judged, Option<Members>) {
        macro_rules! answer {
            ($kind:ident) => {
                self.answer(said, |said| match said {
                    Said::$kind(said) => said,
                    other => panic!("{other:?} is no answer to {ask:?}"),
                })
            };
        }
        let Step {
            n, lane, ref claim, ..
        } = self.steps[at];
        let claim = claim.clone();
        let then = self.steps[at].members.take();
        let members = then.unwrap_or_else(|| self.members(n));
        let fresh = claim.intent.is_some_and(|intent| intent.fresh);
        let window = self.window();
        let waits = self.waits.clone();
        let end = |judged: Judged, error: Option<&Error>| {
            let came = Came {
                lane,
                claim: &claim,
                error,
                now: super::at(self.now),
            };
            let ended = waits.end_given(async |_| Ok(true), came, judged);
            ended
                .now_or_never()
                .expect("nothing is waited for")
                .expect("nothing fails")
        };
        let judged = match ask {
            Ask::Check(_) => {
                let answer = answer!(Checked);
                end(
                    judge::check(&answer, &members, claim.attempts),
                    answer.outcome.as_ref().err(),
                )
            }
            Ask::Status(_) => {
                let answer = answer!(Status);
                let judged = judge::status(&answer, &claim, Some(&members), window);
                end(judged, answer.outcome.as_ref().err())
            }
            Ask::Register(_) => {
                let answer = answer!(Registered);
                end(
                    judge::register(&answer, &claim, fresh),
                    answer.outcome.as_ref().err(),
                )
            }
            Ask::Page(_) => {
                let answer = answer!(Page);
                let judged = match claim.round.phase {
                    Phase::Counting => result::count(&answer, &claim, members.ordinals.len()),
                    _ => result::list(&answer, &claim, Some((&members, &[]))),
                };
                end(judged, answer.outcome.as_ref().err())
            }
            Ask::CheckImport(_) => {
                let answer = answer!(CheckedImport);
                end(
                    brought::check(&answer, &members, claim.attempts),
                    answer.outcome.as_ref().err(),
                )
            }
            Ask::Import(_) => {
                let answer = answer!(Checked);
                let judged = brought::import(&answer, &claim, &members, fresh);
                end(judged, answer.outcome.as_ref().err())
            }
            Ask::Imported(_) => {
                let answer = answer!(Imported);
                let judged = match claim.round.phase {
                    Phase::ListImported => brought::list(&answer, &claim, &members, &[]),
                    _ => brought::count(&answer, &claim, members.ordinals.len()),
                };
                end(judged, answer.outcome.as_ref().err())
            }
            Ask::LookUp(_) => {
                let answer = answer!(Found);
                let ours = Ours::Secrets(vec![secret(Maker::Us); members.names.len()]);
                let proven_at = claim
                    .intent
                    .map(|intent| intent.signed_at + window + self.waits.create_timeout);
                let found = lookup::found(&answer, &claim, &members, &ours, proven_at);
                let judged =
                    lookup::looked_up(&answer, &claim, &members, Vec::new(), found, proven_at);
                end(judged, answer.outcome.as_ref().err())
            }
        };
        (judged, Some(members))
    }

    fn answer<T>(&self, said: Result<Said, Error>, it: impl FnOnce(Said) -> T) -> Answer<T> {
        Answer {
            outcome: said.map(it),
            request_id: None,
            http_status: None,
            took: Duration::ZERO,
            at: super::at(self.now),
            skew: None,
        }
    }

    /// What `Worker::record` does.
    pub(super) fn record(
        &mut self,
        at: usize,
        judged: Judged,
        members: Option<Members>,
        called: bool,
    ) {
        let Step {
            n,
            token,
            lane,
            claim,
            ..
        } = self.steps.remove(at);
        let event = match &judged.next {
            Next::Wait => None,
            Next::Event(event) => Some(event.clone()),
        };
        let members = match (&event, members) {
            (_, Some(members)) => members,
            (Some(event), None) if follows::settles(claim.round.phase, event) => self.members(n),
            _ => Members::default(),
        };
        let call = called.then(|| CallMade {
            lane,
            upstream_apply: None,
            took: Duration::ZERO,
            result: String::new(),
            message: None,
            request_id: None,
            scope: None,
            judged: true,
        });
        let open = &members.ordinals;
        let record = match learnt(&claim, judged, open, &self.pace, call) {
            Ok(record) => record,
            // It cannot have come of an answer.
            Err(illegal) => {
                self.wrong = Some(illegal.to_string());
                return;
            }
        };
        let before = claim.round.phase;
        let now = self.now;
        let written = self.rows.record(n, token, before, open, record, now);
        self.says({
            let row = &self.rows.rounds[n];
            format!(
                "record {n}: {event:?}, {written}: {:?} {:?}",
                row.round, row.intent_at
            )
        });
    }
}
