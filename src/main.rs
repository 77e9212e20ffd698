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
        cli::Command::Devices => cmd::devices::run(),
        cli::Command::Inspect(arguments) => cmd::inspect::run(&arguments),
        cli::Command::Translate(arguments) => cmd::translate::run(&arguments),
    };
    match outcome {
        Ok(code) => exit_with(code),
        Err(error) => {
            eprintln!("wavelift: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The guest's exit code is the command's; where the system's are narrower, a failure stays one.
fn exit_with(code: i32) -> ExitCode {
    match u8::try_from(code) {
        Ok(code) => ExitCode::from(code),
        Err(_) => std::process::exit(code),
    }
}
