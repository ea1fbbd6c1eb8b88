//! libxslt for side modules: `include/libxslt` and `lib/libxslt.a`, position-independent. It works on the server's libxml2, whose state (error handlers, the loader of external
//! entities) contrib/xml2 sets; the HTML writer that it needs besides is its own.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::libc::sorted;
use super::parallel::{Compilations, object_name};
use super::{GuestCtx, libxml2, side_cc};
use crate::cache::remove_tree;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 1;

/// What the libc has, and so what `configure` would find. No profiler, debugger or plugins, and no locales: there is none but C to sort by.
const FLAGS: &[&str] = &[
    "-Os",
    "-ffunction-sections",
    "-fdata-sections",
    "-DLIBXML_STATIC",
    "-DLIBXML_HTML_ENABLED",
    "-DHAVE_CLOCK_GETTIME",
    "-DHAVE_GETTIMEOFDAY",
    "-DHAVE_LOCALE_H",
    "-DHAVE_SNPRINTF",
    "-DHAVE_STAT",
    "-DHAVE_SYS_STAT_H",
    "-DHAVE_SYS_TIME_H",
    "-DHAVE_SYS_TYPES_H",
    "-DHAVE_UNISTD_H",
    "-DHAVE_VSNPRINTF",
];

/// All that decides on the result besides the compiler's flags, for fingerprints.
pub(super) fn describe() -> String {
    FLAGS.join(" ")
}

/// Compiles it from its unpacked `source`, of release `version`; `libxml2` is the output of [`super::libxml2()`].
pub fn libxslt(
    ctx: &GuestCtx<'_>,
    source: &Path,
    version: &str,
    libxml2: &Path,
    libc: &Path,
    out: &Path,
) -> Result<()> {
    let headers = out.join("include/libxslt");
    let objects_dir = out.join("objects");
    let library = out.join("lib");
    for dir in [&headers, &objects_dir, &library] {
        fs::create_dir_all(dir)?;
    }
    let sources = source.join("libxslt");
    for header in sorted(&sources, "h")? {
        let name = header.file_name().context("a header's name")?;
        fs::copy(&header, headers.join(name))?;
    }
    let template = sources.join("xsltconfig.h.in");
    let text =
        fs::read_to_string(&template).with_context(|| format!("reading {}", template.display()))?;
    fs::write(headers.join("xsltconfig.h"), configured(&text, version)?)?;
    // What configure would write is among the flags.
    fs::write(objects_dir.join("config.h"), "")?;
    let mut all = Compilations::default();
    for path in sorted(&sources, "c")? {
        let object = objects_dir.join(object_name(Path::new(
            path.file_name().context("a source's name")?,
        )));
        let mut command = side_cc(ctx, libc);
        command.args(FLAGS);
        for dir in [
            &objects_dir,
            &out.join("include"),
            &headers,
            source,
            &libxml2.join("include"),
        ] {
            command.arg("-I").arg(dir);
        }
        all.add(command, &path, object);
    }
    let mut objects = all.run(ctx)?;
    objects.extend(sorted(&libxml2.join(libxml2::HTML), "o")?);
    ctx.archive(&library.join("libxslt.a"), &objects)?;
    remove_tree(&objects_dir)
}

/// `xsltconfig.h` as `configure` would write it, with all that can be left out left out.
fn configured(template: &str, version: &str) -> Result<String> {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor)), Some(Ok(micro))) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        bail!("{version} is no version of libxslt");
    };
    let number = major * 10_000 + minor * 100 + micro;
    let mut text = template
        .replace("@VERSION@", version)
        .replace("@LIBXSLT_VERSION_NUMBER@", &number.to_string())
        .replace("@LIBXSLT_VERSION_EXTRA@", "")
        .replace("@LIBXSLT_DEFAULT_PLUGINS_PATH@", "");
    for part in ["XSLT_DEBUG", "TRIO", "DEBUGGER", "PROFILER", "MODULES"] {
        text = text.replace(&format!("@WITH_{part}@"), "0");
    }
    if let Some((_, rest)) = text.split_once('@') {
        let unknown: String = rest.chars().take_while(|&c| c != '@').collect();
        bail!("nothing is known of @{unknown}@ in xsltconfig.h.in");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::configured;

    #[test]
    fn versions_and_parts() {
        let text = configured(
            "#define V \"@VERSION@\" @LIBXSLT_VERSION_NUMBER@\n#if @WITH_MODULES@\n",
            "1.1.45",
        );
        assert_eq!(text.unwrap(), "#define V \"1.1.45\" 10145\n#if 0\n");
        assert!(configured("@NEW@", "1.1.45").is_err());
        assert!(configured("", "1.x").is_err());
    }
}
