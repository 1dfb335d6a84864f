//! A pretend upstream: what it was asked, what it made of it, and what it says. It is the truth that
//! the rounds are held to, and much simpler than they are.

use std::collections::{BTreeMap, HashSet};

use super::calls::{Ask, Fault, Request, Said};
use crate::{
    domain::{DeviceSecret, Ordinal},
    upstream::{
        Checked, CheckedImport, Error, Found, Imported, ImportedDevice, Kind, Page, Phase, Refused,
        Registered, Status,
    },
};

/// How long it accepts a signed request, in seconds.
pub(super) const WINDOW: i64 = 900;

/// How long it takes over an import at most.
pub(super) const AT_IT: i64 = 3600;

/// What is peculiar to the upstream of one case. Masks have a bit for each device.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    /// Exist beforehand, by somebody else.
    pub(super) foreign: u8,
    /// Do not pass the check.
    pub(super) bad_at_check: u8,
    /// Pass the check and cannot be created.
    pub(super) bad_at_create: u8,
    /// Are silently left out by the first upstream apply that has them with others; those that cannot
    /// be created, by every one.
    pub(super) left_out: u8,
    /// Failures name nobody.
    pub(super) nameless: bool,
    /// What can be refused is refused at once, not later by a status.
    pub(super) at_once: bool,
    /// Imports have a status.
    pub(super) import_status: bool,
}

fn has(mask: u8, at: Ordinal) -> bool {
    mask & (1 << at) != 0
}

/// Who made a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    Us,
    Stranger,
}

/// An upstream apply.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) names: Vec<Ordinal>,
    pub(super) import: bool,
    pub(super) phase: Phase,
    /// How many of its names it has tried to create.
    pub(super) tried: usize,
    created: Vec<Ordinal>,
    refused: Vec<(Ordinal, Kind)>,
    /// Since when it creates.
    since: i64,
    forgotten: bool,
}

#[derive(Debug)]
pub(super) struct Upstream {
    manner: Manner,
    pub(super) jobs: Vec<Job>,
    pub(super) exists: BTreeMap<Ordinal, Maker>,
    nonces: HashSet<u128>,
    left_out: HashSet<Ordinal>,
    /// Devices that we made it try to create although we had them created.
    pub(super) twice: Vec<Ordinal>,
}

impl Upstream {
    pub(super) fn new(manner: Manner) -> Self {
        let foreign = (0..8).filter(|at| has(manner.foreign, *at));
        Self {
            exists: foreign.map(|at| (at, Maker::Stranger)).collect(),
            manner,
            jobs: Vec::new(),
            nonces: HashSet::new(),
            left_out: HashSet::new(),
            twice: Vec::new(),
        }
    }

    /// Whether this very request could still be carried out.
    pub(super) fn takes(&self, request: &Request, now: i64) -> bool {
        now <= request.signed_at + WINDOW && !self.nonces.contains(&request.nonce)
    }

    /// Whether we had a device created.
    pub(super) fn is_ours(&self, at: Ordinal) -> bool {
        self.exists.get(&at) == Some(&Maker::Us)
    }

    pub(super) fn answer(
        &mut self,
        request: &Request,
        fault: Fault,
        now: i64,
    ) -> Result<Said, Error> {
        if now > request.signed_at + WINDOW {
            return Err(code("InvalidTimeStamp.Expired"));
        }
        if !self.nonces.insert(request.nonce) {
            return Err(code("SignatureNonceUsed"));
        }
        match fault {
            Fault::Throttled => Err(code("Throttling.User")),
            Fault::Denied => Err(code("Forbidden.RAM")),
            Fault::BreaksBefore => Err(code("InternalError")),
            Fault::BreaksAfter => {
                self.obey(&request.ask, now).ok();
                Err(code("InternalError"))
            }
            Fault::None => self.obey(&request.ask, now),
        }
    }

    fn obey(&mut self, ask: &Ask, now: i64) -> Result<Said, Error> {
        match ask {
            Ask::Check(names) => {
                let bad = |at: &&Ordinal| has(self.manner.bad_at_check, **at);
                let bad: Vec<_> = names.iter().filter(bad).copied().collect();
                if self.manner.at_once && !bad.is_empty() {
                    let all = bad.into_iter().map(|at| (at, Kind::Name)).collect();
                    return Err(self.refusal("iot.device.InvalidDeviceNameExisted", all));
                }
                Ok(self.take(names, Phase::Check, now))
            }
            Ask::Status(id) => {
                let job = self.job(*id)?.clone();
                if job.import && !self.manner.import_status {
                    return Err(code(NOT_FOUND));
                }
                let tells = matches!(job.phase, Phase::CheckFailed | Phase::CreateFailed)
                    && !self.manner.nameless;
                let fine = match job.phase {
                    Phase::CreateFailed => job.created.clone(),
                    _ => {
                        let no: HashSet<_> = job.refused.iter().map(|(at, _)| *at).collect();
                        let fine = job.names.iter().filter(|at| !no.contains(*at));
                        fine.copied().collect()
                    }
                };
                Ok(Said::Status(Status {
                    valid: fine.into_iter().filter(|_| tells).map(name).collect(),
                    invalid: if tells {
                        named(&job.refused)
                    } else {
                        Vec::new()
                    },
                    phase: job.phase,
                }))
            }
            Ask::Register(id) => {
                let job = self.job(*id)?;
                match job.phase {
                    Phase::CheckSuccess => {
                        (job.phase, job.since) = (Phase::Create, now);
                        Ok(Said::Registered(Registered { apply_id: None }))
                    }
                    Phase::Create => Err(code("iot.device.CreateDeviceTaskIsRunning")),
                    _ => Err(code("iot.device.IncorrentDeviceApplyInfo")),
                }
            }
            Ask::Page(id) => {
                let names: Vec<_> = self.job(*id)?.created.iter().copied().map(name).collect();
                Ok(Said::Page(Page {
                    total: names.len() as u64,
                    names,
                    page_count: Some(1),
                }))
            }
            Ask::CheckImport(names) => match self.would_refuse(names, self.manner.bad_at_check) {
                bad if bad.is_empty() => {
                    let refused = Vec::new();
                    Ok(Said::CheckedImport(CheckedImport { refused }))
                }
                bad => Err(self.refusal(BAD_IMPORT, bad)),
            },
            Ask::Import(names) => {
                let bad = self.manner.bad_at_create | self.manner.bad_at_check;
                let bad = self.would_refuse(names, bad);
                if self.manner.at_once && !bad.is_empty() {
                    return Err(self.refusal(BAD_IMPORT, bad));
                }
                let said = self.take(names, Phase::Create, now);
                self.jobs.last_mut().expect("it was just taken").import = true;
                Ok(said)
            }
            Ask::Imported(id) => {
                let devices = self.job(*id)?.created.iter().map(|at| ImportedDevice {
                    name: name(*at),
                    secret: None,
                    sn: None,
                });
                Ok(Said::Imported(Imported {
                    devices: devices.collect(),
                    total_pages: 1,
                }))
            }
            Ask::LookUp(names) => {
                let there = names.iter().filter_map(|at| {
                    let maker = self.exists.get(at)?;
                    Some(Found {
                        name: name(*at),
                        secret: Some(secret(*maker)),
                        iot_id: None,
                        created_at: None,
                    })
                });
                Ok(Said::Found(there.collect()))
            }
        }
    }

    fn take(&mut self, names: &[Ordinal], phase: Phase, now: i64) -> Said {
        let once = self.manner.left_out;
        let always = once & self.manner.bad_at_create;
        let left_out = &mut self.left_out;
        let names: Vec<_> = names
            .iter()
            .copied()
            .filter(|at| !has(always, *at))
            .filter(|at| names.len() == 1 || !has(once, *at) || !left_out.insert(*at))
            .collect();
        self.jobs.push(Job {
            names,
            import: false,
            phase,
            tried: 0,
            created: Vec::new(),
            refused: Vec::new(),
            since: now,
            forgotten: false,
        });
        let apply_id = self.jobs.len() as i64;
        Said::Checked(Checked { apply_id })
    }

    fn job(&mut self, id: i64) -> Result<&mut Job, Error> {
        let job = self.jobs.get_mut(id as usize - 1);
        job.filter(|job| !job.forgotten)
            .ok_or_else(|| code(NOT_FOUND))
    }

    fn would_refuse(&self, names: &[Ordinal], bad: u8) -> Vec<(Ordinal, Kind)> {
        let refused = names.iter().filter_map(|at| match has(bad, *at) {
            true => Some((*at, Kind::Other)),
            false => self.exists.contains_key(at).then_some((*at, Kind::Exists)),
        });
        refused.collect()
    }

    fn refusal(&self, code: &str, refused: Vec<(Ordinal, Kind)>) -> Error {
        let refused = match self.manner.nameless {
            true => Vec::new(),
            false => named(&refused),
        };
        Error::refused(200, Some(code.to_owned()), None, refused)
    }

    /// Does a bit of what it is at.
    pub(super) fn work(&mut self, id: usize) {
        let job = &mut self.jobs[id];
        match job.phase {
            Phase::Check => {
                for at in &job.names {
                    if self.exists.contains_key(at) {
                        job.refused.push((*at, Kind::Exists));
                    } else if has(self.manner.bad_at_check, *at) {
                        job.refused.push((*at, Kind::Name));
                    }
                }
                job.phase = match job.refused.is_empty() {
                    true => Phase::CheckSuccess,
                    false => Phase::CheckFailed,
                };
            }
            Phase::Create => match job.names.get(job.tried).copied() {
                Some(at) => {
                    job.tried += 1;
                    let bad = self.manner.bad_at_create | self.manner.bad_at_check;
                    if let Some(maker) = self.exists.get(&at) {
                        job.refused.push((at, Kind::Exists));
                        self.twice.extend((*maker == Maker::Us).then_some(at));
                    } else if has(bad, at) {
                        job.refused.push((at, Kind::Other));
                    } else {
                        job.created.push(at);
                        self.exists.insert(at, Maker::Us);
                    }
                }
                None => {
                    job.phase = match job.refused.is_empty() {
                        true => Phase::CreateSuccess,
                        false => Phase::CreateFailed,
                    }
                }
            },
            _ => {}
        }
    }

    /// Finishes the imports that it may be at no longer.
    pub(super) fn is_late(&mut self, now: i64) {
        for id in 0..self.jobs.len() {
            while {
                let job = &self.jobs[id];
                job.import && job.phase == Phase::Create && now >= job.since + AT_IT
            } {
                self.work(id);
            }
        }
    }

    /// Forgets an upstream apply, unless it was asked to create: nothing may be asked of one for ever,
    /// and a creation whose answer was lost could never be found out about.
    pub(super) fn forget(&mut self, id: usize) {
        let job = &mut self.jobs[id];
        job.forgotten |= matches!(
            job.phase,
            Phase::Check | Phase::CheckSuccess | Phase::CheckFailed
        );
    }

    /// Whether it can be asked to create an upstream apply.
    pub(super) fn can_register(&self, id: i64) -> bool {
        let job = &self.jobs[id as usize - 1];
        !job.forgotten && matches!(job.phase, Phase::Check | Phase::CheckSuccess)
    }
}

const BAD_IMPORT: &str = "iot.device.InvalidDeviceParams";
const NOT_FOUND: &str = "iot.device.DeviceApplyIsNotFound";

fn code(code: &str) -> Error {
    let status = if code == "InternalError" { 500 } else { 200 };
    Error::refused(status, Some(code.to_owned()), None, Vec::new())
}

fn named(refused: &[(Ordinal, Kind)]) -> Vec<Refused> {
    let refused = refused.iter().map(|(at, kind)| Refused {
        name: name(*at),
        text: None,
        kind: *kind,
    });
    refused.collect()
}

pub(super) fn name(at: Ordinal) -> String {
    format!("d{at}")
}

pub(super) fn secret(maker: Maker) -> DeviceSecret {
    DeviceSecret::new(format!("{maker:?}"))
}
