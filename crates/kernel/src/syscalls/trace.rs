//! `PGLITE_STRACE=1`: one line a call on the host's standard error.

use super::{Args, lookup};
use crate::errno::SysResult;
use crate::memory::AddressSpaceExt;
use crate::process::Process;

/// Longest string shown, in bytes.
const SHOWN: u32 = 120;

/// Prints a finished call.
pub(super) fn print(process: &Process, number: u32, args: &Args, result: SysResult) {
    let (name, signature) =
        lookup(number).map_or(("?", "xxxxxx"), |call| (call.name, call.signature));
    let mut shown = Vec::new();
    let mut slot = 0;
    for letter in signature.chars() {
        if slot >= 6 {
            break;
        }
        shown.push(match letter {
            'd' | 'f' => args.i32(slot).to_string(),
            'u' => args.u32(slot).to_string(),
            'o' => format!("0{:o}", args.u32(slot)),
            'g' => format!("SIG{}", args.u32(slot)),
            's' => match process.space().read_c_string(args.ptr(slot), SHOWN) {
                Ok(text) => format!("{:?}", String::from_utf8_lossy(&text)),
                Err(_) => format!("{:#x}", args.u32(slot)),
            },
            'l' if slot < 5 => {
                slot += 1;
                args.i64(slot - 1).to_string()
            }
            _ => format!("{:#x}", args.u32(slot)),
        });
        slot += 1;
    }
    let shown = shown.join(", ");
    match result {
        Ok(value) => eprintln!(
            "[{} {}] {name}({shown}) = {}",
            process.pid.0,
            process.name,
            value.cast_signed()
        ),
        Err(error) => eprintln!(
            "[{} {}] {name}({shown}) = -1 {}",
            process.pid.0,
            process.name,
            error.name()
        ),
    }
}

/// Prints how a process has ended.
pub(crate) fn print_end(process: &Process, status: crate::process::ExitStatus) {
    eprintln!("[{} {}] +++ {status:?} +++", process.pid.0, process.name);
}
