//! TLS towards callers and towards endpoints: configurations made from PEM files, made anew when the files change.

pub mod client;
pub mod peer;
mod pem;
pub mod reloading;
pub mod server;

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, ring};

/// The cryptography that we use, all of it or the named cipher suites.
fn provider(ciphers: &[String]) -> Result<Arc<CryptoProvider>, String> {
    let mut provider = ring::default_provider();
    if !ciphers.is_empty() {
        let mut suites = Vec::with_capacity(ciphers.len());
        for name in ciphers {
            // rustls writes TLS13_ where the registry of IANA, and so the operator, has TLS_.
            let found = provider.cipher_suites.iter().find(|suite| {
                let text = format!("{:?}", suite.suite());
                text == *name || text.strip_prefix("TLS13_") == name.strip_prefix("TLS_")
            });
            suites.push(*found.ok_or_else(|| format!("the cipher suite {name} is not supported"))?);
        }
        provider.cipher_suites = suites;
    }
    Ok(Arc::new(provider))
}

/// The named versions of TLS, or all that we speak.
fn versions(names: &[String]) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    if names.is_empty() {
        return Ok(rustls::ALL_VERSIONS.to_vec());
    }
    let version = |name: &String| match name.as_str() {
        "TLSv1.2" => Ok(&rustls::version::TLS12),
        "TLSv1.3" => Ok(&rustls::version::TLS13),
        _ => Err(format!("{name} is not supported; TLSv1.2 and TLSv1.3 are")),
    };
    names.iter().map(version).collect()
}

/// Tells what is wrong with a set of keys and certificates.
#[allow(clippy::needless_pass_by_value)] // for map_err
fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
