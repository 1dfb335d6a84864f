//! Calls that people make at the upstream and the product never does, signed as the help pages say.

use hmac::{Hmac, KeyInit as _, Mac as _};
use registrar::simulator::{ACCESS_KEY_ID, ACCESS_KEY_SECRET, PRODUCT};
use sha2::{Digest as _, Sha256};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::upstream::{Upstream, http};

impl Upstream {
    /// Deletes a device of the simulator's product.
    pub(crate) async fn delete(&self, name: &str) {
        let query = format!("DeviceName={name}&ProductKey={PRODUCT}");
        let host = self.url.trim_start_matches("http://");
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
        let headers = [
            ("host", host.to_owned()),
            ("x-acs-action", "DeleteDevice".to_owned()),
            ("x-acs-content-sha256", hex::encode(Sha256::digest(""))),
            ("x-acs-date", now.format(&Rfc3339).unwrap()),
            ("x-acs-signature-nonce", uuid::Uuid::new_v4().to_string()),
            ("x-acs-version", "2018-01-20".to_owned()),
        ];
        let names = headers.each_ref().map(|(name, _)| *name).join(";");
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let canonical = format!("POST\n/\n{query}\n{lines}\n{names}\n{}", headers[2].1);
        let hash = hex::encode(Sha256::digest(canonical));
        let mac = Hmac::<Sha256>::new_from_slice(ACCESS_KEY_SECRET.as_bytes()).unwrap();
        let mac = mac.chain_update(format!("ACS3-HMAC-SHA256\n{hash}"));
        let signature = hex::encode(mac.finalize().into_bytes());
        let authorization = format!(
            "ACS3-HMAC-SHA256 Credential={ACCESS_KEY_ID},SignedHeaders={names},Signature={signature}"
        );

        let mut request = http().post(format!("{}/?{query}", self.url));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.header("authorization", authorization);
        let answer = request.send().await.expect("the simulator answers");
        let text = answer.text().await.expect("text");
        assert!(text.contains(r#""Success":true"#), "{text}");
    }
}
