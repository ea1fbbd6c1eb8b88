//! Libraries that the server calls through a table (`guest/calls`), so that they can be side modules that a feature links: one server is built, and programs without the module
//! pay for the calls alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::parallel::Compilations;
use super::{GuestCtx, flags, link_library, symbols};
use crate::cache::remove_tree;
use crate::process;

/// The tables' sources, relative to `guest`.
pub(super) const OURS: &str = "calls";

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Called {
    /// As `dlopen`, the cargo feature and the list of its functions in `guest/calls` have it.
    pub(super) name: &'static str,
    /// What messages call it.
    pub(super) title: &'static str,
    /// What its headers need to be told in the server.
    pub(super) flags: &'static [&'static str],
}

impl Called {
    /// The server's side of the table, as an object in `out`; `include` has PostgreSQL's headers and the library's.
    pub(super) fn server(
        &self,
        ctx: &GuestCtx<'_>,
        libc: &Path,
        include: &Path,
        out: &Path,
    ) -> Result<PathBuf> {
        let object = out.join(format!("{}.o", self.name));
        let mut command = ctx.guest_cc(libc);
        command
            .args([flags::OPTIMISE, "-w"])
            .args(self.flags)
            .arg(self.define())
            .arg(format!("-DTITLE=\"{}\"", self.title))
            .arg("-I")
            .arg(include)
            .arg("-c")
            .arg(ctx.guest.join(OURS).join("server.c"))
            .arg("-o")
            .arg(&object);
        process::logged(&mut command, ctx.log)?;
        Ok(object)
    }

    /// Adds the module's side of the table to the library's objects in `dir`. `command` compiles C for side modules, and knows the library's headers.
    pub(super) fn module(
        &self,
        ctx: &GuestCtx<'_>,
        mut command: Command,
        dir: &Path,
        all: &mut Compilations,
    ) {
        command.arg(self.define());
        let source = ctx.guest.join(OURS).join("module.c");
        all.add(command, &source, dir.join("our_module.o"));
    }

    /// Compiles everything to objects in `dir`, and links them to `NAME.wasm` in `out`. Nothing of it is for others to call but the table, and what that does not reach is left out.
    pub(super) fn link(
        &self,
        ctx: &GuestCtx<'_>,
        all: Compilations,
        dir: &Path,
        libc: &Path,
        out: &Path,
    ) -> Result<()> {
        let objects = all.run(ctx)?;
        let whole = dir.join("whole.o");
        symbols::join(ctx, &objects, &[&format!("{}_table", self.name)], &whole)?;
        link_library(ctx, self.name, &[whole], libc, out)?;
        remove_tree(dir)
    }

    /// A directory for the objects.
    pub(super) fn objects_dir(out: &Path) -> Result<PathBuf> {
        let dir = out.join("objects");
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    fn define(&self) -> String {
        format!("-DLIBRARY={}", self.name)
    }
}
