//! Ctrl+C, Ctrl+Break and the closing of the window, as Windows tells a program of them.
#![expect(unsafe_code, reason = "the handler is a call of the system, and there is no safe crate of its size")]

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, SetConsoleCtrlHandler};
use windows_sys::core::BOOL;

use super::Stop;

/// The handler carries nothing, so what it is about is left here.
static STOP: OnceLock<Stop> = OnceLock::new();

/// Has these events ask to stop; asked twice is urgent.
pub(super) fn listen(stop: &Stop) -> io::Result<()> {
    let _ = STOP.set(stop.clone());
    // SAFETY: the handler is a function of the right form that lives as long as the program.
    let set = unsafe { SetConsoleCtrlHandler(Some(handler), 1) };
    if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Runs in a thread of its own, which the system made for it.
unsafe extern "system" fn handler(event: u32) -> BOOL {
    let Some(stop) = STOP.get() else { return 0 };
    stop.stop();
    if event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT {
        // The window, the session or the system ends: the program is ended when this returns, or after five seconds.
        stop.stop();
        std::thread::sleep(Duration::from_secs(5));
    }
    1
}
