//! The commands that only read.

use std::sync::Mutex;

use prost_types::Timestamp;
use serde_json::Value;
use tonic::Status;

use crate::{
    cli::{
        Ended,
        testing::{Asked, Script, Server, apply_at, ran},
    },
    proto::{
        Apply, ApplyStatus, Device, DeviceOutcome, FoundDevice, HistoryEntry, Quota, Reason,
        ReasonCode, UpstreamCall, WaitCode, WaitingFor, history_entry::What,
    },
};

fn at(second: i64) -> Option<Timestamp> {
    let seconds = 1_767_225_600 + second;
    Some(Timestamp {
        seconds,
        nanos: 5_000_000,
    })
}

fn apply() -> Apply {
    Apply {
        product_key: "a1".into(),
        create_time: at(0),
        update_time: at(7),
        labels: [
            ("lot".into(), "7".into()),
            ("by".into(), "night shift".into()),
        ]
        .into(),
        ..apply_at(3, ApplyStatus::CheckFailed, [0, 1, 0])
    }
}

fn exists() -> Device {
    Device {
        ordinal: 4,
        device_name: "pump-4".into(),
        nickname: "泵四".into(),
        outcome: DeviceOutcome::Invalid.into(),
        reason: Some(Reason {
            code: ReasonCode::Exists.into(),
            message: "it exists".into(),
            ..Reason::default()
        }),
        ..Device::default()
    }
}

fn valid() -> Device {
    Device {
        ordinal: 5,
        device_name: "pump-5".into(),
        outcome: DeviceOutcome::Valid.into(),
        ..Device::default()
    }
}

fn lines(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn server(script: Script) -> Server {
    Server::with(script).await
}

#[tokio::test]
async fn get_is_a_sheet_with_the_lists_on_request() {
    let server = server(Script {
        history: vec![apply()],
        waits: vec![WaitingFor {
            code: WaitCode::Caller.into(),
            message: "register with skip_invalid".into(),
            until: None,
        }],
        ..Script::default()
    })
    .await;

    let (ended, out) = ran(&server, "get 17 --lists").await;

    assert_eq!(ended.unwrap(), Ended::Short);
    let expected = "\
apply        17
product      a1
labels       by=night shift lot=7
after check  UNSPECIFIED
submitted    2026-01-01T00:00:00Z
changed      2026-01-01T00:00:07Z, revision 3
status       CHECK_FAILED, settled
devices      1: 0 created, 1 invalid, 0 failed, 0 unknown
             waits for CALLER: register with skip_invalid
valid        pump-1
invalid      \"l 1\"
there are more names; `registrar devices 17` lists them all
next: mend the devices and check them again; none is valid
";
    assert_eq!(out, expected);

    let (_, out) = ran(&server, "get 17 --lists --output json").await;
    let line = lines(&out).remove(0);
    assert_eq!(line["apply"]["labels"]["lot"], "7");
    assert_eq!(line["valid_list"][0], "pump-1");
    assert_eq!(line["waiting_for"]["code"], "CALLER");
    assert_eq!(line["truncated"], true);
}

#[tokio::test]
async fn get_of_an_apply_that_is_not_settled_is_well() {
    let apply = apply_at(1, ApplyStatus::Check, [1, 1, 0]);
    let server = Server::start(vec![apply], vec![], []).await;

    assert_eq!(ran(&server, "get 17").await.0.unwrap(), Ended::Well);
}

#[tokio::test]
async fn list_asks_for_the_filter_and_ends_at_the_limit() {
    let applies = vec![apply(); 2_500];
    let server = server(Script {
        applies,
        ..Script::default()
    })
    .await;

    let (ended, out) = ran(
        &server,
        "list --product-key a1 --status check-failed,CREATE --label lot=7 --limit 1200",
    )
    .await;

    assert_eq!(ended.unwrap(), Ended::Well);
    let told: Vec<&str> = out.lines().collect();
    assert_eq!(told.len(), 1_201);
    assert_eq!(
        told[0],
        "apply  product  status        devices  created  invalid  failed  unknown  submitted      \
         \u{20}      labels"
    );
    assert_eq!(
        told[1],
        "17     a1       CHECK_FAILED  1        0        1        0       0        \
         2026-01-01T00:00:00Z  by=night shift lot=7"
    );
    let asked = server.asked();
    let [Asked::List(first), Asked::List(second)] = &asked[..] else {
        panic!("{asked:?}");
    };
    assert_eq!((first.page_size, second.page_size), (1_000, 200));
    assert_eq!(first.product_key, "a1");
    assert_eq!(
        first.statuses,
        [ApplyStatus::CheckFailed as i32, ApplyStatus::Create as i32]
    );
    assert_eq!(first.labels["lot"], "7");

    let (_, out) = ran(&server, "list --limit 2 --output json").await;
    assert_eq!(lines(&out).len(), 2);
    assert_eq!(lines(&out)[1]["status"], "CHECK_FAILED");
}

#[tokio::test]
async fn a_page_is_asked_for_again_while_the_server_is_not_there() {
    let server = server(Script {
        applies: vec![apply()],
        failures: Mutex::new([Status::unavailable("starting")].into()),
        ..Script::default()
    })
    .await;

    let (ended, out) = ran(&server, "list --output json").await;

    assert_eq!(ended.unwrap(), Ended::Well);
    assert_eq!(lines(&out).len(), 1);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn devices_are_a_table_with_reasons() {
    let mut brought = valid();
    brought.sn = "SN_5".to_owned();
    let server = Server::start(vec![], vec![exists(), brought], []).await;

    let (ended, out) = ran(&server, "devices 17 --outcome invalid --outcome valid").await;

    assert_eq!(ended.unwrap(), Ended::Well);
    let expected = "\
device  name    nickname  sn    outcome  reason  because
4       pump-4  泵四            INVALID  EXISTS  it exists
5       pump-5            SN_5  VALID
";
    assert_eq!(out, expected);
    let Asked::Devices(request) = server.asked().remove(0) else {
        panic!("{:?}", server.asked());
    };
    let outcomes = [DeviceOutcome::Invalid as i32, DeviceOutcome::Valid as i32];
    assert_eq!(request.outcomes, outcomes);

    let (_, out) = ran(&server, "devices 17 --output json").await;
    let lines = lines(&out);
    assert_eq!(lines[0]["nickname"], "泵四");
    assert_eq!(lines[1]["sn"], "SN_5");
    assert_eq!(lines[1]["reason"], Value::Null);
}

#[tokio::test]
async fn find_tells_every_apply_that_the_device_is_in() {
    let found = FoundDevice {
        apply: Some(apply()),
        device: Some(exists()),
    };
    let server = server(Script {
        found: vec![found; 101],
        ..Script::default()
    })
    .await;

    let (ended, out) = ran(&server, "find pump-4 --product-key a1").await;

    assert_eq!(ended.unwrap(), Ended::Well);
    let told: Vec<&str> = out.lines().collect();
    assert_eq!(told.len(), 102);
    assert_eq!(
        told[101],
        "17     a1       CHECK_FAILED  2026-01-01T00:00:00Z  4       INVALID  EXISTS  it exists"
    );
    let Asked::Find(request) = server.asked().remove(0) else {
        panic!("{:?}", server.asked());
    };
    assert_eq!(
        (&*request.device_name, &*request.product_key),
        ("pump-4", "a1")
    );

    let (_, out) = ran(&server, "find pump-4 --output json").await;
    assert_eq!(lines(&out)[100]["apply"]["apply_id"], 17);
    assert_eq!(lines(&out)[100]["device"]["ordinal"], 4);
}

#[tokio::test]
async fn find_of_a_name_that_is_nowhere_says_so_and_is_short() {
    let server = server(Script::default()).await;

    let (ended, out) = ran(&server, "find pump-4").await;
    assert_eq!(
        (ended.unwrap(), &*out),
        (Ended::Short, "pump-4 is in no apply\n")
    );

    let (ended, out) = ran(&server, "find pump-4 --output json").await;
    assert_eq!((ended.unwrap(), &*out), (Ended::Short, ""));
}

#[tokio::test]
async fn explain_is_a_line_for_each_entry_and_then_what_it_waits_for() {
    let entry = |second, what| HistoryEntry {
        time: at(second),
        what: Some(what),
    };
    let call = UpstreamCall {
        action: "BatchCheckDeviceNames".into(),
        round: 1,
        took_ms: 85,
        result: "Throttling".into(),
        message: "slow down".into(),
        request_id: "5F0C".into(),
        ..UpstreamCall::default()
    };
    let later = UpstreamCall {
        result: "OK".into(),
        upstream_apply_id: 9,
        ..call.clone()
    };
    let check = apply_at(1, ApplyStatus::Check, [1, 0, 0]);
    let server = server(Script {
        history: vec![check.clone()],
        entries: vec![
            entry(0, What::Event(check)),
            entry(1, What::Call(call)),
            entry(
                2,
                What::Call(UpstreamCall {
                    message: String::new(),
                    ..later
                }),
            ),
            HistoryEntry::default(),
        ],
        waits: vec![WaitingFor {
            code: WaitCode::Upstream.into(),
            message: String::new(),
            until: at(9),
        }],
        ..Script::default()
    })
    .await;

    let (ended, out) = ran(&server, "explain 17").await;

    assert_eq!(ended.unwrap(), Ended::Well);
    let told: Vec<String> = out
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        told,
        [
            "time what took result RequestId message",
            "2026-01-01T00:00:00.005Z CHECK, revision 1 0 created, 0 invalid, 0 \
             failed, 0 unknown, 1 pending",
            "2026-01-01T00:00:01.005Z BatchCheckDeviceNames, round 1 85 ms Throttling 5F0C slow \
             down",
            "2026-01-01T00:00:02.005Z BatchCheckDeviceNames, round 1, ApplyId 9 85 ms OK 5F0C",
            "- -",
            "apply 17 CHECK waits for UPSTREAM (until 2026-01-01T00:00:09Z)",
        ]
    );

    let (_, out) = ran(&server, "explain 17 --output json").await;
    let lines = lines(&out);
    assert_eq!(lines[0]["event"]["status"], "CHECK");
    assert_eq!(lines[1]["call"]["took_ms"], 85);
    assert_eq!(lines[1]["event"], Value::Null);
    assert_eq!(lines[4]["waiting_for"]["code"], "UPSTREAM");
    assert_eq!(lines.len(), 5);
}

#[tokio::test]
async fn quota_is_a_row_for_each_action() {
    let quota = Quota {
        action: "BatchCheckDeviceNames".into(),
        rate: 9.6,
        calls_last_minute: 570,
        rounds_due: 12,
        slowed: 2.0,
        blocked: "the bill is overdue".into(),
    };
    let server = server(Script {
        quotas: vec![quota],
        ..Script::default()
    })
    .await;

    let (ended, out) = ran(&server, "quota").await;

    assert_eq!(ended.unwrap(), Ended::Well);
    let expected = "\
action                 calls a second  last minute  rounds due  slowed  blocked
BatchCheckDeviceNames  9.6             570          12          x2      the bill is overdue
";
    assert_eq!(out, expected);

    let (_, out) = ran(&server, "quota --output json").await;
    assert_eq!(lines(&out)[0]["rate"], 9.6);
}
