//! Checks, creations and imports take their time.

use super::*;

/// Half a day and more for each, so that none ends while it is looked at.
const SLOW: f64 = 1e-6;

#[tokio::test]
async fn checks_creations_and_imports_are_under_way_for_a_while() {
    let server = Server::switched(|options| {
        options.speed = SLOW;
        options.switches.import_apply = ImportApply::All;
    })
    .await;

    let check = server.checked(&["dev1"]).await;
    let query = "ProductKey=a1Simulator";
    let random = format!("{query}&Count=2");
    server.ask("BatchRegisterDevice", &random).await;
    let row = "DeviceList.1.DeviceName=dev2&DeviceList.1.DeviceSecret=sec2";
    server.post("BatchImportDevice", query, row.into()).await;

    assert_eq!(server.phase(check).await, "CHECK");
    assert_eq!(server.phase(2).await, "CREATE");
    assert_eq!(server.phase(3).await, "CREATE");
    let early = server
        .ask("QueryImportedDeviceByApplyId", "ApplyId=3")
        .await;
    assert_eq!(early["TotalPage"], 0);
    server.stop().await;
}
