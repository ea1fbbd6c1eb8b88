//! PostgreSQL compiled ahead of time: the native objects, linked into the binary, and their descriptors.
//!
//! Extensions are linked by the features `ext-NAME`; [`libraries()`] are the side modules of those.
//!
//! The objects are built by `cargo xtask assets`; this crate's build script finds them. With `PGLITE_OXIDE_NO_ASSETS` set (or on docs.rs), or without the feature `bundled`, the
//! crate compiles without them, and the functions here return `None`.
//!
//! No logic is here. The descriptors' C ABI is `guest/runtime/pglite_module.h`, its Rust side [`pglite_oxide_machine::module::Module`].

pub use pglite_oxide_machine::library::Library;
pub use pglite_oxide_machine::module::Module;
pub use pglite_oxide_machine::pack::Exports;

/// The fingerprint of the linked assets; empty in a build without.
pub const FINGERPRINT: &str = linked::FINGERPRINT;

/// The target triple of the linked objects; empty in a build without.
pub const TARGET: &str = linked::TARGET;

/// The `postgres` program: postmaster, backends, bootstrap and single-user mode.
#[must_use]
pub fn postgres() -> Option<&'static Module> {
    linked::postgres()
}

/// The side modules of the linked extensions, for [`postgres()`].
#[must_use]
pub fn libraries() -> &'static [&'static Library] {
    linked::LIBRARIES
}

/// The functions of [`postgres()`] by name, for packs; `None` without the feature `packs`.
#[must_use]
pub fn exports() -> Option<&'static Exports> {
    linked::exports()
}

/// The `initdb` program.
#[cfg(feature = "initdb")]
#[must_use]
pub fn initdb() -> Option<&'static Module> {
    linked::initdb()
}

/// PostgreSQL's client programs in one module, which runs the one that its first argument names; `None` without the feature `tools`.
#[must_use]
pub fn tools() -> Option<&'static Module> {
    linked::tools()
}

/// The conformance tests of kernel and machine.
#[cfg(feature = "guest-tests")]
#[must_use]
pub fn guest_tests() -> Option<&'static Module> {
    linked::guest_tests()
}

#[cfg(not(pglite_oxide_no_assets))]
mod linked {
    use super::{Exports, Library, Module};

    pub(super) const FINGERPRINT: &str = env!("PGLITE_OXIDE_FINGERPRINT");
    pub(super) const TARGET: &str = env!("PGLITE_OXIDE_TARGET");

    include!(concat!(env!("OUT_DIR"), "/libraries.rs"));

    // SAFETY: the libraries that the build script links define these names as constant, immutable `struct pgl_module`, which
    // `Module` mirrors field by field; its ABI version is checked by the machine before any other field is used. The table of exports is constant data, too, with a head as `Exports` has it.
    unsafe extern "C" {
        safe static pgl_module_postgres: Module;
        #[cfg(feature = "packs")]
        safe static pgl_exports_postgres: Exports;
        #[cfg(feature = "initdb")]
        safe static pgl_module_initdb: Module;
        #[cfg(feature = "tools")]
        safe static pgl_module_tools: Module;
        #[cfg(feature = "guest-tests")]
        safe static pgl_module_guest_tests: Module;
    }

    #[expect(clippy::unnecessary_wraps, reason = "the twin without assets has none")]
    pub(super) fn postgres() -> Option<&'static Module> {
        Some(&pgl_module_postgres)
    }

    #[cfg(feature = "packs")]
    #[expect(clippy::unnecessary_wraps, reason = "the twins have none")]
    pub(super) fn exports() -> Option<&'static Exports> {
        Some(&pgl_exports_postgres)
    }

    #[cfg(not(feature = "packs"))]
    pub(super) fn exports() -> Option<&'static Exports> {
        None
    }

    #[cfg(feature = "initdb")]
    #[expect(clippy::unnecessary_wraps, reason = "the twin without assets has none")]
    pub(super) fn initdb() -> Option<&'static Module> {
        Some(&pgl_module_initdb)
    }

    #[cfg(feature = "tools")]
    #[expect(clippy::unnecessary_wraps, reason = "the twins have none")]
    pub(super) fn tools() -> Option<&'static Module> {
        Some(&pgl_module_tools)
    }

    #[cfg(not(feature = "tools"))]
    pub(super) fn tools() -> Option<&'static Module> {
        None
    }

    #[cfg(feature = "guest-tests")]
    #[expect(clippy::unnecessary_wraps, reason = "the twin without assets has none")]
    pub(super) fn guest_tests() -> Option<&'static Module> {
        Some(&pgl_module_guest_tests)
    }
}

/// The twin for documentation and lints, where nothing was built.
#[cfg(pglite_oxide_no_assets)]
mod linked {
    use super::{Exports, Library, Module};

    pub(super) const FINGERPRINT: &str = "";
    pub(super) const TARGET: &str = "";
    pub(super) static LIBRARIES: &[&Library] = &[];

    pub(super) fn postgres() -> Option<&'static Module> {
        None
    }

    pub(super) fn exports() -> Option<&'static Exports> {
        None
    }

    #[cfg(feature = "initdb")]
    pub(super) fn initdb() -> Option<&'static Module> {
        None
    }

    pub(super) fn tools() -> Option<&'static Module> {
        None
    }

    #[cfg(feature = "guest-tests")]
    pub(super) fn guest_tests() -> Option<&'static Module> {
        None
    }
}
