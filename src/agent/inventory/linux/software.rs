//! SOFTWARES: what dpkg, rpm, snap and flatpak installed.
//!
//! dpkg's list is a text file, read as it stands; rpm's is a database of changing form, so rpm is asked, with a time-out
//! (a database that another rpm has locked makes it wait).

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, UNIX_EPOCH};

use super::{Leaves, Machine, Section};
use crate::model::limits::RequestLimits;
use crate::protocol::xml;

const STATUS: &str = "/var/lib/dpkg/status";
const DATABASES: [&str; 2] = ["/var/lib/rpm", "/usr/lib/sysimage/rpm"];

/// Bytes of either list; the largest seen are about 15 MiB.
const LIST: u64 = 128 << 20;

/// Programs told; a request has room for them (`RequestLimits`).
const PROGRAMS: usize = 100_000;

/// How long rpm may take.
const RPM_TIME: Duration = Duration::from_mins(1);

/// One program.
#[derive(Debug, Default)]
struct Program {
    name: String,
    version: String,
    architecture: String,
    comments: String,
    publisher: String,
    bytes: Option<u64>,
    /// In seconds since 1970.
    installed: Option<i64>,
    from: &'static str,
}

pub(super) fn sections(machine: &Machine<'_>) -> Vec<Section> {
    let mut programs = dpkg(machine);
    if DATABASES.iter().any(|path| machine.exists(path)) {
        programs.extend((machine.rpm)().iter().flat_map(|list| list.lines()).filter_map(rpm_line).take(PROGRAMS));
    }
    programs.extend(snaps(machine));
    programs.extend(flatpaks(machine));
    programs.truncate(PROGRAMS);
    programs.sort_by(|a, b| (&a.name, &a.version, &a.architecture).cmp(&(&b.name, &b.version, &b.architecture)));
    programs.into_iter().map(Program::section).collect()
}

/// ```text
/// Package: libc6
/// Status: install ok installed
/// Multi-Arch: same
/// Description: GNU C Library: Shared libraries
///  A longer text …
/// ```
fn dpkg(machine: &Machine<'_>) -> Vec<Program> {
    let Ok(file) = File::open(machine.path(STATUS)) else { return Vec::new() };
    let mut reader = BufReader::new(file.take(LIST));
    let mut programs = Vec::new();
    let mut paragraph = Paragraph::default();
    let mut line = Vec::new();
    while programs.len() < PROGRAMS {
        line.clear();
        let more = matches!(reader.read_until(b'\n', &mut line), Ok(1..));
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            paragraph.take(text);
            continue;
        }
        programs.extend(std::mem::take(&mut paragraph).program(machine));
        if !more {
            break;
        }
    }
    programs
}

#[derive(Default)]
struct Paragraph {
    installed: bool,
    same: bool,
    program: Program,
}

impl Paragraph {
    fn take(&mut self, line: &str) {
        let Some((key, value)) = line.split_once(':') else { return };
        let value = value.trim_start();
        match key {
            "Package" => value.clone_into(&mut self.program.name),
            // The third word: "deinstall ok config-files" is a package that is gone.
            "Status" => self.installed = value.split(' ').nth(2) == Some("installed"),
            "Multi-Arch" => self.same = value == "same",
            "Version" => value.clone_into(&mut self.program.version),
            "Architecture" => value.clone_into(&mut self.program.architecture),
            "Description" => value.clone_into(&mut self.program.comments),
            "Homepage" => value.clone_into(&mut self.program.publisher),
            "Installed-Size" => self.program.bytes = value.parse::<u64>().ok().and_then(|kib| kib.checked_mul(1024)),
            _ => {}
        }
    }

    fn program(self, machine: &Machine<'_>) -> Option<Program> {
        let mut program = self.program;
        let safe =
            !program.name.is_empty() && !program.name.contains(['/', '\0']) && !program.architecture.contains('/');
        if !self.installed || !safe {
            return None;
        }
        // dpkg's own spelling of a package that may be there for several architectures at once.
        if self.same {
            program.name = format!("{}:{}", program.name, program.architecture);
        }
        // dpkg keeps no time; it writes this file whenever it installs the package.
        let list = machine.path(&format!("/var/lib/dpkg/info/{}.list", program.name));
        let written = list.metadata().and_then(|metadata| metadata.modified()).ok();
        program.installed = written
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_secs()).ok());
        program.from = "deb";
        Some(program)
    }
}

/// Where snaps are mounted; Fedora has no `/snap`.
const SNAPS: [&str; 2] = ["/snap", "/var/lib/snapd/snap"];

/// The revision in use of every snap, by what it says of itself (`current/meta/snap.yaml`).
fn snaps(machine: &Machine<'_>) -> Vec<Program> {
    let Some(root) = SNAPS.iter().find(|root| machine.exists(root)) else { return Vec::new() };
    let snap = |directory: String| {
        let text = machine.text(&format!("{root}/{directory}/current/meta/snap.yaml"));
        // Top-level scalars only: that part of YAML is `key: value`, quoted or not.
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?.trim();
            let quoted = |quote: char| line.strip_prefix(quote)?.strip_suffix(quote);
            Some(quoted('"').or_else(|| quoted('\'')).unwrap_or(line).to_owned())
        };
        Some(Program {
            name: value("name")?,
            version: value("version").unwrap_or_default(),
            comments: value("summary").filter(|summary| !matches!(summary.as_str(), "|" | ">")).unwrap_or_default(),
            from: "snap",
            ..Program::default()
        })
    };
    machine.names(root).into_iter().filter_map(snap).collect()
}

/// Where flatpak keeps what all users have.
const FLATPAKS: &str = "/var/lib/flatpak/app";

/// Every application, by its own description (`AppStream`); without one its id has to do.
fn flatpaks(machine: &Machine<'_>) -> Vec<Program> {
    let program = |id: String| {
        let active = format!("{FLATPAKS}/{id}/current/active");
        if !machine.exists(&active) {
            return None;
        }
        let files = ["metainfo", "appdata"].map(|folder| format!("{active}/files/share/{folder}"));
        let descriptions = files.iter().flat_map(|folder| {
            [".metainfo.xml", ".appdata.xml"].map(|ending| machine.text(&format!("{folder}/{id}{ending}")))
        });
        let text = descriptions.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        let description = xml::parse(text.as_bytes(), &RequestLimits::DEFAULT).ok();
        let said = |key: &str| description.as_ref().and_then(|description| description.value(key)).map(str::to_owned);
        // The newest release stands first.
        let release = description.as_ref().and_then(|description| description.child("releases")?.child("release"));
        let version = release.and_then(|release| release.value("version")).unwrap_or_default().to_owned();
        let (name, comments) = (said("name").unwrap_or_else(|| id.clone()), said("summary").unwrap_or_default());
        Some(Program { name, version, comments, publisher: id, from: "flatpak", ..Program::default() })
    };
    machine.names(FLATPAKS).into_iter().filter_map(program).collect()
}

/// What [`rpm_line`] reads.
const RPM_FORMAT: &str =
    "%{NAME}\\t%{VERSION}-%{RELEASE}\\t%{ARCH}\\t%{INSTALLTIME}\\t%{SIZE}\\t%{VENDOR}\\t%{SUMMARY}\\n";

fn rpm_line(line: &str) -> Option<Program> {
    let fields: Vec<&str> = line.split('\t').map(|field| if field == "(none)" { "" } else { field }).collect();
    let [name, version, architecture, installed, bytes, publisher, ref comments @ ..] = fields[..] else { return None };
    // Keys of signatures are listed as packages.
    if name.is_empty() || name == "gpg-pubkey" {
        return None;
    }
    Some(Program {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: architecture.to_owned(),
        comments: comments.join(" "),
        publisher: publisher.to_owned(),
        bytes: bytes.parse().ok(),
        installed: installed.parse().ok(),
        from: "rpm",
    })
}

/// Asks rpm for everything; nothing if there is none, or none that answers in time.
pub(super) fn query_rpm() -> Option<String> {
    let mut command = Command::new("rpm");
    command.args(["-qa", "--queryformat", RPM_FORMAT]);
    ask(command, RPM_TIME)
}

fn ask(mut command: Command, time: Duration) -> Option<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let output = child.stdout.take()?;
    let (sender, receiver) = sync_channel(1);
    let read = move || {
        let mut bytes = Vec::new();
        let read = output.take(LIST).read_to_end(&mut bytes);
        let _ = sender.send(read.map(|_| bytes));
    };
    let reader = std::thread::Builder::new().name("rpm".to_owned()).spawn(read);
    let answer = reader.ok().and_then(|_| receiver.recv_timeout(time).ok());
    // Either it has said everything, or it has had its time.
    let _ = child.kill();
    let _ = child.wait();
    answer?.ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

impl Program {
    fn section(self) -> Section {
        let time = self.installed.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        Leaves::of("SOFTWARES")
            .with("ARCHITECTURE", self.architecture)
            .with("COMMENTS", self.comments)
            .number("FILESIZE", self.bytes)
            .with("FROM", self.from)
            .with("INSTALLDATE", time.map(|time| time.strftime("%Y/%m/%d %H:%M:%S").to_string()).unwrap_or_default())
            .with("NAME", self.name)
            .with("PUBLISHER", self.publisher)
            .with("VERSION", self.version)
            .done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str, time: Duration) -> Option<String> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(text);
        ask(command, time)
    }

    #[test]
    fn a_program_that_does_not_answer_in_time_is_ended() {
        assert_eq!(shell("echo a; exec sleep 50", Duration::from_millis(20)), None);
    }

    #[test]
    fn what_a_program_says_is_taken() {
        assert_eq!(shell("printf 'a\\tb'", Duration::from_mins(1)).as_deref(), Some("a\tb"));
        assert_eq!(ask(Command::new("/nonexistent/rpm"), Duration::from_mins(1)), None);
    }
}
