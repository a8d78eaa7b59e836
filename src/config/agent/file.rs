//! What a configuration file says: ours, a stock agent's, an OCO agent's.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

#[cfg(windows)]
use super::default_data_dir;
use super::{AgentConfigError, AgentOpts, Hidden, MAX_FILE};

/// Where its configuration is looked for when no file is named.
#[cfg(not(windows))]
const CONFIG_DIR: &str = "/etc/dripfeed-agent";
/// The files of that directory, in this order.
const DEFAULT_FILES: [&str; 3] = ["dripfeed-agent.toml", "ocsinventory-agent.cfg", "oco-agent.ini"];

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

    /// Which file holds when none is named, if there is one. On Windows it lies beside the state.
    pub fn default_file(data_dir: Option<&Path>) -> Option<PathBuf> {
        #[cfg(windows)]
        let directory = data_dir.map_or_else(default_data_dir, Path::to_owned);
        #[cfg(not(windows))]
        let (directory, _) = (Path::new(CONFIG_DIR), data_dir);
        DEFAULT_FILES.iter().map(|name| directory.join(name)).find(|path| path.exists())
    }

    /// The file that holds when none is named, if there is one.
    pub fn read_default(data_dir: Option<&Path>) -> Result<Self, AgentConfigError> {
        match Self::default_file(data_dir) {
            Some(path) => Self::read(&path),
            None => Ok(Self::default()),
        }
    }

    /// `key=value`, as in the stock agent's `ocsinventory-agent.cfg` and in `oco-agent.ini`.
    fn from_stock(text: &str) -> Result<Self, String> {
        let mut opts = Self::default();
        let mut section = String::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.trim().to_ascii_lowercase();
            }
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
            let value = value.trim().trim_matches(['"', '\'']);
            if !value.is_empty() {
                let key = key.trim().to_ascii_lowercase();
                opts.take_stock(&section, &key, value, at + 1)?;
            }
        }
        Ok(opts)
    }

    fn take_stock(&mut self, section: &str, key: &str, value: &str, line: usize) -> Result<(), String> {
        let decoded = |what| {
            from_base64(value).ok_or_else(|| format!("line {line}: {what} is not Base64, as the stock agent keeps it"))
        };
        let is_on = !matches!(value.to_ascii_lowercase().as_str(), "0" | "no" | "false" | "off");
        // The OCO agent has 3.05 for one of them.
        let seconds = || {
            let whole = value.split_once('.').map_or(value, |(whole, _)| whole);
            whole.parse::<u32>().map_err(|_| format!("line {line}: {key} is not a number of seconds: \"{value}\""))
        };
        match (section, key) {
            ("server", "api-url") => {
                let address = value.strip_suffix("/api-agent.php").unwrap_or(value).trim_end_matches('/');
                self.server = Some(format!("{address}/ocsinventory"));
            }
            ("agent", "connection-timeout") => self.connect_timeout = Some(seconds()?),
            ("agent", "read-timeout") => self.read_timeout = Some(seconds()?),
            (_, "server") => self.server = Some(value.to_owned()),
            (_, "ca") => self.ca = Some(value.into()),
            (_, "basevardir" | "data_dir") => self.data_dir = Some(value.into()),
            (_, "tag") => self.tag = Some(value.to_owned()),
            (_, "proxy") => self.proxy = Some(Hidden(value.to_owned())),
            (_, "no_proxy") => self.no_proxy = Some(value.to_owned()),
            (_, "bandwidth") => self.bandwidth = Some(value.to_owned()),
            (_, "user") => self.user = Some(decoded("user")?),
            (_, "password") => self.password = Some(Hidden(decoded("password")?)),
            (_, "registration_key") => self.registration_key = Some(Hidden(value.to_owned())),
            (_, "registration_key_file") => self.registration_key_file = Some(value.into()),
            (_, "ssl" | "verify") => self.verify = Some(value != "0"),
            (_, "debug") => self.debug = Some(is_on),
            (_, "wait") if value.eq_ignore_ascii_case("init") => {}
            (_, "wait" | "start_delay") => self.start_delay = Some(seconds()?),
            // Hostile or huge: what is told must be bounded.
            _ if self.passed_over.len() < 50 => {
                let name: String = key.chars().take(40).collect();
                let why = why_passed_over(section, key).map(|why| format!(": {why}")).unwrap_or_default();
                self.passed_over.push(format!("{name} (line {line}{why})"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Why a key of an OCO agent is not taken, where somebody could expect that it is.
fn why_passed_over(section: &str, key: &str) -> Option<&'static str> {
    match (section, key) {
        ("agent", "agent-key") | ("server", "server-key") => {
            Some("a key of the OCO protocol, which is not spoken here")
        }
        ("agent", "query-interval") => Some("the server says how often contacts are made, by PROLOG_FREQ"),
        _ => None,
    }
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
    use std::io;

    use super::*;

    #[test]
    fn keys_of_the_other_agents_mean_what_they_meant_there_and_unknown_ones_are_told() {
        let stock = "server=ocs\nproxy=http://u:p@proxy:3128\nwait=120\ndebug=1\nlazy=1\nlogger=Stderr\nlocal=\n";
        let opts = AgentOpts::from_stock(stock).expect("a stock file");
        assert_eq!((opts.start_delay, opts.debug), (Some(120), Some(true)));
        assert_eq!(opts.passed_over, ["lazy (line 5)", "logger (line 6)"]);
        assert!(!format!("{opts:?}").contains("u:p"), "{opts:?}");
        assert_eq!(AgentOpts::from_stock("wait=init").expect("a stock file").start_delay, None);
        assert!(AgentOpts::from_stock("wait=soon").is_err());

        let oco = "[agent]\nconnection-timeout = 3.05\nread-timeout = 150\ndebug = 0\nchunk-size = 8192\n\n[server]\napi-url = https://oco.example:8443/api-agent.php\nserver-key = x\n\n[agent]\nquery-interval = 60\n";
        let config = AgentOpts::from_stock(oco).expect("an OCO file").check().expect("a configuration");
        assert_eq!(config.server, "https://oco.example:8443/ocsinventory");
        assert_eq!((config.connect_timeout.as_secs(), config.read_timeout.as_secs()), (3, 150));
        insta::assert_snapshot!(config.passed_over.join("\n"), @r"
        chunk-size (line 5)
        server-key (line 9: a key of the OCO protocol, which is not spoken here)
        query-interval (line 12: the server says how often contacts are made, by PROLOG_FREQ)
        ");
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
        assert_eq!((opts.user.as_deref(), opts.password), (Some("u"), Some(Hidden("p".to_owned()))));
        assert_eq!(opts.verify, Some(false));

        let toml = write("a.toml", "server = \"ocs\"\nssl = true\n");
        assert_eq!(AgentOpts::read(&toml).expect("toml").verify, Some(true));
        let wrong = AgentOpts::read(&write("b.toml", "sever = \"ocs\"\n")).expect_err("a misspelt key").to_string();
        assert!(wrong.contains("sever") && wrong.contains("expected one of"), "{wrong}");
        assert!(AgentOpts::read(&write("c.cfg", "hello\n")).is_err());
        assert!(AgentOpts::read(&directory.path().join("absent.toml")).is_err());
    }
}
