//! Connections from callers: reads requests, takes each down the road, and writes what comes back.

pub mod buffer;
mod detect;
pub mod h1;
mod handshake;
mod original;
pub mod pulse;
mod reach;
pub mod tcp;
mod tunnel;
mod verdict;
