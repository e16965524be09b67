//! What travels with a request from hop to hop: its trace id and its deadline (reference/linker.md §5.1 to §5.3).

mod b3;
mod base64;
mod deadline;
mod trace;

pub use b3::B3;
pub use deadline::Deadline;
pub use trace::Trace;
