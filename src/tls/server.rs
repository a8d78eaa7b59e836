//! The server's certificate: from our own authority or the administrator's, replaced while connections run.
//!
//! ```text
//! certs/ca.pem      the authority; agents install it as cacert.pem. 20 years.
//! certs/ca.key      its key, 0600. Whoever has it can pose as this server.
//! certs/server.crt  the certificate, then the authority's. Two years; renewed 30 days before its end, or when the
//!                   machine has a name or an address that it does not stand for.
//! certs/server.key  its key, 0600; kept at a renewal, so that the pair fits at every moment of it.
//! ```
//!
//! Everything is P-256: a handshake costs a fifth of RSA's, and every stock agent's OpenSSL knows it.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, SerialNumber,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::disk::atomic;
use crate::model::{DigestAlgorithm, Hasher, UnixTime};

const DAY: Duration = Duration::from_hours(24);
/// Seconds by which an agent's clock may be behind ours without finding a certificate of tomorrow.
const SKEW: i64 = 86_400;
const AUTHORITY_LIFE: Duration = Duration::from_hours(20 * 366 * 24);
const SERVER_LIFE: Duration = Duration::from_hours(2 * 365 * 24);
/// Before its end by this much a certificate is renewed, or complained about.
const RENEWAL: Duration = Duration::from_hours(30 * 24);
/// Names in one certificate: it travels in every full handshake.
const MOST_NAMES: usize = 100;

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("failed to write {}: the server keeps its certificates there", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file without a certificate in it.
    #[error("{} holds no certificate: expected PEM with BEGIN CERTIFICATE", .0.display())]
    NoCertificate(PathBuf),
    /// A file without a key in it.
    #[error("{} holds no private key: expected PEM with BEGIN PRIVATE KEY, without a passphrase", .0.display())]
    NoKey(PathBuf),
    /// Two files that do not belong together.
    #[error("the key {} does not belong to the certificate {}: the first certificate in the file must be the server's", key.display(), chain.display())]
    Mismatch {
        /// The certificate's file.
        chain: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A certificate or key that the cryptography refuses.
    #[error("{} cannot be used: {problem}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What was said.
        problem: String,
    },
    /// The time of a certificate is over.
    #[error("the certificate {} has expired: agents refuse it; replace it and send SIGHUP", .0.display())]
    Expired(PathBuf),
    /// The authority cannot issue.
    #[error("{} is missing, so no certificate can be issued: restore it from a backup, or remove {} to make a new authority, which every agent must then be given", key.display(), authority.display())]
    NoAuthorityKey {
        /// The key's file.
        key: PathBuf,
        /// The authority's certificate.
        authority: PathBuf,
    },
    /// Making a key or a certificate failed.
    #[error("failed to issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// The machine has no randomness, or the library refuses its own settings.
    #[error("failed to set up TLS: {0}")]
    Setup(String),
}

/// The four files.
struct Files {
    authority: PathBuf,
    authority_key: PathBuf,
    chain: PathBuf,
    key: PathBuf,
}

impl Files {
    fn of(directory: &Path) -> Self {
        Self {
            authority: directory.join("ca.pem"),
            authority_key: directory.join("ca.key"),
            chain: directory.join("server.crt"),
            key: directory.join("server.key"),
        }
    }
}

/// Makes what is absent of authority, certificate and keys, and renews the certificate if it is due.
///
/// Killed at any moment it goes on at the next call: a key is written before what depends on it, and the authority's name
/// is derived from its key, so that one made again from the same key is the same authority to all who trust it.
pub fn ensure(directory: &Path, names: &[String], now: UnixTime) -> Result<(), TlsError> {
    let files = Files::of(directory);
    std::fs::create_dir_all(directory).map_err(|source| TlsError::Write { path: directory.to_owned(), source })?;
    let authority_key = match (read(&files.authority_key)?, read(&files.authority)?) {
        (Some(pem), _) => pair(&files.authority_key, &pem)?,
        (None, None) => new_key(&files.authority_key)?,
        (None, Some(_)) => {
            let missing = TlsError::NoAuthorityKey { key: files.authority_key, authority: files.authority.clone() };
            // A certificate that is still good serves on; only a new one needs the key.
            let good = is_good(&Files::of(directory), &files.authority, names, now)?;
            return if good { Ok(()) } else { Err(missing) };
        }
    };
    let authority = if let Some(pem) = read(&files.authority)? {
        pem
    } else {
        let pem = authority_params(&authority_key, now)?.self_signed(&authority_key)?.pem();
        write(&files.authority, pem.as_bytes())?;
        pem.into_bytes()
    };
    let authority_der = certificates(&files.authority, &authority)?.swap_remove(0);
    if public_key(&files.authority, &authority_der)? != authority_key.der_bytes() {
        return Err(TlsError::Mismatch { chain: files.authority, key: files.authority_key });
    }
    if is_good(&files, &files.authority, names, now)? {
        return Ok(());
    }
    let key = match read(&files.key)? {
        Some(pem) => pair(&files.key, &pem)?,
        None => new_key(&files.key)?,
    };
    let issuer = Issuer::from_ca_cert_der(&authority_der, &authority_key)?;
    let leaf = server_params(names, now)?.signed_by(&key, &issuer)?;
    let chain = format!("{}{}", leaf.pem(), String::from_utf8_lossy(&authority));
    write(&files.chain, chain.as_bytes())?;
    tracing::info!("issued a certificate for {}", names.join(", "));
    Ok(())
}

/// Whether the certificate there is ours, fits its key, lives on and stands for every name.
fn is_good(files: &Files, authority: &Path, names: &[String], now: UnixTime) -> Result<bool, TlsError> {
    let (Some(chain), Some(key), Some(authority_pem)) = (read(&files.chain)?, read(&files.key)?, read(authority)?)
    else {
        return Ok(false);
    };
    // Damaged files of our own are made again; nobody has installed them anywhere.
    let Ok(chain) = certificates(&files.chain, &chain) else { return Ok(false) };
    let Ok(key) = pair(&files.key, &key) else { return Ok(false) };
    let [leaf, issuer] = chain.as_slice() else { return Ok(false) };
    // We write the authority behind each certificate that it issues, in one file, so this tells who issued it.
    if *issuer != certificates(authority, &authority_pem)?[0] || public_key(&files.chain, leaf)? != key.der_bytes() {
        return Ok(false);
    }
    let covered = covered(&files.chain, leaf)?;
    let wanted = usable(names);
    Ok(expiry(&files.chain, leaf)? > now.plus(RENEWAL) && wanted.iter().all(|name| covered.contains(name)))
}

fn authority_params(key: &KeyPair, now: UnixTime) -> Result<CertificateParams, TlsError> {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(key.der_bytes());
    let fingerprint = hasher.finish().to_string();
    let mut params = dated(format!("dripfeed authority {}", &fingerprint[..12]), now, AUTHORITY_LIFE)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn server_params(names: &[String], now: UnixTime) -> Result<CertificateParams, TlsError> {
    let names = usable(names);
    // A common name has at most 64 characters; verifiers read the alternative names.
    let common: String = names.first().map_or("dripfeed", String::as_str).chars().take(64).collect();
    let mut params = dated(common, now, SERVER_LIFE)?;
    for name in &names {
        params.subject_alt_names.push(match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        });
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn dated(common_name: String, now: UnixTime, life: Duration) -> Result<CertificateParams, TlsError> {
    let moment = |moment: UnixTime| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(moment.seconds()).unwrap_or(0))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = moment(UnixTime::from_seconds(now.seconds().saturating_sub(SKEW)));
    params.not_after = moment(now.plus(life));
    // Not derived from the key, which is the default: a renewal keeps the key, and browsers refuse a number seen twice.
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|error| TlsError::Setup(error.to_string()))?;
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// The names that can stand in a certificate, each once, in order.
fn usable(names: &[String]) -> Vec<String> {
    let mut usable = Vec::new();
    for name in names {
        let bare = name.trim_matches(['[', ']']);
        let name = match bare.parse::<IpAddr>() {
            Ok(address) => address.to_string(),
            Err(_) => bare.to_ascii_lowercase(),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if !name.is_empty() && name.len() <= 253 && name.chars().all(plain) && !usable.contains(&name) {
            usable.push(name);
        }
    }
    usable.truncate(MOST_NAMES);
    usable
}

fn new_key(path: &Path) -> Result<KeyPair, TlsError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    atomic::write_private(path, key.serialize_pem().as_bytes())
        .map_err(|source| TlsError::Write { path: path.to_owned(), source })?;
    Ok(key)
}

fn pair(path: &Path, pem: &[u8]) -> Result<KeyPair, TlsError> {
    let text = std::str::from_utf8(pem).map_err(|_| TlsError::NoKey(path.to_owned()))?;
    KeyPair::from_pem(text).map_err(|_| TlsError::NoKey(path.to_owned()))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(|| TlsError::NoCertificate(path.to_owned()))
}

fn parsed<'a>(path: &Path, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, TlsError> {
    let unusable = |error: x509_parser::asn1_rs::Err<_>| {
        let problem = format!("its certificate is damaged: {error}");
        TlsError::Unusable { path: path.to_owned(), problem }
    };
    X509Certificate::from_der(der).map(|(_, certificate)| certificate).map_err(unusable)
}

fn public_key(path: &Path, der: &CertificateDer<'_>) -> Result<Vec<u8>, TlsError> {
    Ok(parsed(path, der)?.public_key().subject_public_key.data.to_vec())
}

fn expiry(path: &Path, der: &CertificateDer<'_>) -> Result<UnixTime, TlsError> {
    Ok(UnixTime::from_seconds(parsed(path, der)?.validity().not_after.timestamp()))
}

/// The names and addresses that a certificate stands for.
fn covered(path: &Path, der: &CertificateDer<'_>) -> Result<BTreeSet<String>, TlsError> {
    let certificate = parsed(path, der)?;
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Ok(BTreeSet::new()) };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| Ipv4Addr::from(bytes).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| Ipv6Addr::from(bytes).to_string()),
            _ => None,
        },
        _ => None,
    };
    Ok(names.value.general_names.iter().filter_map(name).collect())
}

/// The file's bytes; `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, TlsError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TlsError::Read { path: path.to_owned(), source }),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), TlsError> {
    atomic::write(path, bytes).map_err(|source| TlsError::Write { path: path.to_owned(), source })
}

/// What the HTTPS listener shows, exchangeable while it is shown. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct ServerTls(Arc<Shown>);

struct Shown {
    acceptor: TlsAcceptor,
    resolver: Arc<Resolver>,
    provider: Arc<CryptoProvider>,
    chain: PathBuf,
    key: PathBuf,
    /// Where our own authority is, unless the certificate is the administrator's.
    directory: Option<PathBuf>,
    authority: Option<Vec<u8>>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("chain", &self.0.chain).finish_non_exhaustive()
    }
}

/// The certificate of the next handshake.
#[derive(Debug)]
struct Resolver(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What people want to know of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFacts {
    /// Whose it is, as it calls itself.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The names and addresses that it stands for; none for an authority.
    pub names: Vec<String>,
    /// From when it holds.
    pub begins: UnixTime,
    /// Until when it holds.
    pub ends: UnixTime,
    /// SHA-256 of its bytes.
    pub fingerprint: [u8; 32],
    /// May it sign others?
    pub is_authority: bool,
}

fn facts(path: &Path, der: &CertificateDer<'_>) -> Result<CertificateFacts, TlsError> {
    let certificate = parsed(path, der)?;
    let validity = certificate.validity();
    Ok(CertificateFacts {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        names: covered(path, der)?.into_iter().collect(),
        begins: UnixTime::from_seconds(validity.not_before.timestamp()),
        ends: UnixTime::from_seconds(validity.not_after.timestamp()),
        fingerprint: Sha256::digest(der).into(),
        is_authority: certificate.is_ca(),
    })
}

impl ServerTls {
    /// The certificates that are shown now, the server's own first.
    pub fn shown(&self) -> Result<Vec<CertificateFacts>, TlsError> {
        let shown = Arc::clone(&self.0.resolver.0.read().unwrap_or_else(PoisonError::into_inner));
        shown.cert.iter().map(|der| facts(&self.0.chain, der)).collect()
    }

    /// The authority's certificate, if it is ours.
    pub fn authority_facts(&self) -> Result<Option<CertificateFacts>, TlsError> {
        let (Some(pem), Some(path)) = (self.authority(), self.authority_file()) else { return Ok(None) };
        certificates(&path, &pem)?.first().map(|der| facts(&path, der)).transpose()
    }

    /// The file that the certificate is read from.
    pub fn chain_file(&self) -> &Path {
        &self.0.chain
    }

    /// Shows the administrator's certificate. One that has expired is shown all the same, and complained about: plain
    /// HTTP still serves fragments, and a server that is down tells nobody why.
    pub fn from_files(chain: &Path, key: &Path, now: UnixTime) -> Result<Self, TlsError> {
        let tls = Self::new(chain.to_owned(), key.to_owned(), None)?;
        tls.complain(now);
        Ok(tls)
    }

    /// Shows a certificate of our own authority in that directory, made when absent.
    pub fn issued(directory: &Path, names: &[String], now: UnixTime) -> Result<Self, TlsError> {
        ensure(directory, names, now)?;
        let files = Files::of(directory);
        Self::new(files.chain, files.key, Some(directory.to_owned()))
    }

    fn new(chain: PathBuf, key: PathBuf, directory: Option<PathBuf>) -> Result<Self, TlsError> {
        // Both providers are compiled in (the agent's is ring), so the process has no default one.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let resolver = Arc::new(Resolver(RwLock::new(Arc::new(load(&chain, &key, &provider)?))));
        let setup = |error: rustls::Error| TlsError::Setup(error.to_string());
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&resolver) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Resumption without memory of ours: an agent that comes back in a day costs a seventh of a handshake.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(setup)?;
        let authority = match &directory {
            Some(directory) => read(&Files::of(directory).authority)?,
            None => None,
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self(Arc::new(Shown { acceptor, resolver, provider, chain, key, directory, authority })))
    }

    /// Makes connections of sockets.
    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.0.acceptor
    }

    /// The authority's certificate (PEM), if it is ours.
    pub fn authority(&self) -> Option<Vec<u8>> {
        self.0.authority.clone()
    }

    /// Where the authority's certificate is, if it is ours.
    pub fn authority_file(&self) -> Option<PathBuf> {
        self.0.directory.as_ref().map(|directory| Files::of(directory).authority)
    }

    /// When the certificate that is shown ends.
    pub fn ends_at(&self) -> Result<UnixTime, TlsError> {
        let shown = Arc::clone(&self.0.resolver.0.read().unwrap_or_else(PoisonError::into_inner));
        expiry(&self.0.chain, &shown.cert[0])
    }

    /// Reads the files again. What cannot be used, or has expired, leaves the present certificate in place.
    pub fn reload(&self, now: UnixTime) -> Result<(), TlsError> {
        let shown = &self.0;
        let fresh = load(&shown.chain, &shown.key, &shown.provider)?;
        if expiry(&shown.chain, &fresh.cert[0])? <= now {
            return Err(TlsError::Expired(shown.chain.clone()));
        }
        *shown.resolver.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }

    /// Renews our own certificate if it is due and shows it; complains about the administrator's if its end is near.
    pub fn renew(&self, names: &[String], now: UnixTime) -> Result<(), TlsError> {
        let Some(directory) = &self.0.directory else {
            self.complain(now);
            return Ok(());
        };
        ensure(directory, names, now)?;
        self.reload(now)
    }

    fn complain(&self, now: UnixTime) {
        let shown = Arc::clone(&self.0.resolver.0.read().unwrap_or_else(PoisonError::into_inner));
        let chain = self.0.chain.display();
        match expiry(&self.0.chain, &shown.cert[0]) {
            Ok(end) if end <= now => tracing::error!("{}", TlsError::Expired(self.0.chain.clone())),
            Ok(end) if end <= now.plus(RENEWAL) => {
                let days = end.since(now).as_secs() / DAY.as_secs();
                tracing::warn!("the certificate {chain} ends in {days} days: replace it and send SIGHUP");
            }
            _ => {}
        }
    }
}

fn load(chain: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let bytes = |path: &Path| std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source });
    let certificates = certificates(chain, &bytes(chain)?)?;
    let private = PrivateKeyDer::from_pem_slice(&bytes(key)?).map_err(|_| TlsError::NoKey(key.to_owned()))?;
    CertifiedKey::from_der(certificates, private, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { chain: chain.to_owned(), key: key.to_owned() },
        rustls::Error::InvalidCertificate(problem) => {
            TlsError::Unusable { path: chain.to_owned(), problem: format!("{problem:?}") }
        }
        other => TlsError::Unusable { path: key.to_owned(), problem: other.to_string() },
    })
}

/// The names and addresses of this machine, the best known first: full name, name, addresses, then those that only this
/// machine itself can use.
///
/// Read from `/proc` and `/etc/hosts`: asking the interfaces takes `unsafe` calls. Elsewhere only `localhost` is known
/// and `public_name` must be set.
pub fn machine_names() -> Vec<String> {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let host = text("/proc/sys/kernel/hostname").trim().to_ascii_lowercase();
    let mut names = Vec::new();
    if !host.is_empty() && host != "localhost" {
        names.extend(full_name(&host, &text("/etc/hosts")));
        names.push(host);
    }
    names.extend(ipv4_addresses(&text("/proc/net/fib_trie")).into_iter().map(|address| address.to_string()));
    names.extend(ipv6_addresses(&text("/proc/net/if_inet6")).into_iter().map(|address| address.to_string()));
    names.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
    usable(&names)
}

/// What `hostname --fqdn` says: the first name on the line of `/etc/hosts` that has ours.
fn full_name(host: &str, hosts: &str) -> Option<String> {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let named = lines.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    let ours = named.into_iter().find(|names| names.iter().any(|name| name.eq_ignore_ascii_case(host)));
    let first = ours?.first()?.to_ascii_lowercase();
    (first.contains('.') && first != host).then_some(first)
}

/// The local addresses in `/proc/net/fib_trie`: a line with the address, then one that says what it is.
fn ipv4_addresses(trie: &str) -> BTreeSet<Ipv4Addr> {
    let mut addresses = BTreeSet::new();
    let mut last = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            addresses.extend(last.filter(|address| !address.is_loopback()));
        }
    }
    addresses
}

/// The addresses in `/proc/net/if_inet6`, without those that hold on one link only.
fn ipv6_addresses(table: &str) -> BTreeSet<Ipv6Addr> {
    let address = |line: &str| u128::from_str_radix(line.split_whitespace().next()?, 16).ok().map(Ipv6Addr::from_bits);
    let general = |address: &Ipv6Addr| !address.is_loopback() && !address.is_unicast_link_local();
    table.lines().filter_map(address).filter(general).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_read_from_the_kernels_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 127.0.0.0\n        \
                    /8 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.0.2.0\n        /24 link UNICAST\n     \
                    |-- 192.0.2.7\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n";
        let twice = format!("{trie}Local:\n{}", &trie[5..]);
        assert_eq!(ipv4_addresses(&twice), BTreeSet::from([Ipv4Addr::new(192, 0, 2, 7)]));
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     20010db8000000000000000000000007 02 40 00 80     eth0\n\
                     fe800000000000000000000000000007 02 40 20 80     eth0\nnonsense\n";
        assert_eq!(ipv6_addresses(table), BTreeSet::from(["2001:db8::7".parse().expect("an address")]));
        assert!(ipv4_addresses("").is_empty() && ipv6_addresses("").is_empty());
    }

    #[test]
    fn the_full_name_is_the_first_on_the_line_that_has_ours() {
        let hosts = "127.0.0.1 localhost\n# 127.0.1.1 old.example old pc\n127.0.1.1\tPC.example.net pc # this one\n";
        assert_eq!(full_name("pc", hosts).as_deref(), Some("pc.example.net"));
        assert_eq!(full_name("localhost", hosts), None);
        assert_eq!(full_name("other", hosts), None);
    }

    #[test]
    fn a_name_stands_once_and_only_if_a_certificate_can_hold_it() {
        let names = ["PC", "pc", "[2001:DB8::1]", "2001:db8::1", "a b", "", "ü.example", "*.example", "192.0.2.1"];
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(usable(&names), ["pc", "2001:db8::1", "192.0.2.1"]);
    }

    #[test]
    fn this_machine_has_names() {
        let names = machine_names();
        for always in ["localhost", "127.0.0.1", "::1"] {
            assert!(names.iter().any(|name| name == always), "{names:?}");
        }
    }
}
