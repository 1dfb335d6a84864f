//! What the upstream knows of a product.

use crate::upstream::{answers::Success, loose::Text};

/// A product, as far as registering its devices depends on it. Texts have at most 256 bytes. The
/// answer holds the product's secret too, which is not read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProductInfo {
    pub name: Option<String>,
    /// How devices authenticate: `secret`, `id2` or `x509`, by the help page of QueryProduct.
    pub auth_type: Option<String>,
    /// 0 for devices, 1 for gateways.
    pub node_type: Option<i64>,
    /// Devices that the product has.
    pub devices: Option<u64>,
}

impl ProductInfo {
    /// Whether its devices authenticate by certificate: a check then takes 1,000 names, and only
    /// cn-shanghai offers it.
    pub fn is_x509(&self) -> bool {
        let auth_type = self.auth_type.as_deref();
        auth_type.is_some_and(|text| text.eq_ignore_ascii_case("x509"))
    }
}

/// All fields are optional, but there must be something to have them.
pub(super) fn product(mut success: Success<'_>) -> Option<ProductInfo> {
    let data = success.envelope.take_data()?;
    let clean = |text: Text| {
        let text = text.0.map(|text| success.asked.clean(&text));
        text.filter(|text| !text.is_empty())
    };
    Some(ProductInfo {
        name: clean(data.product_name),
        auth_type: clean(data.auth_type),
        node_type: data.node_type.0,
        devices: data.device_count.0.and_then(|count| count.try_into().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{asked::Asked, wire::Envelope};

    fn read(json: &str) -> Option<ProductInfo> {
        product(Success {
            envelope: Envelope::parse(json.as_bytes())?,
            body: json.as_bytes(),
            asked: &Asked::nothing(),
        })
    }

    #[test]
    fn a_product_is_read_without_its_secret() {
        let json = r#"{"RequestId":"R","Success":true,"Data":{"AliyunCommodityCode":"iothub_senior",
            "AuthType":"x509","DataFormat":1,"DeviceCount":7,"GmtCreate":1581595942000,"Id2":false,
            "NetType":3,"NodeType":1,"ProductKey":"a1BwAGV","ProductName":" lamp ","Owner":true,
            "ProductSecret":"canary","ProductStatus":"DEVELOPMENT_STATUS"}}"#;

        let info = read(json).unwrap();

        assert!(!format!("{info:?}").contains("canary"));
        assert!(info.is_x509());
        assert_eq!(info.name.as_deref(), Some("lamp"));
        assert_eq!((info.node_type, info.devices), (Some(1), Some(7)));
    }

    #[test]
    fn a_product_may_say_little_but_not_nothing() {
        let info = read(r#"{"Success":true,"Data":{"AuthType":null,"DeviceCount":"many"}}"#);

        let info = info.unwrap();
        assert!(!info.is_x509());
        assert_eq!((info.auth_type, info.devices), (None, None));
        assert_eq!(read(r#"{"Success":true}"#), None);
        assert_eq!(read("<html>"), None);
    }
}
