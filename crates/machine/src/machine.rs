//! The machine as the kernel sees it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pglite_oxide_kernel::image::{Blobs, LoadError, SaveError, Scope};
use pglite_oxide_kernel::memory::{AddressSpace, Entry, GuestAddr, Machine, Segment};
use pglite_oxide_kernel::{Errno, Process};

use crate::image::Image;
use crate::library::{self, Library};
use crate::module::{Module, ModuleError};
use crate::places;
use crate::saved;
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

impl NativeMachine {
    fn program(&self, name: &str) -> Result<(&'static Module, Arc<Image>), Errno> {
        let module = self
            .modules
            .iter()
            .copied()
            .find(|module| module.name() == name)
            .or_else(|| self.multicall.get().copied())
            .ok_or(Errno::ENOENT)?;
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = images.get(module.name()) {
            return Ok((module, Arc::clone(image)));
        }
        let image = Arc::new(Image::freeze(module, &self.libraries)?);
        images.insert(module.name(), Arc::clone(&image));
        Ok((module, image))
    }
}

impl Machine for NativeMachine {
    fn identity(&self, scope: Scope) -> Result<Vec<u8>, SaveError> {
        let places = self
            .modules
            .first()
            .and_then(|module| places::of(module, scope))
            .ok_or_else(|| SaveError::unsupported("a program that the host cannot describe"))?;
        let mut identity = places.identity();
        let mut add = |what: &str| {
            identity.extend_from_slice(what.as_bytes());
            identity.push(0);
        };
        for module in &self.modules {
            add(module.name());
            add(module.fingerprint());
        }
        // What a program has besides the modules is of no account to what has not used it.
        let libraries = self.libraries.iter();
        for library in libraries.filter(|_| scope == Scope::Executable) {
            if !places.covers(std::ptr::from_ref(*library).addr()) {
                return Err(SaveError::unsupported(
                    "a process with an extension that was loaded at run time",
                ));
            }
            add(library.name());
            add(library.fingerprint());
        }
        Ok(identity)
    }

    fn load_space(
        &self,
        record: &[u8],
        scope: Scope,
        blobs: &Blobs,
        shared: &[(GuestAddr, u32, Arc<dyn Segment>, u64)],
    ) -> Result<Arc<dyn AddressSpace>, LoadError> {
        let name = saved::program(record)?;
        let (module, image) = self.program(&name)?;
        let places = places::of(module, scope)
            .ok_or(LoadError::Foreign("this program cannot say what it is"))?;
        let frozen = saved::load_space(record, module, &image, &*places, blobs)?;
        Ok(Arc::new(Space::of_frozen(
            module,
            &image,
            Arc::new(frozen),
            shared,
        )))
    }

    fn load_segment(
        &self,
        record: &[u8],
        blobs: &Blobs,
        sole: &Arc<AtomicBool>,
    ) -> Result<Arc<dyn Segment>, LoadError> {
        Ok(Arc::new(saved::load_segment(record, blobs, sole)?))
    }

    fn create_segment(&self, len: u64) -> Result<Arc<dyn Segment>, Errno> {
        Ok(Arc::new(MemorySegment::new(len)?))
    }

    fn load(&self, name: &str) -> Result<Arc<dyn AddressSpace>, Errno> {
        let (module, image) = self.program(name)?;
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
