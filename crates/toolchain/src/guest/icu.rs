//! ICU as the side module `icu`: collation, case mapping, locale names and converters, with the data of those.
//!
//! The server calls it through a table ([`super::called`]). What is compiled is what [`super::link_library`] would take from ICU's archives for the functions in that table, and no more.
//! ICU's data is no part of the module's own data: it is [`super::library::Constants`], mapped from the program's file by those who read it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::called::Called;
use super::cxx::library_of_compiler;
use super::library::{Constants, Shape};
use super::parallel::{Compilations, object_name};
use super::{GuestCtx, flags, side_cc};
use crate::icu_data;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 1;

/// Our own part, relative to `guest`: C++ without threads.
pub(super) const OURS: &str = "icu";

/// The module, as `dlopen` knows it.
pub const ICU: &str = "icu";

/// How the server calls it.
pub(super) const CALLED: Called = Called {
    name: ICU,
    title: "ICU",
    flags: &[UNVERSIONED],
};

/// The server's names of ICU's functions have no version in them.
pub(super) const UNVERSIONED: &str = "-DU_DISABLE_RENAMING=1";

/// The release's data package, relative to `source` in its tree.
const DATA: &str = "data/in/icudt76l.dat";

/// What ICU calls its data.
const DATA_SYMBOL: &str = "icudt76_dat";

/// C++ without exceptions; run-time type information is what ICU compares its objects with. Each function in a section of its own, so that what nobody calls is left out.
const CXX: &[&str] = &[
    "-std=c++17",
    "-fno-exceptions",
    "-frtti",
    "-fno-threadsafe-statics",
    "-fvisibility-inlines-hidden",
    "-ffunction-sections",
    "-fdata-sections",
    "-fhosted",
];

/// libc++'s configuration, headers only.
const LIBCXX: &[&str] = &[
    "-D_LIBCPP_ABI_VERSION=1",
    "-D_LIBCPP_ABI_NAMESPACE=__1",
    "-D_LIBCPP_HAS_MUSL_LIBC=1",
    "-D_LIBCPP_HAS_THREADS=0",
    "-D_LIBCPP_HAS_FILESYSTEM=0",
    "-D_LIBCPP_HAS_LOCALIZATION=0",
    "-D_LIBCPP_HAS_RANDOM_DEVICE=0",
    "-D_LIBCPP_HAS_TIME_ZONE_DATABASE=0",
    "-D_LIBCPP_HAS_TERMINAL=0",
    "-D_LIBCPP_HAS_UNICODE=0",
    "-D_LIBCPP_HAS_WIDE_CHARACTERS=1",
    "-D_LIBCPP_HAS_MONOTONIC_CLOCK=1",
    "-D_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS=0",
    "-D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_NONE",
    "-D_LIBCPP_ASSERTION_SEMANTIC_DEFAULT=_LIBCPP_ASSERTION_SEMANTIC_IGNORE",
    "-D_LIBCPP_PSTL_BACKEND_SERIAL",
];

/// ICU's configuration: no files (the data is in memory), no registered services, and none of the parts that collation does not use.
const CONFIGURATION: &[&str] = &[
    "-DU_STATIC_IMPLEMENTATION",
    "-DU_COMMON_IMPLEMENTATION",
    "-DU_I18N_IMPLEMENTATION",
    "-DUCONFIG_NO_SERVICE=1",
    "-DUCONFIG_NO_FILE_IO=1",
    "-DUCONFIG_NO_IDNA=1",
    "-DUCONFIG_NO_FORMATTING=1",
    "-DUCONFIG_NO_TRANSLITERATION=1",
    "-DUCONFIG_NO_REGULAR_EXPRESSIONS=1",
];

/// Sources below `source`, without their endings.
const SOURCES: &[(&str, &str)] = &[("common", COMMON), ("i18n", I18N)];

const COMMON: &str = "\
    appendable bmpset brkeng brkiter bytesinkutil bytestream bytestrie caniter characterproperties chariter charstr cmemory cstring dictbe dictionarydata \
    edits emojiprops errorcode filteredbrk loadednormalizer2impl localebuilder locavailable locbased locdispnames locid loclikely loclikelysubtags locmap \
    locresdata lsr lstmbe normalizer2 normalizer2impl parsepos patternprops propname putil rbbi rbbi_cache rbbidata rbbinode rbbirb rbbiscan rbbisetb \
    rbbistbl rbbitblb resbund resource ruleiter sharedobject stringpiece stringtriebuilder uarrsort ubidi_props ucase uchar ucharstrie ucharstriebuilder \
    ucharstrieiterator uchriter ucln_cmn ucmndata ucnv ucnv2022 ucnv_bld ucnv_cb ucnv_cnv ucnv_ct ucnv_err ucnv_ext ucnv_io ucnv_lmb ucnv_u16 ucnv_u32 \
    ucnv_u7 ucnv_u8 ucnvbocu ucnvhz ucnvisci ucnvlat1 ucnvmbcs ucnvscsu ucol_swp ucptrie udata udatamem udataswp uenum uhash uinvchar uiter ulist uloc \
    uloc_keytype uloc_tag umapfile umath umutablecptrie umutex unames unifiedcache unifilt unifunct uniset uniset_closure uniset_props unisetspan unistr \
    unistr_case unistr_case_locale unistr_titlecase_brkiter uobject uprops uresbund uresdata uscript_props uset uset_props usetiter ustack ustr_cnv \
    ustr_titlecase_brkiter ustrcase ustrcase_locale ustrenum ustrfmt ustring ustrtrns utext utf_impl util utrace utrie utrie2 utrie2_builder utrie_swap \
    utypes uvector uvectr32 uvectr64";

const I18N: &str = "\
    bocsu coleitr coll collation collationbuilder collationcompare collationdata collationdatabuilder collationdatareader collationdatawriter \
    collationfastlatin collationfastlatinbuilder collationfcd collationiterator collationkeys collationroot collationrootelements collationruleparser \
    collationsets collationsettings collationtailoring collationweights rulebasedcollator sortkey ucln_in ucol ucol_res ucol_sit uitercollationiterator \
    utf16collationiterator utf8collationiterator";

/// Of libc++abi, which is in the compiler's package: how `dynamic_cast` finds its way.
const LIBCXXABI: &[&str] = &["private_typeinfo"];

/// Items of the data package by how their names begin and end: all collations; the names of locales in English, which is what comments on collations are in; the rules of word breaks,
/// for `initcap` (the dictionaries are for scripts without case); aliases of locales and keywords; converters for the encodings that a database may have and ICU has a name for.
const ITEMS: &[(&str, &str)] = &[
    ("coll/", ""),
    ("lang/en.res", ""),
    ("lang/root.res", ""),
    ("lang/pool.res", ""),
    ("region/en.res", ""),
    ("region/root.res", ""),
    ("region/pool.res", ""),
    ("brkitr/", ".res"),
    ("brkitr/word", ".brk"),
    ("res_index.res", ""),
    ("root.res", ""),
    ("en.res", ""),
    ("pool.res", ""),
    ("keyTypeData.res", ""),
    // An alias in the one before leads here: without it no keyword is known.
    ("timezoneTypes.res", ""),
    ("langInfo.res", ""),
    ("metadata.res", ""),
    ("supplementalData.res", ""),
    ("cnvalias.icu", ""),
    ("euc-jp-2007.cnv", ""),
    ("ibm-1383_P110-1999.cnv", ""),
    ("ibm-970_P110_P110-2006_U2.cnv", ""),
    ("euc-tw-2014.cnv", ""),
    ("ibm-912_P100-1995.cnv", ""),
    ("ibm-913_P100-2000.cnv", ""),
    ("ibm-914_P100-1995.cnv", ""),
    ("ibm-920_P100-1995.cnv", ""),
    ("iso-8859_10-1998.cnv", ""),
    ("ibm-921_P100-1995.cnv", ""),
    ("iso-8859_14-1998.cnv", ""),
    ("ibm-923_P100-1998.cnv", ""),
    ("ibm-9448_X100-2005.cnv", ""),
    ("ibm-5354_P100-1998.cnv", ""),
    ("ibm-866_P100-1995.cnv", ""),
    ("ibm-878_P100-1996.cnv", ""),
    ("ibm-5347_P100-1998.cnv", ""),
    ("ibm-5348_P100-1997.cnv", ""),
    ("ibm-915_P100-1995.cnv", ""),
    ("ibm-1089_P100-1995.cnv", ""),
    ("ibm-9005_X110-2007.cnv", ""),
    ("ibm-5012_P100-1999.cnv", ""),
    ("ibm-5346_P100-1998.cnv", ""),
    ("ibm-5349_P100-1998.cnv", ""),
    ("ibm-5350_P100-1998.cnv", ""),
    ("ibm-9447_P100-2002.cnv", ""),
    ("ibm-9449_P100-2002.cnv", ""),
    ("ibm-1168_P100-2002.cnv", ""),
];

/// All that decides on the result besides flags, sources, `guest/icu` and `guest/calls`, for fingerprints.
pub(super) fn describe() -> String {
    let items = ITEMS.iter().map(|(begin, end)| format!("{begin}*{end}"));
    [CXX, LIBCXX, CONFIGURATION, LIBCXXABI, &[COMMON, I18N]]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .chain(items)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Compiles and links it from ICU's unpacked `source`: `icu.wasm`, its shape, and its data in [`Constants::FILE`].
pub fn icu(ctx: &GuestCtx<'_>, source: &Path, libc: &Path, out: &Path) -> Result<()> {
    let source = source.join("source");
    let ours = ctx.guest.join(OURS);
    let objects_dir = Called::objects_dir(out)?;
    let mut all = Compilations::default();
    for (dir, names) in SOURCES {
        for name in names.split_whitespace() {
            let path = source.join(dir).join(format!("{name}.cpp"));
            let object = objects_dir.join(object_name(Path::new(name)));
            all.add(cxx(ctx, libc, &source), &path, object);
        }
    }
    for name in LIBCXXABI {
        let path = library_of_compiler(ctx).join(format!("libcxxabi/src/{name}.cpp"));
        let object = objects_dir.join(format!("abi_{name}.o"));
        let mut command = cxx(ctx, libc, &source);
        command
            .arg("-I")
            .arg(library_of_compiler(ctx).join("libcxxabi/include"));
        all.add(command, &path, object);
    }
    let runtime = objects_dir.join("our_runtime.o");
    all.add(cxx(ctx, libc, &source), &ours.join("runtime.cpp"), runtime);
    let mut command = side_cc(ctx, libc);
    includes(&mut command, &source);
    CALLED.module(ctx, command, &objects_dir, &mut all);
    CALLED.link(ctx, all, &objects_dir, libc, out)?;

    let path = source.join(DATA);
    let package = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let data = icu_data::only(&package, |name| {
        let mut wanted = ITEMS.iter();
        wanted.any(|(begin, end)| name.starts_with(begin) && name.ends_with(end))
    })
    .with_context(|| format!("in {}", path.display()))?;
    let constants = Constants {
        symbol: DATA_SYMBOL.to_owned(),
        size: u32::try_from(data.len())?,
    };
    fs::write(out.join(Constants::FILE), data)?;
    Shape::add_constants(&out.join("shape.json"), constants)
}

/// Copies the headers that PostgreSQL includes to `include`.
pub(super) fn headers(source: &Path, include: &Path) -> Result<()> {
    let to = include.join("unicode");
    fs::create_dir_all(&to)?;
    for dir in ["common", "i18n"] {
        for header in super::libc::sorted(&source.join("source").join(dir).join("unicode"), "h")? {
            let name = header.file_name().context("a header's name")?;
            fs::copy(&header, to.join(name))?;
        }
    }
    Ok(())
}

/// A command that compiles C++ for the module: our headers before libc++'s, those before the libc's.
fn cxx(ctx: &GuestCtx<'_>, libc: &Path, source: &Path) -> Command {
    let mut command = ctx.zig("c++");
    command
        .args(flags::WASM)
        .args(flags::PROGRAM)
        .arg(ctx.prefix_map())
        .args([flags::OPTIMISE, "-w"])
        .args(flags::SIDE)
        .args(CXX)
        .args(LIBCXX)
        .args(CONFIGURATION);
    command
        .arg("-I")
        .arg(ctx.guest.join(OURS).join("include"))
        .arg("-I")
        .arg(library_of_compiler(ctx).join("libcxx/include"))
        .arg("-I")
        .arg(libc.join("include"))
        .arg("-isystem")
        .arg(ctx.builtin_headers());
    includes(&mut command, source);
    command
}

fn includes(command: &mut Command, source: &Path) {
    for dir in ["common", "i18n"] {
        command.arg("-I").arg(source.join(dir));
    }
}
