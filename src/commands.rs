//! The commands of the binary, one module each.

pub mod check;
pub mod prepare_dir;
pub mod status;
