//! The few things about an address that the client must know before it connects.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Why an address was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{text}\" is not an address: {problem}; expected https://HOST[:PORT]/PATH")]
pub struct InvalidUrl {
    text: String,
    problem: &'static str,
}

/// An `http` or `https` address without user, query or fragment.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Url {
    text: String,
    https: bool,
    authority: std::ops::Range<usize>,
}

impl Url {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Does it ask for TLS?
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// `HOST` or `HOST:PORT`.
    pub fn authority(&self) -> &str {
        &self.text[self.authority.clone()]
    }

    /// The host, IPv6 without brackets.
    pub fn host(&self) -> &str {
        let authority = self.authority();
        if let Some(rest) = authority.strip_prefix('[') {
            return rest.split(']').next().unwrap_or_default();
        }
        authority.split(':').next().unwrap_or_default()
    }

    /// What follows the authority: empty, or from the slash on.
    pub fn path(&self) -> &str {
        &self.text[self.authority.end..]
    }
}

impl FromStr for Url {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |problem| Err(InvalidUrl { text: text.chars().take(120).collect(), problem });
        let (https, start) = match text.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => (true, 8),
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => (false, 7),
            Some(_) => return refuse("only http and https are spoken"),
            None => return refuse("it has no scheme"),
        };
        if text.len() > 2048 {
            return refuse("it is longer than 2048 bytes");
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '<' | '>' | '\\')) {
            return refuse("it contains a character that no address has");
        }
        if !text.is_ascii() {
            return refuse("it contains a letter beyond ASCII: write the host in its xn-- form");
        }
        if text.contains(['?', '#']) {
            return refuse("it has a query or a fragment");
        }
        let end = text[start..].find('/').map_or(text.len(), |at| start + at);
        let authority = &text[start..end];
        if authority.contains('@') {
            return refuse("it carries a user; use --user and --password");
        }
        let after_host = if let Some(rest) = authority.strip_prefix('[') {
            match rest.split_once(']') {
                Some((address, after)) if address.parse::<Ipv6Addr>().is_ok() => after,
                _ => return refuse("what stands in brackets is not an IPv6 address"),
            }
        } else {
            let colon = authority.find(':').unwrap_or(authority.len());
            if colon == 0 {
                return refuse("it has no host");
            }
            &authority[colon..]
        };
        match after_host.strip_prefix(':') {
            None if after_host.is_empty() => {}
            Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => {}
            _ => return refuse("its port is not a number from 1 to 65535"),
        }
        Ok(Self { text: text.to_owned(), https, authority: start..end })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_knows_its_parts() {
        let url: Url = "https://[::1]:8443/ocsinventory".parse().expect("an address");
        assert_eq!(
            (url.host(), url.authority(), url.path(), url.is_https()),
            ("::1", "[::1]:8443", "/ocsinventory", true)
        );
        let url: Url = "HTTP://inventory".parse().expect("an address");
        assert_eq!((url.host(), url.authority(), url.path(), url.is_https()), ("inventory", "inventory", "", false));
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        let refusals: Vec<String> = [
            "",
            "ftp://a/b",
            "https://",
            "https://:80/x",
            "https://a:0/x",
            "https://a:x/",
            "https://[::1/x",
            "https://u:p@a/x",
            "https://a/b c",
            "https://größe/x",
            "https://a/x?y",
        ]
        .iter()
        .map(|text| format!("{text:?}: {}", text.parse::<Url>().expect_err(text).problem))
        .collect();
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        "": it has no scheme
        "ftp://a/b": only http and https are spoken
        "https://": it has no host
        "https://:80/x": it has no host
        "https://a:0/x": its port is not a number from 1 to 65535
        "https://a:x/": its port is not a number from 1 to 65535
        "https://[::1/x": what stands in brackets is not an IPv6 address
        "https://u:p@a/x": it carries a user; use --user and --password
        "https://a/b c": it contains a character that no address has
        "https://größe/x": it contains a letter beyond ASCII: write the host in its xn-- form
        "https://a/x?y": it has a query or a fragment
        "#);
    }
}
