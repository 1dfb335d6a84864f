//! The commands that set something going or stay with it.

use std::{
    io::{self, Write},
    sync::Mutex,
};

use serde_json::Value;
use tonic::{Code, Status};

use crate::{
    cli::{
        Ended, run,
        testing::{Asked, Cut, Script, Server, apply_at, parsed, ran},
    },
    proto::{
        AfterCheck, Apply, ApplyStatus, CancelApplyRequest, Device, DeviceOutcome, GeneratedNames,
        Reason, ReasonCode, WaitCode, WaitingFor,
    },
};

fn created() -> Vec<Apply> {
    vec![
        apply_at(1, ApplyStatus::Check, [2, 0, 0]),
        apply_at(2, ApplyStatus::Create, [2, 0, 0]),
        apply_at(3, ApplyStatus::CreateSuccess, [0, 0, 2]),
    ]
}

fn too_short() -> Device {
    Device {
        ordinal: 0,
        device_name: "l1".into(),
        outcome: DeviceOutcome::Invalid.into(),
        reason: Some(Reason {
            code: ReasonCode::NameLength.into(),
            message: "4 to 32 are allowed".into(),
            ..Reason::default()
        }),
        ..Device::default()
    }
}

fn waiting() -> WaitingFor {
    WaitingFor {
        code: WaitCode::Quota.into(),
        message: "its turn".into(),
        until: None,
    }
}

fn lines(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[tokio::test]
async fn check_is_sent_again_under_the_same_request_id_until_it_is_answered() {
    let failures = vec![
        Status::unavailable("starting"),
        Status::unavailable("starting"),
    ];
    let server = Server::with(Script {
        history: created(),
        failures: Mutex::new(failures.into()),
        ..Script::default()
    });
    let server = server.await;
    let file = file("device_name\npump-1\npump-2\n");

    let line = format!("check {} --product-key a1", file.path().display());
    let (ended, out) = ran(&server, &line).await;

    assert_eq!(ended.unwrap(), Ended::Well);
    let submitted = server.submitted();
    assert_eq!(submitted.len(), 3);
    assert!(!submitted[0].request_id.is_empty());
    assert!(submitted.iter().all(|one| *one == submitted[0]));
    assert!(out.starts_with("apply 17  CREATE_SUCCESS after "), "{out}");
    assert_eq!(
        out.lines().nth(1),
        Some("2 devices: 2 created, 0 invalid, 0 failed, 0 unknown")
    );
}

#[tokio::test]
async fn check_sends_what_the_command_line_says() {
    let server = Server::start(created(), vec![], []).await;

    let (ended, out) = ran(
        &server,
        "check --product-key a1 --iot-instance-id iot-7 --generate lot7-{seq:06} --count 3 \
         --first 40 --after-check register-if-all-valid --label lot=7 --label shift=late \
         --request-id mine --no-watch --output json",
    )
    .await;

    assert_eq!(ended.unwrap(), Ended::Well);
    let request = server.submitted().remove(0);
    assert_eq!(request.product_key, "a1");
    assert_eq!(request.iot_instance_id, "iot-7");
    assert_eq!(request.request_id, "mine");
    assert_eq!(request.after_check(), AfterCheck::RegisterIfAllValid);
    assert_eq!(request.labels["lot"], "7");
    assert_eq!(request.labels["shift"], "late");
    let generated = GeneratedNames {
        count: 3,
        pattern: "lot7-{seq:06}".into(),
        first: 40,
    };
    assert_eq!(request.generated, Some(generated));
    assert!(request.devices.is_empty());
    let lines = lines(&out);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["apply"]["status"], "CHECK");
    assert!(server.watched_after().is_empty());
}

#[tokio::test]
async fn check_tells_each_refused_device_in_json_with_its_line() {
    let history = vec![
        apply_at(1, ApplyStatus::Check, [2, 0, 0]),
        apply_at(2, ApplyStatus::CheckFailed, [1, 1, 0]),
    ];
    let server = Server::start(history, vec![too_short()], []).await;
    let file = file("device_name\n\nl1\npump-1\n");

    let line = format!(
        "check {} --product-key a1 --output json",
        file.path().display()
    );
    let (ended, out) = ran(&server, &line).await;

    assert_eq!(ended.unwrap(), Ended::Short);
    let lines = lines(&out);
    assert_eq!(lines[0]["apply"]["status"], "CHECK_FAILED");
    assert_eq!(lines[0]["apply"]["counts"]["invalid"], 1);
    assert_eq!(lines[1]["line"], 3);
    assert_eq!(lines[1]["device"]["reason"]["code"], "NAME_LENGTH");
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn check_that_only_validates_tells_the_refused_and_watches_nothing() {
    let server = Server::start(vec![], vec![too_short()], []).await;
    let file = file("device_name\nl1\npump-1\n");

    let line = format!(
        "check {} --product-key a1 --validate-only",
        file.path().display()
    );
    let (ended, out) = ran(&server, &line).await;

    assert_eq!(ended.unwrap(), Ended::Short);
    assert!(server.submitted()[0].validate_only);
    let told: Vec<&str> = out.lines().collect();
    assert_eq!(
        told[..2],
        ["only judged, not stored", "2 devices: 1 invalid"]
    );
    assert!(told[2].starts_with("line 2 ") && told[2].contains("NAME_LENGTH"));
    assert_eq!(told.len(), 3);
}

#[tokio::test]
async fn check_that_is_refused_fails_with_what_to_change() {
    let server = Server::start(created(), vec![], []).await;

    let (ended, out) = ran(&server, "check --product-key= --generate p-{seq} --count 3").await;

    let error = ended.unwrap_err().to_string();
    assert!(error.ends_with("product_key: must not be empty"), "{error}");
    assert_eq!(out, "");
}

#[tokio::test]
async fn register_asks_for_what_the_flags_say_and_follows_to_the_end() {
    let history = vec![
        apply_at(4, ApplyStatus::Create, [1, 1, 0]),
        apply_at(5, ApplyStatus::CreateSuccess, [0, 1, 1]),
    ];
    let server = Server::with(Script {
        history,
        waits: vec![waiting()],
        ..Script::default()
    });
    let server = server.await;

    let (ended, out) = ran(&server, "register 17 --skip-invalid --retry-failed").await;

    assert_eq!(ended.unwrap(), Ended::Short);
    let Asked::Register(request) = server.asked().remove(0) else {
        panic!("{:?}", server.asked());
    };
    assert!(request.skip_invalid && request.retry_failed && !request.request_id.is_empty());
    assert_eq!(server.watched_after(), [4]);
    assert!(out.starts_with("apply 17  CREATE_SUCCESS after "), "{out}");
}

#[tokio::test]
async fn register_without_a_watch_says_how_the_apply_stands() {
    let server = Server::start(created(), vec![], []).await;

    let (ended, out) = ran(&server, "register 17 --no-watch").await;

    assert_eq!(ended.unwrap(), Ended::Well);
    assert!(out.starts_with("apply 17  CHECK\n2 devices: "), "{out}");
    assert!(server.watched_after().is_empty());
}

#[tokio::test]
async fn cancel_follows_until_nothing_is_in_flight_and_is_not_well() {
    let history = vec![
        apply_at(4, ApplyStatus::Create, [1, 0, 1]),
        apply_at(5, ApplyStatus::Cancelled, [0, 0, 1]),
    ];
    let server = Server::start(history, vec![], []).await;

    let (ended, out) = ran(&server, "cancel 17 --request-id mine --output json").await;

    assert_eq!(ended.unwrap(), Ended::Short);
    let asked = CancelApplyRequest {
        apply_id: 17,
        request_id: "mine".into(),
    };
    assert_eq!(server.asked()[0], Asked::Cancel(asked));
    assert_eq!(lines(&out)[0]["apply"]["status"], "CANCELLED");
}

#[tokio::test]
async fn watch_in_json_is_a_line_for_each_message_and_none_twice() {
    let server = Server::with(Script {
        history: created(),
        waits: vec![waiting()],
        cuts: Mutex::new([Cut::Unavailable { after: 2 }].into()),
        ..Script::default()
    });
    let server = server.await;

    let (ended, out) = ran(&server, "watch 17 --output json").await;

    assert_eq!(ended.unwrap(), Ended::Well);
    let told: Vec<(bool, i64)> = lines(&out)
        .iter()
        .map(|line| {
            let revision = line["apply"]["revision"].as_i64();
            (
                line["heartbeat"].as_bool().unwrap(),
                revision.unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(lines(&out)[0]["apply"], Value::Null);
    assert_eq!(
        told,
        [(true, 0), (false, 1), (true, 1), (false, 2), (false, 3)]
    );
    assert_eq!(lines(&out)[0]["waiting_for"]["code"], "QUOTA");
    assert_eq!(lines(&out)[1]["waiting_for"], Value::Null);
    assert_eq!(server.watched_after(), [0, 1]);
}

#[tokio::test]
async fn watch_at_the_revision_of_a_settled_apply_ends_at_once() {
    let server = Server::start(created(), vec![], []).await;

    let (ended, out) = ran(&server, "watch 17 --after-revision 3 --until created").await;

    assert_eq!(ended.unwrap(), Ended::Well);
    assert!(out.starts_with("apply 17  CREATE_SUCCESS after "), "{out}");
    assert_eq!(server.watched_after(), [3]);
}

#[tokio::test]
async fn watch_of_an_apply_that_is_not_there_fails() {
    let server = Server::start(vec![], vec![], []).await;

    let (ended, _) = ran(&server, "watch 17").await;

    assert_eq!(
        ended.unwrap_err().to_string(),
        "reading the apply: NOT_FOUND: there is no such apply"
    );
}

#[tokio::test]
async fn a_status_of_a_newer_server_is_shown_as_its_number() {
    let newer = Apply {
        status: 99,
        settled: true,
        ..apply_at(2, ApplyStatus::Create, [0; 3])
    };
    let server = Server::start(vec![newer], vec![], []).await;

    let (ended, out) = ran(&server, "watch 17 --until created").await;

    assert_eq!(ended.unwrap(), Ended::Short);
    assert!(out.starts_with("apply 17  99 after "), "{out}");
}

/// A reader that has gone.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_that_goes_ends_a_command_quietly_even_one_that_never_ends() {
    let hang = vec![Cut::Hang { after: 2 }];
    let server = Server::start(created(), vec![], hang).await;

    let never = std::future::pending::<()>;
    for line in [
        "list",
        "quota",
        "get 17",
        "watch 17 --until forever --output json",
    ] {
        let ended = run(parsed(&server, line), &mut Gone, never()).await;
        assert_eq!(ended.unwrap(), Ended::Unread, "{line}");
    }
}

#[tokio::test]
async fn a_call_that_is_refused_is_not_repeated() {
    let refused = Status::new(Code::FailedPrecondition, "the apply is in CHECK");
    let server = Server::with(Script {
        history: created(),
        failures: Mutex::new([refused].into()),
        ..Script::default()
    });
    let server = server.await;

    let (ended, _) = ran(&server, "register 17").await;

    assert_eq!(
        ended.unwrap_err().to_string(),
        "registering the devices: FAILED_PRECONDITION: the apply is in CHECK"
    );
    assert_eq!(server.asked().len(), 1);
}
