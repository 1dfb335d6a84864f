//! What nobody outside can know of the upstream: each switch, both ways.

use serde_json::json;

use super::*;

const QUERY: &str = "ProductKey=a1Simulator";

async fn check(server: &Server, names: &[&str]) -> Value {
    server.send(Call::check(QUERY, names)).await.1
}

fn rows(page: &Value) -> Vec<&str> {
    let rows = page["ApplyDeviceList"]["ApplyDeviceInfo"].as_array();
    let names = rows.unwrap().iter().map(|row| row["DeviceName"].as_str());
    names.map(Option::unwrap).collect()
}

#[tokio::test]
async fn the_repeated_list_holds_what_the_switch_says() {
    for (switch, expected) in [
        (Repeated::Request, json!(["twice"])),
        (Repeated::Existing, json!(["old1"])),
        (Repeated::Both, json!(["twice", "old1"])),
    ] {
        let server = Server::switched(|options| {
            options.exists = vec!["a1Simulator/old1".parse().unwrap()];
            options.switches.repeated_list = switch;
        })
        .await;

        let checked = check(&server, &["twice", "twice", "old1", "dev1"]).await;
        let body = "DeviceList.1.DeviceName=twice&DeviceList.1.DeviceSecret=s&\
                    DeviceList.2.DeviceName=twice&DeviceList.2.DeviceSecret=s&\
                    DeviceList.3.DeviceName=old1&DeviceList.3.DeviceSecret=s";
        let imported = server
            .post("BatchCheckImportDevice", QUERY, body.into())
            .await;
        let existing = check(&server, &["old1"]).await;

        let list = &checked["Data"]["RepeatedDeviceNameList"];
        assert_eq!(list["RepeatDevieNameList"], expected, "{switch:?}");
        assert_eq!(imported["Data"]["RepeatedDeviceNameList"], expected);
        let at_once = switch != Repeated::Request;
        assert_eq!(existing["Success"], !at_once);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_check_refused_at_once_has_an_apply_id_if_told_so() {
    let server = Server::switched(|options| options.switches.refused_apply_id = Shown::Shown).await;

    let refused = check(&server, &["dev1", "x*"]).await;

    assert_eq!(
        (&refused["Success"], &refused["Data"]["ApplyId"]),
        (&json!(false), &json!(1))
    );
    assert_eq!(server.phase(1).await, "CHECK_FAILED");
    server.stop().await;
}

#[tokio::test]
async fn messages_for_repeated_and_existing_names_can_be_chosen() {
    let server = Server::switched(|options| {
        options.bad_names = BadNames::CheckFailed;
        options.exists = vec!["a1Simulator/old1".parse().unwrap()];
        options.switches.repeated_text = "twice".into();
        options.switches.existing_text = "taken".into();
    })
    .await;

    let apply = server.checked(&["dev1", "dev1", "old1"]).await;

    let details = &server.status(apply).await["Data"]["InvalidDetailList"]["invalidDetailList"];
    let messages: Vec<_> = details.as_array().unwrap().iter().collect();
    assert_eq!(messages[0]["ErrorMsg"], "taken");
    assert_eq!(messages[1]["ErrorMsg"], "twice");
    server.stop().await;
}

#[tokio::test]
async fn a_second_register_is_refused_or_accepted() {
    for (switch, done) in [(Register::Refuse, false), (Register::Accept, true)] {
        let server = Server::switched(|options| options.switches.second_register = switch).await;
        let apply = server.checked(&["dev1"]).await;
        server.registered(apply).await;

        assert_eq!(server.registered(apply).await["Success"], done);

        let devices = server.lines("devices?product=a1Simulator").await;
        assert_eq!(devices[0]["created"], 1);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_register_during_the_check_is_refused_or_ends_it() {
    for (switch, phase) in [(Register::Refuse, "CHECK"), (Register::Accept, "CREATE")] {
        let server = Server::switched(|options| {
            options.speed = 1e-6;
            options.switches.early_register = switch;
            options.exists = vec!["a1Simulator/old1".parse().unwrap()];
        })
        .await;
        let good = server.checked(&["dev1"]).await;
        let bad = server.checked(&["old1"]).await;

        let answer = server.registered(good).await;
        server.registered(bad).await;

        let accepted = switch == Register::Accept;
        assert_eq!(answer["Success"], accepted);
        assert_eq!(server.phase(good).await, phase);
        let failed = if accepted { "CHECK_FAILED" } else { "CHECK" };
        assert_eq!(server.phase(bad).await, failed);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_register_after_a_failed_check_is_refused_or_takes_what_passed() {
    for switch in [Register::Refuse, Register::Accept] {
        let server = Server::switched(|options| {
            options.bad_names = BadNames::CheckFailed;
            options.exists = vec!["a1Simulator/old1".parse().unwrap()];
            options.switches.failed_register = switch;
        })
        .await;
        let apply = server.checked(&["old1", "dev1", "x*"]).await;

        let answer = server.registered(apply).await;

        let data = server.status(apply).await["Data"].clone();
        assert_eq!(data["ValidList"], json!({"Name": ["dev1"]}));
        assert_eq!(data["InvalidList"], json!({"Name": ["old1", "x*"]}));
        if switch == Register::Accept {
            assert_eq!(data["Status"], "CREATE_FAILED");
            let page = server.ask("QueryPageByApplyId", "ApplyId=1").await;
            assert_eq!(rows(&page), ["dev1"]);
        } else {
            assert_eq!(answer["Code"], "iot.device.IncorrentDeviceApplyInfo");
            assert_eq!(data["Status"], "CHECK_FAILED");
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn pages_during_a_creation_are_empty_partial_or_refused() {
    for switch in [EarlyPages::Empty, EarlyPages::Partial, EarlyPages::Refuse] {
        // The creation takes days: what is there of it is told by a test of the state.
        let server = Server::switched(|options| {
            options.switches.early_pages = switch;
            options.speed = 1e-6;
        })
        .await;
        let random = format!("{QUERY}&Count=10");
        server.ask("BatchRegisterDevice", &random).await;

        let page = server.ask("QueryPageByApplyId", "ApplyId=1").await;

        assert_eq!(server.phase(1).await, "CREATE");
        if switch == EarlyPages::Refuse {
            assert_eq!(page["Code"], "iot.device.QueryDeviceApplyActionError");
        } else {
            assert_eq!(
                (&page["Success"], &page["Total"]),
                (&json!(true), &json!(0))
            );
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn rows_of_a_page_come_in_either_order() {
    let server = Server::switched(|options| options.switches.page_order = PageOrder::Reverse).await;
    let apply = server.checked(&["dev1", "dev2", "dev3"]).await;
    server.registered(apply).await;

    let query = "ApplyId=1&PageSize=2";
    let page = server.ask("QueryPageByApplyId", query).await;

    assert_eq!(rows(&page), ["dev3", "dev2"]);
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_more_than_fifty_rows_is_what_the_switch_says() {
    let names: Vec<String> = (0..201).map(|n| format!("dev-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (switch, expected) in [
        (PageSizes::Clamp, Some(50)),
        (PageSizes::Refuse, None),
        (PageSizes::Upto200, Some(200)),
    ] {
        let server = Server::switched(|options| options.switches.page_sizes = switch).await;
        let apply = server.checked(&names).await;
        server.registered(apply).await;

        let query = "ApplyId=1&PageSize=201";
        let page = server.ask("QueryPageByApplyId", query).await;

        match expected {
            Some(count) => assert_eq!(rows(&page).len(), count),
            None => assert_eq!(page["Code"], "iot.common.InvalidPageParams"),
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn pages_show_deleted_devices_if_told_so() {
    for (switch, total) in [(Shown::Hidden, 1), (Shown::Shown, 2)] {
        let server = Server::switched(|options| options.switches.deleted = switch).await;
        let apply = server.checked(&["dev1", "dev2"]).await;
        server.registered(apply).await;

        let dev1 = "ProductKey=a1Simulator&DeviceName=dev1";
        server.ask("DeleteDevice", dev1).await;

        let page = server.ask("QueryPageByApplyId", "ApplyId=1").await;
        assert_eq!(page["Total"], total);
        server.stop().await;
    }
}

#[tokio::test]
async fn an_apply_id_ends_with_its_life() {
    let life = Some(std::time::Duration::ZERO);
    let server = Server::switched(|options| options.switches.apply_life = life).await;

    let apply = server.checked(&["dev1"]).await;

    let status = server.status(apply).await;
    assert_eq!(status["Code"], "iot.device.DeviceApplyIsNotFound");
    server.stop().await;
}

#[tokio::test]
async fn names_that_passed_a_check_are_free_or_kept_for_it() {
    for (switch, phase) in [
        (CheckedNames::Free, "CHECK_SUCCESS"),
        (CheckedNames::Reserved, "CHECK_FAILED"),
    ] {
        let server = Server::switched(|options| options.switches.checked_names = switch).await;
        let first = server.checked(&["dev1", "dev2"]).await;
        let second = server.checked(&["dev2", "dev3"]).await;

        assert_eq!(server.phase(second).await, phase);

        server.registered(first).await;
        assert_eq!(server.phase(first).await, "CREATE_SUCCESS");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_gap_in_the_numbers_is_accepted_cut_or_refused() {
    let body = "DeviceName.1=dev1&DeviceName.3=dev3";
    for (switch, total) in [(Gaps::Accept, 2), (Gaps::Cut, 1), (Gaps::Refuse, 0)] {
        let server = Server::switched(|options| options.switches.gaps = switch).await;

        let answer = server
            .post("BatchCheckDeviceNames", QUERY, body.into())
            .await;

        if total == 0 {
            let code = "iot.common.InvalidFormattedParameter";
            assert_eq!(answer["Code"], code);
        } else {
            server.registered(1).await;
            let page = server.ask("QueryPageByApplyId", "ApplyId=1").await;
            assert_eq!(page["Total"], total);
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn spaces_around_a_name_are_illegal_or_taken_away() {
    for (switch, fine) in [(Spaces::Keep, false), (Spaces::Trim, true)] {
        let server = Server::switched(|options| options.switches.spaces = switch).await;

        let answer = check(&server, &["+dev1+"]).await;

        assert_eq!(answer["Success"], fine);
        if fine {
            server.registered(1).await;
            let page = server.ask("QueryPageByApplyId", "ApplyId=1").await;
            assert_eq!(rows(&page), ["dev1"]);
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn case_tells_names_apart_or_does_not() {
    for (switch, fine) in [(LetterCase::Exact, true), (LetterCase::Ignore, false)] {
        let server = Server::switched(|options| options.switches.case = switch).await;
        let first = server.checked(&["Dev1"]).await;
        server.registered(first).await;

        let twice = check(&server, &["dev2", "DEV2"]).await;
        let taken = server.checked(&["dEV1"]).await;

        assert_eq!(twice["Success"], fine);
        let phase = if fine {
            "CHECK_SUCCESS"
        } else {
            "CHECK_FAILED"
        };
        assert_eq!(server.phase(taken).await, phase);
        let detail = "ProductKey=a1Simulator&DeviceName=DEV1";
        let detail = server.ask("QueryDeviceDetail", detail).await;
        assert_eq!(detail["Success"], !fine);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_directory_keeps_its_view_of_case() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options {
        dir: Some(directory.path().to_owned()),
        ..Options::default()
    };
    Server::start(options.clone()).await.stop().await;

    options.switches.case = LetterCase::Ignore;

    let refused = Simulator::open(&options).unwrap_err();
    assert!(format!("{refused:#}").contains("--simulator-case"));
}

#[tokio::test]
async fn a_creation_that_fails_for_some_keeps_or_undoes_the_others() {
    for (switch, created) in [
        (FailedCreations::Keep, json!(["dev3"])),
        (FailedCreations::Undo, json!([])),
    ] {
        let server = Server::switched(|options| options.switches.failed_creations = switch).await;
        let first = server.checked(&["dev1", "dev2"]).await;
        let second = server.checked(&["dev2", "dev3"]).await;
        server.registered(first).await;

        server.registered(second).await;

        let data = server.status(second).await["Data"].clone();
        assert_eq!(data["Status"], "CREATE_FAILED");
        assert_eq!(data["ValidList"]["Name"], created);
        let third = server.checked(&["dev3"]).await;
        let free = switch == FailedCreations::Undo;
        let phase = if free {
            "CHECK_SUCCESS"
        } else {
            "CHECK_FAILED"
        };
        assert_eq!(server.phase(third).await, phase);
        server.stop().await;
    }
}

#[tokio::test]
async fn switches_that_cannot_be_meant_are_refused() {
    let changes: [fn(&mut Switches); 3] = [
        |switches| switches.cap_code = "Throttling".into(),
        |switches| switches.import_products = vec!["a1Other".into()],
        |switches| switches.instances = vec!["a1Other=iot-x".parse().unwrap()],
    ];
    for change in changes {
        let mut options = Options::default();
        change(&mut options.switches);
        assert!(options.check().is_err(), "{options:?}");
    }
    assert!("a1Simulator=".parse::<Placement>().is_err());
}
