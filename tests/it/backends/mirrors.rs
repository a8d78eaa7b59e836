//! Mirrors and sites on both databases.

use std::net::IpAddr;
use std::time::Duration;

use dripfeed::model::{Digest, DigestAlgorithm, PackageId};
use dripfeed::protocol::{MirrorReport, PackageFilter};
use dripfeed::store::mirrors::{self, Lost, Mirror, Reach, Site};

use super::database::{Database, read, write};
use super::functions::{NOW, later};

super::for_each_backend![mirrors_are_kept_with_what_they_hold, the_narrowest_range_says_the_site];

fn mirror(name: &str) -> Mirror {
    Mirror {
        name: name.to_owned(),
        location: format!("{name}.example/$IP$").parse().expect("a location"),
        packages: "fire*,7".parse().expect("a choice"),
        silent_after: Duration::from_mins(90),
        token_hash: Digest::from_bytes(DigestAlgorithm::Sha256, &[name.as_bytes()[0]; 32]),
        created_at: NOW,
        reported_at: None,
        reported_from: None,
        generation: 0,
        bytes: 0,
        problem: String::new(),
        reach: Reach::default(),
    }
}

fn id(number: u32) -> PackageId {
    PackageId::new(number).expect("an id")
}

fn mirrors_are_kept_with_what_they_hold(database: &Database) {
    let store = database.open();
    for (name, new) in [("b", true), ("a", true), ("a", false)] {
        let mirror = Mirror { packages: PackageFilter::default(), ..mirror(name) };
        assert_eq!(write(&store, move |conn| mirrors::create(conn, &mirror)), new, "{name}");
    }
    let second = mirror("c");
    let kept = second.clone();
    assert!(write(&store, move |conn| mirrors::create(conn, &kept)));
    assert_eq!(read(&store, |conn| mirrors::find(conn, "c")), Some(second.clone()));
    let names: Vec<String> = read(&store, mirrors::list).into_iter().map(|mirror| mirror.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let hash = Digest::from_bytes(DigestAlgorithm::Sha256, &[9; 32]).expect("32 bytes");
    assert!(read(&store, move |conn| mirrors::find_by_token(conn, &hash)).is_none());
    assert!(write(&store, move |conn| mirrors::set_token(conn, "c", &hash)));
    assert!(!write(&store, move |conn| mirrors::set_token(conn, "nobody", &hash)));
    assert_eq!(read(&store, move |conn| mirrors::find_by_token(conn, &hash)).expect("it is c").name, "c");
    let from: IpAddr = "::ffff:10.1.2.3".parse().expect("an address");
    let said = MirrorReport {
        generation: 8,
        bytes: 1 << 40,
        problem: "a\0b".to_owned(),
        packages: (1..=20_000).map(id).collect(),
    };
    let (first, second) = (said.clone(), MirrorReport { packages: vec![id(3), id(30_000)], ..said.clone() });
    write(&store, move |conn| mirrors::report(conn, "c", &first, from, later(5)));
    assert_eq!(read(&store, |conn| mirrors::held(conn, "c")), said.packages);
    write(&store, move |conn| mirrors::report(conn, "c", &second, from, later(6)));
    assert_eq!(read(&store, |conn| mirrors::held(conn, "c")), [id(3), id(30_000)]);
    write(&store, move |conn| mirrors::report(conn, "nobody", &said, from, later(6)));
    assert!(read(&store, |conn| mirrors::held(conn, "nobody")).is_empty());
    let found = read(&store, |conn| mirrors::find(conn, "c")).expect("it is there");
    assert_eq!((found.reported_at, found.generation, found.bytes), (Some(later(6)), 8, 1 << 40));
    assert_eq!(found.reported_from, Some("10.1.2.3".parse().expect("an address")));
    assert_eq!(found.problem, "a\u{fffd}b");
    assert!(found.is_heard(later(6 + 5400)) && !found.is_heard(later(7 + 5400)));
    for reach in [
        Reach { reached_at: Some(later(7)), lost: None },
        Reach { reached_at: Some(later(7)), lost: Some(Lost { at: later(8), why: "refused".to_owned() }) },
        Reach { reached_at: None, lost: Some(Lost { at: later(9), why: "refused".to_owned() }) },
    ] {
        let kept = reach.clone();
        write(&store, move |conn| mirrors::set_reach(conn, "c", &kept));
        let found = read(&store, |conn| mirrors::find(conn, "c")).expect("it is there");
        assert_eq!(found.reach, reach);
        assert_eq!(found.is_offered(later(6)), reach.reached_at.is_none() || reach.lost.is_none(), "{reach:?}");
    }
    assert_eq!(write(&store, mirrors::forget_reach), 1);
    assert_eq!(read(&store, |conn| mirrors::find(conn, "c")).expect("it is there").reach, Reach::default());
    assert_eq!(read(&store, |conn| mirrors::sample(conn, "c")), None, "none of its packages is available here");
    assert!(write(&store, |conn| mirrors::remove(conn, "c")));
    assert!(!write(&store, |conn| mirrors::remove(conn, "c")));
    assert!(read(&store, |conn| mirrors::held(conn, "c")).is_empty());
}

fn the_narrowest_range_says_the_site(database: &Database) {
    let store = database.open();
    for name in ["a", "b"] {
        let mirror = mirror(name);
        write(&store, move |conn| mirrors::create(conn, &mirror));
        let said =
            MirrorReport { packages: vec![id(1), id(if name == "a" { 2 } else { 3 })], ..MirrorReport::default() };
        let from: IpAddr = "10.0.0.1".parse().expect("an address");
        write(&store, move |conn| mirrors::report(conn, name, &said, from, NOW));
    }
    let site = |name: &str, ranges: &[&str], near: &[&str]| Site {
        name: name.to_owned(),
        ranges: ranges.iter().map(|range| range.parse().expect("a range")).collect(),
        mirrors: near.iter().map(ToString::to_string).collect(),
        created_at: NOW,
    };
    let wide = site("wide", &["10.0.0.0/8", "fd00::/16"], &["b", "a"]);
    let narrow = site("narrow", &["10.1.0.0/16"], &["a"]);
    for (site, new) in [(&wide, true), (&narrow, true), (&narrow, false)] {
        let site = site.clone();
        assert_eq!(write(&store, move |conn| mirrors::create_site(conn, &site)), new);
    }
    assert_eq!(read(&store, mirrors::list_sites), [narrow, wide]);
    let near = |address: &str| {
        let address: IpAddr = address.parse().expect("an address");
        let nearby = read(&store, move |conn| mirrors::nearby(conn, address, &[id(1), id(2), id(9)]));
        let mirrors: Vec<String> = nearby
            .mirrors
            .into_iter()
            .map(|(mirror, holds)| {
                format!("{} {:?}", mirror.name, holds.iter().map(|id| id.number()).collect::<Vec<_>>())
            })
            .collect();
        format!("{}: {}", nearby.site.unwrap_or_default(), mirrors.join(", "))
    };
    assert_eq!(near("10.1.2.3"), "narrow: a [1, 2]");
    assert_eq!(near("10.2.0.0"), "wide: b [1], a [1, 2]");
    assert_eq!(near("fd00::9"), "wide: b [1], a [1, 2]");
    assert_eq!(near("9.255.255.255"), ": ");
    assert_eq!(near("::1"), ": ");
    assert!(write(&store, |conn| mirrors::remove(conn, "a")));
    assert_eq!(near("10.1.2.3"), "narrow: ");
    assert_eq!(near("10.2.0.0"), "wide: b [1]");
    assert!(write(&store, |conn| mirrors::remove_site(conn, "narrow")));
    assert!(!write(&store, |conn| mirrors::remove_site(conn, "narrow")));
    assert_eq!(near("10.1.2.3"), "wide: b [1]");
}
