//! `dripfeed-mirror`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dripfeed::mirror::cli::main(std::env::args_os())
}
