//! The programs of this build with the installed files that belong to them: one set for each set of packs that clusters of this process were started with.

use std::sync::{Arc, Mutex};

use pglite_oxide_kernel::Errno;
use pglite_oxide_kernel::fs::image::ImageFs;
use pglite_oxide_kernel::wait::lock;
use pglite_oxide_machine::NativeMachine;

use crate::error::StartError;
use crate::linked::{self, Module};
use crate::packs::{self, Pack};
use crate::program::ProgramError;
use crate::world;

/// What clusters run. Clones share it.
#[derive(Clone)]
pub(crate) struct Programs {
    /// Makes images of the programs, each once.
    pub(crate) machine: Arc<NativeMachine>,
    /// PostgreSQL's installed files and those of extensions.
    pub(crate) installed: Arc<ImageFs>,
}

/// All of this process. An image of the server with its libraries takes some megabytes, and is kept: a process has few sets.
struct Known {
    sets: Vec<(Vec<String>, Programs)>,
    /// The client programs, once somebody has run one.
    tools: Option<&'static Module>,
}

static KNOWN: Mutex<Known> = Mutex::new(Known {
    sets: Vec::new(),
    tools: None,
});

/// Those with these packs.
pub(crate) fn of(packs: &[Pack]) -> Result<Programs, StartError> {
    let key = packs::key(packs);
    let mut known = lock(&KNOWN);
    if let Some((_, found)) = known.sets.iter().find(|(other, _)| *other == key) {
        return Ok(found.clone());
    }
    let postgres = linked::postgres().ok_or(StartError::NoAssets)?;
    let (share, of_extensions) = (pglite_oxide_assets::share()?, linked::extension_files()?);
    let build = move || {
        let files = world::in_memory(&share)?;
        for tree in of_extensions {
            world::add_tree(&files, &tree)?;
        }
        Ok::<_, Errno>(files)
    };
    let (installed, loaded) = if packs.is_empty() {
        (ImageFs::lazy(build), Vec::new())
    } else {
        let files = build()?;
        let loaded = packs::add(&files, packs)?;
        (ImageFs::from(files), loaded)
    };
    let libraries = [linked::libraries(), loaded].concat();
    let machine = NativeMachine::with_libraries(&[postgres], &libraries)?;
    if let Some(tools) = known.tools {
        machine.add_multicall(tools)?;
    }
    let programs = Programs {
        machine: Arc::new(machine),
        installed: Arc::new(installed),
    };
    known.sets.push((key, programs.clone()));
    Ok(programs)
}

/// Makes the client programs known. Only who runs one calls this, so that the linker leaves them out of binaries that never do.
pub(crate) fn add_tools() -> Result<(), ProgramError> {
    let tools = linked::tools().ok_or(ProgramError::NotBuilt)?;
    let mut known = lock(&KNOWN);
    known.tools = Some(tools);
    for (_, programs) in &known.sets {
        programs.machine.add_multicall(tools)?;
    }
    Ok(())
}
