//! Certificates and keys in PEM files; what goes wrong is told by the file's name and never by its contents.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// More than any bundle of roots has.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

fn read(path: &str) -> Result<Vec<u8>, String> {
    let named = |error: std::io::Error| format!("{path}: {error}");
    let size = std::fs::metadata(Path::new(path)).map_err(named)?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{path}: larger than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read(path).map_err(named)
}

/// All certificates of a file; at least one.
pub(super) fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("{path}: holds no certificate in PEM form")),
        Ok(found) => Ok(found),
        Err(_broken) => Err(format!("{path}: is no sound PEM file")),
    }
}

/// A certificate and what follows it on the way to a root.
pub(super) fn chain(path: &str, intermediates: Option<&str>) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut chain = certificates(path)?;
    if let Some(path) = intermediates {
        chain.extend(certificates(path)?);
    }
    Ok(chain)
}

/// The first private key of a file: PKCS#8, PKCS#1 or SEC1.
pub(super) fn key(path: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_broken| format!("{path}: holds no private key in PEM form"))
}

/// The roots of the named files.
pub(super) fn roots(paths: &[&str]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for path in paths {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| format!("{path}: {error}"))?;
        }
    }
    Ok(Arc::new(roots))
}

/// The roots that the system trusts; read once, since hundreds of them are a lot for each client.
pub(super) fn system_roots() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // Some systems carry roots that are no longer sound; the others count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() {
        return Err("the system has no trusted certificates; name some with trustCertsBundle".to_owned());
    }
    Ok(roots.clone())
}
