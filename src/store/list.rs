//! Listing applies, the newest first.

use super::{Error, Store, labels, read::ApplyRow};
use crate::domain::{Apply, ApplyId, ApplyStatus, Labels, Snapshot};

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
    /// Applies before a number (none: from the newest) that pass a filter, newest first.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "applies"))]
    pub async fn applies(
        &self,
        before: Option<ApplyId>,
        filter: &Filter,
        limit: u32,
    ) -> Result<Vec<(Apply, Snapshot)>, Error> {
        let rows = if filter.labels.is_empty() {
            self.newest(before, filter, limit).await?
        } else {
            self.labelled(before, filter, limit).await?
        };
        Ok(rows
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_, _>>()?)
    }

    async fn newest(
        &self,
        before: Option<ApplyId>,
        filter: &Filter,
        limit: u32,
    ) -> Result<Vec<ApplyRow>, Error> {
        let rows = sqlx::query_as!(
            ApplyRow,
            r#"SELECT apply_id, product_key, iot_instance_id, after_check, status, revision, total,
                      valid, invalid, created, failed, unknown, cancelled, cancelling, created_at,
                      updated_at,
                      labels::text AS "labels!"
               FROM applies
               WHERE ($1::bigint IS NULL OR apply_id < $1)
                 AND ($2::text IS NULL OR product_key = $2)
                 AND (cardinality($3::text[]) = 0 OR status = ANY ($3))
               ORDER BY apply_id DESC LIMIT $4"#,
            before.map(|id| id.0),
            filter.product_key.as_deref(),
            &words(filter) as &[&str],
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// The same with labels. A statement of its own, since an optional condition hides the index
    /// from a plan that is made for all arguments.
    async fn labelled(
        &self,
        before: Option<ApplyId>,
        filter: &Filter,
        limit: u32,
    ) -> Result<Vec<ApplyRow>, Error> {
        let rows = sqlx::query_as!(
            ApplyRow,
            r#"SELECT apply_id, product_key, iot_instance_id, after_check, status, revision, total,
                      valid, invalid, created, failed, unknown, cancelled, cancelling, created_at,
                      updated_at,
                      labels::text AS "labels!"
               FROM applies
               WHERE labels @> $5::text::jsonb
                 AND ($1::bigint IS NULL OR apply_id < $1)
                 AND ($2::text IS NULL OR product_key = $2)
                 AND (cardinality($3::text[]) = 0 OR status = ANY ($3))
               ORDER BY apply_id DESC LIMIT $4"#,
            before.map(|id| id.0),
            filter.product_key.as_deref(),
            &words(filter) as &[&str],
            i64::from(limit),
            labels::json(&filter.labels),
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
