//! Imports that nothing happens to, but what their devices are.

use std::process::{Command, Stdio};

use registrar::proto::{FindDeviceRequest, RegisterRequest};
use serde_json::Value;

use super::*;
use crate::support::registrar_binary;

/// Every way in which a device of an import can be bad, and the code that says so.
fn mistakes() -> Vec<(usize, NewDevice, R)> {
    let long = "x".repeat(33);
    vec![
        (17, brings("no", "s-1", ""), R::NameLength),
        (1_018, brings("a bad name", "s-1", ""), R::NameCharacter),
        (2_019, brings("light-000000", "s-1", ""), R::Duplicate),
        (3_020, brings("light-b", &long, ""), R::SecretLength),
        (3_021, brings("light-c", "", ""), R::SecretLength),
        (
            4_022,
            brings("light-d", "not canary!", ""),
            R::SecretCharacter,
        ),
        (
            5_023,
            brings("light-e", "s-1", &"x".repeat(65)),
            R::SnLength,
        ),
        (9_024, brings("light-f", "s-1", "SN-1"), R::SnCharacter),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_with_seven_kinds_of_mistakes_each_is_named_and_the_rest_registered() {
    let exists = ["--simulator-exists", "a1Simulator/light-000042"];
    let mut stack = stack(&exists, &[]).await;
    let mut devices = bringing("light", 10_000);
    for (at, device, _) in mistakes() {
        devices[at] = device;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let rows = devices.iter().map(|device| {
        let (name, secret, sn) = (&device.device_name, &device.device_secret, &device.sn);
        format!("{sn},{name},{secret}\n")
    });
    let text = format!("SN,DeviceName,DeviceSecret\n{}", rows.collect::<String>());
    std::fs::write(file.path(), text).unwrap();

    let told = Command::new(registrar_binary())
        .arg("check")
        .arg(file.path())
        .args(["--import", "--product-key", PRODUCT, "--output", "json"])
        .args(["--after-check", "register-valid"])
        .args(["--server", &format!("http://{}", stack.server.address)])
        .stdin(Stdio::null())
        .output()
        .unwrap();

    let out = String::from_utf8(told.stdout).unwrap();
    let told_in_errors = String::from_utf8(told.stderr).unwrap();
    for secret in ["s.light.", "canary", &"x".repeat(33)] {
        let sn = "x".repeat(65);
        assert!(!out.replace(&sn, "").contains(secret), "{secret}");
        assert!(!told_in_errors.contains(secret), "{secret}");
    }
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let end = lines
        .iter()
        .rfind(|line| line["apply"].is_object())
        .unwrap();
    assert_eq!(end["apply"]["status"], "CREATE_SUCCESS", "{told_in_errors}");
    assert_eq!(end["apply"]["import"], true);
    let apply_id = end["apply"]["apply_id"].as_i64().unwrap();
    let listed = list_devices(&mut stack.client, apply_id).await;
    for (at, device) in listed.iter().enumerate() {
        let mistake = mistakes().into_iter().find(|(place, ..)| *place == at);
        let expected = match (at, mistake) {
            (_, Some((_, _, code))) => (O::Invalid, Some(code)),
            (42, None) => (O::Invalid, Some(R::Exists)),
            (_, None) => (O::Created, None),
        };
        assert_eq!(outcome(device), expected, "{at}");
        assert_eq!(device.sn, devices[at].sn);
    }
    let wrong = mistakes().len() as i64 + 1;
    assert_created_once(&stack, "light", 10_000 - wrong, "by the CLI").await;
    // Two pages of fifty prove ten thousand.
    let pages = stack.upstream.ledger("QueryImportedDeviceByApplyId").await;
    assert!(pages.len() <= 4, "{}", pages.len());
    let found = FindDeviceRequest {
        device_name: "light-000007".into(),
        ..Default::default()
    };
    let found = stack.client.find_device(found).await.unwrap().into_inner();
    let found = found.found[0].device.as_ref().unwrap();
    assert_eq!((found.sn.as_str(), found.outcome()), ("SN_7", O::Created));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_waits_for_a_caller_and_ends_the_same_whichever_queries_take_its_number() {
    for queries in ["own", "all"] {
        let mut stack = stack(&["--simulator-import-apply", queries], &[]).await;
        let apply = import(&mut stack.client, bringing("light", 120), AfterCheck::Stop).await;
        let seen = watch(&mut stack.client, apply.apply_id, 0).await;
        let checked = seen.last().unwrap();
        assert_eq!((checked.status(), checked.import), (S::CheckSuccess, true));
        assert!(stack.upstream.ledger("BatchImportDevice").await.is_empty());

        let request = RegisterRequest {
            apply_id: apply.apply_id,
            ..Default::default()
        };
        stack.client.register(request).await.unwrap();

        assert_all_created(&mut stack, &apply, "light", queries).await;
        let checks = stack.upstream.ledger("BatchCheckImportDevice").await;
        assert_eq!(checks.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_between_check_and_import_fails_and_the_rest_is_imported() {
    let mut stack = stack(&[], &[]).await;
    let apply = import(&mut stack.client, bringing("light", 60), AfterCheck::Stop).await;
    watch(&mut stack.client, apply.apply_id, 0).await;
    let taker = vec![brings("light-000030", "another", "")];
    let taken = import(&mut stack.client, taker, AfterCheck::RegisterValid).await;
    watch(&mut stack.client, taken.apply_id, 0).await;

    let request = RegisterRequest {
        apply_id: apply.apply_id,
        ..Default::default()
    };
    stack.client.register(request).await.unwrap();
    let seen = watch(&mut stack.client, apply.apply_id, 0).await;

    let end = seen.last().unwrap();
    assert_eq!(end.status(), S::CreateFailed);
    let counts = end.counts.unwrap();
    assert_eq!((counts.created, counts.failed), (59, 1));
    let told = outcomes(&mut stack.client, &apply).await;
    assert_eq!(told[30], (O::Failed, Some(R::Exists)));
    assert_created_once(&stack, "light", 60, "taken").await;

    // Retried while it is taken it fails again, and has its secret still.
    let retry = RegisterRequest {
        apply_id: apply.apply_id,
        retry_failed: true,
        ..Default::default()
    };
    stack.client.register(retry).await.unwrap();
    let seen = watch(&mut stack.client, apply.apply_id, end.revision).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateFailed);
    let told = outcomes(&mut stack.client, &apply).await;
    assert_eq!(told[30], (O::Failed, Some(R::Exists)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_import_finishes_what_is_under_way_and_sends_no_more() {
    // The second of three rounds has its turn two seconds after the first.
    let mut stack = stack(&[], &["--import-rate", "0.5"]).await;
    let fault = r#"{"kind":"delay","ms":1000,"action":"BatchImportDevice"}"#;
    let set = ("PUT", "/_simulator/faults/it", Some(fault.to_owned()));
    stack.upstream.send(set.0, set.1, set.2).await;
    let devices = bringing("light", 20_001);
    let apply = import(&mut stack.client, devices, AfterCheck::RegisterIfAllValid).await;
    reached(&stack.upstream, "BatchImportDevice", 1).await;

    let request = registrar::proto::CancelApplyRequest {
        apply_id: apply.apply_id,
        ..Default::default()
    };
    stack.client.cancel_apply(request).await.unwrap();
    let seen = watch(&mut stack.client, apply.apply_id, 0).await;

    let end = seen.last().unwrap();
    assert_eq!(end.status(), S::Cancelled);
    let counts = end.counts.unwrap();
    assert_eq!((counts.created, counts.cancelled), (10_000, 10_001));
    assert_created_once(&stack, "light", 10_000, "cancelled").await;
    assert_eq!(stack.upstream.ledger("BatchImportDevice").await.len(), 1);
}
