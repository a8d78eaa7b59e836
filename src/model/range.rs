//! Ranges of addresses: what a site is made of.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Why a range was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "\"{text}\" is no range of addresses: {problem}; expected 10.1.0.0/16, 10.1.2.10-10.1.2.99, an address, or the same of IPv6"
)]
pub struct InvalidRange {
    text: String,
    problem: &'static str,
}

/// Addresses from one to another, both included. IPv4 addresses lie among those of IPv6 where RFC 4291 maps them.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct AddressRange {
    first: u128,
    last: u128,
    text: String,
}

impl AddressRange {
    /// The number of an address, as [`AddressRange::first`] and [`AddressRange::last`] count.
    pub fn number(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
            IpAddr::V6(address) => u128::from(address),
        }
    }

    /// The lowest address.
    pub fn first(&self) -> u128 {
        self.first
    }

    /// The highest.
    pub fn last(&self) -> u128 {
        self.last
    }

    /// Does it hold that address?
    pub fn contains(&self, address: IpAddr) -> bool {
        (self.first..=self.last).contains(&Self::number(address))
    }

    /// Are they addresses of IPv4?
    pub fn is_ipv4(&self) -> bool {
        self.first >= MAPPED && self.last <= MAPPED + u128::from(u32::MAX)
    }

    /// How many addresses it has besides the first: the narrower of two ranges has fewer.
    pub fn width(&self) -> u128 {
        self.last - self.first
    }

    /// Is there an address in both?
    pub fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The same addresses as networks, the fewest that there can be, in their order. IPv4 is written as such.
    ///
    /// ```
    /// let range: dripfeed::model::AddressRange = "10.0.0.1-10.0.0.4".parse()?;
    /// assert_eq!(range.networks(), ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32"]);
    /// # Ok::<(), dripfeed::model::InvalidRange>(())
    /// ```
    pub fn networks(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut first = self.first;
        loop {
            // The largest network that begins here and does not go on beyond the end.
            let free = (0..=first.trailing_zeros()).rev().find(|free| ends(*free) <= self.last - first).unwrap_or(0);
            found.extend(written(first, free));
            match first.checked_add(ends(free)).and_then(|last| last.checked_add(1)) {
                Some(next) if next <= self.last => first = next,
                _ => return found,
            }
        }
    }
}

/// Where IPv4 lies within IPv6.
const MAPPED: u128 = 0xffff_0000_0000;

/// The last address of a network with so many free bits, counted from its first.
fn ends(free: u32) -> u128 {
    1_u128.checked_shl(free).map_or(u128::MAX, |count| count - 1)
}

/// A network as text: two of them where IPv4 is a part of it.
fn written(first: u128, free: u32) -> impl Iterator<Item = String> {
    let address = Ipv6Addr::from(first);
    let inside = address.to_ipv4_mapped().filter(|_| free <= 32);
    let around = inside.is_none() && (first..=first + ends(free)).contains(&MAPPED);
    let own = match inside {
        Some(address) => format!("{address}/{}", 32 - free),
        None => format!("{address}/{}", 128 - free),
    };
    [Some(own), around.then(|| "0.0.0.0/0".to_owned())].into_iter().flatten()
}

impl FromStr for AddressRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let refuse = |problem| InvalidRange { text: text.chars().take(80).collect(), problem };
        let address =
            |text: &str| text.trim().parse::<IpAddr>().map_err(|_| refuse("there is something that is no address"));
        let (first, last) = if let Some((base, bits)) = text.split_once('/') {
            let base = address(base)?;
            let width = if base.is_ipv4() { 32_u32 } else { 128 };
            let bits: u32 = bits.parse().map_err(|_| refuse("what follows the slash is no number of bits"))?;
            if bits > width {
                return Err(refuse("there are more bits than an address has"));
            }
            let free = width - bits;
            let mask = if free == 128 { u128::MAX } else { (1_u128 << free) - 1 };
            let first = Self::number(base);
            if first & mask != 0 {
                return Err(refuse("the address before the slash is not the first of its network"));
            }
            (first, first | mask)
        } else if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (address(first)?, address(last)?);
            if first.is_ipv4() != last.is_ipv4() {
                return Err(refuse("it goes from one kind of address to the other"));
            }
            (Self::number(first), Self::number(last))
        } else {
            let one = Self::number(address(text)?);
            (one, one)
        };
        if first > last {
            return Err(refuse("it ends before it begins"));
        }
        Ok(Self { first, last, text: text.to_owned() })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_ends_and_nothing_beyond() {
        for (range, inside, outside) in [
            ("10.1.0.0/16", ["10.1.0.0", "10.1.255.255"], ["10.0.255.255", "10.2.0.0"]),
            ("10.1.2.10 - 10.1.2.99", ["10.1.2.10", "10.1.2.99"], ["10.1.2.9", "10.1.2.100"]),
            ("10.1.2.3", ["10.1.2.3", "::ffff:10.1.2.3"], ["10.1.2.4", "::1"]),
            ("fd00:1::/64", ["fd00:1::", "fd00:1::ffff:ffff:ffff:ffff"], ["fd00:1:0:1::", "10.0.0.1"]),
            ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::1", "fd00::"]),
            ("::/0", ["10.0.0.1", "ffff::"], ["", ""]),
        ] {
            let parsed: AddressRange = range.parse().expect(range);
            for address in inside {
                assert!(parsed.contains(address.parse().expect("an address")), "{range} {address}");
            }
            for address in outside.iter().filter(|address| !address.is_empty()) {
                assert!(!parsed.contains(address.parse().expect("an address")), "{range} {address}");
            }
        }
    }

    #[test]
    fn networks_are_the_same_addresses() {
        for (range, networks) in [
            ("10.1.0.0/16", &["10.1.0.0/16"][..]),
            ("10.1.2.3", &["10.1.2.3/32"]),
            ("10.1.2.0-10.1.3.1", &["10.1.2.0/24", "10.1.3.0/31"]),
            ("0.0.0.0/0", &["0.0.0.0/0"]),
            ("fd00:1::/64", &["fd00:1::/64"]),
            ("::1-::3", &["::1/128", "::2/127"]),
            ("::/0", &["::/0", "0.0.0.0/0"]),
            ("::ffff:10.0.0.0/104", &["10.0.0.0/8"]),
        ] {
            assert_eq!(range.parse::<AddressRange>().expect(range).networks(), networks, "{range}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for wrong in
            ["", "10.1.0.1/16", "10.1.0.0/33", "10.1.0.0/x", "10.1", "10.1.0.9-10.1.0.1", "10.0.0.1-::1", "a-b", "/"]
        {
            assert!(wrong.parse::<AddressRange>().is_err(), "{wrong:?} was taken");
        }
    }
}
