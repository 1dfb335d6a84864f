//! The calls of imports, and of devices looked up, over a real socket.

use time::macros::datetime;
use uuid::uuid;

use super::{
    PRODUCT,
    far_end::{FarEnd, answer, soon},
};
use crate::{
    domain::DeviceSecret,
    upstream::{
        CheckedImport, Credential, Credentials, Detail, Error, Found, Imported, ImportedDevice,
        Kind, Product, Refused, Scope, Stamp, Verdict,
    },
};

const STAMP: Stamp = Stamp {
    nonce: uuid!("3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"),
    date: datetime!(2026-01-02 03:04:05.6 UTC),
};

fn secret(text: &str) -> DeviceSecret {
    DeviceSecret::new(text.to_owned())
}

fn refused(name: &str, text: Option<&str>, kind: Kind) -> Refused {
    Refused {
        name: name.to_owned(),
        text: text.map(str::to_owned),
        kind,
    }
}

/// What an import of these devices is refused with, when it is answered so.
async fn refusal(body: &str) -> Error {
    let far = FarEnd::new([answer(200, "", body)]).await;
    let secrets = ["canary-1", "canary-2", "canary-3", "canary-3"].map(secret);
    let devices = [
        ("dev1", &secrets[0], Some("SN_1")),
        ("dev2", &secrets[1], Some("SN_2")),
        ("dev3", &secrets[2], None),
        ("dev4", &secrets[3], Some("SN_2")),
    ];
    let call = far.client.import(PRODUCT, devices);
    let error = call
        .clone()
        .stamped(STAMP)
        .send(soon(), None)
        .await
        .outcome
        .unwrap_err();
    let said = format!("{error} {error:?} {:?} {call:?}", error.refused);
    assert!(!said.contains("canary"), "{said}");
    assert_eq!((error.verdict, error.scope), (Verdict::Final, Scope::Call));
    error
}

#[tokio::test]
async fn the_calls_of_imports_say_what_the_documents_want() {
    let body =
        r#"{"Success":true,"TotalPage":0,"Total":0,"Data":{"ApplyId":9,"Data":[],"IotId":"i"}}"#;
    let mut far = FarEnd::new((0..6).map(|_| answer(200, "", body))).await;
    let (one, two) = (secret("se:1"), secret("s2"));
    let devices = [("light:1@a.b", &one, None), ("dev2", &two, Some("SN_2"))];

    let check = far.client.check_import(PRODUCT, devices);
    let checked = check.send(soon(), None).await.outcome.unwrap();
    let import = far.client.import(PRODUCT, devices);
    let imported = import.send(soon(), None).await.outcome.unwrap();
    let page = far.client.imported(PRODUCT, 9, 3).send(soon(), None).await;
    let detail = far.client.detail(PRODUCT, "a@b").send(soon(), None).await;
    let names = ["a@b", "c"];
    let details = far.client.details(PRODUCT, names).send(soon(), None).await;
    let credentials = far
        .client
        .credentials(PRODUCT, 9, 3)
        .send(soon(), None)
        .await;

    assert!(checked.refused.is_empty());
    assert_eq!(imported.apply_id, 9);
    assert_eq!(page.outcome.unwrap().total_pages, 0);
    assert_eq!(detail.outcome.unwrap().iot_id.as_deref(), Some("i"));
    assert_eq!(details.outcome.unwrap(), []);
    assert_eq!(credentials.outcome.unwrap().total, 0);
    let rows = "DeviceList.1.DeviceName=light%3A1%40a.b&DeviceList.1.DeviceSecret=se%3A1&\
                DeviceList.2.DeviceName=dev2&DeviceList.2.DeviceSecret=s2&DeviceList.2.Sn=SN_2";
    let product = "IotInstanceId=iot-cn-1&ProductKey=a1BwAGVtest";
    for (action, query, body) in [
        ("BatchCheckImportDevice", product, rows),
        ("BatchImportDevice", product, rows),
        (
            "QueryImportedDeviceByApplyId",
            "ApplyId=9&IotInstanceId=iot-cn-1&PageNo=3&PageSize=50",
            "",
        ),
        (
            "QueryDeviceDetail",
            "DeviceName=a%40b&IotInstanceId=iot-cn-1&ProductKey=a1BwAGVtest",
            "",
        ),
        (
            "BatchQueryDeviceDetail",
            "DeviceName.1=a%40b&DeviceName.2=c&IotInstanceId=iot-cn-1&ProductKey=a1BwAGVtest",
            "",
        ),
        (
            "QueryPageByApplyId",
            "ApplyId=9&CurrentPage=3&IotInstanceId=iot-cn-1&PageSize=50",
            "",
        ),
    ] {
        let request = far.heard();
        assert!(
            request.starts_with(&format!("POST /?{query} HTTP/1.1\r\n")),
            "{request}"
        );
        assert!(
            request.contains(&format!("\r\nx-acs-action: {action}\r\n")),
            "{request}"
        );
        assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{request}");
    }
}

#[tokio::test]
async fn an_import_that_is_sent_again_is_the_same_to_the_last_byte() {
    let used = r#"{"Code":"SignatureNonceUsed","Message":"seen"}"#;
    let mut far = FarEnd::new((0..3).map(|_| answer(400, "", used))).await;
    let secret = secret("canary-1");
    let devices = || [("dev1", &secret, Some("SN_1"))];

    let first = far
        .client
        .import(PRODUCT, devices())
        .clone()
        .stamped(STAMP)
        .send(soon(), None)
        .await;
    // Prepared anew, as another process would.
    let again = far
        .client
        .import(PRODUCT, devices())
        .clone()
        .stamped(STAMP)
        .send(soon(), None)
        .await;
    let stamp = Stamp {
        nonce: uuid!("00000000-83d3-44af-a94f-4e0ad82fd6cf"),
        ..STAMP
    };
    far.client
        .import(PRODUCT, devices())
        .clone()
        .stamped(stamp)
        .send(soon(), None)
        .await;

    let (one, two, other) = (far.heard(), far.heard(), far.heard());
    assert_eq!(one, two);
    assert_ne!(one, other);
    assert!(one.contains("\r\nx-acs-signature-nonce: 3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf\r\n"));
    assert!(one.contains("\r\nx-acs-date: 2026-01-02T03:04:05Z\r\n"));
    for error in [first.outcome.unwrap_err(), again.outcome.unwrap_err()] {
        assert!(
            error.nonce_used() && error.verdict == Verdict::Unclear,
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_stamp_that_is_too_old_is_not_blamed_on_the_clock() {
    let body = r#"{"Code":"InvalidTimeStamp.Expired","Message":"expired"}"#;
    // With no date of the upstream's, nothing is known of the clock.
    let far = FarEnd::new([answer(400, "", body), answer(400, "", body)]).await;
    let secret = secret("canary-1");
    let call = far.client.import(PRODUCT, [("dev1", &secret, None)]);

    let old = call
        .clone()
        .stamped(STAMP)
        .send(soon(), None)
        .await
        .outcome
        .unwrap_err();
    let new = call
        .clone()
        .stamped(far.client.stamp())
        .send(soon(), None)
        .await;

    assert!(old.expired() && old.scope == Scope::Call, "{old:?}");
    let new = new.outcome.unwrap_err();
    assert!(new.expired() && new.scope == Scope::Clock, "{new:?}");
}

#[tokio::test]
async fn each_row_that_an_import_is_refused_for_comes_out_once_with_what_is_wrong() {
    let details = r#"[{"DeviceName":"dev1","DeviceSecret":"canary-1","Sn":"SN_1","ErrorMsg":"The device name is illegal."},
        {"DeviceSecret":"canary-2","ErrorMsg":"canary-2 is repeated: canary-2"},
        {"DeviceName":"dev2","ErrorMsg":"canary-2 is repeated: canary-2"},
        {"DeviceName":"canary-3","ErrorMsg":"canary-3"}, {"ErrorMsg":"canary-3"}]"#;
    let expected = [
        refused("dev1", Some("The device name is illegal."), Kind::Name),
        refused("dev2", Some("*** is repeated: ***"), Kind::Exists),
        refused("dev3", None, Kind::Secret),
        refused("dev4", None, Kind::Secret),
    ];
    for data in [
        format!(
            r#"{{"InvalidDeviceNameList":["dev1","canary-1"],"InvalidDeviceSecretList":["canary-3","canary-1","unknown"],
            "InvalidSnList":["SN_2"],"RepeatedDeviceNameList":["dev2","dev2"],"InvalidDetailList":{details}}}"#
        ),
        format!(
            r#"{{"InvalidDeviceNameList":{{"invalidDeviceName":["dev1"]}},
            "InvalidDeviceSecretList":{{"invalidDeviceSecret":["canary-3"]}},"InvalidSnList":{{"invalidSn":[]}},
            "RepeatedDeviceNameList":{{"repeatedDeviceName":["dev2"]}},
            "InvalidDetailList":{{"InvalidDetailList":{details}}}}}"#
        ),
        format!(
            r#"{{"InvalidDeviceSecretList":["canary-3"],"invalidDetailList":{{"invalidDetailList":{details}}}}}"#
        ),
    ] {
        let error = refusal(&format!(
            r#"{{"Success":false,"Code":"iot.device.InvalidDeviceParams","ErrorMessage":"canary-1%253A","Data":{data}}}"#
        ))
        .await;

        assert_eq!(error.refused, expected, "{data}");
    }
    let lists = r#"{"Success":false,"Data":{"InvalidSnList":{"invalidSn":["SN_2"]},"RepeatedDeviceNameList":["dev1"]}}"#;
    let expected = [
        refused("dev2", None, Kind::Sn),
        refused("dev4", None, Kind::Sn),
        refused("dev1", None, Kind::Exists),
    ];
    assert_eq!(refusal(lists).await.refused, expected);
}

#[tokio::test]
async fn a_secret_that_is_a_word_of_the_upstream_changes_no_judgement() {
    let body = r#"{"Success":false,"Code":"iot.device.InvalidDeviceParams","ErrorMessage":"no","Data":{
        "InvalidDetailList":[{"DeviceName":"dev1","ErrorMsg":"The device secret is illegal."}]}}"#;
    let far = FarEnd::new([answer(200, "", body)]).await;
    let secrets = ["device", "illegal"].map(secret);
    let devices = [("dev1", &secrets[0], None), ("dev2", &secrets[1], None)];

    let check = far.client.check_import(PRODUCT, devices);
    let error = check.send(soon(), None).await.outcome.unwrap_err();

    assert_eq!(
        error.code.as_deref(),
        Some("iot.device.InvalidDeviceParams")
    );
    let text = Some("The *** secret is ***.");
    assert_eq!(error.refused, [refused("dev1", text, Kind::Secret)]);
}

#[tokio::test]
async fn a_check_that_passes_and_names_devices_all_the_same_names_them() {
    let body = r#"{"Success":true,"Data":{"InvalidSnList":["SN_1"]}}"#;
    let far = FarEnd::new([
        answer(200, "", body),
        answer(200, "", r#"{"Success":true}"#),
    ])
    .await;
    let secret = secret("canary-1");
    let check = far
        .client
        .check_import(PRODUCT, [("dev1", &secret, Some("SN_1"))]);

    let named = check.send(soon(), None).await.outcome.unwrap();
    let passed = check.send(soon(), None).await.outcome.unwrap();

    let refused = vec![refused("dev1", None, Kind::Sn)];
    assert_eq!(named, CheckedImport { refused });
    assert_eq!(passed, CheckedImport { refused: vec![] });
}

#[tokio::test]
async fn devices_are_read_with_secrets_that_do_not_print() {
    let row = r#"{"DeviceName":"dev1","DeviceSecret":"canary-1","IotId":"i1","Sn":"SN_1","Status":"UNACTIVE","UtcCreate":"2026-11-22T18:21:41.250Z"}"#;
    let rows = format!(r#"{row},null,{{"DeviceName":"dev2"}}"#);
    let bodies = [
        format!(r#"{{"Success":true,"TotalPage":"1","DeviceList":{{"device":[{rows}]}}}}"#),
        format!(r#"{{"Success":true,"Data":{row}}}"#),
        format!(r#"{{"Success":true,"Data":{{"Data":[{row}]}}}}"#),
        format!(r#"{{"Success":true,"Total":2,"ApplyDeviceList":{{"ApplyDeviceInfo":[{rows}]}}}}"#),
    ];
    let far = FarEnd::new(bodies.iter().map(|body| answer(200, "", body))).await;

    let imported = far.client.imported(PRODUCT, 9, 1).send(soon(), None).await;
    let detail = far.client.detail(PRODUCT, "dev1").send(soon(), None).await;
    let found = far
        .client
        .details(PRODUCT, ["dev1"])
        .send(soon(), None)
        .await;
    let credentials = far
        .client
        .credentials(PRODUCT, 9, 1)
        .send(soon(), None)
        .await;

    let printed = format!("{imported:?} {detail:?} {found:?} {credentials:?}");
    assert!(!printed.contains("canary"), "{printed}");
    let text = |text: &str| Some(text.to_owned());
    let one = || Some(secret("canary-1"));
    let device = |name: &str, secret, sn| ImportedDevice {
        name: name.to_owned(),
        secret,
        sn,
    };
    let devices = vec![
        device("dev1", one(), text("SN_1")),
        device("dev2", None, None),
    ];
    let expected = Imported {
        devices,
        total_pages: 1,
    };
    assert_eq!(imported.outcome.unwrap(), expected);
    let expected = Detail {
        name: text("dev1"),
        secret: one(),
        iot_id: text("i1"),
    };
    assert_eq!(detail.outcome.unwrap(), expected);
    let expected = Found {
        name: "dev1".to_owned(),
        secret: one(),
        iot_id: text("i1"),
        created_at: Some(datetime!(2026-11-22 18:21:41.25 UTC)),
    };
    assert_eq!(found.outcome.unwrap(), [expected]);
    let device = |name: &str, secret, iot_id| Credential {
        name: name.to_owned(),
        iot_id,
        secret,
    };
    let expected = Credentials {
        devices: vec![
            device("dev1", one(), text("i1")),
            device("dev2", None, None),
        ],
        total: 2,
        page_count: None,
    };
    assert_eq!(credentials.outcome.unwrap(), expected);
}

#[tokio::test]
async fn that_a_device_is_missing_is_never_read_from_an_answer_that_does_not_say_so() {
    let plain = Product {
        iot_instance_id: None,
        ..PRODUCT
    };
    for body in [
        r#"{"Success":true}"#,
        r#"{"Success":true,"Data":null}"#,
        r#"{"Success":true,"Data":{}}"#,
        r#"{"Success":true,"Data":{"Data":null}}"#,
        r#"{"Success":true,"Data":[]}"#,
        r#"{"Success":true,"Data":{"Data":[{"IotId":"i1"}]}}"#,
    ] {
        let far = FarEnd::new([answer(200, "", body), answer(200, "", body)]).await;

        let details = far.client.details(plain, ["dev1"]).send(soon(), None).await;
        let detail = far.client.detail(plain, "dev1").send(soon(), None).await;

        assert_eq!(
            details.outcome.unwrap_err().verdict,
            Verdict::Unclear,
            "{body}"
        );
        let error = detail.outcome.unwrap_err();
        assert!(
            error.verdict == Verdict::Unclear && !error.no_such_device(),
            "{body}"
        );
    }
    let body = r#"{"Success":false,"Code":"iot.device.NotExistedDevice","ErrorMessage":"none"}"#;
    let far = FarEnd::new([answer(200, "", body)]).await;
    let detail = far.client.detail(plain, "dev1").send(soon(), None).await;
    assert!(detail.outcome.unwrap_err().no_such_device());
}
