//! The pinned toolchain of the guest: what makes PostgreSQL and its extensions from C to native objects, in cached steps.
//!
//! `cargo xtask assets` builds everything that is linked with it, `pglite ext build` an extension of the user's own. Both work in one [`cache`], so that what one has made the other finds.

pub mod builder;
pub mod cache;
pub mod extension;
pub mod fetch;
pub mod fingerprint;
pub mod guest;
mod icu_data;
pub mod process;
pub mod progress;
pub mod tools;
pub mod unpack;

pub use builder::{Builder, Toolbox};
