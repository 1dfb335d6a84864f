//! The messages of the API as JSON: every field by its name in the proto and always there, words
//! without their prefixes, and 64-bit integers as numbers.

use serde_json::{Value, json};

use super::{time, words};
use crate::proto::{
    Apply, Device, DeviceCounts, ExportedDevice, HistoryEntry, Quota, Reason, UpstreamCall,
    WaitingFor, history_entry::What,
};

pub(super) fn apply(apply: &Apply) -> Value {
    json!({
        "apply_id": apply.apply_id,
        "product_key": apply.product_key,
        "iot_instance_id": apply.iot_instance_id,
        "status": words::status(apply.status),
        "counts": counts(&apply.counts.unwrap_or_default()),
        "revision": apply.revision,
        "after_check": words::after_check(apply.after_check),
        "create_time": time::exact(apply.create_time.as_ref()),
        "update_time": time::exact(apply.update_time.as_ref()),
        "settled": apply.settled,
        "labels": apply.labels,
        "import": apply.import,
        "cancelling": apply.cancelling,
        "sealed": apply.sealed,
    })
}

pub(super) fn device(device: &Device) -> Value {
    json!({
        "ordinal": device.ordinal,
        "device_name": device.device_name,
        "nickname": device.nickname,
        "sn": device.sn,
        "outcome": words::outcome(device.outcome),
        "reason": device.reason.as_ref().map(reason),
    })
}

pub(super) fn exported(exported: &ExportedDevice) -> Value {
    json!({
        "device": exported.device.as_ref().map(device),
        "iot_id": exported.iot_id,
        "device_secret": exported.device_secret,
        "credentials_missing": exported.credentials_missing,
    })
}

pub(super) fn waiting_for(waiting: &WaitingFor) -> Value {
    json!({
        "code": words::wait(waiting.code),
        "message": waiting.message,
        "until": time::exact(waiting.until.as_ref()),
    })
}

/// One of `event` and `call` is there, as in the proto, and the other is null.
pub(super) fn entry(entry: &HistoryEntry) -> Value {
    let (event, what) = match &entry.what {
        Some(What::Event(event)) => (Some(apply(event)), None),
        Some(What::Call(made)) => (None, Some(call(made))),
        None => (None, None),
    };
    json!({ "time": time::exact(entry.time.as_ref()), "event": event, "call": what })
}

pub(super) fn quota(quota: &Quota) -> Value {
    json!({
        "action": quota.action,
        "rate": quota.rate,
        "calls_last_minute": quota.calls_last_minute,
        "rounds_due": quota.rounds_due,
        "slowed": quota.slowed,
        "blocked": quota.blocked,
    })
}

fn counts(counts: &DeviceCounts) -> Value {
    json!({
        "total": counts.total,
        "pending": counts.pending,
        "valid": counts.valid,
        "invalid": counts.invalid,
        "created": counts.created,
        "failed": counts.failed,
        "unknown": counts.unknown,
        "cancelled": counts.cancelled,
    })
}

fn reason(reason: &Reason) -> Value {
    json!({
        "code": words::reason(reason.code),
        "message": reason.message,
        "request_id": reason.request_id,
        "first_ordinal": reason.first_ordinal,
    })
}

fn call(call: &UpstreamCall) -> Value {
    json!({
        "action": call.action,
        "round": call.round,
        "upstream_apply_id": call.upstream_apply_id,
        "took_ms": call.took_ms,
        "result": call.result,
        "message": call.message,
        "request_id": call.request_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{self, DESCRIPTORS};

    /// The fields of a message, as the proto has them.
    fn fields(message: &str) -> Vec<String> {
        let set: prost_types::FileDescriptorSet = prost::Message::decode(DESCRIPTORS).unwrap();
        let mut messages = set.file.into_iter().flat_map(|file| file.message_type);
        let found = messages.find(|one| one.name() == message).unwrap();
        let mut names: Vec<_> = found
            .field
            .iter()
            .map(|one| one.name().to_owned())
            .collect();
        names.sort();
        names
    }

    fn keys(value: &Value) -> Vec<String> {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    }

    #[test]
    fn every_field_of_the_proto_is_there_under_its_name() {
        let default = |what| proto::HistoryEntry {
            what: Some(what),
            ..Default::default()
        };
        let call = entry(&default(What::Call(UpstreamCall::default())));

        assert_eq!(keys(&apply(&Apply::default())), fields("Apply"));
        assert_eq!(
            keys(&counts(&DeviceCounts::default())),
            fields("DeviceCounts")
        );
        assert_eq!(keys(&device(&Device::default())), fields("Device"));
        assert_eq!(
            keys(&exported(&ExportedDevice::default())),
            fields("ExportedDevice")
        );
        assert_eq!(keys(&reason(&Reason::default())), fields("Reason"));
        assert_eq!(
            keys(&waiting_for(&WaitingFor::default())),
            fields("WaitingFor")
        );
        assert_eq!(keys(&quota(&Quota::default())), fields("Quota"));
        assert_eq!(keys(&call), fields("HistoryEntry"));
        assert_eq!(keys(&call["call"]), fields("UpstreamCall"));
    }

    #[test]
    fn integers_are_numbers_and_words_have_no_prefix() {
        let large = Apply {
            apply_id: i64::MAX,
            status: 3,
            ..Apply::default()
        };
        let value = apply(&large);

        assert_eq!(value["apply_id"].as_i64(), Some(i64::MAX));
        assert_eq!(value["status"], "CHECK_FAILED");
        assert_eq!(value["create_time"], Value::Null);
    }
}
