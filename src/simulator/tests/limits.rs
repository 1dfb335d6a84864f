//! Sizes, places and maxima.

use serde_json::json;

use super::*;

fn longest(count: usize) -> String {
    let nickname = "%E7%81%AF".repeat(32);
    let rows = (1..=count).map(|n| {
        format!(
            "DeviceNameList.{n}.DeviceName=device:{n:025}&DeviceNameList.{n}.DeviceNickname={nickname}"
        )
    });
    rows.collect::<Vec<_>>().join("&")
}

#[tokio::test]
async fn ten_thousand_of_the_longest_names_and_nicknames_fit_into_one_call() {
    let server = Server::instant().await;
    let query = "ProductKey=a1Simulator";

    let checked = server
        .post("BatchCheckDeviceNames", query, longest(10_000))
        .await;

    assert_eq!(checked["Data"], json!({"ApplyId": 1}));
    server.registered(1).await;
    assert_eq!(server.phase(1).await, "CREATE_SUCCESS");
    let last = format!("{query}&DeviceName=device:{:025}", 10_000);
    let last = server.ask("QueryDeviceDetail", &last).await;
    assert_eq!(last["Data"]["Nickname"], "灯".repeat(32));
    server.stop().await;
}

#[tokio::test]
async fn the_longest_names_beyond_ten_thousand_are_dropped_or_refused() {
    for surplus in [Surplus::Drop, Surplus::Refuse] {
        let server = Server::switched(|options| options.surplus = surplus).await;

        let answer = server
            .post(
                "BatchCheckDeviceNames",
                "ProductKey=a1Simulator",
                longest(10_001),
            )
            .await;

        if surplus == Surplus::Refuse {
            assert_eq!(answer["Code"], "iot.device.TooManyDeviceNamesPerRequest");
        } else {
            server.registered(1).await;
            let page = server.ask("QueryPageByApplyId", "ApplyId=1").await;
            assert_eq!(page["Total"], 10_000);
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn x509_is_for_cn_shanghai_only() {
    let server =
        Server::switched(|options| options.switches.region = "ap-southeast-1".into()).await;
    let code = async |product: &str| {
        let query = format!("ProductKey={product}");
        let (_, answer) = server.send(Call::check(&query, ["dev1"])).await;
        let count = format!("{query}&Count=1");
        let random = server.ask("BatchRegisterDevice", &count).await;
        assert_eq!(random["Code"], answer["Code"]);
        answer["Code"].clone()
    };

    assert_eq!(code(PRODUCT_X509).await, "iot.device.RegionNotSupportX509");
    assert_eq!(code(PRODUCT).await, Value::Null);
    server.stop().await;
}

#[tokio::test]
async fn an_instance_with_an_id_wants_to_be_named() {
    let server = Server::switched(|options| {
        options.switches.instances = vec!["a1Simulator=iot-x".parse().unwrap()];
    })
    .await;
    let code = async |server: &Server, action: &str, query: &str| {
        server.ask(action, query).await["Code"].clone()
    };
    let query = "ProductKey=a1Simulator&IotInstanceId=iot-x";
    let (_, checked) = server.send(Call::check(query, ["dev1"])).await;
    assert_eq!(checked["Data"]["ApplyId"], 1);

    let (product, none) = ("QueryProduct", "iot.prod.NotExistedProduct");
    assert_eq!(code(&server, product, "ProductKey=a1Simulator").await, none);
    assert_eq!(code(&server, product, query).await, Value::Null);
    assert_eq!(
        code(&server, product, "ProductKey=a1SimulatorX").await,
        Value::Null
    );
    let wrong = "ProductKey=a1Simulator&IotInstanceId=iot-y";
    let unknown = "iot.system.InstanceNotFound";
    assert_eq!(code(&server, product, wrong).await, unknown);
    let page = "QueryPageByApplyId";
    assert_eq!(code(&server, page, "ApplyId=1").await, none);
    let named = "ApplyId=1&IotInstanceId=iot-x";
    assert_eq!(code(&server, page, named).await, Value::Null);
    server.stop().await;

    let server = Server::switched(|options| {
        options.switches.instances = vec!["a1Simulator=iot-x".parse().unwrap()];
        options.switches.without_instance = WithoutInstance::NoInstance;
    })
    .await;
    assert_eq!(
        code(&server, product, "ProductKey=a1Simulator").await,
        unknown
    );
    server.stop().await;
}

#[tokio::test]
async fn devices_above_a_maximum_are_refused_or_not_created() {
    let changes: [fn(&mut Switches); 2] = [
        |switches| switches.product_devices = Some(3),
        |switches| switches.instance_devices = 3,
    ];
    for change in changes {
        let server = Server::switched(|options| {
            change(&mut options.switches);
            options.switches.cap_code = "iot.device.Full".into();
        })
        .await;
        let first = server.checked(&["dev1", "dev2"]).await;
        let second = server.checked(&["dev3", "dev4"]).await;
        assert_eq!(server.registered(first).await["Success"], true);
        let full = "iot.device.Full";
        assert_eq!(server.registered(second).await["Code"], full);
        let (_, answer) = server
            .send(Call::check("ProductKey=a1Simulator", ["dev5", "dev6"]))
            .await;
        assert_eq!(answer["Code"], full);
        let random = "ProductKey=a1Simulator&Count=2";
        assert_eq!(
            server.ask("BatchRegisterDevice", random).await["Code"],
            full
        );
        server.stop().await;

        let server = Server::switched(|options| {
            change(&mut options.switches);
            options.switches.over_cap = OverCap::CreateFailed;
        })
        .await;
        let apply = server.checked(&["dev1", "dev2", "dev3", "dev4"]).await;
        server.registered(apply).await;
        let data = server.status(apply).await["Data"].clone();
        assert_eq!(data["Status"], "CREATE_FAILED");
        assert_eq!(data["InvalidList"], json!({"Name": ["dev4"]}));
        assert_eq!(data["ValidList"]["Name"].as_array().unwrap().len(), 3);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_nickname_needs_its_name_and_has_a_code_of_its_own() {
    let server = Server::instant().await;
    let code = async |body: &str| {
        let query = "ProductKey=a1Simulator";
        let answer = server
            .post("BatchCheckDeviceNames", query, body.into())
            .await;
        answer["Code"].clone()
    };

    let alone = "DeviceNameList.1.DeviceNickname=lamp";
    assert_eq!(code(alone).await, "iot.device.NullDeviceName");
    let short = "DeviceNameList.1.DeviceName=dev1&DeviceNameList.1.DeviceNickname=x";
    assert_eq!(code(short).await, "iot.device.InvalidDeviceNickNameExisted");
    server.stop().await;
}

#[tokio::test]
async fn a_missing_apply_id_has_its_code() {
    let server = Server::instant().await;
    for action in [
        "QueryPageByApplyId",
        "QueryImportedDeviceByApplyId",
        "QueryBatchRegisterDeviceStatus",
        "BatchRegisterDeviceWithApplyId",
    ] {
        let answer = server.ask(action, "ProductKey=a1Simulator").await;
        assert_eq!(answer["Code"], "iot.device.NullApplyId", "{action}");
    }
    server.stop().await;
}

#[test]
fn the_published_maximum_of_a_product_depends_on_the_region() {
    let mut switches = Switches::default();
    assert_eq!(switches.product_cap(), 3_000_000);

    switches.region = "eu-central-1".into();
    assert_eq!(switches.product_cap(), 1_000_000);
}

#[test]
fn each_action_has_its_published_quota() {
    let published = [
        ("BatchCheckDeviceNames", 10),
        ("BatchRegisterDevice", 10),
        ("BatchRegisterDeviceWithApplyId", 500),
        ("QueryBatchRegisterDeviceStatus", 30),
        ("QueryPageByApplyId", 50),
        ("BatchCheckImportDevice", 100),
        ("BatchImportDevice", 10),
        ("QueryImportedDeviceByApplyId", 50),
        ("QueryDeviceDetail", 50),
        ("BatchQueryDeviceDetail", 5),
        ("DeleteDevice", 50),
        ("QueryProduct", 50),
    ];
    assert_eq!(published.len(), Action::ALL.len());
    for (name, calls) in published {
        let action: Action = name.parse().unwrap();
        assert_eq!(action.published_qps(), calls, "{name}");
    }
}
