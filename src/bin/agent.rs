//! `dripfeed-agent`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dripfeed::agent::cli::main(std::env::args_os())
}
