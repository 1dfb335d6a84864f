//! Devices looked up by their names: those of an import, whose upstream apply is listed by no page with
//! IotIds, and may never have been told.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    ByName, Credential, Error,
    asking::{About, Asking, BELIEVED_AFTER},
};
use crate::{
    domain::{Ordinal, retry::pause_after},
    store::Creation,
    upstream::{Found, HUNDRED},
};

/// The credentials of those of these devices that were created by one of these and are there still.
pub(super) async fn of(
    asking: &Asking<'_>,
    creations: &[Creation],
    devices: &[(Ordinal, &str)],
) -> Result<ByName, Error> {
    let round_of = |at| {
        let mut creations = creations.iter();
        let creation = creations.find(|one| (one.first..=one.last).contains(&at))?;
        Some(creation.round_no)
    };
    let created: Vec<(i32, String)> = devices
        .iter()
        .filter_map(|(at, name)| Some((round_of(*at)?, (*name).to_owned())))
        .collect();
    let hundreds: Vec<Vec<_>> = created.chunks(HUNDRED).map(<[_]>::to_vec).collect();
    let found: Vec<ByName> = stream::iter(hundreds)
        .map(|hundred| look_up(asking, hundred))
        .buffer_unordered(asking.at_once())
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// Looks up to a hundred devices up. Those that are not there are asked for again.
async fn look_up(asking: &Asking<'_>, devices: Vec<(i32, String)>) -> Result<ByName, Error> {
    let about = About {
        round_no: devices.first().map_or(0, |(round_no, _)| *round_no),
        upstream_apply: None,
    };
    let mut found = ByName::new();
    let mut left: Vec<&str> = devices.iter().map(|(_, name)| name.as_str()).collect();
    let mut tries = 0;
    while !left.is_empty() {
        let names = left.iter().copied();
        let call = asking.upstream().details(asking.product(), names);
        let Some(there) = asking.answer(about, &call).await? else {
            break;
        };
        for device in there {
            found.extend(known_by(device, &left));
        }
        left.retain(|name| !found.contains_key(*name));
        if left.is_empty() || tries == BELIEVED_AFTER {
            break;
        }
        tries += 1;
        tokio::time::sleep(pause_after(tries, rand::random())).await;
    }
    Ok(found)
}

/// A device under the name that it was asked for by. Where letter case tells no names apart it answers
/// to another spelling than its own. Without its secret it is as good as none.
fn known_by(device: Found, asked: &[&str]) -> Option<(String, Credential)> {
    device.secret.as_ref()?;
    let exactly = asked.iter().find(|name| **name == device.name);
    let spelt = || {
        let mut asked = asked.iter();
        asked.find(|name| name.eq_ignore_ascii_case(&device.name))
    };
    let name = (*exactly.or_else(spelt)?).to_owned();
    let credential = Credential {
        name: name.clone(),
        iot_id: device.iot_id,
        secret: device.secret,
    };
    Some((name, credential))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DeviceSecret;

    #[test]
    fn a_device_is_known_by_its_name_then_by_another_spelling_and_never_without_its_secret() {
        let found = |name: &str, secret: Option<&str>| Found {
            name: name.to_owned(),
            secret: secret.map(|text| DeviceSecret::new(text.to_owned())),
            iot_id: Some("iot".to_owned()),
            created_at: None,
        };
        let known = |device, asked: &[&str]| known_by(device, asked).map(|(name, _)| name);

        assert_eq!(known(found("a", Some("s")), &["A", "a"]), Some("a".into()));
        assert_eq!(known(found("a", Some("s")), &["b", "A"]), Some("A".into()));
        assert_eq!(known(found("c", Some("s")), &["b", "A"]), None);
        assert_eq!(known(found("a", None), &["a"]), None);
    }
}
