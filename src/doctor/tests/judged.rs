//! What is judged without a call.

use std::time::Duration;

use crate::{
    doctor::{
        Options, actions,
        asked::{Evidence, Heard},
        connection, product,
        report::{Line, Verdict},
    },
    domain::Lane,
    upstream::ProductInfo,
};

/// The evidence of a product that answers with this, and of nothing else.
fn evidence(auth_type: &str) -> Evidence {
    Evidence {
        product: Heard {
            outcome: Ok(ProductInfo {
                name: None,
                auth_type: Some(auth_type.to_owned()),
                node_type: None,
                devices: None,
            }),
            http_status: Some(200),
            skew: None,
            took: Duration::ZERO,
            throttled: false,
        },
        lanes: Vec::new(),
    }
}

#[test]
fn a_clock_is_judged_by_how_far_it_is_from_the_upstreams() {
    for (seconds, verdict, found) in [
        (1, Verdict::Ok, "agrees with the upstream's"),
        (-20, Verdict::Ok, "20s ahead of"),
        (-61, Verdict::Warn, "1m 1s ahead of"),
        (900, Verdict::Warn, "15m behind"),
        (901, Verdict::Fail, "15m 1s behind"),
    ] {
        let mut evidence = evidence("secret");
        evidence.product.skew = Some(time::Duration::seconds(seconds));

        let line = connection::clock(&evidence);

        assert_eq!(line.verdict, verdict, "{line:?}");
        assert!(line.found.contains(found), "{line:?}");
    }
    assert_eq!(
        connection::clock(&evidence("secret")).verdict,
        Verdict::Skip
    );
}

#[test]
fn a_region_is_known_by_the_endpoint() {
    let verdict = |endpoint: &str| connection::region(endpoint, &evidence("secret")).verdict;

    assert_eq!(verdict("https://iot.cn-shanghai.aliyuncs.com"), Verdict::Ok);
    assert_eq!(
        verdict("https://iot-vpc.us-west-1.aliyuncs.com"),
        Verdict::Ok
    );
    assert_eq!(
        verdict("https://iot.cn-qingdao.aliyuncs.com"),
        Verdict::Warn
    );
    assert_eq!(verdict("http://127.0.0.1:8090"), Verdict::Skip);
}

#[test]
fn x509_is_told_to_be_slow_in_shanghai_and_missing_elsewhere() {
    let options = Options {
        product_key: Some("a1".into()),
        iot_instance_id: None,
    };
    let line = |auth_type, region| {
        let endpoint = format!("https://iot.{region}.aliyuncs.com");
        product::product(&options, &endpoint, &evidence(auth_type))
    };

    assert_eq!(line("secret", "us-west-1").verdict, Verdict::Ok);
    let slow = line("x509", "cn-shanghai");
    assert_eq!(slow.verdict, Verdict::Warn);
    assert!(slow.todo.unwrap().contains("1,000"));
    assert_eq!(line("x509", "us-west-1").verdict, Verdict::Fail);
}

#[test]
fn a_rate_stands_beside_the_published_one() {
    let line = |rate| actions::quota(Lane::Status, rate, &evidence("secret"));
    let found = |line: Line| (line.verdict, line.found);

    let (verdict, text) = found(line(30.0 * 0.07));
    assert_eq!(verdict, Verdict::Ok);
    assert_eq!(
        text,
        "2.1 calls a second at most, of the 30 that are published"
    );
    assert_eq!(found(line(40.0)).0, Verdict::Warn);
}
