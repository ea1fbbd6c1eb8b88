//! Where constant data of the running program lies in its file.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::OnceLock;

/// The running program: its file, its inode, and what was mapped when somebody first asked, a line each.
struct Program {
    file: File,
    inode: u64,
    maps: String,
}

/// proc(5): `/proc/self/exe` is the file that was started, also after another has taken its name. It stays mapped as it is.
fn program() -> Option<&'static Program> {
    static PROGRAM: OnceLock<Option<Program>> = OnceLock::new();
    let read = || {
        let maps = fs::read_to_string("/proc/self/maps").ok()?;
        let file = File::open("/proc/self/exe").ok()?;
        let inode = file.metadata().ok()?.ino();
        Some(Program { file, inode, maps })
    };
    PROGRAM.get_or_init(read).as_ref()
}

/// The program's file, and where in it the bytes are that `data` shows; `None` where the host does not tell, or where they cannot be mapped from there.
pub fn place_in_file(data: &[u8]) -> Option<(File, u64)> {
    let Program { file, inode, maps } = program()?;
    let start = data.as_ptr().addr() as u64;
    let offset = maps
        .lines()
        .find_map(|line| offset_in(line, start, data.len() as u64, *inode))?;
    // A file system may give other numbers than the kernel: the bytes decide.
    let page = super::page_size();
    for at in [0, data.len() / 2, data.len().saturating_sub(page)] {
        let wanted = &data[at..data.len().min(at + page)];
        let mut found = vec![0; wanted.len()];
        file.read_exact_at(&mut found, offset + at as u64).ok()?;
        if found != wanted {
            return None;
        }
    }
    let file = file.try_clone().ok()?;
    offset.is_multiple_of(page as u64).then_some((file, offset))
}

/// `START-END PERMISSIONS OFFSET DEVICE INODE PATH`, numbers hexadecimal but the inode: where the range is in the file, if it is in this mapping of it.
fn offset_in(line: &str, start: u64, len: u64, inode: u64) -> Option<u64> {
    let mut words = line.split_ascii_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let hex = |word: &str| u64::from_str_radix(word, 16).ok();
    let (from, to) = (hex(from)?, hex(to)?);
    let permissions = words.next()?;
    let offset = hex(words.next()?)?;
    let mapped: u64 = words.nth(1)?.parse().ok()?;
    // A writable mapping may not be what the file has.
    (from <= start && start + len <= to && mapped == inode && !permissions.contains('w'))
        .then(|| offset + (start - from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_read() {
        let line =
            "55e0c0a00000-55e0c1000000 r--p 00a00000 fe:00 131 /usr/bin/some program (deleted)";
        assert_eq!(
            offset_in(line, 0x55e0_c0a0_1000, 0x1000, 131),
            Some(0xa0_1000)
        );
        assert_eq!(offset_in(line, 0x55e0_c0a0_1000, 0x1000, 132), None);
        assert_eq!(offset_in(line, 0x55e0_c0ff_f000, 0x1001, 131), None);
        assert_eq!(offset_in(line, 0x55e0_c09f_f000, 0x1000, 131), None);
        assert_eq!(
            offset_in(&line.replace("r--p", "rw-p"), 0x55e0_c0a0_1000, 1, 131),
            None
        );
        assert_eq!(offset_in("7ffd-7ffe r--p", 0x7ffd, 1, 0), None);
    }

    #[test]
    fn memory_that_is_no_constant_is_in_no_file() {
        let data = vec![1; 3 * crate::sys::page_size()];
        assert!(place_in_file(&data).is_none());
    }
}
