//! The table itself: one row a call, by topic.

use super::Support::{Error, Partial, Supported};
use super::{Call, Handler, Support, file, futex, io, memory, misc, own, path, proc, shm, signal, time};
use crate::errno::Errno;

const fn call(number: u32, name: &'static str, signature: &'static str, handler: Handler, support: Support) -> Call {
    Call { number, name, handler, support, signature }
}

/// Every known call, by topic.
#[rustfmt::skip]
pub static TABLE: &[Call] = &[

    // files
    call(23, "dup", "f", file::dup, Supported),
    call(24, "dup3", "ffx", file::dup3, Supported),
    call(25, "fcntl64", "fdx", file::fcntl64, Partial("record locks never conflict")),
    call(29, "ioctl", "fxx", file::ioctl, Partial("FIONREAD, FIONBIO, FIOCLEX, FIONCLEX; terminals do not exist")),
    call(32, "flock", "fd", file::flock, Partial("never conflicts")),
    call(46, "ftruncate64", "fl", file::ftruncate64, Supported),
    call(47, "fallocate", "fxll", file::fallocate, Partial("modes 0 and KEEP_SIZE")),
    call(57, "close", "f", file::close, Supported),
    call(436, "close_range", "uux", file::close_range, Supported),
    call(62, "_llseek", "fxxxd", file::llseek, Supported),
    call(63, "read", "fxu", io::read, Supported),
    call(64, "write", "fxu", io::write, Supported),
    call(65, "readv", "fxu", io::readv, Supported),
    call(66, "writev", "fxu", io::writev, Supported),
    call(67, "pread64", "fxul", io::pread64, Supported),
    call(68, "pwrite64", "fxul", io::pwrite64, Supported),
    call(69, "preadv", "fxul", io::preadv, Supported),
    call(70, "pwritev", "fxul", io::pwritev, Supported),
    call(286, "preadv2", "fxul", io::preadv2, Partial("flags are refused")),
    call(287, "pwritev2", "fxul", io::pwritev2, Partial("flags are refused")),
    call(71, "sendfile64", "ffxu", file::sendfile64, Supported),
    call(81, "sync", "", file::sync, Supported),
    call(82, "fsync", "f", file::fsync, Supported),
    call(83, "fdatasync", "f", file::fdatasync, Supported),
    call(84, "sync_file_range", "fll", file::sync_file_range, Partial("does nothing: a hint")),
    call(213, "readahead", "flu", file::readahead, Partial("does nothing: a hint")),
    call(223, "fadvise64_64", "fll", file::fadvise64_64, Partial("does nothing: a hint")),
    call(267, "syncfs", "f", file::syncfs, Supported),
    call(285, "copy_file_range", "fxfxux", file::copy_file_range, Supported),

    // paths
    call(17, "getcwd", "xu", path::getcwd, Supported),
    call(33, "mknodat", "fso", misc::forbidden, Error(Errno::EPERM, "no devices can be made")),
    call(34, "mkdirat", "fso", path::mkdirat, Supported),
    call(35, "unlinkat", "fsx", path::unlinkat, Supported),
    call(36, "symlinkat", "sfs", path::symlinkat, Supported),
    call(37, "linkat", "fsfsx", path::linkat, Supported),
    call(38, "renameat", "fsfs", path::renameat, Supported),
    call(43, "statfs64", "sux", path::statfs64, Supported),
    call(44, "fstatfs64", "fux", path::fstatfs64, Supported),
    call(45, "truncate64", "sl", path::truncate64, Supported),
    call(48, "faccessat", "fso", path::faccessat, Supported),
    call(49, "chdir", "s", path::chdir, Supported),
    call(50, "fchdir", "f", path::fchdir, Supported),
    call(51, "chroot", "s", misc::forbidden, Error(Errno::EPERM, "the guest is confined already")),
    call(52, "fchmod", "fo", path::fchmod, Supported),
    call(53, "fchmodat", "fso", path::fchmodat, Supported),
    call(54, "fchownat", "fsuux", path::fchownat, Partial("only to the one user there is")),
    call(55, "fchown", "fuu", path::fchown, Partial("only to the one user there is")),
    call(56, "openat", "fsxo", path::openat, Supported),
    call(61, "getdents64", "fxu", path::getdents64, Supported),
    call(78, "readlinkat", "fsxu", path::readlinkat, Supported),
    call(166, "umask", "o", path::umask, Supported),
    call(276, "renameat2", "fsfsx", path::renameat2, Partial("RENAME_NOREPLACE only")),
    call(291, "statx", "fsxxx", path::statx, Supported),
    call(412, "utimensat_time64", "fsxx", path::utimensat, Supported),
    call(439, "faccessat2", "fsox", path::faccessat2, Supported),
    call(452, "fchmodat2", "fsox", path::fchmodat2, Supported),

    // processes
    call(93, "exit", "d", proc::exit, Supported),
    call(94, "exit_group", "d", proc::exit, Supported),
    call(95, "waitid", "uxxxx", proc::waitid, Partial("ended children only; rusage is zero")),
    call(96, "set_tid_address", "x", proc::getpid, Partial("there are no threads")),
    call(99, "set_robust_list", "xu", misc::nothing, Partial("there are no threads")),
    call(172, "getpid", "", proc::getpid, Supported),
    call(173, "getppid", "", proc::getppid, Supported),
    call(178, "gettid", "", proc::getpid, Supported),
    call(174, "getuid", "", proc::getuid, Supported),
    call(175, "geteuid", "", proc::getuid, Supported),
    call(176, "getgid", "", proc::getuid, Supported),
    call(177, "getegid", "", proc::getuid, Supported),
    call(144, "setgid", "u", proc::setuid, Partial("only to the one user there is")),
    call(146, "setuid", "u", proc::setuid, Partial("only to the one user there is")),
    call(148, "getresuid", "xxx", proc::getresuid, Supported),
    call(150, "getresgid", "xxx", proc::getresuid, Supported),
    call(158, "getgroups", "ux", proc::getgroups, Supported),
    call(159, "setgroups", "ux", misc::forbidden, Error(Errno::EPERM, "there is one user")),
    call(154, "setpgid", "dd", proc::setpgid, Supported),
    call(155, "getpgid", "d", proc::getpgid, Supported),
    call(156, "getsid", "d", proc::getsid, Supported),
    call(157, "setsid", "", proc::setsid, Supported),
    call(220, "clone", "xxxxx", misc::refused, Error(Errno::ENOSYS, "a native stack cannot be copied: fork_entry")),
    call(221, "execve", "sxx", misc::refused, Error(Errno::ENOSYS, "spawn starts programs")),

    // signals
    call(129, "kill", "dg", signal::kill, Supported),
    call(130, "tkill", "dg", signal::tkill, Supported),
    call(131, "tgkill", "ddg", signal::tgkill, Supported),
    call(132, "sigaltstack", "xx", misc::nothing, Partial("handlers run on the one stack")),
    call(133, "rt_sigsuspend", "xu", signal::rt_sigsuspend, Supported),
    call(134, "rt_sigaction", "gxxu", signal::rt_sigaction, Partial("stop signals are ignored")),
    call(135, "rt_sigprocmask", "dxxu", signal::rt_sigprocmask, Supported),
    call(136, "rt_sigpending", "xu", signal::rt_sigpending, Supported),
    call(421, "rt_sigtimedwait_time64", "xxxu", signal::rt_sigtimedwait, Supported),

    // time
    call(102, "getitimer", "dx", time::getitimer, Partial("ITIMER_REAL")),
    call(103, "setitimer", "dxx", time::setitimer, Partial("ITIMER_REAL")),
    call(153, "times", "x", time::times, Supported),
    call(165, "getrusage", "dx", time::getrusage, Partial("CPU time only")),
    call(403, "clock_gettime64", "ux", time::clock_gettime64, Supported),
    call(404, "clock_settime64", "ux", misc::forbidden, Error(Errno::EPERM, "the clock is the host's")),
    call(406, "clock_getres_time64", "ux", time::clock_getres64, Supported),
    call(407, "clock_nanosleep_time64", "uxxx", time::clock_nanosleep64, Supported),

    // memory
    call(214, "brk", "x", memory::brk, Supported),
    call(215, "munmap", "xu", memory::munmap, Supported),
    call(216, "mremap", "xuux", memory::mremap, Partial("private mappings, no fixed target")),
    call(222, "mmap2", "xuxxfu", memory::mmap2, Partial("all memory is readable and writable; a private file mapping is a copy")),
    call(226, "mprotect", "xux", memory::accepted, Partial("changes nothing")),
    call(227, "msync", "xux", memory::accepted, Partial("changes nothing")),
    call(228, "mlock", "xu", memory::accepted, Partial("changes nothing")),
    call(229, "munlock", "xu", memory::accepted, Partial("changes nothing")),
    call(233, "madvise", "xud", memory::madvise, Partial("MADV_DONTNEED and MADV_FREE of private mappings; others are hints")),
    call(194, "shmget", "dux", shm::shmget, Supported),
    call(195, "shmctl", "dux", shm::shmctl, Partial("IPC_RMID and IPC_STAT")),
    call(196, "shmat", "dxx", shm::shmat, Supported),
    call(197, "shmdt", "x", shm::shmdt, Supported),
    call(422, "futex_time64", "xxuxxu", futex::futex, Partial("WAIT, WAKE, REQUEUE and their bitset forms")),
    call(190, "semget", "dux", misc::refused, Error(Errno::ENOSYS, "POSIX semaphores are there")),
    call(283, "membarrier", "xx", misc::refused, Error(Errno::ENOSYS, "there are no threads")),

    // the rest
    call(92, "personality", "x", misc::nothing, Partial("changes nothing")),
    call(122, "sched_setaffinity", "dux", misc::nothing, Partial("changes nothing")),
    call(123, "sched_getaffinity", "dux", misc::sched_getaffinity, Supported),
    call(124, "sched_yield", "", misc::sched_yield, Supported),
    call(140, "setpriority", "ddd", misc::nothing, Partial("changes nothing")),
    call(141, "getpriority", "dd", misc::getpriority, Supported),
    call(160, "uname", "x", misc::uname, Supported),
    call(167, "prctl", "dxxxx", misc::prctl, Partial("PR_SET_NAME, PR_GET_NAME, PR_SET_PDEATHSIG")),
    call(168, "getcpu", "xx", misc::getcpu, Supported),
    call(179, "sysinfo", "x", misc::sysinfo, Supported),
    call(261, "prlimit64", "duxx", misc::prlimit64, Partial("limits are fixed")),
    call(278, "getrandom", "xux", misc::getrandom, Supported),
    call(40, "mount", "sssxx", misc::forbidden, Error(Errno::EPERM, "the host mounts")),

    // our own
    call(0x1000, "set_signal_word", "x", own::set_signal_word, Supported),
    call(0x1001, "fork_entry", "xx", own::fork_entry, Supported),
    call(0x1002, "next_signal", "x", own::next_signal, Supported),
    call(0x1003, "signal_return", "x", own::signal_return, Supported),
    call(0x1004, "spawn", "x", own::spawn, Partial("a shell line is one simple command")),
    call(0x1005, "test_fault", "g", own::test_fault, Partial("refused unless the kernel allows tests")),

    // NET
];
