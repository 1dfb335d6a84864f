//! Uploads and exports: what they need, what is written down of them, and how they end once their
//! caller may not have them any more.

use registrar::proto::{
    AfterCheck, NewDevice, UploadDevicesRequest, UploadDevicesResponse, UploadPart, UploadSeal,
    UploadStart, registrar_service_client::RegistrarServiceClient, upload_devices_request::Part,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Streaming};
use tonic_types::StatusExt as _;

use super::{audit::entries, *};
use crate::support::stack::{new_devices, patiently};

const CHUNK: usize = 10_000;

fn start(after_check: &str) -> Value {
    json!({"start": {"product_key": "a1Simulator", "after_check": after_check}})
}

fn devices(count: usize) -> Value {
    let devices: Vec<_> = (0..count)
        .map(|n| json!({"device_name": format!("light-{n}")}))
        .collect();
    json!({"devices": {"devices": devices}})
}

fn seal(total: usize) -> Value {
    json!({"seal": {"total": total}})
}

/// An upload that stays open.
struct Open {
    parts: mpsc::Sender<UploadDevicesRequest>,
    answers: Streaming<UploadDevicesResponse>,
}

impl Open {
    async fn new(stack: &Stack, token: &str, after_check: AfterCheck) -> Self {
        let url = format!("http://{}", stack.server.address);
        let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
        let (parts, sent) = mpsc::channel(4);
        let start = UploadStart {
            product_key: "a1Simulator".to_owned(),
            after_check: after_check.into(),
            ..Default::default()
        };
        let mut request = Request::new(ReceiverStream::new(sent));
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        let open = async {
            let mut client = RegistrarServiceClient::new(channel);
            client.upload_devices(request).await.unwrap().into_inner()
        };
        let send = Self::message(&parts, Part::Start(start));
        let (answers, ()) = patiently(async { tokio::join!(open, send) }).await;
        let mut open = Self { parts, answers };
        assert_eq!(open.answer().await.unwrap(), 0);
        open
    }

    async fn message(parts: &mpsc::Sender<UploadDevicesRequest>, part: Part) {
        let message = UploadDevicesRequest { part: Some(part) };
        parts.send(message).await.ok();
    }

    async fn send(&self, devices: Vec<NewDevice>) {
        let part = UploadPart {
            first_ordinal: 0,
            devices,
        };
        Self::message(&self.parts, Part::Devices(part)).await;
    }

    /// Where the next answer says to go on.
    async fn answer(&mut self) -> Result<i64, Status> {
        let answer = patiently(self.answers.message()).await?;
        Ok(answer.expect("an answer").next_ordinal)
    }
}

/// Holds that a stream was ended since its caller may not have it, and where it goes on.
#[track_caller]
fn assert_revoked(ended: &Status, key: &str, place: &str) {
    assert_eq!(
        (ended.code(), reason(ended).as_str()),
        (Code::Unauthenticated, "CREDENTIALS_REVOKED")
    );
    let info = ended.get_details_error_info().unwrap();
    assert_eq!(info.metadata["apply_id"], "1");
    assert_eq!(info.metadata[key], place);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_for_who_has_the_right_to_them_and_the_audit_shows_both() {
    let ((one, hash), (reader, other)) = (token(), token());
    let access = [
        entry("press", "a", ALL, "*", &[&hash]),
        entry("viewer", "a", "read", "*", &[&other]),
    ];
    let stack = Stack::with(&access.concat()).await;
    let (mut press, mut viewer) = (stack.api(Some(&one)).await, stack.api(Some(&reader)).await);
    let submit = json!({
        "product_key": "a1Simulator", "devices": [{"device_name": "light-1"}],
        "after_check": "AFTER_CHECK_REGISTER_VALID",
    });
    press.call("CheckDevices", &submit).await.unwrap();
    press
        .call("WatchApply", &json!({"apply_id": 1}))
        .await
        .unwrap();
    let with = json!({"apply_id": 1, "credentials": true});
    let without = json!({"apply_id": 1});

    let refused = viewer.call("ExportDevices", &with).await.unwrap_err();
    let plain = viewer.call("ExportDevices", &without).await.unwrap();
    let secret = press.call("ExportDevices", &with).await.unwrap();

    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::PermissionDenied, "RIGHT_MISSING")
    );
    let info = refused.get_details_error_info().unwrap();
    assert_eq!(info.metadata["right"], "credentials");
    let told = |answers: &[Value]| answers[0]["devices"][0]["deviceSecret"].is_string();
    assert!(!told(&plain) && told(&secret), "{plain:?}");
    assert_eq!(
        entries(&stack).await,
        [
            "SUBMIT a press TOKEN 1 1 devices, after_check REGISTER_VALID",
            "REFUSED a viewer TOKEN 0 right credentials",
            "CREDENTIALS a press TOKEN 1 from device 0",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_written_down_where_it_begins_is_taken_over_and_is_sealed() {
    let (token, hash) = token();
    let stack = Stack::with(&entry("press", "a", ALL, "*", &[&hash])).await;
    let mut api = stack.api(Some(&token)).await;

    // Cut before it is sealed, and resumed.
    let cut = json!([start("AFTER_CHECK_REGISTER_VALID")]);
    let ended = api.call("UploadDevices", &cut).await.unwrap_err();
    assert_eq!(reason(&ended), "UPLOAD_NOT_SEALED");
    let resumed = json!([{"start": {"apply_id": 1}}, devices(3), seal(3)]);
    for _ in 0..2 {
        // The second is refused its devices, and changes nothing.
        api.call("UploadDevices", &resumed).await.ok();
    }

    assert_eq!(
        entries(&stack).await,
        [
            "SUBMIT a press TOKEN 1 an upload, after_check REGISTER_VALID",
            "SUBMIT a press TOKEN 1 an upload, taken over from device 0 on",
            "SUBMIT a press TOKEN 1 3 devices, sealed",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_registers_needs_the_right_to_and_another_product_is_not_there() {
    let tokens = [token(), token(), token()];
    let [(all, _), (submits, _), (elsewhere, _)] = &tokens;
    let access = [
        entry("press", "a", ALL, "*", &[&tokens[0].1]),
        entry("loader", "a", "submit read", "*", &[&tokens[1].1]),
        entry("other", "a", ALL, "b*", &[&tokens[2].1]),
    ];
    let stack = Stack::with(&access.concat()).await;
    let mut press = stack.api(Some(all)).await;
    let begun = json!([start("AFTER_CHECK_REGISTER_IF_ALL_VALID")]);
    press.call("UploadDevices", &begun).await.unwrap_err();
    let mut loader = stack.api(Some(submits)).await;
    let mut other = stack.api(Some(elsewhere)).await;
    let resume = json!([{"start": {"apply_id": 1}}, devices(1), seal(1)]);

    let denied = Code::PermissionDenied;
    for request in [&begun, &resume] {
        let refused = patiently(loader.call("UploadDevices", request)).await;
        let refused = refused.unwrap_err();
        let told = (refused.code(), reason(&refused));
        assert_eq!(told, (denied, "RIGHT_MISSING".to_owned()));
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(info.metadata["right"], "register");
    }
    for (request, code, why) in [
        (&begun, denied, "PRODUCT_NOT_ALLOWED"),
        (&resume, Code::NotFound, "APPLY_NOT_FOUND"),
    ] {
        let refused = patiently(other.call("UploadDevices", request)).await;
        let refused = refused.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (code, why));
    }
    let stop = json!([start("AFTER_CHECK_STOP"), devices(1), seal(1)]);
    assert!(patiently(loader.call("UploadDevices", &stop)).await.is_ok());

    assert_eq!(
        entries(&stack).await,
        [
            "SUBMIT a press TOKEN 1 an upload, after_check REGISTER_IF_ALL_VALID",
            "REFUSED a loader TOKEN 0 right register",
            "REFUSED a loader TOKEN 0 right register",
            "REFUSED a other TOKEN 0 right submit, product a1Simulator",
            "SUBMIT a loader TOKEN 2 an upload, after_check STOP",
            "SUBMIT a loader TOKEN 2 1 devices, sealed",
        ]
    );
    let now = press
        .call("GetApply", &json!({"apply_id": 1}))
        .await
        .unwrap();
    assert_eq!(now[0]["apply"]["status"], "APPLY_STATUS_CHECK");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_soon_after_its_caller_may_not_make_it_any_more() {
    let (token, hash) = token();
    let with = |rights: &str, hashes: &[&str]| entry("one", "a", rights, "*", hashes);
    for (after, after_check) in [
        (with(ALL, &[]), AfterCheck::Stop),
        (with("read", &[&hash]), AfterCheck::Stop),
        // Its seal would register.
        (with("submit read", &[&hash]), AfterCheck::RegisterValid),
    ] {
        let stack = Stack::with(&with(ALL, &[&hash])).await;
        let mut upload = Open::new(&stack, &token, after_check).await;
        upload.send(new_devices("light", CHUNK)).await;
        assert_eq!(upload.answer().await.unwrap(), CHUNK as i64);

        stack.replace("access.toml", &after);
        let ended = upload.answer().await.unwrap_err();

        assert_revoked(&ended, "next_ordinal", "10000");
        let seal = UploadSeal {
            total: CHUNK as i64,
        };
        Open::message(&upload.parts, Part::Seal(seal)).await;
        let sealed = sqlx::query_scalar::<_, bool>("SELECT sealed FROM applies");
        assert!(!sealed.fetch_one(&stack.database.pool).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_ends_soon_after_its_caller_may_not_have_it_any_more() {
    let (token, hash) = token();
    let with = |rights: &str, hashes: &[&str]| entry("one", "a", rights, "*", hashes);
    for after in [
        with(ALL, &[]),
        with("read", &[&hash]),
        with("credentials", &[&hash]),
    ] {
        let stack = Stack::with(&with(ALL, &[&hash])).await;
        let mut api = stack.api(Some(&token)).await;
        let upload = json!([start("AFTER_CHECK_REGISTER_VALID"), devices(5), seal(5)]);
        api.call("UploadDevices", &upload).await.unwrap();
        api.call("WatchApply", &json!({"apply_id": 1}))
            .await
            .unwrap();
        // It waits for as long as this stands.
        let block =
            r#"{"kind":"block-action","action":"QueryPageByApplyId","code":"Forbidden.RAM"}"#;
        stack.upstream.set("it", block).await;
        let pages = stack.upstream.ledger("QueryPageByApplyId").await.len();
        let export = json!({"apply_id": 1, "credentials": true, "from_ordinal": 2});

        let removed = async {
            until(async || {
                let now = stack.upstream.ledger("QueryPageByApplyId").await.len();
                (now > pages).then_some(())
            })
            .await;
            stack.replace("access.toml", &after);
        };
        let (ended, ()) = tokio::join!(patiently(api.call("ExportDevices", &export)), removed);

        assert_revoked(&ended.unwrap_err(), "from_ordinal", "2");
    }
}
