//! A message of Windows. Its buttons have words of the system, so the text says what each of them means.
//!
//! | the package allows | buttons | closing the window |
//! |---|---|---|
//! | nothing | OK, Cancel | Cancel: no answer, the countdown goes on |
//! | later | Yes, No (later) | cannot be closed |
//! | refusing | Yes, No (refuse) | cannot be closed: nobody refuses by accident |
//! | both | Yes, No (refuse), Cancel (later) | Cancel: later |
//!
//! Where there is one that changes nothing, it is the one that a key pressed by accident finds.

use super::screen::{ABORT, Shown, Window};
use crate::model::prompt::buttons_of_windows;

/// What the system calls the buttons and their answers.
const OK: i32 = 1;
const CANCEL: i32 = 2;
const YES: i32 = 6;
const NO: i32 = 7;
/// "Its time is over", and "nobody waits for an answer".
const TIMED_OUT: i32 = 32_000;
const NOT_AWAITED: i32 = 32_001;

const STYLE_OK: u32 = 0;
const STYLE_OK_CANCEL: u32 = 1;
const STYLE_YES_NO_CANCEL: u32 = 3;
const STYLE_YES_NO: u32 = 4;
const SECOND_BUTTON: u32 = 0x100;
const THIRD_BUTTON: u32 = 0x200;
/// The sign of information, above the windows that are open.
const COMMON: u32 = 0x40 | 0x1_0000 | 0x4_0000;

/// The buttons of one message.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Message {
    /// What stands in it.
    pub(super) text: String,
    /// `MB_…`.
    pub(super) style: u32,
    /// What the answers mean; an answer that is not here is none.
    meanings: Vec<(i32, &'static str, &'static str)>,
}

impl Message {
    /// The message that comes nearest to a window.
    pub(super) fn of(window: &Window<'_>) -> Self {
        let named = buttons_of_windows(window.buttons);
        // What changes nothing is what a key pressed by accident finds.
        let style = match named.len() {
            3 => STYLE_YES_NO_CANCEL | THIRD_BUTTON,
            2 if window.buttons.contains(&ABORT) => STYLE_YES_NO,
            2 => STYLE_YES_NO | SECOND_BUTTON,
            1 => STYLE_OK_CANCEL | SECOND_BUTTON,
            _ => STYLE_OK,
        };
        let meanings: Vec<_> = named.iter().map(|(name, meaning)| (number_of(name), *name, *meaning)).collect();
        let legend: Vec<String> = meanings.iter().map(|(_, name, meaning)| format!("{name}: {meaning}")).collect();
        let parts = [window.text, &legend.join("\n")];
        let text = parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("\n\n");
        Self { text, style: style | COMMON, meanings }
    }

    /// What an answer of the system says.
    pub(super) fn shown(&self, answer: i32) -> Shown {
        match answer {
            0 => Shown::Failed,
            TIMED_OUT | NOT_AWAITED => Shown::Open,
            _ => match self.meanings.iter().find(|(number, ..)| *number == answer) {
                Some((_, _, meaning)) => Shown::Pressed((*meaning).to_owned()),
                None => Shown::Closed,
            },
        }
    }
}

/// What the system answers for a button.
fn number_of(name: &str) -> i32 {
    match name {
        "OK" => OK,
        "Yes" => YES,
        "No" => NO,
        _ => CANCEL,
    }
}

/// Somebody who is logged in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Session {
    pub(super) id: u32,
    /// Does somebody sit before it, here or elsewhere? It may be locked.
    pub(super) is_active: bool,
    /// Empty: nobody's, such as the one that services run in, or one that waits for somebody to log in.
    pub(super) user: String,
}

/// The sessions that a message may be shown in: the one at the computer itself first, then as the system names them.
pub(super) fn audience(sessions: &[Session], at_the_computer: Option<u32>) -> Vec<u32> {
    let active = sessions.iter().filter(|session| session.is_active && !session.user.is_empty());
    let mut ids: Vec<u32> = active.map(|session| session.id).collect();
    ids.sort_by_key(|id| Some(*id) != at_the_computer);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::people::screen::{DELAY, GO_ON, READ};

    fn message(buttons: &[&'static str]) -> Message {
        Message::of(&Window { text: "Save", buttons })
    }

    #[test]
    fn the_text_says_what_the_buttons_mean() {
        let texts = [&[GO_ON, DELAY, ABORT][..], &[GO_ON, DELAY], &[GO_ON, ABORT], &[GO_ON], &[READ]].map(|buttons| {
            let message = message(buttons);
            format!("{:x} {}", message.style, message.text.replace('\n', "/"))
        });
        insta::assert_snapshot!(texts.join("\n"), @r"
        50243 Save//Yes: Start now/No: Do not install/Cancel: Later
        50144 Save//Yes: Start now/No: Later
        50044 Save//Yes: Start now/No: Do not install
        50141 Save//OK: Start now
        50040 Save
        ");
    }

    #[test]
    fn an_answer_is_what_its_button_says_and_every_other_is_none() {
        let says = |buttons: &[&'static str]| [OK, CANCEL, YES, NO, 3].map(|answer| message(buttons).shown(answer));
        let pressed = |button: &str| Shown::Pressed(button.to_owned());
        let closed = || Shown::Closed;
        assert_eq!(says(&[GO_ON, DELAY, ABORT]), [closed(), pressed(DELAY), pressed(GO_ON), pressed(ABORT), closed()]);
        assert_eq!(says(&[GO_ON, DELAY]), [closed(), closed(), pressed(GO_ON), pressed(DELAY), closed()]);
        assert_eq!(says(&[GO_ON, ABORT]), [closed(), closed(), pressed(GO_ON), pressed(ABORT), closed()]);
        assert_eq!(says(&[GO_ON]), [pressed(GO_ON), closed(), closed(), closed(), closed()]);
        assert_eq!(says(&[READ]), [closed(), closed(), closed(), closed(), closed()]);
        for buttons in [&[GO_ON][..], &[READ]] {
            assert_eq!(message(buttons).shown(TIMED_OUT), Shown::Open);
            assert_eq!(message(buttons).shown(NOT_AWAITED), Shown::Open);
            assert_eq!(message(buttons).shown(0), Shown::Failed);
        }
    }

    #[test]
    fn who_sits_at_the_computer_is_asked_first_and_nobodys_sessions_are_not() {
        let session = |id, is_active, user: &str| Session { id, is_active, user: user.to_owned() };
        let sessions = [
            session(0, false, ""),
            session(2, true, "ann"),
            session(3, false, "bob"),
            session(1, true, "eve"),
            session(4, true, ""),
        ];
        assert_eq!(audience(&sessions, Some(1)), [1, 2]);
        assert_eq!(audience(&sessions, None), [2, 1]);
        assert_eq!(audience(&[], Some(1)), [0; 0]);
    }
}
