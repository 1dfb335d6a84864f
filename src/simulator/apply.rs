//! An apply: devices that were asked for together, and what became of them.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::product::Product;

/// The upstream's text for this is not published.
const FAILED: &str = "The device could not be created.";

/// What was asked for together, under one ApplyId.
#[derive(Debug)]
pub(super) struct Apply {
    pub(super) product: Product,
    pub(super) phase: Phase,
    /// The well-formed names, each once, in the order of the request.
    pub(super) names: Box<[Arc<str>]>,
    /// By position in `names`.
    pub(super) nicknames: HashMap<u32, Box<str>>,
    pub(super) malformed: Box<[Malformed]>,
    /// The names that could not be had, by position: at the check, then at the creation.
    pub(super) misses: Vec<Miss>,
    /// The check failed, or will, and does not say why.
    pub(super) nameless: bool,
    /// What an import brought, by position in `names`.
    pub(super) brought: Option<Box<[Brought]>>,
    /// When the call came that gave the ApplyId, in microseconds since the epoch.
    pub(super) asked_at: u64,
    /// When the check or the creation began, and when it is ready, likewise.
    pub(super) spell: (u64, u64),
    /// Until when names that pass the check are kept for this apply, likewise.
    pub(super) reserved_until: Option<u64>,
    /// Positions of the devices that were deleted since.
    pub(super) deleted: BTreeSet<u32>,
}

/// What a device of an import brings beside its name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Brought {
    pub(super) secret: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sn: Option<Box<str>>,
}

/// A name that could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Miss {
    pub(super) position: u32,
    pub(super) why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Exists,
    /// A fault had it fail.
    Failed,
}

/// What faults do to a check or a creation, decided when it begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fate {
    /// The check fails and does not say why.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) nameless: bool,
    /// It does not end until it is let go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) stuck: bool,
    /// Positions of the names that are not created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) failed: Vec<u32>,
    /// Until when names that pass this check are kept for its apply; None: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reserved_until: Option<u64>,
    /// If any device fails, none is created.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) undone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Check,
    CheckSuccess,
    CheckFailed,
    Create,
    CreateSuccess,
    CreateFailed,
}

/// A device of a check that breaks a rule by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Malformed {
    pub(super) name: Box<str>,
    pub(super) nickname: Option<Box<str>>,
    pub(super) message: String,
}

/// What an apply starts from.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) product: Product,
    pub(super) names: Box<[Arc<str>]>,
    pub(super) nicknames: HashMap<u32, Box<str>>,
    pub(super) malformed: Box<[Malformed]>,
    pub(super) brought: Option<Box<[Brought]>>,
}

/// One entry of an InvalidDetailList.
#[derive(Debug)]
pub(super) struct Complaint<'a> {
    pub(super) name: &'a str,
    pub(super) nickname: Option<&'a str>,
    pub(super) message: &'a str,
}

impl Apply {
    /// The names without a complaint with their positions, in the order of the request.
    pub(super) fn valid(&self) -> impl Iterator<Item = (u32, &Arc<str>)> {
        let mut misses = self.misses.iter().peekable();
        (0..).zip(&self.names).filter(move |(position, _)| {
            let missed = misses.next_if(|miss| miss.position == *position);
            missed.is_none()
        })
    }

    /// The names that are devices because of this apply; none before the creation is done.
    pub(super) fn created(&self) -> impl Iterator<Item = (u32, &Arc<str>)> {
        let count = if self.is_created() { usize::MAX } else { 0 };
        let stands = |(position, _): &(u32, _)| !self.deleted.contains(position);
        self.valid().take(count).filter(stands)
    }

    /// The secret that the device at a position brought, if it was imported.
    pub(super) fn brought_secret(&self, position: u32) -> Option<&str> {
        let brought = self.brought.as_ref()?.get(position as usize)?;
        Some(&brought.secret)
    }

    pub(super) fn created_count(&self) -> usize {
        if self.is_created() {
            self.names.len() - self.misses.len() - self.deleted.len()
        } else {
            0
        }
    }

    /// How many devices of a creation under way there are at a time: as many as of its span has
    /// passed.
    pub(super) fn created_by(&self, now: u64) -> usize {
        if self.phase != Phase::Create {
            return self.created_count();
        }
        let (began, ready) = self.spell;
        let span = ready.saturating_sub(began).max(1);
        let passed = now.saturating_sub(began).min(span);
        let all = self.names.len() - self.misses.len();
        let part = u128::from(passed) * all as u128 / u128::from(span);
        usize::try_from(part).unwrap_or(all)
    }

    /// All names of the check: the well-formed ones in their order, then the others.
    pub(super) fn all_names(&self) -> impl Iterator<Item = &str> {
        let malformed = self.malformed.iter().map(|device| device.name.as_ref());
        self.names.iter().map(AsRef::as_ref).chain(malformed)
    }

    /// What is wrong, device by device; `exists` is said of a name that a device has already.
    pub(super) fn complaints<'a>(&'a self, exists: &'a str) -> impl Iterator<Item = Complaint<'a>> {
        let misses = self.misses.iter().map(move |miss| Complaint {
            name: &self.names[miss.position as usize],
            nickname: self.nicknames.get(&miss.position).map(AsRef::as_ref),
            message: match miss.why {
                Why::Exists => exists,
                Why::Failed => FAILED,
            },
        });
        let malformed = self.malformed.iter().map(|device| Complaint {
            name: &device.name,
            nickname: device.nickname.as_deref(),
            message: &device.message,
        });
        misses.chain(malformed)
    }

    pub(super) fn is_created(&self) -> bool {
        matches!(self.phase, Phase::CreateSuccess | Phase::CreateFailed)
    }
}

impl Fate {
    /// Whether all goes its usual way.
    pub(super) fn is_none(&self) -> bool {
        *self == Fate::default()
    }
}

impl fmt::Debug for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
