//! What is learnt page by page: result pages, and devices looked up. Collected in tables that are only
//! appended to, and folded into the chunks once.

use super::{Claim, Error, Store, pool::Tx};
use crate::domain::{Corrupt, Ordinal};

/// What a step read of a round's result pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pages {
    /// None.
    Kept,
    /// The names of one more.
    Read(Vec<String>),
    /// None, and the next to be read is the one after so many.
    Passed(i32),
    /// What looking up some devices of an import found.
    LookedUp(Vec<(Ordinal, Finding)>),
    /// Those read so far are folded into the chunks, or begun anew.
    Forgotten,
}

/// What looking up a device of an import found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Finding {
    /// It has the secret that it brought.
    Ours = b'O',
    /// It has another one.
    Theirs = b'T',
    /// It does not exist, and no import can be under way any more.
    Absent = b'A',
    /// It does not exist yet.
    NotThere = b'N',
    /// It exists, and its secret is not told.
    Secretive = b'S',
}

impl Finding {
    /// The finding that a letter stands for.
    pub(super) fn from_letter(letter: i8) -> Result<Self, Corrupt> {
        let all = [
            Self::Ours,
            Self::Theirs,
            Self::Absent,
            Self::NotThere,
            Self::Secretive,
        ];
        let found = all.into_iter().find(|finding| *finding as i8 == letter);
        found.ok_or_else(|| Corrupt {
            what: "a finding",
            value: letter.to_string(),
        })
    }
}

impl Pages {
    /// How many are read or passed by after this, of so many before it.
    pub(crate) fn after(&self, before: i32) -> i32 {
        match self {
            Self::Kept => before,
            Self::Read(_) | Self::LookedUp(_) => before + 1,
            Self::Passed(pages) => *pages,
            Self::Forgotten => 0,
        }
    }

    /// Keeps what was read, or forgets it once it is folded.
    pub(super) async fn write(&self, tx: &mut Tx<'_>, claim: &Claim) -> Result<(), Error> {
        match self {
            Self::Kept | Self::Passed(_) => Ok(()),
            Self::Read(names) => insert_page(tx, claim, names).await,
            Self::LookedUp(found) => insert_found(tx, claim, found).await,
            Self::Forgotten => forget(tx, claim).await,
        }
    }
}

impl Store {
    /// What looking up the devices of a claimed round has found so far.
    pub async fn looked_up(&self, claim: &Claim) -> Result<Vec<(Ordinal, Finding)>, Error> {
        let rows = sqlx::query!(
            r#"SELECT ordinals, found AS "found: Vec<i8>" FROM looked_up
               WHERE apply_id = $1 AND round_no = $2 ORDER BY page"#,
            claim.apply.0,
            claim.round_no,
        )
        .fetch_all(&self.pool)
        .await?;
        let found = rows
            .into_iter()
            .flat_map(|row| row.ordinals.into_iter().zip(row.found))
            .map(|(at, letter)| Ok((at, Finding::from_letter(letter)?)));
        found.collect()
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

async fn insert_page(tx: &mut Tx<'_>, claim: &Claim, names: &[String]) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO listed (apply_id, round_no, page, names) VALUES ($1, $2, $3, $4)",
        claim.apply.0,
        claim.round_no,
        claim.page,
        names,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn insert_found(
    tx: &mut Tx<'_>,
    claim: &Claim,
    found: &[(Ordinal, Finding)],
) -> Result<(), Error> {
    let (ordinals, letters): (Vec<Ordinal>, Vec<i8>) =
        found.iter().map(|(at, found)| (*at, *found as i8)).unzip();
    sqlx::query!(
        "INSERT INTO looked_up (apply_id, round_no, page, ordinals, found) VALUES ($1, $2, $3, $4, $5)",
        claim.apply.0,
        claim.round_no,
        claim.page,
        &ordinals,
        &letters,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn forget(tx: &mut Tx<'_>, claim: &Claim) -> Result<(), Error> {
    sqlx::query!(
        r#"WITH pages AS (DELETE FROM listed WHERE apply_id = $1 AND round_no = $2)
           DELETE FROM looked_up WHERE apply_id = $1 AND round_no = $2"#,
        claim.apply.0,
        claim.round_no,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}
