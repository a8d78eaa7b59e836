//! NETWORKS, and the address and the gateway of HARDWARE: one element an address, one for a card without any.
//!
//! /proc does not say which card an IPv4 address belongs to, so the kernel is asked (rtnetlink(7), `RTM_GETADDR`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use super::{Leaves, Machine, Section};

const CARDS: &str = "/sys/class/net";

/// An address of this computer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Address {
    /// The card, by the kernel's number.
    pub(super) card: u32,
    /// The address.
    pub(super) ip: IpAddr,
    /// Bits of the network.
    pub(super) prefix: u8,
}

impl Address {
    fn mask(self) -> IpAddr {
        match self.ip {
            IpAddr::V4(_) => {
                let bits = u32::MAX.checked_shl(32_u32.saturating_sub(self.prefix.into())).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(bits))
            }
            IpAddr::V6(_) => {
                let bits = u128::MAX.checked_shl(128_u32.saturating_sub(self.prefix.into())).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(bits))
            }
        }
    }

    fn subnet(self) -> IpAddr {
        match (self.ip, self.mask()) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => IpAddr::V4(address & mask),
            (IpAddr::V6(address), IpAddr::V6(mask)) => IpAddr::V6(address & mask),
            (address, _) => address,
        }
    }
}

pub(super) fn sections(machine: &Machine<'_>) -> Vec<Section> {
    let cards = machine.names(CARDS).into_iter().filter(|card| card != "lo");
    cards.flat_map(|card| card_sections(machine, &card)).collect()
}

fn card_sections(machine: &Machine<'_>, card: &str) -> Vec<Section> {
    let said = |name: &str| machine.line(&format!("{CARDS}/{card}/{name}"));
    let number = |name: &str| machine.number(&format!("{CARDS}/{card}/{name}"));
    let hardware = machine.exists(&format!("{CARDS}/{card}/device"));
    let wireless = machine.exists(&format!("{CARDS}/{card}/wireless"));
    let kind = match said("type").as_str() {
        "1" if wireless => "wifi",
        "1" => "ethernet",
        "24" => "ieee1394",
        "32" => "infiniband",
        "512" => "ppp",
        "768" | "776" | "778" => "tunnel",
        "65534" => "none",
        _ => "",
    };
    let up = matches!(said("operstate").as_str(), "up" | "unknown");
    let duplex = match said("duplex").as_str() {
        "full" => "Full",
        "half" => "Half",
        _ => "",
    };
    let base = || {
        Leaves::of("NETWORKS")
            .with("DESCRIPTION", card)
            .with("DRIVER", machine.link_name(&format!("{CARDS}/{card}/device/driver")))
            .with("DUPLEX", duplex)
            .with("MACADDR", Some(said("address")).filter(|mac| mac != "00:00:00:00:00:00").unwrap_or_default())
            .number("MTU", number("mtu"))
            // A card without a cable says -1.
            .with("SPEED", number("speed").map(|megabits| format!("{megabits} Mbps")).unwrap_or_default())
            .with("STATUS", if up { "Up" } else { "Down" })
            .with("TYPE", kind)
            .with("VIRTUALDEV", if hardware { "0" } else { "1" })
    };
    let index = number("ifindex").and_then(|index| u32::try_from(index).ok());
    let addresses: Vec<_> = machine.addresses.iter().filter(|address| Some(address.card) == index).copied().collect();
    if addresses.is_empty() {
        return vec![base().done()];
    }
    let gateways: Vec<IpAddr> =
        routes(machine).into_iter().filter(|route| route.card == card).map(|route| route.gateway).collect();
    let section = |address: Address| {
        let gateway = gateways.iter().find(|gateway| gateway.is_ipv4() == address.ip.is_ipv4());
        base()
            .with("IPADDRESS", address.ip.to_string())
            .with("IPGATEWAY", gateway.map(ToString::to_string).unwrap_or_default())
            .with("IPMASK", address.mask().to_string())
            .with("IPSUBNET", address.subnet().to_string())
            .done()
    };
    addresses.into_iter().map(section).collect()
}

/// A default route.
struct Route {
    card: String,
    gateway: IpAddr,
    metric: u32,
}

/// The default routes, the preferred one first; IPv4 before IPv6.
fn routes(machine: &Machine<'_>) -> Vec<Route> {
    let four = machine.text("/proc/net/route");
    let mut four: Vec<Route> = four
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // Card, destination, gateway, flags, counters …, metric, mask; hexadecimal in this machine's byte order.
            let [card, "00000000", gateway, _, _, _, metric, "00000000", ..] = fields[..] else { return None };
            let gateway = u32::from_str_radix(gateway, 16).ok()?;
            let gateway = Ipv4Addr::from(gateway.to_ne_bytes());
            (!gateway.is_unspecified()).then_some(())?;
            Some(Route { card: card.to_owned(), gateway: gateway.into(), metric: metric.parse().ok()? })
        })
        .collect();
    let six = machine.text("/proc/net/ipv6_route");
    let mut six: Vec<Route> = six
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // Destination, its length, source, its length, gateway, metric, counters …, flags, card.
            let [destination, "00", _, _, gateway, metric, .., card] = fields[..] else { return None };
            u128::from_str_radix(destination, 16).ok().filter(|bits| *bits == 0)?;
            let gateway = Ipv6Addr::from_bits(u128::from_str_radix(gateway, 16).ok()?);
            (!gateway.is_unspecified()).then_some(())?;
            let metric = u32::from_str_radix(metric, 16).ok()?;
            Some(Route { card: card.to_owned(), gateway: gateway.into(), metric })
        })
        .collect();
    four.sort_by_key(|route| route.metric);
    six.sort_by_key(|route| route.metric);
    four.append(&mut six);
    four
}

/// The gateway to everywhere else.
pub(super) fn default_gateway(machine: &Machine<'_>) -> Option<IpAddr> {
    routes(machine).first().map(|route| route.gateway)
}

/// The address by which others reach this computer: that of the card towards the gateway, else the first that is not
/// only for this computer or its cable.
pub(super) fn main_address(machine: &Machine<'_>) -> Option<IpAddr> {
    let index = |card: &str| machine.number(&format!("{CARDS}/{card}/ifindex"));
    let towards = routes(machine).first().and_then(|route| index(&route.card));
    let global = |address: &&Address| match address.ip {
        IpAddr::V4(four) => !four.is_loopback() && !four.is_link_local(),
        IpAddr::V6(six) => !six.is_loopback() && !six.is_unicast_link_local(),
    };
    let of_gateway = |address: &&Address| Some(u64::from(address.card)) == towards;
    let four = |address: &&Address| address.ip.is_ipv4();
    let candidates = || machine.addresses.iter().filter(global);
    let found = candidates().filter(of_gateway).find(four).or_else(|| candidates().find(four));
    found.or_else(|| candidates().find(of_gateway)).or_else(|| candidates().next()).map(|address| address.ip)
}

const GET_ADDRESSES: u16 = 22;
const NEW_ADDRESS: u16 = 20;
const DONE: u16 = 3;
const ERROR: u16 = 2;
const REQUEST_DUMP: u16 = 0x301;
const ATTRIBUTE_ADDRESS: u16 = 1;
const ATTRIBUTE_LOCAL: u16 = 2;

/// Asks the kernel for every address; none if it does not answer.
pub(super) fn addresses() -> Vec<Address> {
    let mut found = ask().unwrap_or_default();
    found.retain(|address| !address.ip.is_loopback());
    found
}

fn ask() -> rustix::io::Result<Vec<Address>> {
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_secs(2)))?;
    // Length, type, flags, sequence, port; then "any family" and seven bytes of an address message.
    let mut request = Vec::with_capacity(24);
    request.extend(24_u32.to_ne_bytes());
    request.extend(GET_ADDRESSES.to_ne_bytes());
    request.extend(REQUEST_DUMP.to_ne_bytes());
    request.extend([0; 16]);
    rustix::net::send(&socket, &request, SendFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    // 64 KiB hold about a thousand addresses.
    for _ in 0..64 {
        let (length, _) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if parse(&buffer[..length], &mut found) {
            break;
        }
    }
    Ok(found)
}

/// Reads one datagram; says whether it was the last.
fn parse(mut bytes: &[u8], found: &mut Vec<Address>) -> bool {
    while let Some((length, kind)) = header(bytes) {
        match kind {
            DONE | ERROR => return true,
            NEW_ADDRESS => found.extend(parse_address(&bytes[16..length])),
            _ => {}
        }
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    // Nothing at all means that nothing more will come.
    found.is_empty()
}

/// Length and type of the message at the beginning, if all of it is there.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    (length >= 16 && length <= bytes.len()).then_some((length, kind))
}

/// Family, prefix, flags, scope, card; then attributes: length, type, value, filled up to four bytes.
fn parse_address(message: &[u8]) -> Option<Address> {
    let [_, prefix, _, _, card @ ..] = *message.first_chunk::<8>()?;
    let mut attributes = &message[8..];
    let (mut address, mut local) = (None, None);
    while let Some(head) = attributes.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let Some(value) = attributes.get(4..length) else { break };
        match u16::from_ne_bytes([head[2], head[3]]) {
            ATTRIBUTE_ADDRESS => address = to_address(value),
            ATTRIBUTE_LOCAL => local = to_address(value),
            _ => {}
        }
        attributes = &attributes[length.next_multiple_of(4).min(attributes.len())..];
    }
    // On a point-to-point line the former is the other end's.
    local.or(address).map(|address| Address { card: u32::from_ne_bytes(card), ip: address, prefix })
}

fn to_address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => value.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        16 => value.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kernel_answers_with_our_own_loopback() {
        let found = ask().expect("an answer");
        assert!(found.iter().any(|address| address.ip.is_loopback()), "{found:?}");
    }

    #[test]
    fn masks_and_subnets_of_every_length() {
        for (address, prefix, mask, subnet) in [
            ("192.0.2.77", 24, "255.255.255.0", "192.0.2.0"),
            ("192.0.2.77", 0, "0.0.0.0", "0.0.0.0"),
            ("192.0.2.77", 32, "255.255.255.255", "192.0.2.77"),
            ("192.0.2.77", 200, "255.255.255.255", "192.0.2.77"),
            ("fe80::1:2", 64, "ffff:ffff:ffff:ffff::", "fe80::"),
            ("fe80::1:2", 128, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::1:2"),
        ] {
            let address = Address { card: 1, ip: address.parse().expect("an address"), prefix };
            assert_eq!((address.mask().to_string(), address.subnet().to_string()), (mask.into(), subnet.into()));
        }
    }

    proptest! {
        #[test]
        fn no_datagram_makes_the_reader_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), length: u8) {
            parse(&bytes, &mut Vec::new());
            if bytes.len() >= 16 {
                bytes[..4].copy_from_slice(&u32::from(length).to_ne_bytes());
                bytes[4..6].copy_from_slice(&NEW_ADDRESS.to_ne_bytes());
                parse(&bytes, &mut Vec::new());
            }
        }
    }
}
