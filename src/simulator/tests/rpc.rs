//! Calls signed as RPC v1, as older SDKs send them.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Response;
use serde_json::json;

use super::super::signature::rpc;
use super::*;

pub(super) struct Rpc<'a> {
    pub(super) method: Method,
    /// Beside the public parameters, which are all in the query.
    pub(super) query: String,
    pub(super) body: &'a str,
    pub(super) secret: &'a str,
}

impl<'a> Rpc<'a> {
    pub(super) fn new(query: &str) -> Rpc<'a> {
        Rpc {
            method: Method::POST,
            query: query.into(),
            body: "",
            secret: ACCESS_KEY_SECRET,
        }
    }

    /// The query with the public parameters that are not in it, but for the signature.
    fn unsigned(&self) -> String {
        let nonce = next_nonce();
        let date = date(Duration::ZERO).replace(':', "%3A");
        let mut query = self.query.clone();
        for (name, value) in [
            ("Version", "2018-01-20"),
            ("Timestamp", &date),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &nonce),
            ("AccessKeyId", ACCESS_KEY_ID),
        ] {
            let given = format!("&{}&{}", self.query, self.body);
            if !given.contains(&format!("&{name}=")) {
                query.push_str(&format!("&{name}={value}"));
            }
        }
        query
    }

    pub(super) async fn send(self, server: &Server) -> Response {
        let query = self.unsigned();
        let to_sign = rpc::string_to_sign(self.method.as_str(), &query, self.body);
        let signature = rpc::sign(self.secret, &to_sign);
        let signature = utf8_percent_encode(&signature, NON_ALPHANUMERIC);
        let url = format!("http://{}/?{query}&Signature={signature}", server.address);
        let request = server.http.request(self.method, url);
        let sent = request.body(self.body.to_owned()).send().await;
        sent.unwrap()
    }

    async fn json(self, server: &Server) -> (u16, Value) {
        let response = self.send(server).await;
        let content_type = &response.headers()["content-type"];
        assert_eq!(content_type, "application/json;charset=utf-8");
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap())
    }
}

#[tokio::test]
async fn parameters_stand_in_the_query_in_the_body_or_in_both() {
    let server = Server::instant().await;

    // As the old SDK does, with an empty parameter that is signed as well.
    let body = "DeviceNameList.1.DeviceNickname=%E6%99%BA%E8%83%BD%E7%81%AF&\
                DeviceNameList.1.DeviceName=light%3A1%40a.b&DeviceNameList.2.DeviceName=light_2";
    let check = "ProductKey=a1Simulator&Action=BatchCheckDeviceNames&Format=JSON&\
                 RegionId=cn-shanghai&SignatureType=";
    let (status, answer) = Rpc {
        body,
        ..Rpc::new(check)
    }
    .json(&server)
    .await;
    assert_eq!((status, &answer["Data"]), (200, &json!({"ApplyId": 1})));
    let names = server.lines("ledger?names=true").await.pop().unwrap();
    assert_eq!(names["name_list"], json!(["light:1@a.b", "light_2"]));

    // All in the query of a GET.
    let status = "Action=QueryBatchRegisterDeviceStatus&ProductKey=a1Simulator&ApplyId=1";
    let (_, answer) = Rpc {
        method: Method::GET,
        ..Rpc::new(&format!("{status}&Format=json"))
    }
    .json(&server)
    .await;
    assert_eq!(answer["Data"]["Status"], "CHECK_SUCCESS");

    // The action too in the body, whose word counts.
    let body = "Action=BatchRegisterDeviceWithApplyId&ApplyId=1&ProductKey=a1Simulator";
    let (_, answer) = Rpc {
        body,
        ..Rpc::new("Format=JSON&ApplyId=7")
    }
    .json(&server)
    .await;
    assert_eq!(answer["Data"], json!({"ApplyId": 1}));
    let line = server.ledger_line().await;
    assert_eq!(line["action"], "BatchRegisterDeviceWithApplyId");
    server.stop().await;
}

#[tokio::test]
async fn no_other_method_does_anything() {
    let server = Server::instant().await;

    for method in [Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let random = "Action=BatchRegisterDevice&ProductKey=a1Simulator&Count=1";
        let sent = Rpc {
            method: method.clone(),
            ..Rpc::new(random)
        };
        assert_eq!(sent.send(&server).await.status(), 404, "{method}");
    }

    let devices = server.lines("devices?product=a1Simulator").await;
    assert_eq!(devices, Vec::<Value>::new());
    server.stop().await;
}

#[tokio::test]
async fn whoever_only_has_the_wrong_secret_is_told_the_text_that_was_signed() {
    let server = Server::instant().await;
    let nonce = next_nonce();
    let date = date(Duration::ZERO).replace(':', "%3A");
    let query = format!(
        "Action=BatchCheckDeviceNames&Format=JSON&Version=2018-01-20&AccessKeyId=simulator&\
         SignatureMethod=HMAC-SHA1&SignatureVersion=1.0&SignatureNonce={nonce}&Timestamp={date}"
    );
    let body = "DeviceName.1=light&DeviceName.2=lamp%2B1+x%2Fy%3A";
    let signed = rpc::string_to_sign("POST", &query, body);

    let (status, answer) = Rpc {
        body,
        secret: "wrong",
        ..Rpc::new(&query)
    }
    .json(&server)
    .await;

    assert_eq!(
        (status, &answer["Code"]),
        (400, &json!("SignatureDoesNotMatch"))
    );
    let message = answer["Message"].as_str().unwrap();
    let parts: Vec<_> = message.split(':').collect();
    assert_eq!(
        parts.len(),
        2,
        "an old SDK takes what is between two colons"
    );
    assert_eq!(parts[1], signed);
    server.stop().await;
}

#[tokio::test]
async fn the_gateway_refuses_each_flaw_with_its_code() {
    let server = Server::instant().await;
    let refused = async |query: &str| {
        let query = format!("ProductKey=a1Simulator&Format=JSON&{query}");
        let (status, answer) = Rpc::new(&query).json(&server).await;
        assert!(answer["Message"].is_string(), "{answer}");
        (status, answer["Code"].as_str().unwrap().to_owned())
    };
    let cases = [
        ("", 400, "MissingParameter"),
        ("Action=Pub", 404, "InvalidAction.NotFound"),
        (
            "Action=QueryProduct&Version=2017-04-20",
            400,
            "InvalidVersion",
        ),
        (
            "Action=QueryProduct&AccessKeyId=nobody",
            404,
            "InvalidAccessKeyId.NotFound",
        ),
        (
            "Action=QueryProduct&Timestamp=now",
            400,
            "InvalidTimeStamp.Format",
        ),
        (
            "Action=QueryProduct&Timestamp=2017-10-02T09%3A39%3A41Z",
            400,
            "InvalidTimeStamp.Expired",
        ),
        (
            "Action=QueryProduct&SignatureMethod=RSA",
            400,
            "InvalidParameter",
        ),
        (
            "Action=QueryProduct&AccessKeyId=STS.simulator",
            400,
            "MissingSecurityToken",
        ),
    ];

    for (query, status, code) in cases {
        assert_eq!(refused(query).await, (status, code.into()), "{query}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_nonce_is_used_up_whatever_the_signature_and_the_outcome() {
    let server = Server::instant().await;
    let call = |query: &str| Rpc::new(&format!("Format=JSON&SignatureNonce=once&{query}"));

    let (_, unknown) = call("Action=Pub").json(&server).await;
    let (status, replayed) = call("Action=QueryProduct").json(&server).await;
    let acs3 = Call {
        nonce: Some("once"),
        ..Call::new("QueryProduct", "ProductKey=a1Simulator")
    };

    assert_eq!(unknown["Code"], "InvalidAction.NotFound");
    assert_eq!(
        (status, &replayed["Code"]),
        (400, &json!("SignatureNonceUsed"))
    );
    assert_eq!(server.send(acs3).await.1["Code"], "SignatureNonceUsed");
    server.stop().await;
}

#[tokio::test]
async fn a_temporary_key_brings_its_token_as_a_parameter() {
    let gateway = GatewayOptions {
        security_token: "CAISxAJ1q6Ft5B2y+/abc==".into(),
        ..GatewayOptions::default()
    };
    let server = Server::start(Options {
        gateway,
        ..Options::default()
    })
    .await;
    let query = "Action=QueryProduct&ProductKey=a1Simulator&Format=JSON&\
                 AccessKeyId=STS.simulator&SecurityToken=CAISxAJ1q6Ft5B2y%2B%2Fabc%3D%3D";

    let (_, answer) = Rpc {
        secret: STS_ACCESS_KEY_SECRET,
        ..Rpc::new(query)
    }
    .json(&server)
    .await;

    assert_eq!(answer["Success"], true, "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn quotas_count_both_dialects_and_actions_in_the_body_together() {
    let server = Server::start(Options {
        qps: vec![(Action::QueryProduct, 1)],
        ..Options::default()
    })
    .await;
    let query = "ProductKey=a1Simulator";
    for _ in 0..1000 {
        let acs3 = Call::new("QueryProduct", query);
        let rpc = Rpc {
            body: "Action=QueryProduct&Format=JSON",
            ..Rpc::new(query)
        };
        server.send(acs3).await;
        if rpc.json(&server).await.1["Code"] == "Throttling.User" {
            server.stop().await;
            return;
        }
    }
    panic!("a thousand times two calls a second");
}
