//! What a monitor says of itself: its EDID (VESA E-EDID 1.4).
//!
//! ```text
//! 0x00 00 FF FF FF FF FF FF 00   0x08 maker, three letters of 5 bits   0x0A product u16   0x0C serial u32
//! 0x10 week, year since 1990     0x14 bit 7: digital                   0x36 four descriptors of 18 bytes:
//!                                                                      00 00 00 kind 00, 13 characters; FC name, FF serial
//! ```

use super::{Leaves, Section};

const MAGIC: [u8; 8] = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];
/// The base block; extensions say nothing that is wanted.
const BLOCK: usize = 128;
const NAME: u8 = 0xfc;
const SERIAL: u8 = 0xff;

/// One of MONITORS; `None` if this is no EDID.
pub(super) fn monitor(edid: &[u8]) -> Option<Section> {
    let block = edid.get(..BLOCK)?;
    if !block.starts_with(&MAGIC) {
        return None;
    }
    let code = u16::from_be_bytes([block[8], block[9]]);
    let letters = [code >> 10, code >> 5, code].map(|letter| char::from(b'@' + (letter & 0x1f).to_le_bytes()[0]));
    let code: String = letters.iter().filter(|letter| letter.is_ascii_uppercase()).collect();
    let product = u16::from_le_bytes([block[10], block[11]]);
    let serial = u32::from_le_bytes([block[12], block[13], block[14], block[15]]);
    let name = descriptor(block, NAME).unwrap_or_else(|| format!("{code} {product:04x}"));
    let serial =
        descriptor(block, SERIAL).unwrap_or_else(|| if serial == 0 { String::new() } else { serial.to_string() });
    // A week of 255 says that the year is that of the model.
    let made = match (block[0x10], u16::from(block[0x11]) + 1990) {
        (1..=54, year) => format!("{}/{year}", block[0x10]),
        (_, year) => year.to_string(),
    };
    let maker = MAKERS.iter().find(|(known, _)| *known == code).map_or(code.as_str(), |(_, maker)| maker);
    Some(
        Leaves::of("MONITORS")
            .with("CAPTION", name)
            .with("DESCRIPTION", made)
            .with("MANUFACTURER", maker)
            .with("SERIAL", serial)
            .with("TYPE", if block[0x14] & 0x80 == 0 { "Analog" } else { "Digital" })
            .done(),
    )
}

/// The text of a descriptor; it ends with a line feed.
fn descriptor(block: &[u8], kind: u8) -> Option<String> {
    let descriptors = block.get(0x36..0x36 + 4 * 18)?.chunks_exact(18);
    let text = descriptors.filter(|bytes| bytes[..3] == [0; 3] && bytes[3] == kind).map(|bytes| &bytes[5..]).next()?;
    let text = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Some(super::clean(&String::from_utf8_lossy(text))).filter(|text| !text.is_empty())
}

/// Of the list of plug-and-play ids, the makers of monitors that are common; others stay as their three letters.
const MAKERS: [(&str, &str); 25] = [
    ("ACI", "Asus"),
    ("ACR", "Acer"),
    ("AOC", "AOC"),
    ("APP", "Apple"),
    ("AUO", "AU Optronics"),
    ("AUS", "Asus"),
    ("BNQ", "BenQ"),
    ("BOE", "BOE"),
    ("CMN", "Chimei Innolux"),
    ("DEL", "Dell"),
    ("EIZ", "Eizo"),
    ("ENC", "Eizo"),
    ("FUS", "Fujitsu"),
    ("GSM", "LG Electronics"),
    ("HPN", "HP"),
    ("HWP", "HP"),
    ("IVM", "Iiyama"),
    ("LEN", "Lenovo"),
    ("LGD", "LG Display"),
    ("MSI", "MSI"),
    ("NEC", "NEC"),
    ("PHL", "Philips"),
    ("SAM", "Samsung"),
    ("SHP", "Sharp"),
    ("VSC", "ViewSonic"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_edid_makes_the_reader_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = monitor(&bytes);
            if bytes.len() >= 8 {
                bytes[..8].copy_from_slice(&MAGIC);
                prop_assert_eq!(monitor(&bytes).is_some(), bytes.len() >= BLOCK);
            }
        }
    }
}
