//! `dripfeed-agent`.

fn main() {}
