//! Packs: extensions that are loaded at run time, beside the linked ones.

use std::collections::HashMap;
use std::sync::Mutex;

use pglite_oxide_kernel::Errno;
use pglite_oxide_kernel::fs::FileSystem as _;
use pglite_oxide_kernel::fs::mem::MemFs;
use pglite_oxide_kernel::wait::lock;
use pglite_oxide_machine::Library;
use pglite_oxide_machine::pack::{Exports, LoadError};
pub use pglite_oxide_pack::{Pack, PackError};

use crate::linked;

/// What stands for a library in the guest's file system: PostgreSQL looks whether it is there before it asks `dlopen`.
const MARKER: &[u8] = b"loaded by the host program\n";

/// Loaded libraries by the hash of their shared object and their name: each is loaded once in a process.
static LOADED: Mutex<Option<HashMap<(String, String), &'static Library>>> = Mutex::new(None);

/// Tells sets of packs apart, whatever their order.
pub(crate) fn key(packs: &[Pack]) -> Vec<String> {
    let mut key: Vec<String> = packs.iter().map(|pack| pack.sha256().to_owned()).collect();
    key.sort();
    key.dedup();
    key
}

/// What the packs require to be preloaded.
pub fn preloaded(packs: &[Pack]) -> impl Iterator<Item = &str> {
    packs
        .iter()
        .flat_map(|pack| &pack.manifest().preload)
        .map(String::as_str)
}

/// Checks all packs against this program and each other, adds their files to `files`, and loads their libraries. Only when nothing is wrong with any of them is one loaded.
pub(crate) fn add(files: &MemFs, packs: &[Pack]) -> Result<Vec<&'static Library>, PackError> {
    let mut distinct: Vec<&Pack> = Vec::new();
    for pack in packs {
        if !distinct.contains(&pack) {
            distinct.push(pack);
        }
    }
    let Some(first) = distinct.first() else {
        return Ok(Vec::new());
    };
    let exports =
        pglite_oxide_aot_extensions::exports().ok_or_else(|| PackError::NotSupported {
            pack: first.manifest().name.clone(),
        })?;
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for pack in &distinct {
        let manifest = pack.manifest();
        fits(pack, exports)?;
        for file in pack.files() {
            let other = match owners.insert(&file.path, &manifest.name) {
                Some(other) => format!("the pack {other}"),
                None if files.stat(&file.path, false).is_ok() => "this program".to_owned(),
                None => continue,
            };
            return Err(PackError::Conflict {
                pack: manifest.name.clone(),
                other,
                what: file.path.clone(),
            });
        }
    }
    for pack in &distinct {
        let manifest = pack.manifest();
        for dependency in &manifest.requires {
            let control = format!("share/extension/{dependency}.control");
            if !owners.contains_key(control.as_str()) && files.stat(&control, false).is_err() {
                return Err(PackError::MissingDependency {
                    pack: manifest.name.clone(),
                    dependency: dependency.clone(),
                });
            }
        }
    }
    let mut libraries = Vec::new();
    for pack in &distinct {
        libraries.extend(load(pack, exports)?);
    }
    for pack in &distinct {
        install(files, pack).map_err(|errno| PackError::Load {
            pack: pack.manifest().name.clone(),
            library: "share".to_owned(),
            source: Box::new(errno),
        })?;
    }
    Ok(libraries)
}

fn fits(pack: &Pack, exports: &Exports) -> Result<(), PackError> {
    let manifest = pack.manifest();
    let pack = || manifest.name.clone();
    if manifest.target != linked::TARGET {
        return Err(PackError::Target {
            pack: pack(),
            found: manifest.target.clone(),
            wanted: linked::TARGET.to_owned(),
        });
    }
    if manifest.core != exports.core() {
        return Err(PackError::Core {
            pack: pack(),
            found: manifest.core.clone(),
            wanted: exports.core().to_owned(),
        });
    }
    Ok(())
}

fn load(pack: &Pack, exports: &'static Exports) -> Result<Vec<&'static Library>, PackError> {
    let manifest = pack.manifest();
    let mut loaded = lock(&LOADED);
    let loaded = loaded.get_or_insert_default();
    let mut libraries = Vec::new();
    for library in &manifest.libraries {
        let (Some(member), Some(bytes)) =
            (manifest.files.get(&library.file), pack.file(&library.file))
        else {
            continue;
        };
        let key = (member.sha256.clone(), library.name.clone());
        let found = match loaded.get(&key) {
            Some(found) => found,
            None => {
                let found = pglite_oxide_machine::pack::load(
                    &library.name,
                    bytes,
                    exports,
                    &linked::libraries(),
                )
                .map_err(|error| refused(pack, &library.name, error))?;
                loaded.entry(key).or_insert(found)
            }
        };
        libraries.push(*found);
    }
    Ok(libraries)
}

fn refused(pack: &Pack, library: &str, error: LoadError) -> PackError {
    let (pack, library) = (pack.manifest().name.clone(), library.to_owned());
    match error {
        LoadError::Symbols(symbols) => PackError::MissingSymbol {
            pack,
            library,
            symbols,
        },
        LoadError::Core { found, wanted } => PackError::Core {
            pack,
            found,
            wanted,
        },
        error => PackError::Load {
            pack,
            library,
            source: Box::new(error),
        },
    }
}

fn install(files: &MemFs, pack: &Pack) -> Result<(), Errno> {
    for file in pack.files() {
        if file.path.starts_with("lib/") {
            files.add_static(&file.path, 0o755, MARKER)?;
        } else {
            files.add_file(&file.path, 0o644, file.contents.clone())?;
        }
    }
    Ok(())
}
