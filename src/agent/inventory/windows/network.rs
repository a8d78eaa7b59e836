//! NETWORKS, and the address and the gateway of HARDWARE.
#![expect(unsafe_code, reason = "cards are told as a list of pointers, and there is no safe crate of its size")]

use std::ffi::c_void;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_BUFFER_OVERFLOW, ERROR_SUCCESS};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GAA_FLAG_INCLUDE_GATEWAYS, GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_DNS_SERVER, GAA_FLAG_SKIP_MULTICAST,
    GetAdaptersAddresses, IP_ADAPTER_ADDRESSES_LH, IP_ADAPTER_GATEWAY_ADDRESS_LH, IP_ADAPTER_UNICAST_ADDRESS_LH,
};
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, AF_UNSPEC, SOCKADDR_IN, SOCKADDR_IN6, SOCKET_ADDRESS,
};

use super::{Leaves, Section};

/// Cards, addresses of one, gateways of one.
const MANY: usize = 1024;

/// A network card.
#[derive(Clone, Debug, Default)]
pub(super) struct Card {
    description: String,
    mac: String,
    mtu: u32,
    speed: Option<u64>,
    up: bool,
    kind: u32,
    /// With the bits of the network.
    addresses: Vec<(IpAddr, u8)>,
    gateways: Vec<IpAddr>,
}

/// Every card but the loopback; none if the system does not tell.
pub(super) fn cards() -> Vec<Card> {
    let flags = GAA_FLAG_SKIP_ANYCAST | GAA_FLAG_SKIP_MULTICAST | GAA_FLAG_SKIP_DNS_SERVER | GAA_FLAG_INCLUDE_GATEWAYS;
    let mut length = 32 << 10;
    // The list may grow between two questions.
    for _ in 0..4 {
        // In words, so that the structures in it are aligned.
        let mut buffer = vec![0_u64; (length as usize).div_ceil(8)];
        let first = buffer.as_mut_ptr().cast::<IP_ADAPTER_ADDRESSES_LH>();
        // SAFETY: the buffer has at least the length that is given.
        let answer = unsafe { GetAdaptersAddresses(u32::from(AF_UNSPEC), flags, ptr::null(), first, &raw mut length) };
        match answer {
            ERROR_SUCCESS => {
                // SAFETY: the call has built a list in the buffer, which lives until the cards have been copied.
                return unsafe { copy(first) };
            }
            ERROR_BUFFER_OVERFLOW if length < 8 << 20 => {}
            _ => break,
        }
    }
    Vec::new()
}

/// # Safety
/// `card` is null or the beginning of a list that `GetAdaptersAddresses` made.
unsafe fn copy(mut card: *const IP_ADAPTER_ADDRESSES_LH) -> Vec<Card> {
    const LOOPBACK: u32 = 24;
    let mut cards = Vec::new();
    while !card.is_null() && cards.len() < MANY {
        // SAFETY: by the contract above; each structure names the next or none, and whatever they point to is in the buffer.
        let (now, description, addresses, gateways) = unsafe {
            let now = &*card;
            (now, text(now.Description), unicast(now.FirstUnicastAddress), gateway_list(now.FirstGatewayAddress))
        };
        card = now.Next;
        if now.IfType == LOOPBACK {
            continue;
        }
        let mac = &now.PhysicalAddress[..(now.PhysicalAddressLength as usize).min(now.PhysicalAddress.len())];
        cards.push(Card {
            description,
            mac: mac.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"),
            mtu: now.Mtu,
            // All bits: nobody knows.
            speed: Some(now.TransmitLinkSpeed).filter(|speed| !matches!(*speed, 0 | u64::MAX)),
            up: now.OperStatus == 1,
            kind: now.IfType,
            addresses,
            gateways,
        });
    }
    cards
}

/// # Safety
/// `text` is null or ends in a NUL.
unsafe fn text(text: *const u16) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by the contract above nothing behind the NUL is read.
    unsafe {
        let length = (0..MANY).take_while(|at| *text.add(*at) != 0).count();
        String::from_utf16_lossy(std::slice::from_raw_parts(text, length))
    }
}

/// # Safety
/// `address` is null or the beginning of such a list.
unsafe fn unicast(mut address: *const IP_ADAPTER_UNICAST_ADDRESS_LH) -> Vec<(IpAddr, u8)> {
    let mut addresses = Vec::new();
    while !address.is_null() && addresses.len() < MANY {
        // SAFETY: by the contract above; each structure names the next or none.
        let now = unsafe { &*address };
        // SAFETY: the address is part of the same buffer.
        addresses.extend(unsafe { ip(&now.Address) }.map(|ip| (ip, now.OnLinkPrefixLength)));
        address = now.Next;
    }
    addresses
}

/// # Safety
/// `gateway` is null or the beginning of such a list.
unsafe fn gateway_list(mut gateway: *const IP_ADAPTER_GATEWAY_ADDRESS_LH) -> Vec<IpAddr> {
    let mut gateways = Vec::new();
    while !gateway.is_null() && gateways.len() < MANY {
        // SAFETY: by the contract above; each structure names the next or none.
        let now = unsafe { &*gateway };
        // SAFETY: the address is part of the same buffer.
        gateways.extend(unsafe { ip(&now.Address) });
        gateway = now.Next;
    }
    gateways
}

/// # Safety
/// What the address points to is as long as it says.
unsafe fn ip(address: &SOCKET_ADDRESS) -> Option<IpAddr> {
    let length = usize::try_from(address.iSockaddrLength).ok()?;
    let at = address.lpSockaddr.cast::<c_void>();
    if at.is_null() || length < size_of::<u16>() {
        return None;
    }
    // SAFETY: every such structure begins with its family, and at least that much is there.
    let family = unsafe { at.cast::<u16>().read_unaligned() };
    if family == AF_INET && length >= size_of::<SOCKADDR_IN>() {
        // SAFETY: family and length say that it is one.
        let four = unsafe { at.cast::<SOCKADDR_IN>().read_unaligned() };
        // SAFETY: an address has the same four bytes in each of its forms.
        return Some(Ipv4Addr::from(unsafe { four.sin_addr.S_un.S_addr }.to_ne_bytes()).into());
    }
    if family == AF_INET6 && length >= size_of::<SOCKADDR_IN6>() {
        // SAFETY: family and length say that it is one.
        let six = unsafe { at.cast::<SOCKADDR_IN6>().read_unaligned() };
        // SAFETY: an address has the same sixteen bytes in each of its forms.
        return Some(Ipv6Addr::from(unsafe { six.sin6_addr.u.Byte }).into());
    }
    None
}

/// The gateway of the first card that has one, of version 4 if there is one.
pub(super) fn gateway(cards: &[Card]) -> String {
    let all = || cards.iter().filter(|card| card.up).flat_map(|card| &card.gateways);
    all().find(|ip| ip.is_ipv4()).or_else(|| all().next()).map(ToString::to_string).unwrap_or_default()
}

/// The address by which this computer is known: of a card with a gateway, of version 4, if there are such.
pub(super) fn main_address(cards: &[Card]) -> String {
    let mut found: Vec<_> = cards
        .iter()
        .filter(|card| card.up)
        .flat_map(|card| card.addresses.iter().map(|(ip, _)| (card.gateways.is_empty(), ip)))
        .filter(|(_, ip)| match ip {
            IpAddr::V4(four) => !four.is_loopback() && !four.is_link_local(),
            IpAddr::V6(six) => !six.is_loopback() && !six.is_unicast_link_local(),
        })
        .map(|(without_gateway, ip)| (ip.is_ipv6(), without_gateway, ip))
        .collect();
    // Stable: among equals the system's own order counts.
    found.sort_by_key(|(six, without_gateway, _)| (*six, *without_gateway));
    found.first().map(|(_, _, ip)| ip.to_string()).unwrap_or_default()
}

impl Card {
    /// One element an address, one for a card without any.
    pub(super) fn sections(&self) -> Vec<Section> {
        let kind = match self.kind {
            6 => "ethernet",
            23 => "ppp",
            71 => "wifi",
            131 => "tunnel",
            144 => "ieee1394",
            _ => "",
        };
        let base = || {
            Leaves::of("NETWORKS")
                .with("DESCRIPTION", &self.description)
                .with("MACADDR", &self.mac)
                .number("MTU", Some(u64::from(self.mtu)).filter(|mtu| !matches!(*mtu, 0 | 0xffff_ffff)))
                .with("SPEED", self.speed.map(|bits| format!("{} Mbps", bits / 1_000_000)).unwrap_or_default())
                .with("STATUS", if self.up { "Up" } else { "Down" })
                .with("TYPE", kind)
        };
        if self.addresses.is_empty() {
            return vec![base().done()];
        }
        let one = |(ip, prefix): &(IpAddr, u8)| {
            let same_kind = |gateway: &&IpAddr| gateway.is_ipv4() == ip.is_ipv4();
            let gateway = self.gateways.iter().find(same_kind).map(ToString::to_string).unwrap_or_default();
            let (mask, subnet) = mask_and_subnet(*ip, *prefix);
            base()
                .with("IPADDRESS", ip.to_string())
                .with("IPGATEWAY", gateway)
                .with("IPMASK", mask.to_string())
                .with("IPSUBNET", subnet.to_string())
                .done()
        };
        self.addresses.iter().map(one).collect()
    }
}

fn mask_and_subnet(ip: IpAddr, prefix: u8) -> (IpAddr, IpAddr) {
    match ip {
        IpAddr::V4(four) => {
            let mask = Ipv4Addr::from_bits(u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0));
            (mask.into(), (four & mask).into())
        }
        IpAddr::V6(six) => {
            let mask = Ipv6Addr::from_bits(u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0));
            (mask.into(), (six & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_told_once_an_address() {
        let card = Card {
            mac: "00:11:22:33:44:55".to_owned(),
            speed: Some(1_000_000_000),
            up: true,
            kind: 6,
            mtu: 1500,
            addresses: vec![
                (Ipv4Addr::new(192, 0, 2, 77).into(), 24),
                (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), 64),
            ],
            gateways: vec![Ipv4Addr::new(192, 0, 2, 1).into()],
            ..Card::default()
        };
        let told: Vec<String> = card
            .sections()
            .into_iter()
            .map(|section| section.fields.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            told,
            [
                "00:11:22:33:44:55 1500 1000 Mbps Up ethernet 192.0.2.77 192.0.2.1 255.255.255.0 192.0.2.0",
                "00:11:22:33:44:55 1500 1000 Mbps Up ethernet 2001:db8::1 ffff:ffff:ffff:ffff:: 2001:db8::",
            ]
        );
        let cards = [card];
        assert_eq!((main_address(&cards).as_str(), gateway(&cards).as_str()), ("192.0.2.77", "192.0.2.1"));
        assert_eq!((main_address(&[]).as_str(), gateway(&[]).as_str()), ("", ""));
    }

    #[test]
    fn what_the_system_tells_is_no_loopback() {
        assert!(cards().iter().flat_map(|card| &card.addresses).all(|(ip, _)| !ip.is_loopback()));
    }
}
