//! Memory file systems in images: whole, or as their differences from the tree that they began as.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use super::content::Content;
use super::inode::{Inode, State};
use super::tree::{Body, Names, Node, ROOT, Tree};
use super::{MemFs, OpenDirectory, Superblock};
use crate::file::{File, FileTime};
use crate::image::pieces::{PieceReader, PieceWriter};
use crate::image::record::{BodyRecord, FileRecord, Fs, FsRecord, Kind, MemRecord, NodeRecord};
use crate::image::{LoadError, Loader, SaveError, Saver};

fn pair(time: FileTime) -> (i64, u32) {
    (time.seconds, time.nanoseconds)
}

fn time((seconds, nanoseconds): (i64, u32)) -> FileTime {
    FileTime {
        seconds,
        nanoseconds,
    }
}

/// One file; the bytes of its own go to `data`.
fn node(
    inode: &Inode,
    body: BodyRecord,
    base: Option<&Content>,
    data: &mut PieceWriter<'_>,
) -> Result<NodeRecord, SaveError> {
    let state = inode.state();
    let chunks = state.content.save(base, data)?;
    Ok(NodeRecord {
        number: inode.number,
        kind: inode.kind as u32,
        mode: state.mode,
        links: state.links,
        times: [
            pair(state.accessed),
            pair(state.modified),
            pair(state.changed),
        ],
        body,
        len: state.content.len(),
        chunks,
    })
}

fn body(body: &Body) -> BodyRecord {
    match body {
        Body::Directory(names) => BodyRecord::Directory(
            names
                .iter()
                .map(|(name, &number)| (name.to_string(), number))
                .collect(),
        ),
        Body::Link(target) => BodyRecord::Link(target.to_string()),
        Body::Leaf => BodyRecord::Leaf,
    }
}

/// True if a node is what the base has there, but for its times.
fn is_same(node: &Node, base: &Node) -> bool {
    let same_body = match (&node.body, &base.body) {
        (Body::Directory(one), Body::Directory(two)) => Arc::ptr_eq(one, two) || one == two,
        (Body::Link(one), Body::Link(two)) => one == two,
        (Body::Leaf, Body::Leaf) => true,
        _ => false,
    };
    let (one, two) = (node.source(), base.source());
    if Arc::ptr_eq(one, two) {
        return same_body;
    }
    let (one_state, two_state) = (one.state(), two.state());
    same_body
        && one.kind == two.kind
        && one_state.mode == two_state.mode
        && one_state.links == two_state.links
        && one_state.content.is_shared_with(&two_state.content)
}

impl MemFs {
    pub(super) fn save_tree(&self, saver: &mut Saver<'_>) -> Result<FsRecord, SaveError> {
        saver.is_mem_mount(Arc::as_ptr(&self.superblock).addr());
        let base = saver.base();
        let base_tree = base.map(|base| base.tree());
        let of_base = |number| base_tree.as_ref().and_then(|tree| tree.nodes.get(number));
        let tree = self.tree();
        let mut numbers: Vec<_> = tree.nodes.keys().copied().collect();
        numbers.sort_unstable();
        let (mut nodes, mut data) = (Vec::new(), PieceWriter::new(saver.blobs()));
        for number in &numbers {
            let own = tree.node(*number)?;
            let known = of_base(number);
            if known.is_some_and(|known| is_same(own, known)) {
                continue;
            }
            let known = known.map(|known| known.source().state());
            let known = known.as_ref().map(|state| &state.content);
            nodes.push(node(own.source(), body(&own.body), known, &mut data)?);
        }
        let mut gone: Vec<_> = base_tree
            .iter()
            .flat_map(|tree| tree.nodes.keys())
            .filter(|number| !tree.nodes.contains_key(number))
            .copied()
            .collect();
        gone.sort_unstable();
        Ok(FsRecord(Fs::Mem(MemRecord {
            based: base.is_some(),
            limit: self.superblock.budget.limit(),
            next_inode: self.superblock.next_inode.load(Ordering::Relaxed),
            read_only: self.superblock.read_only.load(Ordering::Relaxed),
            gone,
            nodes,
            data: data.finish(),
        })))
    }

    /// The file system that was saved; `base` is what it began as.
    pub(crate) fn load(
        record: MemRecord,
        base: Option<&Self>,
        loader: &Loader<'_>,
    ) -> Result<Self, LoadError> {
        let superblock = Arc::new(Superblock::of_image(
            record.limit,
            record.next_inode,
            record.read_only,
        ));
        let base_tree = base.map(|base| base.tree());
        let mut nodes = HashMap::new();
        if let Some(base) = &base_tree {
            nodes.reserve(base.nodes.len());
            for (&number, known) in &base.nodes {
                nodes.insert(number, known.later(&superblock));
            }
        }
        for number in record.gone {
            nodes.remove(&number);
        }
        let mut data = loader.pieces(record.data)?;
        for node in record.nodes {
            let number = node.number;
            let known = base_tree.as_ref().and_then(|tree| tree.nodes.get(&number));
            let known = known.map(|known| known.source().state());
            let known = known.as_ref().map(|state| &state.content);
            let (inode, body) = load_node(node, known, &mut data, &superblock)?;
            nodes.insert(number, Node::new(inode, body));
        }
        if !matches!(nodes.get(&ROOT), Some(root) if matches!(root.body, Body::Directory(_))) {
            return Err(LoadError::Damaged("a tree has no root"));
        }
        Ok(Self {
            superblock,
            tree: Arc::new(RwLock::new(Tree { nodes })),
        })
    }

    /// A file without a name.
    pub(crate) fn nameless(
        &self,
        record: NodeRecord,
        mut data: PieceReader,
    ) -> Result<Arc<dyn File>, LoadError> {
        let (inode, _) = load_node(record, None, &mut data, &self.superblock)?;
        Ok(inode)
    }

    /// The directory with this inode number, open.
    pub(crate) fn directory_by_number(&self, number: u64) -> Option<Arc<dyn File>> {
        let tree = self.tree();
        let node = tree.nodes.get(&number)?;
        matches!(node.body, Body::Directory(_)).then(|| {
            Arc::new(OpenDirectory {
                tree: Arc::clone(&self.tree),
                inode: Arc::clone(node.inode()),
            }) as Arc<dyn File>
        })
    }
}

fn load_node(
    record: NodeRecord,
    base: Option<&Content>,
    data: &mut PieceReader,
    superblock: &Arc<Superblock>,
) -> Result<(Arc<Inode>, Body), LoadError> {
    let content = Content::load(record.len, &record.chunks, base, data)
        .ok_or(LoadError::Damaged("a file's contents are not there"))?;
    superblock.budget.force(content.charged());
    let [accessed, modified, changed] = record.times.map(time);
    let state = State {
        mode: record.mode,
        links: record.links,
        accessed,
        modified,
        changed,
        content,
    };
    let kind = crate::image::file_kind(record.kind)?;
    let body = match record.body {
        BodyRecord::Directory(names) => {
            let names: Names = Arc::new(
                names
                    .into_iter()
                    .map(|(name, number)| (name.into_boxed_str(), number))
                    .collect(),
            );
            Body::Directory(names)
        }
        BodyRecord::Link(target) => Body::Link(target.into()),
        BodyRecord::Leaf => Body::Leaf,
    };
    Ok((Inode::with(superblock, record.number, kind, state), body))
}

impl Inode {
    pub(super) fn save_file(&self, saver: &mut Saver<'_>) -> Result<FileRecord, SaveError> {
        let mount = saver.mem_mount(self.superblock_address())?;
        // Names are gone with the last link.
        if self.state().links > 0 {
            let number = self.number;
            return Ok(FileRecord(Kind::MemFile { mount, number }));
        }
        let mut data = PieceWriter::new(saver.blobs());
        let node = Box::new(node(self, BodyRecord::Leaf, None, &mut data)?);
        let data = data.finish();
        Ok(FileRecord(Kind::MemNameless { mount, node, data }))
    }
}

impl OpenDirectory {
    pub(super) fn save_directory(&self, saver: &mut Saver<'_>) -> Result<FileRecord, SaveError> {
        let mount = saver.mem_mount(self.inode.superblock_address())?;
        let number = self.inode.number;
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        if !tree.nodes.contains_key(&number) {
            return Err(SaveError::unsupported("an open directory that was removed"));
        }
        Ok(FileRecord(Kind::MemDirectory { mount, number }))
    }
}
