//! What operators look at fits what the service tells: dashboards, alerts and their pages.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use registrar::proto::{AfterCheck, CheckDevicesRequest, NewDevice};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};
use tonic::{Code, Request};

use crate::{
    support::{
        database::database,
        root,
        stack::{Server, Upstream, patiently, watch},
    },
    surface::{accepted, request, stack},
    telemetry::metrics_docs::{Metric, documented, shown},
};

const DASHBOARDS: [&str; 2] = ["apply", "fleet"];

/// The parts of a histogram, each with a name of its own.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn dashboard(name: &str) -> Value {
    let text = read(&format!("deploy/grafana/dashboards/{name}.json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every text below `key`, wherever it is.
fn texts(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == key => found.push(text.clone()),
                    _ => texts(field, key, found),
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|one| texts(one, key, found)),
        _ => {}
    }
}

/// The expressions of the dashboards and of the alerts, each with where it stands.
fn expressions() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for name in DASHBOARDS {
        let mut found = Vec::new();
        texts(&dashboard(name), "expr", &mut found);
        all.extend(found.into_iter().map(|expr| (name.to_owned(), expr)));
    }
    let rules = read("deploy/prometheus/rules.yml");
    for rule in rules.split("- alert: ").skip(1) {
        let (name, rest) = rule.split_once('\n').unwrap();
        let expr = rest.split_once("expr:").unwrap().1;
        // What follows is the next field of the rule.
        let end = expr
            .find("\n        for:")
            .or(expr.find("\n        labels:"));
        all.push((name.to_owned(), expr[..end.unwrap()].to_owned()));
    }
    all
}

/// The metrics of ours that an expression names, each with the labels that it selects by.
fn metrics(expr: &str) -> Vec<(String, Vec<String>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in expr.match_indices("registrar_") {
        if expr[..at].ends_with(is_name) {
            continue;
        }
        let end = expr[at..]
            .find(|c| !is_name(c))
            .map_or(expr.len(), |end| at + end);
        let selected = expr[end..]
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'));
        let labels = selected.map_or("", |(labels, _)| labels).split(',');
        let labels = labels.filter_map(|one| one.split_once(['=', '!']));
        let labels = labels.map(|(label, _)| label.trim().to_owned()).collect();
        found.push((expr[at..end].to_owned(), labels));
    }
    found
}

/// Fails unless each metric of an expression is one of these, with its labels.
fn are_known(known: &BTreeMap<String, Metric>, by: &str) {
    let mut seen = 0;
    for (place, expr) in expressions() {
        for (name, labels) in metrics(&expr) {
            // Of a histogram only its parts have values.
            let whole = PARTS.iter().find_map(|part| name.strip_suffix(part));
            let whole = whole.and_then(|whole| known.get(whole));
            let metric = match whole.filter(|(kind, _)| kind == "histogram") {
                Some(histogram) => Some(histogram),
                None => known.get(&name).filter(|(kind, _)| kind != "histogram"),
            };
            let Some((_, known)) = metric else {
                panic!("{place} names {name}, which {by} does not have");
            };
            for label in labels {
                assert!(
                    known.contains(&label),
                    "{place}: {name} has no label {label}"
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

/// The alerts that there are.
fn alerts() -> BTreeSet<String> {
    let rules = read("deploy/prometheus/rules.yml");
    let names = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names: BTreeSet<_> = names.map(str::to_owned).collect();
    assert!(!names.is_empty());
    names
}

#[test]
fn every_metric_of_a_dashboard_or_an_alert_is_documented_with_its_labels() {
    are_known(&documented(), "docs/metrics.md");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_a_dashboard_or_an_alert_is_shown_by_a_server_with_its_labels() {
    let (_upstream, server, mut client, _database) = stack(&["--metrics-every", "50ms"]).await;
    let apply = accepted(&mut client, request("light", 3)).await;
    watch(&mut client, apply.apply_id, 0).await;
    // The state of the database is read at its own pace.
    let text = patiently(async {
        loop {
            let (_, text) = server.asks("/metrics").await;
            if text.contains("\nregistrar_applies{") {
                return text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;

    are_known(&shown(&text), "/metrics");
}

#[test]
fn metrics_are_found_in_an_expression_with_the_labels_that_it_selects_by() {
    let expr = r#"sum by (le) (rate(registrar_a_bucket{x="1",y!~"2|3"}[5m])) / no_registrar_b + registrar_c"#;

    let found = metrics(expr);

    let a = (
        "registrar_a_bucket".to_owned(),
        vec!["x".to_owned(), "y".to_owned()],
    );
    assert_eq!(found, [a, ("registrar_c".to_owned(), vec![])]);
}

#[test]
fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let cases = read("tests/observability/alerts.yml");
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for case in cases.split("alertname: ").skip(1) {
        let end = case.find([',', '\n']).unwrap();
        let expects_none = case.lines().next().unwrap().contains("exp_alerts: []");
        if expects_none {
            &mut silent
        } else {
            &mut fires
        }
        .insert(case[..end].to_owned());
    }

    assert_eq!(fires, alerts());
    assert_eq!(silent, alerts());
}

#[test]
fn every_alert_is_told_in_the_operations_page_and_no_other() {
    let page = read("docs/operations.md");
    let (_, told) = page.split_once("\n## Alerts\n").expect("a part on alerts");
    let told = told.split("\n## ").next().unwrap();
    let told = told.lines().filter_map(|line| line.strip_prefix("### "));

    assert_eq!(told.map(str::to_owned).collect::<BTreeSet<_>>(), alerts());
}

#[test]
fn panels_name_data_sources_that_there_are() {
    let provisioned = read("deploy/grafana/provisioning/datasources/datasources.yml");
    for name in DASHBOARDS {
        let mut uids = Vec::new();
        for panel in dashboard(name)["panels"].as_array().unwrap() {
            if let Value::String(uid) = &panel["datasource"]["uid"] {
                uids.push(uid.clone());
            }
        }
        assert!(!uids.is_empty(), "{name}");
        for uid in uids {
            assert!(
                provisioned.contains(&format!("    uid: {uid}\n")),
                "{name}: {uid}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_a_dashboard_finds_an_apply_in_the_database() {
    let (_upstream, _server, mut client, database) = stack(&[]).await;
    let apply = accepted(
        &mut client,
        CheckDevicesRequest {
            after_check: AfterCheck::RegisterValid.into(),
            ..request("light", 3)
        },
    )
    .await;
    watch(&mut client, apply.apply_id, 0).await;

    let mut queries = Vec::new();
    texts(&dashboard("apply"), "rawSql", &mut queries);
    assert!(queries.len() > 5);
    let mut empty = Vec::new();
    for query in queries {
        let id = format!("'{}'", apply.apply_id);
        let sql = query.replace("${apply:sqlstring}", &id);
        assert!(!sql.contains('$'), "a variable is left in {sql}");
        let rows = database.pool.fetch_all(AssertSqlSafe(sql.clone())).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        if rows.is_empty() {
            empty.push(query);
        }
    }
    // Nothing was refused or is blocked; all else has something to show.
    assert!(
        empty
            .iter()
            .all(|query| query.contains("reason_code") || query.contains("FROM blocks")),
        "{empty:?}"
    );
    assert_eq!(empty.len(), 2, "{empty:?}");
}

/// The pieces of SQL in a page, in order.
fn sql_of(page: &str) -> Vec<String> {
    let blocks = page.split("```sql\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sql_of_the_operations_page_can_be_run() {
    let database = database().await;
    let page = read("docs/operations.md");
    let all = sql_of(&page);
    assert!(!all.is_empty());
    for sql in all {
        let rows = database.pool.fetch_all(AssertSqlSafe(sql.clone())).await;
        assert!(rows.is_ok_and(|rows| rows.is_empty()), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dev_stack_takes_an_import_from_who_has_its_token_and_from_nobody_else() {
    let compose = read("docker-compose.yml");
    let files = root().join("deploy/registrar");
    let set = |name: &str| {
        let set = compose
            .lines()
            .find_map(|line| line.trim().strip_prefix(name));
        let set = set.unwrap_or_else(|| panic!("{name} is not set"));
        let value = set.strip_prefix(':').unwrap().trim().trim_matches('"');
        value.replace("/etc/registrar", files.to_str().unwrap())
    };
    let names = [
        "REGISTRAR_ACCESS_FILE",
        "REGISTRAR_PLAIN_TEXT",
        "REGISTRAR_SECRET_KEYS_FILE",
    ];
    let values = names.map(set);
    let variables: Vec<(&str, &str)> = names
        .into_iter()
        .zip(values.iter().map(String::as_str))
        .collect();
    let (database, upstream) = (database().await, Upstream::start(&[]).await);
    let server = Server::start_in(&database.url(), &upstream.url, &[], &variables);
    let mut client = server.client().await;
    let import = || {
        let device = NewDevice {
            device_name: "light".to_owned(),
            device_secret: "its-own-secret".to_owned(),
            ..Default::default()
        };
        Request::new(CheckDevicesRequest {
            devices: vec![device],
            import: true,
            ..request("", 0)
        })
    };

    let refused = client.check_devices(import()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let mut call = import();
    let bearer = "Bearer registrar_dev".parse().unwrap();
    call.metadata_mut().insert("authorization", bearer);
    client.check_devices(call).await.unwrap();
}
