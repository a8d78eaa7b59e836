//! Activation: where agents fetch a package.

use std::fmt;
use std::str::FromStr;

use super::{PackageId, TreeKey, UnixTime};

/// Why a location was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "\"{text}\" is not a location: {problem}; expected HOST[:PORT]/PATH, such as packages.example.net:8443/download"
)]
pub struct InvalidLocation {
    text: String,
    problem: &'static str,
}

/// `INFO_LOC`, `PACK_LOC`: host, port and path without a scheme; agents complete it with `/<id>/<file>`.
///
/// The info file is always fetched over HTTPS, fragments by the scheme that the info file names (ocs-protocol 1.1).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Location(String);

impl Location {
    /// The text, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is there an address or a name to be filled in, of the mirror that is near a computer (`$IP$`, `$NAME$`)?
    pub fn is_template(&self) -> bool {
        self.0.contains("$IP$") || self.0.contains("$NAME$")
    }

    /// With a mirror's address and name filled in; `None` if the address is needed and not known, or no location comes of it.
    pub fn filled(&self, address: Option<std::net::IpAddr>, name: &str) -> Option<Self> {
        if !self.is_template() {
            return Some(self.clone());
        }
        let mut text = self.0.replace("$NAME$", name);
        if text.contains("$IP$") {
            let address = match address?.to_canonical() {
                std::net::IpAddr::V4(address) => address.to_string(),
                std::net::IpAddr::V6(address) => format!("[{address}]"),
            };
            text = text.replace("$IP$", &address);
        }
        text.parse().ok()
    }

    /// The address of one file below it.
    ///
    /// ```
    /// # use dripfeed::model::{Location, TreeKey};
    /// let location: Location = "dl.example.net/download".parse()?;
    /// let key: TreeKey = "1795164357/info".parse().unwrap();
    /// assert_eq!(location.url("https", key), "https://dl.example.net/download/1795164357/info");
    /// # Ok::<(), dripfeed::model::InvalidLocation>(())
    /// ```
    pub fn url(&self, scheme: &str, key: TreeKey) -> String {
        format!("{scheme}://{}/{key}", self.0)
    }
}

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |problem| Err(InvalidLocation { text: text.chars().take(80).collect(), problem });
        if text.contains("://") {
            return refuse("it carries a scheme, but agents add theirs");
        }
        let trimmed = text.trim_end_matches('/');
        if trimmed.is_empty() || trimmed.starts_with('/') {
            return refuse("it has no host");
        }
        if trimmed.len() > 255 {
            return refuse("it is longer than 255 bytes");
        }
        if trimmed
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '"' | '<' | '>' | '\\' | '@'))
        {
            return refuse("it contains a character that no address has");
        }
        let host = trimmed.split('/').next().unwrap_or_default();
        let after_host = if let Some(rest) = host.strip_prefix('[') {
            match rest.split_once(']') {
                Some((address, after)) if address.parse::<std::net::Ipv6Addr>().is_ok() => after,
                _ => return refuse("what stands in brackets is not an IPv6 address"),
            }
        } else {
            let colon = host.find(':').unwrap_or(host.len());
            if colon == 0 {
                return refuse("it has no host");
            }
            &host[colon..]
        };
        match after_host.strip_prefix(':') {
            None if after_host.is_empty() => {}
            Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => {}
            _ => return refuse("its port is not a number from 1 to 65535"),
        }
        if trimmed.split('/').any(|part| part == "..") {
            return refuse("it contains ..");
        }
        Ok(Self(trimmed.to_owned()))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A package made reachable. One package has at most one that is in force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Activation {
    /// Which package.
    pub package: PackageId,
    /// Where its info file is (HTTPS).
    pub info_location: Location,
    /// Where its fragments are.
    pub fragment_location: Location,
    /// When it was activated.
    pub activated_at: UnixTime,
    /// When info and every fragment were last fetched from there as an agent would; `None` if that was left out.
    pub checked_at: Option<UnixTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_keeps_its_port() {
        for right in
            ["server:4343/download", "10.0.0.1/download", "[::1]:8443/download", "host", "$IP$/download", "a/b/c"]
        {
            assert_eq!(right.parse::<Location>().expect(right).as_str(), right);
        }
        assert_eq!("host/download///".parse::<Location>().expect("slashes").as_str(), "host/download");
    }

    #[test]
    fn a_template_is_filled_with_a_mirrors_address_and_name() {
        let filled = |text: &str, address: Option<&str>| {
            let location = text.parse::<Location>().expect(text);
            let address = address.map(|address| address.parse().expect("an address"));
            location.filled(address, "paris").map(|location| location.to_string())
        };
        assert_eq!(filled("a/b", None).as_deref(), Some("a/b"));
        assert_eq!(filled("$IP$:8080/local", Some("10.1.0.5")).as_deref(), Some("10.1.0.5:8080/local"));
        assert_eq!(filled("$IP$/local", Some("::ffff:10.1.0.5")).as_deref(), Some("10.1.0.5/local"));
        assert_eq!(filled("$IP$/local", Some("fd00::5")).as_deref(), Some("[fd00::5]/local"));
        assert_eq!(filled("$NAME$.example/d", None).as_deref(), Some("paris.example/d"));
        assert_eq!(filled("$IP$/local", None), None);
    }

    #[test]
    fn what_is_no_location_is_told_why() {
        let refusals: Vec<String> =
            ["https://a/b", "", "/download", ":80/x", "a:b/x", "a:0/x", "a/../b", "a b/c", "[::1/x", "a/b?c"]
                .iter()
                .map(|text| format!("{text:?}: {}", text.parse::<Location>().expect_err(text).problem))
                .collect();
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        "https://a/b": it carries a scheme, but agents add theirs
        "": it has no host
        "/download": it has no host
        ":80/x": it has no host
        "a:b/x": its port is not a number from 1 to 65535
        "a:0/x": its port is not a number from 1 to 65535
        "a/../b": it contains ..
        "a b/c": it contains a character that no address has
        "[::1/x": what stands in brackets is not an IPv6 address
        "a/b?c": it contains a character that no address has
        "#);
    }
}
