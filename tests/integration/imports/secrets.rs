//! Where secrets are, and where they are not.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use registrar::proto::{CancelApplyRequest, ExplainApplyRequest, RegisterRequest};
use sqlx::{AssertSqlSafe, PgPool};

use super::*;
use crate::export::{export, with_credentials};

/// In every secret of these tests, and in nothing else.
const CANARY: &str = "CaNaRy";

/// A secret in every form in which it could stand somewhere.
fn forms(plain: &str) -> [String; 4] {
    let hex: String = plain.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = |skip: usize| STANDARD.encode(&plain.as_bytes()[skip..]);
    // Without the ends, which depend on what stands beside it.
    [
        plain.to_owned(),
        hex,
        base64(0)[..6].to_owned(),
        base64(1)[..6].to_owned(),
    ]
}

fn holds_a_canary(text: &str) -> Option<String> {
    let found = forms(CANARY).into_iter().find(|form| text.contains(form));
    found.map(|form| {
        let at = text.find(&form).unwrap_or_default();
        text[text.floor_char_boundary(at.saturating_sub(80))..]
            .chars()
            .take(200)
            .collect()
    })
}

/// Every row of every table, as text.
async fn rows(pool: &PgPool) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert!(tables.len() > 8, "{tables:?}");
    let mut rows = Vec::new();
    for table in tables {
        let all = AssertSqlSafe(format!("SELECT '{table}: ' || t::text FROM {table} AS t"));
        let all: Vec<String> = sqlx::query_scalar(all).fetch_all(pool).await.unwrap();
        rows.extend(all);
    }
    rows
}

fn canaries(prefix: &str, count: usize) -> Vec<NewDevice> {
    let device = |n| {
        let secret = format!("{CANARY}.{prefix}.{n}");
        brings(&format!("{prefix}-{n:06}"), &secret, "")
    };
    (0..count).map(device).collect()
}

/// Secrets that the rules refuse, some here and one upstream.
fn bad(prefix: &str) -> Vec<NewDevice> {
    let mut devices = canaries(prefix, 4);
    devices[0].device_secret = format!("{CANARY} with a space");
    devices[1].device_secret = CANARY.repeat(50);
    devices[2].device_name = "no".into();
    devices
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_log_error_or_history_holds_a_secret_and_all_end_with_what_needed_them() {
    let database = database().await;
    let flags = [
        &SHORT_UPSTREAM[..],
        &["--simulator-exists", "a1Simulator/fine-000001"],
    ]
    .concat();
    let upstream = Upstream::start(&flags).await;
    let keys = Keys::new(&key("k1", 1));
    let flags = keys.flags(&SHORT);
    let server = Server::start(
        &database.url(),
        &upstream.url,
        &[&flags[..], &["--log", "trace"]].concat(),
    );
    let mut client = server.client().await;
    let mut told = Vec::new();

    // Judged, refused, created, failed, lost and looked up, cancelled, and waiting.
    let only_judged = CheckDevicesRequest {
        validate_only: true,
        ..request(bad("only"), AfterCheck::Stop)
    };
    told.push(format!(
        "{:?}",
        client.check_devices(only_judged).await.unwrap()
    ));
    let plain = CheckDevicesRequest {
        import: false,
        ..request(canaries("plain", 30), AfterCheck::Stop)
    };
    told.push(format!(
        "{:?}",
        client.check_devices(plain).await.unwrap_err()
    ));
    let again = |secrets| CheckDevicesRequest {
        request_id: "again".into(),
        ..request(secrets, AfterCheck::Stop)
    };
    client
        .check_devices(again(canaries("again", 1)))
        .await
        .unwrap();
    let reused = client.check_devices(again(bad("again"))).await.unwrap_err();
    told.push(format!("{reused:?}"));
    let mut mixed = canaries("fine", 60);
    mixed.extend(bad("bad"));
    let created = import(&mut client, mixed, AfterCheck::RegisterValid).await;
    watch(&mut client, created.apply_id, 0).await;
    let fault = r#"{"kind":"no-answer","action":"BatchImportDevice","calls":[1]}"#;
    let path = "/_simulator/faults/it";
    upstream.send("PUT", path, Some(fault.to_owned())).await;
    let lost = import(&mut client, canaries("lost", 60), AfterCheck::RegisterValid).await;
    watch(&mut client, lost.apply_id, 0).await;
    let cancelled = import(&mut client, canaries("gone", 3), AfterCheck::Stop).await;
    watch(&mut client, cancelled.apply_id, 0).await;
    let cancel = CancelApplyRequest {
        apply_id: cancelled.apply_id,
        ..Default::default()
    };
    client.cancel_apply(cancel).await.unwrap();
    let waiting = import(&mut client, canaries("wait", 3), AfterCheck::Stop).await;
    watch(&mut client, waiting.apply_id, 0).await;

    // Handed out, and told by nobody else.
    for (apply, count) in [(&created, 60), (&lost, 60)] {
        let request = with_credentials(apply.apply_id);
        let exported = export(&mut client, request, usize::MAX).await;
        let theirs = exported.devices.iter();
        let theirs = theirs.filter(|one| one.device_secret.contains(CANARY));
        assert_eq!((exported.complete, theirs.count()), (true, count));
    }
    for apply in [&created, &lost, &cancelled, &waiting] {
        let apply_id = apply.apply_id;
        told.push(format!("{:?}", list_devices(&mut client, apply_id).await));
        let explain = ExplainApplyRequest {
            apply_id,
            ..Default::default()
        };
        let history = client.explain_apply(explain).await.unwrap();
        told.push(format!("{history:?}"));
    }
    let rows_now = rows(&database.pool).await;
    let log = server.log().lines();
    assert!(log.len() > 1_000, "a trace of {} lines", log.len());
    assert!(log.iter().any(|line| line.contains("BatchImportDevice")));
    for text in told.iter().chain(&rows_now).chain(&log) {
        assert_eq!(holds_a_canary(text), None);
    }
    // Only who waits may have to send secrets yet, and the one whose request was only remembered.
    let kept: Vec<i64> = sqlx::query_scalar(
        "SELECT DISTINCT apply_id FROM chunks WHERE secrets IS NOT NULL ORDER BY apply_id",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let keyed: Vec<i64> = sqlx::query_scalar(
        "SELECT apply_id FROM applies WHERE data_key IS NOT NULL ORDER BY apply_id",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.contains(&waiting.apply_id) && kept == keyed);

    // The same search finds what is stored as it came, in whichever way.
    sqlx::query("UPDATE chunks SET secrets = $2 WHERE apply_id = $1")
        .bind(waiting.apply_id)
        .bind(format!("xx{CANARY}.1").into_bytes())
        .execute(&database.pool)
        .await
        .unwrap();
    let found = rows(&database.pool).await;
    let found = found.iter().filter_map(|row| holds_a_canary(row)).count();
    assert_eq!(found, 1);
    for form in forms(CANARY) {
        assert!(holds_a_canary(&format!("of a {form} nothing")).is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_replaced_while_imports_run_and_the_old_one_can_be_retired() {
    let database = database().await;
    let upstream = Upstream::start(&[]).await;
    let keys = Keys::new(&key("k1", 1));
    let flags = keys.flags(&["--rewrap-every", "1s"]);
    let server = Server::start(
        &database.url(),
        &upstream.url,
        &[&flags[..], &["--log", "info"]].concat(),
    );
    let mut client = server.client().await;
    let mut applies = Vec::new();
    let submit = async |client: &mut Client, n: usize, after| {
        let prefix = format!("turn{n}");
        (import(client, bringing(&prefix, 60), after).await, prefix)
    };
    let waiting = submit(&mut client, 0, AfterCheck::Stop).await;
    watch(&mut client, waiting.0.apply_id, 0).await;

    keys.replace(&format!("{}{}", key("k2", 2), key("k1", 1)));
    let done = "every data key is under the newest secret key";
    let mut n = 1;
    while !server.log().text().contains(done) {
        assert!(n < 2_000, "never told that the old key can be retired");
        applies.push(submit(&mut client, n, AfterCheck::RegisterValid).await);
        n += 1;
        let (apply, _) = applies.last().unwrap();
        watch(&mut client, apply.apply_id, 0).await;
    }
    keys.replace(&key("k2", 2));
    let heads: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT substr(data_key, 3, 2) FROM applies WHERE data_key IS NOT NULL")
            .fetch_all(&database.pool)
            .await
            .unwrap();
    assert!(!heads.is_empty() && heads.iter().all(|head| head == b"k2"));
    drop(server);
    let server = Server::start(&database.url(), &upstream.url, &keys.flags(&[]));
    let mut client = server.client().await;
    let register = RegisterRequest {
        apply_id: waiting.0.apply_id,
        ..Default::default()
    };
    client.register(register).await.unwrap();
    applies.push(waiting);

    for (apply, prefix) in &applies {
        let seen = watch(&mut client, apply.apply_id, 0).await;
        assert_eq!(seen.last().unwrap().status(), S::CreateSuccess, "{prefix}");
    }
    let there = upstream.devices(PRODUCT).await;
    assert_eq!(there.len(), applies.len() * 60);
    assert!(there.iter().all(|device| device["created"] == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_waits_for_a_key_that_is_missing_and_goes_on_with_it() {
    let mut stack = stack(&[], &[]).await;
    let apply = import(&mut stack.client, bringing("light", 3), AfterCheck::Stop).await;
    watch(&mut stack.client, apply.apply_id, 0).await;
    stack.keys.replace(&key("k2", 2));
    let mut stack = stack.restart(&[]).await;
    let register = RegisterRequest {
        apply_id: apply.apply_id,
        ..Default::default()
    };
    stack.client.register(register).await.unwrap();
    patiently(async {
        let failing = "SELECT EXISTS (SELECT FROM rounds WHERE attempts > 1)";
        while !sqlx::query_scalar::<_, bool>(failing)
            .fetch_one(&stack.database.pool)
            .await
            .unwrap()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(stack.upstream.ledger("BatchImportDevice").await.is_empty());

    stack
        .keys
        .replace(&format!("{}{}", key("k2", 2), key("k1", 1)));

    assert_all_created(&mut stack, &apply, "light", "with its key").await;
}
