//! The same devices as a row each, which is how one would store them without thinking.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, PgConnection};

/// What a table of devices has besides its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Only the primary key.
    Primary,
    /// And that a product has a name only once.
    Unique,
    /// And an index by state, for whoever works on them.
    Textbook,
}

/// Bytes that are sent at a time.
const PART: usize = 1 << 20;

pub(crate) async fn create(connection: &mut PgConnection, keys: Keys) -> anyhow::Result<()> {
    let mut sql = String::from(
        r#"CREATE TABLE device (
               apply_id    bigint      NOT NULL,
               ordinal     integer     NOT NULL,
               product_id  integer     NOT NULL,
               device_name text        NOT NULL COLLATE "C",
               state       text        NOT NULL DEFAULT 'QUEUED' COLLATE "C",
               error       text,
               created_at  timestamptz NOT NULL DEFAULT now(),
               updated_at  timestamptz NOT NULL DEFAULT now(),
               PRIMARY KEY (apply_id, ordinal)
           );"#,
    );
    if keys != Keys::Primary {
        sql += "CREATE UNIQUE INDEX ON device (product_id, device_name);";
    }
    if keys == Keys::Textbook {
        sql += "CREATE INDEX ON device (state);";
    }
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await?;
    Ok(())
}

/// Copies devices of one apply in, the first of them as `first`, in one transaction.
pub(crate) async fn copy(
    connection: &mut PgConnection,
    names: &[String],
    first: usize,
) -> anyhow::Result<()> {
    let mut copy = connection
        .copy_in_raw("COPY device (apply_id, ordinal, product_id, device_name) FROM STDIN")
        .await?;
    let mut text = String::with_capacity(PART + 100);
    for (ordinal, name) in (first..).zip(names) {
        writeln!(text, "1\t{ordinal}\t1\t{name}")?;
        if text.len() >= PART {
            copy.send(text.as_bytes()).await?;
            text.clear();
        }
    }
    copy.send(text.as_bytes()).await?;
    copy.finish().await?;
    Ok(())
}
