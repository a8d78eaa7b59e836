//! What Windows keeps of devices and accounts, as sections: keys of the registry, a disk's descriptor, a security
//! identifier. Bytes and text in, sections out, so that it is tried on every system.
//!
//! ```text
//! …\Enum\USB\VID_0951&PID_1666\60A44C3FAE22      a device with a serial number
//! …\Enum\USB\VID_046D&PID_C077\5&1A2B3C&0&2      one without: the system made up a name
//! …\Enum\USB\VID_046D&PID_C52B&MI_00\6&2F…       an interface of a device, not one
//! …\Enum\USB\ROOT_HUB30\4&9C…                    the computer's own hub
//! …\Enum\DISPLAY\DEL4098\4&3B…                   a monitor; its EDID is in "Device Parameters"
//! ```

use super::{Leaves, Section, clean, edid};

/// What a key below `Enum` says of a device, as it is written there.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// Its path below `Enum`.
    pub(super) id: String,
    /// `FriendlyName`, which few have.
    pub(super) friendly_name: String,
    /// `DeviceDesc`.
    pub(super) description: String,
    /// `Mfg`.
    pub(super) manufacturer: String,
    /// `CompatibleIDs`: for USB its class, of the device or of its only interface.
    pub(super) compatible: Vec<String>,
}

impl Entry {
    fn name(&self) -> &str {
        Some(spelled(&self.friendly_name)).filter(|name| !name.is_empty()).unwrap_or(spelled(&self.description))
    }

    /// The maker; "(Standard USB Host Controller)" is none.
    fn maker(&self) -> &str {
        Some(spelled(&self.manufacturer)).filter(|maker| !maker.starts_with('(')).unwrap_or_default()
    }
}

/// The text of `@usb.inf,%name%;text`, which names where it is translated; other text as it is.
fn spelled(text: &str) -> &str {
    let translated = if text.starts_with('@') { text.rsplit_once(';') } else { None };
    translated.map_or(text, |(_, text)| text).trim()
}

/// One of USBDEVICES; `None` for hubs of the computer itself and for interfaces.
pub(super) fn usb(entry: &Entry) -> Option<Section> {
    let mut path = entry.id.split('\\');
    let (_, product, instance) = (path.next()?, path.next()?.to_ascii_uppercase(), path.next()?);
    let mut parts = product.split('&');
    let vendor = parts.next()?.strip_prefix("VID_")?;
    let model = parts.next()?.strip_prefix("PID_")?;
    if parts.any(|part| part.starts_with("MI_")) {
        return None;
    }
    let number = format!("{vendor}:{model}").to_ascii_lowercase();
    let name = clean(entry.name());
    let description = if name.is_empty() { number } else { format!("{name} ({number})") };
    let section = Leaves::of("USBDEVICES")
        .with("DESCRIPTION", description)
        .with("MANUFACTURER", entry.maker())
        .with("SERIAL", if instance.contains('&') { "" } else { instance })
        .with("TYPE", entry.compatible.iter().find_map(|id| usb_kind(id)).unwrap_or_default());
    Some(section.done())
}

/// `USB\Class_08&SubClass_06&Prot_50`, or `USB\DevClass_00…` of a device with several interfaces.
fn usb_kind(compatible: &str) -> Option<&'static str> {
    let class = compatible.to_ascii_uppercase();
    Some(match class.strip_prefix(r"USB\CLASS_")?.get(..2)? {
        "01" => "Audio",
        "02" | "0A" => "Communications",
        "03" => "Human interface",
        "06" => "Image",
        "07" => "Printer",
        "08" => "Mass storage",
        "09" => "Hub",
        "0B" => "Smart card",
        "0E" => "Video",
        "E0" => "Wireless",
        "EF" => "Miscellaneous",
        "FF" => "Vendor specific",
        _ => "Other",
    })
}

/// One of MONITORS: what it says of itself, or else what its driver is called.
pub(super) fn monitor(entry: &Entry, edid: &[u8]) -> Option<Section> {
    edid::monitor(edid).or_else(|| {
        let name = clean(entry.name());
        let section = Leaves::of("MONITORS").with("CAPTION", &name).with("MANUFACTURER", entry.maker());
        (!name.is_empty()).then(|| section.done())
    })
}

/// One of STORAGES, from `STORAGE_DEVICE_DESCRIPTOR` and the disk's size in bytes; `None` for a file that is mounted as a
/// disk, which comes and goes.
///
/// ```text
/// 0x0A removable   0x0C vendor  0x10 product  0x14 revision  0x18 serial number: where each begins; it ends in a NUL
/// 0x1C bus
/// ```
pub(super) fn storage(name: &str, descriptor: &[u8], bytes: Option<u64>) -> Option<Section> {
    const OF_A_FILE: u32 = 15;
    let number = |at: usize| Some(u32::from_le_bytes(descriptor.get(at..at + 4)?.try_into().ok()?));
    let text = |at: usize| {
        let begins = number(at).and_then(|begins| usize::try_from(begins).ok()).filter(|begins| *begins > 0);
        let text = begins.and_then(|begins| descriptor.get(begins..)).unwrap_or_default();
        String::from_utf8_lossy(text.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
    };
    let bus = number(0x1c).unwrap_or_default();
    if bus == OF_A_FILE {
        return None;
    }
    let kind = match descriptor.get(0x0a) {
        _ if name.starts_with("CdRom") => "cdrom",
        Some(1..) => "removable",
        _ => "disk",
    };
    let section = Leaves::of("STORAGES")
        .with("DESCRIPTION", usize::try_from(bus).ok().and_then(|bus| BUSES.get(bus)).copied().unwrap_or_default())
        // In millions of bytes, as the stock agents do.
        .number("DISKSIZE", bytes.map(|bytes| bytes / 1_000_000).filter(|size| *size > 0))
        .with("FIRMWARE", text(0x14))
        .with("MANUFACTURER", text(0x0c))
        .with("MODEL", text(0x10))
        .with("NAME", name)
        .with("SERIALNUMBER", text(0x18))
        .with("TYPE", kind);
    Some(section.done())
}

/// `STORAGE_BUS_TYPE`.
const BUSES: [&str; 20] = [
    "",
    "SCSI",
    "ATAPI",
    "ATA",
    "IEEE 1394",
    "SSA",
    "Fibre Channel",
    "USB",
    "RAID",
    "iSCSI",
    "SAS",
    "SATA",
    "SD",
    "MMC",
    "virtual",
    "file",
    "Storage Spaces",
    "NVMe",
    "SCM",
    "UFS",
];

/// `S-1-5-21-…` of a security identifier: revision, count, six bytes of authority, and that many numbers.
pub(super) fn sid(bytes: &[u8]) -> Option<String> {
    let [revision, count, authority @ ..] = bytes else { return None };
    let (authority, numbers) = authority.split_at_checked(6)?;
    let authority = authority.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let numbers = numbers.get(..usize::from(*count) * 4)?.chunks_exact(4);
    let numbers = numbers.filter_map(|number| Some(u32::from_le_bytes(number.try_into().ok()?)));
    Some(numbers.fold(format!("S-{revision}-{authority}"), |text, number| format!("{text}-{number}")))
}

/// An account of this computer.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    /// What is typed at the screen.
    pub(super) login: String,
    /// The person.
    pub(super) name: String,
    /// The security identifier, as text.
    pub(super) id: String,
    /// `ProfileImagePath`; empty for who has never logged in.
    pub(super) home: String,
}

impl Account {
    /// One of `LOCAL_USERS`.
    pub(super) fn section(&self) -> Section {
        Leaves::of("LOCAL_USERS")
            .with("HOME", &self.home)
            .with("ID_USER", &self.id)
            .with("LOGIN", &self.login)
            .with("NAME", &self.name)
            .done()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As `reg query` prints a key: its path, and a line for each value.
    fn entry(text: &str) -> Entry {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let id = lines.next().and_then(|path| path.split_once(r"\Enum\")).expect("a key below Enum").1.to_owned();
        let mut entry = Entry { id, ..Entry::default() };
        for line in lines {
            let mut columns = line.splitn(3, "    ");
            let (name, kind, value) = (columns.next(), columns.next(), columns.next().unwrap_or_default());
            match (name.expect("a name"), kind.expect("a type")) {
                ("DeviceDesc", "REG_SZ") => value.clone_into(&mut entry.description),
                ("FriendlyName", "REG_SZ") => value.clone_into(&mut entry.friendly_name),
                ("Mfg", "REG_SZ") => value.clone_into(&mut entry.manufacturer),
                ("CompatibleIDs", "REG_MULTI_SZ") => entry.compatible = value.split(r"\0").map(str::to_owned).collect(),
                _ => {}
            }
        }
        entry
    }

    fn line(section: Option<Section>) -> String {
        let Some(section) = section else { return "none".to_owned() };
        let leaves = section.fields.iter().map(|(leaf, text)| format!("{leaf}={text}"));
        std::iter::once(section.name.to_owned()).chain(leaves).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn usb_devices_are_told_and_neither_their_interfaces_nor_the_computers_hubs() {
        let told: Vec<String> = [
            r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Enum\USB\VID_0951&PID_1666\60A44C3FAE22B0A1C9650D1A
                DeviceDesc    REG_SZ    @usbstor.inf,%genericbulkonly.devicedesc%;USB Mass Storage Device
                Capabilities    REG_DWORD    0x94
                CompatibleIDs    REG_MULTI_SZ    USB\Class_08&SubClass_06&Prot_50\0USB\Class_08&SubClass_06\0USB\Class_08
                Mfg    REG_SZ    @usbstor.inf,%generic.mfg%;Compatible USB storage device
                Service    REG_SZ    USBSTOR",
            r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Enum\USB\VID_046D&PID_C077\5&1A2B3C4D&0&2
                DeviceDesc    REG_SZ    @input.inf,%hid.devicedesc%;USB Input Device
                CompatibleIDs    REG_MULTI_SZ    USB\Class_03&SubClass_01&Prot_02\0USB\Class_03
                Mfg    REG_SZ    @input.inf,%stdmfg%;(Standard system devices)",
            r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Enum\USB\VID_04F2&PID_B6D9\0001
                DeviceDesc    REG_SZ    @usb.inf,%usb\composite.devicedesc%;USB Composite Device
                FriendlyName    REG_SZ    Integrated Camera
                CompatibleIDs    REG_MULTI_SZ    USB\DevClass_EF&SubClass_02&Prot_01\0USB\COMPOSITE
                Mfg    REG_SZ    Chicony",
            r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Enum\USB\VID_04F2&PID_B6D9&MI_00\6&2F3E1C0&0&0000
                DeviceDesc    REG_SZ    @usbvideo.inf,%usbvideo.devicedesc%;USB Video Device",
            r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Enum\USB\ROOT_HUB30\4&9C0E5A2&0&0
                DeviceDesc    REG_SZ    @usbhub3.inf,%usbhub3.roothubdevicedesc%;USB Root Hub (USB 3.0)",
            r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Enum\USB\vid_1a86&pid_7523\5&0
                CompatibleIDs    REG_MULTI_SZ    USB\Class_ff&SubClass_01&Prot_02",
            r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Enum\USB\VID_1A86",
        ]
        .iter()
        .map(|text| line(usb(&entry(text))))
        .collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        USBDEVICES | DESCRIPTION=USB Mass Storage Device (0951:1666) | MANUFACTURER=Compatible USB storage device | SERIAL=60A44C3FAE22B0A1C9650D1A | TYPE=Mass storage
        USBDEVICES | DESCRIPTION=USB Input Device (046d:c077) | TYPE=Human interface
        USBDEVICES | DESCRIPTION=Integrated Camera (04f2:b6d9) | MANUFACTURER=Chicony | SERIAL=0001
        none
        none
        USBDEVICES | DESCRIPTION=1a86:7523 | TYPE=Vendor specific
        none
        ");
    }

    #[test]
    fn a_monitor_without_an_edid_has_its_drivers_name() {
        let generic = entry(
            r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Enum\DISPLAY\Default_Monitor\4&3B1C2D&0&UID0
                DeviceDesc    REG_SZ    @monitor.inf,%nonpnpmonitor.devicedesc%;Generic Non-PnP Monitor
                Mfg    REG_SZ    @monitor.inf,%generic%;(Standard monitor types)",
        );
        assert_eq!(line(monitor(&generic, b"")), "MONITORS | CAPTION=Generic Non-PnP Monitor");
        assert_eq!(line(monitor(&Entry::default(), b"\0\xff\xff")), "none");
        // Nothing but the head and the letters: what it says of itself goes first.
        let mut edid = [0_u8; 128];
        edid[..12].copy_from_slice(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x10, 0xac, 0x98, 0x40]);
        edid[0x11] = 30;
        assert_eq!(
            line(monitor(&generic, &edid)),
            "MONITORS | CAPTION=DEL 4098 | DESCRIPTION=2020 | MANUFACTURER=Dell | TYPE=Analog"
        );
    }

    /// A descriptor as a disk's driver fills it.
    fn descriptor(removable: bool, bus: u8, texts: [&str; 4]) -> Vec<u8> {
        let mut bytes = vec![0; 0x24];
        bytes[0x0a] = u8::from(removable);
        bytes[0x1c] = bus;
        for (at, text) in (0x0c..).step_by(4).zip(texts) {
            if !text.is_empty() {
                bytes[at] = u8::try_from(bytes.len()).expect("a short descriptor");
                bytes.extend_from_slice(text.as_bytes());
                bytes.push(0);
            }
        }
        bytes
    }

    #[test]
    fn a_disk_is_what_its_descriptor_says() {
        let nvme = descriptor(false, 17, ["", "Samsung SSD 980 1TB ", "2B4QFXO7", "0025_38B4_21A0_5C3E."]);
        let stick = descriptor(true, 7, ["Kingston", "DataTraveler 3.0", "PMAP", "60A44C3FAE22"]);
        let disc = descriptor(true, 11, ["HL-DT-ST", "DVDRAM GU90N", "A1C2", ""]);
        let image = descriptor(false, 15, ["Msft", "Virtual Disk", "1.0", ""]);
        let told = [
            line(storage("PhysicalDrive0", &nvme, Some(1_000_204_886_016))),
            line(storage("PhysicalDrive1", &stick, Some(15_500_000_000))),
            line(storage("CdRom0", &disc, None)),
            line(storage("PhysicalDrive2", &image, Some(1 << 30))),
            line(storage("PhysicalDrive3", &[], Some(8 << 30))),
        ];
        insta::assert_snapshot!(told.join("\n"), @r"
        STORAGES | DESCRIPTION=NVMe | DISKSIZE=1000204 | FIRMWARE=2B4QFXO7 | MODEL=Samsung SSD 980 1TB | NAME=PhysicalDrive0 | SERIALNUMBER=0025_38B4_21A0_5C3E. | TYPE=disk
        STORAGES | DESCRIPTION=USB | DISKSIZE=15500 | FIRMWARE=PMAP | MANUFACTURER=Kingston | MODEL=DataTraveler 3.0 | NAME=PhysicalDrive1 | SERIALNUMBER=60A44C3FAE22 | TYPE=removable
        STORAGES | DESCRIPTION=SATA | FIRMWARE=A1C2 | MANUFACTURER=HL-DT-ST | MODEL=DVDRAM GU90N | NAME=CdRom0 | TYPE=cdrom
        none
        STORAGES | DISKSIZE=8589 | NAME=PhysicalDrive3 | TYPE=disk
        ");
    }

    #[test]
    fn a_security_identifier_is_spelt_as_everywhere() {
        let administrator = [
            1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 0xc7, 0xcf, 0x2a, 0x5a, 0x15, 0xcd, 0x5b, 0x07, 0xb1, 0x68, 0xde,
            0x3a, 0xf4, 1, 0, 0,
        ];
        assert_eq!(sid(&administrator).as_deref(), Some("S-1-5-21-1512755143-123456789-987654321-500"));
        assert_eq!(
            sid(&[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, 99]).as_deref(),
            Some("S-1-5-18"),
            "what follows is not its"
        );
        assert_eq!(sid(&administrator[..27]), None);
        let person = Account {
            login: "anna".to_owned(),
            id: "S-1-5-21-1-2-3-1001".to_owned(),
            home: r"C:\Users\anna".to_owned(),
            ..Account::default()
        };
        assert_eq!(
            line(Some(person.section())),
            r"LOCAL_USERS | HOME=C:\Users\anna | ID_USER=S-1-5-21-1-2-3-1001 | LOGIN=anna"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in ".{0,40}") {
            let _ = (storage(&text, &bytes, None), sid(&bytes));
            let entry = Entry { id: text.clone(), description: text.clone(), compatible: vec![text], ..Entry::default() };
            let _ = (usb(&entry), monitor(&entry, &bytes));
        }
    }
}
