//! Devices that bring their own secrets.

use serde_json::json;

use super::*;

const CHECK: &str = "BatchCheckImportDevice";
const IMPORT: &str = "BatchImportDevice";
const PAGE: &str = "QueryImportedDeviceByApplyId";
const QUERY: &str = "ProductKey=a1Simulator";

fn body(rows: &[(&str, &str, &str)]) -> String {
    let rows = (1..).zip(rows).map(|(n, (name, secret, sn))| {
        let row = format!("DeviceList.{n}.DeviceName={name}&DeviceList.{n}.DeviceSecret={secret}");
        if sn.is_empty() {
            row
        } else {
            format!("{row}&DeviceList.{n}.Sn={sn}")
        }
    });
    rows.collect::<Vec<_>>().join("&")
}

/// One row for each rule, and a good one.
fn flawed() -> String {
    body(&[
        ("good", "sec0", "SN_0"),
        ("x*", "sec1", "SN_1"),
        ("dev2", "se+c", "SN_2"),
        ("dev3", "sec3", "SN-3"),
        ("twice", "sec4", ""),
        ("twice", "sec5", ""),
    ])
}

fn details() -> Value {
    let repeated = "The device name is repeated.";
    json!([
        {"DeviceName": "x*", "DeviceSecret": "sec1", "Sn": "SN_1",
         "ErrorMsg": "The device name is illegal."},
        {"DeviceName": "dev2", "DeviceSecret": "se c", "Sn": "SN_2",
         "ErrorMsg": "The device secret is illegal."},
        {"DeviceName": "dev3", "DeviceSecret": "sec3", "Sn": "SN-3",
         "ErrorMsg": "The SN is illegal."},
        {"DeviceName": "twice", "DeviceSecret": "sec4", "ErrorMsg": repeated},
        {"DeviceName": "twice", "DeviceSecret": "sec5", "ErrorMsg": repeated},
    ])
}

#[tokio::test]
async fn the_check_of_an_import_lists_what_is_wrong_in_five_bare_lists() {
    let server = Server::instant().await;

    let good = server
        .post(CHECK, QUERY, body(&[("dev1", "sec1", "SN_1")]))
        .await;
    let bad = server.post(CHECK, QUERY, flawed()).await;

    assert_eq!(good, json!({"Success": true}));
    assert_eq!(
        (&bad["Success"], &bad["Code"]),
        (&json!(false), &json!("iot.device.InvalidDeviceParams"))
    );
    let expected = json!({
        "InvalidDeviceNameList": ["x*"],
        "InvalidDeviceSecretList": ["se c"],
        "InvalidSnList": ["SN-3"],
        "RepeatedDeviceNameList": ["twice"],
        "InvalidDetailList": details(),
    });
    assert_eq!(bad["Data"], expected);
    assert_eq!(server.lines("devices?product=a1Simulator").await, [""; 0]);
    server.stop().await;
}

#[tokio::test]
async fn an_import_lists_what_is_wrong_in_wrappers_with_lower_case_keys() {
    let server = Server::instant().await;

    let bad = server.post(IMPORT, QUERY, flawed()).await;

    assert_eq!(bad["Success"], false);
    let expected = json!({
        "InvalidDeviceNameList": {"invalidDeviceName": ["x*"]},
        "InvalidDeviceSecretList": {"invalidDeviceSecret": ["se c"]},
        "InvalidSnList": {"invalidSn": ["SN-3"]},
        "RepeatedDeviceNameList": {"repeatedDeviceName": ["twice"]},
        "InvalidDetailList": {"InvalidDetailList": details()},
    });
    assert_eq!(bad["Data"], expected);
    let line = &server.lines("ledger?names=true").await[0];
    assert_eq!(line["name_list"][1], "x*");
    server.stop().await;
}

#[tokio::test]
async fn an_import_creates_devices_with_the_secrets_they_bring() {
    let server = Server::instant().await;
    let rows = body(&[("dev1", "sec1", "SN_1"), ("dev2", "sec:2", "")]);

    let made = server.post(IMPORT, QUERY, rows.clone()).await;

    assert_eq!(made, json!({"Data": {"ApplyId": 1}, "Success": true}));
    let row = |name, secret| json!({"DeviceName": name, "DeviceSecret": secret, "ProductKey": "a1Simulator"});
    let mut first = row("dev1", "sec1");
    first["Sn"] = json!("SN_1");
    let expected = json!({
        "DeviceList": {"device": [first, row("dev2", "sec:2")]},
        "PageNo": 1, "PageSize": 10, "TotalPage": 1,
        "ProductKey": "a1Simulator", "Success": true,
    });
    assert_eq!(server.ask(PAGE, "ApplyId=1").await, expected);
    let detail = format!("{QUERY}&DeviceName=dev2");
    let detail = server.ask("QueryDeviceDetail", &detail).await;
    assert_eq!(detail["Data"]["DeviceSecret"], "sec:2");
    let again = server.post(IMPORT, QUERY, rows).await;
    let messages = again["Data"]["InvalidDetailList"]["InvalidDetailList"].clone();
    assert_eq!(messages[0]["ErrorMsg"], "The device name already exists.");
    server.stop().await;
}

#[tokio::test]
async fn secrets_and_serial_numbers_keep_their_rules() {
    let server = Server::instant().await;
    let code = async |secret: &str, sn: &str| {
        let rows = body(&[("dev1", secret, sn)]);
        server.post(CHECK, QUERY, rows).await["Code"].clone()
    };
    let (bad, long) = ("iot.device.InvalidDeviceParams", "x".repeat(64));

    assert_eq!(code("x", "x").await, Value::Null);
    assert_eq!(code(&long[..32], &long).await, Value::Null);
    assert_eq!(code("aZ09-_@.:", "aZ09_").await, Value::Null);
    assert_eq!(code(&long[..33], "x").await, bad);
    assert_eq!(code("", "x").await, bad);
    assert_eq!(code("x", &format!("{long}x")).await, bad);
    assert_eq!(code("x", "a.b").await, bad);
    server.stop().await;
}

#[tokio::test]
async fn pages_of_an_import_have_bounds_of_their_own() {
    let server = Server::instant().await;
    server
        .post(IMPORT, QUERY, body(&[("dev1", "sec1", "")]))
        .await;
    let code = async |query: &str| server.ask(PAGE, query).await["Code"].clone();

    let empty = server.ask(PAGE, "ApplyId=1&PageNo=10000&PageSize=50").await;
    assert_eq!(empty["DeviceList"], json!({"device": []}));
    assert_eq!(empty["Success"], true);
    let bad = "iot.common.InvalidPageParams";
    assert_eq!(code("ApplyId=1&PageNo=10001").await, bad);
    assert_eq!(code("ApplyId=1&PageNo=0").await, bad);
    server.checked(&["dev2"]).await;
    let other = "iot.device.DeviceApplyIsNotFound";
    assert_eq!(code("ApplyId=2").await, other, "it is no import");
    server.stop().await;
}

#[tokio::test]
async fn imports_are_for_some_products_only() {
    let server = Server::instant().await;
    let rows = || body(&[("dev1", "sec1", "")]);
    let code = async |server: &Server, product: &str| {
        let query = format!("ProductKey={product}");
        server.post(IMPORT, &query, rows()).await["Code"].clone()
    };

    let unsupported = "iot.common.APINotSupportedInInstance";
    assert_eq!(code(&server, PRODUCT_X509).await, unsupported);
    assert_eq!(code(&server, PRODUCT).await, Value::Null);
    server.stop().await;

    let server =
        Server::switched(|options| options.switches.import_products = vec![PRODUCT_X509.into()])
            .await;
    assert_eq!(code(&server, PRODUCT_X509).await, Value::Null);
    assert_eq!(code(&server, PRODUCT).await, unsupported);
    server.stop().await;
}

#[tokio::test]
async fn other_queries_take_the_id_of_an_import_if_told_so() {
    for (switch, found) in [(ImportApply::Own, false), (ImportApply::All, true)] {
        let server = Server::switched(|options| options.switches.import_apply = switch).await;
        server
            .post(IMPORT, QUERY, body(&[("dev1", "sec1", "")]))
            .await;

        let status = server.status(1).await;
        let page = server.ask("QueryPageByApplyId", "ApplyId=1").await;

        assert_eq!(status["Success"], found);
        assert_eq!(page["Success"], found);
        if found {
            assert_eq!(status["Data"]["Status"], "CREATE_SUCCESS");
            let row = &page["ApplyDeviceList"]["ApplyDeviceInfo"][0];
            assert_eq!(row["DeviceSecret"], "sec1");
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn surplus_rows_of_an_import_are_dropped_or_refused() {
    let names: Vec<String> = (0..10_001).map(|n| format!("dev-{n}")).collect();
    let rows: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), "sec1", ""))
        .collect();
    let rows = body(&rows);
    let server = Server::instant().await;

    assert_eq!(
        server.post(IMPORT, QUERY, rows.clone()).await["Success"],
        true
    );
    let page = server.ask(PAGE, "ApplyId=1&PageSize=50").await;
    assert_eq!(page["TotalPage"], 200);
    let line = &server.lines("ledger?action=BatchImportDevice").await[0];
    assert_eq!(
        (&line["names"], &line["dropped"]),
        (&json!(10_001), &json!(1))
    );
    server.stop().await;

    let server = Server::switched(|options| options.surplus = Surplus::Refuse).await;
    for action in [CHECK, IMPORT] {
        let refused = server.post(action, QUERY, rows.clone()).await;
        assert_eq!(refused["Code"], "iot.device.TooManyDeviceNamesPerRequest");
    }
    server.stop().await;
}

#[tokio::test]
async fn imported_secrets_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        dir: Some(directory.path().to_owned()),
        speed: 0.0,
        ..Options::default()
    };
    let server = Server::start(options.clone()).await;
    server
        .post(IMPORT, QUERY, body(&[("dev1", "sec1", "SN_1")]))
        .await;
    let page = server.ask(PAGE, "ApplyId=1").await;
    server.stop().await;

    let server = Server::start(options).await;
    assert_eq!(server.ask(PAGE, "ApplyId=1").await, page);
    server.stop().await;
}
