//! docs/metrics.md and `/metrics` tell of the same metrics.

use std::collections::{BTreeMap, BTreeSet};

use registrar::proto::{AfterCheck, CheckDevicesRequest};

use crate::{
    support::stack::{patiently, watch},
    surface::{accepted, request, stack},
};

/// The type of a metric, and its labels.
pub(crate) type Metric = (String, BTreeSet<String>);

/// The metrics that the page has in its tables.
pub(crate) fn documented() -> BTreeMap<String, Metric> {
    let page = std::fs::read_to_string(crate::support::root().join("docs/metrics.md")).unwrap();
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| `registrar_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty());
        let labels = labels
            .map(|label| label.trim_matches('`').to_owned())
            .collect();
        let name = cells[1].trim_matches('`').to_owned();
        (name, (cells[2].to_owned(), labels))
    })
    .collect()
}

/// The metrics that a scrape shows.
pub(crate) fn shown(text: &str) -> BTreeMap<String, Metric> {
    let mut shown = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ').unwrap();
            current = name.to_owned();
            shown.insert(current.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let labels = line
                .split_once('{')
                .and_then(|(_, rest)| rest.split_once('}'));
            let labels = labels.map_or("", |(labels, _)| labels);
            let names = labels
                .split("\",")
                .filter_map(|label| label.split_once('='));
            let names = names
                .map(|(name, _)| name.to_owned())
                .filter(|name| name != "le");
            shown.get_mut(&current).unwrap().1.extend(names);
        }
    }
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_documented_and_every_documented_one_is_shown() {
    let flags = ["--metrics-every", "50ms", "--heartbeat", "50ms"];
    let (_upstream, server, mut client, _database) = stack(&flags).await;
    let apply = accepted(
        &mut client,
        CheckDevicesRequest {
            after_check: AfterCheck::RegisterValid.into(),
            ..request("light", 3)
        },
    )
    .await;
    watch(&mut client, apply.apply_id, 0).await;
    // The state is read at its own pace.
    let text = patiently(async {
        loop {
            let (status, text) = server.asks("/metrics").await;
            assert_eq!(status, 200);
            if text.contains("registrar_applies{status=\"CHECK\"} 0") {
                return text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;

    assert_eq!(shown(&text), documented());
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {text}"))
            .trim()
            .parse::<f64>()
            .unwrap()
    };
    assert_eq!(
        value(r#"registrar_device_outcomes_total{outcome="CREATED"}"#),
        3.0
    );
    assert_eq!(
        value(r#"registrar_device_outcomes_total{outcome="PENDING"}"#),
        3.0
    );
    assert_eq!(
        value(r#"registrar_apply_changes_total{status="CREATE_SUCCESS"}"#),
        1.0
    );
    assert_eq!(value("registrar_submission_duration_seconds_count"), 1.0);
    assert_eq!(
        value(r#"registrar_upstream_calls_total{action="BatchCheckDeviceNames",result="ok"}"#),
        1.0
    );
    assert_eq!(value(r#"registrar_watch_ends_total{end="settled"}"#), 1.0);
    assert_eq!(
        value(r#"registrar_rpc_duration_seconds_count{code="OK",method="CheckDevices"}"#),
        1.0
    );
    assert_eq!(value("registrar_watchers"), 0.0);
    assert_eq!(value("registrar_ready"), 1.0);
}
