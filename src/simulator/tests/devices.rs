//! Single devices: what is told of them, and their end.

use serde_json::json;

use super::*;

const DETAIL: &str = "QueryDeviceDetail";

async fn with_nickname(server: &Server) {
    let body = "DeviceNameList.1.DeviceName=dev1&DeviceNameList.1.DeviceNickname=%E6%99%BA%E7%81%AF&\
                DeviceNameList.2.DeviceName=dev2";
    server
        .post(
            "BatchCheckDeviceNames",
            "ProductKey=a1Simulator",
            body.into(),
        )
        .await;
    server.registered(1).await;
}

#[tokio::test]
async fn the_detail_of_a_device_is_that_of_its_page() {
    let server = Server::instant().await;
    with_nickname(&server).await;
    let page = server.ask("QueryPageByApplyId", "ApplyId=1").await;
    let row = &page["ApplyDeviceList"]["ApplyDeviceInfo"][0];

    let mut detail = server
        .ask(DETAIL, "ProductKey=a1Simulator&DeviceName=dev1")
        .await;
    let by_id = format!(
        "IotId={}&DeviceName=ignored",
        row["IotId"].as_str().unwrap()
    );
    assert_eq!(server.ask(DETAIL, &by_id).await, detail);

    let data = detail["Data"].as_object_mut().unwrap();
    let utc = data.remove("UtcCreate").unwrap();
    let gmt = data.remove("GmtCreate").unwrap();
    assert_eq!(
        (utc.as_str().unwrap().len(), &utc.as_str().unwrap()[23..]),
        (24, "Z")
    );
    assert_eq!(gmt.as_str().unwrap().len(), 19);
    let expected = json!({
        "DeviceName": "dev1", "DeviceSecret": row["DeviceSecret"], "IotId": row["IotId"],
        "Nickname": "智灯", "ProductKey": "a1Simulator", "ProductName": "Simulator",
        "Region": "cn-shanghai", "Status": "UNACTIVE", "NodeType": 0, "Owner": true,
        "GmtActive": "", "UtcActive": "", "GmtOnline": "", "UtcOnline": "",
    });
    assert_eq!(detail, json!({"Data": expected, "Success": true}));
    server.stop().await;
}

#[tokio::test]
async fn a_batch_of_details_leaves_out_what_does_not_exist() {
    let server = Server::instant().await;
    with_nickname(&server).await;
    let ask = async |names: Vec<String>| {
        let names = (1..)
            .zip(names)
            .map(|(n, name)| format!("&DeviceName.{n}={name}"));
        let query = format!("ProductKey=a1Simulator{}", names.collect::<String>());
        server.ask("BatchQueryDeviceDetail", &query).await
    };

    let found = ask(vec!["dev2".into(), "dev3".into(), "dev1".into()]).await;

    let rows = found["Data"]["Data"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["DeviceName"].clone()).collect();
    assert_eq!(names, ["dev2", "dev1"]);
    assert_eq!(rows[0].get("Owner"), None);
    let many = |count| (0..count).map(|n| format!("dev{n}")).collect();
    assert_eq!(ask(many(100)).await["Success"], true);
    let too_many = "iot.device.TooManyDeviceNamesPerRequest";
    assert_eq!(ask(many(101)).await["Code"], too_many);
    assert_eq!(
        ask(many(0)).await["Code"],
        "iot.device.NoneDeviceNameElement"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_deleted_device_is_gone_and_its_name_free() {
    let server = Server::instant().await;
    with_nickname(&server).await;
    let dev1 = "ProductKey=a1Simulator&DeviceName=dev1";
    let id = server.ask(DETAIL, dev1).await["Data"]["IotId"].clone();

    assert_eq!(
        server.ask("DeleteDevice", dev1).await,
        json!({"Success": true})
    );

    let gone = "iot.device.NotExistedDevice";
    assert_eq!(server.ask("DeleteDevice", dev1).await["Code"], gone);
    assert_eq!(server.ask(DETAIL, dev1).await["Code"], gone);
    let by_id = format!("IotId={}", id.as_str().unwrap());
    assert_eq!(server.ask(DETAIL, &by_id).await["Code"], gone);
    let page = server.ask("QueryPageByApplyId", "ApplyId=1").await;
    assert_eq!(page["Total"], 1);
    let second = server.checked(&["dev1"]).await;
    server.registered(second).await;
    assert_eq!(server.phase(second).await, "CREATE_SUCCESS");
    assert_ne!(server.ask(DETAIL, dev1).await["Data"]["IotId"], id);
    let devices = server.lines("devices?product=a1Simulator").await;
    let line = |name, apply, created| json!({"name": name, "apply_id": apply, "created": created});
    assert_eq!(devices, [line("dev2", 1, 1), line("dev1", second, 2)]);
    server.stop().await;
}

#[tokio::test]
async fn a_deletion_outlives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        dir: Some(directory.path().to_owned()),
        speed: 0.0,
        ..Options::default()
    };
    let server = Server::start(options.clone()).await;
    with_nickname(&server).await;
    let dev1 = "ProductKey=a1Simulator&DeviceName=dev1";
    server.ask("DeleteDevice", dev1).await;
    server.stop().await;

    let server = Server::start(options).await;
    assert_eq!(
        server.ask(DETAIL, dev1).await["Code"],
        "iot.device.NotExistedDevice"
    );
    let dev2 = "ProductKey=a1Simulator&DeviceName=dev2";
    assert_eq!(server.ask(DETAIL, dev2).await["Success"], true);
    server.stop().await;
}

#[tokio::test]
async fn calls_for_a_device_have_the_published_codes() {
    let server = Server::instant().await;
    let code = async |query: &str| server.ask(DETAIL, query).await["Code"].clone();

    assert_eq!(code("").await, "iot.prod.NullProductKey");
    assert_eq!(
        code("ProductKey=a1%2A").await,
        "iot.prod.InvalidFormattedProductkey"
    );
    let product = "ProductKey=a1Simulator";
    assert_eq!(code(product).await, "iot.device.NullDeviceName");
    let name = |name: &str| format!("{product}&DeviceName={name}");
    let badly_formed = "iot.device.InvalidFormattedDeviceName";
    assert_eq!(code(&name("x")).await, badly_formed);
    assert_eq!(code(&name("dev1")).await, "iot.device.NotExistedDevice");
    assert_eq!(code("IotId=nonsense").await, "iot.device.InvalidIoTId");
    server.stop().await;
}

#[tokio::test]
async fn the_product_hides_how_it_authenticates_if_told_so() {
    let server = Server::switched(|options| options.switches.auth_type = Shown::Hidden).await;

    let product = server.ask("QueryProduct", "ProductKey=a1SimulatorX").await;

    assert_eq!(product["Data"].get("AuthType"), None);
    assert_eq!(product["Data"]["ProductName"], "Simulator X.509");
    server.stop().await;
}
