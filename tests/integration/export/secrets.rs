//! Credentials are handed out and nowhere else: not in a log, not in a row.

use sqlx::{AssertSqlSafe, PgPool};

use super::*;

/// Every row of every table, as text.
async fn every_row(pool: &PgPool) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables
         WHERE table_schema = 'public' AND table_type = 'BASE TABLE'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut all = String::new();
    for table in tables {
        let rows = AssertSqlSafe(format!("SELECT t::text FROM {table} AS t"));
        let rows: Vec<String> = sqlx::query_scalar(rows).fetch_all(pool).await.unwrap();
        all.push_str(&rows.join("\n"));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_log_or_in_a_row_whatever_goes_wrong() {
    let database = database().await;
    let upstream = Upstream::start(&FAST_UPSTREAM).await;
    let flags = ["--log", "debug", "--page-rate", "1000"];
    let server = Server::start(&database.url(), &upstream.url, &flags);
    let mut client = server.client().await;
    let apply_id = registered(&mut client, 500).await;
    for fault in ["garbage", "truncated", "no-answer"] {
        let json = format!(r#"{{"kind":"{fault}","action":"QueryPageByApplyId","share":0.3}}"#);
        upstream.set("it", &json).await;
        let told = export(&mut client, with_credentials(apply_id), usize::MAX).await;
        assert_equal(&told, &upstream, 0..500).await;
    }

    let rows = every_row(&database.pool).await;
    let log = server.log().text();

    // What is looked through is what there is to see.
    assert!(rows.contains("light-000017") && rows.contains("QueryPageByApplyId"));
    assert!(log.contains("an export got no credentials") && log.contains("DEBUG"));
    for (iot_id, secret) in made(&upstream).await.into_values() {
        for text in [&rows, &log] {
            assert!(!text.contains(&secret) && !text.contains(&iot_id));
        }
    }
}
