//! The agent's configuration: flag over environment over file over default.
//!
//! ```toml
//! server = "https://inventory.example.net:8443/ocsinventory"
//! ca = "/etc/dripfeed-agent/cacert.pem"
//! tag = "PARIS"
//! ```
//!
//! A file that does not end in `.toml` is read as a stock agent's (`key=value`): its keys `server`, `ca`, `tag`,
//! `basevardir`, `proxy`, `user`, `password` (the last two in Base64, as the stock agent keeps them) and `ssl` mean the
//! same here, the others are passed over.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::model::Location;

/// Files of this kind have some hundred bytes.
const MAX_FILE: u64 = 1 << 20;
/// Where the agent keeps its state when it runs as root.
const SYSTEM_DATA_DIR: &str = "/var/lib/dripfeed-agent";
/// Where its configuration is looked for when no file is named.
#[cfg(not(windows))]
const CONFIG_DIR: &str = "/etc/dripfeed-agent";
/// The files of that directory, in this order.
const DEFAULT_FILES: [&str; 2] = ["dripfeed-agent.toml", "ocsinventory-agent.cfg"];

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum AgentConfigError {
    /// The file is not there, or may not be read.
    #[error("the configuration file {} cannot be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration file {}: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// No server.
    #[error(
        "no server is named: dripfeed-agent --server https://HOST:PORT/ocsinventory, DRIPFEED_AGENT_SERVER, or \
         server = \"…\" in the configuration file"
    )]
    NoServer,
    /// Not an address.
    #[error("the server's address \"{text}\" is refused: {problem}; expected https://HOST[:PORT]/ocsinventory")]
    Server {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A password without a user.
    #[error("a password without a user: give both --user and --password, or neither")]
    PasswordWithoutUser,
    /// A tag that cannot travel.
    #[error("the tag \"{0}\" is refused: at most 255 characters, no control characters")]
    Tag(String),
}

/// A password: never printed.
#[derive(Clone, Default, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"…\"")
    }
}

/// As written, in a file or as flags.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct AgentOpts {
    /// The server's address, or its host.
    pub server: Option<String>,
    /// PEM file of the authority that signed the server's certificate.
    pub ca: Option<PathBuf>,
    /// Where state is kept.
    #[serde(alias = "basevardir")]
    pub data_dir: Option<PathBuf>,
    /// What the first inventory says of this computer's place.
    pub tag: Option<String>,
    /// `http://HOST:PORT`.
    pub proxy: Option<String>,
    /// For a server behind a password.
    pub user: Option<String>,
    /// For a server behind a password.
    pub password: Option<Password>,
    /// Check certificates?
    #[serde(alias = "ssl")]
    pub verify: Option<bool>,
}

impl AgentOpts {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, AgentConfigError> {
        let unreadable = |source| AgentConfigError::Read { path: path.to_owned(), source };
        let mut text = String::new();
        File::open(path).map_err(unreadable)?.take(MAX_FILE).read_to_string(&mut text).map_err(unreadable)?;
        let refuse = |problem| AgentConfigError::File { path: path.to_owned(), problem };
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
            return toml::from_str(&text).map_err(|error| refuse(error.to_string().trim_end().to_owned()));
        }
        Self::from_stock(&text).map_err(refuse)
    }

    /// The file that holds when none is named, if there is one. On Windows it lies beside the state.
    pub fn read_default(data_dir: Option<&Path>) -> Result<Self, AgentConfigError> {
        #[cfg(windows)]
        let directory = data_dir.map_or_else(default_data_dir, Path::to_owned);
        #[cfg(not(windows))]
        let (directory, _) = (Path::new(CONFIG_DIR), data_dir);
        match DEFAULT_FILES.iter().map(|name| directory.join(name)).find(|path| path.exists()) {
            Some(path) => Self::read(&path),
            None => Ok(Self::default()),
        }
    }

    /// `key=value`, as in the stock agent's `ocsinventory-agent.cfg`.
    fn from_stock(text: &str) -> Result<Self, String> {
        let mut opts = Self::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';', '[']) {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                return Err(format!(
                    "line {} is not key=value: \"{}\"",
                    at + 1,
                    line.chars().take(60).collect::<String>()
                ));
            };
            let value = value.trim().trim_matches(['"', '\'']).to_owned();
            if value.is_empty() {
                continue;
            }
            let decoded = |what| {
                from_base64(&value)
                    .ok_or_else(|| format!("line {}: {what} is not Base64, as the stock agent keeps it", at + 1))
            };
            match key.trim().to_ascii_lowercase().as_str() {
                "server" => opts.server = Some(value),
                "ca" => opts.ca = Some(value.into()),
                "basevardir" | "data_dir" => opts.data_dir = Some(value.into()),
                "tag" => opts.tag = Some(value),
                "proxy" => opts.proxy = Some(value),
                "user" => opts.user = Some(decoded("user")?),
                "password" => opts.password = Some(Password(decoded("password")?)),
                "ssl" | "verify" => opts.verify = Some(value != "0"),
                _ => {}
            }
        }
        Ok(opts)
    }

    /// What this layer does not say, the lower one does.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        Self {
            server: self.server.or(lower.server),
            ca: self.ca.or(lower.ca),
            data_dir: self.data_dir.or(lower.data_dir),
            tag: self.tag.or(lower.tag),
            proxy: self.proxy.or(lower.proxy),
            user: self.user.or(lower.user),
            password: self.password.or(lower.password),
            verify: self.verify.or(lower.verify),
        }
    }

    /// Checks everything that can be checked without the network.
    pub fn check(self) -> Result<AgentConfig, AgentConfigError> {
        let written = self.server.filter(|server| !server.trim().is_empty()).ok_or(AgentConfigError::NoServer)?;
        let (server, assumed) = server_address(written.trim())?;
        let data_dir = self.data_dir.unwrap_or_else(default_data_dir);
        let state_dir = state_dir(&data_dir, &server);
        let expected_ca = state_dir.join("cacert.pem");
        let ca = self.ca.or_else(|| {
            let stock = data_dir.join("cacert.pem");
            [&expected_ca, &stock].into_iter().find(|path| path.exists()).cloned()
        });
        let credentials = match (self.user, self.password) {
            (Some(user), password) => Some((user, password.unwrap_or_default())),
            (None, Some(_)) => return Err(AgentConfigError::PasswordWithoutUser),
            (None, None) => None,
        };
        if let Some(tag) = &self.tag
            && (tag.chars().count() > 255 || tag.chars().any(char::is_control))
        {
            return Err(AgentConfigError::Tag(tag.chars().take(60).collect()));
        }
        Ok(AgentConfig {
            server,
            assumed,
            ca,
            expected_ca,
            state_dir,
            tag: self.tag.filter(|tag| !tag.is_empty()),
            proxy: self.proxy.filter(|proxy| !proxy.is_empty() && proxy != "none"),
            credentials,
            verify: self.verify.unwrap_or(true),
        })
    }
}

/// Checked once; nothing about it can fail any more but the files that it names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentConfig {
    /// The address that messages are sent to.
    pub server: String,
    /// What had to be added to what was written.
    pub assumed: Option<&'static str>,
    /// The CA file, if there is one.
    pub ca: Option<PathBuf>,
    /// Where one is looked for.
    pub expected_ca: PathBuf,
    /// The directory of this server's state: `ocsinv.conf`, `ocsinv.adm`, `download/` (the stock agent's `vardir`).
    pub state_dir: PathBuf,
    /// `TAG` of the first inventory.
    pub tag: Option<String>,
    /// The proxy.
    pub proxy: Option<String>,
    /// User and password.
    pub credentials: Option<(String, Password)>,
    /// Check certificates?
    pub verify: bool,
}

/// The stock agent's rule, `http://<value>/ocsinventory`, for a bare host; an address without a path gets the stock one.
fn server_address(written: &str) -> Result<(String, Option<&'static str>), AgentConfigError> {
    let refuse = |problem: String| AgentConfigError::Server { text: written.chars().take(120).collect(), problem };
    let (scheme, rest) = match written.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => ("http".to_owned(), written),
    };
    if scheme != "http" && scheme != "https" {
        return Err(refuse(format!("\"{scheme}\" is not spoken here")));
    }
    if !rest.is_ascii() {
        return Err(refuse("it contains a letter beyond ASCII: write the host in its xn-- form".to_owned()));
    }
    if rest.contains('@') {
        return Err(refuse("it carries a user; use --user and --password".to_owned()));
    }
    let location: Location = rest.parse().map_err(|error: crate::model::InvalidLocation| {
        // "… is not a location: <problem>; expected …": only the middle fits here.
        let text = error.to_string();
        let problem = text.split("not a location: ").nth(1).and_then(|rest| rest.split(';').next());
        refuse(problem.unwrap_or("it has no host").to_owned())
    })?;
    let bare = !location.as_str().contains('/');
    Ok(match (written.contains("://"), bare) {
        (true, false) => (format!("{scheme}://{location}"), None),
        (true, true) => (format!("{scheme}://{location}/ocsinventory"), Some("the path /ocsinventory")),
        (false, true) => {
            (format!("http://{location}/ocsinventory"), Some("http:// (in clear) and the path /ocsinventory"))
        }
        (false, false) => (format!("http://{location}"), Some("http:// (in clear)")),
    })
}

/// `<data dir>/<address with every / as _>` (on Windows every colon, too), as the stock agent names it; or the directory itself, when it is such a one.
fn state_dir(data_dir: &Path, server: &str) -> PathBuf {
    if data_dir.join("ocsinv.conf").exists() {
        return data_dir.to_owned();
    }
    // On Windows a colon is no part of a name.
    let other: &[char] = if cfg!(windows) { &['/', ':'] } else { &['/'] };
    data_dir.join(server.replace(other, "_"))
}

/// The name of this computer, where the system tells it by the environment only.
#[cfg(not(unix))]
#[expect(clippy::disallowed_methods, reason = "the environment is read in config/")]
pub fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// Where state is kept when nothing else is said.
#[expect(clippy::disallowed_methods, reason = "the environment is read in config/")]
pub fn default_data_dir() -> PathBuf {
    #[cfg(unix)]
    if !rustix::process::geteuid().is_root() {
        if let Some(state) = std::env::var_os("XDG_STATE_HOME").filter(|state| !state.is_empty()) {
            return PathBuf::from(state).join("dripfeed-agent");
        }
        if let Ok(home) = std::env::var("HOME") {
            return PathBuf::from(home).join(".local/state/dripfeed-agent");
        }
    }
    if cfg!(windows) {
        let data = std::env::var("ProgramData").unwrap_or_else(|_| r"C:\ProgramData".to_owned());
        return PathBuf::from(data).join("dripfeed-agent");
    }
    PathBuf::from(SYSTEM_DATA_DIR)
}

fn from_base64(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        buffer = buffer << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(buffer >> bits & 0xff).ok()?);
            buffer &= (1 << bits) - 1;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opts(server: &str) -> AgentOpts {
        AgentOpts { server: Some(server.to_owned()), data_dir: Some("/data".into()), ..AgentOpts::default() }
    }

    #[test]
    fn a_server_is_completed_as_the_stock_agent_does_and_says_so() {
        let seen: Vec<String> = [
            "https://ocs:8443/ocsinventory",
            "https://ocs:8443",
            "https://ocs/",
            "HTTP://ocs/other",
            "ocs",
            "10.0.0.1:8080",
            "ocs/sub/ocsinventory",
            "[::1]:80",
        ]
        .iter()
        .map(|text| {
            let config = opts(text).check().expect("an address");
            format!("{text} → {} {:?}", config.server, config.assumed)
        })
        .collect();
        insta::assert_snapshot!(seen.join("\n"), @r#"
        https://ocs:8443/ocsinventory → https://ocs:8443/ocsinventory None
        https://ocs:8443 → https://ocs:8443/ocsinventory Some("the path /ocsinventory")
        https://ocs/ → https://ocs/ocsinventory Some("the path /ocsinventory")
        HTTP://ocs/other → http://ocs/other None
        ocs → http://ocs/ocsinventory Some("http:// (in clear) and the path /ocsinventory")
        10.0.0.1:8080 → http://10.0.0.1:8080/ocsinventory Some("http:// (in clear) and the path /ocsinventory")
        ocs/sub/ocsinventory → http://ocs/sub/ocsinventory Some("http:// (in clear)")
        [::1]:80 → http://[::1]:80/ocsinventory Some("http:// (in clear) and the path /ocsinventory")
        "#);
    }

    #[test]
    fn what_is_no_server_gets_a_sentence() {
        let refusals: Vec<String> =
            ["", "ftp://ocs/x", "https://", "https://u:p@ocs/x", "https://ocs:0/x", "https://ö/x", "a b"]
                .iter()
                .map(|text| opts(text).check().expect_err(text).to_string())
                .collect();
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        no server is named: dripfeed-agent --server https://HOST:PORT/ocsinventory, DRIPFEED_AGENT_SERVER, or server = "…" in the configuration file
        the server's address "ftp://ocs/x" is refused: "ftp" is not spoken here; expected https://HOST[:PORT]/ocsinventory
        the server's address "https://" is refused: it has no host; expected https://HOST[:PORT]/ocsinventory
        the server's address "https://u:p@ocs/x" is refused: it carries a user; use --user and --password; expected https://HOST[:PORT]/ocsinventory
        the server's address "https://ocs:0/x" is refused: its port is not a number from 1 to 65535; expected https://HOST[:PORT]/ocsinventory
        the server's address "https://ö/x" is refused: it contains a letter beyond ASCII: write the host in its xn-- form; expected https://HOST[:PORT]/ocsinventory
        the server's address "a b" is refused: it contains a character that no address has; expected https://HOST[:PORT]/ocsinventory
        "#);
    }

    #[test]
    fn state_lies_where_the_stock_agent_keeps_it() {
        let config = opts("https://ocs:8443/ocsinventory").check().expect("an address");
        let name = if cfg!(windows) { "https___ocs_8443_ocsinventory" } else { "https:__ocs:8443_ocsinventory" };
        assert_eq!(config.state_dir, Path::new("/data").join(name));
        let stock = tempfile::tempdir().expect("a directory");
        File::create(stock.path().join("ocsinv.conf")).expect("a file");
        let config = AgentOpts { data_dir: Some(stock.path().to_owned()), ..opts("ocs") }.check().expect("an address");
        assert_eq!(config.state_dir, stock.path());
    }

    #[test]
    fn the_higher_layer_wins_key_by_key() {
        let file = AgentOpts { tag: Some("file".to_owned()), ..opts("file") };
        let environment = AgentOpts { server: Some("environment".to_owned()), ..AgentOpts::default() };
        let flags = AgentOpts { verify: Some(false), ..AgentOpts::default() };
        let merged = flags.over(environment.over(file));
        assert_eq!(merged.server.as_deref(), Some("environment"));
        assert_eq!(merged.tag.as_deref(), Some("file"));
        assert_eq!(merged.verify, Some(false));
    }

    #[test]
    fn a_stock_file_is_read_and_a_misspelt_toml_key_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            io::Write::write_all(&mut File::create(&path).expect("a file"), text.as_bytes()).expect("written");
            path
        };
        let stock = write(
            "ocsinventory-agent.cfg",
            "# stock\nserver = https://ocs/ocsinventory\nbasevardir=/var/lib/x\nssl=0\nuser=dQ==\npassword=cA==\nlazy=1\n",
        );
        let opts = AgentOpts::read(&stock).expect("a stock file");
        assert_eq!(opts.server.as_deref(), Some("https://ocs/ocsinventory"));
        assert_eq!(opts.data_dir.as_deref(), Some(Path::new("/var/lib/x")));
        assert_eq!((opts.user.as_deref(), opts.password), (Some("u"), Some(Password("p".to_owned()))));
        assert_eq!(opts.verify, Some(false));

        let toml = write("a.toml", "server = \"ocs\"\nssl = true\n");
        assert_eq!(AgentOpts::read(&toml).expect("toml").verify, Some(true));
        let wrong = AgentOpts::read(&write("b.toml", "sever = \"ocs\"\n")).expect_err("a misspelt key").to_string();
        assert!(wrong.contains("sever") && wrong.contains("expected one of"), "{wrong}");
        assert!(AgentOpts::read(&write("c.cfg", "hello\n")).is_err());
        assert!(AgentOpts::read(&directory.path().join("absent.toml")).is_err());
    }
}
