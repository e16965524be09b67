//! The header names that the engine acts on.

/// A header name that we know; all the others are `Other` and pass as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Known {
    Other,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    KeepAlive,
    ProxyConnection,
    Te,
    Trailer,
    Upgrade,
    Expect,
    Via,
    ProxyAuthenticate,
    ProxyAuthorization,
    Forwarded,
    ForwardedClientCert,
    RetryAfter,
    FinagleNack,
    FinagleNonretryableNack,
    FinagleRetryableRequest,
    B3TraceId,
    B3SpanId,
    B3ParentSpanId,
    B3Sampled,
    B3Flags,
    L5dCtxTrace,
    L5dCtxDtab,
    L5dCtxDeadline,
    L5dDtab,
    L5dSample,
    L5dReqid,
    L5dDstService,
    L5dDstClient,
    L5dDstResidual,
    L5dRetryable,
    L5dSuccessClass,
    L5dErr,
    /// Any other name that begins with `l5d-`.
    L5dOther,
}

impl Known {
    /// Whether the name begins with `l5d-`.
    pub fn is_l5d(self) -> bool {
        self as u8 >= Self::L5dCtxTrace as u8
    }

    /// Whether the field is for one hop only (RFC 9110 §7.6.1), or frames the message for it.
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::ProxyAuthenticate
                | Self::ProxyAuthorization
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }

    /// Whether it is one of Zipkin's headers.
    pub fn is_b3(self) -> bool {
        (Self::B3TraceId as u8..=Self::B3Flags as u8).contains(&(self as u8))
    }

    /// Whether the header brings something of the request's context: its trace, its sampling or its deadline.
    pub fn is_context(self) -> bool {
        matches!(self, Self::L5dCtxTrace | Self::L5dSample | Self::L5dCtxDeadline)
    }

    /// Classifies a name, which is a token; case does not matter.
    pub(super) fn of(name: &[u8]) -> Self {
        // The first letter and the length leave at most three candidates.
        let [first, ..] = name else {
            return Self::Other;
        };
        let candidates: &[(&[u8], Self)] = match (first | 0x20, name.len()) {
            (b'h', 4) => &[(b"host", Self::Host)],
            (b'c', 10) => &[(b"connection", Self::Connection)],
            (b'c', 14) => &[(b"content-length", Self::ContentLength)],
            (b't', 2) => &[(b"te", Self::Te)],
            (b't', 7) => &[(b"trailer", Self::Trailer)],
            (b't', 17) => &[(b"transfer-encoding", Self::TransferEncoding)],
            (b'k', 10) => &[(b"keep-alive", Self::KeepAlive)],
            (b'u', 7) => &[(b"upgrade", Self::Upgrade)],
            (b'e', 6) => &[(b"expect", Self::Expect)],
            (b'v', 3) => &[(b"via", Self::Via)],
            (b'p', 16) => &[(b"proxy-connection", Self::ProxyConnection)],
            (b'p', 18) => &[(b"proxy-authenticate", Self::ProxyAuthenticate)],
            (b'p', 19) => &[(b"proxy-authorization", Self::ProxyAuthorization)],
            (b'f', 9) => &[(b"forwarded", Self::Forwarded)],
            (b'x', 23) => &[(b"x-forwarded-client-cert", Self::ForwardedClientCert)],
            (b'x', 10) => &[(b"x-b3-flags", Self::B3Flags)],
            (b'x', 11) => &[(b"x-b3-spanid", Self::B3SpanId)],
            (b'x', 12) => &[(b"x-b3-traceid", Self::B3TraceId), (b"x-b3-sampled", Self::B3Sampled)],
            (b'x', 17) => &[(b"x-b3-parentspanid", Self::B3ParentSpanId)],
            (b'r', 11) => &[(b"retry-after", Self::RetryAfter)],
            (b'f', 17) => &[(b"finagle-http-nack", Self::FinagleNack)],
            (b'f', 30) => &[
                (b"finagle-http-nonretryable-nack", Self::FinagleNonretryableNack),
                (b"finagle-http-retryable-request", Self::FinagleRetryableRequest),
            ],
            (b'l', _) => return Self::l5d(name),
            _ => return Self::Other,
        };
        find(candidates, name).unwrap_or(Self::Other)
    }

    fn l5d(name: &[u8]) -> Self {
        if !name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"l5d-")) {
            return Self::Other;
        }
        let candidates: &[(&[u8], Self)] = match name.len() {
            7 => &[(b"l5d-err", Self::L5dErr)],
            8 => &[(b"l5d-dtab", Self::L5dDtab)],
            9 => &[(b"l5d-reqid", Self::L5dReqid)],
            10 => &[(b"l5d-sample", Self::L5dSample)],
            12 => &[(b"l5d-ctx-dtab", Self::L5dCtxDtab)],
            13 => &[
                (b"l5d-ctx-trace", Self::L5dCtxTrace),
                (b"l5d-retryable", Self::L5dRetryable),
            ],
            14 => &[(b"l5d-dst-client", Self::L5dDstClient)],
            15 => &[(b"l5d-dst-service", Self::L5dDstService)],
            16 => &[
                (b"l5d-ctx-deadline", Self::L5dCtxDeadline),
                (b"l5d-dst-residual", Self::L5dDstResidual),
            ],
            17 => &[(b"l5d-success-class", Self::L5dSuccessClass)],
            _ => &[],
        };
        find(candidates, name).unwrap_or(Self::L5dOther)
    }
}

fn find(candidates: &[(&[u8], Known)], name: &[u8]) -> Option<Known> {
    let (_, known) = candidates.iter().find(|(candidate, _)| is_same(candidate, name))?;
    Some(*known)
}

/// Whether a token, or bytes that may be none, are this name in any case. The candidates hold small letters, digits and `-`. Bit 5
/// may differ in a letter alone, which has bit 6: a carriage return differs from `-` in no other.
pub(super) fn is_same(candidate: &[u8], token: &[u8]) -> bool {
    let differ = |one: &[u8; 8], other: &[u8; 8]| {
        let (one, other) = (u64::from_ne_bytes(*one), u64::from_ne_bytes(*other));
        (one ^ other) & !((one & 0x4040_4040_4040_4040) >> 1) != 0
    };
    let (words, rest) = candidate.as_chunks();
    let (token_words, token_rest) = token.as_chunks();
    let mut words = words.iter().zip(token_words);
    candidate.len() == token.len()
        && words.all(|(one, other)| !differ(one, other))
        && rest
            .iter()
            .zip(token_rest)
            .all(|(one, other)| (one ^ other) & !((one & 0x40) >> 1) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_any_case_and_nothing_else_is_taken_for_it() {
        assert_eq!(Known::of(b"CONTENT-length"), Known::ContentLength);
        assert_eq!(Known::of(b"L5D-Ctx-Dtab"), Known::L5dCtxDtab);
        let names: [(&[u8], Known); 3] = [
            (b"content-length", Known::ContentLength),
            (b"transfer-encoding", Known::TransferEncoding),
            (b"l5d-err", Known::L5dErr),
        ];
        for (name, known) in names {
            for position in 0..name.len() {
                for byte in 0..=255u8 {
                    let mut other = name.to_vec();
                    other[position] = byte;
                    assert_eq!(
                        Known::of(&other) == known,
                        other.eq_ignore_ascii_case(name),
                        "{other:?}"
                    );
                }
            }
        }
    }
}
