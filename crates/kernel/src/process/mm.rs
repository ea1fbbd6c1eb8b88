//! The map of a process's linear memory: `brk` from below, mappings from above.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::stale::Stale;
use crate::errno::Errno;
use crate::image::record::{MmRecord, VmaRecord};
use crate::image::{LoadError, Loader, SaveError, Saver};
use crate::memory::{AddressSpace, GuestAddr, MAP_GRANULE, PAGE_SIZE, Segment};

/// Where mappings begin, downwards.
const MAP_TOP: u32 = 0xFFFE_0000;
/// The first byte a program may use.
pub const FIRST_ADDR: u32 = 0x1_0000;

/// What a mapping shows.
#[derive(Clone)]
pub enum Backing {
    /// Memory of this process alone.
    Private,
    /// Bytes of a shared segment from an offset.
    Shared(Arc<dyn Segment>, u64),
}

/// One mapping.
#[derive(Clone)]
pub struct Vma {
    /// First byte past it.
    pub end: u32,
    /// What it shows.
    pub backing: Backing,
}

/// The memory map. `brk` grows into whatever the lowest mapping leaves.
#[derive(Clone)]
pub struct Mm {
    vmas: BTreeMap<u32, Vma>,
    brk_start: u32,
    brk: u32,
    /// Most private bytes, `brk` and mappings together.
    limit: u64,
    private_mapped: u64,
    stale: Stale,
}

fn round_up(value: u32, to: u32) -> Result<u32, Errno> {
    value
        .checked_add(to - 1)
        .map(|sum| sum / to * to)
        .ok_or(Errno::ENOMEM)
}

impl Mm {
    /// The map of a fresh program.
    #[must_use]
    pub fn new(heap_base: GuestAddr, limit: u64) -> Self {
        let base = heap_base.0.div_ceil(PAGE_SIZE) * PAGE_SIZE;
        Self {
            vmas: BTreeMap::new(),
            brk_start: base,
            brk: base,
            limit,
            private_mapped: 0,
            stale: Stale::default(),
        }
    }

    /// Sets the end of the heap; returns the end that now holds, as `brk(2)`.
    pub fn set_brk(&mut self, to: u32, space: &dyn AddressSpace) -> u32 {
        let ceiling = self.vmas.keys().next().copied().unwrap_or(MAP_TOP);
        if to < self.brk_start
            || to > ceiling
            || u64::from(to - self.brk_start) + self.private_mapped > self.limit
        {
            return self.brk;
        }
        if to < self.brk {
            let (keep, old) = (
                to.div_ceil(PAGE_SIZE) * PAGE_SIZE,
                self.brk.div_ceil(PAGE_SIZE) * PAGE_SIZE,
            );
            if keep < old && space.discard(GuestAddr(keep), old - keep).is_err() {
                return self.brk;
            }
        }
        let page_end = to.div_ceil(PAGE_SIZE) * PAGE_SIZE;
        if to > self.brk && self.renew(self.brk, page_end, space).is_err() {
            return self.brk;
        }
        self.brk = to;
        self.brk
    }

    /// Makes what unmapping left in `[start, end)` read as zeros.
    fn renew(&mut self, start: u32, end: u32, space: &dyn AddressSpace) -> Result<(), Errno> {
        self.stale.take(start, end, |from, to| {
            space.bytes_mut(GuestAddr(from), to - from)?.fill(0);
            Ok(())
        })
    }

    /// Maps `len` bytes and returns where. `fixed` replaces what is there.
    pub fn map(
        &mut self,
        hint: GuestAddr,
        len: u32,
        backing: Backing,
        fixed: bool,
        space: &dyn AddressSpace,
    ) -> Result<GuestAddr, Errno> {
        let shared = matches!(backing, Backing::Shared(..));
        let granule = if shared { MAP_GRANULE } else { PAGE_SIZE };
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let len = round_up(len, granule)?;
        if !shared
            && u64::from(self.brk - self.brk_start) + self.private_mapped + u64::from(len)
                > self.limit
        {
            return Err(Errno::ENOMEM);
        }
        let start = if fixed {
            if !hint.0.is_multiple_of(granule)
                || hint.0 < self.brk
                || u64::from(hint.0) + u64::from(len) > u64::from(MAP_TOP)
            {
                return Err(Errno::EINVAL);
            }
            self.unmap(hint, len, space)?;
            hint.0
        } else {
            self.find_gap(len, granule).ok_or(Errno::ENOMEM)?
        };
        if let Backing::Shared(segment, offset) = &backing {
            self.stale
                .take(start, start + len, |_, _| Ok::<(), Errno>(()))?;
            space.map_segment(GuestAddr(start), len, segment, *offset)?;
        } else {
            self.renew(start, start + len, space)?;
            self.private_mapped += u64::from(len);
        }
        self.vmas.insert(
            start,
            Vma {
                end: start + len,
                backing,
            },
        );
        Ok(GuestAddr(start))
    }

    /// The highest gap that holds `len` bytes.
    fn find_gap(&self, len: u32, granule: u32) -> Option<u32> {
        let floor = self.brk.div_ceil(granule).checked_mul(granule)?;
        let mut top = MAP_TOP;
        for (&start, vma) in self.vmas.iter().rev() {
            if let Some(candidate) = top.checked_sub(len).map(|at| at / granule * granule)
                && candidate >= vma.end
            {
                return Some(candidate);
            }
            top = start;
        }
        top.checked_sub(len)
            .map(|at| at / granule * granule)
            .filter(|&at| at >= floor)
    }

    /// Removes mappings in `[addr, addr + len)`, splitting those that reach further. Shared mappings go as a whole granule.
    pub fn unmap(
        &mut self,
        addr: GuestAddr,
        len: u32,
        space: &dyn AddressSpace,
    ) -> Result<(), Errno> {
        if !addr.0.is_multiple_of(PAGE_SIZE) || len == 0 {
            return Err(Errno::EINVAL);
        }
        let end = addr
            .0
            .checked_add(round_up(len, PAGE_SIZE)?)
            .ok_or(Errno::EINVAL)?;
        let touched: Vec<u32> = self
            .vmas
            .range(..end)
            .rev()
            .take_while(|(_, vma)| vma.end > addr.0)
            .map(|(&start, _)| start)
            .collect();
        for start in touched {
            let Some(vma) = self.vmas.remove(&start) else {
                continue;
            };
            let (mut from, mut to) = (start.max(addr.0), vma.end.min(end));
            if matches!(vma.backing, Backing::Shared(..)) {
                from = from / MAP_GRANULE * MAP_GRANULE;
                to = to
                    .div_ceil(MAP_GRANULE)
                    .saturating_mul(MAP_GRANULE)
                    .min(vma.end);
            } else {
                self.private_mapped -= u64::from(to - from);
            }
            if from > start {
                self.vmas.insert(
                    start,
                    Vma {
                        end: from,
                        backing: vma.backing.clone(),
                    },
                );
            }
            if vma.end > to {
                let backing = match &vma.backing {
                    Backing::Private => Backing::Private,
                    Backing::Shared(segment, offset) => {
                        Backing::Shared(Arc::clone(segment), offset + u64::from(to - start))
                    }
                };
                self.vmas.insert(
                    to,
                    Vma {
                        end: vma.end,
                        backing,
                    },
                );
            }
            let private = matches!(vma.backing, Backing::Private);
            if !private || !self.stale.keep(from, to) {
                space.discard(GuestAddr(from), to - from)?;
            }
        }
        Ok(())
    }

    /// The mapping that holds `addr`.
    pub fn find(&self, addr: GuestAddr) -> Option<(u32, &Vma)> {
        self.vmas
            .range(..=addr.0)
            .next_back()
            .filter(|(_, vma)| vma.end > addr.0)
            .map(|(&start, vma)| (start, vma))
    }

    /// Grows a private mapping in place; false when something is in the way.
    pub fn grow_in_place(&mut self, start: u32, new_len: u32, space: &dyn AddressSpace) -> bool {
        let Some(new_end) = round_up(new_len, PAGE_SIZE)
            .ok()
            .and_then(|len| start.checked_add(len))
        else {
            return false;
        };
        let next = self
            .vmas
            .range(start + 1..)
            .next()
            .map_or(MAP_TOP, |(&at, _)| at);
        let Some(vma) = self.vmas.get_mut(&start) else {
            return false;
        };
        if new_end > next || new_end < vma.end || !matches!(vma.backing, Backing::Private) {
            return false;
        }
        let old_end = vma.end;
        let more = u64::from(new_end - old_end);
        if u64::from(self.brk - self.brk_start) + self.private_mapped + more > self.limit {
            return false;
        }
        self.private_mapped += more;
        vma.end = new_end;
        self.renew(old_end, new_end, space).is_ok()
    }

    /// Puts other segments in the place of those that are mapped; the space must be told, too.
    pub(crate) fn replace_segments(
        &mut self,
        mut change: impl FnMut(&Arc<dyn Segment>) -> Result<Arc<dyn Segment>, Errno>,
    ) -> Result<(), Errno> {
        for vma in self.vmas.values_mut() {
            if let Backing::Shared(segment, _) = &mut vma.backing {
                *segment = change(segment)?;
            }
        }
        Ok(())
    }

    /// The map for an image.
    pub(crate) fn save(&self, saver: &mut Saver<'_>) -> Result<MmRecord, SaveError> {
        let mut vmas = Vec::with_capacity(self.vmas.len());
        for (&start, vma) in &self.vmas {
            let shared = match &vma.backing {
                Backing::Private => None,
                Backing::Shared(segment, offset) => Some((saver.segment(segment)?, *offset)),
            };
            let end = vma.end;
            vmas.push(VmaRecord { start, end, shared });
        }
        Ok(MmRecord {
            vmas,
            brk_start: self.brk_start,
            brk: self.brk,
            limit: self.limit,
            stale: self.stale.ranges(),
        })
    }

    /// The map that was saved.
    pub(crate) fn load(record: &MmRecord, loader: &Loader<'_>) -> Result<Self, LoadError> {
        const DAMAGED: LoadError = LoadError::Damaged("a memory map contradicts itself");
        if record.brk < record.brk_start || record.brk > MAP_TOP {
            return Err(DAMAGED);
        }
        let mut this = Self {
            vmas: BTreeMap::new(),
            brk_start: record.brk_start,
            brk: record.brk,
            limit: record.limit,
            private_mapped: 0,
            stale: Stale::default(),
        };
        let mut last = record.brk;
        for vma in &record.vmas {
            let (start, end) = (vma.start, vma.end);
            if start < last || end <= start || end > MAP_TOP {
                return Err(DAMAGED);
            }
            last = end;
            let backing = match vma.shared {
                Some((number, offset)) => Backing::Shared(loader.segment(number)?, offset),
                None => {
                    this.private_mapped += u64::from(end - start);
                    Backing::Private
                }
            };
            this.vmas.insert(start, Vma { end, backing });
        }
        for &(from, to) in &record.stale {
            if from >= to || !this.stale.keep(from, to) {
                return Err(DAMAGED);
            }
        }
        Ok(this)
    }

    /// The ranges a fork must copy: everything private that is in use.
    #[must_use]
    pub fn private_ranges(&self) -> Vec<(GuestAddr, u32)> {
        let heap_end = self.brk.div_ceil(PAGE_SIZE) * PAGE_SIZE;
        let mut out = vec![(GuestAddr(FIRST_ADDR), heap_end - FIRST_ADDR)];
        out.extend(
            self.vmas
                .iter()
                .filter(|(_, vma)| matches!(vma.backing, Backing::Private))
                .map(|(&start, vma)| (GuestAddr(start), vma.end - start)),
        );
        out
    }

    /// The shared mappings: address, bytes, segment, offset.
    pub fn shared(&self) -> impl Iterator<Item = (GuestAddr, u32, &Arc<dyn Segment>, u64)> {
        self.vmas
            .iter()
            .filter_map(|(&start, vma)| match &vma.backing {
                Backing::Shared(segment, offset) => {
                    Some((GuestAddr(start), vma.end - start, segment, *offset))
                }
                Backing::Private => None,
            })
    }
}
