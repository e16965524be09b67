//! The data plane: takes requests, asks Python what their names mean, and forwards them.

pub mod balance;
pub mod endpoint;
pub mod failure;
pub mod stats;
pub mod tally;
