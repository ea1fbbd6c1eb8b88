//! What of the catalogue is committed: cargo features, the constants of `pglite_oxide::extensions`, the tables of docs/EXTENSIONS.md and NOTICE.md.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use pglite_oxide_asset_locator::{self as locator, Assets};

use super::{Catalogue, Extension, Home, OptIn};

const BEGIN: &str = "extensions: written by `cargo xtask extensions`";
const END: &str = "extensions: end";

/// Files and what they must contain.
pub(super) fn outputs(workspace: &Path, catalogue: &Catalogue) -> Result<Vec<(PathBuf, String)>> {
    let crates = workspace.join("crates");
    let mut outputs = Vec::new();
    // What the feature of a free extension turns on in the crate itself and in those below, and what that of a copyleft one does; none where the crate has no such extensions.
    for (name, free, copyleft, own) in [
        ("aot-extensions", Some(&[][..]), None, None),
        ("assets", Some(&[]), None, None),
        ("extensions-gpl", None, Some(&[][..]), None),
        (
            "cluster",
            Some(&[
                "side-modules",
                "pglite-oxide-aot-extensions/",
                "pglite-oxide-assets/",
            ]),
            Some(&["side-modules-gpl", "pglite-oxide-extensions-gpl/"]),
            Some(&["side-modules-@", "pglite-oxide-extensions-@/"][..]),
        ),
        (
            "pglite-oxide",
            Some(&["pglite-oxide-cluster/"]),
            Some(&["pglite-oxide-cluster/"]),
            Some(&["pglite-oxide-cluster/"]),
        ),
    ] {
        let path = crates.join(name).join("Cargo.toml");
        let on = |extension: &Extension| -> Result<Option<Vec<String>>> {
            let home = catalogue.home(extension)?;
            let on = match &home {
                Home::Free => free,
                Home::Copyleft => copyleft,
                Home::Own(_) => own,
            };
            Ok(on.map(|on| {
                on.iter()
                    .map(|name| name.replace('@', &extension.name))
                    .collect()
            }))
        };
        let block = features(catalogue, on)?;
        outputs.push((path.clone(), between(&path, &block)?));
    }
    outputs.push((
        crates.join("pglite-oxide/src/extensions/list.rs"),
        constants(catalogue)?,
    ));
    let docs = workspace.join("docs/EXTENSIONS.md");
    let table = table(catalogue, built()?.as_ref())?;
    outputs.push((docs.clone(), between(&docs, &table)?));
    let notice = workspace.join("NOTICE.md");
    outputs.push((notice.clone(), between(&notice, &notices(catalogue))?));
    Ok(outputs)
}

/// The file at `path` with other lines between the marks.
fn between(path: &Path, block: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut out = String::new();
    let mut lines = text.lines();
    let mut found = false;
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        if line.contains(BEGIN) {
            found = true;
            out.push_str(block);
            let end = lines
                .find(|line| line.contains(END))
                .with_context(|| format!("{} has no end mark", path.display()))?;
            out.push_str(end);
            out.push('\n');
        }
    }
    if !found {
        bail!("{} has no marks", path.display());
    }
    Ok(out)
}

/// The features of a crate: `on` is what that of an extension turns on, where a name that ends in a slash stands for the feature of the same name there; nothing if the crate does not have it.
fn features(
    catalogue: &Catalogue,
    on: impl Fn(&Extension) -> Result<Option<Vec<String>>>,
) -> Result<String> {
    let mut groups: Vec<(&str, String)> = Vec::new();
    let mut single = String::new();
    for extension in catalogue.built() {
        let Some(on) = on(extension)? else {
            continue;
        };
        let feature = format!("ext-{}", extension.name);
        let opt_in = catalogue.opt_in(extension)?;
        let group = match &opt_in {
            None => Some("extensions"),
            Some(opt_in) => opt_in.group,
        };
        if let Some(group) = group {
            let line = format!("    \"{feature}\",\n");
            match groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, lines)) => lines.push_str(&line),
                None => groups.push((group, line)),
            }
        }
        if let Some(opt_in) = opt_in {
            let _ = writeln!(single, "# Not in `extensions`: {}.", opt_in.reason);
        }
        let on: Vec<String> = on
            .iter()
            .map(|name| match name.strip_suffix('/') {
                Some(package) => format!("\"{package}/{feature}\""),
                None => format!("\"{name}\""),
            })
            .collect();
        let _ = writeln!(single, "{feature} = [{}]", on.join(", "));
    }
    let groups: String = groups
        .into_iter()
        .map(|(group, lines)| format!("{group} = [\n{lines}]\n"))
        .collect();
    Ok(groups + &single)
}

fn constants(catalogue: &Catalogue) -> Result<String> {
    let mut text = String::from(
        "// Written by `cargo xtask extensions` from guest/extensions/catalogue.toml.\n\nuse super::Extension;\n",
    );
    let mut all = String::new();
    for extension in catalogue.built() {
        let (version, licence) = catalogue.provenance(extension)?;
        let feature = format!("#[cfg(feature = \"ext-{}\")]", extension.name);
        let constant = extension.identifier().to_uppercase();
        let libraries: Vec<String> = extension
            .libraries()
            .into_iter()
            .map(|library| library.name)
            .collect();
        let settings: Vec<(&str, &str)> = extension
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let why = match catalogue.opt_in(extension)? {
            Some(OptIn { reason, .. }) => {
                format!("///\n/// Not in the feature `extensions`: {reason}.\n")
            }
            None => String::new(),
        };
        let _ = write!(
            text,
            "\n/// `{sql}`: {summary}.\n{why}{feature}\npub const {constant}: Extension = Extension(&super::Data {{\n    name: {name:?},\n    sql_name: {sql:?},\n    version: {version:?},\n    licence: {licence:?},\n    summary: {summary:?},\n    dependencies: &{requires:?},\n    libraries: &{libraries:?},\n    settings: &{settings:?},\n    created: {created},\n    preloaded: {preloaded},\n}});\n",
            name = extension.name,
            sql = extension.sql_name(),
            summary = extension.summary,
            requires = extension.requires,
            created = extension.sql,
            preloaded = extension.preload,
        );
        let _ = write!(all, "    {feature}\n    {constant},\n");
    }
    let _ = write!(
        text,
        "\n/// Every extension that is linked, in the order of the catalogue.\npub const ALL: &[Extension] = &[\n{all}];\n"
    );
    Ok(text)
}

/// The current assets of this host, if they are built.
fn built() -> Result<Option<Assets>> {
    let target = crate::assets::host_target()?;
    Ok(locator::find(&target).ok())
}

fn table(catalogue: &Catalogue, assets: Option<&Assets>) -> Result<String> {
    let mut text = String::from(
        "\n| extension | constant | version | licence | adds, KiB | of it files | what |\n|---|---|---|---|---:|---:|---|\n",
    );
    for extension in catalogue.built() {
        let (version, licence) = catalogue.provenance(extension)?;
        let (adds, files) = size(extension, assets)?;
        let mut what = extension.summary.replace('|', "\\|");
        if !extension.requires.is_empty() {
            let _ = write!(what, "; needs {}", extension.requires.join(", "));
        }
        if extension.preload {
            what.push_str("; preloaded: name it in the builder");
        }
        if let Some(OptIn { group, reason }) = catalogue.opt_in(extension)? {
            let own = format!("ext-{}", extension.name);
            let feature = group.unwrap_or(&own);
            let _ = write!(
                what,
                "; **not by default**: feature `{feature}`, since {reason}"
            );
        }
        if !extension.sql {
            what.push_str("; no `CREATE EXTENSION`: `LOAD` or preload it");
        }
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {version} | {licence} | {adds} | {files} | {what} |",
            extension.sql_name(),
            extension.identifier().to_uppercase()
        );
    }
    text.push_str("\nNot built, and why:\n\n| extension | reason |\n|---|---|\n");
    for extension in &catalogue.extensions {
        if let Some(reason) = &extension.blocked {
            let _ = writeln!(text, "| `{}` | {reason} |", extension.sql_name());
        }
    }
    text.push('\n');
    Ok(text)
}

fn notices(catalogue: &Catalogue) -> String {
    let mut text =
        String::from("\n| software | in | version | licence | text |\n|---|---|---|---|---|\n");
    for notice in catalogue.notices() {
        let extensions: Vec<String> = notice
            .extensions
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | `{}` |",
            notice.source,
            extensions.join(", "),
            notice.version,
            notice.licence,
            notice.file()
        );
    }
    text.push('\n');
    text
}

/// What it adds to a stripped binary, and what of that is files, in KiB.
fn size(extension: &Extension, assets: Option<&Assets>) -> Result<(String, String)> {
    let files = assets.and_then(|assets| {
        let files = assets.manifest.extensions.get(&extension.name)?;
        Some((assets, files))
    });
    let Some((assets, files)) = files else {
        return Ok(("?".to_owned(), "?".to_owned()));
    };
    let size = crate::sizes::of(assets, files)?;
    let kib = |bytes: u64| bytes.div_ceil(1024).to_string();
    Ok((kib(size.total()), kib(size.files)))
}
