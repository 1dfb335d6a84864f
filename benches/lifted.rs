//! P2: as many devices a second as the machine gives, through their whole life.

use std::time::Instant;

use crate::support::{
    Aim, Row, Size, Spread, Stage, client, life, median, number,
    rows::{self, Keys},
};

pub(crate) async fn run(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let devices = size.of(1_000_000, 50_000);
    let (mut lives, mut copies) = (Vec::new(), Vec::new());
    for repetition in 0..size.repetitions() {
        let names = client::names(repetition as u64, devices);
        lives.push(life::run(stage, &names, &[]).await?);
        copies.push(copied(stage, &names, Keys::Primary).await?);
    }
    let rate = |seconds: f64| number(devices as f64 / seconds);
    Ok(vec![Row {
        id: "P2",
        what: format!(
            "{} names, uploaded and registered, quotas lifted",
            number(devices as f64)
        ),
        ours: format!("{}/s", rate(median(lives.iter().map(|life| life.took)))),
        peer: format!(
            "COPY, primary key {}/s",
            rate(median(copies.iter().copied()))
        ),
        ratio: Spread::of(
            lives
                .iter()
                .zip(&copies)
                .map(|(life, copy)| copy / life.took),
        ),
        aim: Aim::AtLeast(0.5),
        note: life::note(&lives, devices),
    }])
}

/// How many seconds a COPY of the devices takes, a row each.
pub(crate) async fn copied(stage: &mut Stage, names: &[String], keys: Keys) -> anyhow::Result<f64> {
    stage.clear().await?;
    let mut connection = stage.database().await?.connect().await?;
    rows::create(&mut connection, keys).await?;
    let began = Instant::now();
    rows::copy(&mut connection, names, 0).await?;
    Ok(began.elapsed().as_secs_f64())
}
