//! The benchmarks: `script/bench` runs all of them, `script/bench P1 P3` some, `--quick` in small,
//! `--full` in sizes that take long. Every figure is a ratio against a limit or a peer measured in
//! the same run. docs/performance.md keeps the table of a whole run.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "this is a program for a terminal, whose tasks end with it"
)]

mod support;

mod bell;
mod calls;
mod cost;
mod growth;
mod ingest;
mod jobs;
mod lifted;
mod memory;
mod quota;
mod replicas;
mod small;
mod watching;

use std::{process::ExitCode, time::Instant};

use anyhow::bail;

use support::{Row, Size, Stage, bare, document, figures, machine};

/// The benchmarks, in the order in which they run.
const ALL: [&str; 13] = [
    "P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "P11", "P12", "P13",
];

async fn benchmark(id: &str, stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    match id {
        "P1" => quota::run(stage, size).await,
        "P2" => lifted::run(stage, size).await,
        "P3" => ingest::run(stage, size).await,
        "P4" => cost::run(stage, size).await,
        "P5" => jobs::run(stage, size).await,
        "P6" => watching::run(stage, size).await,
        "P7" => bell::run(stage, size).await,
        "P8" => calls::submissions(stage, size).await,
        "P9" => calls::readings(stage, size).await,
        "P10" => small::run(stage, size).await,
        "P11" => memory::run(stage, size).await,
        "P12" => replicas::run(stage, size).await,
        "P13" => growth::run(stage, size).await,
        _ => bail!("there is no benchmark {id}"),
    }
}

/// What the command line asks for.
struct Asked {
    ids: Vec<&'static str>,
    size: Size,
    statements: bool,
}

impl Asked {
    fn read() -> anyhow::Result<Self> {
        let mut asked = Self {
            ids: Vec::new(),
            size: Size::Usual,
            statements: false,
        };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                // From cargo.
                "--bench" => {}
                "--quick" => asked.size = Size::Quick,
                "--full" => asked.size = Size::Full,
                "--statements" => asked.statements = true,
                id => match ALL.iter().find(|known| **known == id) {
                    Some(id) => asked.ids.push(id),
                    None => bail!(
                        "usage: script/bench [--quick|--full] [--statements] [{}]...",
                        ALL.join("|")
                    ),
                },
            }
        }
        if asked.ids.is_empty() {
            asked.ids = ALL.to_vec();
        }
        Ok(asked)
    }

    /// Whether the figures are those to keep.
    fn is_whole(&self) -> bool {
        self.ids.len() == ALL.len() && self.size != Size::Quick && !self.statements
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments
        .next()
        .is_some_and(|first| first == bare::ARGUMENT)
    {
        let served = bare::serve(arguments.next()).await;
        served.expect("a server that is a peer serves");
        return ExitCode::SUCCESS;
    }
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every benchmark came to an end.
async fn run() -> anyhow::Result<bool> {
    let asked = Asked::read()?;
    let mut stage = Stage::start(asked.statements).await?;
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for id in &asked.ids {
        let begun = Instant::now();
        match benchmark(id, &mut stage, asked.size).await {
            Ok(of_this) => rows.extend(of_this),
            Err(error) => failed.push(format!("{id} came to no end: {error:#}")),
        }
        stage.clear().await?;
        eprintln!("{id}: {:.0} s", begun.elapsed().as_secs_f64());
    }
    let mut text = format!(
        "Measured on {}; PostgreSQL {}, registrar {}. {}.\n\n{}",
        machine::machine(),
        stage.version().await?,
        env!("CARGO_PKG_VERSION"),
        repeated(asked.size),
        figures::table(&rows)
    );
    for line in &failed {
        text += &format!("\n{line}\n");
    }
    println!("{text}");
    println!("It took {:.0} s.", began.elapsed().as_secs_f64());
    if asked.is_whole() {
        document::write(&text)?;
    }
    Ok(failed.is_empty())
}

fn repeated(size: Size) -> String {
    match size {
        Size::Quick => "A quick look, whose figures mean nothing".into(),
        _ => format!(
            "Medians of {} interleaved repetitions, with the lowest and the highest ratio",
            size.repetitions()
        ),
    }
}
