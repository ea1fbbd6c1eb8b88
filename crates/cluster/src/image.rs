//! Snapshots as bytes, for other processes of the same program.
//!
//! ```text
//! 8 bytes  MAGIC
//! u32      CRC-32C of everything after it
//! u32, ..  the fingerprint of what new clusters begin with
//! u32      the postmaster's number
//! u32      the port
//! u32, ..  what the caller keeps with it
//! zeros    up to a multiple of ALIGNMENT
//! ..       the kernel (`pglite_oxide_kernel::image`)
//! ```

use std::sync::Arc;

use pglite_oxide_kernel::fs::FileSystem;
use pglite_oxide_kernel::image::{
    ALIGNMENT, ImageBytes, LoadError, LoadOptions, SaveError, SaveOptions, Scope,
};
use pglite_oxide_kernel::net::HostStream;
use pglite_oxide_kernel::{Kernel, Pid};

use crate::error::StartError;
use crate::log::Tail;
use crate::programs;
use crate::snapshot::Snapshot;
use crate::world::{self, DATA};

const MAGIC: &[u8; 8] = b"PGLIMG\0\x04";

/// Why a snapshot cannot be made an image, or an image cannot be used: then the database is to be started in full.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// It has something that images do not hold.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// It is damaged or of another program.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// There is nothing of this program's to build on.
    #[error(transparent)]
    Start(#[from] StartError),
}

const SHORT: LoadError = LoadError::Damaged("it ends too early");

/// Reads numbers and bytes with their lengths, from a place on.
struct Fields<'a>(&'a ImageBytes, u64);

impl Fields<'_> {
    fn take<T>(&mut self, len: u64, see: impl FnOnce(&[u8]) -> T) -> Result<T, LoadError> {
        let end = self.1.checked_add(len).ok_or(SHORT)?;
        let seen = self.0.part(self.1..end)?.look(see)?;
        self.1 = end;
        Ok(seen)
    }

    fn number(&mut self) -> Result<u32, LoadError> {
        let number = self.take(4, |bytes| bytes.try_into().map(u32::from_le_bytes))?;
        number.map_err(|_| SHORT)
    }

    fn bytes(&mut self) -> Result<Vec<u8>, LoadError> {
        let len = self.number()?;
        self.take(u64::from(len), <[u8]>::to_vec)
    }
}

/// A tree that is only named in an image.
type Named = (&'static str, Arc<dyn FileSystem>);

fn trees() -> Result<[Named; 2], StartError> {
    Ok([
        ("installed", programs::of(&[])?.installed),
        ("granted", world::granted()),
    ])
}

/// A snapshot that was in an image, and what belongs to it.
pub struct FromImage {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Its ends of the connections that were kept, in order.
    pub streams: Vec<HostStream>,
    /// What the caller had kept with it.
    pub extra: Vec<u8>,
}

impl Snapshot {
    /// The snapshot as bytes for the programs of `scope`, with connections that it keeps, and `extra`, which means something to the caller.
    ///
    /// # Errors
    /// [`ImageError::Save`], naming what cannot be saved.
    pub fn to_image(
        &self,
        scope: Scope,
        keep: &[&HostStream],
        extra: &[u8],
    ) -> Result<Vec<u8>, ImageError> {
        let kernel = self.kernel().save(&SaveOptions {
            scope,
            files: &[Arc::clone(self.output())],
            trees: &trees()?,
            bases: &[(DATA, world::template_data()?.base())],
            keep,
        })?;
        let mut rest = Vec::with_capacity(kernel.len() + extra.len() + 128);
        let field = |rest: &mut Vec<u8>, bytes: &[u8]| {
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            rest.extend_from_slice(&len.to_le_bytes());
            rest.extend_from_slice(bytes);
        };
        field(&mut rest, crate::template_fingerprint().as_bytes());
        let (postmaster, port) = self.place();
        rest.extend_from_slice(&postmaster.0.to_le_bytes());
        rest.extend_from_slice(&u32::from(port).to_le_bytes());
        field(&mut rest, extra);
        let before = MAGIC.len() + 4 + rest.len();
        rest.resize(rest.len() + before.next_multiple_of(ALIGNMENT) - before, 0);
        rest.extend_from_slice(&kernel);
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&crc32c::crc32c(&rest).to_le_bytes());
        out.extend_from_slice(&rest);
        Ok(out)
    }

    /// The snapshot of an image that this program made, in this process or another one, or another program of the same build.
    ///
    /// # Errors
    /// [`ImageError::Load`] for one that is damaged or of another program.
    pub fn from_image(image: &ImageBytes) -> Result<FromImage, ImageError> {
        Self::read(image, true)
    }

    /// The snapshot of [`crate::built_in_image`], which is as whole as the program that it is a part of.
    ///
    /// # Errors
    /// [`ImageError::Load`] for one of another build.
    pub fn from_built_in(image: &'static [u8]) -> Result<FromImage, ImageError> {
        Self::read(&ImageBytes::new(image), false)
    }

    fn read(image: &ImageBytes, check: bool) -> Result<FromImage, ImageError> {
        let mut fields = Fields(image, 0);
        if fields.take(MAGIC.len() as u64, |bytes| bytes != MAGIC)? {
            return Err(LoadError::Foreign("it is no image").into());
        }
        let sum = fields.number()?;
        // Pieces of it are wanted long after; that they are what was saved is known from here on.
        if check {
            let mut found = 0;
            image
                .tail(fields.1)?
                .each(|piece| found = crc32c::crc32c_append(found, piece))?;
            if found != sum {
                return Err(LoadError::Damaged("its checksum is wrong").into());
            }
        }
        if fields.bytes()? != crate::template_fingerprint().as_bytes() {
            return Err(LoadError::Foreign("its PostgreSQL is of another build").into());
        }
        let postmaster = Pid(fields.number()?.cast_signed());
        let port = u16::try_from(fields.number()?)
            .map_err(|_| LoadError::Damaged("there is no such port"))?;
        let extra = fields.bytes()?;
        let output = Tail::default().sink();
        let kernel = fields.1.next_multiple_of(ALIGNMENT as u64);
        let loaded = Kernel::load(
            &image.tail(kernel)?,
            &LoadOptions {
                machine: programs::of(&[])?.machine,
                files: &[Arc::clone(&output)],
                trees: &trees()?,
                bases: &[(DATA, world::template_data()?.base())],
                test_hooks: false,
                trace: world::is_traced(),
            },
        )?;
        Ok(FromImage {
            snapshot: Self::of_image(loaded.kernel, postmaster, port, output),
            streams: loaded.streams,
            extra,
        })
    }
}
