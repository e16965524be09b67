//! The data plane: takes requests, asks Python what their names mean, and forwards them.
pub mod wire;
pub mod context;
pub mod identify;
