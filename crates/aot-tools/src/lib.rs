//! PostgreSQL's client programs (psql, pg_dump, pgbench, ...) compiled ahead of time, and their descriptor.
//!
//! The objects are found as the server's in `pglite-oxide-aot` are; without assets there are none. No logic is here either.

pub use pglite_oxide_aot::Module;

/// All programs in one module, which runs the one that its first argument names. They are left out of a binary that never calls this.
#[must_use]
pub fn tools() -> Option<&'static Module> {
    linked::tools()
}

#[cfg(not(pglite_oxide_no_assets))]
mod linked {
    use super::Module;

    const _: () = pglite_oxide_aot::assert_same_build(env!("PGLITE_OXIDE_FINGERPRINT"));

    // SAFETY: as for the server's in `pglite-oxide-aot`: a constant, immutable `struct pgl_module`.
    unsafe extern "C" {
        safe static pgl_module_tools: Module;
    }

    #[expect(clippy::unnecessary_wraps, reason = "the twin without assets has none")]
    pub(super) fn tools() -> Option<&'static Module> {
        Some(&pgl_module_tools)
    }
}

/// The twin for documentation and lints, where nothing was built.
#[cfg(pglite_oxide_no_assets)]
mod linked {
    use super::Module;

    pub(super) fn tools() -> Option<&'static Module> {
        None
    }
}
