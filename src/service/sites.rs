//! Which site an address belongs to, and why: the narrowest range of all sites wins, of two that are equally narrow the
//! site that comes first by its name. [`crate::store::mirrors::nearby`] decides so at every contact; here it is told to
//! people.

use std::cmp::Reverse;
use std::net::IpAddr;

use crate::model::AddressRange;
use crate::model::query::{MAX_LENGTH, Query};
use crate::store::mirrors::Site;

/// A range of a site that has addresses in common with a range of another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Overlap {
    /// The site's own range.
    pub own: AddressRange,
    /// The other's range.
    pub other: AddressRange,
    /// The other site's name.
    pub site: String,
    /// Does the own range win where both are?
    pub wins: bool,
}

impl Overlap {
    /// Have both the very same addresses? Then the names decide.
    pub fn is_equal(&self) -> bool {
        (self.own.first(), self.own.last()) == (self.other.first(), self.other.last())
    }
}

/// Every range of every site, in the order in which they win.
#[derive(Clone, Debug, Default)]
pub struct Map<'a>(Vec<(&'a AddressRange, &'a str)>);

impl<'a> Map<'a> {
    /// Of these sites.
    pub fn of(sites: &'a [Site]) -> Self {
        let mut ranges: Vec<_> =
            sites.iter().flat_map(|site| site.ranges.iter().map(|range| (range, site.name.as_str()))).collect();
        ranges.sort_by_key(|(range, site)| (range.width(), *site));
        Self(ranges)
    }

    /// The site of an address.
    pub fn site_of(&self, address: IpAddr) -> Option<&'a str> {
        self.0.iter().find(|(range, _)| range.contains(address)).map(|(_, site)| *site)
    }

    /// Where a site meets others: what it loses first, then what it wins.
    pub fn overlaps(&self, site: &str) -> Vec<Overlap> {
        let mut found: Vec<Overlap> = Vec::new();
        for (own_at, (own, _)) in self.own(site) {
            let others = self.0.iter().enumerate().filter(|(_, (range, name))| *name != site && range.meets(own));
            found.extend(others.map(|(at, (other, name))| Overlap {
                own: (*own).clone(),
                other: (*other).clone(),
                site: (*name).to_owned(),
                wins: own_at < at,
            }));
        }
        found.sort_by_key(|overlap| (overlap.wins, overlap.own.first(), Reverse(overlap.other.width())));
        found
    }

    /// The query for the computers that were last heard from at a site; `None` if it has no ranges, or so many that no
    /// query can name them.
    pub fn query(&self, site: &str) -> Option<String> {
        let mut query = String::new();
        for (at, (own, _)) in self.own(site) {
            let lost = self.0[..at].iter().filter(|(range, name)| *name != site && range.meets(own));
            let lost: Vec<String> = lost.map(|(range, _)| within(range)).collect();
            let part = if lost.is_empty() {
                within(own)
            } else {
                format!("({}) and not ({})", within(own), lost.join(" or "))
            };
            query.push_str(if query.is_empty() { "" } else { " or " });
            query.push_str(&part);
            if query.len() > MAX_LENGTH {
                return None;
            }
        }
        query.parse::<Query>().is_ok().then_some(query)
    }

    fn own(&self, site: &str) -> impl Iterator<Item = (usize, &(&'a AddressRange, &'a str))> {
        self.0.iter().enumerate().filter(move |(_, (_, name))| *name == site)
    }
}

fn within(range: &AddressRange) -> String {
    let networks: Vec<String> = range.networks().iter().map(|network| format!("peer in {network}")).collect();
    networks.join(" or ")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::model::query::Facts;
    use crate::model::{Computer, ComputerId, UnixTime};

    fn site(name: &str, ranges: &[&str]) -> Site {
        Site {
            name: name.to_owned(),
            ranges: ranges.iter().map(|range| range.parse().expect(range)).collect(),
            mirrors: Vec::new(),
            created_at: UnixTime::from_seconds(0),
        }
    }

    fn heard_from(peer: &str) -> Facts {
        let now = UnixTime::from_seconds(0);
        let nothing = String::new;
        let computer = Computer {
            id: ComputerId(1),
            device_id: "a-2026-01-01-00-00-00".parse().expect("a device id"),
            name: nothing(),
            os_name: nothing(),
            os_version: nothing(),
            architecture: nothing(),
            ip_address: nothing(),
            peer_address: peer.to_owned(),
            user_name: nothing(),
            serial: nothing(),
            model: nothing(),
            uuid: nothing(),
            workgroup: nothing(),
            tag: nothing(),
            user_agent: nothing(),
            first_contact: now,
            last_contact: now,
            last_inventory: None,
            archived_at: None,
            agent_key: None,
        };
        Facts {
            computer,
            macs: Vec::new(),
            packages: BTreeSet::new(),
            groups: BTreeSet::new(),
            fields: BTreeMap::new(),
            sections: BTreeMap::new(),
            software: None,
        }
    }

    #[test]
    fn the_narrowest_range_wins_and_the_other_is_told_so() {
        let sites = [site("all", &["10.0.0.0/8"]), site("lab", &["10.1.2.0/24", "192.0.2.7"])];
        let map = Map::of(&sites);
        for (address, owner) in
            [("10.1.2.9", Some("lab")), ("10.1.3.9", Some("all")), ("192.0.2.7", Some("lab")), ("192.0.2.8", None)]
        {
            assert_eq!(map.site_of(address.parse().expect(address)), owner, "{address}");
        }
        assert_eq!(map.query("all").as_deref(), Some("(peer in 10.0.0.0/8) and not (peer in 10.1.2.0/24)"));
        assert_eq!(map.query("lab").as_deref(), Some("peer in 192.0.2.7/32 or peer in 10.1.2.0/24"));
        assert_eq!(map.query("none"), None);
        let lost = map.overlaps("all");
        assert_eq!(lost.iter().map(|one| (one.site.as_str(), one.wins)).collect::<Vec<_>>(), [("lab", false)]);
        assert!(map.overlaps("lab").iter().all(|one| one.wins && !one.is_equal()));
    }

    #[test]
    fn of_two_equal_ranges_the_first_name_has_it() {
        let sites = [site("b", &["10.0.0.0/24"]), site("a", &["10.0.0.0-10.0.0.255"])];
        let map = Map::of(&sites);
        assert_eq!(map.site_of("10.0.0.1".parse().expect("an address")), Some("a"));
        assert!(map.overlaps("b").iter().all(|one| one.is_equal() && !one.wins));
    }

    #[test]
    fn more_ranges_than_a_query_can_name_have_none() {
        let ranges: Vec<String> = (0..200_u32).map(|at| format!("10.{at}.0.1-10.{at}.0.2")).collect();
        let sites = [site("many", &ranges.iter().map(String::as_str).collect::<Vec<_>>())];
        assert_eq!(Map::of(&sites).query("many"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_query_finds_whom_the_map_gives_the_site(
            ranges in prop::collection::vec((0_u8..3, 0_u8..=255, 0_u8..=255), 1..7),
            address in 0_u8..=255,
        ) {
            let sites: Vec<Site> = ["a", "b", "c"].into_iter().enumerate().map(|(number, name)| {
                let own = ranges.iter().filter(|(owner, ..)| usize::from(*owner) == number);
                let texts: Vec<String> =
                    own.map(|(_, one, other)| format!("10.0.0.{}-10.0.0.{}", one.min(other), one.max(other))).collect();
                site(name, &texts.iter().map(String::as_str).collect::<Vec<_>>())
            }).collect();
            let map = Map::of(&sites);
            let peer = format!("10.0.0.{address}");
            let owner = map.site_of(peer.parse().expect("an address"));
            for name in ["a", "b", "c"] {
                let Some(query) = map.query(name) else { prop_assert_ne!(owner, Some(name)); continue };
                let query: Query = query.parse().expect("a query");
                let found = query.matches(&heard_from(&peer), UnixTime::from_seconds(0)).expect("an answer");
                prop_assert_eq!(found, owner == Some(name), "{} {}", name, query);
            }
        }
    }
}
