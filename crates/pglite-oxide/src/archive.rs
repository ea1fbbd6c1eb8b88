//! Data directories as `tar` archives.

use std::io::{self, Read as _};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use pglite_oxide_cluster::{DataDirectory, DataEntry};

use crate::error::{Error, Result};
use crate::session::Pglite;

/// How [`Pglite::dump_data_dir_with_format`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DataDirArchiveFormat {
    /// POSIX tar.
    Tar,
    /// The same, compressed with gzip.
    #[default]
    TarGz,
}

/// What a gzip file begins with (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The error of an archive that cannot be used.
fn unusable(reason: impl ToString) -> Error {
    Error::argument("data directory archive", reason.to_string())
}

fn write(data: &DataDirectory, out: impl io::Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(out);
    data.walk(|path, entry, bytes| {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        match entry {
            DataEntry::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o700);
                header.set_size(0);
                archive.append_data(&mut header, format!("{path}/"), io::empty())
            }
            DataEntry::File(_) => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(0o600);
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, path, bytes)
            }
            DataEntry::Symlink(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                archive.append_link(&mut header, path, target)
            }
        }
        .map_err(Failed)
    })
    .map_err(|failed: Failed| failed.0)?;
    archive.into_inner()?.flush()
}

struct Failed(io::Error);

impl<E: Into<io::Error>> From<E> for Failed
where
    E: std::error::Error,
{
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// Reads an archive of either format.
pub(crate) fn read(bytes: &[u8]) -> Result<DataDirectory> {
    let plain;
    let bytes = if bytes.starts_with(&GZIP_MAGIC) {
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(bytes)
            .read_to_end(&mut unpacked)
            .map_err(unusable)?;
        plain = unpacked;
        plain.as_slice()
    } else {
        bytes
    };
    let data = DataDirectory::new();
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries().map_err(unusable)? {
        let mut entry = entry.map_err(unusable)?;
        let path = entry.path().map_err(unusable)?;
        let path = path
            .to_str()
            .ok_or_else(|| unusable("a name is not in UTF-8"))?
            .trim_start_matches("./")
            .trim_end_matches('/')
            .to_owned();
        if path.is_empty() || path == "." {
            continue;
        }
        let mut contents = Vec::new();
        let kind = match entry.header().entry_type() {
            tar::EntryType::Directory => DataEntry::Directory,
            tar::EntryType::Regular | tar::EntryType::GNUSparse => {
                entry.read_to_end(&mut contents).map_err(unusable)?;
                DataEntry::File(contents.len() as u64)
            }
            tar::EntryType::Symlink => {
                let target = entry.link_name().map_err(unusable)?;
                let target = target
                    .as_deref()
                    .and_then(std::path::Path::to_str)
                    .ok_or_else(|| unusable(format!("{path}: a link without a target")))?;
                DataEntry::Symlink(target.to_owned())
            }
            other => return Err(unusable(format!("{path}: an entry of the kind {other:?}"))),
        };
        data.add(&path, kind, contents)
            .map_err(|error| unusable(format!("{path}: {error}")))?;
    }
    match data.read("PG_VERSION") {
        Ok(version) if version.starts_with(b"18") => Ok(data),
        Ok(version) => Err(unusable(format!(
            "it is of PostgreSQL {}: dump it with that version and restore it here",
            String::from_utf8_lossy(&version).trim()
        ))),
        Err(_) => Err(unusable("it has no PG_VERSION, so it is no data directory")),
    }
}

impl Pglite {
    /// The whole cluster's data directory as a compressed archive, as it is at this instant: what [`crate::PgliteBuilder::load_data_dir_archive`] takes. The cluster goes
    /// on meanwhile, but for the milliseconds it takes to copy the files in memory.
    ///
    /// # Errors
    /// [`Error::Snapshot`] when files cannot be read, or without memory.
    pub fn dump_data_dir(&mut self) -> Result<Vec<u8>> {
        self.dump_data_dir_with_format(DataDirArchiveFormat::default())
    }

    /// Writes the whole cluster's data, as it is at this instant, to a new root directory, for [`Pglite::open`]. It recovers when it is first opened and has everything that was committed. Sessions stand
    /// still while the files are copied; where the host's file system can share blocks (btrfs, XFS), that is short. Blocks until the copy is durable.
    ///
    /// # Errors
    /// [`Error::Backup`] when it cannot be written, or the directory is not empty.
    pub fn backup(&mut self, to: impl AsRef<Path>) -> Result<()> {
        Ok(self.connector().cluster().backup(to.as_ref())?)
    }

    /// [`Self::dump_data_dir`] in a format of choice.
    ///
    /// # Errors
    /// As there.
    pub fn dump_data_dir_with_format(&mut self, format: DataDirArchiveFormat) -> Result<Vec<u8>> {
        let data = self.connector().cluster().data_directory()?;
        let mut out = Vec::new();
        match format {
            DataDirArchiveFormat::Tar => write(&data, &mut out),
            DataDirArchiveFormat::TarGz => {
                let mut packed = GzEncoder::new(&mut out, Compression::fast());
                write(&data, &mut packed).and_then(|()| packed.finish().map(drop))
            }
        }
        .map_err(Error::other)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn archives_come_back_and_others_are_refused() {
        let data = DataDirectory::new();
        data.add("PG_VERSION", DataEntry::File(3), b"18\n".to_vec())
            .unwrap();
        data.add("base", DataEntry::Directory, Vec::new()).unwrap();
        data.add(
            "base/link",
            DataEntry::Symlink("/elsewhere".to_owned()),
            Vec::new(),
        )
        .unwrap();
        let mut tar = Vec::new();
        write(&data, &mut tar).unwrap();
        let back = read(&tar).unwrap();
        assert_eq!(back.read("PG_VERSION").unwrap(), b"18\n");
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&tar).unwrap();
        let packed = packed.finish().unwrap();
        read(&packed).unwrap();
        for bad in [
            &packed[..packed.len() / 2],
            &tar[..700],
            b"no archive at all",
            b"",
        ] {
            assert!(matches!(read(bad), Err(Error::InvalidArgument { .. })));
        }
    }
}
