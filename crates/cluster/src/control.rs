//! A fresh system identifier for a cluster made from the template, as `initdb` would have given it.
//!
//! The identifier is the first field of `ControlFileData` (`src/include/catalog/pg_control.h`), guarded by a CRC-32C in its last field, and is repeated in the long header of a WAL
//! segment's first page (`XLogLongPageHeaderData`, `src/include/access/xlog_internal.h`).

use std::time::{SystemTime, UNIX_EPOCH};

use pglite_oxide_kernel::Errno;
use pglite_oxide_kernel::fs::{FileSystem, OpenHow};

use crate::world::errno;

/// Where the control file is.
const CONTROL: &str = "global/pg_control";
/// Its bytes, at most.
const CONTROL_MAX: usize = 8192;
/// Characters of a WAL segment's name.
const WAL_NAME: usize = 24;
/// Offset of `xlp_sysid` in a WAL segment.
const WAL_IDENTIFIER: usize = 24;
/// Flag in `xlp_info` (offset 2): the header is a long one.
const LONG_HEADER: u16 = 2;

/// An identifier made as `BootStrapXLOG` does: seconds, microseconds, and bits that differ between clusters of the same moment.
pub(crate) fn new_identifier(salt: u32) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.as_secs() << 32 | u64::from(now.subsec_micros()) << 12 | u64::from(salt & 0xfff)
}

/// True for the name of a WAL segment.
fn is_segment(name: &str) -> bool {
    name.len() == WAL_NAME
}

/// The contents of a file that must differ between clusters, with this identifier; `None` for those that do not.
pub(crate) fn personal(path: &str, contents: &[u8], identifier: u64) -> Option<Vec<u8>> {
    let change: fn(&mut [u8], u64) -> bool = if path == CONTROL {
        set_in_control
    } else if path.strip_prefix("pg_wal/").is_some_and(is_segment) {
        set_in_wal
    } else {
        return None;
    };
    let mut changed = contents.to_vec();
    change(&mut changed, identifier).then_some(changed)
}

/// Puts `identifier` into the files of a data directory that have one.
pub(crate) fn put_into(files: &dyn FileSystem, identifier: u64) -> Result<(), Errno> {
    let how = OpenHow {
        read: true,
        write: true,
        ..OpenHow::default()
    };
    let open = |path: &str| files.open(path, &how).map_err(errno);
    let file = open(CONTROL)?;
    let mut text = vec![0; CONTROL_MAX];
    let len = file.read_at(0, &mut text)?;
    if set_in_control(&mut text[..len], identifier) {
        file.write_at(0, &text[..len])?;
    }
    for entry in files.read_dir("pg_wal").map_err(errno)? {
        if !is_segment(&entry.name) {
            continue;
        }
        let file = open(&format!("pg_wal/{}", entry.name))?;
        let mut page = [0; WAL_IDENTIFIER + 8];
        let len = file.read_at(0, &mut page)?;
        if set_in_wal(&mut page[..len], identifier) {
            file.write_at(0, &page[..len])?;
        }
    }
    Ok(())
}

/// Puts `identifier` into the contents of `global/pg_control`; false if they are not as expected, and then nothing is changed.
pub(crate) fn set_in_control(file: &mut [u8], identifier: u64) -> bool {
    let Some(crc_at) = crc_offset(file) else {
        return false;
    };
    file[..8].copy_from_slice(&identifier.to_le_bytes());
    let crc = crc32c::crc32c(&file[..crc_at]);
    file[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
    true
}

/// Puts `identifier` into the first page of a WAL segment; false if it has no long header.
pub(crate) fn set_in_wal(page: &mut [u8], identifier: u64) -> bool {
    let long = page
        .get(2..4)
        .is_some_and(|info| u16::from_le_bytes([info[0], info[1]]) & LONG_HEADER != 0);
    match page.get_mut(WAL_IDENTIFIER..WAL_IDENTIFIER + 8) {
        Some(field) if long => {
            field.copy_from_slice(&identifier.to_le_bytes());
            true
        }
        _ => false,
    }
}

/// Where the checksum is: right behind the bytes that it is the checksum of. Its offset changes between releases.
fn crc_offset(file: &[u8]) -> Option<usize> {
    (64..512.min(file.len().saturating_sub(4)))
        .step_by(4)
        .find(|&at| {
            let stored = u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]);
            stored != 0 && stored == crc32c::crc32c(&file[..at])
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_follows_the_identifier() {
        let mut file = vec![7_u8; 8192];
        let crc = crc32c::crc32c(&file[..296]);
        file[296..300].copy_from_slice(&crc.to_le_bytes());
        assert!(set_in_control(&mut file, 0x0123_4567_89ab_cdef));
        assert_eq!(file[..8], 0x0123_4567_89ab_cdef_u64.to_le_bytes());
        assert_eq!(crc_offset(&file), Some(296));
        assert!(!set_in_control(&mut [0; 8192], 1), "no checksum, no change");
    }

    #[test]
    fn only_long_headers_have_one() {
        let mut page = vec![0_u8; 64];
        assert!(!set_in_wal(&mut page, 5));
        page[2] = 2;
        assert!(set_in_wal(&mut page, 5));
        assert_eq!(page[24..32], 5_u64.to_le_bytes());
        assert_ne!(new_identifier(1), new_identifier(2));
    }
}
