//! Prints the time line of a scenario: who is fetched, executed and reported when.
//!
//! ```text
//! cargo run --example simulate_period --no-default-features [FILE [SECONDS]]
//! ```
//!
//! Without a file it plays a small fleet's morning; `engine::sim` says what a scenario file may hold.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::time::Duration;

use dripfeed::engine::sim;

const BUILT_IN: &str = "\
# An urgent fix overtakes two packages, and the server is away for a while.
settings frag=10 cycle=60 period=0 length=10 timeout=30
package 100 pri=5 frags=3
package 200 pri=2 frags=4
package 300 pri=0 frags=2 at=700
down 1000 1300
refuse 300 times=1
";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let scenario = match arguments.next() {
        Some(path) => std::fs::read_to_string(path)?,
        None => BUILT_IN.to_owned(),
    };
    let seconds = arguments.next().map_or(Ok(31 * 86_400), |text| text.parse())?;
    print!("{scenario}\n{}", sim::trace(&scenario, Duration::from_secs(seconds))?);
    Ok(())
}
