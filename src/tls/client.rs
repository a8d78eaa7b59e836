//! The roots that an agent trusts: one PEM file, which replaces the system's store as it does for stock agents
//! (ocs-protocol 11).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

/// A CA file of a distribution is 220 KiB; one that never ends would fill the memory.
const MAX_FILE: u64 = 4 << 20;

/// Why a CA file was refused.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// It is not there, or may not be read.
    #[error(
        "the CA file {} cannot be read: {source}; copy the server's certs/ca.pem there or name another with --ca",
        path.display()
    )]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A PEM block is damaged.
    #[error("the CA file {} is damaged: {problem}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// No certificate that can be a root is in it.
    #[error(
        "the CA file {} holds no certificate: expected PEM text with -----BEGIN CERTIFICATE-----, such as the server's \
         certs/ca.pem",
        path.display()
    )]
    Empty {
        /// Which.
        path: PathBuf,
    },
}

/// The certificates of a CA file. At least one can be a root.
#[derive(Clone, Debug)]
pub struct TrustedRoots {
    path: PathBuf,
    certificates: Vec<CertificateDer<'static>>,
}

impl TrustedRoots {
    /// Reads a PEM file: what is not a certificate in it (keys, text) is passed over.
    pub fn read(path: &Path) -> Result<Self, RootsError> {
        let unreadable = |source| RootsError::Read { path: path.to_owned(), source };
        let mut text = Vec::new();
        File::open(path).map_err(unreadable)?.take(MAX_FILE).read_to_end(&mut text).map_err(unreadable)?;
        let certificates = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<Vec<_>, pem::Error>>()
            .map_err(|error| RootsError::Damaged { path: path.to_owned(), problem: error.to_string() })?;
        let mut store = RootCertStore::empty();
        let (usable, _) = store.add_parsable_certificates(certificates.iter().cloned());
        if usable == 0 {
            return Err(RootsError::Empty { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), certificates })
    }

    /// Where they come from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The certificates, in the order of the file.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

/// The cryptography of every client, given explicitly: server and agent may be compiled together, and then rustls has
/// two providers to choose from and chooses none.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

// Unix: the system's own words are in the sentences.
#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn refusal(content: Option<&str>) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("cacert.pem");
        if let Some(content) = content {
            io::Write::write_all(&mut File::create(&path).expect("a file"), content.as_bytes()).expect("written");
        }
        let error = TrustedRoots::read(&path).expect_err("no roots").to_string();
        error.replace(&directory.path().display().to_string(), "DIR")
    }

    #[test]
    fn a_ca_file_that_gives_no_root_says_what_to_do() {
        let sentences = [
            refusal(None),
            refusal(Some("")),
            refusal(Some("hello")),
            refusal(Some("-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n")),
            refusal(Some("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n")),
        ];
        insta::assert_snapshot!(sentences.join("\n"), @r"
        the CA file DIR/cacert.pem cannot be read: No such file or directory (os error 2); copy the server's certs/ca.pem there or name another with --ca
        the CA file DIR/cacert.pem holds no certificate: expected PEM text with -----BEGIN CERTIFICATE-----, such as the server's certs/ca.pem
        the CA file DIR/cacert.pem holds no certificate: expected PEM text with -----BEGIN CERTIFICATE-----, such as the server's certs/ca.pem
        the CA file DIR/cacert.pem is damaged: base64 decode error: InvalidCharacter(37)
        the CA file DIR/cacert.pem holds no certificate: expected PEM text with -----BEGIN CERTIFICATE-----, such as the server's certs/ca.pem
        ");
    }
}
