//! libxml2 for the server's `xml` type and contrib/xml2: `include/libxml` and `libxml2.o`, one object in which only what those two call is visible.
//!
//! A parser, a tree, XPath and a writer: no HTML, no schemas, no network, no files compressed or catalogued, no encodings but the built-in ones (PostgreSQL converts to UTF-8 itself).
//! Optimised for size: every program pays for it, few parse XML.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cxx::static_library;
use super::libc::copy_tree;
use super::parallel::{Compilations, object_name};
use super::{GuestCtx, postgres, side_cc, symbols};
use crate::cache::remove_tree;
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 1;

/// What `links` of the catalogue calls it.
pub const LIBXML2: &str = "libxml2";

/// The object, in the output.
pub(super) const OBJECT: &str = "libxml2.o";

/// What is configured.
const PARTS: &[&str] = &[
    "--disable-shared",
    "--with-minimum",
    "--with-tree",
    "--with-output",
    "--with-push",
    "--with-sax1",
    "--with-xpath",
    "--with-writer",
    "--without-lzma",
    "--without-zlib",
    "--without-iconv",
    "--without-python",
    "--without-threads",
];

/// LIBXML_STATIC: nobody unloads it, so it needs no destructor.
const FLAGS: &[&str] = &[
    "-Os",
    "-w",
    "-DHAVE_CONFIG_H",
    "-DLIBXML_STATIC",
    "-I.",
    "-Iinclude",
];

const SOURCES: &[&str] = &[
    "SAX",
    "SAX2",
    "buf",
    "chvalid",
    "dict",
    "encoding",
    "entities",
    "error",
    "globals",
    "hash",
    "list",
    "parser",
    "parserInternals",
    "threads",
    "tree",
    "uri",
    "valid",
    "xlink",
    "xmlIO",
    "xmlmemory",
    "xmlsave",
    "xmlstring",
    "xmlwriter",
    "xpath",
];

/// Functions and data that PostgreSQL's xml.c and contrib/xml2 refer to. What is missing here, the linker calls undefined.
const OFFERED: &[&str] = &[
    "xmlAddChildList",
    "xmlBufferContent",
    "xmlBufferCreate",
    "xmlBufferFree",
    "xmlBufferLength",
    "xmlBufferWriteCHAR",
    "xmlBufferWriteChar",
    "xmlCharInRange",
    "xmlCheckVersion",
    "xmlCopyNode",
    "xmlCtxtReadDoc",
    "xmlCtxtReadMemory",
    "xmlDocGetRootElement",
    "xmlDocSetRootElement",
    "xmlEncodeSpecialChars",
    "xmlFree",
    "xmlFreeDoc",
    "xmlFreeNode",
    "xmlFreeParserCtxt",
    "xmlFreeTextWriter",
    "xmlGenericError",
    "xmlGenericErrorContext",
    "xmlGetExternalEntityLoader",
    "xmlGetUTF8Char",
    "xmlInitParser",
    "xmlIsBaseCharGroup",
    "xmlIsCombiningGroup",
    "xmlIsDigitGroup",
    "xmlIsExtenderGroup",
    "xmlKeepBlanksDefault",
    "xmlNewDoc",
    "xmlNewDocText",
    "xmlNewNode",
    "xmlNewParserCtxt",
    "xmlNewStringInputStream",
    "xmlNewTextWriterMemory",
    "xmlNodeDump",
    "xmlParseBalancedChunkMemory",
    "xmlParserPrintFileContext",
    "xmlReadMemory",
    "xmlSaveClose",
    "xmlSaveDoc",
    "xmlSaveToBuffer",
    "xmlSaveTree",
    "xmlSetExternalEntityLoader",
    "xmlSetGenericErrorFunc",
    "xmlSetStructuredErrorFunc",
    "xmlStrchr",
    "xmlStrcmp",
    "xmlStrdup",
    "xmlStrlen",
    "xmlStrncmp",
    "xmlStrstr",
    "xmlStructuredError",
    "xmlStructuredErrorContext",
    "xmlTextWriterEndElement",
    "xmlTextWriterStartElement",
    "xmlTextWriterWriteAttribute",
    "xmlTextWriterWriteBase64",
    "xmlTextWriterWriteBinHex",
    "xmlTextWriterWriteRaw",
    "xmlXPathCastBooleanToNumber",
    "xmlXPathCastBooleanToString",
    "xmlXPathCastNodeSetToString",
    "xmlXPathCastNodeToString",
    "xmlXPathCastNumberToString",
    "xmlXPathCastToBoolean",
    "xmlXPathCastToNumber",
    "xmlXPathCompiledEval",
    "xmlXPathCtxtCompile",
    "xmlXPathFreeCompExpr",
    "xmlXPathFreeContext",
    "xmlXPathFreeObject",
    "xmlXPathIsNaN",
    "xmlXPathNewContext",
    "xmlXPathRegisterNs",
];

/// All that decides on the result besides the compiler's flags, for fingerprints.
pub(super) fn describe() -> String {
    [PARTS, FLAGS, SOURCES, OFFERED].concat().join(" ")
}

/// Configures and compiles it.
pub fn libxml2(ctx: &GuestCtx<'_>, source: &Path, libc: &Path, out: &Path) -> Result<()> {
    let tree = configured(ctx, source, libc, out)?;
    let objects = compiled(ctx, &tree, || ctx.guest_cc(libc))?;
    symbols::join(ctx, &objects, OFFERED, &out.join(OBJECT))?;
    headers(&tree, &out.join("include/libxml"))?;
    remove_tree(&tree)
}

/// The same for a side module that calls more of it than the server has: `include/libxml` and `lib/libxml2.a`, position-independent.
pub fn libxml2_library(ctx: &GuestCtx<'_>, source: &Path, libc: &Path, out: &Path) -> Result<()> {
    let tree = configured(ctx, source, libc, out)?;
    let objects = compiled(ctx, &tree, || side_cc(ctx, libc))?;
    static_library(ctx, "xml2", &objects, out)?;
    headers(&tree, &out.join("include/libxml"))?;
    remove_tree(&tree)
}

fn configured(ctx: &GuestCtx<'_>, source: &Path, libc: &Path, out: &Path) -> Result<PathBuf> {
    let tree = out.join("tree");
    copy_tree(ctx, source, &tree)?;
    postgres::wrapper(ctx, libc, out)?;
    ctx.bar.message("configure");
    let mut command = Command::new("sh");
    postgres::find_wrapper(ctx, &mut command, out)?;
    ctx.zig_environment(&mut command);
    command
        .current_dir(&tree)
        .args(["./configure", "--host=wasm32-unknown-linux-musl"])
        .args(PARTS)
        .env("CC", postgres::WRAPPER)
        .env("AR", format!("{} ar", ctx.zig.display()))
        .env("RANLIB", format!("{} ranlib", ctx.zig.display()));
    process::logged(&mut command, ctx.log)?;
    Ok(tree)
}

fn compiled(
    ctx: &GuestCtx<'_>,
    tree: &Path,
    compiler: impl Fn() -> Command,
) -> Result<Vec<PathBuf>> {
    ctx.bar.message("compiling");
    let mut all = Compilations::default();
    for name in SOURCES {
        let object = tree.join(object_name(Path::new(name)));
        let mut command = compiler();
        command.current_dir(tree).args(FLAGS);
        all.add(command, Path::new(&format!("{name}.c")), object);
    }
    all.run(ctx)
}

fn headers(tree: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for header in super::libc::sorted(&tree.join("include/libxml"), "h")? {
        let name = header.file_name().context("a header's name")?;
        fs::copy(&header, to.join(name))?;
    }
    Ok(())
}
