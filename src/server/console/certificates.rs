//! `/certificates`: what agents see when they connect, tried as they do it.

use std::net::IpAddr;
use std::time::Duration;

use askama::Template;

use super::call::{Call, Page, View, get};
use super::shell::Shell;
use super::show::hex;
use crate::fetch::{Client, ClientOptions};
use crate::model::UnixTime;
use crate::model::access::Right;
use crate::service::desk::Refusal;
use crate::tls::server::CertificateFacts;

/// A handshake with ourselves takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(4);
/// From here on the end is near.
const NEAR: Duration = Duration::from_hours(30 * 24);
/// Bytes of our own `ca.pem`.
const REPLY: usize = 1 << 20;

pub(super) fn pages() -> Vec<Page> {
    vec![get("/certificates", Right::SeeSettings, show)]
}

/// One way to reach the server, tried.
struct Try {
    authority: String,
    /// Why it did not work.
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "certificates.html")]
struct Certificates {
    shell: Shell,
    chain: Vec<CertificateFacts>,
    authority: Option<CertificateFacts>,
    file: String,
    tries: Vec<Try>,
    /// `https://host:port`.
    address: String,
    /// The same without TLS.
    plain: String,
    now: UnixTime,
}

impl Certificates {
    /// Days until its end; negative afterwards.
    fn days(&self, facts: &CertificateFacts) -> i64 {
        (facts.ends.millis() - self.now.millis()).div_euclid(86_400_000)
    }

    fn is_near(&self, facts: &CertificateFacts) -> bool {
        facts.ends <= self.now.plus(NEAR)
    }

    fn has_ended(&self, facts: &CertificateFacts) -> bool {
        facts.ends <= self.now
    }

    /// `AB:CD:…`, as other tools write it.
    fn fingerprint(facts: &CertificateFacts) -> String {
        facts.fingerprint.iter().map(|byte| hex([*byte]).to_uppercase()).collect::<Vec<_>>().join(":")
    }
}

fn show(call: &Call) -> Result<View, Refusal> {
    let tls = &call.site.tls;
    let chain = tls.shown().map_err(Refusal::failed)?;
    let authority = tls.authority_facts().map_err(Refusal::failed)?;
    let roots = tls.authority_file().unwrap_or_else(|| tls.chain_file().to_owned());
    call.page(&Certificates {
        shell: call.shell("Certificates", "/certificates"),
        tries: tries(call, roots),
        chain,
        authority,
        file: tls.chain_file().display().to_string(),
        address: format!("https://{}", call.host),
        plain: format!("http://{}:{}", call.site.public_name, call.site.addresses.http.port()),
        now: call.site.app.clock.now(),
    })
}

/// The public name, the name that the browser used, and the address that is listened on: each with a real handshake.
fn tries(call: &Call, roots: std::path::PathBuf) -> Vec<Try> {
    let bound = call.site.addresses.https;
    let port = bound.port();
    let mut authorities = vec![format!("{}:{port}", call.site.public_name)];
    let here = match bound.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    for authority in [call.host.clone(), format!("{here}:{port}")] {
        // Only this server is asked: a name of somebody else's choice must stand in the certificate.
        let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host).trim_matches(['[', ']']);
        let ours = call.site.tls.shown().is_ok_and(|chain| {
            chain.first().is_some_and(|facts| facts.names.iter().any(|name| name.eq_ignore_ascii_case(host)))
        });
        let complete = if authority.contains(':') { authority.clone() } else { format!("{authority}:{port}") };
        if (ours || authority.starts_with(&here)) && !authorities.contains(&complete) {
            authorities.push(complete);
        }
    }
    let options = ClientOptions {
        ca_file: Some(roots),
        connect_timeout: PATIENCE,
        read_timeout: PATIENCE,
        deadline: PATIENCE,
        ..ClientOptions::default()
    };
    let client = Client::new(&options);
    let ask = |authority: &str| -> Option<String> {
        let client = match &client {
            Ok(client) => client,
            Err(error) => return Some(error.to_string()),
        };
        let url = match format!("https://{authority}/ca.pem").parse() {
            Ok(url) => url,
            Err(error) => return Some(format!("{error}")),
        };
        match client.get(&url, REPLY) {
            // With a certificate of the administrator's own there is no ca.pem; the handshake is what counts.
            Ok(_) | Err(crate::fetch::FetchError::Status { .. }) => None,
            Err(error) => Some(error.to_string()),
        }
    };
    authorities.into_iter().map(|authority| Try { problem: ask(&authority), authority }).collect()
}
