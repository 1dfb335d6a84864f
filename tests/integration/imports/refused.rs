//! What a request to import may not hold.

use registrar::proto::GeneratedNames;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::*;
use crate::support::stack::named;

fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let details = status.get_details_bad_request().expect("fields");
    let fields = details.field_violations.into_iter();
    fields.map(|violation| violation.field).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_lost_is_refused_and_named() {
    let mut stack = stack(&[], &[]).await;
    let mut refused = async |request: CheckDevicesRequest| {
        fields(&stack.client.check_devices(request).await.unwrap_err())
    };

    let plain = |device| CheckDevicesRequest {
        import: false,
        ..request(vec![named("light-1"), device], AfterCheck::Stop)
    };
    let secret = plain(brings("light-2", "canary", ""));
    assert_eq!(refused(secret).await, ["devices[1].device_secret"]);
    let sn = plain(brings("light-2", "", "SN_1"));
    assert_eq!(refused(sn).await, ["devices[1].sn"]);
    let nickname = NewDevice {
        nickname: "Light_one".into(),
        ..brings("light-1", "s-1", "")
    };
    let nickname = request(vec![nickname], AfterCheck::Stop);
    assert_eq!(refused(nickname).await, ["devices[0].nickname"]);
    let generated = CheckDevicesRequest {
        generated: Some(GeneratedNames {
            count: 1,
            pattern: "light-{seq}".into(),
            first: 1,
        }),
        ..request(vec![], AfterCheck::Stop)
    };
    assert_eq!(refused(generated).await, ["import"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_keys_takes_no_imports_and_says_what_to_set() {
    let database = database().await;
    let upstream = Upstream::start(&[]).await;
    let server = Server::start(&database.url(), &upstream.url, &[]);
    let mut client = server.client().await;

    let refused = client
        .check_devices(request(bringing("light", 1), AfterCheck::Stop))
        .await
        .unwrap_err();

    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().contains("--secret-keys-file"),
        "{refused}"
    );
    let info = refused.get_details_error_info().expect("a reason");
    assert_eq!(info.reason, "VAULT_CLOSED");
    // What stores nothing needs no keys.
    let only_judged = CheckDevicesRequest {
        validate_only: true,
        ..request(vec![brings("light-1", "", "")], AfterCheck::Stop)
    };
    let judged = client
        .check_devices(only_judged)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        outcome(&judged.refused[0]),
        (O::Invalid, Some(R::SecretLength))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_takes_no_imports_says_so_of_each_device_and_holds_nobody_up() {
    let mut stack = stack(&["--simulator-import-product", "a1SimulatorX"], &[]).await;

    let apply = import(&mut stack.client, bringing("light", 3), AfterCheck::Stop).await;
    let seen = watch(&mut stack.client, apply.apply_id, 0).await;

    assert_eq!(seen.last().unwrap().status(), S::CheckFailed);
    let refused = (O::Invalid, Some(R::Refused));
    assert_eq!(outcomes(&mut stack.client, &apply).await, [refused; 3]);
    let names = crate::support::stack::new_devices("other", 3);
    let names = crate::support::stack::check(&mut stack.client, names, AfterCheck::RegisterValid);
    let names = names.await;
    let seen = watch(&mut stack.client, names.apply_id, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_import_is_known_by_all_that_it_says_and_after_a_rotation() {
    let mut stack = stack(&[], &[]).await;
    let asked = |secret: &str| CheckDevicesRequest {
        request_id: "presses".into(),
        ..request(vec![brings("light-1", secret, "SN_1")], AfterCheck::Stop)
    };
    let first = stack.client.check_devices(asked("s-1")).await.unwrap();
    let first = first.into_inner().apply.unwrap();

    let again = stack.client.check_devices(asked("s-1")).await.unwrap();
    assert_eq!(again.into_inner().apply.unwrap().apply_id, first.apply_id);
    let other = stack.client.check_devices(asked("s-2")).await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists);

    stack
        .keys
        .replace(&format!("{}{}", key("k2", 2), key("k1", 1)));
    let mut stack = stack.restart(&[]).await;
    let rotated = stack.client.check_devices(asked("s-1")).await.unwrap();
    assert_eq!(rotated.into_inner().apply.unwrap().apply_id, first.apply_id);
}
