//! What the engine is to do: the plan and the policies that Python sends, as plain values.
//!
//! The twin of `src/biandou/config/plan.py`; `tests/letters/` holds letters that both read. Times are milliseconds, sizes
//! bytes, and `None` means no limit.

use serde::Deserialize;

use crate::access_log::RollPolicy;
use crate::balance::Kind;
use crate::budget::BudgetPlan;
use crate::classify::Classifier;
use crate::endpoint::Policy;
use crate::endpoint::backoff::Backoff;
use crate::identify::Identifier;
use crate::limit::RateLimit;
use crate::plugin::PluginPlan;
use crate::serve::h1::forwarded::ForwardedPlan;
use crate::tls::client::ClientTlsPlan;
use crate::tls::server::ServerTlsPlan;

/// All that the engine runs.
#[derive(Clone, Debug, Deserialize)]
pub struct Plan {
    /// Threads, each with its own listeners, path cache and pools.
    pub workers: usize,
    pub routers: Vec<RouterPlan>,
}

/// One router: its servers, how it identifies, and what its errors show.
#[derive(Clone, Debug, Deserialize)]
pub struct RouterPlan {
    pub label: String,
    pub protocol: String,
    /// The path that every identified name starts with, in shown form (`/svc`).
    pub dst_prefix: String,
    /// Tried in order; the first that identifies wins.
    pub identifiers: Vec<Identifier>,
    pub servers: Vec<ServerPlan>,
    /// `prefix => tree` of each dentry of the router's dtab, for the text of a 502.
    pub base_dentries: Vec<String>,
    pub binding_timeout_ms: u64,
    pub binding_cache: BindingCachePlan,
    pub http: HttpLimits,
    pub originator: bool,
    #[serde(default)]
    pub trace_propagator: TracePropagator,
    pub access_log: Option<AccessLogPlan>,
    /// Plugins in Python that each request is shown to.
    #[serde(default)]
    pub plugins: Option<PluginPlan>,
}

/// How a trace's ids travel in headers (reference/linker.md §5.3, §5.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind")]
pub enum TracePropagator {
    #[default]
    #[serde(rename = "io.l5d.default")]
    Default,
    #[serde(rename = "io.l5d.zipkin")]
    Zipkin,
}

/// The file that gets a line for each response (reference/linker.md §6.4).
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct AccessLogPlan {
    pub path: String,
    pub roll: RollPolicy,
    /// Whether what the file holds at the start stays.
    pub append: bool,
    /// Rolled files that are kept; `None` for all.
    pub rotate_count: Option<u32>,
}

/// Bounds of the caches (reference/linker.md §3.9).
#[derive(Clone, Debug, Deserialize)]
pub struct BindingCachePlan {
    pub paths: usize,
    pub trees: usize,
    pub bounds: usize,
    pub clients: usize,
    pub idle_ttl_ms: u64,
}

/// Bounds of one message's head and of the errors we write.
#[derive(Clone, Debug, Deserialize)]
pub struct HttpLimits {
    pub max_head_bytes: usize,
    pub max_line_bytes: usize,
    pub max_header_count: usize,
    pub max_error_body_bytes: usize,
    /// A body up to this length is kept until its response has come, so that its request can be sent again.
    #[serde(default = "replay_body_bytes")]
    pub replay_body_bytes: u64,
}

fn replay_body_bytes() -> u64 {
    5 * 1024
}

/// One listening address.
#[derive(Clone, Debug, Deserialize)]
pub struct ServerPlan {
    pub ip: std::net::IpAddr,
    pub port: u16,
    /// Listening sockets that were handed over; without them the engine binds the address itself.
    pub fds: Vec<i32>,
    pub socket: SocketOptions,
    pub clear_context: bool,
    /// Callers are told the id of an error, and not what it is (`trust: none`).
    #[serde(default)]
    pub withhold_errors: bool,
    pub max_concurrent_requests: Option<u32>,
    pub max_call_depth: u32,
    pub timestamp_header: Option<String>,
    pub head_timeout_ms: u64,
    pub idle_timeout_ms: Option<u64>,
    pub life_timeout_ms: Option<u64>,
    pub request_timeout_ms: Option<u64>,
    pub max_connections: usize,
    #[serde(default)]
    pub tls: Option<ServerTlsPlan>,
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
    #[serde(default)]
    pub forwarded: Option<ForwardedPlan>,
    /// What becomes of connections that do not speak HTTP.
    #[serde(default)]
    pub not_http: Option<NotHttpPlan>,
}

/// Connections that do not speak HTTP/1 are served by another router, as connections.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NotHttpPlan {
    /// The label of a router of connections.
    pub router: String,
    /// A caller that says nothing for so long does not speak HTTP either.
    pub silence_ms: u64,
}

impl ServerPlan {
    /// For how long a message under way may stand still: as long as a connection may idle, but a short idle time is no reason to
    /// cut a caller short that pauses within a request.
    pub fn stall_ms(&self) -> Option<u64> {
        self.idle_timeout_ms.map(|idle_ms| idle_ms.max(self.head_timeout_ms))
    }
}

/// Options of a listening or connecting socket (reference/linker.md §2.4).
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SocketOptions {
    pub no_delay: bool,
    #[serde(default = "reuse_addr")]
    pub reuse_addr: bool,
    pub reuse_port: bool,
    pub keep_alive: Option<bool>,
    pub backlog: Option<i32>,
    pub read_timeout_ms: Option<u64>,
    pub write_timeout_ms: Option<u64>,
}

fn reuse_addr() -> bool {
    SocketOptions::default().reuse_addr
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            no_delay: true,
            reuse_addr: true,
            reuse_port: false,
            keep_alive: None,
            backlog: None,
            read_timeout_ms: None,
            write_timeout_ms: None,
        }
    }
}

/// What holds for one service name.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ServicePolicy {
    pub total_timeout_ms: Option<u64>,
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
    #[serde(default)]
    pub classifier: Classifier,
    #[serde(default = "no_wait")]
    pub retry_backoff: Backoff,
    #[serde(default)]
    pub retry_budget: BudgetPlan,
}

fn no_wait() -> Backoff {
    Backoff::Constant { ms: 0 }
}

impl Default for ServicePolicy {
    fn default() -> Self {
        Self {
            total_timeout_ms: None,
            rate_limit: None,
            classifier: Classifier::default(),
            retry_backoff: no_wait(),
            retry_budget: BudgetPlan::default(),
        }
    }
}

/// Connections kept per endpoint (`hostConnectionPool`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct PoolPlan {
    pub min_size: usize,
    pub max_size: Option<usize>,
    pub idle_time_ms: Option<u64>,
    pub max_waiters: Option<usize>,
}

/// How endpoints that fail are treated, beyond what `failure_accrual` says of each.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct OutlierPlan {
    /// An endpoint that cannot be connected to is left alone until a connection of our own succeeds.
    pub fail_fast: bool,
    /// No more than this share may be out of use at a time.
    pub max_ejected_percent: u32,
    /// When a smaller share is healthy, all are used.
    pub panic_threshold_percent: u32,
    /// How long the share of a new or revived endpoint grows; 0 for not at all.
    pub warm_up_ms: u64,
}

impl Default for OutlierPlan {
    fn default() -> Self {
        Self {
            fail_fast: false,
            max_ejected_percent: 90,
            panic_threshold_percent: 10,
            warm_up_ms: 0,
        }
    }
}

/// What holds for one client name.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ClientPolicy {
    pub balancer: Kind,
    pub failure_accrual: Policy,
    #[serde(default)]
    pub outliers: OutlierPlan,
    pub pool: PoolPlan,
    pub socket: SocketOptions,
    pub connect_timeout_ms: u64,
    pub request_attempt_timeout_ms: Option<u64>,
    #[serde(default)]
    pub requeue_budget: BudgetPlan,
    /// Whether endpoints are told of the caller's certificate (`forwardClientCert`).
    #[serde(default)]
    pub forward_client_cert: bool,
    #[serde(default)]
    pub tls: Option<ClientTlsPlan>,
    pub idle_timeout_ms: Option<u64>,
    pub life_timeout_ms: Option<u64>,
}

impl ClientPolicy {
    /// Whether endpoints and the connections to them may stay when this policy replaces `former`: the two differ, if at all,
    /// in what is looked at anew for each request.
    pub fn treats_endpoints_as(&self, former: &Self) -> bool {
        let as_former = Self {
            connect_timeout_ms: self.connect_timeout_ms,
            request_attempt_timeout_ms: self.request_attempt_timeout_ms,
            idle_timeout_ms: self.idle_timeout_ms,
            life_timeout_ms: self.life_timeout_ms,
            requeue_budget: self.requeue_budget,
            ..former.clone()
        };
        *self == as_former
    }
}
