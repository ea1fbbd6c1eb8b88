//! `cargo xtask sizes`: what each extension adds to a stripped binary.
//!
//! Linking a program for each of them would take hours, so what is told is computed: the sections of its objects that are loaded, the relocations that a position-independent program keeps of
//! them, and its image of files, which begins at a page. `--check` links programs with and without some, and says how far off that is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use object::elf::{SHF_ALLOC, SHT_NOBITS};
use object::read::archive::ArchiveFile;
use object::{Object as _, ObjectSection as _, RelocationKind, SectionFlags};
use pglite_oxide_asset_locator::{self as locator, Assets, ExtensionFiles};

use crate::{assets, guest, process, suite};

/// What to do.
#[derive(Args)]
pub(crate) struct Options {
    /// Also links programs with these extensions, one at a time, and one without any: minutes each
    #[arg(long, value_name = "NAME", num_args = 1..)]
    check: Vec<String>,
}

/// Bytes of a dynamic relocation (`Elf64_Rela`).
const RELOCATION: u64 = 24;
/// Images begin at pages.
const PAGE: u64 = 4096;
/// How far a computed size may be off: of the size, and what the linker's own alignment makes of small ones.
const TOLERANCE: f64 = 0.05;
const TOLERANCE_BYTES: f64 = 8192.0;

/// What an extension adds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// Code and data of its libraries.
    pub(crate) code: u64,
    /// What it installs.
    pub(crate) files: u64,
}

impl Size {
    /// Both.
    pub(crate) fn total(self) -> u64 {
        self.code + self.files
    }
}

/// Prints the sizes; with `--check`, compares.
pub(crate) fn run(options: &Options) -> Result<()> {
    suite::assets()?;
    let assets = locator::find(&assets::host_target()?)?;
    println!("| extension | adds, KiB | of it files |\n|---|---:|---:|");
    let mut total = 0;
    for (name, files) in &assets.manifest.extensions {
        let size = of(&assets, files).with_context(|| name.clone())?;
        total += size.total();
        println!("| {name} | {} | {} |", kib(size.total()), kib(size.files));
    }
    println!("| all | {} | |", kib(total));
    if options.check.is_empty() {
        return Ok(());
    }
    let without = linked(None)?;
    println!("\n| extension | computed, KiB | linked, KiB | off |\n|---|---:|---:|---:|");
    for name in &options.check {
        let files = (assets.manifest.extensions.get(name))
            .with_context(|| format!("there is no extension {name}"))?;
        let computed = of(&assets, files)?.total();
        let real = linked(Some(name))?.saturating_sub(without);
        let off = computed.abs_diff(real) as f64;
        println!(
            "| {name} | {} | {} | {:.1} % |",
            kib(computed),
            kib(real),
            100.0 * off / real.max(1) as f64
        );
        if off > TOLERANCE * real as f64 + TOLERANCE_BYTES {
            bail!("{name} adds {real} bytes to a program, {computed} were computed");
        }
    }
    println!("\nwithout any: {} KiB", kib(without));
    Ok(())
}

fn kib(bytes: u64) -> u64 {
    bytes.div_ceil(1024)
}

/// What the extension adds.
pub(crate) fn of(assets: &Assets, extension: &ExtensionFiles) -> Result<Size> {
    let mut size = Size::default();
    for file in extension.libraries.values() {
        let path = assets.dir.join(file);
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        size.code += loaded(&bytes).with_context(|| format!("in {}", path.display()))?;
    }
    if let Some(image) = &extension.image {
        size.files = image.bytes.next_multiple_of(PAGE);
    }
    Ok(size)
}

/// Bytes that the objects of a static library take in a program.
fn loaded(archive: &[u8]) -> Result<u64> {
    let mut bytes = 0;
    for member in ArchiveFile::parse(archive)?.members() {
        let object = object::File::parse(member?.data(archive)?)?;
        for section in object.sections() {
            let SectionFlags::Elf { sh_flags, sh_type } = section.flags() else {
                bail!("an object that is no ELF");
            };
            if sh_flags & SHF_ALLOC != SHF_ALLOC || sh_type == SHT_NOBITS {
                continue;
            }
            bytes += section.size();
            let addresses = section.relocations().filter(|(_, relocation)| {
                relocation.kind() == RelocationKind::Absolute && relocation.size() == 64
            });
            bytes += RELOCATION * addresses.count() as u64;
        }
    }
    Ok(bytes)
}

/// The size of a stripped program that opens a database, with one extension or none.
fn linked(extension: Option<&str>) -> Result<u64> {
    let workspace = suite::workspace()?;
    let target = locator::cache_root()?.join("sizes");
    let dir = target.join("program");
    fs::create_dir_all(dir.join("src"))?;
    let feature = match extension {
        None => String::new(),
        Some(name @ (guest::ICU | guest::ZSTD)) => format!(", \"{name}\""),
        Some(name) => format!(", \"ext-{name}\""),
    };
    fs::write(
        dir.join("Cargo.toml"),
        format!(
            "[package]\nname = \"program\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[profile.release]\nstrip = true\n\
             [dependencies]\npglite-oxide = {{ path = {:?}, default-features = false, features = [\"bundled\"{feature}] }}\n",
            workspace.join("crates/pglite-oxide")
        ),
    )?;
    fs::write(
        dir.join("src/main.rs"),
        "fn main() {\n    let mut db = pglite_oxide::Pglite::temporary().unwrap();\n    db.exec(\"SELECT 1\", None).unwrap();\n}\n",
    )?;
    fs::copy(workspace.join("Cargo.lock"), dir.join("Cargo.lock"))?;
    let mut command = process::cargo();
    command
        .args(["build", "--release", "--quiet"])
        .current_dir(&dir)
        .env("CARGO_TARGET_DIR", &target);
    process::shown(&mut command)?;
    let program: PathBuf = target.join("release/program");
    Ok(size_of(&program)?)
}

fn size_of(path: &Path) -> std::io::Result<u64> {
    Ok(path.metadata()?.len())
}
