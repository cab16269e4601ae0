//! Leaf pages that are about to be changed, fetched into the processor's cache before their turn.
//!
//! A change waits for memory some six times while it searches a page that no cache holds, one access after the other, and
//! changes come one after the other, too. Who knows the next ones finds their pages in the tree's upper levels, which
//! are in the cache, and asks for several at the same time.
//!
//! They are put where the processor's second cache is: a few pages fill the first one, and push out what is in use. Of a
//! page first the line is asked for that says what of it is used (LMDB copies no more), and later that: a third of a page
//! is empty, mostly, and memory is what all of this waits for.
//!
//! Invariants: only hints are given, so whatever is found here changes no result; only what the last commit wrote is looked
//! at, which stays as it is for as long as the transaction lasts (copy on write). LMDB's pages are described in its
//! mdb.c: `MDB_page`, `MDB_node`, `MDB_meta`.

use std::collections::VecDeque;

/// LMDB's pages are as large as the system's; where those have another size there is no foresight.
const PAGE_BYTES: usize = 4096;
const LINE_BYTES: usize = 64;

/// `MDB_page`: number(8) pad(2) flags(2) lower(2) upper(2) places(2 each).
const HEADER_BYTES: usize = 16;
const FLAGS_AT: usize = 10;
/// Where its free part begins, and where that ends.
const LOWER_AT: usize = 12;
const UPPER_AT: usize = 14;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const META: u16 = 0x08;

/// `MDB_meta` behind a page's header: magic(4) version(4) address(8) size(8) free list(48) main table(48) last page(8)
/// transaction(8). A table: pad(4) flags(2) depth(2) pages(3 * 8) entries(8) root(8).
const MAGIC: u64 = 0xBEEF_C0DE;
const FREE_PAD_AT: usize = HEADER_BYTES + 24;
const MAIN_AT: usize = HEADER_BYTES + 24 + 48;
const DEPTH_AT: usize = MAIN_AT + 6;
const ROOT_AT: usize = MAIN_AT + 40;
const LAST_AT: usize = MAIN_AT + 48;
const ID_AT: usize = LAST_AT + 8;

/// LMDB's trees are no deeper (`CURSOR_STACK`).
const DEPTH_MAX: usize = 32;

/// Rows whose pages are fetched ahead of their turn: what the processor can wait for at one time, about. So many before that
/// their first lines are.
pub(crate) const AHEAD: usize = 9;

/// A value up to this long lies in the leaf page of its row (longer ones may have pages of their own).
const SMALL_BYTES: usize = 256;

/// The tree that the last commit left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Foresight {
    /// Where the file is mapped.
    base: *const u8,
    root: u64,
    depth: usize,
    last: u64,
}

/// A page of the last commit.
#[derive(Clone, Copy)]
struct Page<'a>(&'a [u8; PAGE_BYTES]);

impl<'a> Page<'a> {
    fn number(&self, at: usize, bytes: usize) -> u64 {
        let found = self.0.get(at..at + bytes).unwrap_or_default();
        found.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    fn short(&self, at: usize) -> usize {
        match self.0.get(at..at + 2) {
            Some(found) => usize::from(u16::from_le_bytes([found[0], found[1]])),
            None => 0,
        }
    }

    fn is(&self, flag: u16) -> bool {
        self.short(FLAGS_AT) & usize::from(flag) != 0
    }

    fn rows(&self) -> usize {
        self.short(LOWER_AT).saturating_sub(HEADER_BYTES) / 2
    }

    /// `MDB_node`: low(2) high(2) flags(2) key's length(2) key.
    fn node(&self, index: usize) -> usize {
        self.short(HEADER_BYTES + 2 * index)
    }

    fn key(&self, index: usize) -> &'a [u8] {
        let node = self.node(index);
        let begin = node + 8;
        self.0.get(begin..begin + self.short(node + 6)).unwrap_or_default()
    }

    fn child(&self, index: usize) -> u64 {
        self.number(self.node(index), 6)
    }

    /// The child in which `key` lies. The first one's key is not written: it covers whatever comes before the second.
    fn child_of(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (1, self.rows());
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle) <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low - 1
    }
}

impl Foresight {
    /// `row`: a small value as LMDB gave it; `before`: the number of the last commit; `page_bytes`: the system's.
    ///
    /// # Safety
    /// The value lies in the map of a store (not in memory of LMDB's own), whose writer's lock is held for as long as the
    /// answer is used.
    pub(crate) unsafe fn new(row: &[u8], before: u64, page_bytes: usize) -> Option<Self> {
        // An empty one at the end of its page begins where the next page does.
        if !(1..=SMALL_BYTES).contains(&row.len()) || page_bytes != PAGE_BYTES {
            return None;
        }
        let start = row.as_ptr().wrapping_sub(row.as_ptr().addr() % PAGE_BYTES);
        // SAFETY: a small value lies in a leaf page, of which all is mapped; nobody else writes while the lock is held.
        let own = Page(unsafe { &*start.cast::<[u8; PAGE_BYTES]>() });
        if !own.is(LEAF) {
            return None;
        }
        let base = start.wrapping_sub(usize::try_from(own.number(0, 8)).ok()?.checked_mul(PAGE_BYTES)?);
        let metas = Self { base, root: 0, depth: 0, last: 1 };
        let meta = metas.page(before & 1)?;
        let known = meta.is(META)
            && meta.number(HEADER_BYTES, 4) == MAGIC
            && meta.number(FREE_PAD_AT, 4) == PAGE_BYTES as u64
            && meta.short(DEPTH_AT) <= DEPTH_MAX
            && meta.number(ID_AT, 8) == before;
        known.then(|| Self {
            base,
            root: meta.number(ROOT_AT, 8),
            depth: meta.short(DEPTH_AT),
            last: meta.number(LAST_AT, 8),
        })
    }

    fn start(&self, number: u64) -> Option<*const u8> {
        let number = usize::try_from(number).ok().filter(|_| number <= self.last)?;
        Some(self.base.wrapping_add(number * PAGE_BYTES))
    }

    fn page(&self, number: u64) -> Option<Page<'_>> {
        let start = self.start(number)?;
        // SAFETY: pages up to the last one are mapped, and what the last commit wrote does not change (`new`).
        Some(Page(unsafe { &*start.cast::<[u8; PAGE_BYTES]>() }))
    }

    /// The leaf page in which `key` lies or would lie.
    pub(crate) fn leaf(&self, key: &[u8]) -> Option<u64> {
        self.way(key).map(|way| way.leaf)
    }

    fn way(&self, key: &[u8]) -> Option<Way> {
        let mut way = Way { leaf: self.root, branch: None };
        for _ in 1..self.depth {
            let page = self.page(way.leaf).filter(|page| page.is(BRANCH))?;
            let child = page.child_of(key);
            way = Way { leaf: page.child(child), branch: Some((way.leaf, child)) };
        }
        // The leaf itself is not looked at: that is what would be waited for.
        Some(way)
    }

    /// The way to a key that does not come before the one that `way` leads to, if that lies in the same leaf or in the next
    /// one beside it: the usual case, where keys come in the order of the tree.
    fn near(&self, way: Way, key: &[u8]) -> Option<Way> {
        let (number, child) = way.branch?;
        let page = self.page(number)?;
        let covers = |child: usize| child + 1 < page.rows() && key < page.key(child + 1);
        if covers(child) {
            Some(way)
        } else if child + 1 < page.rows() && covers(child + 1) {
            Some(Way { leaf: page.child(child + 1), branch: Some((number, child + 1)) })
        } else {
            None
        }
    }

    /// Asks for a page's first line, and waits for nothing.
    pub(crate) fn fetch_header(&self, number: u64) {
        if let Some(start) = self.start(number) {
            fetch_line(start);
        }
    }

    /// Asks for what is used of a page whose first line has come.
    pub(crate) fn fetch(&self, number: u64) {
        let Some(page) = self.page(number) else { return };
        let start = page.0.as_ptr();
        let (lower, upper) = (page.short(LOWER_AT).min(PAGE_BYTES), page.short(UPPER_AT).min(PAGE_BYTES));
        let front = (LINE_BYTES..lower).step_by(LINE_BYTES);
        let back = (upper - upper % LINE_BYTES..PAGE_BYTES).step_by(LINE_BYTES);
        front.chain(back).for_each(|line| fetch_line(start.wrapping_add(line)));
    }
}

/// Where a leaf page is found.
#[derive(Debug, Clone, Copy)]
struct Way {
    leaf: u64,
    /// The branch page above it, and which of its children it is.
    branch: Option<(u64, usize)>,
}

/// Fetches the pages of rows that come in the order of the tree, some ahead of their turn.
#[derive(Debug)]
pub(crate) struct Ahead {
    foresight: Option<Foresight>,
    last: Option<Way>,
    /// For each of the next rows: the page whose first line was asked for, if it is another one than the row's before.
    asked: VecDeque<Option<u64>>,
}

impl Ahead {
    pub(crate) fn new(foresight: Option<Foresight>) -> Self {
        Self { foresight, last: None, asked: VecDeque::new() }
    }

    /// To be called before each row's turn; `next` tells the row after those that it told before.
    pub(crate) fn fetch<R: AsRef<[u8]>>(&mut self, index: usize, mut next: impl FnMut() -> Option<R>) {
        let Some(foresight) = self.foresight else { return };
        let (asks, fetches) = if index == 0 { (2 * AHEAD, AHEAD) } else { (1, 1) };
        for _ in 0..asks {
            let Some(row) = next() else { break };
            let row = row.as_ref();
            let way = self.last.and_then(|last| foresight.near(last, row)).or_else(|| foresight.way(row));
            let page = way.map(|way| way.leaf).filter(|leaf| self.last.is_none_or(|last| last.leaf != *leaf));
            if let Some(number) = page {
                foresight.fetch_header(number);
            }
            self.last = way;
            self.asked.push_back(page);
        }
        for _ in 0..fetches {
            if let Some(number) = self.asked.pop_front().flatten() {
                foresight.fetch(number);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn fetch_line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: a hint, for which any address is good.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
}

#[cfg(target_arch = "aarch64")]
fn fetch_line(at: *const u8) {
    // SAFETY: a hint, for which any address is good; nothing else is touched.
    unsafe {
        std::arch::asm!("prfm pldl2keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly));
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn fetch_line(_at: *const u8) {}

#[cfg(test)]
mod tests;
