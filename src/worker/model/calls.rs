//! Calls of the upstream, what it says to them, and how it fails.

use crate::{
    domain::Ordinal,
    upstream::{Checked, CheckedImport, Found, Imported, Page, Registered, Status},
};

/// What the upstream is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Check(Vec<Ordinal>),
    Status(i64),
    Register(i64),
    Page(i64),
    CheckImport(Vec<Ordinal>),
    Import(Vec<Ordinal>),
    Imported(i64),
    LookUp(Vec<Ordinal>),
}

/// A signed call. Two with the same nonce are the same call.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) ask: Ask,
    pub(super) signed_at: i64,
    pub(super) nonce: u128,
}

/// What it says when it does as asked.
#[derive(Debug)]
pub(super) enum Said {
    Checked(Checked),
    Status(Status),
    Registered(Registered),
    Page(Page),
    CheckedImport(CheckedImport),
    Imported(Imported),
    Found(Vec<Found>),
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Over its quota, before it looks at the call.
    Throttled,
    /// It lacks the permission, before it looks at the call.
    Denied,
    /// It breaks before it does anything.
    BreaksBefore,
    /// It breaks when it has done it.
    BreaksAfter,
}
