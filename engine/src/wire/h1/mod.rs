//! HTTP/1 on the wire (RFC 9112): heads and chunked bodies, read strictly.
//!
//! Whatever two readers could frame differently is refused, so that no request can be hidden in another. Nothing is
//! allocated once the reused values have grown to what the traffic needs.

mod chunk;
mod connection;
mod error;
mod fields;
mod framing;
mod known;
mod request;
mod response;
mod scan;
mod span;
mod target;
mod trailer;

pub use chunk::{ChunkError, ChunkRelay, Form, LAST_CHUNK, Progress, push_chunk_head};
pub use error::{HeadError, HeadErrorKind};
pub use fields::{Header, Limits, Parse};
pub use framing::Body;
pub use known::Known;
pub use request::{Method, RequestHead, Version};
pub use response::{ResponseHead, Signals};
pub use span::Span;
pub use target::{AbsoluteForm, is_authority};
