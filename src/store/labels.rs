//! What administrators say of networks: a name, a tag, and whether nobody is to look round there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use diesel::prelude::*;

use super::connection::q;
use super::row::text;
use super::schema::{elections, network_labels};
use super::{Conn, StoreError};

/// What is said of one network.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Label {
    /// What people call it; may be empty.
    pub name: String,
    /// A word to sort networks by; may be empty.
    pub tag: String,
    /// Is nobody to look round there?
    pub excluded: bool,
}

/// Every network of which something is said.
pub fn list(conn: &mut Conn) -> Result<BTreeMap<String, Label>, StoreError> {
    let query = network_labels::table.select((
        network_labels::network,
        network_labels::name,
        network_labels::tag,
        network_labels::excluded,
    ));
    let found: Vec<(String, String, String, i64)> = q!(conn => query.load(conn))?;
    let line = |(network, name, tag, excluded)| (network, Label { name, tag, excluded: excluded != 0 });
    Ok(found.into_iter().map(line).collect())
}

/// The networks in which nobody is to look round.
pub fn excluded(conn: &mut Conn) -> Result<BTreeSet<Ipv4Addr>, StoreError> {
    let query = network_labels::table.filter(network_labels::excluded.eq(1)).select(network_labels::network);
    let found: Vec<String> = q!(conn => query.load(conn))?;
    Ok(found.iter().filter_map(|network| network.parse().ok()).collect())
}

/// Says something of a network. Where nobody is to look round any more nobody stays elected.
pub fn set(conn: &mut Conn, network: &str, label: &Label) -> Result<(), StoreError> {
    q!(conn => diesel::delete(network_labels::table.find(text(network))).execute(conn))?;
    if *label != Label::default() {
        q!(conn => diesel::insert_into(network_labels::table)
            .values((
                network_labels::network.eq(text(network)),
                network_labels::name.eq(text(&label.name)),
                network_labels::tag.eq(text(&label.tag)),
                network_labels::excluded.eq(i64::from(label.excluded)),
            ))
            .execute(conn))?;
    }
    if label.excluded {
        let there = elections::table.filter(elections::network.eq(text(network)));
        q!(conn => diesel::delete(there).execute(conn))?;
    }
    Ok(())
}
