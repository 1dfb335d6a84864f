//! Listing applies, the newest first.

use super::{Error, Store, labels, read::ApplyRow, visible};
use crate::domain::{Apply, ApplyId, ApplyStatus, Caller, Labels, Snapshot};

/// Which applies are listed. The default is all of them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those of this product.
    pub product_key: Option<String>,
    /// Only those in one of these statuses; empty for all.
    pub statuses: Vec<ApplyStatus>,
    /// Only those that have all of these labels.
    pub labels: Labels,
}

impl Store {
    /// Applies before a number (none: from the newest) that a caller sees and that pass a filter,
    /// newest first.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "applies"))]
    pub async fn applies(
        &self,
        caller: &Caller,
        before: Option<ApplyId>,
        filter: &Filter,
        limit: u32,
    ) -> Result<Vec<(Apply, Snapshot)>, Error> {
        let rows = if filter.labels.is_empty() {
            self.newest(caller, before, filter, limit).await?
        } else {
            self.labelled(caller, before, filter, limit).await?
        };
        Ok(rows
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_, _>>()?)
    }

    async fn newest(
        &self,
        caller: &Caller,
        before: Option<ApplyId>,
        filter: &Filter,
        limit: u32,
    ) -> Result<Vec<ApplyRow>, Error> {
        let rows = sqlx::query_as!(
            ApplyRow,
            r#"SELECT apply_id, product_key, iot_instance_id, after_check, status, revision, total,
                      valid, invalid, created, failed, unknown, cancelled, cancelling, sealed,
                      created_at,
                      updated_at, import,
                      labels::text AS "labels!"
               FROM applies
               WHERE tenant = $5 AND product_key LIKE ANY ($6)
                 AND ($1::bigint IS NULL OR apply_id < $1)
                 AND ($2::text IS NULL OR product_key = $2)
                 AND (cardinality($3::text[]) = 0 OR status = ANY ($3))
               ORDER BY apply_id DESC LIMIT $4"#,
            before.map(|id| id.0),
            filter.product_key.as_deref(),
            &words(filter) as &[&str],
            i64::from(limit),
            caller.tenant.as_str(),
            &visible::products(caller),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// The same with labels. A statement of its own, since an optional condition hides the index
    /// from a plan that is made for all arguments.
    async fn labelled(
        &self,
        caller: &Caller,
        before: Option<ApplyId>,
        filter: &Filter,
        limit: u32,
    ) -> Result<Vec<ApplyRow>, Error> {
        let rows = sqlx::query_as!(
            ApplyRow,
            r#"SELECT apply_id, product_key, iot_instance_id, after_check, status, revision, total,
                      valid, invalid, created, failed, unknown, cancelled, cancelling, sealed,
                      created_at,
                      updated_at, import,
                      labels::text AS "labels!"
               FROM applies
               WHERE labels @> $5::text::jsonb AND tenant = $6 AND product_key LIKE ANY ($7)
                 AND ($1::bigint IS NULL OR apply_id < $1)
                 AND ($2::text IS NULL OR product_key = $2)
                 AND (cardinality($3::text[]) = 0 OR status = ANY ($3))
               ORDER BY apply_id DESC LIMIT $4"#,
            before.map(|id| id.0),
            filter.product_key.as_deref(),
            &words(filter) as &[&str],
            i64::from(limit),
            labels::json(&filter.labels),
            caller.tenant.as_str(),
            &visible::products(caller),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }
}

fn words(filter: &Filter) -> Vec<&'static str> {
    filter
        .statuses
        .iter()
        .map(|status| status.as_str())
        .collect()
}
