//! The calls that Linux does not have: see ARCHITECTURE.md, "The guest ABI".

use super::Args;
use crate::errno::{Errno, SysResult};
use crate::memory::{AddressSpaceExt, GuestAddr};
use crate::process::signal::{MAX_SIGNAL, SigSet};
use crate::process::{ExitStatus, Process, shell};
use crate::wait::lock;

/// Longest path or word taken from a guest, in bytes.
const WORD_MAX: u32 = 128 << 10;
/// Most arguments or environment entries of a spawned program.
const WORDS_MAX: usize = 4096;
const ACTIONS_MAX: u32 = 1024;

/// `set_signal_word(word)`.
pub(super) fn set_signal_word(process: &Process, args: &Args) -> SysResult {
    process.space().atomic_u32(args.ptr(0))?;
    process.signals().set_word(args.ptr(0), process.space());
    Ok(0)
}

/// `fork_entry(function, argument)`.
pub(super) fn fork_entry(process: &Process, args: &Args) -> SysResult {
    process
        .kernel()?
        .fork(process, args.u32(0), args.u32(1))
        .map(|pid| pid.0.cast_unsigned())
}

/// `next_signal(out)`.
pub(super) fn next_signal(process: &Process, args: &Args) -> SysResult {
    let space = process.space();
    let out = args.ptr(0);
    space.bytes_mut(out, 20 + 128)?;
    match process.signals().next(space) {
        Ok(None) => Ok(0),
        Ok(Some(delivery)) => {
            space.write_u32(out, u32::from(delivery.info.signo))?;
            space.write_u32(out.offset(4)?, delivery.action.handler)?;
            space.write_u32(out.offset(8)?, delivery.action.flags)?;
            space.write_u64(out.offset(12)?, delivery.old_mask.0)?;
            space.write(out.offset(20)?, &delivery.info.to_bytes())?;
            Ok(1)
        }
        Err(signo) => {
            process.terminate(ExitStatus::Signaled(signo));
            Ok(0)
        }
    }
}

/// `signal_return(old_mask)`.
pub(super) fn signal_return(process: &Process, args: &Args) -> SysResult {
    let mask = process.space().read_u64(args.ptr(0))?;
    process.signals().set_mask(SigSet(mask), process.space());
    Ok(0)
}

fn read_vector(process: &Process, mut at: GuestAddr) -> Result<Vec<Vec<u8>>, Errno> {
    let mut words = Vec::new();
    if at.is_null() {
        return Ok(words);
    }
    loop {
        let word = GuestAddr(process.space().read_u32(at)?);
        if word.is_null() {
            return Ok(words);
        }
        if words.len() == WORDS_MAX {
            return Err(Errno::E2BIG);
        }
        words.push(process.space().read_c_string(word, WORD_MAX)?);
        at = at.offset(4)?;
    }
}

fn read_path(process: &Process, at: GuestAddr) -> Result<String, Errno> {
    String::from_utf8(process.space().read_c_string(at, crate::abi::PATH_MAX)?)
        .map_err(|_| Errno::EINVAL)
}

/// What a shell ends with when there is no such command (POSIX, "Exit Status for Commands").
const NOT_FOUND: u8 = 127;

/// `spawn(request)`.
pub(super) fn spawn(process: &Process, args: &Args) -> SysResult {
    let space = process.space();
    let request = args.ptr(0);
    let word = |n: u32| -> Result<u32, Errno> { space.read_u32(request.offset(n * 4)?) };
    let path = read_path(process, GuestAddr(word(0)?))?;
    let argv = read_vector(process, GuestAddr(word(1)?))?;
    let envp = read_vector(process, GuestAddr(word(2)?))?;
    let (count, actions) = (word(3)?, GuestAddr(word(4)?));
    if count > ACTIONS_MAX {
        return Err(Errno::E2BIG);
    }
    let mut child = shell::Spawning {
        files: lock(&process.files).clone(),
        fs: lock(&process.fs).clone(),
        path,
        argv,
    };
    for n in 0..count {
        let at = actions.offset(n * 24)?;
        let field = |n: u32| -> Result<u32, Errno> { space.read_u32(at.offset(n * 4)?) };
        let fd = field(1)?.cast_signed();
        match field(0)? {
            1 => {
                child.files.remove(fd)?;
            }
            2 => child.dup(field(2)?.cast_signed(), fd)?,
            3 => child.open(
                process,
                fd,
                &read_path(process, GuestAddr(field(3)?))?,
                field(4)?,
                field(5)?,
            )?,
            4 => child.chdir(process, &read_path(process, GuestAddr(field(3)?))?)?,
            5 => {
                let open = child.files.get(fd)?;
                child.fs.cwd = open.path.clone().ok_or(Errno::ENOTDIR)?;
            }
            _ => return Err(Errno::EINVAL),
        }
    }
    let kernel = process.kernel()?;
    if child.path == "/bin/sh" {
        let found = child
            .read_shell_line(process)
            .and_then(|()| kernel.vfs().stat(&child.fs.cwd, &child.path, true));
        if found.is_err() {
            // A shell starts all the same, says so and ends.
            if let Ok(stderr) = child.files.get(2) {
                let _ = stderr
                    .file
                    .write(format!("sh: {}: not found\n", child.path).as_bytes());
            }
            drop(child);
            return Ok(kernel.ended_child(process, NOT_FOUND).0.cast_unsigned());
        }
    } else {
        kernel.vfs().stat(&child.fs.cwd, &child.path, true)?;
    }
    let started = kernel.start_program(
        &child.path,
        (&child.argv, &envp),
        child.files.for_exec(),
        child.fs,
        process.signals().exec(),
        Some(process),
    )?;
    Ok(started.pid.0.cast_unsigned())
}

/// `copy_note(buffer, size)`: what the embedding program tells the processes of a copy; returns its length, which may be more than was stored.
pub(super) fn copy_note(process: &Process, args: &Args) -> SysResult {
    let kernel = process.kernel()?;
    let note = kernel.note();
    let n = note
        .len()
        .min(usize::try_from(args.u32(1)).unwrap_or(usize::MAX));
    process.space().write(args.ptr(0), &note[..n])?;
    u32::try_from(note.len()).map_err(|_| Errno::EOVERFLOW)
}

/// `test_fault(operation)`: provokes what only broken code would do. Refused unless the kernel was built for tests.
pub(super) fn test_fault(process: &Process, args: &Args) -> SysResult {
    if !process.kernel()?.test_hooks {
        return Err(Errno::EPERM);
    }
    let signo = u8::try_from(args.u32(0))
        .ok()
        .filter(|&signo| signo <= MAX_SIGNAL && signo > 0)
        .ok_or(Errno::EINVAL)?;
    process.terminate(ExitStatus::Signaled(signo));
    Ok(0)
}
