//! What the standard library does not ask of Windows: free space, renames that last, directories of the agent's own.
#![expect(unsafe_code, reason = "calls of the system without a safe crate of their size")]
#![expect(clippy::cast_possible_truncation, reason = "sizes of structures and buffers of some hundred bytes")]

use std::ffi::c_void;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION, ERROR_SUCCESS, LocalFree, WIN32_ERROR,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetNamedSecurityInfoW,
    SDDL_REVISION_1, SE_FILE_OBJECT, SetNamedSecurityInfoW,
};
use windows_sys::Win32::Security::{
    ACL, DACL_SECURITY_INFORMATION, EqualSid, GetSecurityDescriptorDacl, GetTokenInformation, IsWellKnownSid,
    OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES,
    TOKEN_QUERY, TOKEN_USER, TokenUser, WinBuiltinAdministratorsSid, WinLocalSystemSid,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateDirectoryW, GetDiskFreeSpaceExW, MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH, MoveFileExW,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// How often a rename is tried again, and what lies between: a virus scanner or an indexer holds a new file for moments.
const RENAME_TRIES: u32 = 20;
const RENAME_PAUSE: Duration = Duration::from_millis(50);

/// Bytes that this user can still write to the volume of `path`.
pub(super) fn free(path: &Path) -> io::Result<u64> {
    let path = wide(path)?;
    let mut bytes = 0;
    // SAFETY: the path ends in a NUL, and the number lives longer than the call; the other two answers are not wanted.
    let asked = unsafe { GetDiskFreeSpaceExW(path.as_ptr(), &raw mut bytes, ptr::null_mut(), ptr::null_mut()) };
    if asked == 0 { Err(io::Error::last_os_error()) } else { Ok(bytes) }
}

/// Renames, over a file that stands there, and returns when the disk has it.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let (wide_from, wide_to) = (wide(from)?, wide(to)?);
    let mut tries = 0;
    loop {
        // SAFETY: both paths end in a NUL.
        let renamed = unsafe {
            MoveFileExW(wide_from.as_ptr(), wide_to.as_ptr(), MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)
        };
        if renamed != 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        let held = [ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION];
        let passing = error.raw_os_error().is_some_and(|code| held.contains(&code.cast_unsigned()));
        if !passing {
            return Err(error);
        }
        // The standard library's way replaces a file that somebody reads, but tells the disk nothing.
        #[expect(clippy::disallowed_methods, reason = "this is the room that renames")]
        if std::fs::rename(from, to).is_ok() {
            return flush(to);
        }
        tries += 1;
        if tries >= RENAME_TRIES {
            return Err(error);
        }
        std::thread::sleep(RENAME_PAUSE);
    }
}

/// A flush of a file takes with it what the system noted about its name.
fn flush(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::File::options().write(true).open(path)?.sync_all()
}

/// Makes a directory, and those missing above it, that only the system, administrators and this user may enter.
pub(super) fn create_private(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(above) = directory.parent().filter(|above| !above.as_os_str().is_empty()) {
        create_private(above)?;
    }
    let access = Descriptor::private()?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: access.0,
        bInheritHandle: 0,
    };
    let path = wide(directory)?;
    // SAFETY: the path ends in a NUL; the attributes and what they point to live longer than the call.
    let made = unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) };
    if made != 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        error => Err(error),
    }
}

/// Takes a directory that is there, and what inherits from it, away from everybody but the system, administrators and
/// this user.
pub fn make_private(directory: &Path) -> io::Result<()> {
    let access = Descriptor::private()?;
    let (mut present, mut defaulted) = (0, 0);
    let mut list: *mut ACL = ptr::null_mut();
    // SAFETY: the descriptor is whole, and the three answers live longer than the call.
    let read = unsafe { GetSecurityDescriptorDacl(access.0, &raw mut present, &raw mut list, &raw mut defaulted) };
    if read == 0 || present == 0 {
        return Err(io::Error::last_os_error());
    }
    let path = wide(directory)?;
    let what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
    // SAFETY: the path ends in a NUL; the list is part of the descriptor, which is dropped behind the call.
    let set = unsafe {
        SetNamedSecurityInfoW(path.as_ptr(), SE_FILE_OBJECT, what, ptr::null_mut(), ptr::null_mut(), list, ptr::null())
    };
    of(set)
}

/// Does it belong to the system, to administrators or to this user? Everybody may make directories in `%ProgramData%`, so
/// one that somebody else put there first is a trap.
pub fn is_trusted(path: &Path) -> io::Result<bool> {
    let path = wide(path)?;
    let mut owner: PSID = ptr::null_mut();
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    // SAFETY: the path ends in a NUL; the answers live longer than the call, and the descriptor is freed by its wrapper.
    let read = unsafe {
        GetNamedSecurityInfoW(
            path.as_ptr(),
            SE_FILE_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    of(read)?;
    let _descriptor = Descriptor(descriptor);
    let user = User::current()?;
    // SAFETY: the owner is part of the descriptor, which lives until the end of this function; the user's is its own.
    let known = unsafe {
        IsWellKnownSid(owner, WinLocalSystemSid) != 0
            || IsWellKnownSid(owner, WinBuiltinAdministratorsSid) != 0
            || EqualSid(owner, user.sid()) != 0
    };
    Ok(known)
}

fn of(code: WIN32_ERROR) -> io::Result<()> {
    if code == ERROR_SUCCESS { Ok(()) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
}

/// A path as the system takes it, however long it is.
fn wide(path: &Path) -> io::Result<Vec<u16>> {
    let path = std::path::absolute(path)?;
    let mut text: Vec<u16> = path.as_os_str().encode_wide().collect();
    if text.contains(&0) {
        return Err(io::Error::from(io::ErrorKind::InvalidFilename));
    }
    // Two backslashes: a share, or a path that is in this form already.
    if !text.starts_with(&[u16::from(b'\\'), u16::from(b'\\')]) {
        text.splice(0..0, r"\\?\".encode_utf16());
    }
    text.push(0);
    Ok(text)
}

/// A security descriptor that the system allocated.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    /// Everything for the system, administrators and this user, inherited by what is made below; nothing for others, and
    /// nothing inherited from above.
    fn private() -> io::Result<Self> {
        let text = format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;{})", User::current()?.text()?);
        let text: Vec<u16> = text.encode_utf16().chain([0]).collect();
        let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
        // SAFETY: the text ends in a NUL, and the answer lives longer than the call; its length is not wanted.
        let made = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        };
        if made == 0 { Err(io::Error::last_os_error()) } else { Ok(Self(descriptor)) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: both calls that make one say that it is freed so; a null pointer is allowed.
        unsafe { LocalFree(self.0) };
    }
}

/// Who runs this process: a `TOKEN_USER` with the identifier that it points to, in one allocation.
struct User(Vec<u64>);

impl User {
    fn current() -> io::Result<Self> {
        let mut token = ptr::null_mut();
        // SAFETY: the pseudo handle of this process is always good, and the answer lives longer than the call.
        if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was made just now and is nobody else's.
        let token = unsafe { OwnedHandle::from_raw_handle(token) };
        // An identifier has at most 68 bytes; in words, so that the structure at its beginning is aligned.
        let mut buffer = vec![0_u64; 32];
        let mut length = 0;
        // SAFETY: the class and the structure belong together, and the buffer's size in bytes is given.
        let read = unsafe {
            GetTokenInformation(
                token.as_raw_handle(),
                TokenUser,
                buffer.as_mut_ptr().cast::<c_void>(),
                (buffer.len() * size_of::<u64>()) as u32,
                &raw mut length,
            )
        };
        if read == 0 { Err(io::Error::last_os_error()) } else { Ok(Self(buffer)) }
    }

    fn sid(&self) -> PSID {
        // SAFETY: the system has put a TOKEN_USER at the beginning of the buffer, which is aligned for it.
        unsafe { (*self.0.as_ptr().cast::<TOKEN_USER>()).User.Sid }
    }

    /// As `S-1-5-…`.
    fn text(&self) -> io::Result<String> {
        let mut text = ptr::null_mut();
        // SAFETY: the identifier is whole, and the answer lives longer than the call.
        if unsafe { ConvertSidToStringSidW(self.sid(), &raw mut text) } == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the system ends the text with a NUL, and it is read before it is freed.
        let copied = unsafe {
            let length = (0..256).take_while(|at| *text.add(*at) != 0).count();
            String::from_utf16_lossy(std::slice::from_raw_parts(text, length))
        };
        // SAFETY: the call that made it says that it is freed so.
        unsafe { LocalFree(text.cast::<c_void>()) };
        Ok(copied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, read_to_string};
    use std::io::Write;

    #[test]
    fn a_rename_replaces_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let (new, old) = (directory.path().join("new"), directory.path().join("old"));
        for (path, text) in [(&new, "new"), (&old, "old")] {
            File::create(path).and_then(|mut file| file.write_all(text.as_bytes())).expect("a file");
        }
        rename(&new, &old).expect("renamed");
        assert_eq!(read_to_string(&old).expect("the file"), "new");
        assert!(!new.exists());
        assert!(rename(&new, &old).is_err(), "there is nothing to rename");
    }

    #[test]
    fn a_private_directory_is_made_with_those_above_it_and_is_ours() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a/b");
        create_private(&path).expect("made");
        create_private(&path).expect("there already");
        assert!(is_trusted(&path).expect("asked"));
        make_private(&path).expect("made private");
        File::create(path.join("file")).expect("we may write there");
        assert!(is_trusted(&directory.path().join("absent")).is_err());
    }

    #[test]
    fn a_path_is_taken_however_long_it_is() {
        let text = |path: &str| String::from_utf16_lossy(&wide(Path::new(path)).expect("a path"));
        assert_eq!(text(r"C:\a/b"), "\\\\?\\C:\\a\\b\0");
        assert_eq!(text(r"\\server\share\a"), "\\\\server\\share\\a\0");
        assert!(wide(Path::new("a\0b")).is_err());
        assert!(free(Path::new("C:\\")).expect("known") > 0);
    }
}
