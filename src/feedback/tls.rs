//! TLS at the listener: a chain of certificates and its key out of two files, and anew when they are renewed.
//!
//! Why: certificates last for weeks and daemons for months, and who renews them does not tell the daemon. A file that
//! cannot be used is told of, and what was served stays.
//! Must not know: HTTP, who connects.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ring::digest;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, ServerConfig};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// What connections are answered with at present.
pub(super) type Served = watch::Receiver<TlsAcceptor>;

/// A certificate and its key, read once and found good. Prints no key.
#[derive(Clone)]
pub struct TlsConfig {
    files: Files,
    look_every: Duration,
    seen: Seen,
    server: Arc<ServerConfig>,
}

impl std::fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConfig").field("files", &self.files).finish_non_exhaustive()
    }
}

impl TlsConfig {
    /// Reads both files, and will look at them again so often.
    ///
    /// # Errors
    /// When one cannot be read or holds nothing of its kind, or the key is not the first certificate's.
    pub fn read(cert: &Path, key: &Path, look_every: Duration) -> Result<Self, String> {
        let files = Files { cert: cert.into(), key: key.into() };
        let (seen, server) = files.look();
        Ok(Self { files, look_every, seen, server: server? })
    }

    /// Serves what was read, and what the files hold later, until nobody is served any more.
    pub(super) fn serve(self) -> Served {
        let (serve, served) = watch::channel(TlsAcceptor::from(Arc::clone(&self.server)));
        tokio::spawn(self.renew(serve));
        served
    }

    async fn renew(mut self, serve: watch::Sender<TlsAcceptor>) {
        loop {
            tokio::select! {
                () = serve.closed() => return,
                () = tokio::time::sleep(self.look_every) => {}
            }
            let files = self.files.clone();
            // It fails only when the process ends.
            let Ok((seen, server)) = tokio::task::spawn_blocking(move || files.look()).await else { continue };
            if seen == self.seen {
                continue;
            }
            self.seen = seen;
            match server {
                Ok(server) => {
                    serve.send_replace(TlsAcceptor::from(server));
                    tracing::info!(target: "peakpost::feedback", cert = %self.files.cert.display(), "a renewed certificate is served");
                }
                Err(why) => {
                    tracing::error!(target: "peakpost::feedback", why, "the certificate was changed and cannot be served; the one before stays");
                }
            }
        }
    }
}

/// What was last found in the files, or why nothing was: told apart without keeping a key.
type Seen = [u8; 32];

#[derive(Clone, Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn look(&self) -> (Seen, Result<Arc<ServerConfig>, String>) {
        let [cert, key] = [&self.cert, &self.key].map(|path| {
            let hint = "hint: a file that the daemon's user may read";
            std::fs::read(path).map_err(|e| format!("`{}` cannot be read: {e}; {hint}", path.display()))
        });
        let mut seen = digest::Context::new(&digest::SHA256);
        for file in [&cert, &key] {
            let bytes = file.as_deref().unwrap_or_else(|why| why.as_bytes());
            seen.update(&bytes.len().to_be_bytes());
            seen.update(bytes);
        }
        let mut print = Seen::default();
        print.copy_from_slice(seen.finish().as_ref());
        let server = cert.and_then(|cert| key.and_then(|key| self.server(&cert, &key)));
        (print, server)
    }

    fn server(&self, cert: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, String> {
        let (cert_file, key_file) = (self.cert.display(), self.key.display());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
        let none = "hint: PEM, the server's certificate first, then those between it and the root";
        let chain = match chain {
            Ok(chain) if chain.is_empty() => return Err(format!("`{cert_file}` holds no certificate; {none}")),
            Ok(chain) => chain,
            Err(e) => return Err(format!("`{cert_file}` holds no certificate: {e}; {none}")),
        };
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| match e {
            PemError::NoItemsFound => format!("`{key_file}` holds no private key; hint: PEM, without a password"),
            e => format!("`{key_file}` holds no private key: {e}; hint: PEM, without a password"),
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|e| e.to_string())?
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let mut server = server.map_err(|e| match e {
            Error::InconsistentKeys(_) => {
                format!("the key in `{key_file}` is not that of the first certificate in `{cert_file}`; hint: give both files of one renewal")
            }
            e => format!("`{cert_file}` and `{key_file}` cannot be served: {e}"),
        })?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(server))
    }
}
