//! From a directory of the guest to a tree image.

use pglite_oxide_assets::TreeWriter;
use pglite_oxide_kernel::file::{File, FileKind};
use pglite_oxide_kernel::fs::OpenHow;
use pglite_oxide_kernel::fs::vfs::Vfs;
use sha2::{Digest as _, Sha256};

use crate::Failure;

/// Files of a running server that a template must not have.
const LEFT_OUT: [&str; 2] = ["postmaster.pid", "postmaster.opts"];

/// Everything below `root`, as an image.
pub(crate) fn tree(vfs: &Vfs, root: &str) -> Result<Vec<u8>, Failure> {
    let mut writer = TreeWriter::new();
    writer.directory("", vfs.stat("/", root, true)?.mode)?;
    add(vfs, root, "", &mut writer)?;
    for needed in [
        "PG_VERSION",
        "global/pg_control",
        "base/1/PG_VERSION",
        "postgresql.conf",
    ] {
        if vfs.stat(root, needed, true).is_err() {
            return Err(format!("initdb left no {needed}").into());
        }
    }
    Ok(writer.finish(|bytes| Sha256::digest(bytes).into())?)
}

fn add(vfs: &Vfs, root: &str, prefix: &str, writer: &mut TreeWriter) -> Result<(), Failure> {
    let directory = format!("{root}/{prefix}");
    for entry in vfs.read_dir("/", directory.trim_end_matches('/'))? {
        let path = if prefix.is_empty() {
            entry.name.clone()
        } else {
            format!("{prefix}/{}", entry.name)
        };
        if LEFT_OUT.contains(&path.as_str()) {
            continue;
        }
        let full = format!("{root}/{path}");
        let stat = vfs.stat("/", &full, false)?;
        match stat.kind {
            FileKind::Directory => {
                writer.directory(&path, stat.mode)?;
                add(vfs, root, &path, writer)?;
            }
            FileKind::Regular => {
                let (file, _) = vfs.open(
                    "/",
                    &full,
                    &OpenHow {
                        read: true,
                        ..OpenHow::default()
                    },
                )?;
                writer.file(&path, stat.mode, contents(&*file, stat.size)?)?;
            }
            FileKind::Symlink => writer.symlink(&path, &vfs.read_link("/", &full)?)?,
            other => return Err(format!("{full} is a {other:?}").into()),
        }
    }
    Ok(())
}

fn contents(file: &dyn File, size: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = vec![0; usize::try_from(size)?];
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(done as u64, &mut bytes[done..])? {
            0 => return Err(format!("a file ended after {done} of {size} bytes").into()),
            n => done += n,
        }
    }
    Ok(bytes)
}
