//! ICU's data package: a header, a table of contents sorted by name, and the items one behind the other.
//!
//! The release comes with the whole package built, for little-endian machines. What collation, case mapping and locale names use of it is an eighth, and is copied here item by item,
//! so that none of ICU's own tools has to be built. The format is that of `ucmndata.cpp`: offsets count from the end of the header.

use anyhow::{Context as _, Result, bail};

/// Items begin at multiples of this.
const ALIGNMENT: usize = 16;
/// Where the header says what follows: `CmnD`.
const FORMAT: std::ops::Range<usize> = 12..16;
/// Where the header says that numbers are little-endian and text is ASCII: both 0.
const MACHINE: std::ops::Range<usize> = 8..10;

/// The package in `bytes` with only those items whose names (without the package's own, such as `coll/de.res`) `wanted` takes. There must be some.
pub(crate) fn only(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Vec<u8>> {
    let (header, items) = read(bytes)?;
    let mut kept = Vec::new();
    for (name, item) in items {
        let (_, short) = name
            .split_once('/')
            .with_context(|| format!("{name} is in no package"))?;
        if wanted(short) {
            kept.push((name, item));
        }
    }
    if kept.is_empty() {
        bail!("nothing is left of the package");
    }
    write(header, &kept)
}

/// A name and the bytes that belong to it.
type Item<'a> = (&'a str, &'a [u8]);

/// The header, and the items.
fn read(bytes: &[u8]) -> Result<(&[u8], Vec<Item<'_>>)> {
    let cut = "a data package that ends early";
    let size = usize::from(u16::from_le_bytes(bytes.get(..2).context(cut)?.try_into()?));
    let header = bytes.get(..size).context(cut)?;
    if header.get(FORMAT) != Some(b"CmnD") || header.get(MACHINE) != Some(&[0, 0]) {
        bail!("no data package for little-endian machines");
    }
    let body = &bytes[size..];
    let number = |at: usize| -> Result<usize> {
        let word = body.get(at..at + 4).context(cut)?;
        Ok(u32::from_le_bytes(word.try_into()?) as usize)
    };
    let count = number(0)?;
    let mut items = Vec::new();
    for index in 0..count {
        let name = body.get(number(4 + 8 * index)?..).context(cut)?;
        let end = name.iter().position(|&byte| byte == 0).context(cut)?;
        let start = number(8 + 8 * index)?;
        let stop = if index + 1 < count {
            number(16 + 8 * index)?
        } else {
            body.len()
        };
        let item = body.get(start..stop).context(cut)?;
        items.push((std::str::from_utf8(&name[..end])?, item));
    }
    Ok((header, items))
}

fn write(header: &[u8], items: &[Item<'_>]) -> Result<Vec<u8>> {
    let mut names = Vec::new();
    let mut name_offsets = Vec::new();
    let table = 4 + 8 * items.len();
    for (name, _) in items {
        name_offsets.push(u32::try_from(table + names.len())?);
        names.extend_from_slice(name.as_bytes());
        names.push(0);
    }
    let mut at = (table + names.len()).next_multiple_of(ALIGNMENT);
    let mut out = header.to_vec();
    out.extend(u32::try_from(items.len())?.to_le_bytes());
    for ((_, item), name_offset) in items.iter().zip(name_offsets) {
        out.extend(name_offset.to_le_bytes());
        out.extend(u32::try_from(at)?.to_le_bytes());
        at += item.len().next_multiple_of(ALIGNMENT);
    }
    out.extend(names);
    for (_, item) in items {
        let end = (out.len() - header.len()).next_multiple_of(ALIGNMENT);
        out.resize(header.len() + end, 0);
        out.extend_from_slice(item);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(items: &[(&str, &[u8])]) -> Vec<u8> {
        let mut header = vec![0; 32];
        header[0] = 32;
        header[FORMAT].copy_from_slice(b"CmnD");
        write(&header, items).unwrap()
    }

    #[test]
    fn what_is_wanted_is_kept() {
        let whole = package(&[
            ("p/coll/de.res", &[1; 16]),
            ("p/lang/de.res", &[2; 48]),
            ("p/root.res", &[3; 20]),
        ]);
        assert_eq!(only(&whole, |_| true).unwrap(), whole);
        let part = only(&whole, |name| name != "lang/de.res").unwrap();
        let (header, items) = read(&part).unwrap();
        assert_eq!(header.len(), 32);
        assert_eq!(items[0], ("p/coll/de.res", &[1; 16][..]));
        assert_eq!(items[1], ("p/root.res", &[3; 20][..]));
        assert!(only(&whole, |_| false).is_err());
    }

    #[test]
    fn bad_packages_are_errors() {
        let whole = package(&[("p/a", &[1; 16])]);
        for len in [0, 1, 20, 34, 40, 44] {
            assert!(read(&whole[..len]).is_err(), "{len}");
        }
        let mut other = whole;
        other[8] = 1;
        assert!(read(&other).is_err());
    }
}
