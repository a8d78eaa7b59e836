//! `LOCAL_USERS`, `LOCAL_GROUPS`, and who sits at the computer.

use super::{Leaves, Machine, Section};

/// Accounts told: a file server may hold tens of thousands, which no inventory is for.
const ACCOUNTS: usize = 2000;

/// Bytes of a record of utmp(5) with 32-bit times, which is what glibc writes on x86 for compatibility.
const UTMP_RECORD: usize = 384;

pub(super) fn users(machine: &Machine<'_>) -> Vec<Section> {
    lines(machine, "/etc/passwd", |fields| {
        let [login, _, id, group, name, home, shell] = fields[..] else { return None };
        let user = Leaves::of("LOCAL_USERS")
            .with("GID", group)
            .with("HOME", home)
            .with("ID_USER", id)
            .with("LOGIN", login)
            // Name, room, telephones.
            .with("NAME", name.split(',').next().unwrap_or_default())
            .with("SHELL", shell);
        Some(user.done())
    })
}

pub(super) fn groups(machine: &Machine<'_>) -> Vec<Section> {
    lines(machine, "/etc/group", |fields| {
        let [name, _, id, members] = fields[..] else { return None };
        let group = Leaves::of("LOCAL_GROUPS").with("ID_GROUP", id).with("MEMBER", members).with("NAME", name);
        Some(group.done())
    })
}

fn lines(machine: &Machine<'_>, path: &str, section: impl Fn(&[&str]) -> Option<Section>) -> Vec<Section> {
    let text = machine.text(path);
    let lines = text.lines().filter(|line| !line.starts_with(['#', '+', '-']));
    lines.filter_map(|line| section(&line.split(':').collect::<Vec<_>>())).take(ACCOUNTS).collect()
}

/// The user at the screen, else the first who is logged in.
pub(super) fn logged_in(machine: &Machine<'_>) -> String {
    const SESSIONS: &str = "/run/systemd/sessions";
    let mut best: Option<(u8, String)> = None;
    for name in machine.names(SESSIONS) {
        let session = machine.text(&format!("{SESSIONS}/{name}"));
        let said = |key| super::value_of(&session, key, '=').unwrap_or_default();
        if said("CLASS") != "user" || said("USER").is_empty() {
            continue;
        }
        let graphical = matches!(said("TYPE"), "x11" | "wayland" | "mir");
        let rank = u8::from(said("ACTIVE") == "1") + 2 * u8::from(said("REMOTE") != "1") + 4 * u8::from(graphical);
        if best.as_ref().is_none_or(|(highest, _)| rank > *highest) {
            best = Some((rank, said("USER").to_owned()));
        }
    }
    best.map(|(_, user)| user).or_else(|| from_utmp(machine)).unwrap_or_default()
}

fn from_utmp(machine: &Machine<'_>) -> Option<String> {
    const USER_PROCESS: u8 = 7;
    let records = machine.bytes("/run/utmp", 1 << 20);
    if !records.len().is_multiple_of(UTMP_RECORD) {
        return None;
    }
    let mut people = records.chunks_exact(UTMP_RECORD).filter(|record| record[..2] == [USER_PROCESS, 0]);
    // Type, process, line of 32, identifier of 4: the name is the 32 bytes after.
    people.find_map(|record| {
        let name = record[44..76].split(|byte| *byte == 0).next()?;
        (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
    })
}
