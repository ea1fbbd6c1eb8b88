//! Hosts that do not tell which pages were written.

/// Begins to watch a shared mapping. False: the host cannot.
pub fn watch(_start: usize, _len: usize) -> bool {
    false
}

/// Which pages belong to private mappings alone. False: the host does not tell.
pub fn private_pages(_start: usize, _len: usize, _each: impl FnMut(usize, usize)) -> bool {
    false
}

/// Which pages were written. False: the host does not tell.
pub fn take_written(_start: usize, _len: usize, _each: impl FnMut(usize, usize)) -> bool {
    false
}
