//! Devices with random names.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

const REGISTER: &str = "BatchRegisterDevice";

#[tokio::test]
async fn a_count_of_devices_gets_random_names_and_starts_at_create() {
    let server = Server::instant().await;

    let answer = server
        .ask(REGISTER, "ProductKey=a1Simulator&Count=60")
        .await;

    assert_eq!(answer, json!({"Data": {"ApplyId": 1}, "Success": true}));
    assert_eq!(server.phase(1).await, "CREATE_SUCCESS");
    let mut names = BTreeSet::new();
    for page in 1..=2 {
        let query = format!("ApplyId=1&PageSize=50&CurrentPage={page}");
        let page = server.ask("QueryPageByApplyId", &query).await;
        assert_eq!(page["Total"], 60);
        for row in page["ApplyDeviceList"]["ApplyDeviceInfo"]
            .as_array()
            .unwrap()
        {
            names.insert(row["DeviceName"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(names.len(), 60);
    assert!(names.iter().all(|name| name.len() == 20));
    let line = &server.lines("ledger?action=BatchRegisterDevice").await[0];
    assert_eq!((&line["apply_id"], &line["names"]), (&json!(1), &json!(60)));
    server.stop().await;
}

#[tokio::test]
async fn a_count_above_the_maximum_or_none_is_refused() {
    let server = Server::instant().await;
    let code = async |product: &str, count: &str| {
        let query = format!("ProductKey={product}&Count={count}");
        server.ask(REGISTER, &query).await["Code"].clone()
    };

    assert_eq!(code(PRODUCT, "10000").await, Value::Null);
    let exceeded = "iot.device.DeviceCountExceeded";
    assert_eq!(code(PRODUCT, "10001").await, exceeded);
    assert_eq!(code(PRODUCT_X509, "1001").await, exceeded);
    let malformed = "iot.common.InvalidFormattedParameter";
    for count in ["0", "-1", "None", "1.5", ""] {
        assert_eq!(code(PRODUCT, count).await, malformed, "{count}");
    }
    server.stop().await;
}

#[tokio::test]
async fn random_names_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        dir: Some(directory.path().to_owned()),
        speed: 0.0,
        ..Options::default()
    };
    let server = Server::start(options.clone()).await;
    server.ask(REGISTER, "ProductKey=a1Simulator&Count=3").await;
    let page = server.ask("QueryPageByApplyId", "ApplyId=1").await;
    server.stop().await;

    let server = Server::start(options).await;
    assert_eq!(server.ask("QueryPageByApplyId", "ApplyId=1").await, page);
    server.ask(REGISTER, "ProductKey=a1Simulator&Count=3").await;
    assert_eq!(server.phase(2).await, "CREATE_SUCCESS");
    server.stop().await;
}
