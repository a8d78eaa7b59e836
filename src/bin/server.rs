//! `dripfeed`: the server and every administrator's verb.

fn main() {}
