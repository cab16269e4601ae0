//! Backups: every row that outlives the processes, as one file with a checksum.
//!
//! `magic(8) layout(4) last ticket(8)`, then rows `key length(4) value length(4) key value`, then a zero length and the
//! SHA-256 of all before. Our own plain format, because LMDB must not be trusted with a file from elsewhere.
//!
//! Durable queues lie in a store of their own: its archive follows in the same file, in the same format.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use sha2::{Digest, Sha256};

use crate::WallMs;
use crate::control::is_readable;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::key::{Key, Put, Table};
use crate::queue;
use crate::store::Store;
use crate::tx::View;

const MAGIC: [u8; 8] = *b"SKEPbak\0";

/// What lasts. Locks, waits, mail and channel messages belong to processes and end with them.
const LASTING: [Table; 10] = [
    Table::Keys,
    Table::Elements,
    Table::Timers,
    Table::Names,
    Table::Garbage,
    Table::Counters,
    Table::Flights,
    Table::Queues,
    Table::Jobs,
    Table::SavedCounters,
];

/// Writes through a checksum.
struct Sealed<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Sealed<W> {
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.inner.write_all(bytes)
    }

    fn row(&mut self, key: &[u8], value: &[u8]) -> std::io::Result<()> {
        let mut head = Vec::with_capacity(8);
        head.put_u32(u32::try_from(key.len()).unwrap_or(u32::MAX));
        head.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.put(&head)?;
        self.put(key)?;
        self.put(value)
    }
}

/// Writes the stores' archives, one after the other; the file is complete or not there.
pub(crate) fn save(stores: &[&Engine], path: &Path, now: WallMs) -> Result<()> {
    let failed = |e| Error::io("cannot write the backup", path, e);
    let temporary = path.with_extension("part");
    let mut out = BufWriter::new(crate::files::create(&temporary, 0)?);
    for engine in stores {
        out = archive(engine, out, path, now)?;
    }
    let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
    file.sync_all().map_err(failed)?;
    rustix::fs::rename(&temporary, path).map_err(|e| Error::io("cannot rename to", path, e))
}

fn archive(engine: &Engine, out: BufWriter<File>, path: &Path, now: WallMs) -> Result<BufWriter<File>> {
    let failed = |e| Error::io("cannot write the backup", path, e);
    let mut out = Sealed { inner: out, hash: Sha256::new() };
    let last = engine.write(now, |tx| Ok(tx.before_tickets()))?;
    engine.read(now, |view| {
        out.put(&MAGIC).map_err(failed)?;
        // Not before: it is raised by what is committed afterwards.
        out.put(&engine.control.layout().to_be_bytes()).map_err(failed)?;
        out.put(&last.to_be_bytes()).map_err(failed)?;
        for table in LASTING.into_iter().filter(|table| *table != Table::SavedCounters) {
            for row in view.rows(&Key::new(table))? {
                let (key, value) = row?;
                out.row(key, value).map_err(failed)?;
            }
        }
        for counter in crate::counters::list(view)? {
            let place = u32::try_from(counter.place).unwrap_or(u32::MAX);
            let key = Key::new(Table::SavedCounters).u32(place);
            out.row(key.as_slice(), &counter.value.to_be_bytes()).map_err(failed)?;
        }
        Ok(())
    })?;
    out.put(&[0; 4]).map_err(failed)?;
    let Sealed { mut inner, hash } = out;
    inner.write_all(&hash.finalize()).map_err(failed)?;
    Ok(inner)
}

/// A verified backup's rows.
struct Contents {
    layout: u32,
    last_ticket: u64,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The archives of a file, all of them verified.
fn read(path: &Path, value_bytes_max: u64) -> Result<Vec<Contents>> {
    let file = File::open(path).map_err(|e| Error::io("cannot open", path, e))?;
    let mut input = BufReader::new(file);
    let mut archives = vec![read_archive(&mut input, path, value_bytes_max)?];
    while !input.fill_buf().map_err(|e| Error::io("cannot read", path, e))?.is_empty() {
        archives.push(read_archive(&mut input, path, value_bytes_max)?);
    }
    Ok(archives)
}

fn read_archive(input: &mut impl Read, path: &Path, value_bytes_max: u64) -> Result<Contents> {
    let bad = |why: &str| Error::BadBackup { path: path.to_path_buf(), why: why.to_owned() };
    let mut hash = Sha256::new();
    let mut take = |bytes: &mut [u8]| {
        input.read_exact(bytes).map_err(|_| bad("it is cut short"))?;
        hash.update(&*bytes);
        Ok::<(), Error>(())
    };
    let mut head = [0; 20];
    take(&mut head)?;
    if head[..8] != MAGIC {
        return Err(bad("it begins with something else"));
    }
    let mut numbers = crate::key::Take(&head[8..]);
    let layout = numbers.u32();
    if !is_readable(layout) {
        return Err(bad("it was made by a version with another layout"));
    }
    let last_ticket = numbers.u64();
    let mut rows = Vec::new();
    loop {
        let mut length = [0; 4];
        take(&mut length)?;
        let key_bytes = u32::from_be_bytes(length) as usize;
        if key_bytes == 0 {
            break;
        }
        take(&mut length)?;
        let value_bytes = u32::from_be_bytes(length);
        // A record is a value and at most a long name and some bytes of its own.
        let value_max = value_bytes_max + 2 * crate::limits::KEY_BYTES_MAX as u64;
        if key_bytes > 511 || u64::from(value_bytes) > value_max {
            return Err(bad("a row in it is too long"));
        }
        let (mut key, mut value) = (vec![0; key_bytes], vec![0; value_bytes as usize]);
        take(&mut key)?;
        take(&mut value)?;
        rows.push((key, value));
    }
    let sum = hash.finalize();
    let mut stored = [0; 32];
    input.read_exact(&mut stored).map_err(|_| bad("it is cut short"))?;
    if stored != sum[..] {
        return Err(bad("its checksum does not match"));
    }
    Ok(Contents { layout, last_ticket, rows })
}

/// Puts the archive of a file in place of everything in the store, and, if there is one of durable queues, that in the
/// store which `durable` opens. All of the file was verified before anything is changed.
pub(crate) fn load(
    engine: &Engine,
    durable: Option<&dyn Fn() -> Result<Store>>,
    path: &Path,
    now: WallMs,
) -> Result<()> {
    let mut archives = read(path, engine.control.header().value_bytes_max.load(Acquire))?.into_iter();
    if let Some(contents) = archives.next() {
        put_in_place(engine, &contents, path, now)?;
    }
    match (archives.next(), durable) {
        (Some(contents), Some(durable)) => put_in_place(durable()?.engine(), &contents, path, now),
        (Some(_), None) | (None, _) => Ok(()),
    }
}

fn put_in_place(engine: &Engine, contents: &Contents, path: &Path, now: WallMs) -> Result<()> {
    let lasting = |key: &[u8]| {
        // Who waited for jobs was another process.
        LASTING.into_iter().any(|table| key.first() == Some(&(table as u8))) && !queue::is_waiter(key)
    };
    // Tickets given from now on must be above those in the backup.
    let base = engine.control.header().ticket_base.fetch_max(contents.last_ticket + 1, Relaxed);
    let base = base.max(contents.last_ticket + 1);
    engine.write(now, |tx| {
        if in_use(engine) && !numbers_agree(&tx.view(), contents)? {
            return Err(Error::NamesInUse { path: path.to_path_buf() });
        }
        engine.control.raise_layout(contents.layout);
        // Whoever waits for jobs looks again afterwards, and takes a new place in line.
        queue::tell_everybody(tx)?;
        for table in LASTING {
            tx.delete_range(&Key::new(table))?;
        }
        for (key, value) in contents.rows.iter().filter(|(key, _)| lasting(key)) {
            tx.put(&Key::copy(key), value)?;
        }
        crate::durable::keep_base(tx, base)?;
        tx.due(now);
        Ok(())
    })?;
    engine.read(now, |view| crate::counters::load(view, &engine.control))?;
    crate::watch::tell(engine);
    Ok(())
}

/// Whether a worker is attached.
fn in_use(engine: &Engine) -> bool {
    engine.control.slots_used().iter().skip(1).any(|slot| slot.owner.load(Acquire) != 0)
}

/// Whether every name that exists has the same number in the backup: workers look a name up once and go by its number
/// from then on.
fn numbers_agree(view: &View<'_>, contents: &Contents) -> Result<bool> {
    let saved: HashMap<&[u8], &[u8]> =
        contents.rows.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect();
    for table in [Table::Names, Table::Counters] {
        for row in view.rows(&Key::new(table))? {
            let (key, value) = row?;
            if !is_count(key) && saved.get(key) != Some(&value) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The rows that count spaces and counters: of names, but none itself.
fn is_count(key: &[u8]) -> bool {
    key == Key::new(Table::Names).u8(b'S').as_slice() || key == Key::new(Table::Names).u8(b'C').as_slice()
}
