//! Which statements took the time, as pg_stat_statements has it, and what the WAL is made of, as
//! pg_walinspect has it.

use sqlx::{PgConnection, Row as _};

/// The extensions that it takes.
pub(crate) const EXTENSIONS: [&str; 2] = [
    "CREATE EXTENSION pg_stat_statements",
    "CREATE EXTENSION pg_walinspect",
];

/// Prints the statements that took the most time since they were last forgotten, and the records
/// of WAL since then.
pub(crate) async fn show(connection: &mut PgConnection, wal_from: &str) -> anyhow::Result<()> {
    let rows = sqlx::query(
        r"SELECT calls, total_exec_time, total_plan_time, mean_exec_time, max_exec_time, rows,
                 wal_bytes::bigint, shared_blks_hit + shared_blks_read AS blocks, toplevel,
                 left(regexp_replace(query, '\s+', ' ', 'g'), 150) AS query
          FROM pg_stat_statements ORDER BY total_exec_time + total_plan_time DESC LIMIT 30",
    )
    .fetch_all(&mut *connection)
    .await?;
    eprintln!(" exec ms   plan ms     calls   mean ms    max ms      rows    WAL kB    blocks");
    for row in rows {
        eprintln!(
            "{:>8.0}  {:>8.0}  {:>8}  {:>8.3}  {:>8.1}  {:>8}  {:>8}  {:>8}  {}{}",
            row.get::<f64, _>("total_exec_time"),
            row.get::<f64, _>("total_plan_time"),
            row.get::<i64, _>("calls"),
            row.get::<f64, _>("mean_exec_time"),
            row.get::<f64, _>("max_exec_time"),
            row.get::<i64, _>("rows"),
            row.get::<i64, _>("wal_bytes") / 1024,
            row.get::<i64, _>("blocks"),
            if row.get("toplevel") { "" } else { "(within) " },
            row.get::<String, _>("query"),
        );
    }
    let records = sqlx::query(
        r#"SELECT "resource_manager/record_type" AS what, count, record_size::bigint,
                  fpi_size::bigint
           FROM pg_get_wal_stats($1::pg_lsn, pg_current_wal_flush_lsn(), true)
           WHERE combined_size > 0 ORDER BY combined_size DESC LIMIT 12"#,
    )
    .bind(wal_from)
    .fetch_all(&mut *connection)
    .await?;
    eprintln!("\n records      kB  pages kB");
    for record in records {
        eprintln!(
            "{:>8}  {:>6}  {:>8}  {}",
            record.get::<i64, _>("count"),
            record.get::<i64, _>("record_size") / 1024,
            record.get::<i64, _>("fpi_size") / 1024,
            record.get::<String, _>("what"),
        );
    }
    Ok(())
}

/// Begins to count anew. Returns where the WAL is.
pub(crate) async fn forget(connection: &mut PgConnection) -> anyhow::Result<String> {
    sqlx::query("SELECT pg_stat_statements_reset()")
        .execute(&mut *connection)
        .await?;
    let here = sqlx::query_scalar("SELECT pg_current_wal_flush_lsn()::text");
    Ok(here.fetch_one(connection).await?)
}
