//! Which statements took the time, as pg_stat_statements has it.

use sqlx::{PgConnection, Row as _};

/// Prints the statements that took the most time since it was last asked.
pub(crate) async fn show(connection: &mut PgConnection) -> anyhow::Result<()> {
    let rows = sqlx::query(
        "SELECT calls, total_exec_time, mean_exec_time, max_exec_time, rows, wal_bytes::bigint,
                shared_blks_hit + shared_blks_read AS blocks, toplevel,
                regexp_replace(left(query, 160), '\\s+', ' ', 'g') AS query
         FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 30",
    )
    .fetch_all(&mut *connection)
    .await?;
    eprintln!("      ms     calls   mean ms    max ms      rows    WAL kB    blocks  statement");
    for row in rows {
        eprintln!(
            "{:>8.0}  {:>8}  {:>8.3}  {:>8.1}  {:>8}  {:>8}  {:>8}  {}",
            row.get::<f64, _>("total_exec_time"),
            row.get::<i64, _>("calls"),
            row.get::<f64, _>("mean_exec_time"),
            row.get::<f64, _>("max_exec_time"),
            row.get::<i64, _>("rows"),
            row.get::<i64, _>("wal_bytes") / 1024,
            row.get::<i64, _>("blocks"),
            row.get::<String, _>("query"),
        );
    }
    sqlx::query("SELECT pg_stat_statements_reset()")
        .execute(connection)
        .await?;
    Ok(())
}
