//! The data plane: takes requests, asks Python what their names mean, and forwards them.
//!
//! Complete without Python: letters go in and out as plain values, and the tests drive the engine with canned answers. The road of a
//! request is in `route.rs`.

pub mod access_log;
pub mod balance;
pub mod bind;
pub mod budget;
pub mod classify;
mod collect;
pub mod context;
pub mod due;
pub mod endpoint;
mod engine;
mod fail_fast;
pub mod failure;
pub mod identify;
pub mod letters;
pub mod limit;
pub mod listen;
pub mod mail;
pub mod plan;
pub mod plugin;
pub mod resolve;
mod retry;
mod roster;
mod route;
pub mod router;
mod serve;
mod spent;
pub mod stats;
pub mod stream;
pub mod tally;
pub mod tls;
pub mod view;
mod windows;
pub mod wire;
mod worker;

pub use engine::Engine;
