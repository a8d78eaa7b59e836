//! MONITORS, USBDEVICES, STORAGES: what is there at this moment. The registry alone would not do: it remembers whatever was
//! ever plugged in.
#![expect(unsafe_code, reason = "lists of devices and questions to disks have no safe crate of their size")]
#![expect(clippy::cast_possible_truncation, reason = "sizes of structures and buffers of some hundred bytes")]

use std::fs::{File, OpenOptions};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::ptr;

use windows_registry::LOCAL_MACHINE;
use windows_sys::Win32::Devices::DeviceAndDriverInstallation::{
    DIGCF_ALLCLASSES, DIGCF_PRESENT, HDEVINFO, SP_DEVINFO_DATA, SetupDiDestroyDeviceInfoList, SetupDiEnumDeviceInfo,
    SetupDiGetClassDevsW, SetupDiGetDeviceInstanceIdW,
};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::{
    DISK_GEOMETRY_EX, IOCTL_DISK_GET_DRIVE_GEOMETRY_EX, IOCTL_STORAGE_QUERY_PROPERTY, PropertyStandardQuery,
    STORAGE_PROPERTY_QUERY, StorageDeviceProperty,
};

use super::super::plugged::{self, Entry};
use super::{Section, text, until_nul};

const ENUM: &str = r"SYSTEM\CurrentControlSet\Enum";

/// Devices of a kind that are looked at.
const MANY: u32 = 1000;

/// The numbers of disks that are tried; they have gaps where one was taken out.
const DISKS: u32 = 64;

pub(super) fn sections() -> Vec<Section> {
    let monitors = present("DISPLAY").into_iter().filter_map(|entry| {
        let parameters = LOCAL_MACHINE.open(format!(r"{ENUM}\{}\Device Parameters", entry.id)).ok();
        let edid = parameters.and_then(|key| Some(key.get_value("EDID").ok()?.to_vec()));
        plugged::monitor(&entry, &edid.unwrap_or_default())
    });
    let usb = present("USB").into_iter().filter_map(|entry| plugged::usb(&entry));
    let names = ["PhysicalDrive", "CdRom"].into_iter().flat_map(|kind| (0..DISKS).map(move |n| format!("{kind}{n}")));
    monitors.chain(usb).chain(names.filter_map(|name| storage(&name))).collect()
}

/// What the registry says of the devices of a bus that are there, in the order of their names.
fn present(bus: &str) -> Vec<Entry> {
    let Some(list) = List::of(bus) else { return Vec::new() };
    let mut ids: Vec<String> = (0..MANY).map_while(|index| list.id(index)).collect();
    ids.sort_unstable();
    ids.into_iter().map(entry).collect()
}

fn entry(id: String) -> Entry {
    let key = LOCAL_MACHINE.open(format!(r"{ENUM}\{id}")).ok();
    let said = |name| text(key.as_ref(), name);
    Entry {
        friendly_name: said("FriendlyName"),
        description: said("DeviceDesc"),
        manufacturer: said("Mfg"),
        compatible: key.as_ref().and_then(|key| key.get_multi_string("CompatibleIDs").ok()).unwrap_or_default(),
        id,
    }
}

/// A list of devices, as the system makes one.
struct List(HDEVINFO);

impl List {
    fn of(bus: &str) -> Option<Self> {
        const NONE: HDEVINFO = -1;
        let bus: Vec<u16> = bus.encode_utf16().chain([0]).collect();
        let flags = DIGCF_ALLCLASSES | DIGCF_PRESENT;
        // SAFETY: the name ends in a NUL and lives longer than the call; neither class nor window is asked for.
        let list = unsafe { SetupDiGetClassDevsW(ptr::null(), bus.as_ptr(), ptr::null_mut(), flags) };
        (list != NONE).then_some(Self(list))
    }

    /// The path below `Enum` of one of them; `None` behind the last.
    fn id(&self, index: u32) -> Option<String> {
        let mut device = SP_DEVINFO_DATA { cbSize: size_of::<SP_DEVINFO_DATA>() as u32, ..SP_DEVINFO_DATA::default() };
        // Twice as long as an identifier may be.
        let mut id = [0_u16; 400];
        // SAFETY: the list is open, the structure says its own size, and the buffer has the length that is given.
        let told = unsafe {
            SetupDiEnumDeviceInfo(self.0, index, &raw mut device) != 0
                && SetupDiGetDeviceInstanceIdW(
                    self.0,
                    &raw const device,
                    id.as_mut_ptr(),
                    id.len() as u32,
                    ptr::null_mut(),
                ) != 0
        };
        told.then(|| until_nul(&id))
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: the list is open, and nobody else closes it.
        unsafe { SetupDiDestroyDeviceInfoList(self.0) };
    }
}

fn storage(name: &str) -> Option<Section> {
    // Without any access, so that whoever runs the agent may ask.
    let disk = OpenOptions::new().access_mode(0).open(format!(r"\\.\{name}")).ok()?;
    let query = STORAGE_PROPERTY_QUERY {
        PropertyId: StorageDeviceProperty,
        QueryType: PropertyStandardQuery,
        ..STORAGE_PROPERTY_QUERY::default()
    };
    let mut descriptor = vec![0_u8; 4096];
    // SAFETY: a structure of plain numbers, read for as long as it lives.
    let question = unsafe { std::slice::from_raw_parts((&raw const query).cast::<u8>(), size_of_val(&query)) };
    let length = ask(&disk, IOCTL_STORAGE_QUERY_PROPERTY, question, &mut descriptor).unwrap_or(0);
    let mut geometry = vec![0_u8; size_of::<DISK_GEOMETRY_EX>() + 256];
    let measured = ask(&disk, IOCTL_DISK_GET_DRIVE_GEOMETRY_EX, &[], &mut geometry);
    let at = std::mem::offset_of!(DISK_GEOMETRY_EX, DiskSize);
    let bytes = measured.and_then(|_| Some(u64::from_le_bytes(geometry.get(at..at + 8)?.try_into().ok()?)));
    plugged::storage(name, descriptor.get(..length)?, bytes)
}

/// Asks a device; answers how much it said.
fn ask(device: &File, code: u32, question: &[u8], answer: &mut [u8]) -> Option<usize> {
    let mut length = 0;
    // SAFETY: the handle is open, both buffers have the lengths that are given, and nothing goes on after the call.
    let asked = unsafe {
        DeviceIoControl(
            device.as_raw_handle(),
            code,
            question.as_ptr().cast(),
            question.len() as u32,
            answer.as_mut_ptr().cast(),
            answer.len() as u32,
            &raw mut length,
            ptr::null_mut(),
        )
    };
    (asked != 0).then_some(length as usize)
}
