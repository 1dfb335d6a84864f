//! `kill -9` at any moment: nothing is lost, and nothing is registered twice.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use registrar::{
    proto::{AfterCheck, ApplyStatus as S, DeviceOutcome as O, ReasonCode},
    simulator::PRODUCT,
};

use crate::support::{
    database::database,
    stack::{Server, Upstream, check, list_devices, named, new_devices, watch},
    truth::{Asked, Truth},
};

const SEED: u64 = 20_261_122;
const KILLS: usize = 20;
const DEVICES: usize = 30_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_ends_as_it_would_have_although_the_service_is_killed_twenty_times() {
    let database = database().await;
    let upstream = Upstream::start(&[
        "--simulator-speed",
        "0.3",
        "--simulator-exists",
        "a1Simulator/light-000042",
    ])
    .await;
    let flags = [
        "--lease",
        "2s",
        "--upstream-timeout",
        "2s",
        "--upstream-connect-timeout",
        "1s",
    ];
    let mut moments = StdRng::seed_from_u64(SEED);
    let mut devices = new_devices("light", DEVICES);
    devices[12_345] = named("a bad name");
    let names = devices.iter().map(|it| it.device_name.clone()).collect();

    let mut server = Server::start(&database.url(), &upstream.url, &flags);
    let apply = check(
        &mut server.client().await,
        devices,
        AfterCheck::RegisterValid,
    )
    .await;
    for _ in 0..KILLS {
        // The one place where a test waits for a while: the moment of a kill is what is tested.
        tokio::time::sleep(Duration::from_millis(moments.random_range(50..1_500))).await;
        server.kill();
        server = Server::start(&database.url(), &upstream.url, &flags);
    }
    let mut client = server.client().await;
    let seen = watch(&mut client, apply.apply_id, 0).await;

    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    assert!(
        seen.iter()
            .map(|event| event.revision)
            .eq(1..=seen.len() as i64)
    );
    for device in list_devices(&mut client, apply.apply_id).await {
        let code = device.reason.as_ref().map(|reason| reason.code());
        let expected = match device.ordinal {
            42 => (O::Invalid, Some(ReasonCode::Exists)),
            12_345 => (O::Invalid, Some(ReasonCode::NameCharacter)),
            _ => (O::Created, None),
        };
        assert_eq!((device.outcome(), code), expected, "{}", device.device_name);
    }
    let created = upstream.devices(PRODUCT).await;
    assert_eq!(created.len(), DEVICES - 1);
    let truth = Truth::read(&upstream, PRODUCT, Duration::from_secs(2)).await;
    let asked = Asked {
        apply_id: apply.apply_id,
        names,
        may_register: true,
        sealed: true,
        ..Default::default()
    };
    assert_eq!(
        truth.violations(&mut client, &asked).await,
        Vec::<String>::new()
    );
}
