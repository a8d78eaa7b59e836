//! Every verb as an administrator types it: real processes, their words, their exit codes.

mod deployment;
mod packages;
mod serve;

use dripfeed::protocol::envelope::{Container, seal};

use crate::util::process::{Served, Site, redacted_text};

/// Sentences without what differs from run to run.
fn plain(site: &Site, text: &str) -> String {
    let text = text.replace(&site.root().display().to_string(), "ROOT");
    redacted_text(&text)
}

/// A computer that has sent its inventory.
fn register(served: &Served, name: &str, number: u32, os: &str) -> String {
    let device = format!("{name}-2026-01-02-03-04-{number:02}");
    let xml = format!(
        "<REQUEST><CONTENT><HARDWARE><NAME>{name}</NAME><OSNAME>{os}</OSNAME><USERID>ada</USERID><IPADDR>192.0.2.7</IPADDR>\
         </HARDWARE><BIOS><SSN>S1</SSN></BIOS></CONTENT><DEVICEID>{device}</DEVICEID><QUERY>INVENTORY</QUERY></REQUEST>"
    );
    let answer = served.plain().post(&seal(Container::Zlib, &xml));
    assert_eq!(answer.status, 200, "{}", answer.text());
    device
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// An authority of its own, and a certificate for 127.0.0.1: authority, certificate, key.
fn own_certificate() -> [String; 3] {
    let mut ca = rcgen::CertificateParams::new(Vec::<String>::new()).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let ca_pem = ca.self_signed(&ca_key).expect("a root").pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = leaf.signed_by(&key, &issuer).expect("a certificate").pem();
    [ca_pem, certificate, key.serialize_pem()]
}
