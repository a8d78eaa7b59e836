//! Linux: a dialog in the session that somebody sits at, through a program that the desktop has; else a line on the
//! terminals.
//!
//! ```text
//! /run/systemd/sessions/*  ─► the active graphical session, and who is logged in at all
//! /proc/*/environ          ─► where its display is (of that person's own processes)
//! zenity | kdialog | xmessage, as that person, never as root
//! wall                     ─► where there are terminals only: read there, not answered
//! ```
//!
//! The dialog runs with the person's rights and nothing of the agent's environment; what it prints is compared with the
//! words that it was given, nothing else. So the worst that a person can do to it is what its buttons allow.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::dialog::{self, Dialog};
use super::screen::{self, ABORT, DELAY, GO_ON, LOOK, READ, Screen, Shown, TITLE, Window};
use super::{Answer, People, Question};

const SESSIONS: &str = "/run/systemd/sessions";

/// Bytes of a session's file, or of an environment.
const SMALL: u64 = 64 << 10;
/// Sessions, or processes, that are looked at.
const MANY: usize = 32_768;
/// A dialog that ends sooner without an answer was not seen by anybody: it could not open.
const GLANCE: Duration = Duration::from_millis(400);
/// How long `wall` may take: a terminal that is held makes it wait.
const WALL_TIME: Duration = Duration::from_secs(10);

/// The people of a Linux computer.
#[derive(Clone, Debug)]
pub struct Desktop {
    root: PathBuf,
    programs: Vec<PathBuf>,
    glance: Duration,
}

/// Somebody who is logged in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Session {
    id: String,
    uid: u32,
    is_active: bool,
    is_graphical: bool,
    on_seat: bool,
    display: String,
    desktop: String,
    leader: u32,
}

impl Desktop {
    /// This computer's.
    #[must_use]
    pub fn of_this_system() -> Self {
        let programs = ["/usr/local/bin", "/usr/bin", "/bin"];
        Self::at("/", programs.map(PathBuf::from))
    }

    /// A test's: another root for `/run` and `/proc`, and other directories with programs.
    pub fn at(root: impl Into<PathBuf>, programs: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { root: root.into(), programs: programs.into_iter().collect(), glance: GLANCE }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        self.programs.iter().map(|directory| directory.join(name)).find(|path| path.is_file())
    }

    /// Everybody who is logged in; those at the greeter, and what runs without anybody, are not.
    fn sessions(&self) -> Vec<Session> {
        let Ok(entries) = fs::read_dir(self.path(SESSIONS)) else { return Vec::new() };
        let files = entries.flatten().take(MANY).filter_map(|entry| entry.file_name().into_string().ok());
        let mut sessions: Vec<Session> = files
            .filter(|name| Path::new(name).extension().is_none_or(|extension| extension != "ref"))
            .filter_map(|name| {
                let text = read_bounded(&self.path(&format!("{SESSIONS}/{name}")))?;
                Session::parse(name, &String::from_utf8_lossy(&text))
            })
            .collect();
        // Who sits at the computer comes first; then whoever came first.
        sessions.sort_by_key(|session| (!session.is_active, !session.on_seat, session.id.clone()));
        sessions
    }

    /// The programs that can show it here, with their arguments: first the one of the desktop.
    fn dialogs(&self, session: &Session, window: &Window<'_>) -> Vec<(PathBuf, Vec<String>)> {
        let mut dialogs = [("zenity", zenity(window)), ("kdialog", kdialog(window)), ("xmessage", xmessage(window))];
        let desktop = session.desktop.to_ascii_lowercase();
        if desktop.contains("kde") || desktop.contains("plasma") {
            dialogs.swap(0, 1);
        }
        dialogs.into_iter().filter_map(|(name, arguments)| Some((self.program(name)?, arguments))).collect()
    }

    /// Runs a dialog; what it says is one of the words that it was given, or a number for one.
    fn run(&self, command: Command, time: Duration, stop: &dyn Fn() -> bool) -> Shown {
        let (code, line, after) = match dialog::run(command, time, stop) {
            Dialog::Absent => return Shown::Failed,
            Dialog::Open => return Shown::Open,
            Dialog::Ended { code, line, after } => (code, line, after),
        };
        match (code, &*line) {
            // xmessage has no other way to say it.
            (Some(code @ 101..=104), _) => {
                Shown::Pressed([GO_ON, DELAY, ABORT, READ][code.unsigned_abs() as usize - 101].to_owned())
            }
            (_, "") if after < self.glance => Shown::Failed,
            (_, "") => Shown::Closed,
            _ => Shown::Pressed(line),
        }
    }

    /// Where the display of a session is: what that person's own programs were told.
    fn environment(&self, session: &Session) -> Option<Vec<(String, String)>> {
        let runtime = format!("/run/user/{}", session.uid);
        let mut found = self.environment_of_process(session).unwrap_or_default();
        let mut add = |name: &str, value: String| {
            if !value.is_empty() && !found.iter().any(|(known, _)| known == name) {
                found.push((name.to_owned(), value));
            }
        };
        add("DISPLAY", session.display.clone());
        if self.path(&format!("{runtime}/wayland-0")).exists() {
            add("WAYLAND_DISPLAY", "wayland-0".to_owned());
        }
        if self.path(&format!("{runtime}/bus")).exists() {
            add("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={runtime}/bus"));
        }
        if self.path(&runtime).exists() {
            add("XDG_RUNTIME_DIR", runtime);
        }
        add("HOME", "/".to_owned());
        add("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned());
        found.iter().any(|(name, _)| ["DISPLAY", "WAYLAND_DISPLAY"].contains(&name.as_str())).then_some(found)
    }

    /// The environment of a process of that person and session that has a display.
    fn environment_of_process(&self, session: &Session) -> Option<Vec<(String, String)>> {
        const WANTED: [&str; 10] = [
            "DISPLAY",
            "WAYLAND_DISPLAY",
            "XAUTHORITY",
            "DBUS_SESSION_BUS_ADDRESS",
            "XDG_RUNTIME_DIR",
            "XDG_SESSION_TYPE",
            "XDG_CURRENT_DESKTOP",
            "HOME",
            "LANG",
            "LC_ALL",
        ];
        let mut numbers: Vec<u32> = fs::read_dir(self.path("/proc"))
            .ok()?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .take(MANY)
            .collect();
        // The leader of the session first; it often knows.
        numbers.sort_unstable_by_key(|number| (*number != session.leader, *number));
        let mut other = None;
        for number in numbers {
            let directory = self.path(&format!("/proc/{number}"));
            if !fs::metadata(&directory).is_ok_and(|metadata| metadata.uid() == session.uid) {
                continue;
            }
            let Some(bytes) = read_bounded(&directory.join("environ")) else { continue };
            let all = bytes
                .split(|byte| *byte == 0)
                .filter_map(|variable| std::str::from_utf8(variable).ok()?.split_once('='));
            let all: Vec<(&str, &str)> = all.collect();
            let value = |wanted: &str| all.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
            if value("DISPLAY").or_else(|| value("WAYLAND_DISPLAY")).is_none_or(str::is_empty) {
                continue;
            }
            let kept: Vec<(String, String)> = all
                .iter()
                .filter(|(name, value)| WANTED.contains(name) && !value.is_empty())
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            if value("XDG_SESSION_ID") == Some(&session.id) {
                return Some(kept);
            }
            // Started by the person's own service manager: of no session, but on its display.
            other = other.or(value("XDG_SESSION_ID").is_none().then_some(kept));
        }
        other
    }

    /// The person's own group: of their runtime directory, or as the list of users says.
    fn group_of(&self, uid: u32) -> Option<u32> {
        if let Ok(metadata) = fs::metadata(self.path(&format!("/run/user/{uid}"))) {
            return Some(metadata.gid());
        }
        let users = read_bounded(&self.path("/etc/passwd"))?;
        let users = String::from_utf8_lossy(&users).into_owned();
        users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.get(2)?.parse() == Ok(uid)).then(|| fields.get(3)?.parse().ok())?
        })
    }

    /// Puts a text on the terminals of everybody who has one.
    fn wall(&self, text: &str) -> io::Result<()> {
        let Some(program) = self.program("wall") else { return Err(io::Error::from(io::ErrorKind::NotFound)) };
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8").current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // Smaller than a pipe holds, so this cannot wait.
            input.write_all(format!("{TITLE}\n\n{text}\n").as_bytes())?;
        }
        let began = Instant::now();
        while child.try_wait()?.is_none() {
            if began.elapsed() > WALL_TIME {
                dialog::end(&mut child);
                break;
            }
            std::thread::sleep(LOOK.min(Duration::from_millis(10)));
        }
        Ok(())
    }
}

impl Screen for Desktop {
    fn is_anybody_there(&self) -> bool {
        !self.sessions().is_empty()
    }

    /// To whoever has an active desktop, if something can be shown there.
    fn show(&self, window: &Window<'_>, time: Duration, stop: &dyn Fn() -> bool) -> Option<Shown> {
        for session in self.sessions().iter().filter(|session| session.is_active && session.is_graphical) {
            let Some(environment) = self.environment(session) else { continue };
            for (program, arguments) in self.dialogs(session, window) {
                let mut command = Command::new(&program);
                command.args(arguments).env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
                if !become_person(&mut command, session.uid, self.group_of(session.uid)) {
                    continue;
                }
                match self.run(command, time, stop) {
                    Shown::Failed => tracing::debug!("{} could not open a window", program.display()),
                    shown => return Some(shown),
                }
            }
        }
        None
    }

    fn write(&self, text: &str) {
        if let Err(error) = self.wall(text) {
            tracing::debug!("nothing can be shown on terminals either: {error}");
        }
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

impl Session {
    /// `KEY=VALUE` lines, as the login manager keeps them.
    fn parse(id: String, text: &str) -> Option<Self> {
        let value = |key: &str| {
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(|value| value.trim_matches('"'))
        };
        // "greeter", "lock-screen", "background", "manager" are nobody.
        if !matches!(value("CLASS").unwrap_or("user"), "user" | "user-early" | "user-incomplete") {
            return None;
        }
        let state = value("STATE").unwrap_or_default();
        if state == "closing" {
            return None;
        }
        Some(Self {
            uid: value("UID")?.parse().ok()?,
            is_active: state == "active" || value("ACTIVE") == Some("1"),
            is_graphical: matches!(value("TYPE"), Some("x11" | "wayland" | "mir")),
            on_seat: value("SEAT").is_some_and(|seat| !seat.is_empty()),
            display: value("DISPLAY").unwrap_or_default().to_owned(),
            desktop: value("DESKTOP").unwrap_or_default().to_owned(),
            leader: value("LEADER").and_then(|pid| pid.parse().ok()).unwrap_or(0),
            id,
        })
    }
}

/// Only buttons that are named: closing the window is then no answer, and is not taken for one.
fn zenity(window: &Window<'_>) -> Vec<String> {
    // It resolves backslashes in the text.
    let text = format!("--text={}", window.text.replace('\\', "\\\\"));
    let mut arguments = ["--question", "--switch", "--no-markup", "--no-wrap"].map(str::to_owned).to_vec();
    arguments.extend([format!("--title={TITLE}"), text]);
    arguments.extend(window.buttons.iter().map(|button| format!("--extra-button={button}")));
    arguments
}

/// A list instead of buttons: of its buttons, "no" and closing the window are the same.
fn kdialog(window: &Window<'_>) -> Vec<String> {
    // It takes what looks like HTML for HTML.
    let text = format!(" {}", window.text.replace('<', "‹").replace('>', "›").replace('&', "＆"));
    let mut arguments = vec!["--title".to_owned(), TITLE.to_owned(), "--menu".to_owned(), text];
    arguments.extend(window.buttons.iter().flat_map(|button| [*button, *button]).map(str::to_owned));
    arguments
}

/// Its buttons are exit codes.
fn xmessage(window: &Window<'_>) -> Vec<String> {
    let number =
        |button: &str| [GO_ON, DELAY, ABORT, READ].iter().position(|known| *known == button).unwrap_or(0) + 101;
    let buttons: Vec<String> = window.buttons.iter().map(|button| format!("{button}:{}", number(button))).collect();
    let text = format!(" {}", window.text.replace('\n', "\n "));
    let first = window.buttons.first().copied().unwrap_or_default();
    let arguments = ["-center", "-title", TITLE, "-default", first, "-buttons", &buttons.join(","), &text];
    arguments.map(str::to_owned).to_vec()
}

/// The command becomes that person's; `false` if it may not, and then it must not be run.
fn become_person(command: &mut Command, uid: u32, gid: Option<u32>) -> bool {
    let own = rustix::process::geteuid().as_raw();
    if uid == own {
        return true;
    }
    let (0, Some(gid)) = (own, gid) else { return false };
    // The standard library drops root's other groups with it.
    command.uid(uid).gid(gid);
    true
}

fn read_bounded(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(SMALL).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests;
