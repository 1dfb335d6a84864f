//! Instances that want to be named: every call of an import names its own.

use registrar::proto::CheckDevicesRequest;

use super::*;
use crate::export::{export, with_credentials};

const INSTANCE: &str = "iot-060a0bgd";

/// Imports so many into the instance, and watches them to their end.
async fn into_instance(stack: &mut Stack, prefix: &str, count: usize) -> Apply {
    let request = CheckDevicesRequest {
        iot_instance_id: INSTANCE.to_owned(),
        ..request(bringing(prefix, count), AfterCheck::RegisterValid)
    };
    let answer = stack.client.check_devices(request).await.unwrap();
    let apply = answer.into_inner().apply.unwrap();
    assert_all_created(stack, &apply, prefix, "in an instance").await;
    apply
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_an_import_names_the_instance_that_wants_to_be_named() {
    let instance = format!("{PRODUCT}={INSTANCE}");
    let place = ["--simulator-instance", &instance];
    for queries in ["own", "all"] {
        let switch = ["--simulator-import-apply", queries];
        let upstream = [&place[..], &switch, &SHORT_UPSTREAM].concat();
        let mut stack = stack(&upstream, &SHORT).await;

        // Counted and listed, then with every answer lost and looked up.
        into_instance(&mut stack, "light", 120).await;
        let fault = r#"{"kind":"no-answer","action":"BatchImportDevice"}"#;
        stack.upstream.set("it", fault).await;
        let lost = into_instance(&mut stack, "lost", 120).await;
        let request = with_credentials(lost.apply_id);
        let told = export(&mut stack.client, request, usize::MAX).await;
        assert!(told.complete);
        assert!(told.devices.iter().all(|one| !one.iot_id.is_empty()));

        let calls = stack.upstream.ledger("").await;
        let without = ["iot.prod.NotExistedProduct", "iot.system.InstanceNotFound"];
        for call in &calls {
            let code = call["code"].as_str().unwrap_or_default();
            assert!(!without.contains(&code), "{queries}: {call}");
        }
        let mut actions = vec![
            "BatchCheckImportDevice",
            "BatchImportDevice",
            "QueryImportedDeviceByApplyId",
            "BatchQueryDeviceDetail",
        ];
        actions.extend((queries == "all").then_some("QueryBatchRegisterDeviceStatus"));
        for action in actions {
            let of_it = |call: &&serde_json::Value| call["action"] == action;
            let answered = calls.iter().filter(of_it).any(|call| call["code"] == "OK");
            assert!(answered, "{queries}: {action}");
        }
    }
}
