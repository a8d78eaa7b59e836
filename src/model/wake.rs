//! Waking a computer over its network: the address of its card, the packet that wakes it, and where that is sent.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Cards of one computer that are woken: no machine has more, and an inventory can name any number.
pub const MOST_CARDS: usize = 8;

/// Why a text is no MAC address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is not a MAC address: expected six bytes such as 52:54:00:12:34:56")]
pub struct InvalidMac(String);

/// The address of a network card.
///
/// ```
/// # use dripfeed::model::wake::MacAddress;
/// let one: MacAddress = "52:54:00:AB:cd:ef".parse()?;
/// assert_eq!(one.to_string(), "52:54:00:ab:cd:ef");
/// assert_eq!("5254.00ab.cdef".parse(), Ok(one));
/// assert_eq!(one.magic_packet()[..12], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0x00, 0xab, 0xcd, 0xef]);
/// # Ok::<(), dripfeed::model::wake::InvalidMac>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// Bytes of the packet that wakes a card.
    pub const PACKET: usize = 102;

    /// Six times 0xff, then sixteen times the address.
    pub fn magic_packet(self) -> [u8; Self::PACKET] {
        let mut packet = [0xff; Self::PACKET];
        for place in packet[6..].chunks_exact_mut(6) {
            place.copy_from_slice(&self.0);
        }
        packet
    }

    /// Is it the address of one card? Not nothing, and not that of a group of them, such as everybody.
    pub fn is_of_one(self) -> bool {
        self.0 != [0; 6] && self.0[0] & 1 == 0
    }
}

/// With colons, hyphens or points between the bytes, or nothing.
impl FromStr for MacAddress {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidMac(text.chars().take(40).collect());
        let text = text.trim();
        let (parts, width): (Vec<&str>, usize) = match text.chars().find(|c| !c.is_ascii_hexdigit()) {
            None => (vec![text], 12),
            Some(sign @ (':' | '-')) => (text.split(sign).collect(), 2),
            Some('.') => (text.split('.').collect(), 4),
            Some(_) => return Err(invalid()),
        };
        let is_part = |part: &&str| part.len() == width && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if parts.len() * width != 12 || !parts.iter().all(is_part) {
            return Err(invalid());
        }
        let number = u64::from_str_radix(&parts.concat(), 16).map_err(|_| invalid())?;
        let [_, _, bytes @ ..] = number.to_be_bytes();
        Ok(Self(bytes))
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if at > 0 { ":" } else { "" })?;
        }
        Ok(())
    }
}

/// Everybody's address in the network of an adapter, by its own address and its mask, as inventories write them; `None` for
/// what is no network with such an address.
pub fn broadcast_of(address: &str, mask: &str) -> Option<Ipv4Addr> {
    let (address, mask): (Ipv4Addr, Ipv4Addr) = (address.trim().parse().ok()?, mask.trim().parse().ok()?);
    let bits = u32::from(mask);
    let is_mask = bits.leading_ones() + bits.trailing_zeros() == 32 && (8..=30).contains(&bits.leading_ones());
    let is_there =
        !(address.is_loopback() || address.is_unspecified() || address.is_link_local() || !is_unicast(address));
    (is_mask && is_there).then(|| Ipv4Addr::from(u32::from(address) | !bits))
}

fn is_unicast(address: Ipv4Addr) -> bool {
    address.octets()[0] < 224
}

/// What became of a wish to wake a computer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum WakeState {
    /// Its turn has not come.
    Waiting,
    /// The packets are out; it has not been heard of since.
    Sent,
    /// It was heard of after they went out.
    Came,
    /// It was not, for as long as one waits.
    Silent,
    /// It came before its turn, or what it was to be woken for is over.
    NotNeeded,
    /// No card of it has an address that can be woken.
    NoAddress,
    /// The packets could not be sent.
    Failed,
}

impl WakeState {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Waiting, Self::Sent, Self::Came, Self::Silent, Self::NotNeeded, Self::NoAddress, Self::Failed];

    /// The word of the store and of JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Came => "came",
            Self::Silent => "silent",
            Self::NotNeeded => "not-needed",
            Self::NoAddress => "no-address",
            Self::Failed => "failed",
        }
    }
}

/// No such state.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is no state of waking: expected waiting, sent, came, silent, not-needed, no-address or failed")]
pub struct UnknownWakeState(String);

impl FromStr for WakeState {
    type Err = UnknownWakeState;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == word);
        found.ok_or_else(|| UnknownWakeState(word.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(text: &str) -> MacAddress {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn an_address_is_read_in_the_four_forms_in_which_systems_write_it() {
        for text in ["52:54:00:12:34:56", "52-54-00-12-34-56", "5254.0012.3456", "525400123456", " 52:54:00:12:34:56 "]
        {
            assert_eq!(mac(text).to_string(), "52:54:00:12:34:56", "{text:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_one_looks_like() {
        for text in [
            "",
            "?",
            "-",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "52:54-00:12:34:56",
            "5:54:00:12:34:567",
            "52:54:00:12:34:5g",
            "5254:0012:3456",
            "+25400123456",
            "52:54:00:12:34:5\u{e9}",
        ] {
            let error = text.parse::<MacAddress>().expect_err(text).to_string();
            assert!(error.contains("expected six bytes such as 52:54:00:12:34:56"), "{error}");
        }
    }

    #[test]
    fn nothing_everybody_and_groups_are_no_card() {
        for (text, is_one) in [
            ("00:00:00:00:00:00", false),
            ("ff:ff:ff:ff:ff:ff", false),
            ("01:00:5e:00:00:fb", false),
            ("33:33:00:00:00:01", false),
            ("52:54:00:12:34:56", true),
            ("00:1b:21:00:00:00", true),
        ] {
            assert_eq!(mac(text).is_of_one(), is_one, "{text}");
        }
    }

    #[test]
    fn the_packet_is_six_times_ff_and_sixteen_times_the_address() {
        let packet = mac("02:11:22:33:44:55").magic_packet();
        let mut expected = vec![0xff; 6];
        for _ in 0..16 {
            expected.extend([0x02, 0x11, 0x22, 0x33, 0x44, 0x55]);
        }
        assert_eq!(packet.to_vec(), expected);
    }

    #[test]
    fn everybodys_address_is_that_of_the_adapters_own_network() {
        let of = |address, mask| broadcast_of(address, mask).map(|found| found.to_string());
        assert_eq!(of("192.168.7.20", "255.255.255.0").as_deref(), Some("192.168.7.255"));
        assert_eq!(of("10.20.30.40", "255.255.240.0").as_deref(), Some("10.20.31.255"));
        assert_eq!(of("172.16.0.9", "255.255.255.252").as_deref(), Some("172.16.0.11"));
        for (address, mask) in [
            ("", ""),
            ("192.168.7.20", ""),
            ("192.168.7.20", "255.255.255.255"),
            ("192.168.7.20", "255.255.255.254"),
            ("192.168.7.20", "0.0.0.0"),
            ("192.168.7.20", "255.0.255.0"),
            ("127.0.0.1", "255.0.0.0"),
            ("0.0.0.0", "255.255.255.0"),
            ("169.254.3.4", "255.255.0.0"),
            ("224.0.0.251", "255.255.255.0"),
            ("fe80::1", "ffff:ffff::"),
        ] {
            assert_eq!(of(address, mask), None, "{address} {mask}");
        }
    }

    #[test]
    fn states_are_words_that_read_back() {
        for state in WakeState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("asleep".parse::<WakeState>().is_err());
    }
}
