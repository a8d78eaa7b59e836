//! People: what somebody at the computer is asked before a package is executed, and told afterwards (ocs-protocol 10).
//!
//! | what happens | what is done |
//! |---|---|
//! | nobody is logged in | it goes on at once, or waits for somebody, as the package says |
//! | the person goes on, or the countdown ends | it is executed |
//! | the person refuses, where that is allowed | `ERR_ABORTED`, for good |
//! | the person puts it off, where that is allowed | no result; asked again after the next contact |
//! | the window is closed without an answer | as if it were still open: the countdown goes on |
//! | there is no countdown (0), and no answer within two hours | as if it were put off |
//! | the agent is told to stop meanwhile | as if it were put off, but it does not count |
//! | it was put off as often as it may be, or its deadline has come | asked without "later"; told only, from the deadline on |
//!
//! A question never decides for a person what the package did not allow: whoever may not refuse has no such button.
//! While a question is open nothing else is done, as with the stock Windows agent.

#[cfg(unix)]
mod dialog;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(target_os = "macos", all(unix, test)))]
mod macos;
#[cfg(any(windows, test))]
mod message;
mod screen;
#[cfg(windows)]
mod windows;

use std::time::Duration;

#[cfg(target_os = "linux")]
pub use self::linux::Desktop;
#[cfg(target_os = "macos")]
use self::macos::Desktop;
#[cfg(windows)]
use self::windows::Desktop;
pub use crate::model::prompt::{DEFAULT_COUNTDOWN, LONGEST_WAIT, Question};
use crate::model::{Done, plain_text};

/// How long a message after the action stays: what the stock Windows agent gives it.
pub const MESSAGE_TIME: Duration = Duration::from_secs(30);

/// What came of a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Nobody is logged in, so nobody was asked: it goes on.
    Nobody,
    /// The person wants it now.
    GoOn,
    /// The countdown ended: it goes on.
    CountedDown,
    /// The person refused, for good.
    Abort,
    /// Not now: asked again after the next contact.
    Delay,
}

impl Answer {
    /// Is the package executed now?
    #[must_use]
    pub fn goes_on(self) -> bool {
        matches!(self, Self::Nobody | Self::GoOn | Self::CountedDown)
    }
}

/// Whoever sits at the computer, or a test's.
///
/// One implementation a system: a dialog program in the person's session on Linux and macOS, a message to the session on
/// Windows. What follows from how a window ended is the same everywhere. Both functions return in bounded time, and soon after `stop` says so; neither fails: where
/// a question cannot be put, nobody is there.
pub trait People {
    /// Is there somebody who could be asked? `true` where that cannot be told; [`People::ask`] finds out then.
    fn is_attended(&self) -> bool {
        true
    }

    /// Asks before a package is executed.
    fn ask(&self, question: &Question, stop: &dyn Fn() -> bool) -> Answer;

    /// Tells after it was executed; returns when the person has read it, or after [`MESSAGE_TIME`].
    fn tell(&self, text: &str, stop: &dyn Fn() -> bool);
}

/// Systems on which this agent cannot ask anybody: every question is answered by nobody, so packages go on. The log says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct NobodyToAsk;

impl People for NobodyToAsk {
    fn ask(&self, question: &Question, _stop: &dyn Fn() -> bool) -> Answer {
        tracing::info!("nobody can be asked on this system, so it goes on; the question was \"{}\"", question.text);
        Answer::Nobody
    }

    fn tell(&self, text: &str, _stop: &dyn Fn() -> bool) {
        tracing::info!("nobody can be told on this system; the message was \"{text}\"");
    }
}

/// The people of this computer.
#[must_use]
pub fn of_this_system() -> Box<dyn People> {
    #[cfg(any(target_os = "linux", target_os = "macos", windows))]
    return Box::new(Desktop::of_this_system());
    #[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
    Box::new(NobodyToAsk)
}

/// The text of the message after the action; `None` if there is nothing to read in it.
#[must_use]
pub fn message(done: &Done) -> Option<String> {
    Some(plain_text(&done.text)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Notify;

    #[test]
    fn only_a_refusal_and_a_delay_keep_a_package_from_being_executed() {
        assert!([Answer::Nobody, Answer::GoOn, Answer::CountedDown].into_iter().all(Answer::goes_on));
        assert!(![Answer::Abort, Answer::Delay].into_iter().any(Answer::goes_on));
    }

    #[test]
    fn where_nobody_can_be_asked_it_goes_on() {
        assert_eq!(NobodyToAsk.ask(&Question::from(&Notify::default()), &|| false), Answer::Nobody);
        NobodyToAsk.tell("done", &|| false);
    }

    #[test]
    fn a_message_of_nothing_but_markup_is_none() {
        assert_eq!(message(&Done { text: "<p> </p>".to_owned() }), None);
        assert_eq!(message(&Done { text: "Restart <i>soon</i>".to_owned() }).as_deref(), Some("Restart soon"));
    }
}
