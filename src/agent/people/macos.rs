//! macOS: a dialog of `AppleScript` in the session of whoever sits at the computer.
//!
//! ```text
//! owner of /dev/console    ─► who sits there; root's is the login window, so nobody
//! launchctl asuser, sudo   ─► into that person's session, with that person's rights
//! osascript                ─► a dialog with a time of its own; prints the button
//! ```
//!
//! The text is an argument of a script that never changes: nothing of it is read as a program.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::dialog::{self, Dialog};
use super::screen::{self, Screen, Shown, TITLE, Window};
use super::{Answer, People, Question};

const CONSOLE: &str = "/dev/console";

/// Title, text, seconds and buttons are its arguments; it prints the button, or nothing when its time is over. Without
/// a default button, so that a key pressed by accident is no answer.
const SCRIPT: &str = "\
on run argv
  set shown to display dialog (item 2 of argv) with title (item 1 of argv) with icon note \
buttons (items 4 thru -1 of argv) giving up after ((item 3 of argv) as integer)
  if gave up of shown then return \"\"
  return button returned of shown
end run";

/// How much longer than its own time a dialog may take to end.
const LATE: Duration = Duration::from_secs(5);

/// The people of a Mac.
#[derive(Clone, Debug)]
pub(super) struct Desktop {
    console: PathBuf,
    own: u32,
}

impl Desktop {
    /// This computer's.
    pub(super) fn of_this_system() -> Self {
        Self { console: CONSOLE.into(), own: rustix::process::geteuid().as_raw() }
    }

    /// Who sits at the computer.
    fn person(&self) -> Option<u32> {
        fs::metadata(&self.console).ok().map(|metadata| metadata.uid()).filter(|uid| *uid != 0)
    }
}

impl Screen for Desktop {
    fn is_anybody_there(&self) -> bool {
        self.person().is_some()
    }

    fn show(&self, window: &Window<'_>, time: Duration, stop: &dyn Fn() -> bool) -> Option<Shown> {
        let [program, arguments @ ..] = &*words(self.person()?, self.own, window, time)? else { return None };
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        match shown(dialog::run(command, time.saturating_add(LATE), stop)) {
            Shown::Failed => {
                tracing::debug!("no dialog can be shown on the console");
                None
            }
            shown => Some(shown),
        }
    }

    fn write(&self, text: &str) {
        tracing::info!("nobody can be shown anything; the message was \"{text}\"");
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

/// The command that shows a window to a person; `None` if this program may not reach them.
fn words(person: u32, own: u32, window: &Window<'_>, time: Duration) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    if person != own {
        if own != 0 {
            return None;
        }
        // The first puts it into the person's session, as root; the second takes root's rights away.
        let (uid, name) = (person.to_string(), format!("#{person}"));
        let door = ["/bin/launchctl", "asuser", &uid, "/usr/bin/sudo", "-n", "-H", "-u", &name, "--"];
        words.extend(door.map(str::to_owned));
    }
    // The title comes first: from there on nothing is read as an option.
    let seconds = time.as_secs().max(1).to_string();
    words.extend(["/usr/bin/osascript", "-e", SCRIPT, TITLE, window.text, &seconds].map(str::to_owned));
    words.extend(window.buttons.iter().map(|button| (*button).to_owned()));
    Some(words)
}

fn shown(dialog: Dialog) -> Shown {
    match dialog {
        Dialog::Ended { code: Some(0), line, .. } if line.is_empty() => Shown::Open,
        Dialog::Ended { code: Some(0), line, .. } => Shown::Pressed(line),
        Dialog::Absent | Dialog::Ended { .. } => Shown::Failed,
        Dialog::Open => Shown::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::super::screen::{ABORT, DELAY, GO_ON};
    use super::*;

    const WINDOW: Window<'_> =
        Window { text: "-e \"do shell script\" & 'x'\n$(reboot)", buttons: &[GO_ON, DELAY, ABORT] };

    #[test]
    fn the_text_is_one_argument_and_no_part_of_the_script() {
        let words = words(501, 0, &WINDOW, Duration::from_mins(1)).expect("words");
        insta::assert_debug_snapshot!(words.iter().filter(|word| *word != SCRIPT).collect::<Vec<_>>(), @r##"
        [
            "/bin/launchctl",
            "asuser",
            "501",
            "/usr/bin/sudo",
            "-n",
            "-H",
            "-u",
            "#501",
            "--",
            "/usr/bin/osascript",
            "-e",
            "Software installation",
            "-e \"do shell script\" & 'x'\n$(reboot)",
            "60",
            "Start now",
            "Later",
            "Do not install",
        ]
        "##);
        assert_eq!(words.iter().filter(|word| *word == SCRIPT).count(), 1);
    }

    #[test]
    fn a_persons_own_agent_needs_no_door_and_another_persons_has_none() {
        let own = words(501, 501, &WINDOW, Duration::ZERO).expect("words");
        assert_eq!((&*own[0], &*own[5]), ("/usr/bin/osascript", "1"));
        assert_eq!(words(501, 502, &WINDOW, Duration::ZERO), None);
    }

    #[test]
    fn a_dialog_says_its_button_or_nothing_when_its_time_is_over() {
        let ended = |code, line: &str| Dialog::Ended { code, line: line.to_owned(), after: Duration::ZERO };
        assert_eq!(shown(ended(Some(0), GO_ON)), Shown::Pressed(GO_ON.to_owned()));
        assert_eq!(shown(ended(Some(0), "")), Shown::Open);
        assert_eq!(shown(ended(Some(1), "")), Shown::Failed);
        assert_eq!(shown(ended(None, "")), Shown::Failed);
        assert_eq!(shown(Dialog::Absent), Shown::Failed);
        assert_eq!(shown(Dialog::Open), Shown::Open);
    }

    #[test]
    fn roots_console_is_the_login_window() {
        let of = |console: &str| Desktop { console: console.into(), ..Desktop::of_this_system() };
        assert!(!of("/nonexistent").is_anybody_there());
        assert_eq!(of("/").ask(&Question::from(&notify()), &|| false), Answer::Nobody, "it is root's");
    }

    fn notify() -> crate::model::Notify {
        crate::model::Notify { text: "x".to_owned(), can_abort: true, can_delay: true, ..<_>::default() }
    }
}
