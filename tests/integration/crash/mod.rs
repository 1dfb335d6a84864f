//! Death at any moment: nothing is lost, and nothing is registered twice.
//!
//! Every flow is run once for each of its crash points: the process dies there and is started again,
//! and the client repeats what it was not answered. [`flows`] has the flows and where each is broken
//! off, [`life`] one run. [`kills`] dies at random moments instead, and [`faults`] shows that what is
//! checked here would notice.

mod faults;
mod flows;
mod kills;
mod life;

use std::{collections::BTreeSet, fs, panic::AssertUnwindSafe};

use futures_util::{FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream};
use registrar::{
    breaking::{Fault, Point},
    domain::{Lane, Phase},
};

use self::life::Life;
use crate::support::root;

/// Runs of one flow at a time. They mostly wait.
const AT_ONCE: usize = 6;

/// What callers ask for that changes something.
const REQUESTS: [&str; 9] = [
    "submit",
    "begin-upload",
    "resume-upload",
    "append",
    "seal",
    "register",
    "retry",
    "cancel",
    "reconcile",
];

/// A way through the service, from the first request to the end.
struct Flow {
    /// Where it is broken off, each once: as a process is told, `POINT`, `POINT/OF` or `POINT/OF#N`.
    points: Vec<String>,
    /// Settings of the simulator.
    upstream: &'static [&'static str],
    /// Settings of the service.
    flags: &'static [&'static str],
    /// What the client does and finds.
    drive: for<'a> fn(&'a mut Life) -> LocalBoxFuture<'a, ()>,
}

impl Flow {
    /// Runs the flow once for each of its points.
    async fn runs(self) {
        let runs = self.points.iter().map(|point| self.goes_wrong(point));
        let runs = stream::iter(runs).buffer_unordered(AT_ONCE);
        let wrong: Vec<String> = runs.collect::<Vec<_>>().await.concat();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// What goes wrong when it dies at a point.
    async fn goes_wrong(&self, point: &str) -> Vec<String> {
        let run = AssertUnwindSafe(self.run(point)).catch_unwind().await;
        let wrong = run.unwrap_or_else(|_| vec!["it ended as told above".to_owned()]);
        wrong
            .iter()
            .map(|wrong| format!("{point}: {wrong}"))
            .collect()
    }

    async fn run(&self, point: &str) -> Vec<String> {
        let mut life = Life::new(self.upstream, self.flags, point, "").await;
        (self.drive)(&mut life).await;
        match life.has_died() {
            true => life.violations().await,
            false => vec!["it was never reached".to_owned()],
        }
    }
}

/// Every place to die at.
fn places() -> BTreeSet<String> {
    let of_rounds: Vec<&str> = Phase::ALL
        .iter()
        .filter_map(|phase| Some(phase.lane()?.as_str()))
        .collect();
    let of_calls = [&of_rounds[..], &[Lane::Product.as_str()]].concat();
    let beside = [Lane::Product, Lane::Page, Lane::Details].map(Lane::as_str);
    let mut places = BTreeSet::new();
    for point in Point::ALL {
        let of: &[&str] = match point {
            Point::RequestWritten | Point::RequestCommitted | Point::RequestAnswering => &REQUESTS,
            Point::PermitsTaken | Point::Sending | Point::Answered | Point::SlowedDown => &of_calls,
            Point::Claimed | Point::StepWritten | Point::StepCommitted => &of_rounds,
            Point::BesideRecorded => &beside,
            Point::ProductLearnt
            | Point::RingPassing
            | Point::RingPassed
            | Point::ExpiryWritten
            | Point::ExpiryCommitted
            | Point::Removed
            | Point::AuditForgetting
            | Point::AuditForgotten
            | Point::Rewrapping
            | Point::Rewrapped
            | Point::Audited
            | Point::RestoredWritten
            | Point::RestoredCommitted => &[],
        };
        match of {
            [] => drop(places.insert(point.name().to_owned())),
            of => places.extend(of.iter().map(|of| format!("{}/{of}", point.name()))),
        }
    }
    places
}

#[test]
fn every_place_to_die_at_is_in_a_flow_and_no_flow_has_another() {
    let flows = flows::all().into_iter().flat_map(|flow| flow.points);
    let of_flows: BTreeSet<String> = flows
        .map(|point| {
            let place = point.split_once('#').map(|(place, _)| place.to_owned());
            place.unwrap_or(point)
        })
        .collect();
    let places = places();
    let missing: Vec<_> = places.difference(&of_flows).collect();
    let unknown: Vec<_> = of_flows.difference(&places).collect();
    assert!(missing.is_empty(), "in no flow: {missing:?}");
    assert!(unknown.is_empty(), "no places: {unknown:?}");
}

/// The names in the first column of the table below a heading of the document.
fn documented(heading: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/reliability.md")).expect("it is there");
    let (_, section) = text
        .split_once(&format!("\n## {heading}\n"))
        .expect("the section");
    let section = section.split("\n## ").next().expect("a section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned()))
        .collect()
}

#[test]
fn the_document_lists_all_crash_points_and_all_deliberate_faults() {
    let points: Vec<&str> = Point::ALL.iter().map(|point| point.name()).collect();
    assert_eq!(documented("Crash points"), points);
    let faults: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
    assert_eq!(documented("Deliberate faults"), faults);
}
