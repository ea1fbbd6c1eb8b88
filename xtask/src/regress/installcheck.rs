//! `cargo xtask installcheck`: the extensions' own regression tests, run by PostgreSQL's `pg_regress` against the embedded server.
//!
//! Each extension gets a server of its own, started with the settings that its tests ask for. Failures that are known are in `regress/expected-failures-extensions.txt`, one
//! `extension/test: reason` a line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::beside::Beside;
use super::expected::Expected;
use super::outcome::{self, Outcome};
use super::source::Files;
use super::target::{Target, Which};
use super::{Suite, suite_lines};
use crate::extensions::{Catalogue, Extension};
use crate::{assets, process, suite};

/// What to run.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only these extensions [default: all that have tests]
    extensions: Vec<String>,
    /// Only these of their tests
    #[arg(long, value_delimiter = ',')]
    tests: Vec<String>,
    /// Lines shown of every unexpected difference
    #[arg(long, default_value_t = 12)]
    diff_lines: usize,
    /// A test that takes longer than this many seconds is cut
    #[arg(long, default_value_t = 300)]
    test_limit: u32,
    /// Keeps the working directories, and says where they are
    #[arg(long)]
    keep: bool,
}

const EXPECTED: &str = "regress/expected-failures-extensions.txt";

/// The tests of one extension.
struct Plan {
    /// The extension's directory.
    tree: PathBuf,
    /// In it: the directory with `sql` and `expected`.
    input: PathBuf,
    tests: Vec<String>,
    settings: BTreeMap<String, String>,
    arguments: Vec<String>,
    /// Which server.
    which: Which,
    /// The extension, if its tests are in the form of `super::beside`.
    beside: Option<String>,
}

/// Runs them; success if every test did what the list says.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = suite::workspace()?;
    let catalogue = Catalogue::read(&workspace.join("guest"))?;
    let trees = assets::extension_trees(&options.extensions)?;
    let files = Files::find(Suite::Core)?;
    let expected = Expected::read(&workspace.join(EXPECTED))?;
    let (mut total, mut passed, mut unexpected) = (0, 0, Vec::new());
    let mut all = Outcome::default();
    let mut names = Vec::new();
    for extension in catalogue.built() {
        // Those that are built on request are run if they are named.
        if extension.on_request && !trees.contains_key(&extension.name) {
            continue;
        }
        if !options.extensions.is_empty() && !options.extensions.contains(&extension.name) {
            continue;
        }
        let tree = trees
            .get(&extension.name)
            .with_context(|| format!("{} is not prepared", extension.name))?;
        let ours = workspace.join("regress").join(&extension.name);
        let are_ours = extension.regress.as_ref().is_some_and(|tests| tests.ours);
        let mut plan = plan(extension, if are_ours { &ours } else { tree })?;
        if !options.tests.is_empty() {
            plan.tests.retain(|test| options.tests.contains(test));
        }
        if plan.tests.is_empty() {
            continue;
        }
        let work = std::env::temp_dir().join(format!(
            "pglite-oxide-installcheck-{}-{}",
            std::process::id(),
            extension.name
        ));
        let outcome = drive(&files, &plan, &work, options)
            .with_context(|| format!("the tests of {}", extension.name))?;
        let good = outcome.passed(&plan.tests);
        println!(
            "{:<20} {good:>3} of {:>3}",
            extension.name,
            plan.tests.len()
        );
        let diffs = outcome::diffs(&work.join("output/regression.diffs"));
        for test in &plan.tests {
            let name = format!("{}/{test}", extension.name);
            all.add(&name, outcome.has_passed(test));
            if !outcome.has_passed(test) && !expected.lists(&name) {
                println!("\n==== {name}: failed, and is not on the list");
                for line in diffs
                    .get(test)
                    .into_iter()
                    .flatten()
                    .take(options.diff_lines)
                {
                    println!("{line}");
                }
            }
            names.push(name);
        }
        total += plan.tests.len();
        passed += good;
        if options.keep {
            println!("kept: {}", work.display());
        } else {
            fs::remove_dir_all(&work)?;
        }
    }
    let verdict = expected.judge(&names, &all);
    suite_lines(&verdict, EXPECTED);
    unexpected.extend(verdict.unexpected.iter());
    println!(
        "\ninstallcheck: {passed} of {total} passed, {} expected failures, {} unexpected",
        verdict.expected.len(),
        unexpected.len()
    );
    Ok(if verdict.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn plan(extension: &Extension, tree: &Path) -> Result<Plan> {
    let makefile = fs::read_to_string(tree.join("Makefile")).unwrap_or_default();
    let (input, tests) = match &extension.regress {
        Some(regress) => {
            let input = PathBuf::from(&regress.dir);
            let tests = if regress.tests == "*" {
                all_tests(&tree.join(&input))?
            } else {
                words(&regress.tests)
            };
            (input, tests)
        }
        None => (PathBuf::new(), variable(&makefile, "REGRESS")),
    };
    let mut settings = BTreeMap::new();
    let mut arguments = extension.regress_options.clone();
    for word in variable(&makefile, "REGRESS_OPTS") {
        if word.starts_with("--load-extension=") {
            arguments.push(word.replace("$(EXTENSION)", extension.sql_name()));
        }
        // The file's directory is written relative to PostgreSQL's tree.
        if let Some(name) = word
            .rsplit('/')
            .next()
            .filter(|name| name.ends_with(".conf"))
        {
            let text = fs::read_to_string(tree.join(name)).with_context(|| name.to_owned())?;
            settings.extend(configuration(&text));
        }
    }
    let of_tests = extension
        .regress
        .iter()
        .flat_map(|regress| &regress.settings);
    for (name, value) in extension.settings.iter().chain(of_tests) {
        settings.insert(name.clone(), value.clone());
    }
    if extension.preload {
        let libraries: Vec<String> = extension
            .libraries()
            .into_iter()
            .map(|library| library.name)
            .collect();
        settings
            .entry("shared_preload_libraries".to_owned())
            .or_insert_with(|| libraries.join(","));
    }
    Ok(Plan {
        tree: tree.to_owned(),
        input,
        tests,
        settings,
        arguments,
        which: if extension.on_request {
            Which::EmbeddedWith(extension.name.clone())
        } else {
            Which::Embedded
        },
        beside: (extension.regress.as_ref())
            .is_some_and(|regress| regress.beside)
            .then(|| extension.sql_name().to_owned()),
    })
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn all_tests(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let sql = dir.join("sql");
    for entry in fs::read_dir(&sql).with_context(|| format!("listing {}", sql.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".sql") {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The words of a variable in a makefile; those that are themselves variables are left out.
fn variable(makefile: &str, name: &str) -> Vec<String> {
    let joined = makefile.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        let Some((left, right)) = line.split_once('=') else {
            continue;
        };
        if left.trim_end_matches(['+', ':', ' ', '\t', '?']) == name {
            let right = right.split('#').next().unwrap_or_default();
            found.extend(
                words(right)
                    .into_iter()
                    .filter(|word| !word.starts_with("$(") || word.contains('/')),
            );
        }
    }
    found
}

/// The settings of a `postgresql.conf`.
fn configuration(text: &str) -> Vec<(String, String)> {
    let settings = text.lines().filter_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let (name, value) = line.split_once('=')?;
        Some((
            name.trim().to_owned(),
            value.trim().trim_matches('\'').to_owned(),
        ))
    });
    settings.collect()
}

fn drive(files: &Files, plan: &Plan, work: &Path, options: &Options) -> Result<Outcome> {
    let (tree, output) = (work.join("input"), work.join("output"));
    let input = tree.join(&plan.input);
    fs::create_dir_all(&tree)?;
    fs::create_dir_all(output.join("results"))?;
    // Some write there by a path relative to the working directory.
    fs::create_dir_all(tree.join("results"))?;
    process::output(
        Command::new("cp")
            .arg("-rL")
            .arg(plan.tree.join("."))
            .arg(&tree),
    )?;
    if plan.beside.is_none() && !input.join("expected").is_dir() {
        bail!("{} has no expected results", input.display());
    }
    let mut settings: Vec<String> = plan
        .settings
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    // As `make installcheck` has it.
    settings.push("full_page_writes=on".to_owned());
    settings.push("timezone=PST8PDT".to_owned());
    settings.push("datestyle=Postgres, MDY".to_owned());
    if plan.beside.is_some() {
        // As PostGIS's runner finds it.
        settings.retain(|setting| !setting.starts_with("datestyle="));
    }
    let target = Target::start(&plan.which, files, work, &settings)?;
    if let Some(extension) = &plan.beside {
        let beside = Beside {
            files,
            target: &target,
            tree: &tree,
            input: &input,
            output: &output,
            extension,
            limit: options.test_limit,
        };
        let outcome = beside.run(&plan.tests)?;
        target.stop()?;
        return Ok(outcome);
    }
    let mut runner = super::runner(files, &target, &input, &output, Suite::Core)?;
    // Where the tests' own data is, by relative paths.
    runner.current_dir(&tree);
    runner
        .arg("--dbname=contrib_regression")
        .args(&plan.arguments);
    if process::which("timeout").is_some() {
        runner.arg(format!("--launcher=timeout -k 5 {}", options.test_limit));
    }
    runner.args(&plan.tests);
    let outcome = super::follow(runner, plan.tests.len())?;
    target.stop()?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makefiles_and_settings_are_read() {
        let text = "REGRESS = a b \\\n\tc $(MORE)\nREGRESS_OPTS = --temp-config $(top_srcdir)/contrib/x/x.conf\nREGRESS += d # e\n";
        assert_eq!(variable(text, "REGRESS"), ["a", "b", "c", "d"]);
        assert!(
            variable(text, "REGRESS_OPTS").contains(&"$(top_srcdir)/contrib/x/x.conf".to_owned())
        );
        assert_eq!(
            configuration("a = 'b c'\n# no\nd = 5 # e\n"),
            [
                ("a".to_owned(), "b c".to_owned()),
                ("d".to_owned(), "5".to_owned())
            ]
        );
    }
}
