//! The agent's configuration: flag over environment over file over default.
//!
//! ```toml
//! server = "https://inventory.example.net:8443/ocsinventory"
//! ca = "/etc/dripfeed-agent/cacert.pem"
//! tag = "PARIS"
//! ```
//!
//! A file that does not end in `.toml` is read as a stock agent's (`key=value`, `ocsinventory-agent.cfg`) or an OCO
//! agent's (the same below `[section]` lines, `oco-agent.ini`). These keys of theirs mean the same here:
//!
//! | stock | here |
//! |---|---|
//! | `server`, `ca`, `tag`, `basevardir`, `proxy`, `debug` | the same |
//! | `user`, `password` | the same; in Base64, as the stock agent keeps them |
//! | `ssl` | `verify` |
//! | `wait` | `start_delay`, in seconds; `init` is the default |
//!
//! | OCO | here |
//! |---|---|
//! | `[server] api-url` | `server`: the same host and port, with `/ocsinventory` for `/api-agent.php` |
//! | `[agent] connection-timeout`, `read-timeout` | `connect_timeout`, `read_timeout`, in seconds |
//! | `[agent] debug` | `debug`, but bodies and keys are never told |
//!
//! The others are passed over, and told once at the start; of some it is told why:
//!
//! | OCO | why it is not taken |
//! |---|---|
//! | `[agent] agent-key`, `[server] server-key` | they prove an OCO agent and an OCO server to each other; nothing here speaks that protocol |
//! | `[agent] query-interval` | how often contacts are made is the server's word here (`PROLOG_FREQ`, in hours), so that one setting holds for all |
//!
//! In a `.toml` file a key that is not known is refused.

mod environment;
mod file;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

#[cfg(not(unix))]
pub use self::environment::host_name;
pub use self::environment::{EnvironmentProxies, ServiceManager, default_data_dir};
use crate::model::{ByteSize, Location};

/// Files of this kind have some hundred bytes.
const MAX_FILE: u64 = 1 << 20;
/// The slowest ceiling, in bytes a second: below it a fragment would not come within any patience.
const MIN_BANDWIDTH: u64 = 1024;
/// A site that is switched on in the morning makes its contacts within these seconds.
const DEFAULT_START_DELAY: u32 = 300;

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
    /// Not a rate that anything could come at.
    #[error("the bandwidth \"{0}\" is refused: expected bytes a second, 1KiB or more, such as 250000 or 512KiB")]
    Bandwidth(String),
    /// The registration key is said twice.
    #[error("the registration key is given itself and in a file: give one of the two")]
    TwoRegistrationKeys,
    /// The file of the registration key is not there, or may not be read.
    #[error(
        "the file of the registration key {} cannot be read: {source}; a computer that has registered does without: then \
         remove registration_key_file",
        path.display()
    )]
    RegistrationKeyFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not one line of text.
    #[error("the registration key is refused: it is one line of 1 to 255 characters, as the server has it")]
    RegistrationKey,
    /// A tag that cannot travel.
    #[error("the tag \"{0}\" is refused: at most 255 characters, no control characters")]
    Tag(String),
}

/// A password, or an address that may hold one: never printed.
#[derive(Clone, Default, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"…\"")
    }
}

/// Where the registration key comes from: what lets this computer register its own key at the server, the first time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RegistrationSource {
    /// The key itself.
    Given(Hidden),
    /// The file whose only line it is.
    File(PathBuf),
}

impl RegistrationSource {
    /// Whoever only looks at the agent need not be able to read the file, so it is read by whoever sends.
    pub fn read(&self) -> Result<Hidden, AgentConfigError> {
        let text = match self {
            Self::Given(Hidden(text)) => text.clone(),
            Self::File(path) => {
                let failed = |source| AgentConfigError::RegistrationKeyFile { path: path.clone(), source };
                let mut text = String::new();
                File::open(path).map_err(failed)?.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
                text
            }
        };
        let text = text.trim();
        if text.is_empty() || text.chars().count() > 255 || text.chars().any(char::is_control) {
            return Err(AgentConfigError::RegistrationKey);
        }
        Ok(Hidden(text.to_owned()))
    }

    /// The environment of this process: an argument would show it to every user of the computer.
    #[expect(clippy::disallowed_methods, reason = "the environment is read in config/")]
    pub fn of_this_process() -> Option<Hidden> {
        std::env::var("DRIPFEED_AGENT_REGISTRATION_KEY").ok().filter(|text| !text.is_empty()).map(Hidden)
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
    /// `http://HOST:PORT`, `https://…`, `socks5://…`, with `USER:PASSWORD@` if need be; `none` for none at all.
    pub proxy: Option<Hidden>,
    /// Who is reached without it.
    pub no_proxy: Option<String>,
    /// Bytes a second that fragments may take.
    pub bandwidth: Option<String>,
    /// Seconds: the first contact after a start waits a random part of it.
    pub start_delay: Option<u32>,
    /// Seconds for name, connection and TLS.
    pub connect_timeout: Option<u32>,
    /// Seconds without a single byte.
    pub read_timeout: Option<u32>,
    /// Tell more.
    pub debug: Option<bool>,
    /// For a server behind a password.
    pub user: Option<String>,
    /// For a server behind a password.
    pub password: Option<Hidden>,
    /// What lets this computer register its key.
    pub registration_key: Option<Hidden>,
    /// The file whose only line is that.
    pub registration_key_file: Option<PathBuf>,
    /// Check certificates?
    #[serde(alias = "ssl")]
    pub verify: Option<bool>,
    /// Keys of a stock or OCO agent's file that are not taken, as `key (line n)`, some with the reason.
    #[serde(skip)]
    pub passed_over: Vec<String>,
    /// What the environment says of proxies, for whoever says nothing else.
    #[serde(skip)]
    pub environment: EnvironmentProxies,
}

impl AgentOpts {
    /// Where state is kept, whatever the server is.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(default_data_dir)
    }

    /// What this layer does not say, the lower one does.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        // Two ways of saying one thing: who says it either way has said it.
        let (registration_key, registration_key_file) =
            if self.registration_key.is_some() || self.registration_key_file.is_some() {
                (self.registration_key, self.registration_key_file)
            } else {
                (lower.registration_key, lower.registration_key_file)
            };
        Self {
            server: self.server.or(lower.server),
            ca: self.ca.or(lower.ca),
            data_dir: self.data_dir.or(lower.data_dir),
            tag: self.tag.or(lower.tag),
            proxy: self.proxy.or(lower.proxy),
            no_proxy: self.no_proxy.or(lower.no_proxy),
            bandwidth: self.bandwidth.or(lower.bandwidth),
            start_delay: self.start_delay.or(lower.start_delay),
            connect_timeout: self.connect_timeout.or(lower.connect_timeout),
            read_timeout: self.read_timeout.or(lower.read_timeout),
            debug: self.debug.or(lower.debug),
            user: self.user.or(lower.user),
            password: self.password.or(lower.password),
            registration_key,
            registration_key_file,
            verify: self.verify.or(lower.verify),
            passed_over: [self.passed_over, lower.passed_over].concat(),
            environment: if self.environment == EnvironmentProxies::default() {
                lower.environment
            } else {
                self.environment
            },
        }
    }

    /// Checks everything that can be checked without the network.
    pub fn check(self) -> Result<AgentConfig, AgentConfigError> {
        let data_dir = self.data_dir();
        let written = self.server.filter(|server| !server.trim().is_empty()).ok_or(AgentConfigError::NoServer)?;
        let (server, assumed) = server_address(written.trim())?;
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
        let registration_key = match (self.registration_key, self.registration_key_file) {
            (Some(_), Some(_)) => return Err(AgentConfigError::TwoRegistrationKeys),
            (Some(key), None) => Some(RegistrationSource::Given(key)),
            (None, file) => file.map(RegistrationSource::File),
        };
        if let Some(tag) = &self.tag
            && (tag.chars().count() > 255 || tag.chars().any(char::is_control))
        {
            return Err(AgentConfigError::Tag(tag.chars().take(60).collect()));
        }
        let bandwidth = match &self.bandwidth {
            None => None,
            Some(text) => {
                let rate = text.trim().trim_end_matches("/s").parse::<ByteSize>().ok().map(|rate| rate.0);
                Some(
                    rate.filter(|rate| *rate >= MIN_BANDWIDTH)
                        .ok_or_else(|| AgentConfigError::Bandwidth(text.chars().take(40).collect()))?,
                )
            }
        };
        // Said here, it holds for every address, and the environment's exceptions hold as well.
        let except = self.no_proxy.or(self.environment.except).unwrap_or_default();
        let proxies = match self.proxy.filter(|proxy| !proxy.0.is_empty()) {
            Some(Hidden(word)) if word == "none" => AgentProxies::default(),
            Some(proxy) => AgentProxies { http: Some(proxy.clone()), https: Some(proxy), except },
            None => AgentProxies { http: self.environment.http, https: self.environment.https, except },
        };
        let seconds = |given: Option<u32>, default: u32| Duration::from_secs(given.unwrap_or(default).into());
        Ok(AgentConfig {
            server,
            assumed,
            ca,
            expected_ca,
            state_dir,
            tag: self.tag.filter(|tag| !tag.is_empty()),
            proxies,
            bandwidth,
            start_delay: seconds(self.start_delay, DEFAULT_START_DELAY),
            connect_timeout: seconds(self.connect_timeout.filter(|seconds| *seconds > 0), 30),
            read_timeout: seconds(self.read_timeout.filter(|seconds| *seconds > 0), 120),
            passed_over: self.passed_over,
            credentials,
            registration_key,
            verify: self.verify.unwrap_or(true),
        })
    }
}

/// The proxies, as far as the configuration and the environment say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AgentProxies {
    /// For addresses in clear.
    pub http: Option<Hidden>,
    /// For addresses that ask for TLS.
    pub https: Option<Hidden>,
    /// Who is reached without.
    pub except: String,
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
    /// The ways out.
    pub proxies: AgentProxies,
    /// Bytes a second that fragments may take; `None` for as many as there are.
    pub bandwidth: Option<u64>,
    /// The first contact after a start waits a random part of it.
    pub start_delay: Duration,
    /// For name, connection and TLS.
    pub connect_timeout: Duration,
    /// Without a single byte.
    pub read_timeout: Duration,
    /// Keys of a stock or OCO agent's file that are not taken.
    pub passed_over: Vec<String>,
    /// User and password.
    pub credentials: Option<(String, Hidden)>,
    /// What lets this computer register its key; once it has, nothing is sent of it.
    pub registration_key: Option<RegistrationSource>,
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
    fn the_environments_proxies_hold_where_nothing_else_is_said() {
        let environment = |pairs: &'static [(&str, &str)]| {
            EnvironmentProxies::from_lookup(|name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let hidden = |text: &str| Some(Hidden(text.to_owned()));
        let mixed = environment(&[("HTTP_PROXY", "http://a"), ("all_proxy", "socks5://b"), ("NO_PROXY", "x,y")]);
        let of = |proxy: Option<&str>| {
            let proxy = proxy.map(|proxy| Hidden(proxy.to_owned()));
            AgentOpts { proxy, environment: mixed.clone(), ..opts("ocs") }.check().expect("a configuration").proxies
        };
        assert_eq!(
            of(None),
            AgentProxies { http: hidden("http://a"), https: hidden("socks5://b"), except: "x,y".to_owned() }
        );
        assert_eq!(
            of(Some("http://c")),
            AgentProxies { http: hidden("http://c"), https: hidden("http://c"), except: "x,y".to_owned() }
        );
        assert_eq!(of(Some("none")), AgentProxies::default());
        assert_eq!(environment(&[("http_proxy", " ")]), EnvironmentProxies::default());
    }

    #[test]
    fn a_bandwidth_is_bytes_a_second_and_not_next_to_nothing() {
        let of = |text: &str| {
            AgentOpts { bandwidth: Some(text.to_owned()), ..opts("ocs") }.check().map(|config| config.bandwidth)
        };
        assert_eq!(of("250000").expect("a rate"), Some(250_000));
        assert_eq!(of("512KiB/s").expect("a rate"), Some(512 << 10));
        for wrong in ["", "fast", "0", "100"] {
            assert!(matches!(of(wrong), Err(AgentConfigError::Bandwidth(_))), "{wrong}");
        }
    }

    #[test]
    fn a_registration_key_comes_from_one_place_and_is_never_printed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("registration.key");
        let file = |path: &Path| AgentOpts { registration_key_file: Some(path.to_owned()), ..opts("ocs") };
        let given = |text: &str| AgentOpts { registration_key: Some(Hidden(text.to_owned())), ..opts("ocs") };
        let read = |opts: AgentOpts| {
            let key = opts.check().expect("a configuration").registration_key.expect("a key");
            key.read().map(|key| key.0).map_err(|error| error.to_string())
        };
        io::Write::write_all(&mut File::create(&path).expect("a file"), b" s3cret\r\n").expect("written");
        assert_eq!(read(file(&path)).as_deref(), Ok("s3cret"));
        assert_eq!(read(given("s3cret")).as_deref(), Ok("s3cret"));
        // The higher layer says it its own way, and the lower one is not asked.
        assert_eq!(read(file(&path).over(given("other"))).as_deref(), Ok("s3cret"));
        assert_eq!(read(given("other").over(file(&path))).as_deref(), Ok("other"));
        let both = AgentOpts { registration_key: Some(Hidden("x".to_owned())), ..file(&path) };
        assert!(matches!(both.check(), Err(AgentConfigError::TwoRegistrationKeys)));
        for wrong in [" ", "one\ntwo", &"x".repeat(256)] {
            assert!(read(given(wrong)).is_err(), "{wrong:?} was taken");
        }
        let absent = read(file(&directory.path().join("absent"))).expect_err("no file");
        assert!(absent.contains("absent cannot be read"), "{absent}");
        let config = given("s3cret").check().expect("a configuration");
        assert!(!format!("{config:?} {:?}", given("s3cret")).contains("s3cret"));
    }
}
