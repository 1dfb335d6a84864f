//! `registrar`: see `registrar --help`.

use std::process::ExitCode;

use registrar::{
    app,
    config::{self, Config},
};

fn main() -> ExitCode {
    let config = match Config::read(std::env::args_os()) {
        Ok(config) => config,
        Err(error) => return config::refuse(&error),
    };
    match app::run(config) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
