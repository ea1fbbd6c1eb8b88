//! PostgreSQL's share files and the initialised template cluster, as data in the binary.
//!
//! Two *tree images* are linked in: [`share`] (read-only files such as time zones and dictionaries) and [`template`] (what
//! `initdb` leaves in a data directory). [`image::Tree`] lists their entries; contents are slices of the binary itself, so that
//! a file system can use them in place. [`manifest`] says what they were built from.
//!
//! Beside them is [`cluster`], an image of a whole cluster that runs on the template and waits, which only the crates above can read.
//!
//! The crate has no logic beyond the format, and no `unsafe`.
#![forbid(unsafe_code)]

pub mod image;
mod linked;
pub mod packed;
mod writer;

#[cfg(feature = "embedded")]
mod embedded;
#[cfg(feature = "embedded")]
pub use embedded::{cluster, extensions, manifest, share, template, template_fingerprint};

pub use image::{Entry, ImageError, Kind, Stored, Tree};
pub use linked::{Aligned, Linked};
pub use packed::Packed;
pub use writer::{LAYOUT, TreeWriter, WriteError};
