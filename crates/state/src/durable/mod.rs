//! Durable queues: a store of the same kind on a disk. What was acknowledged there is there after the machine has
//! restarted.
//!
//! It has what queues need and nothing else: no locks, counters or channels, whose owners a restart ends. The control
//! file beside the data is of one boot (see `Medium`); what must outlive it lies in the table (`Table::Format`).
//! Whoever comes first after a restart gives back what the workers before it held: their jobs are ready again, with
//! their attempts.
//!
//! Every commit waits for the disk, so no event loop makes one: see [`Desk`].

mod call;
mod desk;
mod perform;

use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::control::{Control, FIRST_LAYOUT, LAYOUT, is_readable};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::key::{Key, Put, Table, Take};
use crate::medium::{DISK_CONTROL, Medium};
use crate::store::Store;
use crate::tx::{Tx, View};
use crate::{Options, Owner, WallMs, workers};

pub use call::{Answer, Call};
pub use desk::{Desk, Done};

/// Counters are a matter of shared memory.
const COUNTERS: u32 = 8;

/// Opens the store in `dir`, or makes it there: folder 0700, files 0600, wholly allocated, on the disk before this
/// returns. Any process may come first; of several at one time one makes it, and the others wait.
///
/// The folder must be on a disk of this machine: neither LMDB nor the lock between processes works over a network.
///
/// # Errors
/// [`Error::NotOurs`], [`Error::Foreign`], [`Error::Version`], [`Error::Corrupt`], [`Error::NoSpace`], [`Error::Io`]:
/// each says what to do. Nothing at the path is changed then.
pub fn open(dir: &Path, options: &Options, now: WallMs) -> Result<Store> {
    let options = Options { counters: COUNTERS, ..options.rounded() };
    crate::files::make_folder(dir)?;
    let turn = crate::files::lock_folder(dir)?;
    let data = dir.join("data.mdb");
    if !data.exists() {
        make(dir, &data, options.data_bytes)?;
    }
    crate::files::make_folder(&dir.join("wake"))?;
    let control = Medium::Disk.control(dir)?;
    if !control.exists() {
        forget_other_boots(dir)?;
        let (_, data_bytes) = crate::files::open(&data)?;
        let data_bytes_max = options.data_bytes_max.max(data_bytes);
        Control::create(&control, &Options { data_bytes, data_bytes_max, ..options }, now)?;
    }
    let store = Store::open_on(dir, Medium::Disk)?;
    store.set_limits(options.data_bytes_max, options.value_bytes_max);
    store.engine().keep_reserve();
    adopt(&store, &data, now)?;
    drop(turn);
    Ok(store)
}

/// Makes the data file beside its place, so that it is whole whenever it is there.
fn make(dir: &Path, data: &Path, bytes: u64) -> Result<()> {
    let beside = dir.join("new");
    // What an attempt left that was cut short.
    let _ = std::fs::remove_dir_all(&beside);
    crate::files::make_folder(&beside)?;
    let new = beside.join("data.mdb");
    let made = crate::engine::make_lmdb(&beside, &new, bytes, Medium::Disk)
        .and_then(|()| crate::files::sync(&new))
        .and_then(|()| rustix::fs::rename(&new, data).map_err(|e| Error::io("cannot rename to", data, e)));
    let _ = std::fs::remove_dir_all(&beside);
    made?;
    crate::files::sync(dir)?;
    dir.parent().map_or(Ok(()), crate::files::sync)
}

fn forget_other_boots(dir: &Path) -> Result<()> {
    let failed = |e| Error::io("cannot read", dir, e);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().as_encoded_bytes().starts_with(DISK_CONTROL.as_bytes()) {
            let path = entry.path();
            rustix::fs::unlink(&path).map_err(|e| Error::io("cannot remove", &path, e))?;
        }
    }
    Ok(())
}

/// Reads the format, and gives back what is held by nobody who is attached.
fn adopt(store: &Store, data: &Path, now: WallMs) -> Result<()> {
    let engine = store.engine();
    let format = Key::new(Table::Format);
    let found = engine.read(now, |view| Ok(view.get(&format)?.map(<[u8]>::to_vec)))?;
    let is_empty = crate::stats::read(engine).rows == 0;
    match found {
        Some(row) => {
            let mut take = Take(&row);
            let layout = take.u32();
            if !is_readable(layout) {
                return Err(Error::Version { path: data.to_path_buf(), found: layout, ours: LAYOUT });
            }
            engine.control.header().ticket_base.fetch_max(take.u64(), Relaxed);
        }
        None if is_empty => engine.write(now, |tx| put_format(tx, 0))?,
        None => {
            let why = "it has rows, and none that says what they are".to_owned();
            return Err(Error::Foreign { path: data.to_path_buf(), why });
        }
    }
    for owner in engine.read(now, |view| gone(view, engine))? {
        workers::release(engine, owner, now)?;
    }
    Ok(())
}

fn put_format(tx: &mut Tx<'_>, base: u64) -> Result<()> {
    let mut row = Vec::with_capacity(12);
    // It has queues alone, which have not changed.
    row.put_u32(FIRST_LAYOUT);
    row.put_u64(base);
    tx.put(&Key::new(Table::Format), &row)
}

/// A backup's tickets came in: those given from now on are above, in the next boot too. Only on a disk.
pub(crate) fn keep_base(tx: &mut Tx<'_>, base: u64) -> Result<()> {
    if tx.get(&Key::new(Table::Format))?.is_some() { put_format(tx, base) } else { Ok(()) }
}

/// Owners of something who are not attached: of the boot before, or of before the control file was lost.
fn gone(view: &View<'_>, engine: &Engine) -> Result<Vec<Owner>> {
    let attached: Vec<u64> =
        engine.control.slots_used().iter().map(|slot| slot.owner.load(Acquire)).collect();
    let mut gone = Vec::new();
    for table in [Table::Holdings, Table::Mail] {
        let mut from = 0;
        while let Some(row) = view.rows_from(&Key::new(table), &Key::new(table).u64(from))?.next() {
            let number = Take(&row?.0[1..]).u64();
            if !attached.contains(&number) && !gone.contains(&Owner::from_number(number)) {
                gone.push(Owner::from_number(number));
            }
            from = number.saturating_add(1);
        }
    }
    Ok(gone)
}
