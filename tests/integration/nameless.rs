//! A check that fails and names nobody: whose fault it is, is found out.

use registrar::{
    proto::{AfterCheck, ApplyStatus as S, DeviceOutcome as O, ReasonCode},
    simulator::PRODUCT,
};
use serde_json::{Value, json};

use crate::support::{
    database::database,
    stack::{Server, Upstream, check, list_devices, new_devices, watch},
};

const DEVICES: usize = 1_000;
const CULPRIT: &str = "light-000617";

#[tokio::test(flavor = "multi_thread")]
async fn the_culprit_of_a_check_that_names_nobody_is_found_by_halving_and_the_others_register() {
    let database = database().await;
    let exists = format!("{PRODUCT}/{CULPRIT}");
    let upstream =
        Upstream::start(&["--simulator-speed", "0", "--simulator-exists", &exists]).await;
    let fault = json!({"kind": "nameless-check-failure", "names": [CULPRIT]});
    upstream
        .send("PUT", "/_simulator/faults/silent", Some(fault.to_string()))
        .await;
    let server = Server::start(&database.url(), &upstream.url, &[]);
    let mut client = server.client().await;

    let apply = check(
        &mut client,
        new_devices("light", DEVICES),
        AfterCheck::RegisterValid,
    )
    .await;
    let seen = watch(&mut client, apply.apply_id, 0).await;

    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    for device in list_devices(&mut client, apply.apply_id).await {
        if device.device_name == CULPRIT {
            let reason = device.reason.as_ref().expect("a reason");
            assert_eq!(
                (device.outcome(), reason.code()),
                (O::Invalid, ReasonCode::Refused)
            );
            assert!(reason.message.contains("CHECK_FAILED"), "{reason:?}");
            assert!(!reason.request_id.is_empty(), "{reason:?}");
        } else {
            assert_eq!(
                (device.outcome(), device.reason.as_ref()),
                (O::Created, None),
                "{}",
                device.device_name
            );
        }
    }
    let there = upstream.devices(PRODUCT).await;
    assert_eq!(there.len(), DEVICES);
    assert_halved(&upstream.ledger("BatchCheckDeviceNames").await);
}

/// Everybody is checked twice, since once may have been chance. Then whoever is checked with the
/// culprit is half as many each time, and whoever is not passes at once.
fn assert_halved(checks: &[Value]) {
    let lists: Vec<Vec<&str>> = checks.iter().map(names).collect();
    let (with, without): (Vec<_>, Vec<_>) = lists
        .into_iter()
        .partition(|names| names.contains(&CULPRIT));

    let mut sizes: Vec<_> = with.iter().map(|names| names.len()).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(sizes[..2], [DEVICES; 2]);
    assert_eq!(sizes.last(), Some(&1));
    for pair in sizes[1..].windows(2) {
        assert!(
            pair[1] == pair[0] / 2 || pair[1] == pair[0].div_ceil(2),
            "{sizes:?}"
        );
    }
    let mut passed: Vec<_> = without.concat();
    passed.push(CULPRIT);
    passed.sort_unstable();
    let all = new_devices("light", DEVICES);
    assert!(
        passed
            .into_iter()
            .eq(all.iter().map(|device| &*device.device_name))
    );
    let halvings = DEVICES.ilog2() as usize + 1;
    assert!(checks.len() <= 2 + 2 * halvings, "{} checks", checks.len());
}

fn names(check: &Value) -> Vec<&str> {
    let names = check["name_list"]
        .as_array()
        .expect("a check with its names");
    names
        .iter()
        .map(|name| name.as_str().expect("a name"))
        .collect()
}
