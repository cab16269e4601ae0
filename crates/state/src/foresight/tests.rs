use super::*;
use crate::key::{Key, Table};
use crate::{Options, Supervisor, WallMs};

fn row(i: u64) -> Key {
    Key::new(Table::Elements).u64(i * 7919 % 10_007)
}

#[test]
fn the_page_of_a_row_is_found_as_the_last_commit_left_it() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("memory");
    let now = WallMs(1);
    let supervisor = Supervisor::open(&dir.path().join("store"), &Options::default(), now).expect("a store");
    let store = supervisor.store();
    store.write(now, |tx| (0..5_000).try_for_each(|i| tx.put(&row(i), b"value"))).expect("rows");
    let found = store.write(now, |tx| {
        let pages: Vec<u64> = (0..5_000)
            .filter_map(|i| {
                let value = tx.get(&row(i)).ok()??;
                let start = value.as_ptr().wrapping_sub(value.as_ptr().addr() % PAGE_BYTES);
                // SAFETY: the page of a row is mapped, and begins with its number.
                Some(unsafe { start.cast::<u64>().read() })
            })
            .collect();
        // What this transaction changes lies elsewhere from now on.
        tx.put(&row(1), b"other")?;
        let foresight = tx.foresight(&row(1))?.expect("it is small, and the system's pages are as usual");
        (0..5_000).for_each(|i| foresight.fetch(i));
        let mut sorted: Vec<Key> = (0..5_000).map(row).collect();
        sorted.sort_by(|a, b| a.as_slice().cmp(b.as_slice()));
        assert!(near_ways(foresight, &sorted) > 4_000, "most are found beside the one before");
        Ok((0..5_000).map(|i| foresight.leaf(row(i).as_slice())).eq(pages.iter().map(|page| Some(*page))))
    });
    assert!(found.expect("it is looked at"), "the pages are those of the rows");
}

/// Each key is where its whole way leads to, also if it is found from the one before; how many were.
fn near_ways(foresight: Foresight, sorted: &[Key]) -> usize {
    let ways = sorted.windows(2).filter_map(|pair| {
        let before = foresight.way(pair[0].as_slice()).expect("a sound tree");
        let near = foresight.near(before, pair[1].as_slice())?;
        let whole = foresight.way(pair[1].as_slice()).expect("a sound tree");
        assert_eq!((near.leaf, near.branch), (whole.leaf, whole.branch));
        Some(near)
    });
    ways.count()
}

/// Pages between two that nobody may touch: a look beyond them is a SIGSEGV.
struct Pages {
    base: *mut u8,
    count: usize,
}

const ALL: usize = 8;
const BEFORE: u64 = 6;
/// Where the value lies by which the map is found.
const OWN: usize = 3;

impl Pages {
    fn new(count: usize) -> Self {
        use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
        let bytes = (count + 2) * PAGE_BYTES;
        // SAFETY: the kernel chooses a range that nothing of ours lies in.
        let base =
            unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::empty(), MapFlags::PRIVATE) };
        let base = base.expect("memory").cast::<u8>().wrapping_add(PAGE_BYTES);
        let open = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: within the range that was just mapped.
        unsafe { mprotect(base.cast(), count * PAGE_BYTES, open) }.expect("memory");
        Self { base, count }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: mapped for reading and writing by `new`, and nobody else knows of it.
        unsafe { std::slice::from_raw_parts_mut(self.base, self.count * PAGE_BYTES) }
    }

    fn put(&mut self, page: usize, at: usize, bytes: &[u8]) -> &mut Self {
        self.bytes()[page * PAGE_BYTES + at..][..bytes.len()].copy_from_slice(bytes);
        self
    }

    /// What LMDB would have left: two pages that describe it, one branch (2) over two leaves (3, 4).
    fn as_expected() -> Self {
        let mut pages = Self::new(ALL);
        for page in 0..ALL {
            pages.put(page, 0, &(page as u64).to_le_bytes());
        }
        let last = (ALL as u64 - 1).to_le_bytes();
        for (page, id) in [(0, BEFORE), (1, BEFORE - 1)] {
            pages
                .put(page, FLAGS_AT, &META.to_le_bytes())
                .put(page, HEADER_BYTES, &(MAGIC as u32).to_le_bytes())
                .put(page, FREE_PAD_AT, &(PAGE_BYTES as u32).to_le_bytes())
                .put(page, DEPTH_AT, &2_u16.to_le_bytes())
                .put(page, ROOT_AT, &2_u64.to_le_bytes())
                .put(page, LAST_AT, &last)
                .put(page, ID_AT, &id.to_le_bytes());
        }
        pages
            .put(2, FLAGS_AT, &BRANCH.to_le_bytes())
            .put(2, LOWER_AT, &(HEADER_BYTES as u16 + 4).to_le_bytes())
            .put(2, HEADER_BYTES, &4_080_u16.to_le_bytes())
            .put(2, HEADER_BYTES + 2, &4_064_u16.to_le_bytes())
            .put(2, 4_080, &[3, 0, 0, 0, 0, 0, 0, 0])
            .put(2, 4_064, &[4, 0, 0, 0, 0, 0, 1, 0, b'm']);
        for page in [OWN, 4] {
            pages.put(page, FLAGS_AT, &LEAF.to_le_bytes());
        }
        pages
    }

    fn own(&mut self) -> &[u8] {
        &self.bytes()[OWN * PAGE_BYTES + 4_000..][..10]
    }

    fn foresight(&mut self) -> Option<Foresight> {
        // SAFETY: all pages that are named are mapped, and nobody writes.
        unsafe { Foresight::new(self.own(), BEFORE, PAGE_BYTES) }
    }

    /// Whatever is in the pages: it is looked for everywhere, and asked for.
    fn look_everywhere(&mut self) -> Vec<Option<u64>> {
        let Some(foresight) = self.foresight() else { return Vec::new() };
        let keys: [&[u8]; 4] = [b"", b"a", b"m", &[0xff; 511]];
        let found: Vec<_> = keys.into_iter().map(|key| foresight.leaf(key)).collect();
        found.iter().flatten().for_each(|page| foresight.fetch(*page));
        let mut ahead = Ahead::new(Some(foresight));
        let mut next = keys.iter().cycle().take(40);
        (0..40).for_each(|index| ahead.fetch(index, || next.next()));
        found
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let base = self.base.wrapping_sub(PAGE_BYTES);
        // SAFETY: mapped by `new`; whatever was found in it is gone.
        let _ = unsafe { rustix::mm::munmap(base.cast(), (self.count + 2) * PAGE_BYTES) };
    }
}

#[test]
fn what_is_as_expected_is_found() {
    assert_eq!(Pages::as_expected().look_everywhere(), [Some(3), Some(3), Some(4), Some(4)]);
}

#[test]
fn nothing_is_foreseen_where_the_pages_are_not_as_expected() {
    let changes: [(&str, usize, usize, &[u8]); 8] = [
        ("another magic", 0, HEADER_BYTES, &[0xde, 0xc0, 0xef, 0xbf]),
        ("another size of pages", 0, FREE_PAD_AT, &[0, 0x40, 0, 0]),
        ("another commit", 0, ID_AT, &[BEFORE as u8 + 2]),
        ("a tree deeper than any", 0, DEPTH_AT, &[33, 0]),
        ("no page that describes the file", 0, FLAGS_AT, &LEAF.to_le_bytes()),
        ("the value is in no leaf", OWN, FLAGS_AT, &BRANCH.to_le_bytes()),
        ("the page's number is too large", OWN, 0, &[0xff; 8]),
        ("another page's number", OWN, 0, &[2, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (what, page, at, bytes) in changes {
        let mut pages = Pages::as_expected();
        assert!(pages.put(page, at, bytes).foresight().is_none(), "{what}");
    }
    let mut pages = Pages::as_expected();
    // SAFETY: as in `Pages::foresight`.
    let on = |value: &[u8], page_bytes| unsafe { Foresight::new(value, BEFORE, page_bytes) };
    assert!(on(pages.own(), 16_384).is_none(), "the system has other pages");
    assert!(on(&pages.bytes()[OWN * PAGE_BYTES..][..SMALL_BYTES + 1], PAGE_BYTES).is_none(), "a long value");
    let end = pages.bytes().len();
    assert!(on(&pages.bytes()[end..], PAGE_BYTES).is_none(), "an empty value at the end of the map");
}

#[test]
fn a_tree_that_leads_outside_is_followed_no_further() {
    let wild = u64::MAX.to_le_bytes();
    let changes: [(&str, usize, usize, &[u8]); 6] = [
        ("a root beyond the last page", 0, ROOT_AT, &[ALL as u8]),
        ("no root", 0, ROOT_AT, &wild),
        ("a root that is no branch", 0, ROOT_AT, &[4]),
        ("more rows than the page holds", 2, LOWER_AT, &[0xff, 0xff]),
        ("rows beyond the page's end", 2, HEADER_BYTES, &[0xff, 0xff, 0xff, 0xff]),
        ("a child beyond the last page", 2, 4_080, &wild[..6]),
    ];
    for (what, page, at, bytes) in changes {
        let mut pages = Pages::as_expected();
        let found = pages.put(page, at, bytes).look_everywhere();
        let foresight = pages.foresight().unwrap_or_else(|| panic!("{what}: the file itself is as expected"));
        for page in found.into_iter().flatten().filter(|page| *page >= ALL as u64) {
            assert!(foresight.start(page).is_none(), "{what}: {page} is not fetched");
        }
    }
}

proptest::proptest! {
    /// Only what describes the file is as expected; no look leaves the pages, and none takes for ever.
    #[test]
    fn whatever_the_pages_hold_no_look_leaves_them(seed: u64, depth in 0..34_u16, sound: bool) {
        let mut pages = Pages::as_expected();
        let mut dice = seed | 1;
        for page in 2..ALL {
            for at in (FLAGS_AT..PAGE_BYTES).step_by(2) {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                // Half of the numbers are places within a page.
                let short = if dice & 1 == 0 { dice as u16 } else { dice as u16 % PAGE_BYTES as u16 };
                pages.put(page, at, &short.to_le_bytes());
            }
            if sound {
                pages.put(page, FLAGS_AT, &(BRANCH | LEAF).to_le_bytes());
                // Children that are there, so that the way goes on.
                for at in (64..PAGE_BYTES - 8).step_by(8) {
                    pages.put(page, at, &[2 + (at / 8 % 6) as u8, 0, 0, 0, 0, 0]);
                }
            }
        }
        pages.put(OWN, FLAGS_AT, &(BRANCH | LEAF).to_le_bytes()).put(0, DEPTH_AT, &depth.to_le_bytes());
        pages.look_everywhere();
    }
}
