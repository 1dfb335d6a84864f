//! What this client writes, signed as Alibaba's own signer signs it: the results come from
//! `alibabacloud-tea-openapi` 0.4.6, fed with the same requests. The vectors that the SDK itself
//! writes are beside the signature.

use crate::upstream::{
    Product,
    form::{self, Pairs},
    signature::{Credentials, Request, sha256},
};

const LOCAL: &str = "127.0.0.1:8080";
const CLOUD: &str = "iot.cn-shanghai.aliyuncs.com";

/// The signature of a call with this query and body.
fn signature(host: &str, action: &str, query: &str, body: &str) -> String {
    let body_sha256 = sha256(body.as_bytes());
    let request = Request {
        action,
        host,
        query,
        content_type: (!body.is_empty()).then_some("application/x-www-form-urlencoded"),
        body_sha256: &body_sha256,
        user_agent: "test-agent/1.0",
        date: "2026-01-02T03:04:05Z",
        nonce: "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
    };
    let credentials = Credentials {
        id: "testid".to_owned(),
        secret: "testsecret".parse().unwrap(),
        token: None,
    };
    let (name, value) = request.sign(&credentials).pop().unwrap();
    assert_eq!(name, "authorization");
    value.split_once("Signature=").unwrap().1.to_owned()
}

fn query(product_key: &str, iot_instance_id: &str) -> String {
    let product = Product {
        product_key,
        iot_instance_id: Some(iot_instance_id),
    };
    product.pairs().query()
}

#[test]
fn a_check_with_nicknames_is_signed_as_it_is_sent() {
    let names: Vec<_> = (3..=10).map(|n| format!("dev{n:04}")).collect();
    let first = [("light:1@a.b", Some("智能灯 1*~")), ("light_2", Some(""))];
    let rest = names.iter().map(|name| (name.as_str(), None));

    let body = form::devices(first.into_iter().chain(rest));

    assert!(body.starts_with(
        "DeviceNameList.1.DeviceName=light%3A1%40a.b&DeviceNameList.1.DeviceNickname=%E6%99%BA%E8%83%BD%E7%81%AF%201%2A~&DeviceNameList.2.DeviceName=light_2&DeviceNameList.3.DeviceName=dev0003&"
    ));
    let query = query("a1BwAGVtest", "iot-cn-0pp1n8t1234");
    assert_eq!(
        signature(CLOUD, "BatchCheckDeviceNames", &query, &body),
        "8c9e2489ba2aa85ffba0a6ed11169f3f2e4e84a628769544da7ac89cf8592447"
    );
}

#[test]
fn the_longest_body_that_a_check_may_have_is_signed() {
    let names: Vec<_> = (1..=10_000).map(|n| format!("dev{n:029}")).collect();
    let nickname = "智能灯具".repeat(8);

    let devices = names.iter().map(|name| (name.as_str(), Some(&*nickname)));
    let body = form::devices(devices);

    assert_eq!(body.len(), 3_877_787);
    assert_eq!(
        sha256(body.as_bytes()),
        "fe8110af5979f9e7e4145d9ebc2d706f5a5b0f0630cb793580448cf029cb99e1"
    );
    for (host, expected) in [
        (
            CLOUD,
            "1ff3f0940918b979bf54633c40928151e9799ada5a131b78841a573ee17a56bf",
        ),
        (
            LOCAL,
            "02c2dece2594e47bbadae299ab532d71906c0efb9411e59e9af2243908cf0a5d",
        ),
    ] {
        let query = query("a1BwAGVtest", "");
        assert_eq!(
            signature(host, "BatchCheckDeviceNames", &query, &body),
            expected
        );
    }
}

#[test]
fn every_character_is_signed_as_it_is_sent() {
    let body = form::devices([("lamp+1 x/y", None), ("ﬀ智é😀\0%&=*~", None)]);

    assert_eq!(
        body,
        "DeviceName.1=lamp%2B1%20x%2Fy&DeviceName.2=%EF%AC%80%E6%99%BA%C3%A9%F0%9F%98%80%00%25%26%3D%2A~"
    );
    assert_eq!(
        signature(
            LOCAL,
            "BatchCheckDeviceNames",
            &query("产品 *~+/?&=é😀", ""),
            &body
        ),
        "e0ba466ae8101c19623bb1d50b0087adf016befaeda8d5de52c05fc85f00406f"
    );
}

#[test]
fn an_empty_parameter_is_signed_and_no_parameter_at_all_too() {
    let with_empty = Pairs::default()
        .with("ProductKey", "a1BwAGVtest")
        .with("IotInstanceId", "");

    assert_eq!(
        signature(CLOUD, "QueryProduct", &with_empty.query(), ""),
        "cfca439249c8dd5761304f905cdfd4576de2edcdad13350929ac91c09d9b0a9c"
    );
    assert_eq!(
        signature(CLOUD, "QueryProduct", &query("", ""), ""),
        "d2c4a16de31b9e22eb260f933e3a162015039c7d39fa8b8ed230c23e5fefedf9"
    );
}
