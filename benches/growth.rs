//! P13: what a device costs as its apply grows, and as the database fills.

use registrar::proto::AfterCheck;
use sqlx::AssertSqlSafe;

use crate::support::{
    Aim, Database, Row, Setup, Size, Spread, Stack, Stage, client, median, number,
};

/// Growth that counts as none.
const FLAT: f64 = 1.2;

/// Devices of an apply, how many of them are measured together, and the size that it is compared to.
const APPLIES: [(usize, usize, usize); 5] = [
    (100, 40, 100),
    (1_000, 20, 100),
    (10_000, 10, 100),
    (100_000, 3, 10_000),
    (1_000_000, 1, 10_000),
];

/// Devices of an apply that comes to a database that is not empty.
const LATER: usize = 100_000;

/// Devices of an apply that was there before.
const EARLIER: usize = 100_000;

pub(crate) async fn run(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let mut rows = growing(stage, size).await?;
    rows.extend(filling(stage, size).await?);
    Ok(rows)
}

async fn growing(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let sizes = &APPLIES[..size.of(5, 3)];
    let mut costs = vec![Vec::new(); sizes.len()];
    for _ in 0..size.repetitions() {
        for ((devices, applies, _), costs) in sizes.iter().zip(&mut costs) {
            stage.clear().await?;
            let stack = Stack::start(stage, Setup::LIFTED).await?;
            costs.push(cost(stage, &stack, *devices, *applies).await?);
        }
    }
    let rows = sizes.iter().zip(&costs).skip(1);
    let rows = rows.map(|((devices, _, against), these)| {
        let smaller = sizes.iter().position(|(devices, ..)| devices == against);
        let those = &costs[smaller.unwrap_or(0)];
        row(
            format!("CPU a device, apply of {}", number(*devices as f64)),
            these,
            format!("apply of {}", number(*against as f64)),
            those,
        )
    });
    Ok(rows.collect())
}

async fn filling(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let mut fills = vec![0, 1_000_000, size.of(10_000_000, 2_000_000)];
    if size == Size::Full {
        fills.push(100_000_000);
    }
    stage.clear().await?;
    let database = stage.migrated().await?;
    let mut filled = 0;
    let mut costs = Vec::new();
    for fill in &fills {
        add(&database, (fill - filled) / EARLIER).await?;
        filled = *fill;
        stage.checkpoint().await?;
        let mut these = Vec::new();
        for _ in 0..size.repetitions() {
            let stack = Stack::start_on(database.clone(), Setup::LIFTED)?;
            these.push(cost(stage, &stack, LATER, 2).await?);
        }
        costs.push(these);
    }
    let rows = fills.iter().zip(&costs).skip(1);
    let rows = rows.map(|(fill, these)| {
        let devices = number(LATER as f64);
        let what = format!(
            "CPU a device, apply of {devices}, beside {}",
            number(*fill as f64)
        );
        row(what, these, "empty database".into(), &costs[0])
    });
    Ok(rows.collect())
}

fn row(what: String, these: &[f64], against: String, those: &[f64]) -> Row {
    let figure = |costs: &[f64]| format!("{} µs", number(median(costs.iter().copied())));
    let pairs: Vec<_> = these.iter().copied().zip(those.iter().copied()).collect();
    Row {
        id: "P13",
        what,
        ours: figure(these),
        peer: format!("{against} {}", figure(those)),
        ratio: Spread::of_ratios(&pairs),
        aim: Aim::AtMost(FLAT),
        note: "service and PostgreSQL together".into(),
    }
}

/// Microseconds of CPU a device, of some applies one after another.
async fn cost(stage: &Stage, stack: &Stack, devices: usize, applies: usize) -> anyhow::Result<f64> {
    let mut client = stack.client(0).await?;
    // Each process begins with some work of its own.
    let warm = client::names(u64::MAX, 100);
    let apply = client.upload(&warm, AfterCheck::Stop).await?;
    client.watch(apply).await?;
    let names = client::names(0, devices * applies);
    let before = stack.usage(stage).await?;
    for names in names.chunks(devices) {
        let apply = client.upload(names, AfterCheck::RegisterValid).await?;
        client.created(apply, devices).await?;
    }
    let used = stack.usage(stage).await?.since(before);
    Ok((used.service + used.postgres) * 1e6 / (devices * applies) as f64)
}

/// Adds applies that ended well, as they would have been left.
async fn add(database: &Database, applies: usize) -> anyhow::Result<()> {
    let chunks = EARLIER / 10_000;
    let mut connection = database.connect().await?;
    // A hundred lists of names serve for all: what they are is looked at by nobody.
    sqlx::raw_sql(
        "CREATE TEMPORARY TABLE some_names AS
         SELECT list, array_agg(substr(md5(list || '/' || n), 1, 20)) AS names
         FROM generate_series(0, 99) AS list, generate_series(1, 10000) AS n
         GROUP BY list",
    )
    .execute(&mut connection)
    .await?;
    // A chunk has four events and five calls, as after a check and a creation.
    for _ in 0..applies {
        let sql = format!(
            r#"WITH added AS (
                   INSERT INTO applies (tenant, account, product_key, iot_instance_id, after_check,
                                        status, sealed, uploads, revision, total, created)
                   VALUES ('', 'default', 'a1Simulator', '', 'REGISTER_VALID', 'CREATE_SUCCESS', true,
                           1, {chunks} * 4, {EARLIER}, {EARLIER})
                   RETURNING apply_id
               ), stored AS (
                   INSERT INTO chunks (apply_id, chunk_no, names, outcomes)
                   SELECT apply_id, chunk_no, names, repeat('C', 10000)
                   FROM added, generate_series(0, {chunks} - 1) AS chunk_no
                   JOIN some_names ON list = chunk_no % 100
               ), travelled AS (
                   INSERT INTO rounds (apply_id, round_no, account, product, phase, accepted, chunk_no,
                                       devices, upstream_apply_id, turn_at)
                   SELECT apply_id, chunk_no, 'default', 'a1Simulator/', 'ENDED', true, chunk_no,
                          10000, apply_id * 1000 + chunk_no, now()
                   FROM added, generate_series(0, {chunks} - 1) AS chunk_no
               ), told AS (
                   INSERT INTO events (apply_id, revision, status, total, valid, invalid, created,
                                       failed, unknown, cancelled, cancelling, sealed, at)
                   SELECT apply_id, revision, 'CREATE', {EARLIER}, 0, 0, 0, 0, 0, 0, false, true, now()
                   FROM added, generate_series(1, {chunks} * 4) AS revision
               )
               INSERT INTO calls (apply_id, round_no, action, called_at, took_ms, result, judged)
               SELECT apply_id, chunk_no, 'QueryBatchRegisterDeviceStatus', now() - interval '1 hour',
                      10, 'OK', true
               FROM added, generate_series(0, {chunks} - 1) AS chunk_no, generate_series(1, 5)"#
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
    }
    // By then autovacuum would have seen them.
    sqlx::raw_sql("VACUUM (ANALYZE)")
        .execute(&mut connection)
        .await?;
    Ok(())
}
