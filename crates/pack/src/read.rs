//! Reading and checking a pack.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use crate::error::PackError;
use crate::manifest::{FORMAT, MANIFEST, Manifest, check_path};
use crate::{MAX_BYTES, MAX_FILES, MAX_MANIFEST};

/// What a gzip file begins with (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A pack whose files are those that its manifest lists. Cheap to clone; two are equal if they were read from equal bytes.
#[derive(Clone)]
pub struct Pack(Arc<Whole>);

struct Whole {
    sha256: String,
    manifest: Manifest,
    files: Vec<PackFile>,
}

/// One file of a pack.
#[derive(Clone, Debug)]
pub struct PackFile {
    /// Relative, with `/` between names.
    pub path: String,
    /// Its contents.
    pub contents: Vec<u8>,
}

/// The sha256 of `bytes` in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Pack {
    /// Reads a file.
    ///
    /// # Errors
    /// [`PackError`], of its first group.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PackError> {
        let path = path.as_ref();
        let failed = |source| PackError::Read {
            path: path.to_owned(),
            source,
        };
        let name = path.display().to_string();
        let file = File::open(path).map_err(failed)?;
        let claimed = file.metadata().map_err(failed)?.len();
        check_size(&name, "the file", claimed, MAX_BYTES)?;
        let mut bytes = Vec::new();
        // One more than is allowed, in case it grows.
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        Self::read(&name, &bytes)
    }

    /// Reads the bytes of a pack; `name` is what errors call it.
    ///
    /// # Errors
    /// [`PackError`], of its first group.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, PackError> {
        check_size(name, "the file", bytes.len() as u64, MAX_BYTES)?;
        if !bytes.starts_with(&GZIP_MAGIC) {
            return Err(PackError::NotAPack {
                pack: name.to_owned(),
                reason: "it is not compressed with gzip".to_owned(),
            });
        }
        let reader = Reader { name };
        let (manifest, files) = reader.members(GzDecoder::new(bytes))?;
        Ok(Self(Arc::new(Whole {
            sha256: sha256(bytes),
            manifest,
            files,
        })))
    }

    /// What it says about itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// Its files but the manifest.
    #[must_use]
    pub fn files(&self) -> &[PackFile] {
        &self.0.files
    }

    /// The contents of one of them.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        let found = self.0.files.iter().find(|file| file.path == path)?;
        Some(&found.contents)
    }

    /// The sha256 of the whole, hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.0.sha256
    }
}

impl PartialEq for Pack {
    fn eq(&self, other: &Self) -> bool {
        self.0.sha256 == other.0.sha256
    }
}

impl Eq for Pack {}

impl fmt::Debug for Pack {
    /// Name, version and hash: what tells one from another.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Pack({} {} {})",
            self.0.manifest.name, self.0.manifest.version, self.0.sha256
        )
    }
}

fn check_size(pack: &str, what: &str, claimed: u64, limit: u64) -> Result<(), PackError> {
    if claimed <= limit {
        return Ok(());
    }
    Err(PackError::TooLarge {
        pack: pack.to_owned(),
        what: what.to_owned(),
        claimed,
        limit,
    })
}

struct Reader<'a> {
    name: &'a str,
}

impl Reader<'_> {
    fn pack(&self) -> String {
        self.name.to_owned()
    }

    /// An error of the decompressor or of the archive's form.
    fn broken(&self, error: &io::Error) -> PackError {
        let pack = self.pack();
        let mut text = error.to_string();
        if let Some(inner) = error.get_ref().and_then(|inner| inner.source()) {
            text = format!("{text}: {inner}");
        }
        // tar tells of what is cut off by general errors.
        let cut = ["unexpected EOF", "failed to read entire block"];
        if error.kind() == io::ErrorKind::UnexpectedEof || cut.iter().any(|cut| text.contains(cut))
        {
            return PackError::Truncated { pack, reason: text };
        }
        PackError::NotAPack { pack, reason: text }
    }

    fn members(&self, stream: impl Read) -> Result<(Manifest, Vec<PackFile>), PackError> {
        let limited = Limited {
            inner: stream,
            left: MAX_BYTES,
        };
        let mut archive = tar::Archive::new(limited);
        // Raw: long names and other extensions come as members of their own kinds, which are refused.
        let entries = archive.entries().map_err(|error| self.broken(&error))?;
        let mut manifest: Option<Manifest> = None;
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for entry in entries.raw(true) {
            let mut entry = entry.map_err(|error| self.refuse(&error))?;
            let member = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = std::str::from_utf8(&entry.path_bytes())
                .map_err(|_| "is not UTF-8")
                .and_then(|path| check_path(path).map(|()| path.to_owned()))
                .map_err(|reason| PackError::Path {
                    pack: self.pack(),
                    member: member.clone(),
                    reason,
                })?;
            if let Some(kind) = other_kind(entry.header().entry_type()) {
                return Err(PackError::Kind {
                    pack: self.pack(),
                    member,
                    kind,
                });
            }
            let claimed = entry.size();
            let Some(manifest) = &manifest else {
                if path != MANIFEST {
                    return Err(PackError::NotAPack {
                        pack: self.pack(),
                        reason: format!("its first member is {path:?}, not {MANIFEST}"),
                    });
                }
                check_size(self.name, MANIFEST, claimed, MAX_MANIFEST)?;
                let text = self.contents(&mut entry, MANIFEST, claimed)?;
                manifest = Some(self.manifest(&text)?);
                continue;
            };
            let stale = |reason| PackError::Stale {
                pack: self.pack(),
                reason,
            };
            check_size(self.name, &path, claimed, MAX_BYTES)?;
            let wanted = manifest
                .files
                .get(&path)
                .ok_or_else(|| stale(format!("it does not list {path}")))?;
            if wanted.bytes != claimed {
                return Err(stale(format!(
                    "{path} has {claimed} bytes, it lists {}",
                    wanted.bytes
                )));
            }
            let contents = self.contents(&mut entry, &path, claimed)?;
            let found = sha256(&contents);
            if found != wanted.sha256 {
                return Err(PackError::Hash {
                    pack: self.pack(),
                    member: path,
                    found,
                    wanted: wanted.sha256.clone(),
                });
            }
            if files.len() == MAX_FILES || files.insert(path.clone(), contents).is_some() {
                return Err(stale(format!(
                    "{path} is there twice, or there are too many files"
                )));
            }
        }
        let manifest = manifest.ok_or_else(|| PackError::Truncated {
            pack: self.pack(),
            reason: "it ends before its manifest".to_owned(),
        })?;
        if let Some(path) = manifest
            .files
            .keys()
            .find(|path| !files.contains_key(*path))
        {
            return Err(PackError::Truncated {
                pack: self.pack(),
                reason: format!("it ends before {path}, which its manifest lists"),
            });
        }
        // The archive's end was seen; what follows in the stream is only its padding and the checksum, which must be right.
        let mut rest = archive.into_inner();
        io::copy(&mut rest, &mut io::sink()).map_err(|error| self.refuse(&error))?;
        let files = files
            .into_iter()
            .map(|(path, contents)| PackFile { path, contents })
            .collect();
        Ok((manifest, files))
    }

    fn manifest(&self, text: &[u8]) -> Result<Manifest, PackError> {
        let invalid = |reason| PackError::Manifest {
            pack: self.pack(),
            reason,
        };
        // The version first: another form may lack what this one has.
        let value: serde_json::Value =
            serde_json::from_slice(text).map_err(|error| invalid(error.to_string()))?;
        let found = value
            .get("format")
            .and_then(serde_json::Value::as_u64)
            .and_then(|found| u32::try_from(found).ok())
            .ok_or_else(|| invalid("it has no format".to_owned()))?;
        if found != FORMAT {
            return Err(PackError::Format {
                pack: self.pack(),
                found,
                wanted: FORMAT,
            });
        }
        let manifest: Manifest =
            serde_json::from_value(value).map_err(|error| invalid(error.to_string()))?;
        manifest.check().map_err(invalid)?;
        Ok(manifest)
    }

    /// Reads what is there: a claim of the header alone takes no memory.
    fn contents(
        &self,
        entry: &mut impl Read,
        path: &str,
        claimed: u64,
    ) -> Result<Vec<u8>, PackError> {
        let mut contents = Vec::new();
        entry
            .read_to_end(&mut contents)
            .map_err(|error| self.refuse(&error))?;
        if (contents.len() as u64) < claimed {
            return Err(PackError::Truncated {
                pack: self.pack(),
                reason: format!("it ends in {path}"),
            });
        }
        Ok(contents)
    }

    fn refuse(&self, error: &io::Error) -> PackError {
        if error.kind() == io::ErrorKind::FileTooLarge || error.to_string().contains(TOO_LARGE) {
            return PackError::TooLarge {
                pack: self.pack(),
                what: "what it unpacks to".to_owned(),
                claimed: MAX_BYTES + 1,
                limit: MAX_BYTES,
            };
        }
        self.broken(error)
    }
}

/// What a member is, if it is no plain file.
fn other_kind(kind: EntryType) -> Option<String> {
    Some(match kind {
        EntryType::Regular => return None,
        EntryType::Symlink => "a symbolic link".to_owned(),
        EntryType::Link => "a hard link".to_owned(),
        EntryType::Directory => "a directory".to_owned(),
        EntryType::Char | EntryType::Block | EntryType::Fifo => "a device".to_owned(),
        other => format!("of the kind {other:?}"),
    })
}

const TOO_LARGE: &str = "more than a pack may unpack to";

/// Ends with an error instead of unpacking more than is allowed.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.left = self
            .left
            .checked_sub(n as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, TOO_LARGE))?;
        Ok(n)
    }
}
