//! TLS towards endpoints (reference/linker.md §2.8).

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use serde::Deserialize;

use super::reloading::Load;
use super::{pem, provider, told, versions};

/// The certificate that we show.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ClientAuthPlan {
    pub cert_path: String,
    pub key_path: String,
    pub intermediate_certs_path: Option<String>,
}

/// The `tls` of a client name: paths of files, never their contents. `common_name` has its captures filled in.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ClientTlsPlan {
    pub common_name: Option<String>,
    pub disable_validation: bool,
    /// PEM files; empty for the system's roots.
    pub trust_certs: Vec<String>,
    pub client_auth: Option<ClientAuthPlan>,
    pub protocols: Vec<String>,
}

/// What a handshake with an endpoint needs.
#[derive(Clone, Debug)]
pub struct ClientTls {
    pub config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// The name that the endpoint's certificate must have; without one (and so without validation) none is asked for.
    pub fn name(&self, address: IpAddr) -> ServerName<'static> {
        self.name
            .clone()
            .unwrap_or_else(|| ServerName::IpAddress(address.into()))
    }
}

impl Load for ClientTlsPlan {
    type Loaded = ClientTls;

    fn files(&self) -> Vec<&str> {
        let mut files: Vec<&str> = self.trust_certs.iter().map(String::as_str).collect();
        if let Some(auth) = &self.client_auth {
            files.extend([auth.cert_path.as_str(), auth.key_path.as_str()]);
            files.extend(auth.intermediate_certs_path.as_deref());
        }
        files
    }

    fn load(&self) -> Result<Self::Loaded, String> {
        let provider = provider(&[])?;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions(&self.protocols)?)
            .map_err(told)?;
        let builder = if self.disable_validation {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        } else {
            let paths: Vec<&str> = self.trust_certs.iter().map(String::as_str).collect();
            builder.with_root_certificates(if paths.is_empty() {
                pem::system_roots()?
            } else {
                pem::roots(&paths)?
            })
        };
        let mut config = match &self.client_auth {
            None => builder.with_no_client_auth(),
            Some(auth) => {
                let chain = pem::chain(&auth.cert_path, auth.intermediate_certs_path.as_deref())?;
                builder
                    .with_client_auth_cert(chain, pem::key(&auth.key_path)?)
                    .map_err(|error| format!("{} and {}: {error}", auth.cert_path, auth.key_path))?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = match &self.common_name {
            None if !self.disable_validation => return Err("tls needs a commonName".to_owned()),
            None => None,
            Some(name) => {
                let parsed = ServerName::try_from(name.clone());
                Some(parsed.map_err(|_malformed| format!("the commonName {name:?} is no host name"))?)
            }
        };
        Ok(ClientTls {
            config: Arc::new(config),
            name,
        })
    }
}

/// Takes any certificate (`disableValidation`), but only from somebody who has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
