//! The product that devices are to be registered in, and the instance that holds it.

use super::{
    Options,
    asked::{Evidence, code, words},
    connection::region_of,
    report::Line,
};
use crate::upstream::{ProductInfo, Scope};

/// Where X.509 is offered (help page of BatchCheckDeviceNames).
const X509_REGION: &str = "cn-shanghai";

const NO_INSTANCE: [&str; 2] = ["iot.system.instancenotfound", "iot.sre.iotinstancenotfound"];
const NO_PRODUCT: [&str; 3] = [
    "iot.prod.notexistedproduct",
    "iot.prod.invalidformattedproductkey",
    "iot.prod.nullproductkey",
];
const NOT_OURS: [&str; 1] = ["iot.prod.notproductowner"];

pub(super) fn product(options: &Options, endpoint: &str, evidence: &Evidence) -> Line {
    let Some(key) = options.product_key() else {
        return Line::skip(
            "product",
            "give --product-key, and --iot-instance-id if its instance has an id, to have it \
             looked at",
        );
    };
    if evidence.with_code(&NO_INSTANCE).is_some() {
        return Line::skip("product", "not looked for, since its instance is not found");
    }
    if let Some(error) = evidence.with_code(&NO_PRODUCT) {
        let instance = match options.iot_instance_id() {
            Some(_) => "that it is in this instance",
            None => {
                "whether the console shows an id for its instance, to be given as --iot-instance-id"
            }
        };
        return Line::fail(
            "product",
            format!("{key}: {}", words(error)),
            format!("check the key, that the region is the product's, and {instance}"),
        );
    }
    if let Some(error) = evidence.with_code(&NOT_OURS) {
        return Line::fail(
            "product",
            format!("{key}: {}", words(error)),
            "use a key of the account that owns the product, or a product of this account",
        );
    }
    match &evidence.product.outcome {
        Ok(info) => known(key, info, endpoint),
        Err(error) if error.throttled() => Line::warn(
            "product",
            format!("{key}: {}", words(error)),
            "run this again: the account's QueryProduct quota is in use by others",
        ),
        Err(error) if error.scope == Scope::Lane => Line::warn(
            "product",
            format!("{key}: not looked at, since QueryProduct is not allowed"),
            "see in the console how its devices authenticate; X.509 limits a check to 1,000 names",
        ),
        Err(error) => Line::fail(
            "product",
            format!("{key}: {}", words(error)),
            "run this again",
        ),
    }
}

fn known(key: &str, info: &ProductInfo, endpoint: &str) -> Line {
    let mut found = key.to_owned();
    if let Some(name) = &info.name {
        found.push_str(&format!(" ({name})"));
    }
    found.push_str(match info.node_type {
        Some(0) => ": devices",
        Some(1) => ": gateways",
        _ => ": found",
    });
    if let Some(auth_type) = &info.auth_type {
        found.push_str(&format!(", authentication by {auth_type}"));
    }
    if let Some(devices) = info.devices {
        found.push_str(&format!(", has {devices} so far"));
    }
    if !info.is_x509() {
        return Line::ok("product", found);
    }
    match region_of(endpoint) {
        Some(region) if region != X509_REGION => Line::fail(
            "product",
            format!("{found}, which {region} does not offer"),
            format!("use a product without X.509, or one in {X509_REGION}"),
        ),
        _ => Line::warn(
            "product",
            found,
            "expect more rounds: the upstream checks at most 1,000 names of such a product at a \
             time and drops the others in silence, and these are asked for again",
        ),
    }
}

pub(super) fn instance(options: &Options, evidence: &Evidence) -> Line {
    let given = options.iot_instance_id();
    if let Some(error) = evidence.with_code(&NO_INSTANCE) {
        return match given {
            Some(id) => Line::fail(
                "instance",
                format!("{id}: {}", words(error)),
                "compare it with the id on the instance's overview in the console, and the region; \
                 an instance that shows none needs none",
            ),
            None => Line::fail(
                "instance",
                words(error),
                "give the id on the instance's overview in the console as --iot-instance-id",
            ),
        };
    }
    if options.product_key().is_none() {
        return Line::skip("instance", "looked at together with a product");
    }
    match (&evidence.product.outcome, given) {
        (Ok(_), Some(id)) => Line::ok("instance", format!("{id}: the product is found in it")),
        (Ok(_), None) => Line::ok("instance", "the product is found without an id"),
        (Err(error), _) if code(error).starts_with("iot.prod.") => {
            Line::skip("instance", "not known, since the product is not found")
        }
        (Err(_), _) => Line::skip("instance", "not known, since the product was not looked at"),
    }
}
