//! The scripts of templates, really run by `sh`: in directories of their own, with programs in the place of package managers
//! and services that write down what they are asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dripfeed::model::OsFamily;
use dripfeed::service::templates::{Catalogue, Values};
use tempfile::TempDir;

const KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZ$(id)'`id`\n-----END PGP PUBLIC KEY BLOCK-----";

/// A computer: its programs, its files, and a package that was unpacked there.
struct Computer {
    root: TempDir,
}

impl Computer {
    fn new() -> Self {
        let root = TempDir::new().expect("a directory");
        for directory in ["bin", "etc", "id/tmp"] {
            fs::create_dir_all(root.path().join(directory)).expect("made");
        }
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own files need not be durable")]
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(&path, text).expect("written");
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A program that is found before the system's own; `$R` is the computer's root. Another process writes it: a thread that
    /// forks meanwhile would keep a file of ours open, and what is open for writing cannot be run.
    fn program(&self, name: &str, script: &str) {
        let text = self.write(&format!("{name}.text"), &format!("#!/bin/sh\n{script}\n"));
        let path = self.path(&format!("bin/{name}"));
        let done = Command::new("/bin/sh")
            .args(["-c", "cp \"$1\" \"$2\" && chmod 0755 \"$2\"", "sh"])
            .args([text, path])
            .status()
            .expect("sh runs");
        assert!(done.success());
    }

    /// Writes a template's script into the package, with these words of it in the place of others.
    fn unpack(&self, id: &str, file: Option<&str>, values: &[(&str, &str)], instead: &[(&str, &str)]) -> String {
        let values: Values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let template = Catalogue::with([]).named(id).cloned().expect("a template");
        let filled = template.fill(OsFamily::Linux, file, &values).expect("filled");
        let script = filled.script.expect("a script");
        let mut text = script.text;
        for (from, to) in instead {
            assert!(text.contains(from), "{id}: {from}");
            text = text.replace(from, to);
        }
        self.write(&format!("id/tmp/{}", script.name), &text);
        filled.action.text().to_owned()
    }

    fn sh(&self, command: &str, environment: &[(&str, &Path)]) -> Output {
        let known = std::env::var_os("PATH").unwrap_or_default();
        let path = format!("{}:{}", self.path("bin").display(), known.to_string_lossy());
        Command::new("/bin/sh")
            .args(["-c", command])
            .current_dir(self.path("id/tmp"))
            .env("PATH", path)
            .env("R", self.root.path())
            .envs(environment.iter().copied())
            .output()
            .expect("sh runs")
    }

    fn etc(&self) -> String {
        format!("etc={}", self.path("etc").display())
    }
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_apt_repository_is_there_with_its_key_or_not_at_all() {
    let computer = Computer::new();
    computer.program("apt-config", "echo \"etc='$R/etc/apt/' parts='$R/etc/apt/sources.list.d/'\"");
    computer.program("apt-get", "echo \"$@\" >>\"$R/asked\"; cat \"$R/says\"; exit \"$(cat \"$R/code\")\"");
    let values = [
        ("name", "tools"),
        ("url", "https://example.org/debian"),
        ("suites", "bookworm bookworm-updates"),
        ("components", "main"),
        ("key", KEY),
    ];
    let command = computer.unpack("apt-repo", None, &values, &[]);
    for (says, ends, expected) in
        [("Hit:1\n", "0", 0), ("W: it: Failed to fetch x\n", "0", 100), ("E: no\n", "100", 100)]
    {
        computer.write("says", says);
        computer.write("code", ends);
        let output = computer.sh(&command, &[]);
        assert_eq!(code(&output), Some(expected), "{says}: {}", said(&output));
        // What was there before comes back: here it is the same.
        assert_eq!(computer.read("etc/apt/keyrings/tools.asc"), format!("{KEY}\n"), "{says}");
    }
    let sources = computer.read("etc/apt/sources.list.d/tools.sources");
    let key = computer.path("etc/apt/keyrings/tools.asc");
    assert_eq!(
        sources,
        format!(
            "Types: deb\nURIs: https://example.org/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: {}\n",
            key.display()
        )
    );
    assert!(computer.read("asked").contains("Dir::Etc::SourceParts=-"), "{}", computer.read("asked"));

    // A name that was not there before leaves nothing.
    let other = [("name", "other"), ("url", "file:/srv/x"), ("suites", "./"), ("components", ""), ("key", KEY)];
    let command = computer.unpack("apt-repo", None, &other, &[]);
    assert_eq!(code(&computer.sh(&command, &[])), Some(100));
    for left in ["etc/apt/keyrings/other.asc", "etc/apt/sources.list.d/other.sources"] {
        assert!(!computer.path(left).exists(), "{left}");
    }
    computer.write("code", "0");
    computer.write("says", "");
    assert_eq!(code(&computer.sh(&command, &[])), Some(0));
    assert!(
        !computer.read("etc/apt/sources.list.d/other.sources").contains("Components"),
        "a flat repository has none"
    );
}

#[test]
fn a_dnf_repository_is_there_with_its_key_or_not_at_all() {
    let computer = Computer::new();
    computer.program("dnf", "echo \"$@\" >>\"$R/asked\"; exit \"$(cat \"$R/code\")\"");
    let values =
        [("name", "tools"), ("title", "It's $(id)"), ("url", "https://x.org/$releasever/$basearch"), ("key", KEY)];
    let command = computer.unpack("dnf-repo", None, &values, &[("etc=/etc", &computer.etc())]);
    computer.write("code", "1");
    assert_eq!(code(&computer.sh(&command, &[])), Some(1));
    assert!(!computer.path("etc/yum.repos.d/tools.repo").exists());
    computer.write("code", "0");
    let output = computer.sh(&command, &[]);
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let key = computer.path("etc/pki/rpm-gpg/RPM-GPG-KEY-tools");
    assert_eq!(
        computer.read("etc/yum.repos.d/tools.repo"),
        format!(
            "[tools]\nname=It's $(id)\nbaseurl=https://x.org/$releasever/$basearch\nenabled=1\ngpgcheck=1\ngpgkey=file://{}\n",
            key.display()
        )
    );
    assert!(computer.read("asked").contains("--enablerepo=tools makecache"));
}

#[test]
fn a_module_of_the_stock_agent_is_used_or_nothing_is_changed() {
    if Command::new("perl").arg("-v").output().is_err() {
        return;
    }
    let computer = Computer::new();
    computer.write("perl/Ocsinventory/Agent.pm", "package Ocsinventory::Agent; 1;\n");
    let conf = "# modules\n1;\n";
    computer.write("etc/ocsinventory/modules.conf", conf);
    let library = computer.path("perl");
    let run = |computer: &Computer, command: &str| computer.sh(command, &[("PERL5LIB", library.as_path())]);

    computer.write("id/tmp/Broken.pm", "package Broken; sub {\n");
    let command = computer.unpack("ocs-plugin", Some("Broken.pm"), &[], &[("etc=/etc", &computer.etc())]);
    assert_ne!(code(&run(&computer, &command)), Some(0));
    assert_eq!(computer.read("etc/ocsinventory/modules.conf"), conf);

    computer.write("id/tmp/Extra.pm", "package Ocsinventory::Agent::Modules::Extra;\n1;\n");
    let command = computer.unpack("ocs-plugin", Some("Extra.pm"), &[], &[("etc=/etc", &computer.etc())]);
    for _ in 0..2 {
        let output = run(&computer, &command);
        assert_eq!(code(&output), Some(0), "{}", said(&output));
        assert_eq!(
            computer.read("etc/ocsinventory/modules.conf"),
            "# modules\nuse Ocsinventory::Agent::Modules::Extra;\n1;\n",
            "once, however often it comes"
        );
    }
    assert!(computer.path("perl/Ocsinventory/Agent/Modules/Extra.pm").exists());

    let odd = computer.unpack("ocs-plugin", Some("a b;id.pm"), &[], &[("etc=/etc", &computer.etc())]);
    assert_eq!(code(&run(&computer, &odd)), Some(64));
}

#[test]
fn an_update_of_the_stock_agent_tells_what_is_installed_then() {
    let computer = Computer::new();
    computer.program("dpkg-query", "cat \"$R/version\" 2>/dev/null");
    computer.program("systemd-run", "while [ \"${1#--}\" != \"$1\" ]; do shift; done; exec \"$@\"");
    computer.program(
        "apt-get",
        "case \" $* \" in *' install '*) cp \"$R/newest\" \"$R/version\"; exit \"$(cat \"$R/code\")\" ;; esac",
    );
    computer.program("ocsinventory-agent", "exit \"$(cat \"$R/starts\")\"");
    let ended = |version: &str, newest: &str, ends: &str, starts: &str, wanted: &str| {
        let command = computer.unpack("ocs-agent-linux", None, &[("version", wanted)], &[]);
        for (name, text) in [("version", version), ("newest", newest), ("code", ends), ("starts", starts)] {
            computer.write(name, text);
        }
        code(&computer.sh(&command, &[])).expect("an exit code")
    };
    assert_eq!(ended("2.9.3-1", "2.10.4-1", "0", "0", ""), 0);
    assert_eq!(ended("2.9.3-1", "2.10.4-1", "0", "0", "2.10.4"), 0);
    assert_eq!(ended("2.9.3-1", "2.9.3-1", "0", "0", "2.10.4"), 1, "the repositories have no newer one");
    assert_eq!(ended("2.9.3-1", "2.10.4-1", "100", "0", ""), 100, "apt failed");
    assert_eq!(ended("2.9.3-1", "2.10.4-1", "0", "9", ""), 9, "what does not start has not come");
    assert_eq!(ended("", "", "0", "0", ""), 69, "not installed");
}

/// An agent's program, as far as the script can see it.
fn agent(says: &str) -> String {
    format!("#!/bin/sh\n# {says}\necho 'dripfeed-agent 2.0 {says}'\n")
}

/// A computer with our agent as a unit: `start` has the program that lies there tell its result, unless it is a broken one.
fn with_our_agent() -> Computer {
    let computer = Computer::new();
    computer.program(
        "systemctl",
        "case $1 in \
         is-active) exit 0 ;; \
         show) grep -q restless \"$R/bin/agent\" && echo 7 || echo 0 ;; \
         start) echo \"start $(sed -n 2p \"$R/bin/agent\")\" >>\"$R/log\"; \
         if grep -q broken \"$R/bin/agent\"; then exit 1; fi; \
         if grep -q restless \"$R/bin/agent\"; then exit 0; fi; \
         cat \"$R/id/done\" >>\"$R/told\"; rm -rf \"$R/id\" ;; \
         *) echo \"$1\" >>\"$R/log\" ;; esac",
    );
    // The second half is begun by the test: here the first one is ended, as the second half ends it.
    computer.program("systemd-run", "echo \"$@\" >>\"$R/handed\"; kill \"$PPID\"");
    computer.write("id/started", "");
    computer.program("agent", "");
    computer.write("bin/agent", &agent("old"));
    computer
}

fn hand_over(computer: &Computer, new: &str) -> (Output, Option<Output>) {
    computer.write("id/tmp/dripfeed-agent", new);
    let program = computer.path("bin/agent");
    let values = [("unit", "dripfeed-agent.service"), ("program", program.to_str().expect("UTF-8"))];
    let command = computer.unpack("agent-linux", Some("dripfeed-agent"), &values, &[("pause=10", "pause=0")]);
    let first = computer.sh(&format!("exec {command}"), &[]);
    let handed = computer.read("handed");
    let second = handed.split(" /bin/sh ").nth(1).map(|words| {
        // Elsewhere: the package's directory goes away meanwhile.
        computer.sh(&format!("cd / && sh {words}"), &[])
    });
    (first, second)
}

#[test]
fn our_agent_is_replaced_and_the_new_one_tells_it() {
    let computer = with_our_agent();
    let (first, second) = hand_over(&computer, &agent("new"));
    assert_eq!(code(&first), None, "it waits until it is ended: {}", said(&first));
    let second = second.expect("handed over");
    assert_eq!(code(&second), Some(0), "{}", said(&second));
    assert_eq!(computer.read("bin/agent"), agent("new"));
    assert_eq!(computer.read("told"), "SUCCESS\n");
    assert_eq!(computer.read("log"), "kill\nstop\nreset-failed\nstart # new\n");
    let left = fs::read_dir(computer.path("bin")).expect("there").flatten();
    let left: Vec<_> = left.filter(|entry| entry.file_name().to_string_lossy().starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_new_agent_that_does_not_come_or_stay_gives_way_to_the_old_one_which_tells_it() {
    for says in ["broken", "restless"] {
        let computer = with_our_agent();
        let (_, second) = hand_over(&computer, &agent(says));
        let second = second.expect("handed over");
        assert_eq!(code(&second), Some(70), "{says}: {}", said(&second));
        assert_eq!(computer.read("bin/agent"), agent("old"), "{says}");
        assert_eq!(computer.read("told"), "ERR_EXIT_CODE_70\n", "{says}");
        assert!(computer.read("log").ends_with("start # old\n"), "{says}: {}", computer.read("log"));
    }
}

#[test]
fn what_is_no_agent_of_ours_changes_nothing() {
    for (new, expected) in [("#!/bin/sh\nexit 3\n", 65), ("#!/bin/sh\necho something else\n", 65)] {
        let computer = with_our_agent();
        let (first, second) = hand_over(&computer, new);
        assert_eq!(code(&first), Some(expected), "{}", said(&first));
        assert!(second.is_none());
        assert_eq!(computer.read("bin/agent"), agent("old"));
    }
    let computer = with_our_agent();
    let (first, _) = hand_over(&computer, &agent("old"));
    assert_eq!(code(&first), Some(0), "it is there already: {}", said(&first));
    let stranger = Computer::new();
    stranger.write("bin/agent", "");
    let (first, _) = hand_over(&stranger, &agent("new"));
    assert_eq!(code(&first), Some(69), "not run by an agent: {}", said(&first));
}
