//! A worker's idle connections, by endpoint.
//!
//! Whether an idle connection was closed by its peer is read from the readiness that the driver has already seen: no system
//! call while all is well.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::net::TcpStream;

use crate::endpoint::Endpoint;

/// Idle connections kept per endpoint and worker when the configuration sets no bound.
const IDLE_LIMIT: usize = 1024;

#[derive(Debug)]
struct Idle {
    stream: TcpStream,
    since_ms: u64,
    /// Close after this long unused.
    idle_time_ms: Option<u64>,
}

#[derive(Debug)]
struct Pool {
    endpoint: Arc<Endpoint>,
    idle: Vec<Idle>,
}

/// The idle connections of one worker.
#[derive(Debug, Default)]
pub struct Pools {
    by_endpoint: HashMap<u64, Pool, foldhash::fast::RandomState>,
}

impl Pools {
    /// Takes the connection that was used last, dropping those that their peer has closed.
    pub fn take(&mut self, endpoint: &Endpoint) -> Option<TcpStream> {
        let pool = self.by_endpoint.get_mut(&endpoint.id)?;
        while let Some(idle) = pool.idle.pop() {
            if is_quiet(&idle.stream) {
                return Some(idle.stream);
            }
        }
        None
    }

    /// Keeps a connection on which nothing is outstanding; gives back whether there was room.
    pub fn put(
        &mut self,
        endpoint: &Arc<Endpoint>,
        stream: TcpStream,
        now_ms: u64,
        limit: Option<usize>,
        idle_time_ms: Option<u64>,
    ) -> bool {
        if endpoint.is_retired() {
            return false;
        }
        let pool = self.by_endpoint.entry(endpoint.id).or_insert_with(|| Pool {
            endpoint: endpoint.clone(),
            idle: Vec::new(),
        });
        if pool.idle.len() >= limit.unwrap_or(IDLE_LIMIT).min(IDLE_LIMIT) {
            return false;
        }
        pool.idle.push(Idle {
            stream,
            since_ms: now_ms,
            idle_time_ms,
        });
        true
    }

    /// Drops what is too old or was closed by its peer, and everything of endpoints that were retired.
    pub fn sweep(&mut self, now_ms: u64) {
        self.by_endpoint.retain(|_, pool| {
            if pool.endpoint.is_retired() {
                return false;
            }
            pool.idle.retain(|idle| {
                let fresh = idle
                    .idle_time_ms
                    .is_none_or(|limit_ms| now_ms < idle.since_ms + limit_ms);
                fresh && is_quiet(&idle.stream)
            });
            !pool.idle.is_empty()
        });
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.by_endpoint.clear();
    }

    /// The number of idle connections.
    pub fn len(&self) -> usize {
        self.by_endpoint.values().map(|pool| pool.idle.len()).sum()
    }

    /// Whether nothing is idle here.
    pub fn is_empty(&self) -> bool {
        self.by_endpoint.is_empty()
    }
}

/// Whether an idle connection is open and silent, as it must be between two exchanges.
fn is_quiet(stream: &TcpStream) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    match stream.poll_read_ready(&mut context) {
        Poll::Pending => true,
        Poll::Ready(Err(_)) => false,
        // Readiness may be left over from the last read: only a real read can tell.
        Poll::Ready(Ok(())) => {
            matches!(stream.try_read(&mut [0u8]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        }
    }
}
