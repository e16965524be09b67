//! stub
use crate::wire::h1::RequestHead;
use serde::Deserialize;
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind")]
pub enum Identifier {
    #[serde(rename = "io.l5d.header.token")]
    Token { header: String },
}
impl Identifier {
    pub fn identify(
        &self,
        head: &RequestHead,
        buf: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Vec<u8>>, String> {
        let Self::Token { .. } = self;
        match head.authority() {
            Some(h) if !h.get(buf).is_empty() => {
                out.push(b'/');
                out.extend_from_slice(h.get(buf));
                Ok(None)
            }
            _ => Err("Host header is absent".into()),
        }
    }
}
