//! The actions: whether the key may use each, and at which rate `serve` will.

use super::{
    asked::{Evidence, Heard, code, words},
    report::Line,
};
use crate::{
    domain::Lane,
    upstream::{Action, Error, Scope},
};

/// One line for each action that is needed, and one for the action that only this needs.
pub(super) fn permissions(evidence: &Evidence) -> Vec<Line> {
    let lanes = evidence.lanes.iter();
    let mut lines: Vec<Line> = lanes
        .map(|(lane, heard)| permission(*lane, heard).of(lane.as_str()))
        .collect();
    let action = Action::QueryProduct.name();
    lines.push(look_at_products(action, &evidence.product).of(action));
    lines
}

fn permission(lane: Lane, heard: &Heard<()>) -> Line {
    match &heard.outcome {
        Ok(()) => match lane {
            Lane::Status
            | Lane::Page
            | Lane::Imported
            | Lane::Detail
            | Lane::Details
            | Lane::Product => Line::ok("permission", "allowed"),
            Lane::Check | Lane::Register | Lane::CheckImport | Lane::Import => Line::warn(
                "permission",
                "allowed, and the upstream took a call that held nothing to do",
                "nothing came of it; but the upstream is not quite as its documents say",
            ),
        },
        Err(error) => refused(lane.as_str(), error)
            .unwrap_or_else(|todo| Line::fail("permission", words(error), todo)),
    }
}

/// Registering needs no products looked at, so nothing fails here.
fn look_at_products<T>(action: &str, heard: &Heard<T>) -> Line {
    match &heard.outcome {
        Ok(_) => Line::ok("permission", "allowed"),
        Err(error) => refused(action, error).unwrap_or_else(|todo| {
            let todo = format!("{todo}; only `doctor` needs it");
            Line::warn("permission", words(error), todo)
        }),
    }
}

/// The line that a refusal comes to, or what to do about one that stands in the way.
fn refused(action: &str, error: &Error) -> Result<Line, String> {
    match code(error).as_str() {
        _ if error.throttled() => Ok(Line::warn(
            "permission",
            format!("not known: {}", words(error)),
            "run this again when others on the account make fewer calls",
        )),
        "iot.common.apinotsupportedininstance" => {
            Err("use an instance that offers it, or check --iot-instance-id".into())
        }
        "invalidaction.notfound" => {
            Err("check --upstream-url: this endpoint does not know the action".into())
        }
        _ if error.scope == Scope::Lane => Err(format!(
            "allow iot:{action} on resource * to the RAM user or role of this key"
        )),
        "missingparameter" | "invalidparameter" => Ok(Line::warn(
            "permission",
            format!("not known: {}", words(error)),
            format!("the arguments were looked at first; see in the RAM console for iot:{action}"),
        )),
        // The service itself has looked at the arguments, and refused them as it should.
        code if code.starts_with("iot.") && code != "iot.system.systemexception" => {
            Ok(Line::ok("permission", "allowed"))
        }
        _ => Err("no verdict; run this again".into()),
    }
}

/// The rate of a lane beside the published one.
pub(super) fn quota(lane: Lane, rate: f64, evidence: &Evidence) -> Line {
    let published = lane.published_rate();
    // Shares such as 0.07 leave digits that mean nothing.
    let rate = (rate * 1000.0).round() / 1000.0;
    let found = format!("{rate} calls a second at most, of the {published} that are published");
    let throttled = evidence.lane(lane).is_some_and(|heard| heard.throttled);
    let line = if throttled {
        Line::warn(
            "quota",
            format!("{found}; the one call made here was throttled"),
            "someone else on the account uses this quota: leave them a part with --quota-share",
        )
    } else if rate > published {
        Line::warn(
            "quota",
            found,
            "unless the account was granted more, lower the rate: what exceeds it is refused",
        )
    } else {
        Line::ok("quota", found)
    };
    line.of(lane.as_str())
}
