//! P3: from the first byte of an upload to the answer that its last device is durable.

use std::time::Instant;

use registrar::proto::AfterCheck;

use crate::{
    lifted::copied,
    support::{Aim, Row, Setup, Size, Spread, Stack, Stage, client, median, number, rows::Keys},
};

pub(crate) async fn run(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let devices = size.of(1_000_000, 50_000);
    let mut pairs = Vec::new();
    for repetition in 0..size.repetitions() {
        let names = client::names(repetition as u64, devices);
        let uploaded = uploaded(stage, &names).await?;
        pairs.push((copied(stage, &names, Keys::Unique).await?, uploaded));
    }
    let rate = |seconds: f64| number(devices as f64 / seconds);
    Ok(vec![Row {
        id: "P3",
        what: format!("UploadDevices, {} names, durable", number(devices as f64)),
        ours: format!("{}/s", rate(median(pairs.iter().map(|(_, ours)| *ours)))),
        peer: format!(
            "COPY, primary key and unique name {}/s",
            rate(median(pairs.iter().map(|(copied, _)| *copied)))
        ),
        ratio: Spread::of_ratios(&pairs),
        aim: Aim::AtLeast(3.0),
        note: "the first rounds are checked meanwhile, as published quotas allow".into(),
    }])
}

async fn uploaded(stage: &mut Stage, names: &[String]) -> anyhow::Result<f64> {
    stage.clear().await?;
    let stack = Stack::start(stage, Setup::PUBLISHED).await?;
    let mut client = stack.client(0).await?;
    let began = Instant::now();
    client.upload(names, AfterCheck::Stop).await?;
    Ok(began.elapsed().as_secs_f64())
}
