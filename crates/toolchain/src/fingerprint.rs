//! What a step's result depends on, as one hash.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A sha256, in lower-case hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)))
    }

    /// Of a file's bytes, read in pieces.
    pub fn of_file(path: &Path) -> Result<Self> {
        let mut file =
            std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 18];
        loop {
            match std::io::Read::read(&mut file, &mut buffer)
                .with_context(|| format!("reading {}", path.display()))?
            {
                0 => return Ok(Self(hex(&hash.finalize()))),
                n => hash.update(&buffer[..n]),
            }
        }
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 16 digits: names directories.
    pub fn short(&self) -> &str {
        &self.0[..16.min(self.0.len())]
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// The named inputs of a step. Order matters not: they are sorted before hashing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Inputs(std::collections::BTreeMap<String, String>);

impl Inputs {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A version, a flag, another step's fingerprint: anything that has a short text.
    #[must_use]
    pub fn value(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.0.insert(name.into(), value.to_string());
        self
    }

    /// The result of another step.
    #[must_use]
    pub fn step(self, output: &crate::cache::Output) -> Self {
        self.value(
            format!("step {}", output.record.step),
            &output.record.fingerprint,
        )
    }

    /// The contents of one small file.
    pub fn file(self, name: impl Into<String>, path: &Path) -> Result<Self> {
        let print = Fingerprint::of_file(path)?;
        Ok(self.value(name, print))
    }

    /// Names and contents of all files below a small directory; nothing if it is not there. Hidden files and editors' backups do not count.
    pub fn tree(mut self, name: &str, dir: &Path) -> Result<Self> {
        let mut stack = vec![dir.to_path_buf()];
        while let Some(next) = stack.pop() {
            let Ok(list) = std::fs::read_dir(&next) else {
                continue;
            };
            for entry in list {
                let entry = entry?;
                let path = entry.path();
                let file_name = entry.file_name().to_string_lossy().into_owned();
                if file_name.starts_with('.') || file_name.ends_with('~') {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    stack.push(path);
                } else {
                    let relative = path
                        .strip_prefix(dir)
                        .unwrap_or(&path)
                        .display()
                        .to_string();
                    let print = Fingerprint::of_file(&path)?;
                    self = self.value(format!("{name}/{relative}"), print);
                }
            }
        }
        Ok(self)
    }

    /// Their names and texts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The hash over all of them.
    pub fn fingerprint(&self, step: &str) -> Fingerprint {
        let mut text = format!("{step}\0");
        for (name, value) in &self.0 {
            text.push_str(&format!("{}:{name}={}:{value}\n", name.len(), value.len()));
        }
        Fingerprint::of(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depends_on_names_values_and_step_but_not_on_order() {
        let one = Inputs::new().value("a", 1).value("b", 2);
        let other = Inputs::new().value("b", 2).value("a", 1);
        assert_eq!(one.fingerprint("x"), other.fingerprint("x"));
        assert_ne!(one.fingerprint("x"), one.fingerprint("y"));
        assert_ne!(
            one.fingerprint("x"),
            Inputs::new().value("a", 2).value("b", 2).fingerprint("x")
        );
        // A value cannot pose as another entry.
        assert_ne!(
            Inputs::new().value("a", "1\n1:b=1:2").fingerprint("x"),
            Inputs::new()
                .value("a", "1")
                .value("b", "2")
                .fingerprint("x")
        );
    }

    #[test]
    fn known_hash() {
        assert_eq!(
            Fingerprint::of(b"abc").as_str(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
