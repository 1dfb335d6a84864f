//! The devices of a round that are still open: what it sends.

use std::{
    collections::HashMap,
    iter::{Copied, Peekable},
    slice,
};

use super::{Claim, Error, Store, chunk};
use crate::domain::{CHUNK, Corrupt, Ordinal, Outcome};

/// The open devices of a round, as columns.
#[derive(Debug, Default)]
pub struct Members {
    /// Their places, rising.
    pub ordinals: Vec<Ordinal>,
    /// Their names.
    pub names: Vec<String>,
    /// Their nicknames, empty for none; absent when no device of the apply has one.
    pub nicknames: Option<Vec<String>>,
    /// What those of an import bring.
    pub brought: Option<Brought>,
}

/// What the open devices of an import bring, as columns.
#[derive(Debug, Default)]
pub struct Brought {
    /// Their serial numbers, empty for none.
    pub sns: Vec<String>,
    /// The sealed secrets of the chunks that they are in. Others of a chunk are in there too.
    pub sealed: Vec<Sealed>,
}

/// The secrets of a chunk.
#[derive(Debug)]
pub struct Sealed {
    /// Which chunk.
    pub chunk_no: i32,
    /// All of its secrets, sealed.
    pub secrets: Vec<u8>,
    /// Where those of the open devices are among them, rising.
    pub places: Vec<usize>,
}

impl Members {
    /// Name and nickname of each.
    pub fn devices(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.names.iter().enumerate().map(|(at, name)| {
            let nickname = self.nicknames.as_ref().map(|all| all[at].as_str());
            (
                name.as_str(),
                nickname.filter(|nickname| !nickname.is_empty()),
            )
        })
    }

    /// Where each name is.
    pub fn by_name(&self) -> HashMap<&str, Ordinal> {
        self.names
            .iter()
            .map(String::as_str)
            .zip(self.ordinals.iter().copied())
            .collect()
    }
}

impl Claim {
    /// The chunks that its devices are in.
    fn chunk_nos(&self) -> Vec<i32> {
        match (self.chunk_no, &self.ordinals) {
            (Some(chunk_no), _) => vec![chunk_no],
            (None, Some(ordinals)) => {
                let mut all: Vec<_> = ordinals.iter().map(|at| chunk::place(*at).0).collect();
                all.dedup();
                all
            }
            (None, None) => Vec::new(),
        }
    }
}

/// Tells the open devices of a round from others, asked about each in the order of their places.
struct OpenOnes<'a> {
    /// Those of the round that were not asked about yet; none if it has all of its chunk.
    listed: Option<Peekable<Copied<slice::Iter<'a, Ordinal>>>>,
}

impl<'a> OpenOnes<'a> {
    fn of(claim: &'a Claim) -> Self {
        let listed = claim.ordinals.as_deref();
        Self {
            listed: listed.map(|all| all.iter().copied().peekable()),
        }
    }

    fn has(&mut self, at: Ordinal, outcome: u8) -> Result<bool, Corrupt> {
        let ours = match &mut self.listed {
            Some(listed) => listed.next_if_eq(&at).is_some(),
            None => true,
        };
        Ok(ours && Outcome::from_letter(outcome)?.is_open())
    }
}

impl Store {
    /// The places of the open devices of a claimed round, rising.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "open"))]
    pub async fn open(&self, claim: &Claim) -> Result<Vec<Ordinal>, Error> {
        let mut open_ones = OpenOnes::of(claim);
        let mut open = Vec::new();
        for chunk_no in claim.chunk_nos() {
            let outcomes = sqlx::query_scalar!(
                r#"SELECT outcomes FROM chunks
                   WHERE apply_id = $1 AND chunk_no = $2"#,
                claim.apply.0,
                chunk_no,
            )
            .fetch_one(&self.pool)
            .await?;
            for (at, outcome) in (chunk_no * CHUNK as Ordinal..).zip(outcomes.into_bytes()) {
                if open_ones.has(at, outcome)? {
                    open.push(at);
                }
            }
        }
        Ok(open)
    }

    /// The open devices of a claimed round, with all that it sends.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "members"))]
    pub async fn members(&self, claim: &Claim) -> Result<Members, Error> {
        let mut open_ones = OpenOnes::of(claim);
        let mut members = Members::default();
        for chunk_no in claim.chunk_nos() {
            let row = sqlx::query!(
                r#"SELECT names, nicknames, sns, secrets, outcomes FROM chunks
                   WHERE apply_id = $1 AND chunk_no = $2"#,
                claim.apply.0,
                chunk_no,
            )
            .fetch_one(&self.pool)
            .await?;
            let mut nicknames = row.nicknames.map(Vec::into_iter);
            let mut sns = row.sns.map(Vec::into_iter);
            let mut places = Vec::new();
            if nicknames.is_some() {
                let none_so_far = || vec![String::new(); members.names.len()];
                members.nicknames.get_or_insert_with(none_so_far);
            }
            for ((at, name), letter) in (chunk_no * CHUNK as Ordinal..)
                .zip(row.names)
                .zip(row.outcomes.into_bytes())
            {
                let nickname = nicknames.as_mut().and_then(Iterator::next);
                let sn = sns.as_mut().and_then(Iterator::next);
                if open_ones.has(at, letter)? {
                    members.ordinals.push(at);
                    members.names.push(name);
                    if let Some(all) = &mut members.nicknames {
                        all.push(nickname.unwrap_or_default());
                    }
                    if let Some(sn) = sn {
                        members.brought.get_or_insert_default().sns.push(sn);
                        places.push(chunk::place(at).1);
                    }
                }
            }
            if let (Some(brought), Some(secrets)) = (&mut members.brought, row.secrets)
                && !places.is_empty()
            {
                brought.sealed.push(Sealed {
                    chunk_no,
                    secrets,
                    places,
                });
            }
        }
        Ok(members)
    }
}
