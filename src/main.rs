//! `registrar`: see `registrar --help`.

use std::process::ExitCode;

use registrar::{
    app,
    config::{self, Config},
};

fn main() -> ExitCode {
    match Config::read(std::env::args_os()) {
        Ok(config) => app::run(config),
        Err(error) => config::refuse(&error),
    }
}
