//! P6: the events of one apply, told to many watchers.
//!
//! *Paced* is at most 20,000 deliveries a second in all. In a *burst* each event is written once the
//! last one was acknowledged: by ours after the commit, by etcd after its fsync, by the broadcast at
//! once. So the latencies of a burst are not of equal load; what it tells is deliveries a second and
//! their CPU.

use std::time::Duration;

use crate::support::{
    Aim, Row, Size, Spread, Stage,
    etcd::Etcd,
    median, number, process,
    watched::{Kind, Told, Watched},
};

/// Deliveries a second of paced events, at most.
const PACE: usize = 20_000;

/// Paced events a second, at most.
const EVENTS_A_SECOND: usize = 100;

/// Paced events: enough for the slowest pace to last some seconds.
const PACED: usize = 30;

/// How one server told its watchers.
struct Run {
    paced: Told,
    burst: Told,
    /// Bytes of the server for each watcher; of the first, most watchers only.
    memory: f64,
}

/// One server with each of these numbers of watchers, the most first: its memory is fresh then.
async fn tell(
    kind: Kind,
    stage: &mut Stage,
    sizes: &[usize],
    burst: usize,
) -> anyhow::Result<Vec<Run>> {
    let mut watched = Watched::start(kind, stage).await?;
    let mut runs = Vec::new();
    for count in sizes {
        let idle = process::resident(watched.pid());
        let watchers = watched.watchers(*count).await?;
        let a_second = (PACE / count).min(EVENTS_A_SECOND);
        let every = Duration::from_secs(1) / a_second as u32;
        let events = PACED.max(a_second);
        let paced = watched.publish(&watchers, events, Some(every)).await?;
        let more = process::resident(watched.pid()).saturating_sub(idle);
        let burst = watched.publish(&watchers, burst, None).await?;
        runs.push(Run {
            paced,
            burst,
            memory: more as f64 / *count as f64,
        });
    }
    Ok(runs)
}

pub(crate) async fn run(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let (sizes, burst) = match size {
        Size::Quick => (&[300, 50][..], 50),
        Size::Usual | Size::Full => (&[5_000, 1_000, 100][..], 200),
    };
    let (version, mut all) = (Etcd::version()?, Vec::new());
    for _ in 0..size.repetitions() {
        let ours = tell(Kind::Registrar, stage, sizes, burst).await?;
        let etcd = tell(Kind::Etcd, stage, sizes, burst).await?;
        let bare = tell(Kind::Bare, stage, sizes, burst).await?;
        all.push([ours, etcd, bare]);
    }
    let mut rows = Vec::new();
    for (n, count) in sizes.iter().enumerate() {
        let mut row = |what: &str, unit: &str, aim, peer: usize, pick: &dyn Fn(&Run) -> f64| {
            let figure = |who: usize| number(median(all.iter().map(|run| pick(&run[who][n]))));
            rows.push(Row {
                id: "P6",
                what: format!("WatchApply, {} watchers: {what}", number(*count as f64)),
                ours: format!("{} {unit}", figure(0)),
                peer: format!(
                    "{} {} {unit}",
                    ["", "etcd", "bare tonic"][peer],
                    figure(peer)
                ),
                ratio: Spread::of(all.iter().map(|run| pick(&run[0][n]) / pick(&run[peer][n]))),
                aim,
                note: if peer == 1 {
                    format!("etcd {version}")
                } else {
                    String::new()
                },
            });
        };
        let [etcd, bare] = [1, 2];
        row("p99, paced", "ms", Aim::AtMost(0.7), etcd, &|run| {
            ms(run.paced.p99)
        });
        row("p50, paced", "ms", Aim::None, etcd, &|run| {
            ms(run.paced.p50)
        });
        row(
            "CPU of a delivery, paced",
            "µs",
            Aim::AtMost(1.5),
            bare,
            &|run| run.paced.cpu * 1e6,
        );
        row("deliveries, in a burst", "/s", Aim::None, etcd, &|run| {
            run.burst.per_second
        });
        row(
            "CPU of a delivery, in a burst",
            "µs",
            Aim::AtMost(1.5),
            bare,
            &|run| run.burst.cpu * 1e6,
        );
        if n == 0 {
            row(
                "memory of a watcher",
                "kB",
                Aim::AtMost(2.0),
                bare,
                &|run| run.memory / 1e3,
            );
            row("memory of a watcher", "kB", Aim::None, etcd, &|run| {
                run.memory / 1e3
            });
        }
    }
    Ok(rows)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
