//! The conformance programs of `guest/tests`, run as guests: processes, pipes, signals, jumps, faults, and memory shared between processes.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pglite_oxide_kernel::file::File;
use pglite_oxide_kernel::fs::dev::DevFs;
use pglite_oxide_kernel::fs::log::LineSink;
use pglite_oxide_kernel::fs::shm::ShmFs;
use pglite_oxide_kernel::fs::vfs::Vfs;
use pglite_oxide_kernel::kernel::SpawnOptions;
use pglite_oxide_kernel::net::Net;
use pglite_oxide_kernel::{ExitStatus, Kernel, KernelOptions};
use pglite_oxide_machine::NativeMachine;

fn run(name: &str) {
    let (Some(tests), Some(postgres)) = (
        pglite_oxide_aot_dev::guest_tests(),
        pglite_oxide_aot::postgres(),
    ) else {
        panic!("built without assets");
    };
    let machine = Arc::new(NativeMachine::new(&[tests, postgres]).unwrap());
    let mut vfs = Vfs::new();
    vfs.mount("/dev", Arc::new(DevFs::new()));
    vfs.mount("/dev/shm", Arc::new(ShmFs::new(machine.clone())));
    vfs.mkdir("/", "/tmp", 0o1777).unwrap();
    let kernel = Kernel::new(KernelOptions {
        machine,
        vfs,
        net: Net::new(),
        test_hooks: false,
        trace: std::env::var_os("PGLITE_STRACE").is_some(),
        memory_limit: None,
    });
    let said = Arc::new(Mutex::new(String::new()));
    let copy = Arc::clone(&said);
    let output: Arc<dyn File> = Arc::new(LineSink::new(move |line| {
        copy.lock().unwrap().push_str(line);
    }));
    let process = kernel
        .spawn(SpawnOptions {
            path: "/bin/guest_tests".to_owned(),
            argv: vec!["guest_tests".to_owned(), name.to_owned()],
            envp: Vec::new(),
            cwd: "/".to_owned(),
            stdio: [Arc::clone(&output), Arc::clone(&output), output],
        })
        .unwrap();
    let status = kernel.wait_exit(process.pid, Some(Instant::now() + Duration::from_secs(120)));
    assert!(
        kernel.kill_all(Instant::now() + Duration::from_secs(10)),
        "processes are left"
    );
    let said = said.lock().unwrap();
    assert_eq!(status, Ok(ExitStatus::Exited(0)), "{name}: {said}");
    assert!(said.ends_with("ok"), "{name}: {said}");
}

#[test]
fn children_have_memory_of_their_own() {
    run("fork");
}

#[test]
fn ended_processes_leave_nothing_to_those_that_get_their_memory() {
    run("again");
}

#[test]
fn pipes_carry_everything_and_end() {
    run("pipe");
}

#[test]
fn signals_are_caught_blocked_and_jumped_out_of() {
    run("signal");
}

#[test]
fn jumps_cross_frames() {
    run("setjmp");
}

#[test]
fn epoll_tells_of_sockets() {
    run("epoll");
}

/// A latch that is set while its owner goes to sleep must be seen: 100,000 rounds of Dekker's pattern between two processes.
#[test]
fn fences_order_memory_between_processes() {
    run("litmus");
}

/// Faults of a guest are signals to it, never to the host.
#[test]
fn faults_end_the_process_that_made_them() {
    run("faults");
}

#[test]
fn a_busy_process_can_be_killed() {
    run("kill");
}
