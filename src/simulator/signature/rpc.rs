//! The signature RPC v1 (HMAC-SHA1), whose every part is a parameter.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::request::Parts;

use super::super::answers::Refusal;
use super::super::request;
use super::{Signed, encode, missing, sha1};

const METHOD: &str = "HMAC-SHA1";
const VERSION: &str = "1.0";

/// The parameters of query and body, by name.
#[derive(Debug)]
struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

pub(super) fn read<'a>(head: &'a Parts, body: &'a str) -> Result<Signed<'a>, Refusal> {
    let parameters = Parameters::of(head.uri.query().unwrap_or_default(), body);
    let action = parameters.required("Action")?;
    let version = parameters.required("Version")?;
    let key_id = parameters.required("AccessKeyId")?;
    let method = parameters.required("SignatureMethod")?;
    let signature_version = parameters.required("SignatureVersion")?;
    let nonce = parameters.required("SignatureNonce")?;
    let date = parameters.required("Timestamp")?;
    let signature = parameters.required("Signature")?;
    if method != METHOD {
        return Err(invalid("SignatureMethod"));
    }
    if signature_version != VERSION {
        return Err(invalid("SignatureVersion"));
    }
    // Some SDKs name no type where there is but one, some leave it out: bearer tokens and key
    // pairs are named, and not spoken here.
    if parameters.given("SignatureType").is_some() {
        return Err(invalid("SignatureType"));
    }
    Ok(Signed {
        action,
        version,
        key_id,
        token: parameters.given("SecurityToken"),
        date,
        nonce,
        signature,
        string_to_sign: parameters.string_to_sign(head.method.as_str()),
        sign,
    })
}

/// The text that the client must have signed.
#[cfg(any(test, fuzzing))]
pub(in crate::simulator) fn string_to_sign(method: &str, query: &str, body: &str) -> String {
    Parameters::of(query, body).string_to_sign(method)
}

/// The signature of that text, in Base64.
pub(in crate::simulator) fn sign(secret: &str, string_to_sign: &str) -> String {
    let key = format!("{secret}&");
    BASE64.encode(sha1::hmac(key.as_bytes(), string_to_sign.as_bytes()))
}

impl<'a> Parameters<'a> {
    /// Where a name comes twice the last one counts, so the body wins over the query.
    fn of(query: &'a str, body: &'a str) -> Parameters<'a> {
        let mut all: Vec<_> = request::pairs(query).chain(request::pairs(body)).collect();
        all.reverse();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all.dedup_by(|(later, _), (kept, _)| later == kept);
        Parameters(all)
    }

    /// None if it is absent or empty.
    fn given(&self, name: &str) -> Option<Cow<'a, str>> {
        let at = self.0.binary_search_by(|(key, _)| key.as_ref().cmp(name));
        let value = at.ok().map(|at| self.0[at].1.clone());
        value.filter(|value| !value.is_empty())
    }

    fn required(&self, name: &str) -> Result<Cow<'a, str>, Refusal> {
        self.given(name).ok_or_else(|| missing(name))
    }

    /// An empty parameter is signed as well, an unknown one too.
    fn string_to_sign(&self, method: &str) -> String {
        let mut pairs = String::new();
        for (name, value) in self.0.iter().filter(|(name, _)| name != "Signature") {
            let separator = if pairs.is_empty() { "" } else { "&" };
            write!(pairs, "{separator}{}={}", encode(name), encode(value))
                .expect("a String takes all that is written");
        }
        format!("{method}&%2F&{}", encode(&pairs))
    }
}

fn invalid(name: &str) -> Refusal {
    let message = format!("Specified parameter {name} is not valid.");
    Refusal::new(400, "InvalidParameter", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the vectors of the old SDK share, in the order it sends them.
    const OLD: &str = "&Version=2018-01-20&Format=JSON&RegionId=cn-shanghai&\
        Timestamp=2026-01-02T03%3A04%3A05Z&SignatureMethod=HMAC-SHA1&SignatureType=&\
        SignatureVersion=1.0&SignatureNonce=3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf";
    /// What those of the Tea SDK share: no SignatureType, no RegionId.
    const TEA: &str = "&Version=2018-01-20&Format=json&Timestamp=2026-01-02T03%3A04%3A05Z&\
        SignatureMethod=HMAC-SHA1&SignatureVersion=1.0&\
        SignatureNonce=3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf";
    const STATUS: &str = "ProductKey=a1BwAGVtest&ApplyId=1295006&\
        Action=QueryBatchRegisterDeviceStatus&AccessKeyId=testid";
    const CHECK: &str = "ProductKey=a1BwAGVtest&IotInstanceId=iot-cn-0pp1n8t1234&\
        Action=BatchCheckDeviceNames&AccessKeyId=testid";
    const PAGE: &str = "ApplyId=1295006&CurrentPage=2&PageSize=50&Action=QueryPageByApplyId&\
        AccessKeyId=STS.testid&SecurityToken=CAISxAJ1q6Ft5B2y%2B%2Fabc%3D%3D";
    const BODY_A: &str = "DeviceNameList.1.DeviceNickname=%E6%99%BA%E8%83%BD%E7%81%AF+1%2A~&\
        DeviceNameList.1.DeviceName=light%3A1%40a.b&DeviceNameList.2.DeviceName=light_2&\
        DeviceNameList.3.DeviceName=dev0003&DeviceNameList.4.DeviceName=dev0004&\
        DeviceNameList.5.DeviceName=dev0005&DeviceNameList.6.DeviceName=dev0006&\
        DeviceNameList.7.DeviceName=dev0007&DeviceNameList.8.DeviceName=dev0008&\
        DeviceNameList.9.DeviceName=dev0009&DeviceNameList.10.DeviceName=dev0010";

    fn result(method: &str, query: &str, body: &str) -> String {
        sign("testsecret", &string_to_sign(method, query, body))
    }

    #[test]
    fn vector_rpc_1_is_met_as_post_and_as_get() {
        let query = format!("{STATUS}{OLD}&Signature=U38%2BP7zkO71asYJQQMn0JQTniV8%3D");

        let to_sign = "POST&%2F&AccessKeyId%3Dtestid%26Action%3DQueryBatchRegisterDeviceStatus\
            %26ApplyId%3D1295006%26Format%3DJSON%26ProductKey%3Da1BwAGVtest\
            %26RegionId%3Dcn-shanghai%26SignatureMethod%3DHMAC-SHA1\
            %26SignatureNonce%3D3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf%26SignatureType%3D\
            %26SignatureVersion%3D1.0%26Timestamp%3D2026-01-02T03%253A04%253A05Z\
            %26Version%3D2018-01-20";
        assert_eq!(string_to_sign("POST", &query, ""), to_sign);
        assert_eq!(result("POST", &query, ""), "U38+P7zkO71asYJQQMn0JQTniV8=");
        assert_eq!(result("GET", &query, ""), "gCsRqLnmqx+dsN227nQ+GxiU7ho=");
    }

    #[test]
    fn vector_rpc_2_with_a_body_is_met() {
        let query = format!("{CHECK}{OLD}");

        let to_sign = "POST&%2F&AccessKeyId%3Dtestid%26Action%3DBatchCheckDeviceNames\
            %26DeviceNameList.1.DeviceName%3Dlight%253A1%2540a.b\
            %26DeviceNameList.1.DeviceNickname%3D%25E6%2599%25BA%25E8%2583%25BD%25E7%2581%25AF\
            %25201%252A~%26DeviceNameList.10.DeviceName%3Ddev0010\
            %26DeviceNameList.2.DeviceName%3Dlight_2%26DeviceNameList.3.DeviceName%3Ddev0003\
            %26DeviceNameList.4.DeviceName%3Ddev0004%26DeviceNameList.5.DeviceName%3Ddev0005\
            %26DeviceNameList.6.DeviceName%3Ddev0006%26DeviceNameList.7.DeviceName%3Ddev0007\
            %26DeviceNameList.8.DeviceName%3Ddev0008%26DeviceNameList.9.DeviceName%3Ddev0009\
            %26Format%3DJSON%26IotInstanceId%3Diot-cn-0pp1n8t1234%26ProductKey%3Da1BwAGVtest\
            %26RegionId%3Dcn-shanghai%26SignatureMethod%3DHMAC-SHA1\
            %26SignatureNonce%3D3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf%26SignatureType%3D\
            %26SignatureVersion%3D1.0%26Timestamp%3D2026-01-02T03%253A04%253A05Z\
            %26Version%3D2018-01-20";
        assert_eq!(string_to_sign("POST", &query, BODY_A), to_sign);
        assert_eq!(
            result("POST", &query, BODY_A),
            "9i9nwfhQKFuekXoXEOCVnojeWSE="
        );
    }

    #[test]
    fn vector_rpc_3_with_a_security_token_is_met() {
        let query = format!("{PAGE}{OLD}");

        let to_sign = "POST&%2F&AccessKeyId%3DSTS.testid%26Action%3DQueryPageByApplyId\
            %26ApplyId%3D1295006%26CurrentPage%3D2%26Format%3DJSON%26PageSize%3D50\
            %26RegionId%3Dcn-shanghai%26SecurityToken%3DCAISxAJ1q6Ft5B2y%252B%252Fabc%253D%253D\
            %26SignatureMethod%3DHMAC-SHA1\
            %26SignatureNonce%3D3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf%26SignatureType%3D\
            %26SignatureVersion%3D1.0%26Timestamp%3D2026-01-02T03%253A04%253A05Z\
            %26Version%3D2018-01-20";
        assert_eq!(string_to_sign("POST", &query, ""), to_sign);
        assert_eq!(result("POST", &query, ""), "6a1FN+lTF5uxblmmzNUOkgENPfk=");
    }

    #[test]
    fn vector_rpc_4_with_odd_characters_is_met() {
        let query =
            format!("ProductKey=a1BwAGVtest&Action=BatchCheckDeviceNames&AccessKeyId=testid{OLD}");
        let body = "DeviceName.1=light&DeviceName.2=lamp%2B1+x%2Fy";

        assert_eq!(result("POST", &query, body), "lDB2+fee5GLOPmgwcpS+KrsMNQI=");
    }

    #[test]
    fn vector_rpc_5_of_the_documents_is_met() {
        let query = "MessageContent=aGVsbG93b3JsZA%3D&Action=Pub&\
            Timestamp=2017-10-02T09%3A39%3A41Z&SignatureVersion=1.0&ServiceCode=iot&Format=XML&\
            Qos=0&SignatureNonce=0715a395-aedf-4a41-bab7-746b43d38d88&Version=2017-04-20&\
            AccessKeyId=testid&SignatureMethod=HMAC-SHA1&RegionId=cn-shanghai&\
            ProductKey=12345abcdeZ&TopicFullName=%2FproductKey%2Ftestdevice%2Fget";

        assert_eq!(result("GET", query, ""), "Y9eWn4nF8QPh3c4zAFkM/k/u7eA=");
    }

    #[test]
    fn the_vectors_trpc_1_to_3_of_the_tea_sdk_are_met() {
        let to_sign = "POST&%2F&AccessKeyId%3Dtestid%26Action%3DQueryBatchRegisterDeviceStatus\
            %26ApplyId%3D1295006%26Format%3Djson%26ProductKey%3Da1BwAGVtest\
            %26SignatureMethod%3DHMAC-SHA1\
            %26SignatureNonce%3D3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf%26SignatureVersion%3D1.0\
            %26Timestamp%3D2026-01-02T03%253A04%253A05Z%26Version%3D2018-01-20";
        let query = |own| format!("{own}{TEA}");

        assert_eq!(string_to_sign("POST", &query(STATUS), ""), to_sign);
        assert_eq!(
            result("POST", &query(STATUS), ""),
            "rEq8X0MLAEhiwKwVpza5H6n43hI="
        );
        assert_eq!(
            result("POST", &query(CHECK), BODY_A),
            "adFIwaQhTcqLsBw5yIESP6KTFqY="
        );
        assert_eq!(
            result("POST", &query(PAGE), ""),
            "tmjFbPGQUFCTs1CY3+u09n8UMRg="
        );
    }

    #[test]
    fn what_comes_twice_is_signed_once_as_the_body_has_it() {
        let twice = string_to_sign("POST", "A=1&B=2&A=3", "B=4");

        assert_eq!(twice, string_to_sign("POST", "A=3&B=4", ""));
    }

    #[test]
    fn only_hmac_sha1_of_version_1_is_spoken() {
        let code = |query: &str| {
            let head = http::Request::get(format!("/?{query}")).body(()).unwrap();
            let (head, ()) = head.into_parts();
            read(&head, "").map_or_else(|refusal| refusal.code.into_owned(), |_| "OK".into())
        };
        let all = format!("{STATUS}{OLD}&Signature=x");

        assert_eq!(code(&all), "OK");
        assert_eq!(
            code(&all.replace("HMAC-SHA1", "HMAC-SHA256")),
            "InvalidParameter"
        );
        let newer = all.replace("SignatureVersion=1.0", "SignatureVersion=2.0");
        assert_eq!(code(&newer), "InvalidParameter");
        let bearer = all.replace("SignatureType=", "SignatureType=BEARERTOKEN");
        assert_eq!(code(&bearer), "InvalidParameter");
        for name in [
            "Action",
            "Version",
            "AccessKeyId",
            "SignatureMethod",
            "SignatureVersion",
            "SignatureNonce",
            "Timestamp",
            "Signature",
        ] {
            let without = all.replace(&format!("{name}="), &format!("No{name}="));
            assert_eq!(code(&without), "MissingParameter", "{name}");
        }
        assert_eq!(code(&all.replace("RegionId=", "NoRegionId=")), "OK");
    }
}
