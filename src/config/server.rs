//! The server's configuration: flag, then environment, then `dripfeed.toml`, then default.
//!
//! [`KEYS`] is the whole of it: names, defaults and meanings stand there once, for the file, the environment, the flags,
//! `check-config --print` and the documentation. A file looks like this:
//!
//! ```toml
//! http = "0.0.0.0:8080"
//! public_name = "deploy.example.net"
//!
//! [tls]
//! certificate = "/etc/ssl/deploy.pem"
//! key = "/etc/ssl/private/deploy.key"
//!
//! [timeouts]
//! idle = "2m"
//! ```
//!
//! and its `timeouts.idle` is `DRIPFEED_TIMEOUTS_IDLE` in the environment. An unknown key is an error: a misspelt limit
//! would otherwise be no limit.

mod checked;
mod keys;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::congestion::InvalidPacing;
use crate::model::settings::{SettingKey, SettingsLayer};
use crate::model::{ByteSize, InvalidRange};
use crate::store::DatabaseUrl;
use crate::tls::server::machine_names;

pub use checked::{Certificate, Limits, Log, Metrics, Registration, ServerConfig, Timeouts, Waking, Webhooks};
pub use keys::{KEYS, Key};

/// The file's name in the data directory.
pub const FILE_NAME: &str = "dripfeed.toml";

/// The table of the file that holds what agents are told, by the stock names.
const AGENT_SETTINGS: &str = "settings.";

/// The account that runs this process, for the records.
#[expect(clippy::disallowed_methods, reason = "the environment is read in config/")]
pub fn account_name() -> Option<String> {
    ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok())
        .filter(|name| !name.is_empty())
}

/// Who said a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// A command line option.
    Flag,
    /// An environment variable.
    Environment(String),
    /// A line of the file.
    File {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// Nobody: the default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("command line"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named by `--config` or `DRIPFEED_CONFIG` cannot be read.
    #[error("failed to read the configuration {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not TOML.
    #[error("{}, line {line}: {problem}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What the reader said.
        problem: String,
    },
    /// A key that does not exist.
    #[error("{origin}: there is no setting \"{name}\"{}", suggestion(name))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// Its name.
        name: String,
    },
    /// A value of the wrong form.
    #[error("{origin}: {key} = \"{value}\" is wrong: {problem}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// Which key.
        key: &'static str,
        /// As it stands, without a password.
        value: String,
        /// What was expected.
        problem: String,
    },
}

fn suggestion(name: &str) -> String {
    let near = KEYS.iter().map(|key| (distance(name, key.name), key.name)).min();
    match near {
        Some((edits, key)) if edits * 3 <= name.len().max(4) => format!("; did you mean {key}?"),
        _ => "; `dripfeed check-config --print` shows all there are".to_owned(),
    }
}

/// Edits between two names.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// One line of `check-config --print`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// Its value, without a password.
    pub value: String,
    /// Who said it.
    pub origin: Origin,
    /// What it does.
    pub meaning: &'static str,
}

/// The configuration as written: for each key that somebody set, the text and who set it.
#[derive(Clone, Debug, Default)]
pub struct ServerOpts {
    given: BTreeMap<&'static str, (String, Origin)>,
}

impl ServerOpts {
    /// Collects what the command line, the process's environment and the file say.
    ///
    /// `config` is `--config`; without it and without `DRIPFEED_CONFIG`, `dripfeed.toml` in the data directory is read if
    /// it is there. `flags` are keys of [`KEYS`] with their texts.
    #[expect(clippy::disallowed_methods, reason = "the environment is read in config/")]
    pub fn gather(config: Option<&Path>, flags: &[(&str, String)]) -> Result<Self, ConfigError> {
        Self::gather_from(config, flags, |name| std::env::var(name).ok())
    }

    /// [`ServerOpts::gather`] with another environment.
    pub fn gather_from(
        config: Option<&Path>,
        flags: &[(&str, String)],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut opts = Self::default();
        for (name, text) in flags {
            let key = known(name, &Origin::Flag)?;
            opts.given.insert(key.name, (text.clone(), Origin::Flag));
        }
        for key in KEYS {
            let name = variable(key.name);
            if let Some(text) = environment(&name) {
                opts.given.entry(key.name).or_insert((text, Origin::Environment(name)));
            }
        }
        let named = config.map(Path::to_owned).or_else(|| environment("DRIPFEED_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| Path::new(opts.text("data_dir").0).join(FILE_NAME));
        match std::fs::read_to_string(&path) {
            Ok(text) => opts.add_file(&path, &text)?,
            // A data directory that is a file has none either; whoever opens it says what is wrong with it.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
                    && named.is_none() => {}
            Err(source) => return Err(ConfigError::Read { path, source }),
        }
        Ok(opts)
    }

    fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line(text, error.span().map_or(0, |span| span.start)),
            problem: error.message().to_owned(),
        })?;
        self.add_table(path, text, "", table.get_ref())
    }

    fn add_table(&mut self, path: &Path, text: &str, prefix: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (name, value) in table {
            let full = format!("{prefix}{}", name.get_ref());
            let origin = Origin::File { path: path.to_owned(), line: line(text, name.span().start) };
            let section = format!("{full}.");
            if let DeValue::Table(inner) = value.get_ref()
                && KEYS.iter().any(|key| key.name.starts_with(&section))
            {
                self.add_table(path, text, &section, inner)?;
                continue;
            }
            let key = known(&full, &origin)?;
            let said = scalar(key.name, value, &origin)?;
            self.given.entry(key.name).or_insert((said, origin));
        }
        Ok(())
    }

    /// The text that holds for a key, and who said it.
    fn text(&self, key: &'static str) -> (&str, Origin) {
        match self.given.get(key) {
            Some((text, origin)) => (text, origin.clone()),
            None => (KEYS.iter().find(|it| it.name == key).map_or("", |it| it.default), Origin::Default),
        }
    }

    fn is_set(&self, key: &'static str) -> bool {
        self.given.contains_key(key)
    }

    fn value<T>(&self, key: &'static str, expected: &str) -> Result<T, ConfigError>
    where
        T: FromStr,
    {
        self.text(key).0.parse().map_err(|_| self.wrong(key, expected))
    }

    fn number(&self, key: &'static str, bounds: std::ops::RangeInclusive<u32>) -> Result<u32, ConfigError> {
        let expected = format!("expected a whole number from {} to {}", bounds.start(), bounds.end());
        let number = self.value(key, &expected)?;
        if bounds.contains(&number) { Ok(number) } else { Err(self.wrong(key, &expected)) }
    }

    fn duration(&self, key: &'static str) -> Result<Duration, ConfigError> {
        let expected = "expected a time such as 500ms, 20s, 5m or 1h, more than none and at most a day";
        duration(self.text(key).0).ok_or_else(|| self.wrong(key, expected))
    }

    fn wrong(&self, key: &'static str, problem: &str) -> ConfigError {
        let (value, origin) = self.text(key);
        ConfigError::Value { origin, key, value: shown(key, value), problem: problem.to_owned() }
    }

    /// Checks every value, once. After this nothing about the configuration can fail.
    pub fn check(&self) -> Result<ServerConfig, ConfigError> {
        let data_dir = PathBuf::from(self.text("data_dir").0);
        if data_dir.as_os_str().is_empty() {
            return Err(self.wrong("data_dir", "expected a directory"));
        }
        let connections = self.number("limits.connections", 1..=1_000_000)?;
        let address = "expected ADDRESS:PORT, such as 0.0.0.0:8080, 127.0.0.1:0 or [::]:8080";
        Ok(ServerConfig {
            database: self.database(&data_dir)?,
            http: self.value("http", address)?,
            https: self.value("https", address)?,
            public_name: self.public_name()?,
            public_name_is_set: !self.text("public_name").0.is_empty(),
            settings: self.agent_settings()?,
            user_agents: self.value("agents.user_agents", "expected any or known")?,
            group_refresh: self.duration("groups.refresh")?,
            activate_when_built: match self.text("packages.activate_when_built").0 {
                "yes" => true,
                "no" => false,
                _ => return Err(self.wrong("packages.activate_when_built", "expected yes or no")),
            },
            webhooks: Webhooks {
                private: match self.text("webhooks.targets").0 {
                    "public" => false,
                    "any" => true,
                    _ => return Err(self.wrong("webhooks.targets", "expected public or any")),
                },
                ca_file: Some(self.text("webhooks.ca_file").0).filter(|text| !text.is_empty()).map(PathBuf::from),
            },
            mirror_probe: match self.text("mirrors.probe").0 {
                "off" => None,
                _ => Some(self.duration("mirrors.probe")?),
            },
            waking: self.waking()?,
            metrics: self.metrics()?,
            registration: self.registration()?,
            certificate: self.certificate(&data_dir)?,
            pacing: self.value("tcp.congestion", &InvalidPacing.to_string())?,
            limits: Limits {
                connections,
                // A share larger than the whole is no mistake worth stopping for when only the whole was lowered.
                connections_per_peer: self.number("limits.connections_per_peer", 1..=1_000_000)?.min(connections),
                request_bytes: self.request_bytes()?,
                body_rate: u64::from(self.number("limits.body_rate", 1..=1_000_000_000)?),
                free_space: self.value("limits.free_space", "expected a size, such as 64 MiB")?,
            },
            timeouts: Timeouts {
                header: self.duration("timeouts.header")?,
                body: self.duration("timeouts.body")?,
                body_grace: self.duration("timeouts.body_grace")?,
                idle: self.duration("timeouts.idle")?,
                write: self.duration("timeouts.write")?,
                handshake: self.duration("timeouts.handshake")?,
                stop: self.duration("timeouts.stop")?,
            },
            log: Log {
                filter: self
                    .text("log.level")
                    .0
                    .parse()
                    .map_err(|error: crate::telemetry::InvalidFilter| self.wrong("log.level", &error.to_string()))?,
                format: self.value("log.format", "expected text or json")?,
            },
            data_dir,
        })
    }

    fn database(&self, data_dir: &Path) -> Result<DatabaseUrl, ConfigError> {
        let url = if self.is_set("database") {
            self.value("database", "expected a path, sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE")?
        } else {
            DatabaseUrl::Sqlite(PathBuf::from(self.text("database").0))
        };
        Ok(match url {
            DatabaseUrl::Sqlite(path) => DatabaseUrl::Sqlite(data_dir.join(path)),
            other @ DatabaseUrl::Postgres(_) => other,
        })
    }

    fn public_name(&self) -> Result<String, ConfigError> {
        let name = self.text("public_name").0;
        if name.is_empty() {
            // Never empty: there is always localhost.
            return Ok(machine_names().into_iter().next().unwrap_or_else(|| "localhost".to_owned()));
        }
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if address || (name.len() <= 253 && name.chars().all(plain)) {
            return Ok(name.to_owned());
        }
        Err(self.wrong("public_name", "expected a host name or an address, without scheme, port and path"))
    }

    fn certificate(&self, data_dir: &Path) -> Result<Certificate, ConfigError> {
        let (chain, key) = (self.text("tls.certificate").0, self.text("tls.key").0);
        match (chain.is_empty(), key.is_empty()) {
            (true, true) => Ok(Certificate::Issued { directory: data_dir.join("certs") }),
            (false, false) => Ok(Certificate::Own { chain: data_dir.join(chain), key: data_dir.join(key) }),
            (false, true) => Err(self.wrong("tls.certificate", "set tls.key to its private key as well")),
            (true, false) => Err(self.wrong("tls.key", "set tls.certificate to the certificate of this key as well")),
        }
    }

    fn waking(&self) -> Result<Waking, ConfigError> {
        const MOST_PORTS: usize = 4;
        let expected = "expected 1 to 4 ports between commas, such as 9,7";
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
        let ports: Option<Vec<u16>> = self.text("wake.ports").0.split(',').map(port).collect();
        let ports = ports.filter(|ports| ports.len() <= MOST_PORTS);
        Ok(Waking {
            per_second: self.number("wake.rate", 1..=1000)? as usize,
            ports: ports.ok_or_else(|| self.wrong("wake.ports", expected))?,
            repeats: self.number("wake.repeats", 1..=10)?,
            any_network: match self.text("wake.networks").0 {
                "private" => false,
                "any" => true,
                _ => return Err(self.wrong("wake.networks", "expected private or any")),
            },
        })
    }

    fn metrics(&self) -> Result<Metrics, ConfigError> {
        let (peers, token) = (self.text("metrics.peers").0, self.text("metrics.token").0);
        let range =
            |text: &str| text.parse().map_err(|error: InvalidRange| self.wrong("metrics.peers", &error.to_string()));
        let peers = match peers.trim() {
            "" => Vec::new(),
            list => list.split(',').map(range).collect::<Result<_, _>>()?,
        };
        // It is shown in a header's line.
        if !token.is_empty() && (token.len() < 16 || !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(self.wrong("metrics.token", "expected 16 letters, digits and signs or more, without blanks"));
        }
        Ok(Metrics { peers, token: Some(token).filter(|token| !token.is_empty()).map(str::to_owned) })
    }

    fn registration(&self) -> Result<Registration, ConfigError> {
        let key = self.text("registration.key").0;
        if !key.is_empty() && (key.len() < 16 || !key.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(self.wrong("registration.key", "expected 16 letters, digits and signs or more, without blanks"));
        }
        Ok(Registration(Some(key).filter(|key| !key.is_empty()).map(str::to_owned)))
    }

    /// What the file says of the settings that agents are told; what it does not say stays open for other layers.
    fn agent_settings(&self) -> Result<SettingsLayer, ConfigError> {
        let mut layer = SettingsLayer::default();
        for key in KEYS.iter().filter(|key| self.is_set(key.name)) {
            let Some(name) = key.name.strip_prefix(AGENT_SETTINGS) else { continue };
            let wrong = |problem: String| self.wrong(key.name, &problem);
            let setting: SettingKey = name.parse().map_err(|_| wrong("no agent knows it".to_owned()))?;
            let info = setting.info();
            let value = setting.parse_value(self.text(key.name).0).map_err(|_| {
                wrong(format!("expected a whole number from {} to {} ({})", info.min, info.max, info.unit))
            })?;
            layer.0.insert(setting, value);
        }
        Ok(layer)
    }

    fn request_bytes(&self) -> Result<usize, ConfigError> {
        let expected = "expected a size from 1 KiB to 1 GiB, such as 16 MiB";
        let size: ByteSize = self.value("limits.request_bytes", expected)?;
        let size = usize::try_from(size.0).ok().filter(|size| (1 << 10..=1 << 30).contains(size));
        size.ok_or_else(|| self.wrong("limits.request_bytes", expected))
    }

    /// Every key with what holds, who said so and what it does; passwords hidden.
    pub fn settings(&self) -> Vec<Setting> {
        let one = |key: &Key| {
            let (text, origin) = self.text(key.name);
            let value = match key.name {
                "public_name" if text.is_empty() => self.public_name().unwrap_or_default(),
                _ => shown(key.name, text),
            };
            Setting { key: key.name, value, origin, meaning: key.meaning }
        };
        KEYS.iter().map(one).collect()
    }
}

/// A value without what is secret in it.
fn shown(key: &str, text: &str) -> String {
    if matches!(key, "metrics.token" | "registration.key") && !text.is_empty() {
        "…".to_owned()
    } else {
        hidden(text)
    }
}

/// A text without the password of a URL in it.
fn hidden(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let Some((login, host)) = rest.rsplit_once('@') else { return text.to_owned() };
    match login.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:…@{host}"),
        None => text.to_owned(),
    }
}

fn known(name: &str, origin: &Origin) -> Result<&'static Key, ConfigError> {
    let key = KEYS.iter().find(|key| key.name == name);
    key.ok_or_else(|| ConfigError::UnknownKey { origin: origin.clone(), name: name.to_owned() })
}

/// The environment variable of a key.
fn variable(key: &str) -> String {
    format!("DRIPFEED_{}", key.replace('.', "_").to_ascii_uppercase())
}

fn line(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// A value as text: strings and whole numbers; nothing that a key holds is anything else.
fn scalar(key: &'static str, value: &Spanned<DeValue<'_>>, origin: &Origin) -> Result<String, ConfigError> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().replace('_', "")),
        _ => Err(ConfigError::Value {
            origin: origin.clone(),
            key,
            value: "…".to_owned(),
            problem: "expected a text in quotes or a whole number".to_owned(),
        }),
    }
}

/// `20s`, `500ms`, `5m`, `1h`; a bare number is seconds. At most a day.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let millis = match text[digits..].trim_start() {
        "ms" => 1,
        "" | "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let span = Duration::from_millis(number.checked_mul(millis)?);
    (!span.is_zero() && span <= Duration::from_hours(24)).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::LogFormat;

    fn opts(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<ServerOpts, ConfigError> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(FILE_NAME);
        #[expect(clippy::disallowed_methods, reason = "a test's file")]
        std::fs::write(&path, file).expect("written");
        let flags: Vec<(&str, String)> = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        let environment =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, text)| (*text).to_owned());
        ServerOpts::gather_from(Some(&path), &flags, environment)
    }

    fn problem(file: &str) -> String {
        let error = match opts(file, &[], &[]) {
            Ok(opts) => opts.check().expect_err("refused"),
            Err(error) => error,
        };
        let text = error.to_string();
        text.find(FILE_NAME).map_or(text.clone(), |at| text[at..].to_owned())
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let file = "http = \"127.0.0.1:1\"\nhttps = \"127.0.0.1:1\"\n[timeouts]\nidle = 7\n";
        let opts = opts(
            file,
            &[("DRIPFEED_HTTP", "127.0.0.1:2"), ("DRIPFEED_HTTPS", "127.0.0.1:2"), ("DRIPFEED_LOG_FORMAT", "json")],
            &[("http", "127.0.0.1:3")],
        )
        .expect("gathered");
        let config = opts.check().expect("right");
        assert_eq!((config.http.port(), config.https.port()), (3, 2));
        assert_eq!(config.timeouts.idle, Duration::from_secs(7));
        assert_eq!(config.log.format, LogFormat::Json);
        let origin = |key| opts.settings().into_iter().find(|it| it.key == key).expect("a key").origin.to_string();
        assert_eq!(origin("http"), "command line");
        assert_eq!(origin("https"), "environment variable DRIPFEED_HTTPS");
        assert!(origin("timeouts.idle").ends_with("dripfeed.toml, line 4"), "{}", origin("timeouts.idle"));
        assert_eq!(origin("database"), "default");
    }

    #[test]
    fn without_anything_the_defaults_hold() {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = directory.path().to_str().expect("text").to_owned();
        let opts = ServerOpts::gather_from(None, &[("data_dir", data_dir)], |_| None).expect("no file is no error");
        let config = opts.check().expect("right");
        assert_eq!(config.http.to_string(), "0.0.0.0:8080");
        assert_eq!(config.https.to_string(), "0.0.0.0:8443");
        assert!(config.database == DatabaseUrl::Sqlite(directory.path().join("dripfeed.db")));
        assert_eq!(config.certificate, Certificate::Issued { directory: directory.path().join("certs") });
        assert_eq!(config.limits.request_bytes, crate::model::limits::RequestLimits::DEFAULT.body);
        assert!(!config.public_name.is_empty());
        assert_eq!(opts.settings().len(), KEYS.len());
    }

    #[test]
    fn every_wrong_value_is_a_sentence_with_its_key_and_line() {
        let table = [
            (
                "\nhttp = \"nonsense\"",
                "dripfeed.toml, line 2: http = \"nonsense\" is wrong: expected ADDRESS:PORT, such as 0.0.0.0:8080, 127.0.0.1:0 or [::]:8080",
            ),
            (
                "[timeouts]\nidel = 5",
                "dripfeed.toml, line 2: there is no setting \"timeouts.idel\"; did you mean timeouts.idle?",
            ),
            (
                "[tcp]\ncongestion = \"Cubic\"",
                "dripfeed.toml, line 2: tcp.congestion = \"Cubic\" is wrong: expected auto, system, or a name such as cubic, reno or bbr",
            ),
            (
                "[weather]\nsun = 1",
                "dripfeed.toml, line 1: there is no setting \"weather\"; `dripfeed check-config --print` shows all there are",
            ),
            (
                "[timeouts]\nidle = \"soon\"",
                "dripfeed.toml, line 2: timeouts.idle = \"soon\" is wrong: expected a time such as 500ms, 20s, 5m or 1h, more than none and at most a day",
            ),
            (
                "[timeouts]\nidle = 0",
                "dripfeed.toml, line 2: timeouts.idle = \"0\" is wrong: expected a time such as 500ms, 20s, 5m or 1h, more than none and at most a day",
            ),
            (
                "[limits]\nconnections = 0",
                "dripfeed.toml, line 2: limits.connections = \"0\" is wrong: expected a whole number from 1 to 1000000",
            ),
            (
                "[limits]\nconnections = [1]",
                "dripfeed.toml, line 2: limits.connections = \"…\" is wrong: expected a text in quotes or a whole number",
            ),
            (
                "[limits]\nrequest_bytes = \"2 GiB\"",
                "dripfeed.toml, line 2: limits.request_bytes = \"2 GiB\" is wrong: expected a size from 1 KiB to 1 GiB, such as 16 MiB",
            ),
            (
                "[tls]\ncertificate = \"a.pem\"",
                "dripfeed.toml, line 2: tls.certificate = \"a.pem\" is wrong: set tls.key to its private key as well",
            ),
            (
                "public_name = \"https://x/\"",
                "dripfeed.toml, line 1: public_name = \"https://x/\" is wrong: expected a host name or an address, without scheme, port and path",
            ),
            (
                "log = 5",
                "dripfeed.toml, line 1: there is no setting \"log\"; `dripfeed check-config --print` shows all there are",
            ),
            (
                "[wake]\nports = \"9,x\"",
                "dripfeed.toml, line 2: wake.ports = \"9,x\" is wrong: expected 1 to 4 ports between commas, such as 9,7",
            ),
            (
                "[metrics]\npeers = \"10.0.0.1,here\"",
                "dripfeed.toml, line 2: metrics.peers = \"10.0.0.1,here\" is wrong: \"here\" is no range of addresses: there is something that is no address; expected 10.1.0.0/16, 10.1.2.10-10.1.2.99, an address, or the same of IPv6",
            ),
            (
                "[metrics]\ntoken = \"too short\"",
                "dripfeed.toml, line 2: metrics.token = \"…\" is wrong: expected 16 letters, digits and signs or more, without blanks",
            ),
        ];
        for (file, expected) in table {
            assert_eq!(problem(file), expected, "{file}");
        }
        assert!(problem("http = ").starts_with("dripfeed.toml, line 1: "), "{}", problem("http = "));
        assert!(problem("[log]\nlevel = \"loud\"").contains("\"loud\" is no level"));
    }

    #[test]
    fn what_agents_are_told_has_the_stock_names_and_their_bounds() {
        for key in SettingKey::ALL {
            let info = key.info();
            let ours =
                KEYS.iter().find(|key| key.name.strip_prefix(AGENT_SETTINGS) == Some(info.name)).expect(info.name);
            assert_eq!(ours.default, info.default.to_string(), "{}", info.name);
        }
        let config = opts("[settings]\nDOWNLOAD_FRAG_LATENCY = 1\nFREQUENCY = -1", &[], &[]).expect("gathered");
        let layer = config.check().expect("right").settings;
        assert_eq!(
            layer.0.into_iter().collect::<Vec<_>>(),
            [(SettingKey::FragmentLatency, 1), (SettingKey::Frequency, -1)]
        );
        assert_eq!(
            problem("[settings]\nDOWNLOAD_PERIOD_LENGTH = 0"),
            "dripfeed.toml, line 2: settings.DOWNLOAD_PERIOD_LENGTH = \"0\" is wrong: expected a whole number from 1 to 10000 (cycles)"
        );
    }

    #[test]
    fn a_named_file_that_is_absent_is_an_error() {
        let error = ServerOpts::gather_from(Some(Path::new("/nowhere/x.toml")), &[], |_| None).expect_err("absent");
        assert_eq!(error.to_string(), "failed to read the configuration /nowhere/x.toml");
    }

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(hidden("postgres://me:s3cr:e@t@db/x"), "postgres://me:…@db/x");
        assert_eq!(hidden("postgres://me@db/x"), "postgres://me@db/x");
        assert_eq!(hidden("dripfeed.db"), "dripfeed.db");
        let opts = opts("database = \"postgres://me:secret@db/x\"", &[], &[]).expect("gathered");
        assert!(opts.settings().iter().all(|it| !it.value.contains("secret")));
    }

    #[test]
    fn a_token_is_never_shown() {
        let file = "[metrics]\ntoken = \"0123456789abcdef\"\npeers = \"10.0.0.1, fd00::/8\"";
        let opts = opts(file, &[], &[]).expect("gathered");
        assert!(opts.settings().iter().all(|it| !it.value.contains("0123456789")));
        let config = opts.check().expect("right");
        assert_eq!((config.metrics.peers.len(), config.metrics.token.as_deref()), (2, Some("0123456789abcdef")));
        assert!(!format!("{config:?}").contains("0123456789"));
    }
}
