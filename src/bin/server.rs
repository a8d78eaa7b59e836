//! `dripfeed`: the server and every administrator's verb.

use std::process::ExitCode;

fn main() -> ExitCode {
    dripfeed::cli::main()
}
