//! P4: what a device costs PostgreSQL from its submission to its outcome.

use crate::support::{
    Aim, Row, Size, Spread, Stage, client, life, median, number,
    rows::{self, Keys},
};

/// Devices of a commit, as of one of our chunks.
const CHUNK: usize = 10_000;

/// One device of a hundred cannot be created.
const FEW_FAIL: [&str; 2] = [
    "--simulator-fault",
    r#"few={"kind":"fail-creates","share":0.01}"#,
];

/// Of one device.
#[derive(Clone, Copy)]
struct Cost {
    /// Microseconds.
    cpu: f64,
    /// Bytes.
    wal: f64,
}

pub(crate) async fn run(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let devices = size.of(500_000, 50_000);
    let mut pairs = Vec::new();
    for repetition in 0..size.repetitions() {
        let names = client::names(repetition as u64, devices);
        let used = life::run(stage, &names, &FEW_FAIL).await?.used;
        let ours = Cost::of(used.postgres, used.wal, devices);
        pairs.push((ours, updated_rows(stage, &names).await?));
    }
    let row = |what: &str, unit: &str, aim, of: fn(Cost) -> f64| {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(ours, rows)| (of(*ours), of(*rows)))
            .collect();
        let figure = |figures: Vec<f64>| format!("{} {unit}", number(median(figures)));
        Row {
            id: "P4",
            what: format!("{what} of PostgreSQL a device, submission to outcome, 1 % fail"),
            ours: figure(pairs.iter().map(|(ours, _)| *ours).collect()),
            peer: format!(
                "a row each, updated twice by sets {}",
                figure(pairs.iter().map(|(_, rows)| *rows).collect())
            ),
            ratio: Spread::of_ratios(&pairs),
            aim: Aim::AtMost(aim),
            note: format!("{} devices", number(devices as f64)),
        }
    };
    Ok(vec![
        row("CPU", "µs", 0.05, |cost| cost.cpu),
        row("WAL", "B", 0.06, |cost| cost.wal),
    ])
}

impl Cost {
    fn of(seconds: f64, wal: f64, devices: usize) -> Self {
        Self {
            cpu: seconds * 1e6 / devices as f64,
            wal: wal / devices as f64,
        }
    }
}

/// Devices as a row each: copied in, then updated as checked, then as created or failed. As quotas
/// put minutes between the three, a checkpoint comes before each.
async fn updated_rows(stage: &mut Stage, names: &[String]) -> anyhow::Result<Cost> {
    stage.clear().await?;
    let mut connection = stage.database().await?.connect().await?;
    rows::create(&mut connection, Keys::Textbook).await?;
    let (cpu, wal) = (stage.postgres_cpu(), stage.wal().await?);
    for (at, names) in names.chunks(CHUNK).enumerate() {
        rows::copy(&mut connection, names, at * CHUNK).await?;
    }
    for update in [
        "UPDATE device SET state = 'CHECKED', updated_at = now()
         WHERE apply_id = 1 AND ordinal >= $1 AND ordinal < $2",
        "UPDATE device
         SET state = CASE WHEN ordinal % 100 = 7 THEN 'FAILED' ELSE 'CREATED' END,
             error = CASE WHEN ordinal % 100 = 7 THEN 'the upstream did not create it' END,
             updated_at = now()
         WHERE apply_id = 1 AND ordinal >= $1 AND ordinal < $2",
    ] {
        stage.checkpoint().await?;
        for first in (0..names.len() as i32).step_by(CHUNK) {
            sqlx::query(update)
                .bind(first)
                .bind(first + CHUNK as i32)
                .execute(&mut connection)
                .await?;
        }
    }
    let (cpu, wal) = (stage.postgres_cpu() - cpu, stage.wal().await? - wal);
    Ok(Cost::of(cpu, wal, names.len()))
}
