//! TLS for people: a listener beside the plain one, whose certificate is taken up anew when its
//! files change. Connections that are open keep the certificate they began with.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::CertifiedKey;

use crate::config::Tls;
use crate::tasks::{Next, Worker};

/// From one look at the files to the next.
const EVERY: Duration = Duration::from_secs(5);
/// Sessions that can be resumed at one time.
const MAX_SESSIONS: usize = 256;

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}, `tls.listen`: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} holds no {what} in PEM")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
    },
    /// Certificate and key cannot be used together.
    #[error("the certificate in {path} cannot be used with the key of `tls.key_file`: {error}")]
    Pair {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// The protocol cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Protocol(#[from] rustls::Error),
}

/// The authorities that a file names; none where there is no file.
pub(super) fn authorities(file: Option<&Path>) -> Result<Vec<reqwest::Certificate>, TlsError> {
    let Some(path) = file else { return Ok(Vec::new()) };
    let text = std::fs::read(path).map_err(|error| TlsError::Read { path: path.to_owned(), error })?;
    match reqwest::Certificate::from_pem_bundle(&text) {
        Ok(authorities) if !authorities.is_empty() => Ok(authorities),
        _ => Err(TlsError::Pem { path: path.to_owned(), what: "certificate" }),
    }
}

/// A listener that speaks TLS with the certificate of the moment.
#[derive(Debug)]
pub(super) struct TlsListener {
    listener: TcpListener,
    certificates: Arc<Certificates>,
}

impl TlsListener {
    /// Takes the address and reads the certificate.
    pub(super) fn bind(tls: &Tls) -> Result<Self, TlsError> {
        let certificates = Arc::new(Certificates::read(&tls.certificate_file, &tls.key_file)?);
        let listener =
            TcpListener::bind(tls.listen).map_err(|error| TlsError::Listen { address: tls.listen, error })?;
        Ok(Self { listener, certificates })
    }

    /// The socket, for its options.
    pub(super) const fn socket(&self) -> &TcpListener {
        &self.listener
    }

    /// What looks after the certificate.
    pub(super) fn reload(&self) -> CertificateReload {
        CertificateReload { certificates: Arc::clone(&self.certificates), trouble: String::new() }
    }

    /// The parts that a server takes. It offers HTTP/2 by itself.
    pub(super) fn into_parts(self) -> Result<(TcpListener, ServerConfig), TlsError> {
        let sessions = Arc::clone(&self.certificates.sessions);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.certificates);
        config.session_storage = sessions;
        Ok((self.listener, config))
    }
}

/// The certificate in use and the files that it comes from.
struct Certificates {
    current: RwLock<Arc<CertifiedKey>>,
    certificate: PathBuf,
    key: PathBuf,
    /// What the files held when they were last looked at, good or not. They are small: comparing
    /// them whole also sees a link that points elsewhere.
    seen: Mutex<Pair>,
    sessions: Arc<Sessions>,
}

/// The sessions of the certificate in use. Who resumes one is shown no certificate (RFC 8446, section 2.2),
/// so they end when it is replaced; but for one whose handshake goes on at that very moment.
#[derive(Debug)]
struct Sessions(RwLock<Arc<ServerSessionMemoryCache>>);

impl Sessions {
    fn new() -> Self {
        Self(RwLock::new(ServerSessionMemoryCache::new(MAX_SESSIONS)))
    }

    fn forget(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ServerSessionMemoryCache::new(MAX_SESSIONS);
    }

    fn current(&self) -> Arc<ServerSessionMemoryCache> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.current().put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.current().get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.current().take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// The bytes of both files.
#[derive(Clone, PartialEq, Eq)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// What looking for a new certificate came to.
#[derive(Debug)]
enum Reload {
    Unchanged,
    Taken,
}

impl Certificates {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let pair = Pair::read(certificate, key)?;
        Ok(Self {
            current: RwLock::new(Arc::new(pair.certified(certificate, key)?)),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            seen: Mutex::new(pair),
            sessions: Arc::new(Sessions::new()),
        })
    }

    /// Takes what the files hold now into use. What cannot serve is said once, and the old one stays.
    fn reload(&self) -> Result<Reload, TlsError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Pair::read(&self.certificate, &self.key)?;
        if now == *seen {
            return Ok(Reload::Unchanged);
        }
        let certified = now.certified(&self.certificate, &self.key);
        *seen = now;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified?);
        self.sessions.forget();
        Ok(Reload::Taken)
    }
}

// A key is among the bytes.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Pair {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| TlsError::Read { path: path.to_owned(), error })
        };
        Ok(Self { certificate: read(certificate)?, key: read(key)? })
    }

    fn certified(&self, certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<_, _>>().unwrap_or_default();
        if chain.is_empty() {
            return Err(TlsError::Pem { path: certificate.to_owned(), what: "certificate" });
        }
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| TlsError::Pem { path: key.to_owned(), what: "private key" })?;
        let provider: CryptoProvider = ring::default_provider();
        CertifiedKey::from_der(chain, private, &provider)
            .map_err(|error| TlsError::Pair { path: certificate.to_owned(), error })
    }
}

/// Takes up a certificate that replaced the one in use.
pub(super) struct CertificateReload {
    certificates: Arc<Certificates>,
    /// What was said last, so that it is said once.
    trouble: String,
}

#[async_trait]
impl Worker for CertificateReload {
    fn name(&self) -> &'static str {
        "certificate-reload"
    }

    async fn step(&mut self) -> Next {
        let certificates = Arc::clone(&self.certificates);
        match tokio::task::spawn_blocking(move || certificates.reload()).await {
            Ok(Ok(Reload::Unchanged)) => {}
            Ok(Ok(Reload::Taken)) => {
                self.trouble.clear();
                tracing::info!("the certificate was replaced and is in use");
            }
            // Two files are not replaced at one moment: the next look finds both.
            Ok(Err(error)) => {
                if self.trouble != error.to_string() {
                    self.trouble = error.to_string();
                    tracing::error!(%error, "the new certificate cannot be used: the old one stays in use");
                }
            }
            Err(error) => tracing::error!(%error, "the certificate could not be looked at"),
        }
        Next::After(EVERY)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
    use std::fs;

    fn made(name: &str) -> (String, String) {
        let Made { cert, signing_key } = generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    fn in_use(certificates: &Certificates) -> CertificateDer<'static> {
        certificates.current.read().unwrap().cert[0].clone()
    }

    #[test]
    fn a_new_pair_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let (first, second) = (made("one.example"), made("two.example"));
        fs::write(&certificate, &first.0).unwrap();
        fs::write(&key, &first.1).unwrap();
        let certificates = Certificates::read(&certificate, &key).unwrap();
        let before = in_use(&certificates);
        assert!(certificates.sessions.put(b"ticket".to_vec(), b"session".to_vec()));
        assert!(matches!(certificates.reload().unwrap(), Reload::Unchanged));

        // Only one of the two is there yet.
        fs::write(&certificate, &second.0).unwrap();
        assert!(matches!(certificates.reload(), Err(TlsError::Pair { .. })));
        assert!(matches!(certificates.reload().unwrap(), Reload::Unchanged), "said once");
        assert_eq!(in_use(&certificates), before);
        assert!(certificates.sessions.get(b"ticket").is_some());
        fs::write(&key, &second.1).unwrap();
        assert!(matches!(certificates.reload().unwrap(), Reload::Taken));
        let after = in_use(&certificates);
        assert_ne!(after, before);
        assert!(certificates.sessions.get(b"ticket").is_none(), "who resumed it would not see the new one");

        fs::write(&key, "no key").unwrap();
        assert!(matches!(certificates.reload(), Err(TlsError::Pem { what: "private key", .. })));
        fs::remove_file(&key).unwrap();
        assert!(matches!(certificates.reload(), Err(TlsError::Read { .. })));
        assert_eq!(in_use(&certificates), after);
    }

    #[test]
    fn the_start_needs_files_that_serve() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        assert!(matches!(Certificates::read(&certificate, &key), Err(TlsError::Read { .. })));
        let pair = made("one.example");
        fs::write(&certificate, "").unwrap();
        fs::write(&key, &pair.1).unwrap();
        assert!(matches!(
            Certificates::read(&certificate, &key),
            Err(TlsError::Pem { what: "certificate", .. })
        ));
        fs::write(&certificate, &pair.0).unwrap();
        let certificates = Certificates::read(&certificate, &key).unwrap();
        assert!(!format!("{certificates:?}").contains("PRIVATE"), "no key is ever shown");
    }
}
