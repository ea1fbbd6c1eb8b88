//! Bytes as a file that the system's loader takes, which nobody else can change.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write as _};

/// A file of the loader's for as long as this lives. A second one that lives at the same time has another path: the loader takes equal paths for the same object.
pub struct Loadable {
    path: CString,
    /// Keeps the number in the path from being another file's.
    _file: File,
}

impl Loadable {
    /// What `dlopen` is given.
    pub fn path(&self) -> &std::ffi::CStr {
        &self.path
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Loadable {
    /// In memory, without a name in any directory. It is a descriptor of this process, which is kept with it.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        use std::os::fd::AsRawFd as _;
        let mut file = super::memory_object(c"pglite-pack", 0)?;
        file.write_all(bytes)?;
        let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok(Self { path, _file: file })
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Loadable {
    /// In the directory for temporary files, for this user alone; removed with it.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("pglite-pack-{}-{number}.so", std::process::id()));
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(bytes)?;
        let path = CString::new(path.into_os_string().into_encoded_bytes())?;
        Ok(Self { path, _file: file })
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Drop for Loadable {
    fn drop(&mut self) {
        if let Ok(path) = self.path.to_str() {
            let _ = std::fs::remove_file(path);
        }
    }
}
