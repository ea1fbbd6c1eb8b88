//! Native objects from translated C.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::libc::{remove_file, sorted};
use super::parallel::object_name;
use super::{GuestCtx, across, flags};
use crate::fingerprint::{Fingerprint, Inputs};
use crate::process;

/// Changes when the recipe's result does.
pub(super) const VERSION: u32 = 3;

/// Switches stacks in assembler: nothing to optimise.
const SWITCH: &str = "switch.c";

/// What the optimiser knows of how the code runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Nothing.
    Off,
    /// The objects count what they execute.
    Generate,
    /// It reads this merged profile.
    Use(PathBuf),
}

impl Profile {
    /// The inputs of a step that compiles with it.
    pub fn add_to(&self, inputs: Inputs) -> Result<Inputs> {
        match self {
            Self::Off => Ok(inputs),
            Self::Generate => Ok(inputs.value("profile", "generate, names as they are")),
            Self::Use(path) => inputs.file("profile", path),
        }
    }

    fn flags(&self) -> Vec<String> {
        match self {
            Self::Off => Vec::new(),
            // Readers are built without zlib, often.
            Self::Generate => [
                "-fprofile-instr-generate",
                "-mllvm",
                "-enable-name-compression=false",
            ]
            .map(str::to_owned)
            .into(),
            Self::Use(path) => vec![
                format!("-fprofile-instr-use={}", path.display()),
                "-Wno-profile-instr-unprofiled".to_owned(),
            ],
        }
    }
}

/// What a descriptor says about its making.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    /// The hash of the inputs of the compilation.
    pub fingerprint: &'a str,
    /// The hash of the inputs of the program's link.
    pub core: &'a str,
}

/// zig's name of a Rust target triple; the glibc named is the oldest that the objects run on.
pub(super) fn zig_target(target: &str) -> Result<String> {
    let arch = target.split('-').next().unwrap_or_default();
    Ok(match (arch, target) {
        ("x86_64" | "aarch64", _) if target.ends_with("-linux-gnu") => {
            format!("{arch}-linux-gnu.2.17")
        }
        ("x86_64" | "aarch64", _) if target.ends_with("-linux-musl") => {
            format!("{arch}-linux-musl")
        }
        ("x86_64" | "aarch64", _) if target.ends_with("-apple-darwin") => {
            format!("{arch}-macos.11.0")
        }
        _ => bail!(
            "there are no native objects for {target} yet; x86_64 and aarch64 Linux and macOS are known"
        ),
    })
}

/// Compiles the translation of `module` in `translated` to `libpglite_MODULE.a` in `out`.
///
/// Objects of an interrupted build are taken if their source and flags are the same.
pub fn compile(
    ctx: &GuestCtx<'_>,
    module: &str,
    translated: &Path,
    target: &str,
    profile: &Profile,
    marks: Marks<'_>,
    out: &Path,
) -> Result<()> {
    ctx.bar.message(if *profile == Profile::Generate {
        "compiling, instrumented"
    } else {
        "compiling"
    });
    let objects_dir = out.join("objects");
    fs::create_dir_all(&objects_dir)?;
    // wasm2c's own names double an underscore.
    let c_name = format!("2c_{}", module.replace('_', "__"));
    let glue = objects_dir.join("module.c");
    let heap_base =
        fs::read_to_string(translated.join("heap_base")).context("reading heap_base")?;
    let template = fs::read_to_string(ctx.guest.join("runtime/module.c.in"))?;
    fs::write(
        &glue,
        template
            .replace("2c_@NAME@", &c_name)
            .replace("@NAME@", module)
            .replace("@HEAP_BASE@", &format!("{}u", heap_base.trim()))
            .replace("@FINGERPRINT@", marks.fingerprint)
            .replace("@CORE@", marks.core),
    )?;
    let mut sources = sorted(translated, "c")?;
    sources.push(glue);
    if module == super::MODULES[0] {
        // Linked into every program, once.
        sources.extend(["runtime.c", SWITCH].map(|name| ctx.guest.join("runtime").join(name)));
    }
    let mut arguments: Vec<String> = vec!["-target".to_owned(), zig_target(target)?];
    arguments.extend(flags::native_flags().iter().map(|&flag| flag.to_owned()));
    arguments.extend(profile.flags());
    let across = across::is_used(profile, target);
    arguments.extend(across.then(|| across::GATHERED.to_owned()));
    let common = common_inputs(ctx, translated, &arguments, profile)?;
    let (mut commands, mut objects, mut stamps) = (Vec::new(), Vec::new(), Vec::new());
    for source in sources {
        let object = objects_dir.join(object_name(Path::new(
            source.file_name().unwrap_or_default(),
        )));
        let stamp = object.with_extension("stamp");
        let is_bitcode = across && !source.ends_with(SWITCH);
        let wanted = Fingerprint::of(
            format!("{common}{is_bitcode}{}", Fingerprint::of_file(&source)?).as_bytes(),
        );
        objects.push(object.clone());
        if object.is_file()
            && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted.as_str())
        {
            continue;
        }
        let part = object.with_extension("part");
        remove_file(&part)?;
        let mut command = ctx.zig("cc");
        command
            .args(&arguments)
            .args(is_bitcode.then_some(across::COMPILE))
            .arg("-include")
            .arg(ctx.guest.join("runtime/rt.h"));
        command
            .arg("-I")
            .arg(ctx.guest.join("runtime"))
            .arg("-I")
            .arg(ctx.wabt.join("wasm2c"))
            .arg("-I")
            .arg(translated);
        command.arg("-c").arg(&source).arg("-o").arg(&part);
        commands.push(command);
        stamps.push((part, object, stamp, wanted));
    }
    let outcome = ctx.run_all(commands);
    // What is done counts, even if another one failed.
    for (part, object, stamp, wanted) in stamps {
        if part.is_file() {
            fs::rename(&part, &object)?;
            fs::write(&stamp, wanted.as_str())?;
        }
    }
    outcome?;
    if across {
        objects = vec![across::link(ctx, module, &objects, &objects_dir)?];
    }
    ctx.archive(&out.join(format!("libpglite_{module}.a")), &objects)
}

/// What every object depends on besides its source.
fn common_inputs(
    ctx: &GuestCtx<'_>,
    translated: &Path,
    arguments: &[String],
    profile: &Profile,
) -> Result<Fingerprint> {
    let mut inputs = Inputs::new()
        .value("flags", arguments.join(" "))
        .tree("runtime", &ctx.guest.join("runtime"))?;
    for header in sorted(translated, "h")? {
        inputs = inputs.file(header.display().to_string(), &header)?;
    }
    inputs = profile.add_to(inputs)?;
    let version = process::output(ctx.zig("version").env("ZIG_LIB_DIR", ""));
    Ok(inputs
        .value("compiler", version.unwrap_or_default())
        .fingerprint("object"))
}

#[cfg(test)]
mod tests {
    use super::zig_target;

    #[test]
    fn targets_are_known_or_refused() {
        assert_eq!(
            zig_target("x86_64-unknown-linux-gnu").unwrap(),
            "x86_64-linux-gnu.2.17"
        );
        assert_eq!(
            zig_target("aarch64-apple-darwin").unwrap(),
            "aarch64-macos.11.0"
        );
        assert!(zig_target("riscv64gc-unknown-linux-gnu").is_err());
    }
}
