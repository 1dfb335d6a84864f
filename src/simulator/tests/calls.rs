//! What each action answers.

use serde_json::json;

use super::*;

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("device-{n:05}")).collect()
}

#[tokio::test]
async fn the_whole_flow_answers_in_the_documented_shapes() {
    let server = Server::instant().await;

    let (status, answer) = server
        .send(Call::check("ProductKey=a1Simulator", ["dev1", "dev2"]))
        .await;
    assert_eq!(status, 200);
    let id = answer["RequestId"].as_str().unwrap();
    assert_eq!((id.len(), id), (36, id.to_uppercase().as_str()));
    assert_eq!(answer["Data"], json!({"ApplyId": 1}));
    assert_eq!(answer["Success"], true);

    let lists = |status| {
        let none = json!({"Name": []});
        json!({"Data": {"Status": status, "ValidList": none, "InvalidList": none}, "Success": true})
    };
    assert_eq!(server.status(1).await, lists("CHECK_SUCCESS"));
    assert_eq!(
        server.registered(1).await,
        json!({"Data": {"ApplyId": 1}, "Success": true})
    );
    assert_eq!(server.status(1).await, lists("CREATE_SUCCESS"));
    let again = server.registered(1).await;
    assert_eq!(again["Code"], "iot.device.IncorrentDeviceApplyInfo");
    assert_eq!(again["Success"], false);
    assert!(again["ErrorMessage"].is_string());

    let mut page = server
        .ask("QueryPageByApplyId", "ApplyId=1&CurrentPage=2&PageSize=1")
        .await;
    let row = page["ApplyDeviceList"]["ApplyDeviceInfo"][0].take();
    assert_eq!(row["DeviceName"], "dev2");
    assert_eq!(row["DeviceSecret"].as_str().unwrap().len(), 32);
    assert_eq!(row["DeviceId"].as_str().unwrap().len(), 20);
    assert_eq!(
        row["IotId"],
        format!("{}000100", row["DeviceId"].as_str().unwrap())
    );
    let numbers = json!({
        "ApplyDeviceList": {"ApplyDeviceInfo": [null]},
        "Page": 2, "PageSize": 1, "PageCount": 2, "Total": 2, "Success": true,
    });
    assert_eq!(page, numbers);

    let product = server.ask("QueryProduct", "ProductKey=a1SimulatorX").await;
    assert_eq!(product["Data"]["AuthType"], "x509");
    let product = server.ask("QueryProduct", "ProductKey=a1Simulator").await;
    assert_eq!(product["Data"]["AuthType"], "secret");
    assert_eq!(product["Data"]["DeviceCount"], 2);
    server.stop().await;
}

#[tokio::test]
async fn pages_are_clamped_and_end_in_an_empty_one() {
    let server = Server::instant().await;
    let names = numbered(60);
    let apply = server
        .checked(&names.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let page = async |query: &str| {
        let answer = server.ask("QueryPageByApplyId", query).await;
        let rows = answer["ApplyDeviceList"]["ApplyDeviceInfo"]
            .as_array()
            .map(Vec::len);
        (
            rows,
            answer["PageSize"].as_u64(),
            answer["PageCount"].as_u64(),
            answer["Success"].clone(),
        )
    };
    let yes = json!(true);

    let early = page(&format!("ApplyId={apply}")).await;
    server.registered(apply).await;

    assert_eq!(early, (Some(0), Some(10), Some(0), yes.clone()));
    assert_eq!(
        page("ApplyId=1").await,
        (Some(10), Some(10), Some(6), yes.clone())
    );
    let clamped = page("ApplyId=1&CurrentPage=2&PageSize=200").await;
    assert_eq!(clamped, (Some(10), Some(50), Some(2), yes.clone()));
    assert_eq!(
        page("ApplyId=1&CurrentPage=7").await,
        (Some(0), Some(10), Some(6), yes)
    );
    // Numbers of a page are integers of 32 bits, and an answer repeats them.
    for none in ["0", "None", "2147483648", "18446744073709551615"] {
        let query = format!("ApplyId=1&CurrentPage={none}");
        let none = server.ask("QueryPageByApplyId", &query).await;
        assert_eq!(none["Code"], "iot.common.InvalidPageParams", "{query}");
    }
    server.stop().await;
}

#[tokio::test]
async fn bad_names_are_refused_at_once_with_their_lists() {
    let server = Server::instant().await;
    let body = "DeviceNameList.1.DeviceName=x*&DeviceNameList.2.DeviceName=good&\
                DeviceNameList.2.DeviceNickname=a+b&DeviceNameList.3.DeviceName=twice&\
                DeviceNameList.4.DeviceName=twice";
    let call = Call {
        body: body.into(),
        ..Call::new("BatchCheckDeviceNames", "ProductKey=a1Simulator")
    };

    let (status, answer) = server.send(call).await;

    assert_eq!((status, &answer["Success"]), (200, &json!(false)));
    assert_eq!(answer["Code"], "iot.device.InvalidDeviceNameExisted");
    let expected = json!({
        "InvalidDeviceNameList": {"InvalidDeviceName": ["x*"]},
        "InvalidDeviceNicknameList": {"InvalidDeviceNickname": ["a b"]},
        "RepeatedDeviceNameList": {"RepeatDevieNameList": ["twice"]},
        "InvalidDetailList": {"InvalidDetailList": [
            {"DeviceName": "x*", "ErrorMsg": "The device name is illegal."},
            {"DeviceName": "good", "NickName": "a b", "ErrorMsg": "The nick name is illegal."},
            {"DeviceName": "twice", "ErrorMsg": "The device name is repeated."},
        ]},
    });
    assert_eq!(answer["Data"], expected);
    let ledger = server.lines("ledger?names=true").await;
    assert_eq!(
        ledger[0]["name_list"],
        json!(["x*", "good", "twice", "twice"])
    );
    assert_eq!(ledger[0]["code"], "iot.device.InvalidDeviceNameExisted");
    server.stop().await;
}

#[tokio::test]
async fn names_that_fail_later_are_listed_by_the_status() {
    let options = Options {
        speed: 0.0,
        bad_names: BadNames::CheckFailed,
        exists: vec!["a1Simulator/old1".parse().unwrap()],
        ..Options::default()
    };
    let server = Server::start(options).await;

    let apply = server
        .checked(&["dev1", "x*", "old1", "dev2", "dev2"])
        .await;

    let expected = json!({
        "Status": "CHECK_FAILED",
        "ValidList": {"Name": ["dev1"]},
        "InvalidList": {"Name": ["old1", "x*", "dev2"]},
        "InvalidDetailList": {"invalidDetailList": [
            {"DeviceName": "old1", "ErrorMsg": "The device name already exists."},
            {"DeviceName": "x*", "ErrorMsg": "The device name is illegal."},
            {"DeviceName": "dev2", "ErrorMsg": "The device name is repeated."},
        ]},
    });
    assert_eq!(server.status(apply).await["Data"], expected);
    let refused = server.registered(apply).await;
    assert_eq!(refused["Code"], "iot.device.IncorrentDeviceApplyInfo");
    server.stop().await;
}

#[tokio::test]
async fn of_overlapping_applies_the_second_registered_fails_and_pages_its_rest() {
    let server = Server::instant().await;
    let first = server.checked(&["dev1", "dev2"]).await;
    let second = server.checked(&["dev2", "dev3"]).await;

    server.registered(second).await;
    server.registered(first).await;

    assert_eq!(
        server.status(second).await["Data"]["Status"],
        "CREATE_SUCCESS"
    );
    let expected = json!({
        "Status": "CREATE_FAILED",
        "ValidList": {"Name": ["dev1"]},
        "InvalidList": {"Name": ["dev2"]},
        "InvalidDetailList": {"invalidDetailList": [
            {"DeviceName": "dev2", "ErrorMsg": "The device name already exists."},
        ]},
    });
    assert_eq!(server.status(first).await["Data"], expected);
    let page = server
        .ask("QueryPageByApplyId", &format!("ApplyId={first}"))
        .await;
    assert_eq!(page["Total"], 1);
    assert_eq!(
        page["ApplyDeviceList"]["ApplyDeviceInfo"][0]["DeviceName"],
        "dev1"
    );
    let devices = server.lines("devices?product=a1Simulator").await;
    let row = |name, apply| json!({"name": name, "apply_id": apply, "created": 1});
    assert_eq!(
        devices,
        [row("dev1", first), row("dev2", second), row("dev3", second)]
    );
    server.stop().await;
}

#[tokio::test]
async fn surplus_names_are_dropped_in_silence_or_refused() {
    let server = Server::instant().await;
    let (_, plain) = server
        .send(Call::check("ProductKey=a1Simulator", numbered(10_001)))
        .await;
    let (_, x509) = server
        .send(Call::check("ProductKey=a1SimulatorX", numbered(1_001)))
        .await;
    let ask = "ProductKey=a1SimulatorX&ApplyId=2";
    server.ask("BatchRegisterDeviceWithApplyId", ask).await;

    assert_eq!(
        (&plain["Success"], &x509["Success"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        server.ask("QueryPageByApplyId", "ApplyId=2").await["Total"],
        1_000
    );
    let ledger = server
        .lines("ledger?action=BatchCheckDeviceNames&names=true")
        .await;
    assert_eq!(
        (&ledger[0]["names"], &ledger[0]["dropped"]),
        (&json!(10_001), &json!(1))
    );
    assert_eq!(
        (&ledger[1]["names"], &ledger[1]["dropped"]),
        (&json!(1_001), &json!(1))
    );
    assert_eq!(ledger[0]["name_list"].as_array().unwrap().len(), 10_000);
    server.stop().await;

    let refusing = Options {
        surplus: Surplus::Refuse,
        ..Options::default()
    };
    let server = Server::start(refusing).await;
    let (_, refused) = server
        .send(Call::check("ProductKey=a1SimulatorX", numbered(1_001)))
        .await;
    assert_eq!(refused["Code"], "iot.device.TooManyDeviceNamesPerRequest");
    server.stop().await;
}

#[tokio::test]
async fn business_failures_have_the_published_codes() {
    let server = Server::start(Options::default()).await;
    let code = async |action: &str, query: &str| server.ask(action, query).await["Code"].clone();
    let apply = server.checked(&["dev1"]).await;

    let (check, status) = ("BatchCheckDeviceNames", "QueryBatchRegisterDeviceStatus");
    let register = "BatchRegisterDeviceWithApplyId";
    assert_eq!(
        code(check, "ProductKey=a1Nothing").await,
        "iot.prod.NotExistedProduct"
    );
    assert_eq!(code(check, "").await, "iot.prod.NullProductKey");
    assert_eq!(
        code(check, "ProductKey=a1Simulator").await,
        "iot.device.NoneDeviceNameElement"
    );
    let known = "ProductKey=a1Simulator&ApplyId=";
    let unknown = code(status, &format!("{known}77")).await;
    assert_eq!(unknown, "iot.device.DeviceApplyIsNotFound");
    let none = code(status, &format!("{known}None")).await;
    assert_eq!(none, "iot.device.InvalidFormattedApplyId");
    let foreign = code(
        register,
        &format!("ProductKey=a1SimulatorX&ApplyId={apply}"),
    )
    .await;
    assert_eq!(foreign, "iot.device.DeviceApplyIsNotFound");
    server.stop().await;
}
