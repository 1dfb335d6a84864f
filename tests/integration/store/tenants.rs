//! What one tenant stores does not exist for another.

use registrar::{
    domain::{
        ApplyId, Fingerprint, RequestKey, Tenant,
        caller::{Caller, ProductPattern},
    },
    store::Filter,
};
use sqlx::Row as _;

use super::*;

/// A caller of a tenant that may use these products.
fn caller(tenant: &str, products: &[&str]) -> Caller {
    let patterns = products.iter().map(|one| ProductPattern::parse(one));
    Caller {
        tenant: Tenant::parse(tenant).unwrap(),
        name: tenant.into(),
        products: patterns.collect::<Result<_, _>>().unwrap(),
        ..Caller::anyone()
    }
}

/// What a caller that names an apply comes to, one statement after the other.
async fn tried(store: &Store, caller: &Caller, id: ApplyId) -> Vec<String> {
    let said = |error: Option<Error>| format!("{error:?}").replace(&id.to_string(), "ID");
    vec![
        said(store.apply(caller, id).await.err()),
        said(store.history(caller, id, None, 10).await.err()),
        said(store.accept(caller, id, SKIP, None).await.err()),
        said(store.cancel(caller, id, None).await.err()),
        format!("{:?}", store.devices(caller, id, 0, &[], 10).await.unwrap()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_of_another_tenant_or_product_is_there_in_no_statement() {
    let (store, _database) = store().await;
    let owner = caller("a", &["a1"]);
    let submission = devices("light", 2, AfterCheck::Stop);
    let (apply, stored) = store.submit(&owner, &submission, None).await.unwrap();
    let never = tried(&store, &owner, ApplyId(99)).await;
    assert_eq!(
        never
            .iter()
            .filter(|one| one.contains("NoSuchApply(ApplyId(ID))"))
            .count(),
        4
    );

    for stranger in [
        caller("b", &["*"]),
        caller("", &["*"]),
        caller("a", &["b1", "a"]),
        // A `_` of a pattern is itself.
        caller("a", &["a_", "_1", "__*"]),
        caller("a", &[]),
    ] {
        assert_eq!(
            tried(&store, &stranger, apply.id).await,
            never,
            "{stranger:?}"
        );
        let listed = store.applies(&stranger, None, &Filter::default(), 10).await;
        assert!(listed.unwrap().is_empty());
        let found = store
            .find(&stranger, "light-000000", None, None, 10)
            .await
            .unwrap();
        assert!(found.found.is_empty() && found.before.is_none());
    }

    // Nothing of that has touched it, and its own see it.
    for own in [owner, caller("a", &["b1", "a*"])] {
        assert_eq!(store.apply(&own, apply.id).await.unwrap().1, stored);
        assert_eq!(
            store
                .applies(&own, None, &Filter::default(), 10)
                .await
                .unwrap()
                .len(),
            1
        );
        let found = store
            .find(&own, "light-000000", None, None, 10)
            .await
            .unwrap();
        assert_eq!(found.found.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_one_for_each_tenant() {
    let (store, _database) = store().await;
    let key = RequestKey {
        id: "r-1".into(),
        fingerprint: Fingerprint::of("test", [&b"x"[..]]),
    };
    let submission = devices("light", 1, AfterCheck::Stop);
    let (one, other) = (caller("a", &["*"]), caller("b", &["*"]));

    let first = store.submit(&one, &submission, Some(&key)).await.unwrap();
    let second = store.submit(&other, &submission, Some(&key)).await.unwrap();

    assert_ne!(first.0.id, second.0.id);
    assert_eq!(
        store.submit(&one, &submission, Some(&key)).await.unwrap(),
        first
    );
    // With the id of another's apply, it is the request of an apply that there is none of.
    let key = RequestKey {
        id: "r-2".into(),
        ..key
    };
    let theirs = store.accept(&other, first.0.id, SKIP, Some(&key)).await;
    assert!(matches!(theirs, Err(Error::NoSuchApply(_))));
}

/// So many applies of a tenant, each of one other device.
async fn others(database: &Database, tenant: &str, count: i32) {
    let made = "WITH made AS (
             INSERT INTO applies (tenant, account, product_key, iot_instance_id, after_check, status,
                                  sealed, revision, total)
             SELECT $1, 'test', 'a1', '', 'STOP', 'CHECK', true, 1, 1 FROM generate_series(1, $2)
             RETURNING apply_id)
         INSERT INTO chunks (apply_id, chunk_no, names, outcomes)
         SELECT apply_id, 0, ARRAY['other'], 'P' FROM made";
    let mut connection = database.pool.acquire().await.unwrap();
    let made = sqlx::query(made).bind(tenant).bind(count);
    made.execute(&mut *connection).await.unwrap();
    // What making them has read does not count.
    for then in [
        "ANALYZE applies, chunks",
        "SELECT pg_stat_force_next_flush()",
        "SELECT pg_stat_reset()",
    ] {
        sqlx::query(then).execute(&mut *connection).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_store_changes_no_page_and_is_not_even_looked_at() {
    let (store, database) = store().await;
    let own = caller("a", &["*"]);
    let submission = devices("light", 1, AfterCheck::Stop);
    let (apply, _) = store.submit(&own, &submission, None).await.unwrap();
    // More than a look for a name goes through, when they are of the tenant.
    others(&database, "b", 20_000).await;

    // As often as it takes for a statement to have a plan for all arguments.
    for _ in 0..10 {
        let found = store
            .find(&own, "light-000000", None, None, 10)
            .await
            .unwrap();
        assert_eq!(found.found[0].apply.id, apply.id);
        assert!(found.before.is_none());
        let listed = store
            .applies(&own, None, &Filter::default(), 10)
            .await
            .unwrap();
        assert_eq!(listed[0].0.id, apply.id);
    }

    // A connection tells what it has read when it ends.
    store.close().await;
    let read = "SELECT relname::text, coalesce(idx_tup_fetch, 0) + seq_tup_read
                FROM pg_stat_user_tables
                WHERE relname IN ('applies', 'chunks') AND idx_scan > 0 ORDER BY relname";
    let rows = loop {
        let rows = sqlx::query(read).fetch_all(&database.pool).await.unwrap();
        if rows.len() == 2 {
            break rows;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    for row in rows {
        let (table, read): (String, i64) = (row.get(0), row.get(1));
        assert!(read < 1_000, "{read} rows of {table} were read for one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_upstream_said_of_an_apply_is_told_to_its_tenant_alone() {
    let (store, database) = store().await;
    let [one, two] = ["one", "two"].map(|tenant| caller(tenant, &["*"]));
    let submission = devices("light", 1, AfterCheck::Stop);
    let (met, _) = store.submit(&one, &submission, None).await.unwrap();
    let call = "INSERT INTO calls (apply_id, round_no, action, called_at, took_ms, result, message,
                                   scope, judged)
                VALUES ($1, 1, 'BatchCheckDeviceNames', now(), 1, 'Throttling.User', 'of light-7',
                        'CALL', false)";
    let call = sqlx::query(call).bind(met.id.0);
    call.execute(&database.pool).await.unwrap();

    let mut told = Vec::new();
    for caller in [&one, &two] {
        let (apply, now) = store.submit(caller, &submission, None).await.unwrap();
        let waiting = store.waiting(&apply, &now).await.unwrap();
        told.push(waiting.unwrap().text);
    }

    assert!(told.iter().all(|text| text.contains("Throttling.User")));
    assert!(told[0].contains("of light-7"), "{told:?}");
    assert!(
        !told[1].contains("light-7") && told[1].contains("other applies"),
        "{told:?}"
    );
}
