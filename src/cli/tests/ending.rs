//! How commands end: what comes next, and what is told to who interrupts one.

use std::sync::Mutex;

use tonic::Status;

use crate::{
    cli::{
        Ended, run,
        testing::{Cut, Script, Server, apply_at, parsed, ran},
    },
    proto::{Apply, ApplyStatus},
};

fn failed() -> Vec<Apply> {
    let mut failed = apply_at(2, ApplyStatus::CheckFailed, [0, 1, 0]);
    let counts = failed.counts.as_mut().unwrap();
    (counts.total, counts.valid) = (2, 1);
    vec![apply_at(1, ApplyStatus::Check, [2, 0, 0]), failed]
}

/// Runs a command and interrupts it once the server has been asked for a watch; its error.
async fn interrupted(server: &Server, line: &str) -> String {
    let interrupt = async {
        while server.watched_after().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let ended = run(parsed(server, line), &mut Vec::new(), interrupt).await;
    ended.unwrap_err().to_string()
}

#[tokio::test]
async fn a_watch_that_is_interrupted_tells_how_to_take_it_up_again() {
    let server = Server::start(failed(), vec![], [Cut::Hang { after: 0 }]).await;

    assert_eq!(
        interrupted(&server, "watch 17 --after-revision 1").await,
        "interrupted\n  apply 17 goes on all the same; `registrar watch 17 --after-revision 1` \
         takes the watch up again"
    );
}

#[tokio::test]
async fn a_check_that_is_interrupted_tells_the_apply() {
    let server = Server::start(failed(), vec![], [Cut::Hang { after: 0 }]).await;

    let told = interrupted(
        &server,
        "check --product-key a1 --generate p-{seq} --count 2",
    )
    .await;

    assert!(
        told.starts_with("interrupted\n  apply 17 goes on all the same; `registrar watch 17 "),
        "{told}"
    );
}

#[tokio::test]
async fn a_submission_that_is_interrupted_tells_the_request_id() {
    let failures = vec![Status::unavailable("starting"); 1_000];
    let server = Server::with(Script {
        failures: Mutex::new(failures.into()),
        ..Script::default()
    });
    let server = server.await;
    let line = "check --product-key a1 --generate p-{seq} --count 2 --request-id mine";
    let interrupt = async {
        while server.submitted().is_empty() {
            tokio::task::yield_now().await;
        }
    };

    let ended = run(parsed(&server, line), &mut Vec::new(), interrupt).await;

    assert_eq!(
        ended.unwrap_err().to_string(),
        "interrupted\n  it is not known whether the devices were taken; submitted again under the \
         request id mine they are not taken twice"
    );
}

#[tokio::test]
async fn a_command_that_leaves_nothing_behind_is_only_interrupted() {
    let server = Server::start(failed(), vec![], []).await;

    let (command, at_once) = (parsed(&server, "list"), std::future::ready(()));
    let ended = run(command, &mut Vec::new(), at_once).await;

    assert_eq!(ended.unwrap_err().to_string(), "interrupted");
}

#[tokio::test]
async fn an_apply_that_waits_for_a_person_ends_with_the_command_that_comes_next() {
    let server = Server::start(failed(), vec![], []).await;
    let next = "next: `registrar register 17 --skip-invalid` has the 1 valid registered without \
                the others";

    for line in ["watch 17", "get 17", "register 17"] {
        let (ended, out) = ran(&server, line).await;
        assert_eq!(ended.unwrap(), Ended::Short);
        assert_eq!(out.lines().last(), Some(next), "{line}");
    }
    for line in ["watch 17", "get 17"] {
        let (_, out) = ran(&server, &format!("{line} --output json")).await;
        assert!(!out.contains("next:"), "{line}");
    }
}
