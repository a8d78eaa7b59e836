//! The server that nobody named: `_dripfeed._tcp` in the computer's own domains, once, and kept (`<data dir>/server`).
//!
//! What makes that safe, for whoever answers DNS or hands out search domains may be anybody:
//!
//! - only when no server is configured, and never again once one was found;
//! - always `https`, checked against a CA file that must have been put here, for the very name that the record has;
//! - the record's name is the domain that was asked, or below it: a CA that signs for strangers signs for their domains;
//! - a single label (`search lan`) is a domain as well, but a name that is none (an IP address) is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::agent::AgentOpts;
use crate::disk;
use crate::fetch::srv::{self, Resolver, SrvError};

/// The name below a domain.
const SERVICE: &str = "_dripfeed._tcp";
/// For each DNS server and domain.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why no server was found.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// No domain of this computer has such a record.
    #[error(
        "no server is named, and none was found: {SERVICE} has no record in {}; name one with --server, \
         DRIPFEED_AGENT_SERVER or server = \"…\" in the configuration file", domains.join(", ")
    )]
    NoRecord {
        /// The domains that were asked.
        domains: Vec<String>,
    },
    /// The record leads out of the domain.
    #[error(
        "the record {SERVICE}.{domain} leads to {target}, which is not below {domain}: it is not followed; name the server \
         with --server if it is right"
    )]
    Elsewhere {
        /// Where it was found.
        domain: String,
        /// Where it leads.
        target: String,
    },
    /// DNS does not work.
    #[error("no server is named, and DNS cannot be asked for one ({SERVICE}.{domain}): {source}")]
    Dns {
        /// The domain.
        domain: String,
        /// Why.
        source: SrvError,
    },
    /// What was found cannot be kept.
    #[error("failed to keep the server that was found in {}: {source}", path.display())]
    Keep {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The server that was found before.
pub(crate) fn remembered(data_dir: &Path) -> Option<String> {
    let text = fs::read_to_string(data_dir.join("server")).ok()?;
    let line = text.lines().next()?.trim();
    (line.starts_with("https://") && line.len() < 500).then(|| line.to_owned())
}

/// Fills in the server, if none is configured: the one that was found before, or one that DNS names now.
///
/// Without a domain to ask there is nothing to find, and the options stay as they are.
pub(crate) fn fill_in(
    opts: &mut AgentOpts,
    resolver: impl FnOnce() -> Resolver,
    random: u32,
) -> Result<(), DiscoverError> {
    if opts.server.as_ref().is_some_and(|server| !server.trim().is_empty()) {
        return Ok(());
    }
    // Nobody has said who the server is: that it is the right one is all that stands between DNS and this computer.
    opts.verify = Some(true);
    let data_dir = opts.data_dir();
    if let Some(server) = remembered(&data_dir) {
        opts.server = Some(server);
        return Ok(());
    }
    let resolver = resolver();
    if resolver.domains.is_empty() || resolver.servers.is_empty() {
        return Ok(());
    }
    let server = find(&resolver, random)?;
    let path = data_dir.join("server");
    let kept = if data_dir.is_dir() { Ok(()) } else { disk::atomic::create_dir_private(&data_dir) };
    kept.and_then(|()| disk::atomic::write_private(&path, format!("{server}\n").as_bytes()))
        .map_err(|source| DiscoverError::Keep { path: path.clone(), source })?;
    tracing::info!("DNS names the server {server}; kept in {}", path.display());
    opts.server = Some(server);
    Ok(())
}

fn find(resolver: &Resolver, random: u32) -> Result<String, DiscoverError> {
    for domain in &resolver.domains {
        let records = resolver
            .srv(&format!("{SERVICE}.{domain}"), PATIENCE)
            .map_err(|source| DiscoverError::Dns { domain: domain.clone(), source })?;
        if let Some(record) = srv::choose(&records, random) {
            if !srv::is_below(&record.target, domain) || record.target.parse::<std::net::IpAddr>().is_ok() {
                return Err(DiscoverError::Elsewhere { domain: domain.clone(), target: record.target.clone() });
            }
            return Ok(format!("https://{}:{}/ocsinventory", record.target, record.port));
        }
    }
    Err(DiscoverError::NoRecord { domains: resolver.domains.clone() })
}

/// What the system says of DNS; nothing, where it says nothing in a file.
#[cfg(unix)]
pub(crate) fn system_resolver() -> Resolver {
    fs::read_to_string("/etc/resolv.conf").map(|text| Resolver::from_resolv_conf(&text)).unwrap_or_default()
}

/// A file of that name would be anybody's.
#[cfg(not(unix))]
pub(crate) fn system_resolver() -> Resolver {
    tracing::warn!("no server is named, and on this system DNS is not asked for one");
    Resolver::default()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// A DNS server for so many questions, which knows one record.
    fn dns(record: &'static str, target: &'static str, questions: usize) -> Resolver {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = server.local_addr().expect("an address");
        std::thread::spawn(move || {
            for _ in 0..questions {
                let mut bytes = [0; 512];
                let Ok((length, from)) = server.recv_from(&mut bytes) else { return };
                let mut message = bytes[..length].to_vec();
                message[2] |= 0x80;
                let asked: String = bytes[12..length].iter().map(|byte| char::from(*byte)).collect();
                if asked.contains(record) {
                    let labels: Vec<u8> = target
                        .split('.')
                        .flat_map(|label| [&[u8::try_from(label.len()).expect("short")], label.as_bytes()].concat())
                        .chain([0])
                        .collect();
                    message[7] = 1;
                    message.extend([
                        0xc0,
                        12,
                        0,
                        33,
                        0,
                        1,
                        0,
                        0,
                        0,
                        60,
                        0,
                        u8::try_from(labels.len() + 6).expect("short"),
                    ]);
                    message.extend([0, 10, 0, 0, 0x20, 0xfb]);
                    message.extend(labels);
                } else {
                    message[3] = 3;
                }
                let _ = server.send_to(&message, from);
            }
        });
        Resolver { servers: vec![address], domains: vec!["lan".to_owned(), "example.net".to_owned()] }
    }

    fn opts(home: &Path) -> AgentOpts {
        AgentOpts { data_dir: Some(home.join("data")), ..AgentOpts::default() }
    }

    #[test]
    fn a_server_is_found_once_and_kept() {
        let home = tempfile::tempdir().expect("a directory");
        let mut found = opts(home.path());
        fill_in(&mut found, || dns("example", "ocs.example.net", 2), 0).expect("a server");
        assert_eq!(found.server.as_deref(), Some("https://ocs.example.net:8443/ocsinventory"));
        let mut again = opts(home.path());
        // Nobody is there to ask any more.
        fill_in(&mut again, Resolver::default, 0).expect("kept");
        assert_eq!(again.server, found.server);
        let mut named = AgentOpts { server: Some("ocs".to_owned()), ..opts(home.path()) };
        fill_in(&mut named, Resolver::default, 0).expect("named");
        assert_eq!(named.server.as_deref(), Some("ocs"));
    }

    #[test]
    fn a_record_that_leads_elsewhere_is_not_followed() {
        for target in ["ocs.evil.example", "badexample.net"] {
            let home = tempfile::tempdir().expect("a directory");
            let error = fill_in(&mut opts(home.path()), || dns("example", target, 2), 0).expect_err("elsewhere");
            assert!(error.to_string().contains(&format!("leads to {target}")), "{error}");
            assert_eq!(remembered(&home.path().join("data")), None);
        }
    }

    #[test]
    fn nothing_found_is_told_with_where_it_was_looked_for() {
        let home = tempfile::tempdir().expect("a directory");
        let error = fill_in(&mut opts(home.path()), || dns("nowhere", "x", 2), 0).expect_err("nothing");
        insta::assert_snapshot!(error, @r#"no server is named, and none was found: _dripfeed._tcp has no record in lan, example.net; name one with --server, DRIPFEED_AGENT_SERVER or server = "…" in the configuration file"#);
        let mut nowhere = opts(home.path());
        fill_in(&mut nowhere, Resolver::default, 0).expect("nothing to ask");
        assert_eq!(nowhere.server, None);
    }
}
