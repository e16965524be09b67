//! After a 101: bytes both ways, in whatever protocol the two sides have agreed on.

use tokio::io::AsyncWriteExt;

use crate::stream::Stream;
use crate::wire::h1::RequestHead;

/// Bytes that each direction holds at the most.
const TUNNEL_BYTES: usize = 16 * 1024;

/// The protocols that the endpoint is asked to change to. Not HTTP/2: its requests would pass by us, unrouted.
pub(super) fn wanted<'a>(request: &RequestHead, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let protocols = request.upgrade?.get(bytes);
    let is_http2 = |protocol: &[u8]| {
        let protocol = protocol.trim_ascii();
        protocol.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2"))
            || protocol
                .get(..5)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"http/"))
    };
    (!protocols.split(|&byte| byte == b',').any(is_http2)).then_some(protocols)
}

/// Copies until both sides have ended or one has failed. `early` was sent by the caller before the protocol changed and
/// `late` by the endpoint together with its 101; gives back the bytes copied (to the endpoint, to the caller).
pub(super) async fn tunnel(
    caller: &mut Stream,
    endpoint: &mut Stream,
    early: &[u8],
    late: &[u8],
) -> std::io::Result<(u64, u64)> {
    endpoint.write_all(early).await?;
    caller.write_all(late).await?;
    // A tunnel may be silent for hours: only the kernel can find out that the other side has vanished.
    for stream in [caller.socket(), endpoint.socket()] {
        socket2::SockRef::from(stream).set_keepalive(true)?;
    }
    let (sent, received) =
        tokio::io::copy_bidirectional_with_sizes(caller, endpoint, TUNNEL_BYTES, TUNNEL_BYTES).await?;
    Ok((sent + early.len() as u64, received + late.len() as u64))
}
