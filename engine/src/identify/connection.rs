//! `io.biandou.originalDst` and `io.biandou.sni`: what a connection is called that is not looked into.

use std::io::Write as _;
use std::net::SocketAddr;

use super::{Identifier, Unidentified, shown};

/// What is known of a connection without a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meant {
    /// Where it was on its way to.
    pub original: Option<SocketAddr>,
    /// The server that its TLS asks for.
    pub server_name: Option<Box<str>>,
}

impl Meant {
    /// Asks the identifiers in turn and appends the path of the first that knows the connection; else the last one's reason is
    /// told.
    pub fn identify(&self, identifiers: &[Identifier], out: &mut Vec<u8>) -> Result<(), Unidentified> {
        let mut last = Unidentified::Reason("no identifier is configured".into());
        for identifier in identifiers {
            let identified = match identifier {
                Identifier::OriginalDst => identify_original(self.original, out),
                Identifier::Sni => self.identify_server_name(out),
                Identifier::Static { path } => {
                    out.extend_from_slice(path.shown());
                    Ok(())
                }
                _ => Err(Unidentified::Reason(
                    "the identifier reads requests, and this is a connection".into(),
                )),
            };
            match identified {
                Ok(()) => return Ok(()),
                Err(reason) => last = reason,
            }
        }
        Err(last)
    }

    fn identify_server_name(&self, out: &mut Vec<u8>) -> Result<(), Unidentified> {
        let name = self.server_name.as_deref();
        let name = name.ok_or(Unidentified::Reason(
            "the connection asks for no server name of TLS".into(),
        ))?;
        shown::push_lower_case_element(name.as_bytes(), out);
        Ok(())
    }
}

/// Appends `/<ip>/<port>`.
pub(super) fn identify_original(original: Option<SocketAddr>, out: &mut Vec<u8>) -> Result<(), Unidentified> {
    let original = original.ok_or(Unidentified::Reason("the connection was not redirected here".into()))?;
    let mut text = Vec::with_capacity(64);
    // A write to memory does not fail.
    let _written = write!(text, "{}", original.ip());
    shown::push_element(&text, out);
    let _written = write!(out, "/{}", original.port());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(meant: &Meant, identifiers: &[Identifier]) -> Result<String, String> {
        let mut out = b"/svc".to_vec();
        let identified = meant.identify(identifiers, &mut out);
        identified.map_err(|reason| reason.to_string())?;
        Ok(String::from_utf8(out).unwrap_or_default())
    }

    #[test]
    fn the_address_that_was_meant_is_the_name() {
        let meant = |text: &str| Meant {
            original: text.parse().ok(),
            server_name: None,
        };
        let identifiers = [Identifier::OriginalDst];
        assert_eq!(
            name_of(&meant("10.0.0.7:5432"), &identifiers),
            Ok("/svc/10.0.0.7/5432".into())
        );
        assert_eq!(
            name_of(&meant("[fd00::7]:80"), &identifiers),
            Ok("/svc/fd00::7/80".into())
        );
        assert_eq!(
            name_of(&meant(""), &identifiers),
            Err("the connection was not redirected here".into())
        );
    }

    #[test]
    fn the_first_that_knows_the_connection_names_it() {
        let meant = Meant {
            original: "10.0.0.7:443".parse().ok(),
            server_name: Some("API.Example.com".into()),
        };
        let identifiers = [Identifier::Sni, Identifier::OriginalDst];
        assert_eq!(name_of(&meant, &identifiers), Ok("/svc/api.example.com".into()));
        let meant = Meant {
            server_name: None,
            ..meant
        };
        assert_eq!(name_of(&meant, &identifiers), Ok("/svc/10.0.0.7/443".into()));
        assert_eq!(
            name_of(&Meant::default(), &[]),
            Err("no identifier is configured".into())
        );
    }
}
