//! The `wavelift` command.

mod cli;
mod cmd;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("WAVELIFT_LOG").unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let outcome = match cli::Cli::parse().command {
        cli::Command::Run(arguments) => cmd::run::run(&arguments),
        cli::Command::Devices(arguments) if arguments.conformance => cmd::conformance::run(&arguments),
        cli::Command::Devices(_) => cmd::devices::run(),
        cli::Command::Inspect(arguments) => cmd::inspect::run(&arguments),
        cli::Command::Translate(arguments) => cmd::translate::run(&arguments),
    };
    match outcome {
        // A code that the system can't express is still no success.
        Ok(code) => u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from),
        Err(error) => {
            cmd::say(&format!("wavelift: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
