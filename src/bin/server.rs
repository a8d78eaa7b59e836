//! `dripfeed`: the server and every administrator's verb.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A hidden door: `dripfeed demo` runs the agent as a child of this very binary, so that one build is enough for it.
    #[cfg(feature = "agent")]
    {
        let mut arguments = std::env::args_os();
        let program = arguments.next().unwrap_or_default();
        if arguments.next().is_some_and(|first| first == "agent") {
            return dripfeed::agent::cli::main(std::iter::once(program).chain(arguments));
        }
    }
    dripfeed::cli::main()
}
