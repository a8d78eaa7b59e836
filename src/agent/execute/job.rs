//! A job object: everything that a command starts belongs to it and cannot leave.
//!
//! The command is started asleep, put into the job and woken, so nothing that it does escapes. The system ends the job
//! with its last handle: an agent that is killed leaves no command running that nobody waits for.
#![expect(unsafe_code, reason = "jobs are calls of the system, and there is no safe crate of their size")]
#![expect(clippy::cast_possible_truncation, reason = "sizes of structures and buffers of some hundred bytes")]

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};
use std::ptr;

use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT, JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION,
    JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, JOBOBJECT_BASIC_ACCOUNTING_INFORMATION, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JobObjectBasicAccountingInformation, JobObjectExtendedLimitInformation, QueryInformationJobObject,
    SetInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{
    CREATE_NO_WINDOW, CREATE_SUSPENDED, OpenThread, ResumeThread, THREAD_SUSPEND_RESUME,
};

/// A command with everything that it started.
#[derive(Debug)]
pub(super) struct Job(OwnedHandle);

impl Job {
    /// An empty one, which the system ends when the agent ends. What crashes in it ends, too, instead of asking somebody
    /// who is not there.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no attributes and no name are allowed; the result is checked below.
        let handle = unsafe { CreateJobObjectW(ptr::null(), ptr::null()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was made just now and is nobody else's.
        let job = Self(unsafe { OwnedHandle::from_raw_handle(handle) });
        job.limit(JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION)?;
        Ok(job)
    }

    /// Starts a command in it, without a window.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut child = command.creation_flags(CREATE_SUSPENDED | CREATE_NO_WINDOW).spawn()?;
        // SAFETY: both handles are open: the job's is ours, the process's is the child's.
        let assigned = unsafe { AssignProcessToJobObject(self.0.as_raw_handle(), child.as_raw_handle()) };
        let woken = if assigned == 0 { Err(io::Error::last_os_error()) } else { wake(child.id()) };
        if let Err(error) = woken {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        Ok(child)
    }

    /// Does anything in it run still?
    pub(super) fn is_alive(&self) -> io::Result<bool> {
        let mut state = JOBOBJECT_BASIC_ACCOUNTING_INFORMATION::default();
        // SAFETY: the class and the structure belong together, its size is given, and the answer's length is not asked for.
        let asked = unsafe {
            QueryInformationJobObject(
                self.0.as_raw_handle(),
                JobObjectBasicAccountingInformation,
                (&raw mut state).cast::<c_void>(),
                size_of_val(&state) as u32,
                ptr::null_mut(),
            )
        };
        if asked == 0 { Err(io::Error::last_os_error()) } else { Ok(state.ActiveProcesses > 0) }
    }

    /// Ends everything in it at once.
    pub(super) fn end(&self) -> io::Result<()> {
        // SAFETY: the handle is open.
        let ended = unsafe { TerminateJobObject(self.0.as_raw_handle(), 1) };
        if ended == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Lets go what still runs: a service that a command has left behind goes on after the agent.
    pub(super) fn let_go(self) {
        // If the system refuses, what was left ends with the job: nothing is lost but a process without an owner.
        let _ = self.limit(0);
    }

    fn limit(&self, flags: JOB_OBJECT_LIMIT) -> io::Result<()> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = flags;
        // SAFETY: the class and the structure belong together, and its size is given.
        let set = unsafe {
            SetInformationJobObject(
                self.0.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast::<c_void>(),
                size_of_val(&limits) as u32,
            )
        };
        if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Wakes a process that was started asleep: it has one thread, which the standard library does not tell.
fn wake(process: u32) -> io::Result<()> {
    // SAFETY: the call takes numbers only; the result is checked below.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was made just now and is nobody else's.
    let snapshot = unsafe { OwnedHandle::from_raw_handle(snapshot) };
    let mut entry = THREADENTRY32 { dwSize: size_of::<THREADENTRY32>() as u32, ..THREADENTRY32::default() };
    // SAFETY: the snapshot is open, and the entry says its own size.
    let mut more = unsafe { Thread32First(snapshot.as_raw_handle(), &raw mut entry) };
    while more != 0 {
        if entry.th32OwnerProcessID == process {
            return resume(entry.th32ThreadID);
        }
        // SAFETY: as above.
        more = unsafe { Thread32Next(snapshot.as_raw_handle(), &raw mut entry) };
    }
    Err(io::Error::other("the process that was started has no thread"))
}

fn resume(thread: u32) -> io::Result<()> {
    // SAFETY: the call takes numbers only; the result is checked below.
    let handle = unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, thread) };
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was made just now and is nobody else's.
    let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
    // SAFETY: the handle is open and may resume.
    let before = unsafe { ResumeThread(handle.as_raw_handle()) };
    if before == u32::MAX { Err(io::Error::last_os_error()) } else { Ok(()) }
}
