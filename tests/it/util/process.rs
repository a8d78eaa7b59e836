//! The programs as people start them: real processes, real signals, a data directory each.
//!
//! Whatever is waited for is a condition with a bound, never a span of time.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::web::{Line, trusting};

/// Reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What a program said and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Ended well; gives what it printed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code(), Some(0), "{self:?}");
        self.out
    }

    /// Refused with exit code 2; gives the sentence.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert_eq!((self.code(), self.out.as_str()), (Some(2), ""), "{self:?}");
        self.sentence()
    }

    /// Failed with exit code 1; gives the sentence.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert_eq!(self.code(), Some(1), "{self:?}");
        self.sentence()
    }

    /// One line, that begins as complaints do.
    #[track_caller]
    fn sentence(self) -> String {
        let text = self.err.strip_prefix("error: ").unwrap_or_else(|| panic!("no complaint: {self:?}")).trim_end();
        assert!(!text.contains('\n'), "more than a sentence: {text}");
        text.to_owned()
    }
}

/// A data directory, and the programs in it.
pub(crate) struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    /// Where inputs lie; the data directory is below.
    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    /// Writes an input, gives its path.
    pub(crate) fn input(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::File::create(&path).and_then(|mut file| file.write_all(bytes.as_ref())).expect("an input");
        path.into_os_string().into_string().expect("text")
    }

    /// A line of `dripfeed.toml`.
    pub(crate) fn configure(&self, toml: &str) {
        self.input("data/dripfeed.toml", toml);
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = clean(env!("CARGO_BIN_EXE_dripfeed"));
        command.args(args).env("DRIPFEED_DATA_DIR", self.data()).current_dir(self.root());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args))
    }

    /// Runs it with that on standard input.
    pub(crate) fn feed(&self, args: &[&str], input: &[u8]) -> Ran {
        feed(&mut self.command(args), input)
    }

    /// A line of words without blanks in them.
    pub(crate) fn say(&self, line: &str) -> Ran {
        self.run(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// What a verb prints with `--json`.
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        let out = self.say(&format!("{line} --json")).ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{line}: {error}: {out}"))
    }

    /// Builds a package that stores one small file; gives its id.
    pub(crate) fn package(&self) -> String {
        let file = self.input("tool", "#!/bin/sh\nexit 0\n");
        self.say(&format!("package build {file} --name tool --version 1 --os linux --action store --path /opt/tool"))
            .ok()
            .trim()
            .to_owned()
    }

    pub(crate) fn serve_command(&self) -> Command {
        self.command(&["serve", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"])
    }

    /// A server that answers.
    pub(crate) fn serve(&self) -> Served {
        Served::start(self.serve_command(), &self.data())
    }

    /// `dripfeed-agent`, that talks to this server.
    pub(crate) fn agent(&self, server: &Served, args: &[&str]) -> Command {
        let mut command = clean(env!("CARGO_BIN_EXE_dripfeed-agent"));
        command
            .args(args)
            .env("DRIPFEED_AGENT_SERVER", format!("https://{}/ocsinventory", server.https))
            .env("DRIPFEED_AGENT_CA", self.data().join("certs/ca.pem"))
            .env("DRIPFEED_AGENT_DATA_DIR", self.root().join("agent"))
            .current_dir(self.root());
        command
    }
}

/// A program with nothing of this process's environment that could change what it does.
pub(crate) fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("TZ", "UTC")
        .env("USER", "tester")
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("programs print UTF-8");
    Ran { status: output.status, out: text(output.stdout), err: text(output.stderr) }
}

pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = std::thread::scope(|scope| {
        // It may refuse before it has read all.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("it ends")
    });
    let text = |bytes| String::from_utf8(bytes).expect("programs print UTF-8");
    Ran { status: output.status, out: text(output.stdout), err: text(output.stderr) }
}

/// Waits until it holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a running program has said so far.
#[derive(Clone, Default)]
struct Said(Arc<(Mutex<String>, Condvar)>);

impl Said {
    fn listen(&self, pipe: impl Read + Send + 'static) {
        let said = self.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(pipe);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                said.0.0.lock().expect("no panic").push_str(&String::from_utf8_lossy(&line));
                said.0.1.notify_all();
                line.clear();
            }
        });
    }

    fn text(&self) -> String {
        self.0.0.lock().expect("no panic").clone()
    }

    #[track_caller]
    fn wait_for(&self, text: &str, count: usize) -> String {
        let end = Instant::now() + PATIENCE;
        let mut said = self.0.0.lock().expect("no panic");
        while said.matches(text).count() < count {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "\"{text}\" was not said; but:\n{said}");
            // In steps, so that nothing is missed between look and wait.
            said = self.0.1.wait_timeout(said, left.min(Duration::from_millis(200))).expect("no panic").0;
        }
        said.clone()
    }
}

/// A server that runs.
pub(crate) struct Served {
    child: Child,
    out: Said,
    err: Said,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    data: PathBuf,
}

impl Served {
    /// Starts it and waits until it has said where it listens.
    #[track_caller]
    pub(crate) fn start(mut command: Command, data: &Path) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let (out, err) = (Said::default(), Said::default());
        out.listen(child.stdout.take().expect("a pipe"));
        err.listen(child.stderr.take().expect("a pipe"));
        until("the greeting", || {
            if let Some(status) = child.try_wait().expect("a child") {
                panic!("the server ended with {status}: {}{}", out.text(), err.text());
            }
            out.text().contains("dripfeed-agent once")
        });
        let (http, https) = addresses(data);
        Self { child, out, err, http, https, data: data.to_owned() }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it printed for people.
    pub(crate) fn greeting(&self) -> String {
        self.out.text()
    }

    pub(crate) fn log(&self) -> String {
        self.err.text()
    }

    /// Waits until its log has that so often; gives the log.
    #[track_caller]
    pub(crate) fn logged(&self, text: &str, count: usize) -> String {
        self.err.wait_for(text, count)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("it runs");
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut status = None;
        until("the server's end", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status.expect("it ended")
    }

    /// SIGTERM; it must end well.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.end();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// As a power failure does it.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        assert_eq!(self.end().signal(), Some(9));
    }

    /// A connection to the HTTP listener.
    pub(crate) fn plain(&self) -> Line {
        Line::plain(self.http)
    }

    /// A connection to the HTTPS listener, whose certificate is checked.
    pub(crate) fn secure(&self) -> Line {
        let authority = std::fs::read(self.data.join("certs/ca.pem")).expect("the authority");
        Line::secure(self.https, &trusting(&authority)).expect("a certificate of this authority")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `addresses.json` says: HTTP and HTTPS.
#[track_caller]
pub(crate) fn addresses(data: &Path) -> (SocketAddr, SocketAddr) {
    let text = std::fs::read_to_string(data.join("addresses.json")).expect("addresses.json");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let address = |key: &str| json[key].as_str().expect("a text").parse().expect("an address");
    (address("http"), address("https"))
}

/// JSON with what differs from run to run replaced by its kind.
pub(crate) fn redacted(value: &serde_json::Value) -> String {
    fn walk(value: &serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::Number(number) if number.as_u64().is_some_and(|n| n > 1_000_000_000) => "ID".into(),
            Value::String(text) => redacted_text(text).into(),
            Value::Array(all) => all.iter().map(walk).collect(),
            Value::Object(all) => Value::Object(all.iter().map(|(key, value)| (key.clone(), walk(value))).collect()),
            other => other.clone(),
        }
    }
    serde_json::to_string_pretty(&walk(value)).expect("JSON")
}

/// Times, ids, ports and digests by kind.
pub(crate) fn redacted_text(text: &str) -> String {
    let is_hex = |word: &str| word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_time = |word: &str| word.len() == 20 && word.starts_with("20") && word.ends_with('Z');
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let one = |word: &str| -> String {
        if is_time(word) {
            "TIME".to_owned()
        } else if word.len() == 10 && is_number(word) {
            "ID".to_owned()
        } else if matches!(word.len(), 32 | 64) && is_hex(word) {
            format!("HEX{}", word.len())
        } else {
            word.to_owned()
        }
    };
    let mut result = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | ':') {
            word.push(c);
            continue;
        }
        // A loopback address keeps its host only.
        let shown = word.rsplit_once(':').filter(|(_, port)| port.len() >= 4 && is_number(port) && !is_time(&word));
        result.push_str(&shown.map_or_else(|| one(&word), |(host, _)| format!("{host}:PORT")));
        word.clear();
        if c != '\0' {
            result.push(c);
        }
    }
    result
}
