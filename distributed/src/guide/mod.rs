//! Pages on how to use the crate; their code runs as tests.

pub mod growing;
pub mod rust_master;
pub mod rust_worker;
pub mod security;
pub mod shared_objects;
pub mod tasks_by_name;
#[cfg(feature = "metrics")]
pub mod watching;
