//! The doctor over real sockets, before a far end that answers what a test wants to be judged.

mod far_end;
mod judged;

use time::{OffsetDateTime, macros::format_description};

use self::far_end::{Answer, KEY_ID, SECRET, answer, look, refusal, sound};
use crate::{doctor::asked::LANES, domain::Lane};

const PRODUCT: [&str; 2] = ["--product-key", "a1BwAGVtest"];

/// Every action answered alike, with this date.
fn dated(ahead: time::Duration, (status, _, body): (u16, String, String)) -> Answer {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    #[expect(
        clippy::disallowed_methods,
        reason = "a far end tells the time by its own clock"
    )]
    let date = (OffsetDateTime::now_utc() + ahead).format(format).unwrap();
    Some((status, format!("date: {date}\r\n"), body))
}

#[tokio::test]
async fn a_sound_account_is_found_sound_by_calls_that_can_do_nothing() {
    let looked = look(&PRODUCT, |action, _| sound(action)).await;

    assert!(looked.is_well, "{looked:?}");
    for check in ["reach", "key", "account", "product", "instance"] {
        assert_eq!(looked.verdict(check, None), "ok", "{looked:?}");
    }
    let requests = looked.requests.iter();
    let sent = |action: &str| {
        let named = format!("\r\nx-acs-action: {action}\r\n");
        requests.clone().find(|head| head.contains(&named)).unwrap()
    };
    let register = sent("BatchRegisterDeviceWithApplyId");
    assert!(register.contains("ApplyId=9223372036854775807&ProductKey=a1BwAGVtest "));
    assert!(register.contains("\r\ncontent-length: 0\r\n"));
    let check = sent("BatchCheckDeviceNames");
    assert!(!check.contains("DeviceName.") && check.contains("\r\ncontent-length: 0\r\n"));
    for lane in LANES {
        let action = Some(lane.as_str());
        assert_eq!(looked.verdict("permission", action), "ok", "{looked:?}");
        assert_eq!(looked.verdict("quota", action), "ok", "{looked:?}");
    }
    assert_eq!(looked.verdict("permission", Some("QueryProduct")), "ok");
    assert_eq!(requests.count(), 5);
    let printed = format!("{:?}", looked.lines);
    assert!(!printed.contains("canary") && !printed.contains(KEY_ID));
    let key = looked.text("key", None, "found");
    assert!(key.starts_with("LTAI…yId1: "), "{key}");
}

#[tokio::test]
async fn each_way_to_refuse_a_key_has_its_own_advice_and_ends_the_look() {
    for (code, advice) in [
        ("SignatureDoesNotMatch", "ACCESS_KEY_SECRET"),
        ("IncompleteSignature", "ACCESS_KEY_SECRET"),
        ("InvalidAccessKeyId.NotFound", "ACCESS_KEY_ID"),
        ("InvalidAccessKeyId.Inactive", "enable"),
        ("MissingSecurityToken", "SECURITY_TOKEN"),
        ("InvalidSecurityToken.Expired", "RAM user"),
        ("InvalidSecurityToken.Malformed", "one and the same answer"),
        (
            "InvalidSecurityToken.MismatchWithAccessKey",
            "one and the same answer",
        ),
    ] {
        let looked = look(&PRODUCT, move |_, _| refusal(code)).await;

        assert_eq!(looked.verdict("reach", None), "ok", "{code}");
        assert_eq!(looked.verdict("key", None), "fail", "{code}");
        assert!(looked.text("key", None, "todo").contains(advice), "{code}");
        for check in ["account", "product", "instance", "permission"] {
            assert_eq!(looked.verdict(check, None), "skip", "{code}");
            assert!(looked.text(check, None, "found").contains("key failed"));
        }
        assert!(!looked.is_well && looked.requests.len() == 1, "{code}");
        assert!(!format!("{:?}", looked.lines).contains(SECRET));
    }
}

#[tokio::test]
async fn an_answer_that_is_not_the_upstreams_or_none_ends_the_look() {
    for garbage in [
        answer(200, "<html>please log in</html>"),
        answer(302, ""),
        answer(502, "<html>bad gateway</html>"),
        None,
    ] {
        let told = garbage.clone();
        let looked = look(&PRODUCT, move |_, _| told.clone()).await;

        assert_eq!(looked.verdict("reach", None), "fail", "{garbage:?}");
        for check in ["clock", "key", "account", "product", "permission"] {
            assert_eq!(looked.verdict(check, None), "skip", "{garbage:?}");
        }
        assert!(!looked.is_well);
    }
}

#[tokio::test]
async fn a_wrong_clock_keeps_nothing_else_from_being_looked_at() {
    let ahead = time::Duration::hours(5);
    let looked = look(&PRODUCT, move |action, _| dated(ahead, sound(action)?)).await;

    assert_eq!(looked.verdict("clock", None), "fail");
    assert_eq!(looked.verdict("product", None), "ok");
    assert!(!looked.is_well);
}

#[tokio::test]
async fn a_clock_that_is_refused_is_told_and_the_look_goes_on_with_the_upstreams() {
    let ahead = time::Duration::hours(5);
    let looked = look(&PRODUCT, move |action, before| {
        let first = action == "QueryProduct" && before == 0;
        let told = if first {
            refusal("InvalidTimeStamp.Expired")
        } else {
            sound(action)
        };
        dated(ahead, told?)
    })
    .await;

    assert_eq!(looked.verdict("clock", None), "fail");
    assert_eq!(looked.verdict("key", None), "ok");

    let looked = look(&PRODUCT, |_, _| refusal("InvalidTimeStamp.Expired")).await;

    assert_eq!(looked.verdict("clock", None), "fail");
    assert_eq!(looked.verdict("key", None), "skip");
}

#[tokio::test]
async fn an_account_that_is_not_served_is_told_what_to_do() {
    for (code, advice) in [
        ("Iot.system.BillIsOverDue", "bill"),
        ("iot.system.UidNotFound", "activate"),
        ("iot.common.InvalidTenant", "owns"),
    ] {
        let looked = look(&PRODUCT, move |_, _| refusal(code)).await;

        assert_eq!(looked.verdict("key", None), "ok", "{code}");
        assert_eq!(looked.verdict("account", None), "fail", "{code}");
        assert!(looked.text("account", None, "todo").contains(advice));
        assert_eq!(looked.verdict("permission", None), "skip", "{code}");
    }
}

#[tokio::test]
async fn a_product_or_an_instance_that_is_not_there_fails_alone() {
    for (code, flags, product, instance, advice) in [
        (
            "iot.prod.NotExistedProduct",
            &PRODUCT[..],
            "fail",
            "skip",
            "--iot-instance-id",
        ),
        (
            "iot.Prod.NotProductOwner",
            &PRODUCT[..],
            "fail",
            "skip",
            "owns the product",
        ),
        (
            "iot.system.InstanceNotFound",
            &PRODUCT[..],
            "skip",
            "fail",
            "--iot-instance-id",
        ),
        (
            "iot.Sre.IotInstanceNotFound",
            &["--product-key", "a1", "--iot-instance-id", "iot-x"][..],
            "skip",
            "fail",
            "overview",
        ),
    ] {
        let looked = look(flags, move |_, _| refusal(code)).await;

        assert_eq!(looked.verdict("product", None), product, "{code}");
        assert_eq!(looked.verdict("instance", None), instance, "{code}");
        let failed = if product == "fail" {
            "product"
        } else {
            "instance"
        };
        assert!(looked.text(failed, None, "todo").contains(advice), "{code}");
        for lane in LANES {
            assert_eq!(looked.verdict("permission", Some(lane.as_str())), "ok");
        }
    }
}

#[tokio::test]
async fn without_a_product_only_what_depends_on_one_is_left_out() {
    let looked = look(&[], |_, _| refusal("iot.prod.NotExistedProduct")).await;

    assert!(looked.is_well);
    assert_eq!(looked.verdict("product", None), "skip");
    assert!(
        looked
            .text("product", None, "found")
            .contains("--product-key")
    );
    assert_eq!(looked.verdict("instance", None), "skip");
    assert_eq!(looked.verdict("key", None), "ok");
}

#[tokio::test]
async fn a_forbidden_action_is_told_from_a_refusal_of_its_arguments() {
    const REGISTER: &str = "BatchRegisterDeviceWithApplyId";
    for (code, verdict, advice) in [
        (
            "Forbidden.RAM",
            "fail",
            "iot:BatchRegisterDeviceWithApplyId",
        ),
        ("iot.common.RamActionPermissionDeny", "fail", "iot:Batch"),
        ("iot.common.APINotSupportedInInstance", "fail", "instance"),
        ("InvalidAction.NotFound", "fail", "--upstream-url"),
        ("iot.system.SystemException", "fail", "again"),
        ("MissingParameter", "warn", "iot:Batch"),
        ("iot.device.IncorrentDeviceApplyInfo", "ok", ""),
    ] {
        let looked = look(&PRODUCT, move |action, _| match action {
            REGISTER => refusal(code),
            other => sound(other),
        })
        .await;

        assert_eq!(
            looked.verdict("permission", Some(REGISTER)),
            verdict,
            "{code}"
        );
        let todo = looked.text("permission", Some(REGISTER), "todo");
        assert!(todo.contains(advice), "{code}: {todo}");
        let other = Some(Lane::Check.as_str());
        assert_eq!(looked.verdict("permission", other), "ok");
        assert_eq!(looked.is_well, verdict != "fail", "{code}");
    }
}

#[tokio::test]
async fn a_key_that_may_not_look_at_products_is_fit_for_registering() {
    let looked = look(&PRODUCT, |action, _| match action {
        "QueryProduct" => refusal("Forbidden.RAM"),
        other => sound(other),
    })
    .await;

    assert!(looked.is_well);
    assert_eq!(looked.verdict("product", None), "warn");
    assert_eq!(looked.verdict("instance", None), "skip");
    assert_eq!(looked.verdict("permission", Some("QueryProduct")), "warn");
    assert_eq!(looked.verdict("account", None), "ok");
}

#[tokio::test]
async fn a_throttled_call_is_made_again_and_tells_of_others_on_the_account() {
    const CHECK: &str = "BatchCheckDeviceNames";
    for (times, permission, sends) in [(1, "ok", 2), (9, "warn", 3)] {
        let looked = look(&PRODUCT, move |action, before| match action {
            CHECK if before < times => {
                let (status, _, body) = refusal("Throttling.User")?;
                Some((status, "x-acs-retry-after: 1\r\n".into(), body))
            }
            other => sound(other),
        })
        .await;

        assert!(looked.is_well);
        assert_eq!(looked.verdict("permission", Some(CHECK)), permission);
        assert_eq!(looked.verdict("quota", Some(CHECK)), "warn");
        let todo = looked.text("quota", Some(CHECK), "todo");
        assert!(todo.contains("--quota-share"), "{todo}");
        let other = Some(Lane::Status.as_str());
        assert_eq!(looked.verdict("quota", other), "ok");
        let checks = looked.requests.iter().filter(|head| head.contains(CHECK));
        assert_eq!(checks.count(), sends);
    }
}

#[tokio::test]
async fn a_temporary_key_is_taken_with_a_warning() {
    let flags = ["--upstream-security-token", "canary-token"];
    let looked = look(&flags, |action, _| sound(action)).await;

    assert_eq!(looked.verdict("key", None), "warn");
    assert!(!format!("{:?}", looked.lines).contains("canary"));
}
