//! What can be wrong with a pack.

use std::io;
use std::path::PathBuf;

/// Why a pack cannot be used. Nothing of it has been installed or run.
///
/// The first group is found when the pack is read, the second when a database is about to start with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The file could not be read.
    #[error("the pack {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is no pack at all.
    #[error("{pack} is no extension pack: {reason}; make one with `pglite ext build`")]
    NotAPack {
        /// The file.
        pack: String,
        /// What was expected.
        reason: String,
    },
    /// It ends too early.
    #[error("the pack {pack} is truncated: {reason}; copy or build it again")]
    Truncated {
        /// The file.
        pack: String,
        /// Where it ends.
        reason: String,
    },
    /// It is, or claims to be, larger than a pack may be.
    #[error("the pack {pack} is refused: {what} has {claimed} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The file.
        pack: String,
        /// The pack itself, or one of its files.
        what: String,
        /// Bytes, as claimed.
        claimed: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A member with a path that leads elsewhere.
    #[error(
        "the pack {pack} is refused: its member {member:?} {reason}; packs have plain relative paths"
    )]
    Path {
        /// The file.
        pack: String,
        /// The member's path, as far as it is text.
        member: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A member that is no plain file.
    #[error(
        "the pack {pack} is refused: its member {member:?} is {kind}; packs have plain files only"
    )]
    Kind {
        /// The file.
        pack: String,
        /// The member's path, as far as it is text.
        member: String,
        /// What it is.
        kind: String,
    },
    /// The manifest has a form that this version does not know.
    #[error(
        "the pack {pack} has a manifest of format {found}, this program reads format {wanted}: build the pack again with the `pglite` of this version"
    )]
    Format {
        /// The file.
        pack: String,
        /// Its format.
        found: u32,
        /// Ours.
        wanted: u32,
    },
    /// The manifest is not what it should be.
    #[error("the pack {pack} has an invalid manifest: {reason}; build the pack again")]
    Manifest {
        /// The file.
        pack: String,
        /// What is wrong.
        reason: String,
    },
    /// The manifest and the files do not belong together.
    #[error("the manifest of the pack {pack} is stale: {reason}; build the pack again")]
    Stale {
        /// The file.
        pack: String,
        /// What differs.
        reason: String,
    },
    /// A file is not the one that was packed.
    #[error(
        "the pack {pack} is damaged: {member} has the sha256 {found}, its manifest says {wanted}; copy or build it again"
    )]
    Hash {
        /// The file.
        pack: String,
        /// The member.
        member: String,
        /// Its sha256.
        found: String,
        /// The manifest's.
        wanted: String,
    },

    /// Built for another kind of host.
    #[error(
        "the pack {pack} is for {found}, this program runs on {wanted}: build it with `pglite ext build --target {wanted}`"
    )]
    Target {
        /// The extension.
        pack: String,
        /// Its target triple.
        found: String,
        /// Ours.
        wanted: String,
    },
    /// Built for another build of PostgreSQL: its addresses would be wrong.
    #[error(
        "the pack {pack} was built for core {found}, this program has core {wanted}: build it again with the `pglite` of this version"
    )]
    Core {
        /// The extension.
        pack: String,
        /// Its core's fingerprint.
        found: String,
        /// Ours.
        wanted: String,
    },
    /// This program was built without what loads packs.
    #[error(
        "the pack {pack} cannot be loaded: this program was built without PostgreSQL or without the feature `extension-packs`"
    )]
    NotSupported {
        /// The extension.
        pack: String,
    },
    /// It needs an extension that is not there.
    #[error(
        "the pack {pack} requires the extension {dependency}, which is not there: give its pack, too, or build with the feature `ext-{dependency}`"
    )]
    MissingDependency {
        /// The extension.
        pack: String,
        /// What it requires.
        dependency: String,
    },
    /// Something of this name is there already.
    #[error("the pack {pack} cannot be used beside {other}: both have {what}")]
    Conflict {
        /// The extension.
        pack: String,
        /// The other pack, or "this program".
        other: String,
        /// What both have.
        what: String,
    },
    /// Its library needs functions that this server does not have.
    #[error(
        "the library {library} of the pack {pack} needs {}, which this server does not have: build the pack again with the `pglite` of this version",
        .symbols.join(", ")
    )]
    MissingSymbol {
        /// The extension.
        pack: String,
        /// Its library.
        library: String,
        /// The functions.
        symbols: Vec<String>,
    },
    /// Its library could not be loaded.
    #[error("the library {library} of the pack {pack} cannot be loaded")]
    Load {
        /// The extension.
        pack: String,
        /// Its library.
        library: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
