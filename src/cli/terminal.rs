//! Whose terminal it is: this process's own, or that of somebody elsewhere for whom a server runs a verb.
//!
//! A verb runs on one thread from its beginning to its end, so what it says, reads and is called is kept by thread.

use std::cell::RefCell;
use std::io::{self, Read};

use crate::server::verbs::{Message, Tone};

/// Bytes of messages that are kept for somebody elsewhere; a sentence says that there were more.
const MOST: usize = 64 << 10;

/// Somebody elsewhere.
struct Elsewhere {
    /// As the audit log names them.
    actor: String,
    /// What they sent for standard input.
    input: Option<String>,
    messages: Vec<Message>,
    bytes: usize,
}

thread_local! {
    static ELSEWHERE: RefCell<Option<Elsewhere>> = const { RefCell::new(None) };
}

/// Takes it back, whatever happens: threads are used again.
struct Here;

impl Drop for Here {
    fn drop(&mut self) {
        ELSEWHERE.take();
    }
}

/// Runs something for somebody elsewhere; gives what it said beside its output.
pub(super) fn elsewhere<T>(actor: String, input: Option<String>, work: impl FnOnce() -> T) -> (T, Vec<Message>) {
    let _here = Here;
    ELSEWHERE.set(Some(Elsewhere { actor, input, messages: Vec::new(), bytes: 0 }));
    let done = work();
    let messages = ELSEWHERE.take().map(|it| it.messages).unwrap_or_default();
    (done, messages)
}

/// Is it somebody else's? Progress is drawn on one's own only.
pub(super) fn is_elsewhere() -> bool {
    ELSEWHERE.with(|it| it.borrow().is_some())
}

/// Who that is.
pub(super) fn actor() -> Option<String> {
    ELSEWHERE.with(|it| it.borrow().as_ref().map(|it| it.actor.clone()))
}

/// Keeps a message for somebody elsewhere; `false` if there is nobody, so that it is said here.
pub(super) fn keep(tone: Tone, text: &str) -> bool {
    ELSEWHERE.with(|it| {
        let mut it = it.borrow_mut();
        let Some(it) = it.as_mut() else { return false };
        // The error is why it ended: that is told however much was said before.
        let room = MOST.saturating_sub(it.bytes);
        if text.len() <= room || tone == Tone::Error {
            it.bytes += text.len();
            it.messages.push(Message { tone, text: text.to_owned() });
        } else if room > 0 {
            it.bytes = MOST;
            it.messages.push(Message { tone: Tone::Warning, text: "there was more to say than is sent".to_owned() });
        }
        true
    })
}

/// Standard input: the process's own, or what was sent.
pub(super) fn input() -> Box<dyn Read> {
    ELSEWHERE.with(|it| match it.borrow_mut().as_mut() {
        Some(it) => Box::new(io::Cursor::new(it.input.take().unwrap_or_default())) as Box<dyn Read>,
        None => Box::new(io::stdin()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_for_somebody_elsewhere_is_bounded_and_the_error_is_told() {
        let ((), said) = elsewhere("ada".to_owned(), None, || {
            assert_eq!(actor().as_deref(), Some("ada"));
            for _ in 0..3 {
                assert!(keep(Tone::Note, &"x".repeat(MOST / 2)));
            }
            assert!(keep(Tone::Error, "it failed"));
        });
        let tones: Vec<Tone> = said.iter().map(|message| message.tone).collect();
        assert_eq!(tones, [Tone::Note, Tone::Note, Tone::Error]);
        assert!(!is_elsewhere() && !keep(Tone::Note, "here"));
    }

    #[test]
    fn a_panic_leaves_nobody_behind() {
        let caught = std::panic::catch_unwind(|| elsewhere("ada".to_owned(), None, || panic!("in the middle")));
        assert!(caught.is_err() && !is_elsewhere());
    }
}
