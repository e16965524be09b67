//! Connections from callers: reads requests, takes each down the road, and writes what comes back.

pub mod buffer;
pub mod h1;
mod handshake;
pub mod pulse;
