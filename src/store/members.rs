//! The devices of a round that are still open: what it sends.

use std::collections::HashMap;

use super::{Claim, Error, Store, chunk};
use crate::domain::{CHUNK, Ordinal, Outcome};

/// The open devices of a round, as columns.
#[derive(Debug, Default)]
pub struct Members {
    /// Their places, rising.
    pub ordinals: Vec<Ordinal>,
    /// Their names.
    pub names: Vec<String>,
    /// Their nicknames, empty for none; absent when no device of the apply has one.
    pub nicknames: Option<Vec<String>>,
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

impl Store {
    /// The open devices of a claimed round.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "members"))]
    pub async fn members(&self, claim: &Claim) -> Result<Members, Error> {
        let chunk_nos: Vec<i32> = match (claim.chunk_no, &claim.ordinals) {
            (Some(chunk_no), _) => vec![chunk_no],
            (None, Some(ordinals)) => {
                let mut all: Vec<_> = ordinals.iter().map(|at| chunk::place(*at).0).collect();
                all.dedup();
                all
            }
            (None, None) => Vec::new(),
        };
        let mut members = Members::default();
        let mut listed = claim
            .ordinals
            .as_deref()
            .map(|all| all.iter().copied().peekable());
        for chunk_no in chunk_nos {
            let row = sqlx::query!(
                r#"SELECT names, nicknames, outcomes AS "outcomes: Vec<i8>" FROM chunks
                   WHERE apply_id = $1 AND chunk_no = $2"#,
                claim.apply.0,
                chunk_no,
            )
            .fetch_one(&self.pool)
            .await?;
            let mut nicknames = row.nicknames.map(Vec::into_iter);
            if nicknames.is_some() {
                members.nicknames.get_or_insert_default();
            }
            for ((at, name), letter) in (chunk_no * CHUNK as Ordinal..)
                .zip(row.names)
                .zip(row.outcomes)
            {
                let nickname = nicknames.as_mut().and_then(Iterator::next);
                let ours = listed
                    .as_mut()
                    .is_none_or(|listed| listed.next_if_eq(&at).is_some());
                if ours && Outcome::from_letter(letter)?.is_open() {
                    members.ordinals.push(at);
                    members.names.push(name);
                    if let Some(all) = &mut members.nicknames {
                        all.push(nickname.unwrap_or_default());
                    }
                }
            }
        }
        Ok(members)
    }

    /// The names that a claimed round has read from result pages so far.
    pub async fn listed(&self, claim: &Claim) -> Result<Vec<String>, Error> {
        let names = sqlx::query_scalar!(
            r#"SELECT unnest(names) AS "name!" FROM listed WHERE apply_id = $1 AND round_no = $2"#,
            claim.apply.0,
            claim.round_no,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(names)
    }
}
