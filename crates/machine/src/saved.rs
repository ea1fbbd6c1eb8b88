//! Frozen processes and segments in images of kernels (`pglite_oxide_kernel::image`).
//!
//! Of memory, the pages are written that the program's own image does not have, as one layer, which is unpacked into a memory object when it is first mapped. Instance, context and
//! native stack are words: those that point into the space are written as if it were at [`NOWHERE`], and move with it when it is mapped, as in any copy; those that point into the program are written as
//! [`Place`]s. Words of a stack that point elsewhere into the host, or to parts of the program that have no names ([`Scope::Build`](pglite_oxide_kernel::image::Scope)), are left over
//! from what ran there before, deeper than the guest: they are written as zero.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pglite_oxide_kernel::Errno;
use pglite_oxide_kernel::image::{BlobWriter, Blobs, LoadError, SaveError};
use serde::{Deserialize, Serialize};

use crate::frozen::{Frozen, bytes};
use crate::image::Image;
use crate::layer::{Found, Layer};
use crate::module::{FIRST_BYTE, MEMORY_SIZE, Module};
use crate::places::{Place, Places};
use crate::segment::MemorySegment;
use crate::space::{GUARD, SPAN, STACK_SPAN, zero_memory};
use crate::sys::{self, View};

/// Where all spaces of images are said to be: no host has an address of a program there. Where a space really was, another process may have its code, of which the addresses would then move
/// with the space.
const NOWHERE: usize = 0x9e37 << 48;

/// Bytes that are packed and unpacked at once.
const PIECE: usize = 256 << 10;

/// Pages.
#[derive(Serialize, Deserialize)]
struct LayerRecord {
    /// Bytes in a page of the host.
    page: u32,
    /// Starts and lengths, by their starts.
    runs: Vec<(u64, u64)>,
    /// The first of the pieces that hold them.
    first: u32,
    pieces: u32,
}

#[derive(Serialize, Deserialize)]
enum Word {
    Value(u64),
    Place {
        anchor: u32,
        offset: u64,
        witness: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct SpaceRecord {
    program: String,
    layer: LayerRecord,
    /// Words that are not what the program's image has, by their places.
    instance: Vec<(u32, Word)>,
    context: Vec<Word>,
    stack: Vec<Word>,
    stack_offset: u64,
}

#[derive(Serialize, Deserialize)]
struct SegmentRecord {
    len: u64,
    layer: LayerRecord,
}

fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, SaveError> {
    postcard::to_allocvec(record).map_err(|_| SaveError::Kernel(Errno::EOVERFLOW))
}

fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, LoadError> {
    postcard::from_bytes(bytes)
        .map_err(|_| LoadError::Damaged("the machine's records cannot be read"))
}

/// Words that are looked at one by one.
struct Classifier<'a> {
    places: &'a dyn Places,
    program: &'a str,
    /// The space of the process.
    old: usize,
    /// What the host has mapped.
    host: Vec<(usize, usize)>,
}

impl Classifier<'_> {
    /// `at` is only told; `leftovers` says whether words may be of no use any more.
    fn word(
        &self,
        word: u64,
        (area, at): (&str, usize),
        leftovers: bool,
    ) -> Result<Word, SaveError> {
        let address = usize::try_from(word).unwrap_or(0);
        if (self.old..self.old + SPAN).contains(&address) {
            tracing::trace!(target: "pglite_oxide::image", program = self.program, area, at, kind = "space");
            return Ok(Word::Value((address - self.old + NOWHERE) as u64));
        }
        if self.places.covers(address) {
            let Some(found) = self.places.name(address) else {
                return self.unnamed(address, (area, at), leftovers);
            };
            tracing::trace!(target: "pglite_oxide::image", program = self.program, area, at, kind = "place", anchor = found.anchor, offset = found.offset);
            return Ok(Word::Place {
                anchor: found.anchor,
                offset: found.offset,
                witness: self.places.witness(found),
            });
        }
        if self
            .host
            .iter()
            .any(|&(start, end)| (start..end).contains(&address))
        {
            return self.unnamed(address, (area, at), leftovers);
        }
        Ok(Word::Value(word))
    }

    /// An address that means nothing elsewhere.
    fn unnamed(
        &self,
        address: usize,
        (area, at): (&str, usize),
        leftovers: bool,
    ) -> Result<Word, SaveError> {
        if leftovers {
            tracing::trace!(target: "pglite_oxide::image", program = self.program, area, at, kind = "host");
            return Ok(Word::Value(0));
        }
        let place = format!("word {at} of the {area} of a process of {}", self.program);
        Err(SaveError::Address { place, address })
    }
}

/// What the host has mapped in this process.
fn mappings() -> Vec<(usize, usize)> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines()
        .filter_map(|line| {
            let (start, end) = line.split_ascii_whitespace().next()?.split_once('-')?;
            let hex = |text| usize::from_str_radix(text, 16).ok();
            Some((hex(start)?, hex(end)?))
        })
        .collect()
}

fn write_layer<'a>(
    found: &Found,
    pages: impl Fn(u64, u64) -> &'a [u8],
    mut add: impl FnMut(&[u8]) -> u32,
) -> Result<LayerRecord, SaveError> {
    let mut all = Vec::new();
    for &(start, len) in found.runs() {
        all.extend_from_slice(pages(start, len));
    }
    let (mut first, mut pieces) = (0, 0);
    for piece in all.chunks(PIECE) {
        let number = add(piece);
        first = if pieces == 0 { number } else { first };
        pieces += 1;
    }
    Ok(LayerRecord {
        page: u32::try_from(sys::page_size()).map_err(|_| Errno::EOVERFLOW)?,
        runs: found.runs().to_vec(),
        first,
        pieces,
    })
}

fn read_layer(record: &LayerRecord, blobs: &Blobs, limit: (u64, u64)) -> Result<Layer, LoadError> {
    let page = sys::page_size() as u64;
    if u64::from(record.page) != page {
        return Err(LoadError::Foreign("its pages have another size"));
    }
    let numbers = record.first..record.first.saturating_add(record.pieces);
    let packed = numbers
        .map(|number| blobs.get(number).cloned())
        .collect::<Result<Vec<_>, _>>()?;
    let held: u64 = packed.iter().map(|blob| blob.len() as u64).sum();
    if packed.iter().any(|blob| blob.len() > PIECE) {
        return Err(LoadError::Damaged("a piece is too large"));
    }
    let mut last = limit.0;
    let mut total = 0;
    for &(start, len) in &record.runs {
        let end = start.checked_add(len).filter(|&end| end <= limit.1);
        if start < last || len == 0 || !start.is_multiple_of(page) || !len.is_multiple_of(page) {
            return Err(LoadError::Damaged("pages lie where none can be"));
        }
        last = end.ok_or(LoadError::Damaged("pages lie where none can be"))?;
        total += len;
    }
    if total != held {
        return Err(LoadError::Damaged("pages are missing"));
    }
    let plain = blobs.plain(record.first..record.first.saturating_add(record.pieces));
    Ok(Layer::packed(&record.runs, packed, plain))
}

/// Describes a frozen process.
pub(crate) fn save_space(
    module: &Module,
    image: &Image,
    frozen: &Frozen,
    places: &dyn Places,
    blobs: &mut BlobWriter,
) -> Result<Vec<u8>, SaveError> {
    let page = sys::page_size() as u64;
    let (began, now) = (zero_memory()?, zero_memory()?);
    for memory in [&began, &now] {
        image.map_into(memory.reservation())?;
    }
    frozen.map_into(&now)?;
    let mut found = Found::new();
    for &(start, len) in frozen.touched(image.extent()).runs() {
        for at in (start..start + len).step_by(sys::page_size()) {
            if bytes(&began, at, page) != bytes(&now, at, page) {
                found.add(at, page);
            }
        }
    }
    let pages = |start, len| bytes(&now, start, len);
    let layer = write_layer(&found, pages, |piece| blobs.add(piece))?;
    let classifier = Classifier {
        places,
        program: module.name(),
        old: frozen.old,
        host: mappings(),
    };
    let mut instance = Vec::new();
    for (at, (&word, &began)) in frozen.instance.iter().zip(image.globals()).enumerate() {
        if word != began {
            let number = u32::try_from(at).map_err(|_| Errno::EOVERFLOW)?;
            instance.push((number, classifier.word(word, ("instance", at), false)?));
        }
    }
    let list = |words: &[u64], area, leftovers| {
        let words = words.iter().enumerate();
        words
            .map(|(at, &word)| classifier.word(word, (area, at), leftovers))
            .collect::<Result<Vec<_>, _>>()
    };
    encode(&SpaceRecord {
        program: module.name().to_owned(),
        layer,
        instance,
        context: list(&frozen.context_at_rest(), "context", false)?,
        stack: list(&frozen.stack, "stack", true)?,
        stack_offset: frozen.stack_offset as u64,
    })
}

/// The name of the program that a process runs.
pub(crate) fn program(record: &[u8]) -> Result<String, LoadError> {
    decode::<SpaceRecord>(record).map(|record| record.program)
}

/// The frozen process that was described.
pub(crate) fn load_space(
    record: &[u8],
    module: &Module,
    image: &Image,
    places: &dyn Places,
    blobs: &Blobs,
) -> Result<Frozen, LoadError> {
    let record: SpaceRecord = decode(record)?;
    let word = |word: Word| match word {
        Word::Value(value) => Ok(value),
        Word::Place {
            anchor,
            offset,
            witness,
        } => {
            let place = Place { anchor, offset };
            match places.find(place) {
                Some(address) if places.witness(place) == witness => Ok(address as u64),
                _ => Err(LoadError::Foreign("its code lies elsewhere")),
            }
        }
    };
    let layer = read_layer(
        &record.layer,
        blobs,
        (u64::from(FIRST_BYTE), u64::from(MEMORY_SIZE)),
    )?;
    let mut instance = image.globals().to_vec();
    for (at, changed) in record.instance {
        let place = instance.get_mut(at as usize);
        *place.ok_or(LoadError::Damaged("an instance is too large"))? = word(changed)?;
    }
    let list = |words: Vec<Word>| words.into_iter().map(word).collect::<Result<Vec<_>, _>>();
    let (context, stack) = (list(record.context)?, list(record.stack)?);
    let stack_offset = usize::try_from(record.stack_offset).unwrap_or(0);
    let fits = context.len() == module.context_size().div_ceil(8)
        && stack_offset >= GUARD
        && stack_offset.is_multiple_of(8)
        && stack_offset.checked_add(stack.len() * 8) == Some(STACK_SPAN);
    if !fits {
        return Err(LoadError::Damaged("a stack does not fit its space"));
    }
    Ok(Frozen::loaded(
        layer,
        (instance, context, stack),
        stack_offset,
        NOWHERE,
    ))
}

/// Describes a segment that these layers show.
pub(crate) fn save_segment(
    len: u64,
    layers: &[Arc<Layer>],
    blobs: &mut BlobWriter,
) -> Result<Vec<u8>, SaveError> {
    let page = sys::page_size() as u64;
    let whole = len.next_multiple_of(page);
    let file = sys::memory_object(c"pglite-saved", whole).map_err(Errno::from)?;
    for layer in layers {
        layer.copy_to(&file)?;
    }
    let view = View::of(&file, 0, whole).map_err(Errno::from)?;
    let mut found = Found::new();
    for &(start, len) in Found::of(layers.iter().flat_map(|layer| layer.runs())).runs() {
        for at in (start..(start + len).min(whole)).step_by(sys::page_size()) {
            if view.bytes(at, at + page).iter().any(|&byte| byte != 0) {
                found.add(at, page);
            }
        }
    }
    let pages = |start, len| view.bytes(start, start + len);
    let layer = write_layer(&found, pages, |piece| blobs.add_shared_memory(piece))?;
    encode(&SegmentRecord { len, layer })
}

/// The segment that was described.
pub(crate) fn load_segment(
    record: &[u8],
    blobs: &Blobs,
    sole: &Arc<AtomicBool>,
) -> Result<MemorySegment, LoadError> {
    let record: SegmentRecord = decode(record)?;
    let whole = record
        .len
        .checked_next_multiple_of(sys::page_size() as u64)
        .ok_or(LoadError::Damaged("a segment is too large"))?;
    let layer = read_layer(&record.layer, blobs, (0, whole))?;
    Ok(MemorySegment::of_layers(
        record.len,
        vec![Arc::new(layer)],
        sole,
    ))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use pglite_oxide_kernel::memory::Segment as _;

    use super::*;
    use crate::places::LoadedObject;

    /// Where the space of these tests was.
    const OLD: usize = 0x5000 << 32;

    fn code() -> u64 {
        (save_segment as *const ()).addr() as u64
    }

    fn here() -> LoadedObject {
        LoadedObject::of((save_segment as *const ()).cast()).unwrap()
    }

    /// A process with one page of its own.
    fn process(instance: u64, stack: Vec<u64>) -> (&'static Module, Image, Frozen) {
        let module = Module::for_tests(c"test", c"", 0x4_0000);
        let image = Image::freeze(module, &[]).unwrap();
        let page = sys::page_size() as u64;
        let mut found = Found::new();
        // The second page is what every process of the program has: zeros.
        found.add(0x2_0000, 2 * page);
        let mut pages = vec![0; 2 * sys::page_size()];
        pages[5] = 5;
        let layer = Layer::write(&found, |_, _| &pages).unwrap();
        let context = vec![1, 2, OLD as u64, OLD as u64, 3, code(), 7, 8];
        let at = STACK_SPAN - stack.len() * 8;
        (
            module,
            image,
            Frozen::loaded(layer, (vec![instance], context, stack), at, OLD),
        )
    }

    #[test]
    fn processes_come_back_with_the_program_s_addresses_and_their_pages() {
        let host = Box::new(0_u64);
        let inside = (OLD + STACK_SPAN) as u64;
        let leftover = std::ptr::from_ref(&*host).addr() as u64;
        let (module, image, frozen) = process(code(), vec![inside, code(), leftover, 42]);
        let mut writer = BlobWriter::default();
        let record = save_space(module, &image, &frozen, &here(), &mut writer).unwrap();
        assert_eq!(program(&record).unwrap(), "test");
        let blobs = Blobs::try_from(writer).unwrap();
        let page = sys::page_size();
        assert_eq!(blobs.get(0).unwrap().len(), page, "not the page of zeros");
        let loaded = load_space(&record, module, &image, &here(), &blobs).unwrap();
        let inside = (NOWHERE + STACK_SPAN) as u64;
        assert_eq!(loaded.stack, [inside, code(), 0, 42]);
        assert_eq!(loaded.instance, [code()]);
        assert_eq!(loaded.context_at_rest()[5..], [code(), 7, 8]);
        let memory = zero_memory().unwrap();
        loaded.map_into(&memory).unwrap();
        assert_eq!(bytes(&memory, 0x2_0005, 2), [5, 0]);
        assert!(matches!(
            load_space(&record[..record.len() / 2], module, &image, &here(), &blobs),
            Err(LoadError::Damaged(_))
        ));
    }

    /// The same names, other code.
    struct Rebuilt(LoadedObject);

    impl Places for Rebuilt {
        fn covers(&self, address: usize) -> bool {
            self.0.covers(address)
        }
        fn name(&self, address: usize) -> Option<Place> {
            self.0.name(address)
        }
        fn find(&self, place: Place) -> Option<usize> {
            self.0.find(place)
        }
        fn witness(&self, place: Place) -> u64 {
            !self.0.witness(place)
        }
        fn identity(&self) -> Vec<u8> {
            self.0.identity()
        }
    }

    #[test]
    fn addresses_that_mean_nothing_elsewhere_are_refused() {
        let host = Box::new(0_u64);
        let pointer = std::ptr::from_ref(&*host).addr() as u64;
        let (module, image, frozen) = process(pointer, vec![code()]);
        let mut writer = BlobWriter::default();
        assert!(matches!(
            save_space(module, &image, &frozen, &here(), &mut writer),
            Err(SaveError::Address { .. })
        ));
        let (module, image, frozen) = process(0, vec![code()]);
        let record = save_space(module, &image, &frozen, &here(), &mut writer).unwrap();
        let blobs = Blobs::try_from(writer).unwrap();
        assert!(matches!(
            load_space(&record, module, &image, &Rebuilt(here()), &blobs),
            Err(LoadError::Foreign(_))
        ));
    }

    /// This program's code, loaded where the space of the process was that saved.
    struct Loaded;

    impl Loaded {
        const SAVED: usize = 0x6000 << 32;
        const HERE: usize = OLD + STACK_SPAN / 2;
    }

    impl Places for Loaded {
        fn covers(&self, address: usize) -> bool {
            address == Self::SAVED || address as u64 == code()
        }
        fn name(&self, _: usize) -> Option<Place> {
            Some(Place {
                anchor: 0,
                offset: 0,
            })
        }
        fn find(&self, _: Place) -> Option<usize> {
            Some(Self::HERE)
        }
        fn witness(&self, _: Place) -> u64 {
            0
        }
        fn identity(&self) -> Vec<u8> {
            Vec::new()
        }
    }

    /// Where the host had loaded the program into the 8 GiB that a space of the image had been at, return addresses moved with the space, and the first session's backend crashed:
    /// `ConnectionLost`, in about one of a hundred processes that opened one of the few images with such spaces.
    #[test]
    fn a_program_may_be_where_a_space_was() {
        let (module, image, frozen) = process(0, vec![Loaded::SAVED as u64, OLD as u64]);
        let mut writer = BlobWriter::default();
        let record = save_space(module, &image, &frozen, &Loaded, &mut writer).unwrap();
        let blobs = Blobs::try_from(writer).unwrap();
        let loaded = load_space(&record, module, &image, &Loaded, &blobs).unwrap();
        assert_eq!(loaded.stack[0], Loaded::HERE as u64);
        let space = loaded.old..loaded.old + SPAN;
        assert!(!space.contains(&Loaded::HERE), "it would move");
        assert_eq!(loaded.stack[1], loaded.old as u64, "this moves");
    }

    #[test]
    fn segments_come_back_and_zeros_cost_nothing() {
        let len = 4 << 20;
        let original = MemorySegment::new(len).unwrap();
        for (at, bytes) in [(0, &b"first"[..]), (70_000, &[0; 9]), (len - 4, b"last")] {
            original.write_at(at, bytes).unwrap();
        }
        let sole = Arc::new(AtomicBool::new(true));
        let mut writer = BlobWriter::default();
        assert!(
            original.save(&mut writer).is_err(),
            "others may write to it"
        );
        let frozen = original.duplicate(&sole).unwrap();
        let record = frozen.save(&mut writer).unwrap();
        let blobs = Blobs::try_from(writer).unwrap();
        assert_eq!(blobs.get(0).unwrap().len(), 2 * sys::page_size());
        let loaded = load_segment(&record, &blobs, &sole).unwrap();
        assert_eq!(loaded.len(), len);
        let mut out = [0; 5];
        assert_eq!(loaded.read_at(0, &mut out), Ok(5));
        assert_eq!(&out, b"first");
        loaded.read_at(len - 4, &mut out[..4]).unwrap();
        assert_eq!(&out[..4], b"last");
    }
}
