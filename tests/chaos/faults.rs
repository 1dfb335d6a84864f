//! Faults of the upstream, of every kind that the simulator knows.

use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};
use registrar::simulator::PRODUCT;
use serde_json::{Value, json};

const ACTIONS: [&str; 9] = [
    "BatchCheckDeviceNames",
    "QueryBatchRegisterDeviceStatus",
    "BatchRegisterDeviceWithApplyId",
    "QueryPageByApplyId",
    "BatchCheckImportDevice",
    "BatchImportDevice",
    "QueryImportedDeviceByApplyId",
    "BatchQueryDeviceDetail",
    "QueryProduct",
];

/// A fault as JSON, and how long it may last at most, in milliseconds.
pub(crate) fn any(rng: &mut StdRng) -> (String, u64) {
    let mut longest = 3_000;
    let fault = match rng.random_range(0..20) {
        0 => json!({"kind": "fail-creates", "share": share(rng, 0.01, 0.3)}),
        1 => json!({"kind": "block-account", "code": "Iot.system.BillIsOverDue"}),
        2 => json!({"kind": "block-action", "action": action(rng)}),
        3 => json!({"kind": "block-product", "product": PRODUCT}),
        4 => {
            // A check that failed so is halved down to the culprits, which takes a call each.
            longest = 500;
            json!({"kind": "nameless-check-failure"})
        }
        5 => json!({"kind": "stuck", "phase": "CHECK"}),
        6 => json!({"kind": "stuck", "phase": "CREATE"}),
        7 => {
            let seconds = [-1_000, -30, -2, 2, 30, 1_000];
            json!({"kind": "clock-skew", "seconds": seconds.choose(rng).expect("some")})
        }
        8 | 9 => of_calls(rng, json!({"kind": "no-answer"})),
        10 => of_calls(rng, json!({"kind": "cut", "at": "before"})),
        11 => of_calls(rng, json!({"kind": "cut", "at": "middle"})),
        12 => of_calls(rng, json!({"kind": "cut", "at": "after"})),
        13 => {
            let ms = rng.random_range(50..2_500);
            of_calls(rng, json!({"kind": "delay", "ms": ms}))
        }
        14 => of_calls(rng, json!({"kind": "garbage"})),
        15 => of_calls(rng, json!({"kind": "truncated"})),
        16 => of_calls(rng, json!({"kind": "throttle", "retry_after_ms": 200})),
        17 => of_calls(rng, json!({"kind": "throttle", "status": 429})),
        18 => {
            let codes = [
                "InternalError",
                "ServiceUnavailable",
                "iot.system.SystemException",
            ];
            let code = codes.choose(rng).expect("some");
            of_calls(rng, json!({"kind": "refuse", "code": code}))
        }
        _ => of_calls(rng, json!({"kind": "unavailable"})),
    };
    (fault.to_string(), longest)
}

fn of_calls(rng: &mut StdRng, mut fault: Value) -> Value {
    if rng.random_bool(0.6) {
        fault["action"] = action(rng).into();
    }
    fault["share"] = share(rng, 0.2, 1.0).into();
    fault
}

fn action(rng: &mut StdRng) -> &'static str {
    ACTIONS.choose(rng).expect("some")
}

fn share(rng: &mut StdRng, least: f64, most: f64) -> f64 {
    (rng.random_range(least..most) * 100.0).round() / 100.0
}
