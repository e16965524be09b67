//! A worker's idle connections, by endpoint.
//!
//! Whether an idle connection was closed by its peer is read from the readiness that the driver has already seen: no system
//! call while all is well.

use std::collections::HashMap;
use std::sync::Arc;

use super::Endpoint;
use super::connect::Link;
use crate::plan::PoolPlan;

/// Idle connections kept per endpoint and worker when the configuration sets no bound.
const IDLE_LIMIT: usize = 1024;

#[derive(Debug)]
struct Idle {
    link: Link,
    /// Until when it is kept unused.
    until_ms: u64,
}

#[derive(Debug)]
struct Pool {
    endpoint: Arc<Endpoint>,
    idle: Vec<Idle>,
    /// So many are kept however long they idle.
    min_size: usize,
}

/// The idle connections of one worker.
#[derive(Debug, Default)]
pub struct Pools {
    by_endpoint: HashMap<u64, Pool, foldhash::fast::RandomState>,
}

impl Pools {
    /// Takes the connection that was used last, dropping those that their peer has closed.
    pub fn take(&mut self, endpoint: &Endpoint) -> Option<Link> {
        let pool = self.by_endpoint.get_mut(&endpoint.id)?;
        while let Some(mut idle) = pool.idle.pop() {
            idle.link.count_idle(-1);
            if idle.link.stream.is_quiet() {
                return Some(idle.link);
            }
        }
        None
    }

    /// Keeps a connection on which nothing is outstanding; gives back whether there was room.
    pub fn put(
        &mut self,
        endpoint: &Arc<Endpoint>,
        link: Link,
        now_ms: u64,
        plan: &PoolPlan,
        limit_ms: Option<u64>,
    ) -> bool {
        if endpoint.is_retired() {
            return false;
        }
        let pool = self.by_endpoint.entry(endpoint.id).or_insert_with(|| Pool {
            endpoint: endpoint.clone(),
            idle: Vec::new(),
            min_size: plan.min_size,
        });
        if pool.idle.len() >= plan.max_size.unwrap_or(IDLE_LIMIT).min(IDLE_LIMIT) {
            return false;
        }
        link.count_idle(1);
        pool.idle.push(Idle {
            link,
            until_ms: limit_ms.map_or(u64::MAX, |limit_ms| now_ms.saturating_add(limit_ms)),
        });
        true
    }

    /// Drops what is too old or was closed by its peer, and everything of endpoints that were retired.
    pub fn sweep(&mut self, now_ms: u64) {
        self.by_endpoint.retain(|_, pool| {
            let retired = pool.endpoint.is_retired();
            let mut spare = pool.idle.len().saturating_sub(pool.min_size);
            pool.idle.retain_mut(|idle| {
                let fresh = now_ms < idle.until_ms;
                let wanted = fresh || spare == 0;
                spare -= usize::from(!wanted);
                if !wanted {
                    idle.link.count_expired();
                }
                let keep = wanted && !retired && idle.link.stream.is_quiet();
                if !keep {
                    idle.link.count_idle(-1);
                }
                keep
            });
            !pool.idle.is_empty()
        });
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        for idle in self.by_endpoint.drain().flat_map(|(_, pool)| pool.idle) {
            idle.link.count_idle(-1);
        }
    }
}
