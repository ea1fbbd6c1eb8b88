//! PostgreSQL's loadable modules, linked into the server, and the table in which its `dlopen` finds them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::libc::sorted;
use super::parallel::{Compilations, object_name};
use super::{GuestCtx, flags};

/// Functions that every module may define under the same name.
const COMMON: &[&str] = &[
    "Pg_magic_func",
    "_PG_init",
    "_PG_fini",
    "_PG_output_plugin_init",
    "_PG_archive_module_init",
];

struct Module {
    name: String,
    /// Relative to the source tree.
    sources: Vec<PathBuf>,
    flags: Vec<String>,
}

fn module(name: &str, sources: &[&str], flags: &[&str]) -> Module {
    Module {
        name: name.to_owned(),
        sources: sources.iter().map(PathBuf::from).collect(),
        flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
    }
}

fn all(tree: &Path) -> Result<Vec<Module>> {
    let plpgsql = [
        "pl_comp.c",
        "pl_exec.c",
        "pl_funcs.c",
        "pl_handler.c",
        "pl_gram.c",
        "pl_scanner.c",
    ]
    .map(|name| format!("src/pl/plpgsql/src/{name}"));
    let mut modules = vec![
        module(
            "plpgsql",
            &plpgsql.each_ref().map(String::as_str),
            &["-Isrc/pl/plpgsql/src"],
        ),
        module(
            "pgoutput",
            &["src/backend/replication/pgoutput/pgoutput.c"],
            &[],
        ),
        module(
            "test_decoding",
            &["contrib/test_decoding/test_decoding.c"],
            &[],
        ),
        module(
            "regress",
            &["src/test/regress/regress.c"],
            &["-DDLSUFFIX=\".so\""],
        ),
        module(
            "libpqwalreceiver",
            &["src/backend/replication/libpqwalreceiver/libpqwalreceiver.c"],
            &["-Isrc/interfaces/libpq"],
        ),
    ];
    let mut snowball = module(
        "dict_snowball",
        &["src/backend/snowball/dict_snowball.c"],
        &[
            "-Isrc/include/snowball",
            "-Isrc/include/snowball/libstemmer",
        ],
    );
    snowball.sources.extend(relative(
        tree,
        sorted(&tree.join("src/backend/snowball/libstemmer"), "c")?,
    )?);
    modules.push(snowball);
    let conversions = tree.join("src/backend/utils/mb/conversion_procs");
    let mut names = Vec::new();
    for entry in fs::read_dir(&conversions)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    for name in names {
        let mut conversion = module(&name, &[], &[]);
        conversion.sources = relative(tree, sorted(&conversions.join(&name), "c")?)?;
        modules.push(conversion);
    }
    Ok(modules)
}

fn relative(tree: &Path, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    paths
        .into_iter()
        .map(|path| Ok(path.strip_prefix(tree)?.to_path_buf()))
        .collect()
}

/// The modules' names, for the marker files in the library directory.
pub(super) fn names(out: &Path) -> Result<Vec<String>> {
    let path = out.join("modules");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Compiles all modules and the table; returns the objects.
pub(super) fn build(
    ctx: &GuestCtx<'_>,
    tree: &Path,
    libc: &Path,
    out: &Path,
) -> Result<Vec<PathBuf>> {
    let dir = out.join("objects");
    fs::create_dir_all(&dir)?;
    let modules = all(tree)?;
    let mut compilations = Compilations::default();
    let mut table = Table::default();
    for module in &modules {
        let mut text = String::new();
        for source in &module.sources {
            let path = tree.join(source);
            text.push_str(&String::from_utf8_lossy(
                &fs::read(&path).with_context(|| format!("reading {}", path.display()))?,
            ));
            let object = dir.join(format!(
                "{}-{}",
                module.name,
                object_name(Path::new(source.file_name().unwrap_or_default()))
            ));
            let mut command = ctx.guest_cc(libc);
            command
                .current_dir(tree)
                .args([flags::OPTIMISE, "-w", "-Isrc/include"])
                .args(&module.flags);
            command.args(
                COMMON
                    .iter()
                    .map(|name| format!("-D{name}={name}_{}", module.name)),
            );
            compilations.add(command, source, object);
        }
        table.add(&module.name, &text);
    }
    let source = dir.join("dl_table.c");
    fs::write(&source, table.text())?;
    let mut command = ctx.guest_cc(libc);
    command.args([flags::OPTIMISE, "-w"]);
    compilations.add(command, &source, dir.join("dl_table.o"));
    let objects = compilations.run(ctx)?;
    let names: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
    fs::write(out.join("modules"), names.join("\n") + "\n")?;
    Ok(objects)
}

/// The C source of `guest_libraries`.
#[derive(Default)]
struct Table {
    declarations: String,
    libraries: String,
    list: String,
}

impl Table {
    fn add(&mut self, name: &str, text: &str) {
        use std::fmt::Write as _;
        let mut entries = String::new();
        for (symbol, address) in symbols(name, text) {
            let _ = writeln!(self.declarations, "extern void {address}(void);");
            let _ = writeln!(entries, "\t{{\"{symbol}\", (void *){address}}},");
        }
        let _ = writeln!(
            self.libraries,
            "static const struct guest_symbol {name}_symbols[] = {{\n{entries}\t{{0, 0}},\n}};"
        );
        let _ = writeln!(self.list, "\t{{\"{name}\", {name}_symbols}},");
    }

    fn text(&self) -> String {
        format!(
            "/* Written by the build. */\n#include <dl_table.h>\n\n{}\n{}\nconst struct guest_library guest_libraries[] = {{\n{}\t{{0, 0}},\n}};\n",
            self.declarations, self.libraries, self.list
        )
    }
}

/// What `dlsym` can be asked for, with the name it was compiled under.
fn symbols(module: &str, text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for rest in text.split("PG_FUNCTION_INFO_V1(").skip(1) {
        let name: String = rest
            .trim_start()
            .chars()
            .take_while(|&c| c.is_ascii_alphanumeric() || c == '_')
            .collect();
        let info = format!("pg_finfo_{name}");
        if !name.is_empty() && !found.iter().any(|(symbol, _)| *symbol == name) {
            found.push((name.clone(), name));
            found.push((info.clone(), info));
        }
    }
    if text.contains("PG_MODULE_MAGIC") {
        found.push((COMMON[0].to_owned(), format!("{}_{module}", COMMON[0])));
    }
    for name in &COMMON[1..] {
        // A definition begins its line, as PostgreSQL's style has it.
        if text.contains(&format!("\n{name}(")) {
            found.push(((*name).to_owned(), format!("{name}_{module}")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::symbols;

    #[test]
    fn symbols_of_a_module() {
        let text = "PG_MODULE_MAGIC_EXT(.name = \"x\");\nPG_FUNCTION_INFO_V1(one);\nPG_FUNCTION_INFO_V1(one);\nvoid\n_PG_init(void)\n{\n}\n\t_PG_fini(1);\n";
        let names: Vec<String> = symbols("x", text)
            .into_iter()
            .map(|(symbol, address)| format!("{symbol}={address}"))
            .collect();
        assert_eq!(
            names,
            [
                "one=one",
                "pg_finfo_one=pg_finfo_one",
                "Pg_magic_func=Pg_magic_func_x",
                "_PG_init=_PG_init_x"
            ]
        );
    }
}
