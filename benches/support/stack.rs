//! The simulator and replicas of the service on one database, each a process of its own.

use anyhow::Context as _;
use registrar::simulator;
use serde_json::Value;

use super::{
    client::Client,
    process::{self, Process},
    stage::{Database, Stage},
};

/// Lets the simulator do each check and creation at once, and take any number of calls.
pub(crate) const UNLIMITED: [&str; 4] = [
    "--simulator-speed",
    "0",
    "--simulator-qps",
    "BatchCheckDeviceNames=0,QueryBatchRegisterDeviceStatus=0,BatchRegisterDeviceWithApplyId=0,\
     QueryPageByApplyId=0",
];

/// Lets the service make any number of calls.
pub(crate) const UNHURRIED: [&str; 8] = [
    "--check-rate",
    "1000000",
    "--status-rate",
    "1000000",
    "--register-rate",
    "1000000",
    "--page-rate",
    "1000000",
];

/// What a stack is made of.
#[derive(Clone, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) replicas: usize,
    /// Flags of `registrar simulate`.
    pub(crate) simulator: &'a [&'a str],
    /// Flags of `registrar serve`.
    pub(crate) serve: &'a [&'a str],
}

impl Setup<'_> {
    /// One replica and the published quotas.
    pub(crate) const PUBLISHED: Self = Self {
        replicas: 1,
        simulator: &[],
        serve: &[],
    };

    /// One replica and no quotas.
    pub(crate) const LIFTED: Self = Self {
        replicas: 1,
        simulator: &UNLIMITED,
        serve: &UNHURRIED,
    };
}

/// What serves a benchmark. It ends with this value; its database goes when the stage is cleared.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) replicas: Vec<Process>,
    pub(crate) simulator: Process,
    pub(crate) database: Database,
}

/// What was used, since a look before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Seconds of CPU.
    pub(crate) service: f64,
    pub(crate) postgres: f64,
    pub(crate) simulator: f64,
    /// Bytes.
    pub(crate) wal: f64,
}

impl Stack {
    /// Starts all of it on a new database.
    pub(crate) async fn start(stage: &mut Stage, setup: Setup<'_>) -> anyhow::Result<Self> {
        let database = stage.migrated().await?;
        Self::start_on(database, setup)
    }

    /// Starts all of it on a database that has the schema.
    pub(crate) fn start_on(database: Database, setup: Setup<'_>) -> anyhow::Result<Self> {
        let simulator = Process::start(&[&["simulate"][..], setup.simulator].concat())?;
        let upstream = format!("http://{}", simulator.address);
        let serve = [
            "serve",
            "--admin-listen",
            "127.0.0.1:0",
            "--database-url",
            &database.url,
            "--upstream-url",
            &upstream,
            "--upstream-access-key-id",
            simulator::ACCESS_KEY_ID,
            "--upstream-access-key-secret",
            simulator::ACCESS_KEY_SECRET,
        ];
        let serve = [&serve, setup.serve].concat();
        let replicas = (0..setup.replicas)
            .map(|_| Process::start(&serve))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            replicas,
            simulator,
            database,
        })
    }

    /// A client of one of the replicas, on a connection of its own.
    pub(crate) async fn client(&self, replica: usize) -> anyhow::Result<Client> {
        Client::connect(&self.replicas[replica].address).await
    }

    /// What has been used since all of it was started.
    pub(crate) async fn usage(&self, stage: &Stage) -> anyhow::Result<Usage> {
        Ok(Usage {
            service: self.replicas.iter().map(|it| process::cpu(it.pid())).sum(),
            postgres: stage.postgres_cpu(),
            simulator: process::cpu(self.simulator.pid()),
            wal: stage.wal().await?,
        })
    }

    /// All calls that reached the simulator, in the order of their answers.
    pub(crate) async fn ledger(&self) -> anyhow::Result<Vec<Call>> {
        // An error only says that the process has a provider already.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build()?;
        let mut calls: Vec<Call> = Vec::new();
        let mut after = 0;
        loop {
            let url = format!(
                "http://{}/_simulator/ledger?limit=10000&after={after}",
                self.simulator.address
            );
            let text = http
                .get(url)
                .send()
                .await?
                .error_for_status()?
                .text()
                .await?;
            if text.is_empty() {
                return Ok(calls);
            }
            for line in text.lines() {
                let call: Value = serde_json::from_str(line)?;
                after = call["seq"].as_u64().context("a number of a call")?;
                calls.push(Call {
                    action: call["action"].as_str().unwrap_or_default().to_owned(),
                    code: call["code"].as_str().unwrap_or_default().to_owned(),
                    arrived: call["arrived_us"].as_u64().context("a time of a call")?,
                });
            }
        }
    }
}

/// A call that reached the simulator.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) action: String,
    /// `OK`, or why not.
    pub(crate) code: String,
    /// In microseconds since the epoch.
    pub(crate) arrived: u64,
}

impl Call {
    pub(crate) fn is_throttled(&self) -> bool {
        self.code.starts_with("Throttling")
    }
}

impl Usage {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            service: self.service - before.service,
            postgres: self.postgres - before.postgres,
            simulator: self.simulator - before.simulator,
            wal: self.wal - before.wal,
        }
    }
}
