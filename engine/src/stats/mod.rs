//! Metrics: counted by each worker in blocks of its own, and added up when somebody reads them.
//!
//! Only one thread writes to a block, so that counting costs a load and a store and no bus lock; any thread may read, and
//! sees each number only rise.

mod balancing;
mod bind_cache;
mod client;
mod closings;
mod counter;
mod deadlines;
mod failures;
mod histogram;
mod paths;
mod responses;
mod results;
mod scope;
mod server;
mod streams;
#[cfg(test)]
mod tests;
mod traffic;

pub use balancing::balancing;
pub use bind_cache::BindCacheStats;
pub use client::ClientStats;
pub use closings::Closings;
pub use counter::{Counter, Gauge};
pub use deadlines::Deadlines;
pub use failures::{Counted, Failures};
pub use histogram::Histogram;
pub use paths::{PathStats, ServiceStats};
pub use responses::Responses;
pub use results::Results;
pub use server::ServerStats;
pub use streams::Streams;
pub use traffic::Payloads;
