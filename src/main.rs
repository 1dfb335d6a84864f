//! `registrar`: see `registrar --help`.

use std::process::ExitCode;

use clap::Parser as _;
use registrar::{app, config::Config};

fn main() -> ExitCode {
    let config = match Config::parse().checked() {
        Ok(config) => config,
        Err(error) => error.exit(),
    };
    match app::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
