//! `registrar explain` on an apply that something slows names it, in words to act on.

use std::process::{Command, Stdio};

use registrar::{
    proto::{AfterCheck, CheckDevicesRequest, ExplainApplyRequest, WaitCode, WaitingFor},
    simulator::PRODUCT,
};

use crate::support::{
    database::database,
    registrar_binary,
    stack::{Client, Server, Upstream, new_devices, patiently},
};

/// A fault of the upstream, and what an apply waits for because of it.
struct Case {
    fault: &'static str,
    code: WaitCode,
    /// What is the matter, and what to do about it.
    said: &'static [&'static str],
}

const CASES: [Case; 13] = [
    Case {
        fault: r#"{"kind":"throttle"}"#,
        code: WaitCode::Quota,
        said: &["Throttling", "quota", "--quota-share"],
    },
    Case {
        fault: r#"{"kind":"unavailable"}"#,
        code: WaitCode::Retry,
        said: &["no answer of the upstream", "503", "tried again", "status"],
    },
    Case {
        fault: r#"{"kind":"no-answer"}"#,
        code: WaitCode::Retry,
        said: &["connection broke", "tried again", "network"],
    },
    Case {
        fault: r#"{"kind":"cut","at":"middle"}"#,
        code: WaitCode::Retry,
        said: &["cut off", "tried again", "network"],
    },
    Case {
        fault: r#"{"kind":"garbage"}"#,
        code: WaitCode::Retry,
        said: &["not one of the upstream", "tried again", "proxy"],
    },
    Case {
        fault: r#"{"kind":"stuck","phase":"CHECK"}"#,
        code: WaitCode::Upstream,
        said: &["is checking", "since", "asked anew"],
    },
    Case {
        fault: r#"{"kind":"stuck","phase":"CREATE"}"#,
        code: WaitCode::Upstream,
        said: &["is creating", "since", "asked after"],
    },
    Case {
        fault: r#"{"kind":"block-account"}"#,
        code: WaitCode::BlockedAccount,
        said: &["BillIsOverDue", "account", "goes on by itself"],
    },
    Case {
        fault: r#"{"kind":"block-account","code":"InvalidAccessKeyId.NotFound"}"#,
        code: WaitCode::BlockedAccount,
        said: &["InvalidAccessKeyId", "access key", "goes on by itself"],
    },
    Case {
        fault: r#"{"kind":"block-action","action":"BatchCheckDeviceNames"}"#,
        code: WaitCode::BlockedAction,
        said: &["BatchCheckDeviceNames", "RAM", "goes on by itself"],
    },
    Case {
        fault: r#"{"kind":"block-product","product":"a1Simulator"}"#,
        code: WaitCode::BlockedProduct,
        said: &["NotExistedProduct", "product", "goes on by itself"],
    },
    Case {
        fault: r#"{"kind":"refuse","code":"InvalidTimeStamp.Expired"}"#,
        code: WaitCode::Retry,
        said: &["clock", "NTP", "goes on by itself"],
    },
    Case {
        fault: r#"{"kind":"refuse","code":"iot.system.SystemException"}"#,
        code: WaitCode::Retry,
        said: &["SystemException", "tried again"],
    },
];

/// What an apply waits for, once that is what the case says; what it was last, if it never is.
async fn waits(client: &mut Client, apply_id: i64, case: &Case) -> WaitingFor {
    let mut last = None;
    for _ in 0..200 {
        let request = ExplainApplyRequest {
            apply_id,
            ..Default::default()
        };
        let told = client.explain_apply(request).await.unwrap().into_inner();
        if let Some(waiting) = told.waiting_for {
            let whole = case.said.iter().all(|said| waiting.message.contains(said));
            if whole && waiting.code() == case.code {
                return waiting;
            }
            last = Some(waiting);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    last.expect("something to wait for")
}

/// One after the other fault, each with an upstream and a service of its own.
#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_a_fault_slows_says_what_it_waits_for_and_what_to_do() {
    let mut wrong = Vec::new();
    for case in &CASES {
        let database = database().await;
        let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
        let fault = Some(case.fault.to_owned());
        upstream.send("PUT", "/_simulator/faults/it", fault).await;
        let server = Server::start(&database.url(), &upstream.url, &["--drain-delay", "0s"]);
        let mut client = server.client().await;
        let request = CheckDevicesRequest {
            product_key: PRODUCT.to_owned(),
            devices: new_devices("slow", 3),
            after_check: AfterCheck::RegisterValid.into(),
            ..Default::default()
        };
        let apply = client.check_devices(request).await.unwrap().into_inner();
        let apply_id = apply.apply.unwrap().apply_id;

        let told = waits(&mut client, apply_id, case).await;
        let missing = case.said.iter().find(|said| !told.message.contains(**said));
        if missing.is_some() || told.code() != case.code {
            let (fault, code, message) = (case.fault, told.code(), told.message);
            wrong.push(format!("{fault}: {code:?}: {message} (lacks {missing:?})"));
            continue;
        }
        let address = format!("http://{}", server.address);
        let explained = tokio::task::spawn_blocking(move || {
            Command::new(registrar_binary())
                .args(["explain", &apply_id.to_string(), "--server", &address])
                .stdin(Stdio::null())
                .output()
                .unwrap()
        });
        let explained = patiently(explained).await.unwrap();
        let text = String::from_utf8(explained.stdout).unwrap();
        assert!(case.said.iter().all(|said| text.contains(said)), "{text}");
        // Whoever comes later and calls nobody, since the clock is refused, is told the same.
        if case.said.contains(&"clock") {
            let request = CheckDevicesRequest {
                product_key: PRODUCT.to_owned(),
                devices: new_devices("later", 1),
                ..Default::default()
            };
            let later = client.check_devices(request).await.unwrap().into_inner();
            let later = later.apply.unwrap().apply_id;
            let told = waits(&mut client, later, case).await;
            assert!(told.message.contains("NTP"), "{}", told.message);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
