//! Bytes to messages and back, a room a protocol; nothing here opens a socket.

pub mod h1;
pub mod text;
