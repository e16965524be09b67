//! TLS towards callers (reference/linker.md §2.5).

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use serde::Deserialize;

use super::reloading::Load;
use super::{pem, provider, told, versions};

/// The `tls` of a server: paths of files, never their contents.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ServerTlsPlan {
    pub cert_path: String,
    pub key_path: String,
    pub intermediate_certs_path: Option<String>,
    pub ca_cert_path: Option<String>,
    pub require_client_auth: bool,
    pub ciphers: Vec<String>,
    pub protocols: Vec<String>,
}

impl Load for ServerTlsPlan {
    type Loaded = Arc<ServerConfig>;

    fn files(&self) -> Vec<&str> {
        let optional = [&self.intermediate_certs_path, &self.ca_cert_path];
        let mut files = vec![self.cert_path.as_str(), self.key_path.as_str()];
        files.extend(optional.into_iter().flatten().map(String::as_str));
        files
    }

    fn load(&self) -> Result<Self::Loaded, String> {
        let provider = provider(&self.ciphers)?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions(&self.protocols)?)
            .map_err(told)?;
        let builder = if self.require_client_auth {
            let roots = match &self.ca_cert_path {
                Some(path) => pem::roots(&[path])?,
                None => pem::system_roots()?,
            };
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().map_err(told)?)
        } else {
            builder.with_no_client_auth()
        };
        let chain = pem::chain(&self.cert_path, self.intermediate_certs_path.as_deref())?;
        let mut config = builder
            .with_single_cert(chain, pem::key(&self.key_path)?)
            .map_err(|error| format!("{} and {}: {error}", self.cert_path, self.key_path))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
