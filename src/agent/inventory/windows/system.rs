//! What only calls of the system tell: the firmware's table, memory, volumes.
#![expect(unsafe_code, reason = "calls of the system without a safe crate of their size")]
#![expect(clippy::cast_possible_truncation, reason = "sizes of structures and buffers of some hundred bytes")]

use std::ptr;

use windows_sys::Win32::Storage::FileSystem::{
    GetDiskFreeSpaceExW, GetDriveTypeW, GetLogicalDrives, GetVolumeInformationW,
};
use windows_sys::Win32::System::SystemInformation::{
    GetSystemFirmwareTable, GlobalMemoryStatusEx, MEMORYSTATUSEX, RSMB,
};

use super::{Leaves, Section, until_nul};

/// More than any firmware has.
const TABLE: u32 = 1 << 20;

/// Before the table come four bytes of version and four of length.
const TABLE_HEAD: usize = 8;

/// The SMBIOS table; empty if there is none.
pub(super) fn firmware() -> Vec<u8> {
    // SAFETY: without a buffer the call tells how large it must be.
    let length = unsafe { GetSystemFirmwareTable(RSMB, 0, ptr::null_mut(), 0) };
    if length == 0 || length > TABLE {
        return Vec::new();
    }
    let mut bytes = vec![0; length as usize];
    // SAFETY: the buffer has the length that is given.
    let written = unsafe { GetSystemFirmwareTable(RSMB, 0, bytes.as_mut_ptr(), length) };
    bytes.truncate(written as usize);
    bytes.drain(..TABLE_HEAD.min(bytes.len()));
    bytes
}

/// Memory and swap in MiB.
pub(super) fn memory() -> Option<(u64, u64)> {
    let mut state = MEMORYSTATUSEX { dwLength: size_of::<MEMORYSTATUSEX>() as u32, ..MEMORYSTATUSEX::default() };
    // SAFETY: the structure says its own size and lives longer than the call.
    let asked = unsafe { GlobalMemoryStatusEx(&raw mut state) };
    // The "page file" of this answer is memory and swap together.
    (asked != 0).then(|| (state.ullTotalPhys >> 20, state.ullTotalPageFile.saturating_sub(state.ullTotalPhys) >> 20))
}

/// A local volume with a letter.
#[derive(Debug)]
pub(super) struct Drive {
    letter: char,
    kind: &'static str,
    file_system: String,
    label: String,
    /// Total and free, in MiB.
    space: Option<(u64, u64)>,
}

/// Every local volume with a letter. Network drives belong to a user, and asking one whose server is gone takes minutes;
/// drives that take discs are told without looking into them.
pub(super) fn drives() -> Vec<Drive> {
    // SAFETY: the call takes nothing.
    let letters = unsafe { GetLogicalDrives() };
    ('A'..='Z').zip(0..26).filter(|(_, bit)| letters >> bit & 1 == 1).filter_map(|(letter, _)| drive(letter)).collect()
}

fn drive(letter: char) -> Option<Drive> {
    let root: Vec<u16> = format!(r"{letter}:\").encode_utf16().chain([0]).collect();
    // SAFETY: the path ends in a NUL.
    let kind = match unsafe { GetDriveTypeW(root.as_ptr()) } {
        2 => "Removable Drive",
        3 => "Hard Drive",
        5 => "CD-Rom Drive",
        6 => "RAM Disk",
        _ => return None,
    };
    let mut drive = Drive { letter, kind, file_system: String::new(), label: String::new(), space: None };
    if kind == "CD-Rom Drive" {
        return Some(drive);
    }
    let (mut label, mut system) = ([0_u16; 261], [0_u16; 261]);
    // SAFETY: the path ends in a NUL; both buffers have the length that is given; the other answers are not wanted.
    let asked = unsafe {
        GetVolumeInformationW(
            root.as_ptr(),
            label.as_mut_ptr(),
            label.len() as u32,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            system.as_mut_ptr(),
            system.len() as u32,
        )
    };
    if asked != 0 {
        (drive.label, drive.file_system) = (until_nul(&label), until_nul(&system));
    }
    let (mut total, mut free) = (0, 0);
    // SAFETY: the path ends in a NUL; the numbers live longer than the call.
    let asked = unsafe { GetDiskFreeSpaceExW(root.as_ptr(), ptr::null_mut(), &raw mut total, &raw mut free) };
    drive.space = (asked != 0 && total > 0).then_some((total >> 20, free >> 20));
    Some(drive)
}

impl Drive {
    pub(super) fn section(&self) -> Section {
        Leaves::of("DRIVES")
            .with("FILESYSTEM", &self.file_system)
            .number("FREE", self.space.map(|(_, free)| free))
            // With a slash, as the stock agent writes it.
            .with("LETTER", format!("{}:/", self.letter))
            .number("TOTAL", self.space.map(|(total, _)| total))
            .with("TYPE", self.kind)
            .with("VOLUMN", &self.label)
            .done()
    }
}
