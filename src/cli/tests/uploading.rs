use std::{io::Write as _, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    cli::{
        Ended,
        testing::{Script, Server, apply_at, parsed, ran},
    },
    proto::{ApplyStatus, UploadStart},
};

/// A file of so many devices.
fn file(devices: usize) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "device_name").unwrap();
    for n in 0..devices {
        writeln!(file, "light-{n:05}").unwrap();
    }
    file
}

/// A server that cuts uploads so, and then checks what it has.
async fn server(cuts: Vec<(usize, Status)>) -> Server {
    let script = Script {
        history: vec![
            apply_at(1, ApplyStatus::Check, [10, 0, 0]),
            apply_at(2, ApplyStatus::CheckSuccess, [0, 0, 10]),
        ],
        ..Script::default()
    };
    script.uploaded.lock().unwrap().cuts = cuts.into();
    Server::with(script).await
}

fn line(file: &tempfile::NamedTempFile, more: &str) -> String {
    let path = file.path().display();
    format!("upload {path} --product-key a1 --label lot=7{more}")
}

fn full(after: Duration) -> Status {
    let mut details = ErrorDetails::new();
    details.set_retry_info(Some(after));
    Status::with_error_details(Code::ResourceExhausted, "the queue is full", details)
}

fn names(server: &Server) -> Vec<String> {
    let stored = server.uploaded().stored.clone();
    stored
        .into_iter()
        .map(|device| device.device_name)
        .collect()
}

fn starts(server: &Server) -> Vec<UploadStart> {
    server.uploaded().starts.clone()
}

#[tokio::test]
async fn an_upload_that_is_cut_off_goes_on_where_it_stopped_under_the_same_request_id() {
    let cuts = vec![
        (3, Status::unavailable("stopping")),
        (0, Status::unavailable("away")),
        (3, full(Duration::from_millis(1))),
    ];
    let server = server(cuts).await;
    let file = file(2_500);

    let (ended, out) = ran(&server, &line(&file, "")).await;

    assert_eq!(ended.unwrap(), Ended::Well);
    assert!(out.contains("apply 17  CHECK_SUCCESS"), "{out}");
    let expected = (0..2_500).map(|n| format!("light-{n:05}"));
    assert!(names(&server).into_iter().eq(expected));
    let starts = starts(&server);
    assert_eq!(starts.len(), 4);
    assert!(starts.iter().all(|start| *start == starts[0]));
    assert!(starts[0].request_id.starts_with("upload-"));
    assert_eq!(starts[0].labels["lot"], "7");
}

#[tokio::test]
async fn the_same_command_again_finds_its_upload_and_another_request_id_makes_another() {
    let server = server(vec![]).await;
    let file = file(7);

    for _ in 0..2 {
        let (ended, _) = ran(&server, &line(&file, "")).await;
        assert_eq!(ended.unwrap(), Ended::Well);
    }
    assert_eq!(names(&server).len(), 7);
    let (ended, _) = ran(&server, &line(&file, " --request-id mine --no-watch")).await;
    assert_eq!(ended.unwrap(), Ended::Well);

    let ids: Vec<_> = starts(&server)
        .into_iter()
        .map(|start| start.request_id)
        .collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[2], "mine");
}

#[tokio::test]
async fn what_a_server_refuses_for_good_ends_an_upload_and_says_how_it_goes_on() {
    let cuts = vec![(
        3,
        Status::aborted("a newer stream of this upload has taken over"),
    )];
    let server = server(cuts).await;

    let (ended, _) = ran(&server, &line(&file(7), "")).await;

    let error = ended.unwrap_err().to_string();
    assert!(
        error.starts_with("uploading the devices: ABORTED: a newer stream"),
        "{error}"
    );
    assert!(error.contains("apply 17 has 3 of 7 devices"), "{error}");
    assert!(
        error.contains("the same command goes on where it stopped"),
        "{error}"
    );
    assert_eq!(starts(&server).len(), 1);
}

#[tokio::test]
async fn an_upload_that_cannot_go_on_says_what_to_do_instead() {
    for (refusal, told) in [
        (
            Status::failed_precondition("apply 17 was cancelled"),
            "--request-id with a name that was not used before",
        ),
        (
            Status::invalid_argument("too many devices"),
            "too many devices",
        ),
    ] {
        let server = server(vec![(3, refusal)]).await;

        let (ended, _) = ran(&server, &line(&file(7), "")).await;

        let error = ended.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
        assert!(!error.contains("the same command goes on"), "{error}");
    }
}

#[tokio::test]
async fn an_upload_that_is_interrupted_says_how_far_it_is_and_how_it_goes_on() {
    let hour = Duration::from_secs(3600);
    let server = server(vec![(3, Status::unavailable("")), (0, full(hour))]).await;
    let file = file(7);
    // Who opens a second stream has heard what became of the first.
    let interrupt = async {
        while starts(&server).len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    let out = &mut Vec::new();

    let ended = crate::cli::run(parsed(&server, &line(&file, "")), out, interrupt).await;

    let error = ended.unwrap_err().to_string();
    assert_eq!(
        error,
        "interrupted\n  apply 17 has 3 of 7 devices, and nothing of an upload is registered before \
         all of it is there; the same command goes on where it stopped"
    );
}

#[tokio::test]
async fn a_file_that_is_none_is_refused_before_anything_is_sent() {
    let server = server(vec![]).await;
    let mut file = file(7);
    writeln!(file, "light-1,two").unwrap();

    let (ended, _) = ran(&server, &line(&file, "")).await;

    let error = ended.unwrap_err().to_string();
    assert!(error.contains("line 9: has 2 values"), "{error}");
    assert_eq!(starts(&server), []);
}
