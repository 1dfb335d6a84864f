//! Imports of a database that is restored to an older state than the upstream is in.

use registrar::proto::RegisterRequest;

use super::*;
use crate::support::command;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restored_database_has_forgotten_is_looked_up_and_not_imported_again() {
    let mut stack = stack(&SHORT_UPSTREAM, &SHORT).await;
    let waiting = import(&mut stack.client, bringing("waiting", 5), AfterCheck::Stop).await;
    ends_with(&mut stack.client, &waiting, S::CheckSuccess).await;
    let deaf = |action: &str| format!(r#"{{"kind":"unavailable","action":"{action}"}}"#);
    let upstream = &stack.upstream;
    upstream.set("import", &deaf("BatchImportDevice")).await;
    let sent = import(
        &mut stack.client,
        bringing("sent", 120),
        AfterCheck::RegisterValid,
    )
    .await;
    reached(upstream, "BatchImportDevice", 1).await;
    upstream.set("check", &deaf("BatchCheckImportDevice")).await;
    let asked = import(&mut stack.client, bringing("asked", 7), AfterCheck::Stop).await;
    let accepted = bringing("accepted", 150);
    let accepted = import(&mut stack.client, accepted, AfterCheck::RegisterIfAllValid).await;
    assert!(stack.server.terminate());
    let copy = stack.database.copy().await;

    // All of it goes on, and ends.
    upstream.lift("import").await;
    upstream.lift("check").await;
    let flags = stack.keys.flags(&SHORT);
    let server = Server::start(&stack.database.url(), &upstream.url, &flags);
    let mut client = server.client().await;
    ends_with(&mut client, &asked, S::CheckSuccess).await;
    for apply in [&waiting, &asked] {
        register(&mut client, apply).await;
    }
    for apply in [&waiting, &sent, &asked, &accepted] {
        ends_with(&mut client, apply, S::CreateSuccess).await;
    }
    assert!(server.terminate());
    let before = upstream.ledger("BatchImportDevice").await.len();

    // And is forgotten.
    command(&["reconcile", "--restored", "--database-url", &copy.url()]);
    let server = Server::start(&copy.url(), &upstream.url, &flags);
    let mut client = server.client().await;
    register(&mut client, &waiting).await;
    for apply in [&waiting, &sent, &asked, &accepted] {
        ends_with(&mut client, apply, S::CreateSuccess).await;
        for device in list_devices(&mut client, apply.apply_id).await {
            assert_eq!(device.outcome(), O::Created, "{device:?}");
        }
    }

    assert_eq!(upstream.ledger("BatchImportDevice").await.len(), before);
    for device in upstream.devices(PRODUCT).await {
        assert!(
            device["apply_id"].is_null() || device["created"] == 1,
            "{device}"
        );
    }
}

/// Waits until an apply has settled so, beyond its check.
async fn ends_with(client: &mut Client, apply: &Apply, status: S) {
    patiently(async {
        loop {
            let seen = watch(client, apply.apply_id, 0).await;
            let end = seen.last().expect("an end");
            if end.status() == status {
                return;
            }
            assert_eq!(end.status(), S::CheckSuccess, "{end:?}");
        }
    })
    .await;
}

async fn register(client: &mut Client, apply: &Apply) {
    let request = RegisterRequest {
        apply_id: apply.apply_id,
        ..Default::default()
    };
    client.register(request).await.expect("accepted");
}
