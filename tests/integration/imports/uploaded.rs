//! Imports that are uploaded part by part.

use std::process::{Command, Stdio};

use registrar::proto::UploadStart;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::*;
use crate::{
    support::{registrar_binary, stack::named},
    upload::Upload,
};

fn begin() -> UploadStart {
    UploadStart {
        product_key: PRODUCT.into(),
        after_check: AfterCheck::RegisterValid.into(),
        request_id: "meters".into(),
        import: true,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_an_import_goes_on_under_its_own_key_after_a_rotation() {
    let mut stack = stack(&[], &[]).await;
    let mut devices = bringing("light", 10_050);
    devices[3] = brings("light-bad", "not allowed!", "");
    devices[10_001] = brings("light-bad", "allowed", "");
    let opened = Upload::open(&mut stack.client, begin()).await;
    let (mut first, begun) = opened.unwrap();
    let apply = begun.apply.unwrap();
    assert!(apply.import && !apply.sealed);
    first.send(0, &devices[..10_000]).await;
    let stored = first.answer().await.unwrap().unwrap();
    assert_eq!(stored.next_ordinal, 10_000);
    drop(first);

    let keys = format!("{}{}", key("k2", 2), key("k1", 1));
    stack.keys.replace(&keys);
    let mut stack = stack.restart(&[]).await;
    let opened = Upload::open(&mut stack.client, begin()).await;
    let (mut second, resumed) = opened.unwrap();
    assert_eq!(resumed.next_ordinal, 10_000);
    second.send(10_000, &devices[10_000..]).await;
    second.seal(10_050).await;
    let sealed = second.answer().await.unwrap().unwrap().apply.unwrap();

    assert!(sealed.sealed && sealed.apply_id == apply.apply_id);
    let seen = watch(&mut stack.client, apply.apply_id, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    // What breaks a rule claims no name, also where it is the secret that does.
    let told = outcomes(&mut stack.client, &apply).await;
    assert_eq!(told[3], (O::Invalid, Some(R::SecretCharacter)));
    assert_eq!(told[10_001], (O::Created, None));
    assert_created_once(&stack, "light", 10_049, "uploaded").await;
    let kept: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM chunks WHERE secrets IS NOT NULL)
             OR EXISTS (SELECT FROM applies WHERE data_key IS NOT NULL)",
    )
    .fetch_one(&stack.database.pool)
    .await
    .unwrap();
    assert!(!kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_with_what_would_be_lost_is_refused_and_named() {
    let mut stack = stack(&[], &[]).await;
    let plain = UploadStart {
        import: false,
        request_id: String::new(),
        ..begin()
    };
    let opened = Upload::open(&mut stack.client, plain).await;
    let (mut upload, _) = opened.unwrap();

    let devices = [named("light-1"), brings("light-2", "canary", "")];
    upload.send(0, &devices).await;

    let refused = upload.answer().await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let fields = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(fields[0].field, "devices[1].device_secret");
    assert!(!format!("{refused:?}").contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_uploads_an_import_from_a_file() {
    let stack = stack(&[], &[]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let rows: String = (0..120)
        .map(|n| format!("light-{n:06},{}\n", secret("light", n)))
        .collect();
    std::fs::write(file.path(), format!("device_name,device_secret\n{rows}")).unwrap();

    let told = Command::new(registrar_binary())
        .arg("upload")
        .arg(file.path())
        .args(["--import", "--product-key", PRODUCT])
        .args(["--after-check", "register-valid"])
        .args(["--server", &format!("http://{}", stack.server.address)])
        .stdin(Stdio::null())
        .output()
        .unwrap();

    let out = String::from_utf8(told.stdout).unwrap() + str::from_utf8(&told.stderr).unwrap();
    assert!(told.status.success(), "{out}");
    assert!(!out.contains("s.light."), "{out}");
    assert_created_once(&stack, "light", 120, &out).await;
}
