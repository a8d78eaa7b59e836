//! Windows: a message to the session of whoever sits at the computer.
//!
//! ```text
//! WTSEnumerateSessions ─► who is logged in, and which sessions somebody sits before
//! WTSSendMessage       ─► a message there, drawn by the system, with a time-out of its own
//! MessageBox           ─► where that does not work, and a person started the agent in a session of their own
//! ```
//!
//! A service draws nothing in anybody's session: the system does, so there is no window of the agent's that another
//! program could send messages to. It cannot be taken back, either: when the agent stops, it stays until its time is over.

#![expect(
    unsafe_code,
    reason = "sessions and messages are calls of the system, and there is no safe crate of their size"
)]

use std::ffi::c_void;
use std::ptr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{HWND, LPARAM};
use windows_sys::Win32::System::RemoteDesktop::{
    ProcessIdToSessionId, WTS_CURRENT_SERVER_HANDLE, WTS_SESSION_INFOW, WTSActive, WTSEnumerateSessionsW,
    WTSFreeMemory, WTSGetActiveConsoleSessionId, WTSQuerySessionInformationW, WTSSendMessageW, WTSUserName,
};
use windows_sys::Win32::System::Threading::GetCurrentThreadId;
use windows_sys::Win32::UI::WindowsAndMessaging::{EnumThreadWindows, IDCANCEL, MessageBoxW, PostMessageW, WM_COMMAND};
use windows_sys::core::BOOL;

use super::message::{Message, Session, audience};
use super::screen::{self, LOOK, Screen, Shown, TITLE, Window};
use super::{Answer, People, Question};

/// Sessions that are looked at.
const MANY: usize = 4096;
/// How much later than its own time-out an answer may come.
const LATE: Duration = Duration::from_secs(5);

/// The people of a Windows computer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Desktop;

impl Desktop {
    /// This computer's.
    pub(super) fn of_this_system() -> Self {
        Self
    }
}

impl Screen for Desktop {
    fn is_anybody_there(&self) -> bool {
        sessions().iter().any(|session| !session.user.is_empty()) || is_persons_own()
    }

    fn show(&self, window: &Window<'_>, time: Duration, stop: &dyn Fn() -> bool) -> Option<Shown> {
        let message = Message::of(window);
        for session in audience(&sessions(), console()) {
            match send(session, &message, time, stop) {
                Shown::Failed => tracing::debug!("no message can be shown in session {session}"),
                shown => return Some(shown),
            }
        }
        if is_persons_own() {
            match message_box(&message, time, stop) {
                Shown::Failed => tracing::debug!("no message can be shown in the agent's own session"),
                shown => return Some(shown),
            }
        }
        None
    }

    fn write(&self, text: &str) {
        tracing::info!("nobody sits at the computer; the message was \"{text}\"");
    }
}

impl People for Desktop {
    fn is_attended(&self) -> bool {
        self.is_anybody_there()
    }

    fn ask(&self, question: &Question, stop: &dyn Fn() -> bool) -> Answer {
        screen::ask(self, question, stop)
    }

    fn tell(&self, text: &str, stop: &dyn Fn() -> bool) {
        screen::tell(self, text, stop);
    }
}

/// The session at the computer itself, if one is.
fn console() -> Option<u32> {
    // SAFETY: takes nothing, gives a number.
    let id = unsafe { WTSGetActiveConsoleSessionId() };
    (id != u32::MAX).then_some(id)
}

/// Was this program started in a person's session? Services run in session 0, where nobody logs in.
fn is_persons_own() -> bool {
    let mut session = 0;
    // SAFETY: the number lives during the call.
    let told = unsafe { ProcessIdToSessionId(std::process::id(), &raw mut session) };
    told != 0 && session != 0
}

/// All sessions; none if the system does not tell.
fn sessions() -> Vec<Session> {
    let mut first: *mut WTS_SESSION_INFOW = ptr::null_mut();
    let mut count = 0;
    // SAFETY: both places live during the call; version 1 is the only one.
    let told = unsafe { WTSEnumerateSessionsW(WTS_CURRENT_SERVER_HANDLE, 0, 1, &raw mut first, &raw mut count) };
    if told == 0 || first.is_null() {
        return Vec::new();
    }
    let sessions = (0..(count as usize).min(MANY)).map(|at| {
        // SAFETY: the system says that so many follow each other there.
        let info = unsafe { &*first.add(at) };
        Session { id: info.SessionId, is_active: info.State == WTSActive, user: user_of(info.SessionId) }
    });
    let sessions = sessions.collect();
    // SAFETY: it came from the call above, and nothing of it is used any more.
    unsafe { WTSFreeMemory(first.cast::<c_void>()) };
    sessions
}

/// Who is logged in there; empty for nobody.
fn user_of(session: u32) -> String {
    let mut text: *mut u16 = ptr::null_mut();
    let mut bytes = 0;
    // SAFETY: both places live during the call.
    let told = unsafe {
        WTSQuerySessionInformationW(
            WTS_CURRENT_SERVER_HANDLE,
            session,
            WTSUserName,
            (&raw mut text).cast(),
            &raw mut bytes,
        )
    };
    if told == 0 || text.is_null() {
        return String::new();
    }
    // SAFETY: the system says that so many bytes are there, the end's zero among them.
    let units = unsafe { std::slice::from_raw_parts(text, bytes as usize / 2) };
    let user = String::from_utf16_lossy(units).trim_end_matches('\0').to_owned();
    // SAFETY: it came from the call above, and nothing of it is used any more.
    unsafe { WTSFreeMemory(text.cast::<c_void>()) };
    user
}

/// Has the system show a message in a session, and waits for its end.
fn send(session: u32, message: &Message, time: Duration, stop: &dyn Fn() -> bool) -> Shown {
    let (title, text, style) = (utf16(TITLE), utf16(&message.text), message.style);
    // 0 would be for ever.
    let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1);
    let call = move || {
        let mut answer = 0;
        // SAFETY: texts and answer live during the call; lengths are in bytes, without the zero at the end.
        let sent = unsafe {
            WTSSendMessageW(
                WTS_CURRENT_SERVER_HANDLE,
                session,
                title.as_ptr(),
                length(&title),
                text.as_ptr(),
                length(&text),
                style,
                seconds,
                &raw mut answer,
                1,
            )
        };
        if sent == 0 { 0 } else { answer }
    };
    let Some(answer) = on_a_thread(call) else { return Shown::Failed };
    wait_for(&answer, time.saturating_add(LATE), stop).map_or(Shown::Open, |answer| message.shown(answer))
}

/// Shows a message in the agent's own session, and closes it when its time is over.
fn message_box(message: &Message, time: Duration, stop: &dyn Fn() -> bool) -> Shown {
    let (title, text, style) = (utf16(TITLE), utf16(&message.text), message.style);
    let (sender, thread) = sync_channel(1);
    let call = move || {
        // SAFETY: takes nothing, gives a number.
        let _ = sender.send(unsafe { GetCurrentThreadId() });
        // SAFETY: both texts end with a zero and live during the call.
        unsafe { MessageBoxW(ptr::null_mut(), text.as_ptr(), title.as_ptr(), style) }
    };
    let Some(answer) = on_a_thread(call) else { return Shown::Failed };
    if let Some(answer) = wait_for(&answer, time, stop) {
        return message.shown(answer);
    }
    if let Ok(thread) = thread.recv() {
        // SAFETY: the function has the right form and keeps nothing.
        unsafe { EnumThreadWindows(thread, Some(close), 0) };
        // So that it is gone when the next one comes.
        let _ = answer.recv_timeout(LATE);
    }
    Shown::Open
}

/// As if Cancel had been pressed: a window without that button takes it, too.
unsafe extern "system" fn close(window: HWND, _: LPARAM) -> BOOL {
    // SAFETY: a number for a window; one that is gone is refused.
    unsafe { PostMessageW(window, WM_COMMAND, usize::try_from(IDCANCEL).unwrap_or_default(), 0) };
    1
}

/// A thread for a call that waits for a person; nobody waits for the thread.
fn on_a_thread(call: impl FnOnce() -> i32 + Send + 'static) -> Option<Receiver<i32>> {
    let (sender, answer) = sync_channel(1);
    let run = move || {
        // Nobody listens any more when the time is over.
        let _ = sender.send(call());
    };
    std::thread::Builder::new().name("message".to_owned()).spawn(run).ok()?;
    Some(answer)
}

/// The answer, if it comes in time.
fn wait_for(answer: &Receiver<i32>, time: Duration, stop: &dyn Fn() -> bool) -> Option<i32> {
    let began = Instant::now();
    while began.elapsed() < time && !stop() {
        match answer.recv_timeout(LOOK.min(time.saturating_sub(began.elapsed()))) {
            Ok(answer) => return Some(answer),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Some(0),
        }
    }
    None
}

fn utf16(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

fn length(text: &[u16]) -> u32 {
    u32::try_from((text.len() - 1) * 2).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_who_is_there() {
        // Whatever it says: nothing of it may be torn.
        for session in sessions() {
            assert!(!session.user.contains('\0'), "{session:?}");
        }
        assert!(console().is_none_or(|id| id != u32::MAX));
    }

    #[test]
    fn a_call_that_answers_is_heard_and_one_that_does_not_is_left() {
        let answer = on_a_thread(|| 6).expect("a thread");
        assert_eq!(wait_for(&answer, Duration::from_mins(1), &|| false), Some(6));
        let (ended, wait) = sync_channel::<()>(0);
        let answer = on_a_thread(move || wait.recv().map_or(1, |()| 2)).expect("a thread");
        assert_eq!(wait_for(&answer, Duration::from_millis(1), &|| false), None);
        assert_eq!(wait_for(&answer, Duration::from_mins(1), &|| true), None);
        drop(ended);
        assert_eq!(wait_for(&answer, Duration::from_mins(1), &|| false), Some(1));
    }

    #[test]
    fn a_session_that_is_not_there_cannot_be_shown_anything() {
        let message = Message::of(&Window { text: "Save", buttons: &[screen::GO_ON] });
        assert_eq!(send(4_000_000_000, &message, Duration::from_secs(1), &|| false), Shown::Failed);
    }

    #[test]
    fn texts_end_with_a_zero_that_is_not_counted() {
        assert_eq!((utf16("aä"), length(&utf16("aä"))), (vec![97, 228, 0], 4));
    }
}
