//! Which statements took the time, as pg_stat_statements has it.

use sqlx::{PgConnection, Row as _};

/// Prints the statements that took the most time since it was last asked.
pub(crate) async fn show(connection: &mut PgConnection) -> anyhow::Result<()> {
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
    forget(connection).await
}

/// Begins to count anew.
pub(crate) async fn forget(connection: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::query("SELECT pg_stat_statements_reset()")
        .execute(connection)
        .await?;
    Ok(())
}
