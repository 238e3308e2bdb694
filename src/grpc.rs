//! The unix socket.
pub mod proto;
