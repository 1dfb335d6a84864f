//! Finding the applies that a name is in.

use super::{DeviceRow, Error, Store, visible};
use crate::domain::{Apply, ApplyId, CHUNK, Caller, Ordinal, Snapshot};

/// Chunks looked through in one statement: 2,000,000 names at most, in about 0.1 s.
const CHUNKS: i64 = 200;

/// Names looked through for one page, but for what the last statement adds.
const NAMES: usize = 2_000_000;

/// Statements for one page: where applies are small, names are few and rows are many.
const STATEMENTS: usize = 50;

/// A place in the order in which names are looked through: applies from the newest, devices of one
/// from the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The apply.
    pub apply: ApplyId,
    /// The device in it.
    pub ordinal: Ordinal,
}

impl Place {
    /// The last chunk that holds something before this place.
    fn last_chunk(self) -> (i64, i32) {
        // At the first device of an apply that is none of its own, and so its number is -1.
        (
            self.apply.0,
            (self.ordinal - 1).div_euclid(CHUNK as Ordinal),
        )
    }
}

/// A device that was found, with its apply.
#[derive(Clone, Debug)]
pub struct Found {
    /// The apply.
    pub apply: Apply,
    /// Where the apply stands.
    pub now: Snapshot,
    /// What became of the device in it.
    pub device: DeviceRow,
}

/// Some of the places that a name is in.
#[derive(Clone, Debug, Default)]
pub struct FoundPage {
    /// What was found, the newest apply first.
    pub found: Vec<Found>,
    /// Before where to look further, unless all was looked through.
    pub before: Option<Place>,
}

/// How far a look for a name has come.
struct Look {
    hits: Vec<Place>,
    before: Option<Place>,
}

impl Store {
    /// The devices of exactly this name before a place (none: from the newest apply), optionally
    /// only in applies of one product.
    ///
    /// Names are in no index (it would cost three quarters of storing them), so this looks through
    /// all that the caller sees, a bounded number for each page: a page may hold fewer than `limit`,
    /// even none, and there may be more. What others have stored changes no page.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "find"))]
    pub async fn find(
        &self,
        caller: &Caller,
        name: &str,
        product_key: Option<&str>,
        before: Option<Place>,
        limit: usize,
    ) -> Result<FoundPage, Error> {
        let look = self
            .look_through(caller, name, product_key, before, limit)
            .await?;
        let mut found = Vec::with_capacity(look.hits.len());
        for place in look.hits {
            // What retention has removed since is not there any more.
            let Some((apply, now)) = super::read::apply(&self.pool, caller, place.apply).await?
            else {
                continue;
            };
            let page = self
                .devices(caller, place.apply, place.ordinal, &[], 1)
                .await?;
            found.extend(page.devices.into_iter().map(|device| Found {
                apply: apply.clone(),
                now,
                device,
            }));
        }
        Ok(FoundPage {
            found,
            before: look.before,
        })
    }

    async fn look_through(
        &self,
        caller: &Caller,
        name: &str,
        product_key: Option<&str>,
        before: Option<Place>,
        limit: usize,
    ) -> Result<Look, Error> {
        let mut look = Look {
            hits: Vec::new(),
            before,
        };
        let mut names = 0;
        for _ in 0..STATEMENTS {
            let (apply, chunk_no) = look.before.map_or((i64::MAX, i32::MAX), Place::last_chunk);
            // The limit comes first, so that only so many arrays are unpacked.
            let chunks = sqlx::query!(
                r#"SELECT apply_id, chunk_no, least(total - chunk_no * $6::integer, $6) AS "size!",
                          array_positions(names, $3) AS places
                   FROM (SELECT a.apply_id, a.total, c.chunk_no, c.names
                         FROM applies AS a
                         CROSS JOIN LATERAL (
                             SELECT chunk_no, names FROM chunks
                             WHERE chunks.apply_id = a.apply_id
                               AND (a.apply_id < $1 OR chunk_no <= $2)
                             ORDER BY chunk_no DESC LIMIT $5) AS c
                         WHERE a.tenant = $7 AND a.product_key LIKE ANY ($8)
                           AND ($4::text IS NULL OR a.product_key = $4)
                           AND a.apply_id <= $1
                         ORDER BY a.apply_id DESC, c.chunk_no DESC LIMIT $5) AS newest
                   ORDER BY apply_id DESC, chunk_no DESC"#,
                apply,
                chunk_no,
                name,
                product_key,
                CHUNKS,
                CHUNK as i32,
                caller.tenant.as_str(),
                &visible::products(caller),
            )
            .fetch_all(&self.pool)
            .await?;
            let is_last = (chunks.len() as i64) < CHUNKS;
            for row in chunks {
                let apply = ApplyId(row.apply_id);
                let first = row.chunk_no * CHUNK as Ordinal;
                for place in row.places.unwrap_or_default().into_iter().rev() {
                    let place = Place {
                        apply,
                        ordinal: first + place - 1,
                    };
                    if look.before.is_some_and(|before| place >= before) {
                        continue;
                    }
                    if look.hits.len() == limit {
                        look.before = look.hits.last().copied();
                        return Ok(look);
                    }
                    look.hits.push(place);
                }
                look.before = Some(Place {
                    apply,
                    ordinal: first,
                });
                names += row.size as usize;
            }
            if is_last {
                look.before = None;
                return Ok(look);
            }
            if names >= NAMES || look.hits.len() == limit {
                break;
            }
        }
        Ok(look)
    }
}
