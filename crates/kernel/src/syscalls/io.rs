//! Moving bytes: `read`, `write` and their relatives, straight between guest memory and the file.
//!
//! The blocking mode of streams is made here: [`File`](crate::file::File)s answer `EAGAIN`, this sleeps.

use std::io::{IoSlice, IoSliceMut};

use super::Args;
use crate::abi::O_APPEND;
use crate::errno::{Errno, SysResult};
use crate::file::{OpenFile, Ready};
use crate::memory::{AddressSpace, GuestAddr};
use crate::process::Process;
use crate::process::signal::SIGPIPE;
use crate::wait::{lock, wait_until};

/// Most bytes one call moves, as on Linux.
const MAX_TRANSFER: u32 = 0x7fff_f000;
/// Most buffers of one call (`IOV_MAX`).
const MAX_BUFFERS: u32 = 1024;

fn result(n: usize) -> SysResult {
    u32::try_from(n).map_err(|_| Errno::EOVERFLOW)
}

/// Reads from a stream, sleeping until there is something unless the description is in non-blocking mode.
pub(crate) fn read_stream(
    process: &Process,
    open: &OpenFile,
    out: &mut [u8],
) -> Result<usize, Errno> {
    if let Some(outcome) = super::poll::read_signals(process, open, out) {
        return outcome;
    }
    if open.nonblocking() {
        return open.file.read(out);
    }
    let Some(source) = open.file.wake_source(Ready::IN) else {
        return open.file.read(out);
    };
    wait_until(process, &[source], None, || match open.file.read(out) {
        Err(Errno::EAGAIN) => Ok(None),
        other => other.map(Some),
    })
}

/// Writes to a stream: all of it unless in non-blocking mode; less when a signal or an error comes after some bytes. `EPIPE` raises `SIGPIPE`.
pub(crate) fn write_stream(
    process: &Process,
    open: &OpenFile,
    bytes: &[u8],
) -> Result<usize, Errno> {
    let mut done = 0;
    let outcome = loop {
        let rest = &bytes[done..];
        let step = match open.file.wake_source(Ready::OUT) {
            Some(source) if !open.nonblocking() => {
                wait_until(process, &[source], None, || match open.file.write(rest) {
                    Err(Errno::EAGAIN) => Ok(None),
                    other => other.map(Some),
                })
            }
            _ => open.file.write(rest),
        };
        match step {
            Ok(n) => {
                done += n.min(rest.len());
                if done == bytes.len() || n == 0 || open.nonblocking() {
                    break Ok(done);
                }
            }
            Err(_) if done > 0 => break Ok(done),
            Err(error) => break Err(error),
        }
    };
    if outcome == Err(Errno::EPIPE) {
        process.raise(SIGPIPE);
    }
    outcome
}

/// Where a transfer takes place.
#[derive(Clone, Copy)]
enum At {
    /// At the description's own position, which moves on.
    Position,
    /// At an offset of its own.
    Offset(u64),
}

impl At {
    /// The 64-bit offset in slots `n` and `n + 1`; `EINVAL` if negative.
    fn offset(args: &Args, n: usize) -> Result<Self, Errno> {
        u64::try_from(args.i64(n))
            .map(Self::Offset)
            .map_err(|_| Errno::EINVAL)
    }
}

fn readable(process: &Process, args: &Args) -> Result<std::sync::Arc<OpenFile>, Errno> {
    let open = process.file(args.i32(0))?;
    if open.readable() {
        Ok(open)
    } else {
        Err(Errno::EBADF)
    }
}

fn writable(process: &Process, args: &Args) -> Result<std::sync::Arc<OpenFile>, Errno> {
    let open = process.file(args.i32(0))?;
    if open.writable() {
        Ok(open)
    } else {
        Err(Errno::EBADF)
    }
}

fn read_into(process: &Process, open: &OpenFile, at: At, out: &mut [u8]) -> Result<usize, Errno> {
    match at {
        At::Offset(offset) => open.file.read_at(offset, out),
        At::Position if open.file.seekable() => {
            let mut position = lock(&open.position);
            let n = open.file.read_at(*position, out)?;
            *position += n as u64;
            Ok(n)
        }
        At::Position => read_stream(process, open, out),
    }
}

fn write_from(process: &Process, open: &OpenFile, at: At, bytes: &[u8]) -> Result<usize, Errno> {
    let append = open.flags() & O_APPEND != 0;
    match at {
        At::Offset(_) if append && open.file.seekable() => open.file.append(bytes).map(|(n, _)| n),
        At::Offset(offset) => open.file.write_at(offset, bytes),
        At::Position if open.file.seekable() => {
            let mut position = lock(&open.position);
            if append {
                let (n, end) = open.file.append(bytes)?;
                *position = end;
                return Ok(n);
            }
            let n = open.file.write_at(*position, bytes)?;
            *position += n as u64;
            Ok(n)
        }
        At::Position => write_stream(process, open, bytes),
    }
}

/// One guest buffer.
#[derive(Clone, Copy)]
struct Buffer {
    at: GuestAddr,
    len: u32,
}

/// The non-empty buffers of a `struct iovec` array; `EINVAL` when they are too many, or too long together.
fn buffers(space: &dyn AddressSpace, at: GuestAddr, count: u32) -> Result<Vec<Buffer>, Errno> {
    if count > MAX_BUFFERS {
        return Err(Errno::EINVAL);
    }
    let mut buffers = Vec::with_capacity(count as usize);
    let mut total = 0_u32;
    let (vectors, _) = space.bytes(at, count * 8)?.as_chunks::<8>();
    for vector in vectors {
        let [a, b, c, d, e, f, g, h] = *vector;
        let len = u32::from_le_bytes([e, f, g, h]);
        total = total
            .checked_add(len)
            .filter(|&total| i32::try_from(total).is_ok())
            .ok_or(Errno::EINVAL)?;
        if len > 0 {
            buffers.push(Buffer {
                at: GuestAddr(u32::from_le_bytes([a, b, c, d])),
                len,
            });
        }
    }
    Ok(buffers)
}

/// True when two buffers share bytes: they cannot be borrowed at the same time then.
fn overlap(buffers: &[Buffer]) -> bool {
    let mut ranges: Vec<(u64, u64)> = buffers
        .iter()
        .map(|buffer| {
            (
                u64::from(buffer.at.0),
                u64::from(buffer.at.0) + u64::from(buffer.len),
            )
        })
        .collect();
    ranges.sort_unstable();
    ranges.windows(2).any(|pair| pair[0].1 > pair[1].0)
}

fn read_one(process: &Process, args: &Args, at: At) -> SysResult {
    let open = readable(process, args)?;
    let len = args.u32(2).min(MAX_TRANSFER);
    let out = match len {
        // The address is not looked at then.
        0 => &mut [][..],
        _ => process.space().bytes_mut(args.ptr(1), len)?,
    };
    result(read_into(process, &open, at, out)?)
}

fn write_one(process: &Process, args: &Args, at: At) -> SysResult {
    let open = writable(process, args)?;
    let len = args.u32(2).min(MAX_TRANSFER);
    let bytes = match len {
        0 => &[][..],
        _ => process.space().bytes(args.ptr(1), len)?,
    };
    result(write_from(process, &open, at, bytes)?)
}

fn read_many(process: &Process, args: &Args, at: At) -> SysResult {
    let open = readable(process, args)?;
    let space = process.space();
    let buffers = buffers(space, args.ptr(1), args.u32(2))?;
    match buffers.as_slice() {
        [] => result(read_into(process, &open, at, &mut [])?),
        [one] => result(read_into(
            process,
            &open,
            at,
            space.bytes_mut(one.at, one.len)?,
        )?),
        many if open.file.seekable() && !overlap(many) => {
            let mut slices = Vec::with_capacity(many.len());
            for buffer in many {
                slices.push(IoSliceMut::new(space.bytes_mut(buffer.at, buffer.len)?));
            }
            match at {
                At::Offset(offset) => result(open.file.read_vectored_at(offset, &mut slices)?),
                At::Position => {
                    let mut position = lock(&open.position);
                    let n = open.file.read_vectored_at(*position, &mut slices)?;
                    *position += n as u64;
                    result(n)
                }
            }
        }
        many => {
            let step = |at: At, buffer: &Buffer, first: bool| {
                // A stream that has given something is not waited for again.
                if !first && !open.file.seekable() && !open.file.ready().intersects(Ready::IN) {
                    return Ok(0);
                }
                read_into(process, &open, at, space.bytes_mut(buffer.at, buffer.len)?)
            };
            result(one_by_one(many, at, step)?)
        }
    }
}

fn write_many(process: &Process, args: &Args, at: At) -> SysResult {
    let open = writable(process, args)?;
    let space = process.space();
    let buffers = buffers(space, args.ptr(1), args.u32(2))?;
    let append = open.flags() & O_APPEND != 0;
    match buffers.as_slice() {
        [] => result(write_from(process, &open, at, &[])?),
        [one] => result(write_from(
            process,
            &open,
            at,
            space.bytes(one.at, one.len)?,
        )?),
        many if open.file.seekable() && !append => {
            let mut slices = Vec::with_capacity(many.len());
            for buffer in many {
                slices.push(IoSlice::new(space.bytes(buffer.at, buffer.len)?));
            }
            match at {
                At::Offset(offset) => result(open.file.write_vectored_at(offset, &slices)?),
                At::Position => {
                    let mut position = lock(&open.position);
                    let n = open.file.write_vectored_at(*position, &slices)?;
                    *position += n as u64;
                    result(n)
                }
            }
        }
        many => {
            // One step for streams and appends: what others write must not come in between.
            let total: usize = many.iter().map(|buffer| buffer.len as usize).sum();
            if total <= GATHER {
                let mut bytes = Vec::with_capacity(total);
                for buffer in many {
                    bytes.extend_from_slice(space.bytes(buffer.at, buffer.len)?);
                }
                return result(write_from(process, &open, at, &bytes)?);
            }
            result(one_by_one(many, at, |at, buffer, _| {
                write_from(process, &open, at, space.bytes(buffer.at, buffer.len)?)
            })?)
        }
    }
}

/// Streams get the buffers of a `writev` in one piece up to this many bytes.
const GATHER: usize = 64 * 1024;

/// Runs `step` on each buffer until one comes out short; an error counts only if nothing was moved before it.
fn one_by_one(
    buffers: &[Buffer],
    at: At,
    mut step: impl FnMut(At, &Buffer, bool) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut total = 0;
    for buffer in buffers {
        let at = match at {
            At::Position => At::Position,
            At::Offset(offset) => At::Offset(offset.checked_add(total as u64).ok_or(Errno::EFBIG)?),
        };
        match step(at, buffer, total == 0) {
            Ok(n) => {
                total += n;
                if n < buffer.len as usize {
                    break;
                }
            }
            Err(error) if total == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(total)
}

pub(super) fn read(process: &Process, args: &Args) -> SysResult {
    read_one(process, args, At::Position)
}

pub(super) fn write(process: &Process, args: &Args) -> SysResult {
    write_one(process, args, At::Position)
}

pub(super) fn pread64(process: &Process, args: &Args) -> SysResult {
    read_one(process, args, At::offset(args, 3)?)
}

pub(super) fn pwrite64(process: &Process, args: &Args) -> SysResult {
    write_one(process, args, At::offset(args, 3)?)
}

pub(super) fn readv(process: &Process, args: &Args) -> SysResult {
    read_many(process, args, At::Position)
}

pub(super) fn writev(process: &Process, args: &Args) -> SysResult {
    write_many(process, args, At::Position)
}

pub(super) fn preadv(process: &Process, args: &Args) -> SysResult {
    read_many(process, args, At::offset(args, 3)?)
}

pub(super) fn pwritev(process: &Process, args: &Args) -> SysResult {
    write_many(process, args, At::offset(args, 3)?)
}

/// Offset -1 means the position; no flag is known.
fn second_version(args: &Args) -> Result<At, Errno> {
    if args.u32(5) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if args.i64(3) == -1 {
        Ok(At::Position)
    } else {
        At::offset(args, 3)
    }
}

pub(super) fn preadv2(process: &Process, args: &Args) -> SysResult {
    read_many(process, args, second_version(args)?)
}

pub(super) fn pwritev2(process: &Process, args: &Args) -> SysResult {
    write_many(process, args, second_version(args)?)
}
