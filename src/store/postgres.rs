//! PostgreSQL: no libpq, no OpenSSL; diesel over tokio-postgres, which each worker thread drives by itself.

use std::cell::RefCell;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::{AsyncConnectionWrapper, BlockOn};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::runtime::Runtime;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::Backend;
use super::error::BUSY_SECONDS;
use super::{Conn, StoreError, migrate};

/// A connection with a runtime of its own. Not the server's: a connection is used by one thread that only waits for it,
/// so a second thread to hand each query over to would cost more than the query.
pub(super) type PgConnection = AsyncConnectionWrapper<AsyncPgConnection, OwnRuntime>;

/// The runtime that drives one connection, on the thread that uses it.
pub(super) struct OwnRuntime(Runtime);

thread_local! {
    /// On its way from [`Target::connect`] into the wrapper, which asks for a runtime without saying for whom.
    static HANDED_OVER: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

impl BlockOn for OwnRuntime {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }

    fn get_runtime() -> Self {
        Self(HANDED_OVER.take().expect("Target::connect has put it there"))
    }
}

/// `sslmode`, as libpq reads it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trust {
    /// Encrypt, and take the server for what it says it is (`prefer`, `require`).
    Anyone,
    /// A certificate of a known authority (`verify-ca`, and `require` with `sslrootcert`).
    Authority,
    /// That, for the name that was dialled (`verify-full`).
    Name,
}

/// An address, taken apart.
#[derive(Clone)]
pub(super) struct Target {
    config: tokio_postgres::Config,
    trust: Trust,
    root_certificate: Option<PathBuf>,
    /// For messages; without the password.
    shown: String,
}

/// Not an address that can be used.
pub(super) struct InvalidTarget;

impl Target {
    /// tokio-postgres knows neither `sslrootcert` nor the modes that verify, so they are taken out first.
    pub(super) fn parse(url: &str) -> Result<Self, InvalidTarget> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut rest = Vec::new();
        let (mut mode, mut root_certificate) = ("prefer", None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = value,
                Some(("sslrootcert", "")) => return Err(InvalidTarget),
                Some(("sslrootcert", value)) => root_certificate = Some(decode_percent(value)?),
                _ => rest.push(pair),
            }
        }
        let (ssl_mode, trust) = match mode {
            "disable" => (SslMode::Disable, Trust::Anyone),
            "prefer" => (SslMode::Prefer, Trust::Anyone),
            "require" if root_certificate.is_some() => (SslMode::Require, Trust::Authority),
            "require" => (SslMode::Require, Trust::Anyone),
            "verify-ca" => (SslMode::Require, Trust::Authority),
            "verify-full" => (SslMode::Require, Trust::Name),
            _ => return Err(InvalidTarget),
        };
        let url = if rest.is_empty() { place.to_owned() } else { format!("{place}?{}", rest.join("&")) };
        let mut config: tokio_postgres::Config = url.parse().map_err(|_| InvalidTarget)?;
        if config.get_hosts().is_empty() {
            return Err(InvalidTarget);
        }
        config.ssl_mode(ssl_mode);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(BUSY_SECONDS));
        }
        if config.get_application_name().is_none() {
            config.application_name("dripfeed");
        }
        // A server that vanished without a word is noticed within minutes, not hours.
        config.keepalives_idle(Duration::from_mins(1));
        Ok(Self { config, trust, root_certificate: root_certificate.map(PathBuf::from), shown: String::new() })
    }

    /// Parses, connects once and brings the tables up to date.
    pub(super) fn open(url: &str, shown: String) -> Result<Self, StoreError> {
        let Ok(target) = Self::parse(url) else {
            return Err(StoreError::Open { url: shown, problem: "it is not an address".to_owned() });
        };
        let target = Self { shown, ..target };
        // On a thread of its own, because the caller may be inside a runtime, where waiting is not allowed.
        std::thread::scope(|scope| scope.spawn(|| target.migrate()).join().map_err(|_| StoreError::Closed)?)?;
        Ok(target)
    }

    fn migrate(&self) -> Result<(), StoreError> {
        let mut conn = self.dial()?;
        conn.transaction(|conn| {
            conn.batch_execute("SELECT pg_advisory_xact_lock(hashtextextended('dripfeed/' || current_schema(), 0))")?;
            migrate::run(conn)
        })
    }

    /// A new connection. Never from inside a runtime.
    pub(super) fn connect(&self) -> Result<Conn, StoreError> {
        self.dial().map(Backend::Postgres).map(Conn)
    }

    pub(super) fn dial(&self) -> Result<PgConnection, StoreError> {
        let refuse = |problem: String| StoreError::Open { url: self.shown.clone(), problem };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| refuse(error.to_string()))?;
        let tls = self.tls().map_err(refuse)?;
        let inner = runtime.block_on(async {
            let (client, connection) = self.config.connect(MakeRustlsConnect::new(tls)).await.map_err(|error| {
                // The driver says "db error" and hides what the server said behind it.
                let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
                let causes: Vec<String> = causes.map(ToString::to_string).collect();
                refuse(format!("{error}{}{}", if causes.is_empty() { "" } else { ": " }, causes.join(": ")))
            })?;
            AsyncPgConnection::try_from_client_and_connection(client, connection)
                .await
                .map_err(|error| refuse(error.to_string()))
        })?;
        HANDED_OVER.set(Some(runtime));
        let mut conn = PgConnection::from(inner);
        // Durable even where the database's default says otherwise; and nobody waits for ever.
        conn.batch_execute(&format!(
            "SET synchronous_commit = on; SET lock_timeout = '{BUSY_SECONDS}s'; \
             SET idle_in_transaction_session_timeout = '60s'"
        ))?;
        Ok(conn)
    }

    fn tls(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Verifier {
            provider: Arc::clone(&provider),
            trust: self.trust,
            inner: match self.trust {
                Trust::Anyone => None,
                Trust::Authority | Trust::Name => {
                    let roots = Arc::new(self.roots()?);
                    let inner = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
                    Some(inner.map_err(|error| format!("its certificate authorities cannot be used: {error}"))?)
                }
            },
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(config)
    }

    /// `sslrootcert`, else what the system trusts.
    fn roots(&self) -> Result<RootCertStore, String> {
        /// Where Debian, Fedora, SUSE, Alpine and the BSDs keep them.
        const SYSTEM: [&str; 4] = [
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/pki/tls/certs/ca-bundle.crt",
            "/etc/ssl/ca-bundle.pem",
            "/etc/ssl/cert.pem",
        ];
        let path = match &self.root_certificate {
            Some(path) => path.clone(),
            None => SYSTEM.iter().map(PathBuf::from).find(|path| path.is_file()).ok_or(
                "the system's certificate authorities were not found; name a file with sslrootcert=PATH in the address",
            )?,
        };
        let certificates = CertificateDer::pem_file_iter(&path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("sslrootcert {} cannot be read: {error}", path.display()))?;
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(certificates);
        if usable == 0 {
            return Err(format!("sslrootcert {} holds no certificate", path.display()));
        }
        Ok(roots)
    }
}

fn decode_percent(text: &str) -> Result<String, InvalidTarget> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let (Some(high), Some(low)) = (digit(), digit()) else { return Err(InvalidTarget) };
                high << 4 | low
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| InvalidTarget)
}

/// Checks a server's certificate as far as `sslmode` asks; signatures always.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Trust,
    inner: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, so everything else is right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.trust == Trust::Authority => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In `tests/it` it would take ten seconds; whether there was a PostgreSQL is said there, aloud.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the gate says it in the environment")]
    fn a_lock_that_is_not_let_go_is_told_as_busy() {
        let Some(address) = std::env::var("DRIPFEED_TEST_POSTGRES").ok().filter(|address| !address.is_empty()) else {
            return;
        };
        let target = Target::parse(&address).ok().expect("an address");
        let (mut one, mut other) = (target.connect().expect("connects"), target.connect().expect("connects"));
        one.begin_write().expect("nobody else writes there");
        other.execute_batch("SET lock_timeout = '1ms'").expect("a setting");
        assert!(matches!(other.begin_write(), Err(StoreError::Busy(_))));
        other.rollback().expect("a transaction");
        one.commit().expect("a transaction");
        other.begin_write().expect("free again");
    }

    #[test]
    fn sslmode_means_what_it_means_to_libpq() {
        let read = |parameters: &str| {
            let target = Target::parse(&format!("postgres://db/df?{parameters}")).ok()?;
            Some((target.config.get_ssl_mode(), target.trust, target.root_certificate))
        };
        let ca = || Some(PathBuf::from("/a b/ca.pem"));
        for (parameters, expected) in [
            ("", Some((SslMode::Prefer, Trust::Anyone, None))),
            ("sslmode=disable", Some((SslMode::Disable, Trust::Anyone, None))),
            ("sslmode=require", Some((SslMode::Require, Trust::Anyone, None))),
            ("sslrootcert=/a%20b/ca.pem&sslmode=require", Some((SslMode::Require, Trust::Authority, ca()))),
            ("sslmode=verify-ca", Some((SslMode::Require, Trust::Authority, None))),
            ("sslmode=verify-full&connect_timeout=3", Some((SslMode::Require, Trust::Name, None))),
            ("sslmode=allow", None),
            ("sslmode=", None),
            ("sslrootcert=", None),
            ("sslrootcert=%2", None),
            ("sslrootcert=%ff", None),
            ("colour=red", None),
        ] {
            assert_eq!(read(parameters), expected, "{parameters}");
        }
    }
}
