//! Compiled modules that are run while pglite-oxide is built and tested, and never published.
//!
//! The objects are found as the server's in `pglite-oxide-aot` are; without assets there are none. No logic is here either.

pub use pglite_oxide_aot::Module;

/// The `initdb` program.
#[cfg(feature = "initdb")]
#[must_use]
pub fn initdb() -> Option<&'static Module> {
    linked::initdb()
}

/// The conformance tests of kernel and machine.
#[cfg(feature = "guest-tests")]
#[must_use]
pub fn guest_tests() -> Option<&'static Module> {
    linked::guest_tests()
}

#[cfg(not(pglite_oxide_no_assets))]
mod linked {
    const _: () = pglite_oxide_aot::assert_same_build(env!("PGLITE_OXIDE_FINGERPRINT"));

    // SAFETY: as for the server's in `pglite-oxide-aot`: constant, immutable `struct pgl_module`.
    #[cfg(any(feature = "initdb", feature = "guest-tests"))]
    unsafe extern "C" {
        #[cfg(feature = "initdb")]
        safe static pgl_module_initdb: super::Module;
        #[cfg(feature = "guest-tests")]
        safe static pgl_module_guest_tests: super::Module;
    }

    #[cfg(feature = "initdb")]
    #[expect(clippy::unnecessary_wraps, reason = "the twin without assets has none")]
    pub(super) fn initdb() -> Option<&'static super::Module> {
        Some(&pgl_module_initdb)
    }

    #[cfg(feature = "guest-tests")]
    #[expect(clippy::unnecessary_wraps, reason = "the twin without assets has none")]
    pub(super) fn guest_tests() -> Option<&'static super::Module> {
        Some(&pgl_module_guest_tests)
    }
}

/// The twin for documentation and lints, where nothing was built.
#[cfg(all(
    pglite_oxide_no_assets,
    any(feature = "initdb", feature = "guest-tests")
))]
mod linked {
    #[cfg(feature = "initdb")]
    pub(super) fn initdb() -> Option<&'static super::Module> {
        None
    }

    #[cfg(feature = "guest-tests")]
    pub(super) fn guest_tests() -> Option<&'static super::Module> {
        None
    }
}
