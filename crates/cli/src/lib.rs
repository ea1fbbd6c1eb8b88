//! What the command line tools share. Not an interface: use `pglite-oxide` from programs.

pub mod bench;
pub mod database;
pub mod doctor;
pub mod dump;
#[cfg(feature = "ext")]
pub mod ext;
pub mod files;
pub mod outcome;
pub mod progress;
pub mod restore;
pub mod serve;
pub mod terminal;
pub mod tool;
