//! A fleet of agents in one process, to load a server with.
//!
//! ```text
//! cargo run --release --example fleet -- --server https://127.0.0.1:8443/ocsinventory --ca certs/ca.pem \
//!     --agents 1000 --arrive storm:10
//! ```
//!
//! `--help` tells the rest; `benches/` has what uses it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

mod simulator;

use std::process::ExitCode;

use clap::Parser as _;
use simulator::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    match simulator::run(&options) {
        Ok(report) => {
            if options.json {
                println!("{:#}", report.to_json());
            } else {
                print!("{report}");
            }
            ExitCode::from(u8::from(report.failed() > 0 || report.answered() == 0))
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
