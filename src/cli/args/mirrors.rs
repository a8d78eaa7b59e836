//! Copies of the tree, and for whom they are.

use std::time::Duration;

use clap::Subcommand;

use crate::model::{AddressRange, Location, span};
use crate::protocol::PackageFilter;

#[derive(Debug, Subcommand)]
pub(crate) enum MirrorVerb {
    /// Register a mirror; prints the token that it reports with, once
    Add {
        /// Lower-case letters, digits, dots and dashes
        name: String,
        /// Where agents fetch fragments from it, without a scheme. $IP$ is the address that it reports from, $NAME$ its name
        #[arg(value_name = "HOST[:PORT]/PATH")]
        location: Location,
        /// What it may have: numbers and names of families, * for any letters [default: everything]
        #[arg(long, value_name = "ID|NAME,…")]
        packages: Option<PackageFilter>,
        /// So long after its last report it is not offered any more: 90s, 30m, 1h
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span)]
        silent_after: Duration,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List mirrors and how they are
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one mirror and what it holds
    Show {
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a mirror: no computer is sent to it any more
    Remove {
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a mirror a new token; the old one is worth nothing from then on
    Token {
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the key that manifests are signed with, for `dripfeed-mirror sync --key`
    Key {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SiteVerb {
    /// Make a site: its computers fetch fragments from its mirrors, and from the server when none has them
    Add {
        /// Lower-case letters, digits, dots and dashes
        name: String,
        /// Addresses: 10.1.0.0/16, 10.1.2.10-10.1.2.99, one address; the narrowest range of all sites wins
        #[arg(required = true, value_name = "RANGE")]
        ranges: Vec<AddressRange>,
        /// Its mirrors, the nearest first
        #[arg(long, required = true, value_name = "MIRROR,…", value_delimiter = ',')]
        mirrors: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List sites with their addresses and mirrors
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a site: its computers fetch from the server again
    Remove {
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}
