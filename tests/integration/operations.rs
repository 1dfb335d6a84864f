//! What operators and the merely curious ask through the socket: the history of an apply, the use of
//! the quotas, what is removed and what is not taken any more.

use registrar::{
    domain::Lane,
    proto::{
        AfterCheck, ApplyStatus as S, CheckDevicesRequest, ExplainApplyRequest, GeneratedNames,
        GetQuotaRequest, ListAppliesRequest, WatchApplyRequest, history_entry::What,
    },
};

use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    support::stack::{PATIENCE, named, watch},
    surface::{accepted, request, stack, submit},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_an_apply_is_told_in_order_whatever_the_page() {
    let (_upstream, _server, mut client, _database) = stack(&[]).await;
    let apply = accepted(
        &mut client,
        CheckDevicesRequest {
            after_check: AfterCheck::RegisterValid.into(),
            ..request("light", 3)
        },
    )
    .await;
    let seen = watch(&mut client, apply.apply_id, 0).await;
    let ask = |page_size, page_token| ExplainApplyRequest {
        apply_id: apply.apply_id,
        page_size,
        page_token,
    };

    let whole = client.explain_apply(ask(0, String::new())).await;
    let whole = whole.unwrap().into_inner();
    let mut pieces = Vec::new();
    let mut token = String::new();
    loop {
        let page = client
            .explain_apply(ask(1, token))
            .await
            .unwrap()
            .into_inner();
        assert!(page.entries.len() <= 1);
        pieces.extend(page.entries);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }

    assert_eq!(pieces, whole.entries);
    assert_eq!(whole.next_page_token, "");
    assert_eq!(whole.apply.as_ref().unwrap().status(), S::CreateSuccess);
    let mut events = Vec::new();
    let mut actions = Vec::new();
    for entry in whole.entries {
        match entry.what.unwrap() {
            What::Event(apply) => events.push(apply),
            What::Call(call) => {
                assert!(!call.request_id.is_empty() && call.upstream_apply_id > 0);
                assert_eq!(call.round, 1);
                actions.push(call.action);
            }
        }
    }
    assert_eq!(events, seen);
    assert_eq!(actions[0], "BatchCheckDeviceNames");
    actions.dedup();
    assert!(actions.contains(&"BatchRegisterDeviceWithApplyId".to_owned()));
    let unknown = ExplainApplyRequest {
        apply_id: apply.apply_id + 1,
        ..Default::default()
    };
    let refused = client.explain_apply(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_use_of_each_quota_is_told() {
    // One check in 40 s: the round of a second chunk stays due.
    let (_upstream, _server, mut client, _database) =
        stack(&["--check-rate", "0.05", "--quota-share", "0.5"]).await;
    let made = CheckDevicesRequest {
        generated: Some(GeneratedNames {
            count: 20_000,
            pattern: "lot7-{seq:06}".into(),
            first: 1,
        }),
        ..request("", 0)
    };
    let apply = accepted(&mut client, made).await;
    let mut stream = client
        .watch_apply(WatchApplyRequest {
            apply_id: apply.apply_id,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    while stream
        .message()
        .await
        .unwrap()
        .unwrap()
        .apply
        .unwrap()
        .counts
        .unwrap()
        .valid
        == 0
    {}

    let answer = client
        .get_quota(GetQuotaRequest {})
        .await
        .unwrap()
        .into_inner();

    let quota = |action: &str| {
        let quotas = &answer.quotas;
        quotas.iter().find(|quota| quota.action == action).unwrap()
    };
    assert!(Lane::ALL.iter().all(|lane| quota(lane.as_str()).rate > 0.0));
    assert_eq!(answer.quotas.len(), Lane::ALL.len());
    let check = quota("BatchCheckDeviceNames");
    assert_eq!((check.rate, check.calls_last_minute), (0.025, 1));
    assert_eq!((check.rounds_due, check.slowed), (1, 1.0));
    assert!(quota("QueryBatchRegisterDeviceStatus").calls_last_minute >= 1);
    assert_eq!(quota("BatchRegisterDeviceWithApplyId").rate, 250.0);
    assert_eq!(quota("QueryPageByApplyId").calls_last_minute, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_settled_long_ago_is_removed_and_its_watches_end() {
    // Looks are numbered in those of the hub; a removed apply is noticed after 120 of them.
    let (_upstream, _server, mut client, database) = stack(&[
        "--retain-for",
        "1h",
        "--retention-every",
        "1s",
        "--look-every",
        "5ms",
    ])
    .await;
    let apply = accepted(&mut client, request("light", 1)).await;
    let stays = accepted(&mut client, request("light", 1)).await;
    for id in [apply.apply_id, stays.apply_id] {
        watch(&mut client, id, 0).await;
    }
    // A watch that waits for more: the apply is registered, and no event of it has come yet.
    sqlx::query("UPDATE applies SET status = 'CREATE' WHERE apply_id = $1")
        .bind(apply.apply_id)
        .execute(&database.pool)
        .await
        .unwrap();
    let open = WatchApplyRequest {
        apply_id: apply.apply_id,
        after_revision: 2,
        ..Default::default()
    };
    let mut stream = client.watch_apply(open).await.unwrap().into_inner();

    sqlx::query(
        "UPDATE applies SET status = 'CHECK_SUCCESS', created_at = now() - interval '2 hours',
                            updated_at = now() - interval '2 hours'
         WHERE apply_id = $1",
    )
    .bind(apply.apply_id)
    .execute(&database.pool)
    .await
    .unwrap();
    let end = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .unwrap();

    assert_eq!(end.unwrap_err().code(), Code::NotFound);
    let all = client
        .list_applies(ListAppliesRequest::default())
        .await
        .unwrap();
    let left = all.into_inner().applies;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].apply_id, stays.apply_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_takes_no_more_and_says_when_to_come_again() {
    // One check in a long while: what is submitted stays on its way.
    let (_upstream, _server, mut client, _database) =
        stack(&["--check-rate", "0.001", "--max-queued-devices", "100000"]).await;
    let made = |count| CheckDevicesRequest {
        generated: Some(GeneratedNames {
            count,
            pattern: "lot7-{seq:06}".into(),
            first: 1,
        }),
        ..request("", 0)
    };
    accepted(&mut client, made(99_999)).await;

    let refused = submit(&mut client, made(2)).await.unwrap_err();

    assert_eq!(refused.code(), Code::ResourceExhausted);
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "QUEUE_FULL");
    assert!(details.retry_info().unwrap().retry_delay.is_some());
    assert_eq!(details.quota_failure().unwrap().violations.len(), 1);
    accepted(&mut client, made(1)).await;
    let bad = CheckDevicesRequest {
        devices: vec![named("no")],
        ..request("", 0)
    };
    accepted(&mut client, bad).await;
    let judged = CheckDevicesRequest {
        validate_only: true,
        ..made(100_000)
    };
    assert!(submit(&mut client, judged).await.is_ok());
}
