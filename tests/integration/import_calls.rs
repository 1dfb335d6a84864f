//! The calls of imports and look-ups between the production client and the simulator.

use clap::Parser as _;
use registrar::{
    domain::DeviceSecret,
    simulator::{ACCESS_KEY_ID, ACCESS_KEY_SECRET, PRODUCT},
    upstream::{self, Answer, Call, Client, Kind, Product},
};
use tokio::time::Instant;

use crate::support::stack::{PATIENCE, Upstream};

const LAMPS: Product<'_> = Product {
    product_key: PRODUCT,
    iot_instance_id: None,
};

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    upstream: upstream::Options,
}

fn client(upstream: &Upstream) -> Client {
    let flags = [
        "registrar",
        "--upstream-url",
        &upstream.url,
        "--upstream-access-key-id",
        ACCESS_KEY_ID,
        "--upstream-access-key-secret",
        ACCESS_KEY_SECRET,
    ];
    Client::new(&Flags::parse_from(flags).upstream).expect("the options are sound")
}

async fn ask<T>(call: Call<T>) -> Answer<T> {
    call.send(Instant::now() + PATIENCE, None).await
}

fn secrets(count: usize) -> Vec<DeviceSecret> {
    (0..count)
        .map(|number| DeviceSecret::new(format!("secret:{number:03}@lamp")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_imported_once_and_read_back_as_they_were_sent() {
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let client = client(&upstream);
    let secrets = secrets(60);
    let names: Vec<String> = (0..60).map(|number| format!("lamp:{number:03}")).collect();
    let rows = || names.iter().zip(&secrets);
    let devices = || rows().map(|(name, secret)| (name.as_str(), secret, Some("SN_1")));

    let checked = ask(client.check_import(LAMPS, devices())).await;
    let stamp = client.stamp();
    let deadline = Instant::now() + PATIENCE;
    let import = client.import(LAMPS, devices());
    let imported = import.stamped(stamp).send(deadline, None).await.outcome;
    // As after a lost answer; whoever asks may be another process.
    let again = client.import(LAMPS, devices());
    let again = again.stamped(stamp).send(deadline, None).await.outcome;

    assert!(checked.outcome.expect("it passes").refused.is_empty());
    let apply_id = imported.expect("it is taken").apply_id;
    assert!(again.expect_err("it was seen").nonce_used());
    let mut read = Vec::new();
    for page in 1..=2 {
        let page = ask(client.imported(LAMPS, apply_id, page)).await;
        let page = page.outcome.expect("a page");
        assert_eq!(page.total_pages, 2);
        read.extend(page.devices);
    }
    assert_eq!(read.len(), 60);
    for (device, (name, secret)) in read.iter().zip(rows()) {
        assert_eq!((&device.name, device.secret.as_ref()), (name, Some(secret)));
        assert_eq!(device.sn.as_deref(), Some("SN_1"));
    }
    upstream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_looked_up_with_its_secret_and_its_absence_is_told() {
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let client = client(&upstream);
    let secrets = secrets(1);
    let import = client.import(LAMPS, [("lamp-1", &secrets[0], None)]);
    ask(import).await.outcome.expect("it is taken");

    let there = ask(client.detail(LAMPS, "lamp-1")).await;
    let absent = ask(client.detail(LAMPS, "lamp-2")).await;

    let detail = there.outcome.expect("it is there");
    assert_eq!(detail.secret.as_ref(), Some(&secrets[0]));
    assert!(absent.outcome.expect_err("it is absent").no_such_device());
    let found = ask(client.details(LAMPS, ["lamp-2", "lamp-1"])).await;
    let found = found.outcome.expect("they are looked up");
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].name.as_str(), &found[0].iot_id),
        ("lamp-1", &detail.iot_id)
    );
    upstream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_import_names_each_of_its_rows_once_and_no_secret() {
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let client = client(&upstream);
    let secrets = ["canary0", "canary1", "canary!", "canary3", "canary4"];
    let secrets = secrets.map(|text| DeviceSecret::new(text.to_owned()));
    let devices = || {
        let names = ["good", "bad name", "dev2", "dev3", "good2"];
        let sns = ["SN_0", "SN_1", "SN_2", "SN-3", "SN_4"];
        let rows = names.into_iter().zip(&secrets).zip(sns);
        rows.map(|((name, secret), sn)| (name, secret, Some(sn)))
            .chain([("good2", &secrets[4], None)])
    };

    let checked = ask(client.check_import(LAMPS, devices())).await;
    let imported = ask(client.import(LAMPS, devices())).await;

    for error in [
        checked.outcome.expect_err("it is refused"),
        imported.outcome.expect_err("it is refused"),
    ] {
        let named: Vec<_> = error
            .refused
            .iter()
            .map(|device| (device.name.as_str(), device.kind))
            .collect();
        let expected = [
            ("bad name", Kind::Name),
            ("dev2", Kind::Secret),
            ("dev3", Kind::Sn),
            ("good2", Kind::Exists),
        ];
        assert_eq!(named, expected);
        let said = format!("{error} {error:?} {:?}", error.refused);
        assert!(!said.contains("canary"), "{said}");
    }
    upstream.stop().await;
}
