//! PostgreSQL compiled ahead of time: the server's native objects, linked into the binary, and their descriptor.
//!
//! The objects are built by `cargo xtask assets`; this crate's build script finds them. With `PGLITE_OXIDE_NO_ASSETS` set (or on docs.rs), or without the feature `bundled`, the
//! crate compiles without them, and the functions here return `None`.
//!
//! Everything else that is compiled refers to the server's objects, the runtime of all modules among them, and is in crates that depend on this one: linkers want them in that order.
//!
//! No logic is here. The descriptors' C ABI is `guest/runtime/pglite_module.h`, its Rust side [`pglite_oxide_machine::module::Module`].

pub use pglite_oxide_machine::module::Module;

/// The fingerprint of the linked assets; empty in a build without.
pub const FINGERPRINT: &str = linked::FINGERPRINT;

/// The target triple of the linked objects; empty in a build without.
pub const TARGET: &str = linked::TARGET;

/// The `postgres` program: postmaster, backends, bootstrap and single-user mode.
#[must_use]
pub fn postgres() -> Option<&'static Module> {
    linked::postgres()
}

/// For the crates with what belongs to the server: refuses, when they are compiled, that theirs is of another build.
///
/// # Panics
/// If `fingerprint` is not [`FINGERPRINT`].
pub const fn assert_same_build(fingerprint: &str) {
    let (ours, theirs) = (FINGERPRINT.as_bytes(), fingerprint.as_bytes());
    let mut same = ours.len() == theirs.len();
    let mut at = 0;
    while same && at < ours.len() {
        same = ours[at] == theirs[at];
        at += 1;
    }
    assert!(
        same,
        "this crate and pglite-oxide-aot have objects of different builds: use the same version of both, and the same assets"
    );
}

#[cfg(not(pglite_oxide_no_assets))]
mod linked {
    use super::Module;

    pub(super) const FINGERPRINT: &str = env!("PGLITE_OXIDE_FINGERPRINT");
    pub(super) const TARGET: &str = env!("PGLITE_OXIDE_TARGET");

    // SAFETY: the library that the build script links defines this name as a constant, immutable `struct pgl_module`, which
    // `Module` mirrors field by field; its ABI version is checked by the machine before any other field is used.
    unsafe extern "C" {
        safe static pgl_module_postgres: Module;
    }

    #[expect(clippy::unnecessary_wraps, reason = "the twin without assets has none")]
    pub(super) fn postgres() -> Option<&'static Module> {
        Some(&pgl_module_postgres)
    }
}

/// The twin for documentation and lints, where nothing was built.
#[cfg(pglite_oxide_no_assets)]
mod linked {
    use super::Module;

    pub(super) const FINGERPRINT: &str = "";
    pub(super) const TARGET: &str = "";

    pub(super) fn postgres() -> Option<&'static Module> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_the_same_build_pass() {
        assert_same_build(FINGERPRINT);
    }

    #[test]
    #[should_panic(expected = "different builds")]
    fn objects_of_another_build_are_refused() {
        assert_same_build("another");
    }
}
