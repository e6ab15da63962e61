//! A disk that does what disks may: it loses and tears what wasn't synced, in any order, flips
//! bits, runs full, fails a sync and pretends afterwards, and stops at any call. By seed.
//!
//! A file has what was written (`live`: what a reader sees while the power is on) and what is on
//! the platter (`durable`); between them stand the writes in the order they came. A power cut keeps
//! any of them, sector by sector. Names are the same: what `sync_dir` hasn't covered may be there
//! or not.

mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use touchline_store::journal::disk::Disk;

const SECTOR: usize = 512;

/// What goes wrong at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The process ends in the middle of the call; what it wrote stays in the cache.
    Kill,
    /// The power goes.
    PowerCut,
    /// The call fails. A sync that fails leaves the cache looking clean.
    Eio,
}

enum Op {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Default)]
struct Node {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Op>,
}

enum DirOp {
    Link(String, usize),
    Unlink(String),
    Rename(String, String),
}

struct Inner {
    nodes: Vec<Node>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: Vec<DirOp>,
    rng: SmallRng,
    calls: u64,
    trouble: Option<(u64, Trouble)>,
    stopped: Option<Trouble>,
    happened: u64,
    capacity: u64,
    no_descriptors: bool,
    bad: BTreeSet<(usize, u64)>,
}

/// A handle of the disk; clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Inner>>, Arc<Mutex<()>>);

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        Self(
            Arc::new(Mutex::new(Inner {
                nodes: Vec::new(),
                live: BTreeMap::new(),
                durable: BTreeMap::new(),
                pending: Vec::new(),
                rng: SmallRng::seed_from_u64(seed),
                calls: 0,
                trouble: None,
                stopped: None,
                happened: 0,
                capacity: u64::MAX,
                no_descriptors: false,
                bad: BTreeSet::new(),
            })),
            Arc::default(),
        )
    }

    /// While this is held, no sync returns.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.1.lock().unwrap()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// `trouble` comes at the `calls`th call from now that changes something.
    pub fn plan(&self, calls: u64, trouble: Trouble) {
        let mut inner = self.inner();
        inner.trouble = Some((inner.calls + calls, trouble));
    }

    /// Whether the planned end has come.
    pub fn stopped(&self) -> Option<Trouble> {
        self.inner().stopped
    }

    /// Bytes all files may take.
    pub fn set_capacity(&self, bytes: u64) {
        self.inner().capacity = bytes;
    }

    /// Whether the process has no descriptor left: nothing can be made, and no folder synced.
    pub fn set_no_descriptors(&self, none: bool) {
        self.inner().no_descriptors = none;
    }

    /// Bytes they take.
    pub fn used(&self) -> u64 {
        let inner = self.inner();
        inner.live.values().map(|node| allocated(&inner.nodes[*node].live)).sum()
    }

    /// How much of what was planned has happened.
    pub fn happened(&self) -> u64 {
        self.inner().happened
    }

    /// The machine is on again. After a power cut only what was durable is left, and any part of
    /// what wasn't.
    pub fn restart(&self, cut: bool) {
        let mut inner = self.inner();
        (inner.trouble, inner.stopped, inner.capacity) = (None, None, u64::MAX);
        if cut {
            inner.cut_power();
        }
    }

    /// Names of files.
    pub fn names(&self) -> Vec<String> {
        self.inner().live.keys().cloned().collect()
    }

    /// What a reader sees of a file.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let inner = self.inner();
        inner.nodes[inner.live[name]].live.clone()
    }

    /// Flips one bit where nobody has written since the last sync.
    pub fn flip(&self, name: &str, offset: u64, bit: u8) {
        let mut inner = self.inner();
        let node = inner.live[name];
        let node = &mut inner.nodes[node];
        for copy in [&mut node.live, &mut node.durable] {
            if let Some(byte) = copy.get_mut(offset as usize) {
                *byte ^= 1 << bit;
            }
        }
    }

    /// Cuts a file to `len` bytes, as a copy of it might be.
    pub fn cut(&self, name: &str, len: usize) {
        let mut inner = self.inner();
        let node = inner.live[name];
        let node = &mut inner.nodes[node];
        node.live.truncate(len);
        node.durable.truncate(len);
    }

    /// From now on one block of a file can't be read.
    pub fn spoil(&self, name: &str, block: u64) {
        let mut inner = self.inner();
        let node = inner.live[name];
        inner.bad.insert((node, block));
    }

    /// Takes a file away, as nobody should.
    pub fn lose(&self, name: &str) {
        let mut inner = self.inner();
        inner.live.remove(name);
        inner.durable.remove(name);
    }
}

impl Inner {
    /// Counts a call that changes something, and says what is to go wrong with it.
    fn call(&mut self) -> io::Result<Option<Trouble>> {
        if self.stopped.is_some() {
            return Err(io::Error::other("the machine is off"));
        }
        self.calls += 1;
        match self.trouble {
            Some((at, trouble)) if at <= self.calls => {
                self.trouble = None;
                self.happened += 1;
                if trouble != Trouble::Eio {
                    self.stopped = Some(trouble);
                }
                Ok(Some(trouble))
            }
            _ => Ok(None),
        }
    }

    fn fail<T>(&mut self) -> io::Result<T> {
        Err(io::Error::other("input/output error (simulated)"))
    }

    fn node(&self, name: &str) -> io::Result<usize> {
        self.live.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn cut_power(&mut self) {
        let keep = [0.0, 0.1, 0.5, 0.9, 1.0][self.rng.random_range(0..5)];
        for op in std::mem::take(&mut self.pending) {
            if self.rng.random_bool(keep) {
                apply_name(&mut self.durable, op);
            }
        }
        for node in &mut self.nodes {
            for op in std::mem::take(&mut node.pending) {
                tear(&mut node.durable, &op, keep, &mut self.rng);
            }
            node.live = node.durable.clone();
        }
        self.live = self.durable.clone();
    }
}

fn apply_name(names: &mut BTreeMap<String, usize>, op: DirOp) {
    match op {
        DirOp::Link(name, node) => drop(names.insert(name, node)),
        DirOp::Unlink(name) => drop(names.remove(&name)),
        DirOp::Rename(from, to) => {
            if let Some(node) = names.remove(&from) {
                names.insert(to, node);
            }
        }
    }
}

fn allocated(content: &[u8]) -> u64 {
    content.len().next_multiple_of(4096) as u64
}
fn apply(content: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write(offset, bytes) => {
            let (start, end) = (*offset as usize, *offset as usize + bytes.len());
            if content.len() < end {
                content.resize(end, 0);
            }
            content[start..end].copy_from_slice(bytes);
        }
        Op::Truncate(len) => content.resize(*len as usize, 0),
    }
}

/// Applies each sector of a write with probability `keep`.
fn tear(content: &mut Vec<u8>, op: &Op, keep: f64, rng: &mut SmallRng) {
    let Op::Write(offset, bytes) = op else {
        if rng.random_bool(keep) {
            apply(content, op);
        }
        return;
    };
    for (n, sector) in bytes.chunks(SECTOR).enumerate() {
        if rng.random_bool(keep) {
            apply(content, &Op::Write(offset + (n * SECTOR) as u64, sector.to_vec()));
        }
    }
}

impl Disk for SimDisk {
    type File = usize;

    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        let inner = self.inner();
        let len = |node: &usize| inner.nodes[*node].live.len() as u64;
        Ok(inner.live.iter().map(|(name, node)| (name.clone(), len(node))).collect())
    }

    fn create(&mut self, name: &str) -> io::Result<usize> {
        let mut inner = self.inner();
        let trouble = inner.call()?;
        if trouble == Some(Trouble::Eio) {
            return inner.fail();
        }
        if inner.no_descriptors {
            return Err(io::Error::from_raw_os_error(24));
        }
        if inner.live.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.nodes.push(Node::default());
        let node = inner.nodes.len() - 1;
        inner.live.insert(name.into(), node);
        inner.pending.push(DirOp::Link(name.into(), node));
        if trouble.is_some() { inner.fail() } else { Ok(node) }
    }

    fn open(&mut self, name: &str) -> io::Result<usize> {
        self.inner().node(name)
    }

    fn write_at(&mut self, file: &mut usize, offset: u64, blocks: &[u8]) -> io::Result<()> {
        let whole = offset.is_multiple_of(4096) && blocks.len().is_multiple_of(4096);
        assert!(whole, "whole blocks only");
        let used = self.used();
        let mut inner = self.inner();
        let trouble = inner.call()?;
        let len = allocated(&inner.nodes[*file].live);
        let grows = (offset + blocks.len() as u64).saturating_sub(len);
        let room = inner.capacity.saturating_sub(used);
        let mut taken = blocks.len();
        if grows > room {
            taken = taken.saturating_sub((grows - room) as usize) / SECTOR * SECTOR;
        }
        if trouble.is_some() {
            taken = inner.rng.random_range(0..=taken / SECTOR) * SECTOR;
        }
        let op = Op::Write(offset, blocks[..taken].to_vec());
        let node = &mut inner.nodes[*file];
        apply(&mut node.live, &op);
        node.pending.push(op);
        match trouble {
            Some(_) => inner.fail(),
            None if taken < blocks.len() => Err(io::ErrorKind::StorageFull.into()),
            None => Ok(()),
        }
    }

    fn truncate(&mut self, file: &mut usize, len: u64) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.call()?.is_some() {
            return inner.fail();
        }
        let node = &mut inner.nodes[*file];
        apply(&mut node.live, &Op::Truncate(len));
        node.pending.push(Op::Truncate(len));
        Ok(())
    }

    fn sync_data(&mut self, file: &mut usize) -> io::Result<()> {
        drop(self.hold());
        let mut inner = self.inner();
        let trouble = inner.call()?;
        let keep = match trouble {
            None => 1.0,
            // Before the end comes the sync may have done all, nothing, or something in between.
            Some(_) => [0.0, 0.5, 1.0][inner.rng.random_range(0..3)],
        };
        // After a failed sync the cache looks clean: what wasn't written never will be, and readers
        // see it all the same.
        if trouble != Some(Trouble::Kill) {
            for op in std::mem::take(&mut inner.nodes[*file].pending) {
                let Inner { nodes, rng, .. } = &mut *inner;
                tear(&mut nodes[*file].durable, &op, keep, rng);
            }
        }
        if trouble.is_some() { inner.fail() } else { Ok(()) }
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let trouble = inner.call()?;
        if trouble == Some(Trouble::Eio) {
            return inner.fail();
        }
        inner.node(from)?;
        apply_name(&mut inner.live, DirOp::Rename(from.into(), to.into()));
        inner.pending.push(DirOp::Rename(from.into(), to.into()));
        if trouble.is_some() { inner.fail() } else { Ok(()) }
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let trouble = inner.call()?;
        if trouble == Some(Trouble::Eio) {
            return inner.fail();
        }
        inner.node(name)?;
        inner.live.remove(name);
        inner.pending.push(DirOp::Unlink(name.into()));
        if trouble.is_some() { inner.fail() } else { Ok(()) }
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.call()?.is_some() {
            return inner.fail();
        }
        for op in std::mem::take(&mut inner.pending) {
            apply_name(&mut inner.durable, op);
        }
        Ok(())
    }
}
