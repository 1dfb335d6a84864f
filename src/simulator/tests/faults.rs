//! Faults are set and lifted, and change what becomes of checks and creations.

use serde_json::json;

use super::*;

#[tokio::test]
async fn faults_are_listed_by_name_and_refused_with_what_is_allowed() {
    let faults = vec![r#"start={"kind":"block-account"}"#.parse().unwrap()];
    let server = Server::start(Options {
        faults,
        ..Options::default()
    })
    .await;
    server
        .set("later", json!({"kind": "stuck", "phase": "CHECK"}))
        .await;

    let start = json!({"kind": "block-account", "code": "Iot.system.BillIsOverDue"});
    let later = json!({"kind": "stuck", "phase": "CHECK"});
    let listed = [
        json!({"name": "later", "fault": later}),
        json!({"name": "start", "fault": start}),
    ];
    assert_eq!(server.lines("faults").await, listed);
    let put = async |name: &str, body: &str| {
        let path = format!("faults/{name}");
        server.admin(Method::PUT, &path, body.into()).await
    };
    let (status, text) = put("x", r#"{"kind":"fire"}"#).await;
    assert_eq!(status, 400);
    assert!(text.contains("`fail-creates`"), "{text}");
    let (status, text) = put("a%20b", r#"{"kind":"block-account"}"#).await;
    assert_eq!(status, 400);
    assert!(text.contains("1 to 64 letters"), "{text}");
    let (status, _) = put("x", &" ".repeat(fault::MAX_JSON + 1)).await;
    assert_eq!(status, 413);
    let unknown = server
        .admin(Method::DELETE, "faults/x", String::new())
        .await;
    assert_eq!(unknown, (404, "there is no such fault".into()));
    server.lift("later").await;
    assert_eq!(server.lines("faults").await, listed[1..]);
    server.stop().await;
}

#[tokio::test]
async fn names_that_fail_at_the_creation_can_be_created_once_that_is_lifted() {
    let server = Server::instant().await;
    let fault = json!({"kind": "fail-creates", "names": ["dev2"], "product": "a1Simulator"});
    server.set("f", fault).await;
    let first = server.checked(&["dev1", "dev2"]).await;

    server.registered(first).await;

    let expected = json!({
        "Status": "CREATE_FAILED",
        "ValidList": {"Name": ["dev1"]},
        "InvalidList": {"Name": ["dev2"]},
        "InvalidDetailList": {"invalidDetailList": [
            {"DeviceName": "dev2", "ErrorMsg": "The device could not be created."},
        ]},
    });
    assert_eq!(server.status(first).await["Data"], expected);
    let again = server.checked(&["dev2"]).await;
    server.registered(again).await;
    assert_eq!(server.phase(again).await, "CREATE_FAILED");
    server.lift("f").await;
    let last = server.checked(&["dev2"]).await;
    server.registered(last).await;
    assert_eq!(server.phase(last).await, "CREATE_SUCCESS");
    let row = |name, apply| json!({"name": name, "apply_id": apply, "created": 1});
    let devices = server.lines("devices?product=a1Simulator").await;
    assert_eq!(devices, [row("dev1", first), row("dev2", last)]);
    server.stop().await;
}

#[tokio::test]
async fn the_same_share_of_the_names_fails_however_they_are_asked_for() {
    let server = Server::instant().await;
    server
        .set("f", json!({"kind": "fail-creates", "share": 0.5}))
        .await;
    let names: Vec<String> = (0..100).map(|n| format!("device-{n}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let missed = async |names: &[&str]| {
        let apply = server.checked(names).await;
        server.registered(apply).await;
        server.status(apply).await["Data"]["InvalidList"]["Name"].clone()
    };

    let failed = missed(&all).await;

    let failed: Vec<&str> = failed
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    assert!(!failed.is_empty() && failed.len() < 100, "{failed:?}");
    assert_eq!(missed(&failed).await, json!(failed));
    server.stop().await;
}

#[tokio::test]
async fn a_check_can_fail_without_a_word_why() {
    let server = Server::instant().await;
    let named = json!({"kind": "nameless-check-failure", "names": ["dev2"]});
    server.set("n", named).await;

    let with = server.checked(&["dev1", "dev2"]).await;
    let without = server.checked(&["dev1"]).await;

    let none = json!({"Name": []});
    let nameless = json!({"Status": "CHECK_FAILED", "ValidList": none, "InvalidList": none});
    assert_eq!(server.status(with).await["Data"], nameless);
    assert_eq!(server.phase(without).await, "CHECK_SUCCESS");
    server
        .set("n", json!({"kind": "nameless-check-failure"}))
        .await;
    let any = server.checked(&["dev1"]).await;
    assert_eq!(server.status(any).await["Data"], nameless);
    server.lift("n").await;
    let after = server.checked(&["dev1", "dev2"]).await;
    assert_eq!(server.phase(after).await, "CHECK_SUCCESS");
    server.stop().await;
}

#[tokio::test]
async fn what_is_stuck_ends_when_it_is_let_go() {
    let server = Server::instant().await;
    let stuck = |phase: &str, name: &str| json!({"kind": "stuck", "phase": phase, "names": [name]});
    server.set("s", stuck("CHECK", "dev1")).await;
    let held = server.checked(&["dev1"]).await;
    let other = server.checked(&["dev2"]).await;

    assert_eq!(server.phase(other).await, "CHECK_SUCCESS");
    assert_eq!(server.phase(held).await, "CHECK");
    server.set("t", stuck("CHECK", "dev1")).await;
    server.lift("s").await;
    assert_eq!(
        server.phase(held).await,
        "CHECK",
        "another fault still holds it"
    );
    server.lift("t").await;
    assert_eq!(server.phase(held).await, "CHECK_SUCCESS");

    server.set("s", stuck("CREATE", "dev1")).await;
    server.registered(held).await;
    server.registered(other).await;
    assert_eq!(server.phase(other).await, "CREATE_SUCCESS");
    assert_eq!(server.phase(held).await, "CREATE");
    let again = server.registered(held).await;
    assert_eq!(again["Code"], "iot.device.CreateDeviceTaskIsRunning");
    server.lift("s").await;
    assert_eq!(server.phase(held).await, "CREATE_SUCCESS");
    server.stop().await;
}

#[tokio::test]
async fn what_a_fault_did_outlasts_a_restart_and_the_fault_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let start = async |faults: &[&str], speed| {
        Server::start(Options {
            dir: Some(directory.path().to_owned()),
            speed,
            faults: faults.iter().map(|fault| fault.parse().unwrap()).collect(),
            ..Options::default()
        })
        .await
    };
    let stuck = r#"s={"kind":"stuck","phase":"CHECK","names":["dev3"]}"#;
    let server = start(
        &[stuck, r#"f={"kind":"fail-creates","names":["dev1"]}"#],
        0.0,
    )
    .await;
    let failed = server.checked(&["dev1", "dev2"]).await;
    server.registered(failed).await;
    let missed = server.status(failed).await;
    let held = server.checked(&["dev3"]).await;
    // It is stuck before this name is a device, and ends after.
    let late = server.checked(&["dev3", "dev4"]).await;
    let rival = server.checked(&["dev4"]).await;
    server.registered(rival).await;
    server
        .set("n", json!({"kind": "nameless-check-failure"}))
        .await;
    let nameless = server.checked(&["dev5"]).await;
    let silent = server.status(nameless).await;
    server.stop().await;

    let server = start(&[stuck], 0.0).await;
    assert_eq!(server.status(failed).await, missed);
    assert_eq!(server.status(nameless).await, silent);
    assert_eq!(server.phase(held).await, "CHECK");
    assert_eq!(server.lines("faults").await.len(), 1);
    server.stop().await;

    let server = start(&[], 0.0).await;
    assert_eq!(server.phase(held).await, "CHECK_SUCCESS");
    let found = server.status(late).await;
    assert_eq!(found["Data"]["InvalidList"]["Name"], json!(["dev4"]));
    server.stop().await;

    // Slow enough that it is under way when the fault is set, and not stuck when it is lifted.
    let server = start(&[], 1e-6).await;
    let slow = server.checked(&["dev6"]).await;
    server
        .set("s", json!({"kind": "stuck", "phase": "CHECK"}))
        .await;
    server.lift("s").await;
    assert_eq!(
        server.phase(slow).await,
        "CHECK",
        "it ends when it would have"
    );
    assert_eq!(server.status(late).await, found);
    server.stop().await;
}
