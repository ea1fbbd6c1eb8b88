//! What a pack says about itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{MAX_FILES, MAX_PATH};

/// The version of the manifest's form. Readers refuse any other.
pub const FORMAT: u32 = 1;
/// The manifest's name in the archive.
pub const MANIFEST: &str = "manifest.json";

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The extension's name in SQL.
    pub name: String,
    /// The version that `CREATE EXTENSION` creates.
    pub version: String,
    /// The fingerprint of the server it is for, hexadecimal.
    pub core: String,
    /// The target triple of its shared objects.
    pub target: String,
    /// Its shared objects.
    pub libraries: Vec<Library>,
    /// Extensions it requires, by their names in SQL.
    pub requires: Vec<String>,
    /// Libraries that must be in `shared_preload_libraries`.
    pub preload: Vec<String>,
    /// All files but this one, by their paths in the archive.
    pub files: BTreeMap<String, Member>,
}

/// A shared object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Library {
    /// As `LOAD` and SQL scripts name it: `$libdir/NAME`.
    pub name: String,
    /// Its path in the archive.
    pub file: String,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its length.
    pub bytes: u64,
    /// The sha256 of its contents, hexadecimal.
    pub sha256: String,
}

/// Why a path cannot be that of a file in a pack.
pub(crate) fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > MAX_PATH {
        return Err("is empty or too long");
    }
    if path.starts_with('/') {
        return Err("is absolute");
    }
    if path.contains(['\0', '\\', ':']) || path.chars().any(char::is_control) {
        return Err("has characters that are no part of a plain path");
    }
    for part in path.split('/') {
        match part {
            "" | "." => return Err("has an empty component"),
            ".." => return Err("leads out of its directory"),
            _ => {}
        }
    }
    Ok(())
}

/// Whether it can be the name of a library or an extension: PostgreSQL's own rule for extensions, and no path.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 64
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

impl Manifest {
    /// Checks that it makes sense in itself; what is wrong otherwise.
    pub(crate) fn check(&self) -> Result<(), String> {
        for name in [&self.name]
            .into_iter()
            .chain(&self.requires)
            .chain(self.libraries.iter().map(|library| &library.name))
        {
            if !is_name(name) {
                return Err(format!("{name:?} is no name of an extension or library"));
            }
        }
        if self.files.len() > MAX_FILES {
            return Err(format!("{} files are too many", self.files.len()));
        }
        for path in self.files.keys() {
            check_path(path).map_err(|reason| format!("the path {path:?} {reason}"))?;
            if !path.starts_with("lib/") && !path.starts_with("share/") {
                return Err(format!("{path:?} is neither below lib nor below share"));
            }
        }
        let mut objects = BTreeSet::new();
        for library in &self.libraries {
            if library.file != format!("lib/{}.so", library.name)
                || !self.files.contains_key(&library.file)
                || !objects.insert(&library.file)
            {
                return Err(format!(
                    "the library {} has no file of its own",
                    library.name
                ));
            }
        }
        if let Some(path) = self
            .files
            .keys()
            .find(|path| path.starts_with("lib/") && !objects.contains(path))
        {
            return Err(format!("{path} is no library"));
        }
        if let Some(name) = self
            .preload
            .iter()
            .find(|name| !self.libraries.iter().any(|library| library.name == **name))
        {
            return Err(format!("there is no library {name} to preload"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        check_path("share/extension/a--1.0.sql").unwrap();
        for path in [
            "",
            "/etc/passwd",
            "../a",
            "share/../../a",
            "share//a",
            "./a",
            "a/.",
            "c:\\a",
            "a\0b",
            "a\nb",
            "share/",
        ] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        assert!(check_path(&"a".repeat(MAX_PATH + 1)).is_err());
    }

    #[test]
    fn names_are_postgres_own() {
        assert!(is_name("uuid-ossp") && is_name("a_1"));
        for name in ["", "-a", "a-", "a--b", "a/b", "a.b", "ä"] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
