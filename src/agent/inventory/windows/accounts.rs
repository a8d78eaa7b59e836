//! `LOCAL_USERS`: the accounts of this computer itself. Those of a domain are nobody's inventory.
#![expect(unsafe_code, reason = "the system's list of accounts has no safe crate of its size")]
#![expect(clippy::cast_possible_truncation, reason = "lengths of buffers of some hundred bytes")]

use std::ptr;

use windows_registry::LOCAL_MACHINE;
use windows_sys::Win32::Foundation::{ERROR_MORE_DATA, ERROR_SUCCESS};
use windows_sys::Win32::NetworkManagement::NetManagement::{
    FILTER_NORMAL_ACCOUNT, MAX_PREFERRED_LENGTH, NetApiBufferFree, NetUserEnum, USER_INFO_20,
};
use windows_sys::Win32::Security::LookupAccountNameW;

use super::super::plugged::{self, Account};
use super::{Section, text};

/// Accounts told: a server of a domain may hold tens of thousands, which no inventory is for.
const ACCOUNTS: usize = 2000;

const PROFILES: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList";

pub(super) fn sections() -> Vec<Section> {
    let mut accounts = listed();
    accounts.sort_unstable_by(|one, other| one.login.cmp(&other.login));
    for account in &mut accounts {
        account.id = sid(&account.login).unwrap_or_default();
        if !account.id.is_empty() {
            let profile = LOCAL_MACHINE.open(format!(r"{PROFILES}\{}", account.id)).ok();
            account.home = text(profile.as_ref(), "ProfileImagePath");
        }
    }
    accounts.iter().map(Account::section).collect()
}

/// The first so many of the system's list.
fn listed() -> Vec<Account> {
    let (mut first, mut read, mut total) = (ptr::null_mut::<USER_INFO_20>(), 0, 0);
    // SAFETY: the system makes the buffer and says how many structures of level 20 are in it.
    let answer = unsafe {
        NetUserEnum(
            ptr::null(),
            20,
            FILTER_NORMAL_ACCOUNT,
            (&raw mut first).cast(),
            MAX_PREFERRED_LENGTH,
            &raw mut read,
            &raw mut total,
            ptr::null_mut(),
        )
    };
    if first.is_null() {
        return Vec::new();
    }
    let told = if matches!(answer, ERROR_SUCCESS | ERROR_MORE_DATA) { read as usize } else { 0 };
    // SAFETY: the buffer has that many structures, aligned by the system, whose texts end in a NUL and are in it, too.
    let accounts = (0..told.min(ACCOUNTS)).map(|index| unsafe {
        let account = &*first.add(index);
        Account { login: copied(account.usri20_name), name: copied(account.usri20_full_name), ..Account::default() }
    });
    let accounts = accounts.collect();
    // SAFETY: the system made it, and nothing of it is used any more.
    unsafe { NetApiBufferFree(first.cast()) };
    accounts
}

/// # Safety
/// `text` is null or ends in a NUL.
unsafe fn copied(text: *const u16) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by the contract above.
    let length = (0..4096).take_while(|at| unsafe { *text.add(*at) } != 0).count();
    // SAFETY: so many units were just read.
    String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(text, length) })
}

/// Who this is, whatever the account is called one day.
fn sid(login: &str) -> Option<String> {
    let login: Vec<u16> = login.encode_utf16().chain([0]).collect();
    // A security identifier has 68 bytes at most, a domain's name 255 letters.
    let (mut bytes, mut domain, mut kind) = ([0_u8; 68], [0_u16; 256], 0);
    let (mut length, mut letters) = (bytes.len() as u32, domain.len() as u32);
    // SAFETY: the name ends in a NUL, and both buffers have the lengths that are given.
    let found = unsafe {
        LookupAccountNameW(
            ptr::null(),
            login.as_ptr(),
            bytes.as_mut_ptr().cast(),
            &raw mut length,
            domain.as_mut_ptr(),
            &raw mut letters,
            &raw mut kind,
        )
    };
    if found == 0 { None } else { plugged::sid(&bytes) }
}
