//! Imports exported with credentials, which are looked up by name.

use registrar::proto::{
    ExplainApplyRequest, ExportDevicesRequest, ExportedDevice, UpstreamCall, history_entry::What,
};
use tonic::Code;

use super::*;
use crate::export::{Told, export, made, with_credentials};

/// Look-ups faster than the upstream admits, for tests of something else.
const FAST: [&str; 2] = ["--details-rate", "1000"];
const FAST_UPSTREAM: [&str; 4] = [
    "--simulator-speed",
    "0",
    "--simulator-qps",
    "BatchQueryDeviceDetail=0",
];

/// An import of so many, created, and how many look-ups that took.
async fn imported(stack: &mut Stack, count: usize) -> (Apply, usize) {
    let devices = bringing("light", count);
    let apply = import(&mut stack.client, devices, AfterCheck::RegisterValid).await;
    assert_all_created(stack, &apply, "light", "before the export").await;
    (apply, lookups(stack).await)
}

async fn lookups(stack: &Stack) -> usize {
    stack.upstream.ledger("BatchQueryDeviceDetail").await.len()
}

/// Holds that these are the devices from a place on, with what they brought and what the upstream
/// calls them.
async fn assert_equal(told: &Told, upstream: &Upstream, from: usize, count: usize) {
    assert!(told.error.is_none(), "{:?}", told.error);
    assert!(told.complete);
    let made = made(upstream).await;
    let told: Vec<_> = told.devices.iter().map(proof).collect();
    assert_eq!(told.len(), count);
    for (n, told) in (from..).zip(told) {
        let name = format!("light-{n:06}");
        let (iot_id, brought) = &made[&name];
        assert_eq!(*brought, secret("light", n));
        assert_eq!(told, (name.as_str(), iot_id.as_str(), brought.as_str()));
    }
}

fn proof(one: &ExportedDevice) -> (&str, &str, &str) {
    assert!(!one.credentials_missing, "{one:?}");
    let device = one.device.as_ref().unwrap();
    (&device.device_name, &one.iot_id, &one.device_secret)
}

async fn calls(client: &mut Client, apply: &Apply) -> Vec<UpstreamCall> {
    let request = ExplainApplyRequest {
        apply_id: apply.apply_id,
        ..Default::default()
    };
    let history = client.explain_apply(request).await.unwrap().into_inner();
    let told = history
        .entries
        .into_iter()
        .filter_map(|entry| match entry.what {
            Some(What::Call(call)) => Some(call),
            _ => None,
        });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_exported_as_the_simulator_has_it_a_hundred_a_call() {
    for queries in ["own", "all"] {
        let upstream = [&FAST_UPSTREAM[..], &["--simulator-import-apply", queries]].concat();
        let mut stack = stack(&upstream, &FAST).await;
        let (apply, before) = imported(&mut stack, 350).await;
        assert_eq!(before, 0);

        let whole = with_credentials(apply.apply_id);
        let whole = export(&mut stack.client, whole, usize::MAX).await;
        let rest = ExportDevicesRequest {
            from_ordinal: 300,
            ..with_credentials(apply.apply_id)
        };
        let rest = export(&mut stack.client, rest, usize::MAX).await;

        assert_equal(&whole, &stack.upstream, 0, 350).await;
        assert_equal(&rest, &stack.upstream, 300, 50).await;
        let sns = whole
            .devices
            .iter()
            .map(|one| &one.device.as_ref().unwrap().sn);
        assert!(sns.eq(&(0..350).map(|n| format!("SN_{n}")).collect::<Vec<_>>()));
        assert_eq!(lookups(&stack).await, 5);
        let calls = calls(&mut stack.client, &apply).await;
        let made: Vec<_> = calls
            .iter()
            .filter(|call| call.action == "BatchQueryDeviceDetail")
            .collect();
        assert_eq!(made.len(), 5);
        assert!(made.iter().all(|call| call.round == 1), "{made:?}");
        assert!(made.iter().any(|call| call.result == "OK, 50 exist"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_has_no_credentials_and_has_them_once_another_round_has_created_it() {
    let mut stack = stack(&FAST_UPSTREAM, &FAST).await;
    let devices = bringing("light", 150);
    let apply = import(&mut stack.client, devices, AfterCheck::Stop).await;
    watch(&mut stack.client, apply.apply_id, 0).await;
    let taker = vec![brings("light-000007", "another", "")];
    let taker = import(&mut stack.client, taker, AfterCheck::RegisterValid).await;
    watch(&mut stack.client, taker.apply_id, 0).await;
    let register = |retry_failed| registrar::proto::RegisterRequest {
        apply_id: apply.apply_id,
        retry_failed,
        ..Default::default()
    };
    stack.client.register(register(false)).await.unwrap();
    let seen = watch(&mut stack.client, apply.apply_id, 0).await;
    let end = seen.last().unwrap();
    assert_eq!(end.status(), S::CreateFailed);

    let request = || with_credentials(apply.apply_id);
    let before = export(&mut stack.client, request(), usize::MAX).await;
    stack.upstream.delete("light-000007").await;
    stack.client.register(register(true)).await.unwrap();
    let seen = watch(&mut stack.client, apply.apply_id, end.revision).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    let after = export(&mut stack.client, request(), usize::MAX).await;

    assert_eq!(proof(&before.devices[7]), ("light-000007", "", ""));
    assert_equal(&after, &stack.upstream, 0, 150).await;
    let others = before.devices.iter().zip(&after.devices).enumerate();
    assert!(
        others
            .filter(|(n, _)| *n != 7)
            .all(|(_, (before, after))| before == after)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_proven_by_look_up_is_exported_too() {
    let upstream = [&FAST_UPSTREAM[..], &SHORT_UPSTREAM].concat();
    let mut stack = stack(&upstream, &[&FAST[..], &SHORT].concat()).await;
    let fault = r#"{"kind":"no-answer","action":"BatchImportDevice"}"#;
    stack.upstream.set("it", fault).await;
    let (apply, proven_by) = imported(&mut stack, 250).await;
    assert_eq!(proven_by, 3);
    let told: i64 = sqlx::query_scalar("SELECT count(upstream_apply_id) FROM rounds")
        .fetch_one(&stack.database.pool)
        .await
        .unwrap();
    assert_eq!(told, 0);

    let whole = with_credentials(apply.apply_id);
    let whole = export(&mut stack.client, whole, usize::MAX).await;

    assert_equal(&whole, &stack.upstream, 0, 250).await;
    assert_eq!(lookups(&stack).await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_deleted_upstream_is_said_to_be_missing() {
    let mut stack = stack(&FAST_UPSTREAM, &FAST).await;
    let (apply, _) = imported(&mut stack, 120).await;
    for name in ["light-000017", "light-000119"] {
        stack.upstream.delete(name).await;
    }

    let told = with_credentials(apply.apply_id);
    let told = export(&mut stack.client, told, usize::MAX).await;

    assert!(told.complete);
    let (missing, there): (Vec<_>, Vec<_>) =
        told.devices.iter().partition(|one| one.credentials_missing);
    let places: Vec<_> = missing
        .iter()
        .map(|one| one.device.as_ref().unwrap().ordinal)
        .collect();
    assert_eq!((places, there.len()), (vec![17, 119], 118));
    assert!(
        missing
            .iter()
            .all(|one| one.iot_id.is_empty() && one.device_secret.is_empty())
    );
    assert!(there.iter().all(|one| !one.iot_id.is_empty()));
    // Each hundred is believed after three more calls, about those that are missing alone.
    assert_eq!(lookups(&stack).await, 2 + 2 * 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_waits_out_what_the_upstream_does_to_its_look_ups_and_says_what_it_was() {
    let short = [
        "--upstream-connect-timeout",
        "300ms",
        "--upstream-timeout",
        "500ms",
    ];
    let flags = [&FAST[..], &short].concat();
    let mut stack = stack(&FAST_UPSTREAM, &flags).await;
    let (apply, _) = imported(&mut stack, 1_000).await;
    for fault in [
        r#"{"kind":"throttle","retry_after_ms":10"#,
        r#"{"kind":"unavailable""#,
        r#"{"kind":"no-answer""#,
        r#"{"kind":"garbage""#,
        r#"{"kind":"cut","at":"before""#,
    ] {
        let json = format!(r#"{fault},"action":"BatchQueryDeviceDetail","share":0.2}}"#);
        stack.upstream.set("it", &json).await;

        let told = with_credentials(apply.apply_id);
        let told = export(&mut stack.client, told, usize::MAX).await;

        assert_equal(&told, &stack.upstream, 0, 1_000).await;
    }
    let impatient = [&flags[..], &["--export-patience", "300ms"]].concat();
    let mut stack = stack.restart(&impatient).await;
    for (fault, said) in [
        (r#"{"kind":"unavailable""#, "HTTP 503"),
        // In its code; its words could hold a secret that nobody here can cut out.
        (
            r#"{"kind":"block-action","code":"Forbidden.RAM""#,
            "Forbidden.RAM: the upstream said more",
        ),
    ] {
        let json = format!(r#"{fault},"action":"BatchQueryDeviceDetail"}}"#);
        stack.upstream.set("it", &json).await;

        let told = with_credentials(apply.apply_id);
        let told = export(&mut stack.client, told, usize::MAX).await;

        assert_eq!(told.reason(), "CREDENTIALS_UNAVAILABLE");
        let error = told.error.unwrap();
        assert_eq!(error.code(), Code::Unavailable);
        assert!(error.message().contains(said), "{error}");
    }
    let failed = calls(&mut stack.client, &apply).await;
    let messages = failed.iter().filter(|call| call.result == "Forbidden.RAM");
    let messages: Vec<_> = messages.map(|call| call.message.as_str()).collect();
    assert!(!messages.is_empty());
    assert!(
        messages
            .iter()
            .all(|text| text.starts_with("the upstream said more"))
    );
}
