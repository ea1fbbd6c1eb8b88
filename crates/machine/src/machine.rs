//! The machine as the kernel sees it.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pglite_oxide_kernel::memory::{AddressSpace, Entry, GuestAddr, Machine, Segment};
use pglite_oxide_kernel::{Errno, Process};

use crate::image::Image;
use crate::library::{self, Library};
use crate::module::{Module, ModuleError};
use crate::segment::MemorySegment;
use crate::space::{LIVE, STACK_SPAN, Space};
use crate::thread;

/// Runs compiled modules. One serves any number of kernels; images are made once.
pub struct NativeMachine {
    modules: Vec<&'static Module>,
    libraries: Vec<&'static Library>,
    /// Holds the programs that are no module of their own; it looks at its first argument.
    multicall: OnceLock<&'static Module>,
    /// Made at the first use of each program. The lock also serialises instantiation.
    images: Mutex<HashMap<&'static str, Arc<Image>>>,
}

/// What is in use in this host process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Address spaces that are mapped.
    pub spaces: usize,
    /// Threads that run a guest now.
    pub threads: usize,
}

impl NativeMachine {
    /// A machine that knows these programs.
    pub fn new(modules: &[&'static Module]) -> Result<Self, ModuleError> {
        Self::with_libraries(modules, &[])
    }

    /// The same, with side modules that become part of their programs' images.
    pub fn with_libraries(
        modules: &[&'static Module],
        libraries: &[&'static Library],
    ) -> Result<Self, ModuleError> {
        for module in modules {
            module.validate()?;
        }
        library::validate(modules, libraries)?;
        Ok(Self {
            modules: modules.to_vec(),
            libraries: libraries.to_vec(),
            multicall: OnceLock::new(),
            images: Mutex::default(),
        })
    }

    /// From now on, programs of other names than those of the modules are run by this one. There can be one such module; a second is ignored.
    pub fn add_multicall(&self, module: &'static Module) -> Result<(), ModuleError> {
        module.validate()?;
        self.multicall.get_or_init(|| module);
        Ok(())
    }

    /// What is in use, by all machines together.
    #[must_use]
    pub fn stats() -> Stats {
        Stats {
            spaces: LIVE.load(Ordering::Relaxed),
            threads: thread::LIVE.load(Ordering::Relaxed),
        }
    }
}

impl Machine for NativeMachine {
    fn create_segment(&self, len: u64) -> Result<Arc<dyn Segment>, Errno> {
        Ok(Arc::new(MemorySegment::new(len)?))
    }

    fn load(&self, name: &str) -> Result<Arc<dyn AddressSpace>, Errno> {
        let module = self
            .modules
            .iter()
            .copied()
            .find(|module| module.name() == name)
            .or_else(|| self.multicall.get().copied())
            .ok_or(Errno::ENOENT)?;
        let image = {
            let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
            match images.get(module.name()) {
                Some(image) => Arc::clone(image),
                None => {
                    let image = Arc::new(Image::freeze(module, &self.libraries)?);
                    images.insert(module.name(), Arc::clone(&image));
                    image
                }
            }
        };
        Ok(Arc::new(Space::load(module, &image)?))
    }

    fn fork(
        &self,
        parent: &dyn AddressSpace,
        private: &[(GuestAddr, u32)],
    ) -> Result<Arc<dyn AddressSpace>, Errno> {
        let parent = parent
            .as_any()
            .downcast_ref::<Space>()
            .ok_or(Errno::EINVAL)?;
        Ok(Arc::new(parent.fork(private)?))
    }

    fn start(&self, process: Arc<Process>, entry: Entry) -> Result<(), Errno> {
        thread::start(process, entry)
    }

    fn carry(&self, process: Arc<Process>) {
        thread::carry_here(&process);
    }

    fn interrupt(&self, process: &Process) {
        thread::interrupt(process.pid, process.space());
    }

    fn native_stack_size(&self) -> u64 {
        STACK_SPAN as u64
    }
}
