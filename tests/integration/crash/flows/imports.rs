//! Devices that bring their own secrets.

use super::*;

/// Twelve devices that bring their secrets, of which one breaks a rule, checked and then imported.
pub(super) fn import() -> Flow {
    Flow {
        points: [
            requests(&["submit", "register"]),
            steps(&[CHECK_IMPORT, IMPORT, STATUS, IMPORTED]),
        ]
        .concat(),
        upstream: &[
            FAST[0],
            FAST[1],
            FORGETFUL[0],
            FORGETFUL[1],
            "--simulator-import-apply",
            "all",
        ],
        flags: &SHORT,
        drive: |life| {
            async {
                let mut devices = bringing("light", 12);
                devices[3].device_name = "a bad name".to_owned();
                let apply = life.submit(devices, AfterCheck::Stop).await;
                assert_eq!(life.rests(apply).await.status(), S::CheckFailed);
                life.register(apply, false).await;
                assert_created(&life.rests(apply).await, 11, 1);
            }
            .boxed_local()
        },
    }
}

pub(super) async fn imports_twelve(life: &mut Life) {
    let devices = bringing("light", 12);
    let apply = life.submit(devices, AfterCheck::RegisterValid).await;
    assert_created(&life.rests(apply).await, 12, 0);
}

/// The first answer is lost, the request is sent again, and the devices are looked up.
pub(super) fn lost_import() -> Flow {
    Flow {
        points: [
            steps(&[DETAILS]),
            of_rounds(&[IMPORT]),
            of_rounds(&["BatchImportDevice#2"]),
        ]
        .concat(),
        upstream: &[
            FAST[0],
            FAST[1],
            FORGETFUL[0],
            FORGETFUL[1],
            "--simulator-fault",
            r#"lost={"kind":"no-answer","action":"BatchImportDevice"}"#,
        ],
        flags: &SHORT,
        drive: |life| imports_twelve(life).boxed_local(),
    }
}

/// The same with every action of imports throttled once.
pub(super) fn throttled_import() -> Flow {
    Flow {
        points: points(&["slowed-down"], &[CHECK_IMPORT, IMPORT, IMPORTED, DETAILS]),
        upstream: &[
            FAST[0],
            FAST[1],
            FORGETFUL[0],
            FORGETFUL[1],
            "--simulator-fault",
            r#"a={"kind":"throttle","calls":[1],"action":"BatchCheckImportDevice"};b={"kind":"throttle","calls":[1],"action":"BatchImportDevice"};c={"kind":"throttle","calls":[1],"action":"QueryImportedDeviceByApplyId"};d={"kind":"throttle","calls":[1],"action":"BatchQueryDeviceDetail"}"#,
        ],
        flags: &SHORT,
        drive: |life| {
            async {
                imports_twelve(life).await;
                let apply = life.asked[0].apply_id;
                exports(life, apply, 12).await;
            }
            .boxed_local()
        },
    }
}
