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
use super::{GuestCtx, flags, postgres, side_cc, symbols};
use crate::cache::remove_tree;
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 2;

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

/// Functions and data that PostgreSQL's xml.c and the XPath functions of contrib/xml2 refer to. What is missing here, the linker calls undefined.
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

/// What the XSLT of contrib/xml2 refers to besides: libxslt, and the HTML writer below.
const OFFERED_TO_XSLT: &[&str] = &[
    "__xmlRaiseError",
    "__xmlRegisterCallbacks",
    "inputPush",
    "valuePop",
    "valuePush",
    "xmlAddChild",
    "xmlAddID",
    "xmlAddPrevSibling",
    "xmlAllocOutputBuffer",
    "xmlBufContent",
    "xmlBufUse",
    "xmlBufWriteQuotedString",
    "xmlBufferAdd",
    "xmlBufferCCat",
    "xmlBufferCat",
    "xmlBuildURI",
    "xmlCopyDoc",
    "xmlCreateIntSubset",
    "xmlCreateURI",
    "xmlCtxtUseOptions",
    "xmlDictCreate",
    "xmlDictCreateSub",
    "xmlDictFree",
    "xmlDictLookup",
    "xmlDictOwns",
    "xmlDictQLookup",
    "xmlDictReference",
    "xmlDocCopyNode",
    "xmlEncodeEntitiesReentrant",
    "xmlFindCharEncodingHandler",
    "xmlFreeDtd",
    "xmlFreeIDTable",
    "xmlFreeMutex",
    "xmlFreeNodeList",
    "xmlFreeURI",
    "xmlGetCharEncodingName",
    "xmlGetDocEntity",
    "xmlGetDtdAttrDesc",
    "xmlGetID",
    "xmlGetIntSubset",
    "xmlGetLineNo",
    "xmlGetNsList",
    "xmlGetNsProp",
    "xmlGetProp",
    "xmlHashAddEntry",
    "xmlHashAddEntry2",
    "xmlHashAddEntry3",
    "xmlHashCreate",
    "xmlHashFree",
    "xmlHashLookup",
    "xmlHashLookup2",
    "xmlHashLookup3",
    "xmlHashRemoveEntry",
    "xmlHashRemoveEntry2",
    "xmlHashScan",
    "xmlHashScanFull",
    "xmlHashUpdateEntry",
    "xmlHashUpdateEntry2",
    "xmlHashUpdateEntry3",
    "xmlIsBlankNode",
    "xmlIsID",
    "xmlLoadExternalEntity",
    "xmlMalloc",
    "xmlMutexLock",
    "xmlMutexUnlock",
    "xmlNewCDataBlock",
    "xmlNewComment",
    "xmlNewDocNode",
    "xmlNewDocNodeEatName",
    "xmlNewDocPI",
    "xmlNewDocProp",
    "xmlNewMutex",
    "xmlNewNs",
    "xmlNewNsProp",
    "xmlNewProp",
    "xmlNewText",
    "xmlNewTextLen",
    "xmlNodeAddContent",
    "xmlNodeDumpOutput",
    "xmlNodeGetBase",
    "xmlNodeGetContent",
    "xmlNodeGetSpacePreserve",
    "xmlNodeListGetString",
    "xmlNodeSetContent",
    "xmlNsListDumpOutput",
    "xmlOutputBufferClose",
    "xmlOutputBufferCreateFd",
    "xmlOutputBufferCreateFile",
    "xmlOutputBufferCreateFilename",
    "xmlOutputBufferFlush",
    "xmlOutputBufferWriteString",
    "xmlParseDocument",
    "xmlParseURI",
    "xmlParserGetDirectory",
    "xmlRealloc",
    "xmlRegisterNodeDefaultValue",
    "xmlSaveUri",
    "xmlSearchNs",
    "xmlSearchNsByHref",
    "xmlSetNsProp",
    "xmlSetProp",
    "xmlSplitQName2",
    "xmlStrEqual",
    "xmlStrcasecmp",
    "xmlStrcasestr",
    "xmlStrcat",
    "xmlStringText",
    "xmlStringTextNoenc",
    "xmlStrncasecmp",
    "xmlStrncat",
    "xmlStrndup",
    "xmlURIEscapeStr",
    "xmlUTF8Strloc",
    "xmlUTF8Strpos",
    "xmlUTF8Strsize",
    "xmlUnlinkNode",
    "xmlValidateNCName",
    "xmlValidateQName",
    "xmlXPathCastToString",
    "xmlXPathCmpNodes",
    "xmlXPathCompiledEvalToBoolean",
    "xmlXPathContextSetCache",
    "xmlXPathConvertNumber",
    "xmlXPathConvertString",
    "xmlXPathErr",
    "xmlXPathEval",
    "xmlXPathEvalExpression",
    "xmlXPathEvalPredicate",
    "xmlXPathFreeNodeSet",
    "xmlXPathFunctionLookupNS",
    "xmlXPathIsInf",
    "xmlXPathIsNodeType",
    "xmlXPathNewBoolean",
    "xmlXPathNewCString",
    "xmlXPathNewNodeSet",
    "xmlXPathNewString",
    "xmlXPathNewValueTree",
    "xmlXPathNodeSetAdd",
    "xmlXPathNodeSetAddUnique",
    "xmlXPathNodeSetCreate",
    "xmlXPathNodeSetMerge",
    "xmlXPathNsLookup",
    "xmlXPathNumberFunction",
    "xmlXPathObjectCopy",
    "xmlXPathOrderDocElems",
    "xmlXPathRegisterFunc",
    "xmlXPathRegisterFuncLookup",
    "xmlXPathRegisterFuncNS",
    "xmlXPathRegisterVariableLookup",
    "xmlXPathStringEvalNumber",
    "xmlXPathStringFunction",
    "xmlXPathWrapNodeSet",
    "xmlXPathWrapString",
];

/// HTML for the side modules that write it, libxslt's alone: no part of the server. Objects in this directory of the output.
pub(super) const HTML: &str = "html";

/// Its sources.
const HTML_SOURCES: &[&str] = &["HTMLparser", "HTMLtree"];

/// Turned on for it, and each function in a section of its own: little of the parser is called.
const HTML_FLAGS: &[&str] = &[
    "-DLIBXML_HTML_ENABLED",
    "-ffunction-sections",
    "-fdata-sections",
];

/// All that decides on the result besides the compiler's flags, for fingerprints.
pub(super) fn describe() -> String {
    [
        PARTS,
        FLAGS,
        SOURCES,
        OFFERED,
        OFFERED_TO_XSLT,
        HTML_SOURCES,
        HTML_FLAGS,
        flags::SIDE,
    ]
    .concat()
    .join(" ")
}

/// Configures and compiles it.
pub fn libxml2(ctx: &GuestCtx<'_>, source: &Path, libc: &Path, out: &Path) -> Result<()> {
    let tree = configured(ctx, source, libc, out)?;
    let objects = compiled(ctx, &tree, || ctx.guest_cc(libc))?;
    let offered = [OFFERED, OFFERED_TO_XSLT].concat();
    symbols::join(ctx, &objects, &offered, &out.join(OBJECT))?;
    html(ctx, &tree, libc, &out.join(HTML))?;
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

/// Compiles the HTML writer in the configured tree.
fn html(ctx: &GuestCtx<'_>, tree: &Path, libc: &Path, out: &Path) -> Result<()> {
    fs::create_dir_all(out)?;
    let mut all = Compilations::default();
    for name in HTML_SOURCES {
        let mut command = ctx.guest_cc(libc);
        command
            .current_dir(tree)
            .args(FLAGS)
            .args(flags::SIDE)
            .args(HTML_FLAGS);
        let object = out.join(object_name(Path::new(name)));
        all.add(command, Path::new(&format!("{name}.c")), object);
    }
    all.run(ctx).map(|_| ())
}
