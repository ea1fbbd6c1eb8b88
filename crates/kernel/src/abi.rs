//! Numbers of the guest's ABI that several topics share: Linux's asm-generic values, as musl's riscv32 port has them.
//! Constants of one topic only live with that topic.

/// Mask of the access mode in `O_*` flags.
pub const O_ACCMODE: u32 = 0o3;
/// Open for reading.
pub const O_RDONLY: u32 = 0o0;
/// Open for writing.
pub const O_WRONLY: u32 = 0o1;
/// Open for both.
pub const O_RDWR: u32 = 0o2;
/// Create if missing.
pub const O_CREAT: u32 = 0o100;
/// With `O_CREAT`: fail if present.
pub const O_EXCL: u32 = 0o200;
/// Truncate.
pub const O_TRUNC: u32 = 0o1000;
/// Write at the end.
pub const O_APPEND: u32 = 0o2000;
/// Do not block.
pub const O_NONBLOCK: u32 = 0o4000;
/// Synchronised data writes.
pub const O_DSYNC: u32 = 0o10_000;
/// Synchronised writes (includes `O_DSYNC`).
pub const O_SYNC: u32 = 0o4_010_000;
/// Fail unless a directory.
pub const O_DIRECTORY: u32 = 0o200_000;
/// Fail on a symbolic link.
pub const O_NOFOLLOW: u32 = 0o400_000;
/// Close on exec.
pub const O_CLOEXEC: u32 = 0o2_000_000;
/// `*at` calls: relative to the working directory.
pub const AT_FDCWD: i32 = -100;
/// `*at` calls: do not follow a final symbolic link.
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
/// `unlinkat`: remove a directory.
pub const AT_REMOVEDIR: u32 = 0x200;
/// `*at` calls: the descriptor itself when the path is empty.
pub const AT_EMPTY_PATH: u32 = 0x1000;
/// Longest path, with its NUL, in bytes.
pub const PATH_MAX: u32 = 4096;
