//! Doctor: looks at a real account before its first use, and says of each thing that could be
//! wrong whether it is, with what to do.
//!
//! It speaks through the client that `serve` uses, with the same settings, and needs no database.
//! It changes nothing upstream: why none of its questions can is said where they are asked, in
//! [`asked`]. What the answers mean is decided without I/O, in [`connection`], [`product`] and
//! [`actions`]. Start at [`run`].

mod actions;
mod asked;
mod connection;
mod product;
mod report;
#[cfg(test)]
mod tests;

use std::io::Write;

use crate::{
    domain::Lane,
    upstream::{self, Client},
};

use self::{
    asked::{Evidence, LANES},
    report::Line,
};

pub use self::report::Report;

/// What to look at.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Options {
    /// The product that devices are to be registered in. Without one, neither product nor instance
    /// is looked at
    #[arg(long, env = "REGISTRAR_PRODUCT_KEY")]
    pub product_key: Option<String>,

    /// The instance of the product; none for the account's public instance
    #[arg(long, env = "REGISTRAR_IOT_INSTANCE_ID")]
    pub iot_instance_id: Option<String>,
}

impl Options {
    fn product_key(&self) -> Option<&str> {
        self.product_key.as_deref().filter(|key| !key.is_empty())
    }

    fn iot_instance_id(&self) -> Option<&str> {
        self.iot_instance_id.as_deref().filter(|id| !id.is_empty())
    }
}

/// Looks at everything and writes a line on each check to `out`; as JSON, one object a line.
/// `rates` are the calls a second that `serve` would make in each lane. Takes at most four times
/// the timeout of a call.
///
/// # Errors
///
/// Settings with which no call can be made, and an `out` that takes no more. What is wrong with
/// the account is no error; the report has it.
pub async fn run(
    options: &Options,
    upstream: &upstream::Options,
    rates: &[(Lane, f64)],
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<Report> {
    let client = Client::new(upstream)?;
    if !json {
        let endpoint = client.endpoint();
        writeln!(out, "Looks at {endpoint}; nothing is changed there.")?;
        // The answers may take their time.
        out.flush()?;
    }
    let evidence = asked::gather(&client, options, upstream.upstream_timeout * 2).await;
    let report = Report::new(judged(&client, options, rates, &evidence));
    report.write(json, out)?;
    Ok(report)
}

/// Why nothing more can be looked at, if so.
fn stopped(lines: &[Line]) -> Option<String> {
    let stop = lines.iter().find(|line| line.stops())?;
    Some(format!("not looked at, since {} failed", stop.check))
}

/// The lines, from what everything depends on to what depends on everything. What cannot be judged
/// because of a line above says so.
fn judged(
    client: &Client,
    options: &Options,
    rates: &[(Lane, f64)],
    evidence: &Evidence,
) -> Vec<Line> {
    let endpoint = client.endpoint();
    let mut lines = vec![
        connection::reach(endpoint, evidence),
        connection::region(endpoint, evidence),
    ];
    let rest: [(&'static str, &dyn Fn() -> Vec<Line>); 6] = [
        ("clock", &|| vec![connection::clock(evidence)]),
        ("key", &|| vec![connection::key(client, evidence)]),
        ("account", &|| vec![connection::account(evidence)]),
        ("product", &|| {
            vec![product::product(options, endpoint, evidence)]
        }),
        ("instance", &|| vec![product::instance(options, evidence)]),
        ("permission", &|| actions::permissions(evidence)),
    ];
    for (check, judge) in rest {
        match stopped(&lines) {
            Some(why) => lines.push(Line::skip(check, why)),
            None => lines.extend(judge()),
        }
    }
    match stopped(&lines) {
        Some(why) => lines.push(Line::skip("quota", why)),
        None => {
            let rates = rates.iter().filter(|(lane, _)| LANES.contains(lane));
            lines.extend(rates.map(|(lane, rate)| actions::quota(*lane, *rate, evidence)));
        }
    }
    lines
}
