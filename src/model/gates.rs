//! When and where a deployment may run: what its jobs are asked at each contact, beside what they are by themselves.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::windows::Windows;
use super::{AddressRange, InvalidRange};

/// Why a list of ranges was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidRanges {
    /// There is none.
    #[error("there is no range of addresses: expected such as \"10.2.0.0/16\" or \"!192.168.2.3, 192.168.2.0/24\"")]
    Empty,
    /// One is none.
    #[error(transparent)]
    Range(#[from] InvalidRange),
    /// More than anybody reads.
    #[error("{0} ranges of addresses are too many: at most {most}", most = Ranges::MOST)]
    TooMany(usize),
}

/// Ranges of addresses, in their order; at least one. The first that holds an address decides: it is let through, or not if
/// the range has an exclamation mark. What none of them holds is not. IPv4 and IPv6 have nothing in common: a range of one
/// holds no address of the other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ranges(Vec<(bool, AddressRange)>);

impl Ranges {
    /// Ranges that one list holds.
    pub const MOST: usize = 200;

    /// Is that address let through? An IPv4 address may come as IPv6 writes it.
    pub fn admit(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let holds = |range: &AddressRange| range.is_ipv4() == address.is_ipv4() && range.contains(address);
        self.0.iter().find(|(_, range)| holds(range)).is_some_and(|(is_closed, _)| !is_closed)
    }

    /// Does every one of them only keep away? Then nobody is let through.
    pub fn admit_nobody(&self) -> bool {
        self.0.iter().all(|(is_closed, _)| *is_closed)
    }
}

impl FromStr for Ranges {
    type Err = InvalidRanges;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let items = || text.split([',', ';', '\n']).map(str::trim).filter(|item| !item.is_empty());
        let read = |item: &str| -> Result<_, InvalidRange> {
            match item.strip_prefix('!') {
                Some(range) => Ok((true, range.parse()?)),
                None => Ok((false, item.parse()?)),
            }
        };
        match items().count() {
            0 => Err(InvalidRanges::Empty),
            several if several > Self::MOST => Err(InvalidRanges::TooMany(several)),
            _ => Ok(Self(items().map(read).collect::<Result<_, _>>()?)),
        }
    }
}

/// As it is read.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (is_closed, range)) in self.0.iter().enumerate() {
            let (comma, mark) = (if at == 0 { "" } else { ", " }, if *is_closed { "!" } else { "" });
            write!(f, "{comma}{mark}{range}")?;
        }
        Ok(())
    }
}

/// Windows and the zone that their times are in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Timetable {
    /// The windows.
    pub windows: Windows,
    /// The zone, by name.
    pub zone: String,
}

/// When and where a deployment may run; at any time and anywhere by default. A gate holds back what was not offered yet: what
/// an agent was told of cannot be recalled.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Gates {
    /// When.
    pub timetable: Option<Timetable>,
    /// Where: the addresses from which computers come.
    pub ranges: Option<Ranges>,
}

impl Gates {
    /// Is there nothing that holds back?
    pub fn is_open_to_all(&self) -> bool {
        self.timetable.is_none() && self.ranges.is_none()
    }

    /// The windows as they are read.
    pub fn windows_text(&self) -> Option<String> {
        self.timetable.as_ref().map(|timetable| timetable.windows.to_string())
    }

    /// The zone of the windows, by name.
    pub fn zone(&self) -> Option<&str> {
        self.timetable.as_ref().map(|timetable| timetable.zone.as_str())
    }

    /// The ranges as they are read.
    pub fn ranges_text(&self) -> Option<String> {
        self.ranges.as_ref().map(Ranges::to_string)
    }

    /// What hardly anybody means: a list that only keeps away lets nobody through.
    pub fn warnings(&self) -> Vec<&'static str> {
        let never = self.timetable.as_ref().is_some_and(|timetable| timetable.windows.is_never_open());
        let nobody = self.ranges.as_ref().is_some_and(Ranges::admit_nobody);
        let said = [
            (never, "every window has an exclamation mark, so it is never open: add one without, such as daily"),
            (
                nobody,
                "every range has an exclamation mark, so nobody gets it: add one without, such as 0.0.0.0/0, ::/0",
            ),
        ];
        said.into_iter().filter(|(is_so, _)| *is_so).map(|(_, sentence)| sentence).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFICE: &str = "10.2.0.0/16,!192.168.2.3/32,192.168.2.0/24,CAFF:EECA:FFEE:0000::/64";

    #[test]
    fn the_first_range_that_holds_the_address_decides() {
        for (list, address, expected) in [
            (OFFICE, "10.2.200.1", true),
            (OFFICE, "::ffff:10.2.200.1", true),
            (OFFICE, "192.168.2.3", false),
            (OFFICE, "192.168.2.4", true),
            (OFFICE, "caff:eeca:ffee::17", true),
            (OFFICE, "10.3.0.1", false),
            (OFFICE, "2001:db8::1", false),
            // The order decides: what was let through is not kept away any more.
            ("192.168.2.0/24,!192.168.2.3/32", "192.168.2.3", true),
            (" 10.2.0.0/16 , !10.2.1.0/24", "10.2.1.5", true),
            ("!10.0.0.0/8", "192.168.1.1", false),
            // The families have nothing in common.
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "10.0.0.1", false),
            ("::/0", "2001:db8::1", true),
            ("10.2.0.7", "10.2.0.7", true),
            ("10.2.0.7", "10.2.0.8", false),
            ("fd00::7", "fd00::7", true),
            ("fd00::7", "fd00::8", false),
            ("10.2.0.10-10.2.0.20", "10.2.0.15", true),
        ] {
            let ranges: Ranges = list.parse().expect(list);
            assert_eq!(ranges.admit(address.parse().expect("an address")), expected, "{list} {address}");
        }
    }

    #[test]
    fn ranges_read_back_and_wrong_ones_are_named() {
        let ranges: Ranges = " 10.2.0.0/16\n! 10.2.1.0/24,, fd00::/8".parse().expect("ranges");
        assert_eq!(ranges.to_string(), "10.2.0.0/16, !10.2.1.0/24, fd00::/8");
        assert_eq!(ranges.to_string().parse(), Ok(ranges));
        assert_eq!(" ,".parse::<Ranges>(), Err(InvalidRanges::Empty));
        let wrong = "10.2.0.0/16, 10.2.0.1/24".parse::<Ranges>().expect_err("a host");
        assert!(wrong.to_string().starts_with("\"10.2.0.1/24\" is no range"), "{wrong}");
        assert!("!!10.0.0.0/8".parse::<Ranges>().is_err());
        assert_eq!("::1,".repeat(201).parse::<Ranges>(), Err(InvalidRanges::TooMany(201)));
    }

    #[test]
    fn lists_that_only_keep_away_are_warned_of() {
        let zone = "UTC".to_owned();
        let timetable = |text: &str| Some(Timetable { windows: text.parse().expect(text), zone: zone.clone() });
        let ranges = |text: &str| Some(text.parse().expect(text));
        let warned = |gates: Gates| gates.warnings().len();
        assert_eq!(warned(Gates::default()), 0);
        assert_eq!(warned(Gates { timetable: timetable("!sat"), ranges: ranges("!10.0.0.0/8") }), 2);
        assert_eq!(warned(Gates { timetable: timetable("!sat, daily"), ranges: ranges("!10.0.0.0/8, ::/0") }), 0);
    }
}
