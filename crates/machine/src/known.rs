//! What a memory object was when it was last copied, so that the next copy costs only what has changed since.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use pglite_oxide_kernel::Errno;

use crate::layer::{self, Found, Layer};
use crate::sys::{self, Reservation, View};
use crate::watch::Watch;

/// Layers beyond this are made fewer: each costs mappings in every copy.
const LAYERS_MAX: usize = 6;
/// Two threads compare more than this: one core does not use up what memory can give, and all guests wait meanwhile.
const ALONE_MAX: u64 = 4 << 20;
/// Bytes compared in one piece.
const PIECE: u64 = 256 << 10;

/// Contents that layers hold, and where they can be compared with the object. The mappings stay from copy to copy: making them anew costs more than comparing.
pub(crate) struct Known {
    layers: Vec<Arc<Layer>>,
    /// The layers over each other.
    then: Reservation,
    /// The object itself.
    now: View,
    len: u64,
    /// Where it had pages when it was last copied.
    data: Vec<Range<u64>>,
}

impl Known {
    /// Of an object of `len` bytes that began as `layers` say; nothing need be the same any more.
    pub(crate) fn of(file: &File, len: u64, layers: Vec<Arc<Layer>>) -> Result<Self, Errno> {
        let size = usize::try_from(len)
            .map_err(|_| Errno::ENOMEM)?
            .next_multiple_of(sys::page_size());
        let then = Reservation::new(size.max(sys::page_size()))?;
        then.map_zero(0, then.size())?;
        let known = Self {
            layers,
            then,
            now: View::of(file, 0, len)?,
            len,
            data: Vec::new(),
        };
        for layer in &known.layers {
            known.show(layer)?;
        }
        Ok(known)
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The object as it was copied last.
    pub(crate) fn layers(&self) -> Vec<Arc<Layer>> {
        self.layers.clone()
    }

    fn show(&self, layer: &Layer) -> Result<(), Errno> {
        layer.map_into(&self.then, 0, (0, self.then.size() as u64))
    }

    fn then(&self, at: u64, len: usize) -> &[u8] {
        let at = usize::try_from(at)
            .unwrap_or(usize::MAX)
            .min(self.then.size());
        let len = len.min(self.then.size() - at);
        // SAFETY: clamped to the mapping, which nobody writes to.
        unsafe { std::slice::from_raw_parts(self.then.start().as_ptr().add(at), len) }
    }

    /// The contents of the object as layers: those it was copied as before, with one more where it has changed. Nobody writes to it meanwhile. `watch` tells where it can have
    /// changed.
    pub(crate) fn copy(
        &mut self,
        file: &File,
        mut watch: Option<&mut Watch>,
    ) -> Result<Vec<Arc<Layer>>, Errno> {
        let mut data = Vec::new();
        let mut at = 0;
        // What has no page is zero and always was: pages only come, until the object gets another length.
        while let Some((start, end)) = sys::next_data(file, at)? {
            at = end.min(self.len);
            if start >= at {
                break;
            }
            data.push(start..at);
        }
        let written = watch.as_mut().and_then(|watch| watch.take(&data));
        let suspects = match written {
            // Pages that have come since are no mapping's business before they were there.
            Some(written) => union(written, without(&data, &self.data)),
            None => data.clone(),
        };
        let page = sys::page_size() as u64;
        let mut pieces = Vec::new();
        let mut total = 0;
        for part in suspects {
            let end = part.end.next_multiple_of(page).min(self.len);
            total += end - part.start;
            for from in (part.start..end).step_by(usize::try_from(PIECE).unwrap_or(usize::MAX)) {
                let now = self.now.bytes(from, end.min(from + PIECE));
                pieces.push(Piece {
                    at: from,
                    now,
                    then: self.then(from, now.len()),
                });
            }
        }
        let found = if total > ALONE_MAX {
            differing_in_two(&pieces)
        } else {
            differing(&pieces)
        };
        let found = found.into_iter().fold(Found::new(), |mut all, at| {
            all.add(at, page);
            all
        });
        self.add(&found)?;
        if self.layers.len() > LAYERS_MAX {
            self.merge()?;
        }
        self.data = data;
        if let Some(watch) = watch {
            watch.copied();
        }
        Ok(self.layers.clone())
    }

    fn add(&mut self, found: &Found) -> Result<(), Errno> {
        let layer = self.write(found)?;
        if !layer.is_empty() {
            self.show(&layer)?;
            self.layers.push(Arc::new(layer));
        }
        Ok(())
    }

    fn write(&self, found: &Found) -> Result<Layer, Errno> {
        Layer::write(found, |start, len| self.now.bytes(start, start + len))
    }

    /// Makes fewer of the layers: see [`layer::kept`].
    fn merge(&mut self) -> Result<(), Errno> {
        let keep = layer::kept(self.layers.iter().map(|layer| &**layer));
        let found = Found::of(self.layers[keep..].iter().flat_map(|layer| layer.runs()));
        self.layers.truncate(keep);
        self.add(&found)
    }
}

/// What is in any of the parts, in order and apart from each other.
pub(crate) fn union(mut parts: Vec<Range<u64>>, more: Vec<Range<u64>>) -> Vec<Range<u64>> {
    parts.extend(more);
    parts.sort_unstable_by_key(|part| part.start);
    let mut all: Vec<Range<u64>> = Vec::with_capacity(parts.len());
    for part in parts {
        match all.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            _ => all.push(part),
        }
    }
    all
}

/// What is in `parts` and not in `known`; both are in order.
fn without(parts: &[Range<u64>], known: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    for part in parts {
        let mut from = part.start;
        for known in known.iter().filter(|known| known.end > part.start) {
            if known.start >= part.end {
                break;
            }
            if from < known.start {
                left.push(from..known.start);
            }
            from = from.max(known.end);
        }
        if from < part.end {
            left.push(from..part.end);
        }
    }
    left
}

/// A part of the object, and what it was.
struct Piece<'a> {
    at: u64,
    now: &'a [u8],
    then: &'a [u8],
}

/// Where the pages begin that are not what they were.
fn differing(pieces: &[Piece<'_>]) -> Vec<u64> {
    let page = sys::page_size();
    let mut found = Vec::new();
    for piece in pieces {
        let pages = piece.now.chunks(page).zip(piece.then.chunks(page));
        let places = (piece.at..).step_by(page);
        found.extend(
            places
                .zip(pages)
                .filter(|(_, (now, then))| now != then)
                .map(|(at, _)| at),
        );
    }
    found
}

/// The same, in the same order, by this thread and another one.
fn differing_in_two(pieces: &[Piece<'_>]) -> Vec<u64> {
    let (first, second) = pieces.split_at(pieces.len() / 2);
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("pg:compare".to_owned());
        let other = builder.spawn_scoped(scope, || differing(second));
        let mut found = differing(first);
        // Without another thread, or its answer, this one does all of it.
        let rest = other.ok().and_then(|other| other.join().ok());
        found.extend(rest.unwrap_or_else(|| differing(second)));
        found
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    fn contents(layers: &[Arc<Layer>], len: u64) -> Vec<u8> {
        let whole = sys::memory_object(c"test", len).unwrap();
        for layer in layers {
            layer.copy_to(&whole).unwrap();
        }
        let mut out = vec![0; usize::try_from(len).unwrap()];
        whole.read_exact_at(&mut out, 0).unwrap();
        out
    }

    #[test]
    fn copies_are_what_the_object_was_and_cost_what_has_changed() {
        let page = sys::page_size() as u64;
        let len = 300 * page;
        let file = sys::memory_object(c"test", len).unwrap();
        let mut known = Known::of(&file, len, Vec::new()).unwrap();
        assert!(known.copy(&file, None).unwrap().is_empty());
        for at in 0..200 {
            file.write_all_at(b"first", at * page).unwrap();
        }
        let first = known.copy(&file, None).unwrap();
        let mut copies = vec![(first, {
            let mut all = vec![0; usize::try_from(len).unwrap()];
            file.read_exact_at(&mut all, 0).unwrap();
            all
        })];
        assert_eq!(
            known.copy(&file, None).unwrap().len(),
            1,
            "nothing has changed"
        );
        for round in 0..20_u64 {
            file.write_all_at(&[7, u8::try_from(round).unwrap()], (round * 13 + 3) * page)
                .unwrap();
            let layers = known.copy(&file, None).unwrap();
            assert!(layers.len() <= LAYERS_MAX, "{} layers", layers.len());
            if layers.len() < LAYERS_MAX && layers.len() > 2 {
                assert_eq!(layers.last().unwrap().len(), page, "only what is new");
            }
            let mut all = vec![0; usize::try_from(len).unwrap()];
            file.read_exact_at(&mut all, 0).unwrap();
            copies.push((layers, all));
        }
        for (layers, all) in copies {
            assert!(contents(&layers, len) == all);
        }
    }

    #[test]
    fn two_threads_find_what_one_does() {
        let page = sys::page_size() as u64;
        let len = ALONE_MAX + 64 * page;
        let file = sys::memory_object(c"test", len).unwrap();
        for at in (0..len).step_by(sys::page_size()) {
            file.write_all_at(b"first", at).unwrap();
        }
        let mut known = Known::of(&file, len, Vec::new()).unwrap();
        assert_eq!(known.copy(&file, None).unwrap()[0].len(), len);
        // Far enough from each other to be runs of their own.
        let changed = [0, 100, len / page / 2, len / page - 1];
        for at in changed {
            file.write_all_at(b"second", at * page).unwrap();
        }
        let layers = known.copy(&file, None).unwrap();
        assert_eq!(
            layers[1].len(),
            u64::try_from(changed.len()).unwrap() * page
        );
        let mut all = vec![0; usize::try_from(len).unwrap()];
        file.read_exact_at(&mut all, 0).unwrap();
        assert!(contents(&layers, len) == all);
    }

    #[test]
    fn what_an_object_began_as_is_not_copied_again() {
        let page = sys::page_size() as u64;
        let bytes = vec![1; sys::page_size()];
        let mut found = Found::new();
        found.add(page, page);
        let layer = Arc::new(Layer::write(&found, |_, _| &bytes).unwrap());
        let file = sys::memory_object(c"test", 4 * page).unwrap();
        layer.copy_to(&file).unwrap();
        let mut known = Known::of(&file, 4 * page, vec![layer]).unwrap();
        assert_eq!(known.copy(&file, None).unwrap().len(), 1);
        // What was not zero may become so.
        file.write_all_at(&vec![0; sys::page_size()], page).unwrap();
        let layers = known.copy(&file, None).unwrap();
        assert_eq!(layers.len(), 2);
        assert!(contents(&layers, 4 * page).iter().all(|&byte| byte == 0));
    }
}
