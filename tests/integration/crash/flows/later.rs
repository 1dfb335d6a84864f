//! What comes when all is registered: exports, the end of what is kept, new keys.

use registrar::proto::ReconcileRequest;

use super::*;

/// Reads every device with its credentials.
pub(super) async fn exports(life: &mut Life, apply: i64, count: usize) {
    loop {
        let mut client = life.client().await;
        let told = export(&mut client, with_credentials(apply), usize::MAX).await;
        match told.error {
            None => {
                assert!(told.complete);
                assert_eq!(told.devices.len(), count);
                assert!(told.devices.iter().all(|one| !one.iot_id.is_empty()));
                return;
            }
            Some(status) => life.mourn(&status.to_string()).await,
        }
    }
}

/// Registered and handed out with credentials.
pub(super) fn export_names() -> Flow {
    Flow {
        points: [
            owned(&["audited"]),
            // The first of the lane has counted what was created.
            points(
                &["permits-taken", "sending", "answered"],
                &["QueryPageByApplyId#2"],
            ),
            owned(&["beside-recorded/QueryPageByApplyId"]),
        ]
        .concat(),
        upstream: &FAST,
        flags: &[],
        drive: |life| {
            async {
                let devices = new_devices("light", 25);
                let apply = life.submit(devices, AfterCheck::RegisterValid).await;
                assert_created(&life.rests(apply).await, 25, 0);
                exports(life, apply, 25).await;
            }
            .boxed_local()
        },
    }
}

/// Imported and handed out with credentials.
pub(super) fn export_import() -> Flow {
    Flow {
        points: [
            points(&["permits-taken", "sending", "answered"], &[DETAILS]),
            owned(&["beside-recorded/BatchQueryDeviceDetail"]),
        ]
        .concat(),
        upstream: &FAST,
        flags: &[],
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

/// Not created in time, and asked after once somebody wants to know.
pub(super) fn reconcile() -> Flow {
    Flow {
        points: requests(&["reconcile"]),
        upstream: &[
            FAST[0],
            FAST[1],
            FORGETFUL[0],
            FORGETFUL[1],
            "--simulator-fault",
            r#"hold={"kind":"stuck","phase":"CREATE"}"#,
        ],
        flags: &[
            SHORT[0],
            SHORT[1],
            SHORT[2],
            SHORT[3],
            "--reconcile-for",
            "2s",
        ],
        drive: |life| {
            async {
                let devices = new_devices("light", 25);
                let apply_id = life.submit(devices, AfterCheck::RegisterValid).await;
                let ended = life.rests(apply_id).await;
                let came_to = (ended.status(), counts(&ended).unknown);
                assert_eq!(came_to, (S::CreateFailed, 25));
                life.upstream.lift("hold").await;
                let request = ReconcileRequest {
                    apply_id,
                    ..Default::default()
                };
                life.ask(|mut client| async move { client.reconcile(request).await })
                    .await;
                assert_created(&life.rests(apply_id).await, 25, 0);
            }
            .boxed_local()
        },
    }
}

/// Checked, and found in a database that another server keeps.
pub(super) fn restored() -> Flow {
    Flow {
        points: owned(&["restored-written", "restored-committed"]),
        upstream: &FAST,
        flags: &[],
        drive: |life| {
            async {
                let apply = life
                    .submit(new_devices("light", 25), AfterCheck::Stop)
                    .await;
                assert_eq!(life.rests(apply).await.status(), S::CheckSuccess);
                drop(life.server.take());
                sqlx::query("UPDATE keeper SET timeline = '00FFFFFF'")
                    .execute(&life.database.pool)
                    .await
                    .expect("the database answers");
                life.register(apply, false).await;
                assert_created(&life.rests(apply).await, 25, 0);
            }
            .boxed_local()
        },
    }
}

/// Checked and not registered for so long that it is cancelled and removed, and the audit of it with it.
pub(super) fn retention() -> Flow {
    Flow {
        points: owned(&[
            "expiry-written",
            "expiry-committed",
            "removed",
            "audit-forgetting",
            "audit-forgotten",
        ]),
        upstream: &FAST,
        flags: &[
            "--register-within",
            "1s",
            "--retain-for",
            "1s",
            "--retain-audit-for",
            "1s",
            "--retention-every",
            "1s",
        ],
        drive: |life| {
            async {
                let apply = life.submit(some_devices(), AfterCheck::Stop).await;
                // Whatever becomes of it, it is looked for until it is gone.
                life.asked.clear();
                patiently(async {
                    while !life.has_died() || !is_forgotten(life, apply).await {
                        life.client().await;
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    }
                })
                .await;
                assert!(life.upstream.ledger(REGISTER).await.is_empty());
            }
            .boxed_local()
        },
    }
}

/// Whether neither an apply nor anything about it is there.
async fn is_forgotten(life: &mut Life, apply_id: i64) -> bool {
    let mut client = life.client().await;
    let request = GetApplyRequest {
        apply_id,
        include_lists: false,
    };
    match client.get_apply(request).await {
        Err(status) if status.code() == tonic::Code::NotFound => {}
        _ => return false,
    }
    let left = "SELECT (SELECT count(*) FROM audit) + (SELECT count(*) FROM rounds)
                     + (SELECT count(*) FROM events) + (SELECT count(*) FROM calls)";
    let left: i64 = sqlx::query_scalar(left)
        .fetch_one(&life.database.pool)
        .await
        .expect("the database answers");
    left == 0
}

/// An import that waits to be registered while its data key is sealed anew.
pub(super) fn rotation() -> Flow {
    Flow {
        points: owned(&["rewrapping", "rewrapped"]),
        upstream: &FAST,
        flags: &["--rewrap-every", "1s"],
        drive: |life| {
            async {
                let apply = life.submit(bringing("light", 12), AfterCheck::Stop).await;
                assert_eq!(life.rests(apply).await.status(), S::CheckSuccess);
                life.keys
                    .replace(&format!("{}{}", key("k2", 2), key("k1", 1)));
                patiently(async {
                    while !life.has_died() || !is_under(life, "k2").await {
                        life.client().await;
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    }
                })
                .await;
                // The older one is not needed any more.
                life.keys.replace(&key("k2", 2));
                life.register(apply, false).await;
                assert_created(&life.rests(apply).await, 12, 0);
            }
            .boxed_local()
        },
    }
}

/// Whether every data key is under a master key.
async fn is_under(life: &Life, id: &str) -> bool {
    let keys: Vec<Vec<u8>> = sqlx::query_scalar("SELECT data_key FROM applies")
        .fetch_all(&life.database.pool)
        .await
        .expect("the database answers");
    keys.iter()
        .all(|key| key.windows(id.len()).any(|part| part == id.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_devices_are_asked_after_wherever_the_service_dies() {
    reconcile().runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_is_marked_through_every_death() {
    restored().runs().await;
}
