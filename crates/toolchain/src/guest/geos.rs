//! GEOS for side modules: `include/geos_c.h` and `lib/libgeos.a`. All of it; the linker takes what PostGIS calls.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cxx::{STANDARD, cxx, precompiled, static_library};
use super::parallel::{Compilations, object_name};
use super::{GuestCtx, side_cc};
use crate::cache::remove_tree;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 1;

/// What `links` of the catalogue calls it.
pub const GEOS: &str = "geos";

/// As its CMakeLists.txt has it: fused operations would break the sums of `math/DD.cpp`.
const FLAGS: &[&str] = &[
    "-std=c++14",
    "-DUSE_UNSTABLE_GEOS_CPP_API",
    "-DGEOS_INLINE",
    "-DNDEBUG",
    "-ffp-contract=off",
];

/// Of its own headers, those that most of its sources include.
const HEADERS: &[&str] = &[
    "geos/geom/Geometry.h",
    "geos/geom/GeometryFactory.h",
    "geos/geom/CoordinateSequence.h",
    "geos/geom/Envelope.h",
    "geos/geom/LineString.h",
    "geos/geom/Polygon.h",
    "geos/geom/Point.h",
    "geos/util/IllegalArgumentException.h",
];

/// It reads files, for GEOS's own tests.
const LEFT_OUT: &[&str] = &["WKTFileReader.cpp"];

/// All that decides on the result besides the compiler's flags, for fingerprints.
pub(super) fn describe() -> String {
    [FLAGS, HEADERS, LEFT_OUT].concat().join(" ")
}

/// Compiles it from its unpacked `source`.
pub fn geos(ctx: &GuestCtx<'_>, source: &Path, libc: &Path, out: &Path) -> Result<()> {
    let include = out.join("include");
    fs::create_dir_all(include.join("geos"))?;
    let versions = versions(&fs::read_to_string(source.join("Version.txt"))?)?;
    for (template, to) in [
        ("capi/geos_c.h.in", "geos_c.h"),
        ("include/geos/version.h.in", "geos/version.h"),
    ] {
        let mut text = fs::read_to_string(source.join(template))?;
        for (name, value) in &versions {
            text = text.replace(&format!("@{name}@"), value);
        }
        fs::write(include.join(to), text)?;
    }
    fs::copy(
        source.join("include/geos/export.h"),
        include.join("geos/export.h"),
    )?;
    let objects_dir = out.join("objects");
    fs::create_dir_all(&objects_dir)?;
    let with_paths = |mut command: Command| {
        command.arg("-I").arg(&include);
        for dir in ["include", "src/deps"] {
            command.arg("-I").arg(source.join(dir));
        }
        command
    };
    let compiler = || {
        let mut command = with_paths(cxx(ctx, libc));
        command.args(FLAGS);
        command
    };
    let headers = [STANDARD, HEADERS].concat();
    let headers = precompiled(ctx, compiler(), &headers, &objects_dir)?;
    let mut all = Compilations::default();
    for path in sources(source)? {
        let relative = path.strip_prefix(source)?;
        let object = objects_dir.join(object_name(relative));
        let command = if path.extension().is_some_and(|end| end == "c") {
            with_paths(side_cc(ctx, libc))
        } else {
            let mut command = compiler();
            command.args(&headers);
            command
        };
        all.add(command, &path, object);
    }
    let objects = all.run(ctx)?;
    static_library(ctx, GEOS, &objects, out)?;
    remove_tree(&objects_dir)
}

fn sources(source: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for pattern in ["src/**/*.cpp", "src/deps/**/*.c", "capi/*.cpp"] {
        for path in glob::glob(&source.join(pattern).to_string_lossy())? {
            let path = path?;
            if !LEFT_OUT.iter().any(|name| path.ends_with(name)) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// What its CMakeLists.txt makes of Version.txt.
fn versions(text: &str) -> Result<Vec<(&'static str, String)>> {
    let get = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim().to_owned())
            .with_context(|| format!("Version.txt has no {name}"))
    };
    let number = |name: &str| -> Result<u32> {
        get(name)?
            .parse()
            .with_context(|| format!("{name} is no number"))
    };
    let [major, minor, patch] =
        ["MAJOR", "MINOR", "PATCH"].map(|part| format!("GEOS_VERSION_{part}"));
    let (major, minor, patch) = (get(&major)?, get(&minor)?, get(&patch)?);
    let current = number("CAPI_INTERFACE_CURRENT")?;
    let age = number("CAPI_INTERFACE_AGE")?;
    let revision = get("CAPI_INTERFACE_REVISION")?;
    let interface = current
        .checked_sub(age)
        .context("an interface older than the first one")?;
    let capi = format!("{interface}.{age}.{revision}");
    Ok(vec![
        ("VERSION", format!("{major}.{minor}.{patch}")),
        ("VERSION_MAJOR", major),
        ("VERSION_MINOR", minor),
        ("VERSION_PATCH", patch),
        ("JTS_PORT", get("JTS_PORT")?),
        ("CAPI_VERSION", capi),
        ("CAPI_VERSION_MAJOR", interface.to_string()),
        ("CAPI_VERSION_MINOR", age.to_string()),
        ("CAPI_VERSION_PATCH", revision),
    ])
}

#[cfg(test)]
mod tests {
    use super::versions;

    #[test]
    fn the_interface_is_current_less_age() {
        let text = "GEOS_VERSION_MAJOR=3\nGEOS_VERSION_MINOR=13\nGEOS_VERSION_PATCH=1\n\
                    CAPI_INTERFACE_CURRENT=20\nCAPI_INTERFACE_REVISION=2\nCAPI_INTERFACE_AGE=19\nJTS_PORT=1.18.0\n";
        let found = versions(text).unwrap();
        assert!(found.contains(&("VERSION", "3.13.1".to_owned())));
        assert!(found.contains(&("CAPI_VERSION", "1.19.2".to_owned())));
        assert!(versions("JTS_PORT=1").is_err());
    }
}
