//! The actions: whether the key may use each, and at which rate `serve` will.

use super::{
    asked::{Evidence, Heard, code, words},
    report::Line,
};
use crate::{
    domain::Lane,
    upstream::{Action, Error, Scope},
};

const NOT_OFFERED: &str = "iot.common.apinotsupportedininstance";

/// One line for each action that is needed, and one for the action that only this needs.
pub(super) fn permissions(evidence: &Evidence) -> Vec<Line> {
    let lanes = evidence.lanes.iter();
    let mut lines: Vec<Line> = lanes
        .map(|(lane, heard)| permission(*lane, heard).of(lane.as_str()))
        .collect();
    lines.push(look_at_products(&evidence.product).of(Action::QueryProduct.name()));
    lines
}

fn permission(lane: Lane, heard: &Heard<()>) -> Line {
    let Err(error) = &heard.outcome else {
        return match lane {
            Lane::Status | Lane::Page => Line::ok("permission", "allowed"),
            Lane::Check | Lane::Register => Line::warn(
                "permission",
                "allowed, and the upstream took a call that held nothing to do",
                "nothing came of it; but the upstream is not quite as its documents say",
            ),
        };
    };
    judge(error).unwrap_or_else(|todo| Line::fail("permission", words(error), todo))
}

fn look_at_products<T>(heard: &Heard<T>) -> Line {
    let Err(error) = &heard.outcome else {
        return Line::ok("permission", "allowed");
    };
    judge(error).unwrap_or_else(|_| {
        Line::warn(
            "permission",
            words(error),
            "only `doctor` asks for it; allow the RAM action of this name to have products looked at",
        )
    })
}

/// The line that a refusal is, or what to do about one that stands in the way.
fn judge(error: &Error) -> Result<Line, &'static str> {
    match code(error).as_str() {
        _ if error.throttled() => Ok(Line::warn(
            "permission",
            format!("not known: {}", words(error)),
            "run this again when others on the account make fewer calls",
        )),
        NOT_OFFERED => Err("use an instance that offers it, or check --iot-instance-id"),
        "invalidaction.notfound" => {
            Err("check --upstream-url: this endpoint does not know the action")
        }
        _ if error.scope == Scope::Lane => {
            Err("allow the RAM action `iot:` and this name, for resource `*`, to the key's user")
        }
        "missingparameter" | "invalidparameter" => Ok(Line::warn(
            "permission",
            format!("not known: {}", words(error)),
            "the upstream looked at the arguments first; see the user's policy in the RAM console",
        )),
        // The service itself has looked at the arguments, and refused them as it should.
        code if code.starts_with("iot.") && code != "iot.system.systemexception" => {
            Ok(Line::ok("permission", "allowed"))
        }
        _ => Err("no verdict; run this again"),
    }
}

/// The rate of a lane beside the published one.
pub(super) fn quota(lane: Lane, rate: f64, evidence: &Evidence) -> Line {
    let published = lane.published_rate();
    // Shares such as 0.07 leave digits that mean nothing.
    let rate = (rate * 1000.0).round() / 1000.0;
    let found =
        format!("at most {rate} calls a second; the account is published to have {published}");
    let throttled = evidence.lane(lane).is_some_and(|heard| heard.throttled);
    let line = if throttled {
        Line::warn(
            "quota",
            format!("{found}, and the one call made here was throttled"),
            "someone else on the account uses it: leave them their part with --quota-share",
        )
    } else if rate > published {
        Line::warn(
            "quota",
            found,
            "unless the account has been granted more, calls beyond that are refused and made again",
        )
    } else {
        Line::ok("quota", found)
    };
    line.of(lane.as_str())
}
