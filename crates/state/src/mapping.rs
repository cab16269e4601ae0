//! A shared mapping of a whole file: the only place that turns mapped memory into references.

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags};

/// Memory shared with other processes, mapped for the life of this value. Its file is fully allocated
/// (`posix_fallocate`) and never truncated, so that touching it cannot raise SIGBUS.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory is shared between processes by nature; everything handed out of it is atomic or constant.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Types that may lie in shared memory: any bytes are a valid value, and what changes is atomic.
pub(crate) trait Shareable {}
impl Shareable for crate::control::Header {}
impl Shareable for crate::control::Slot {}
impl Shareable for std::sync::atomic::AtomicI64 {}
impl Shareable for u32 {}
impl Shareable for [u8; 8] {}

impl Mapping {
    /// Maps `bytes` bytes of the file for reading and writing.
    pub(crate) fn shared(file: BorrowedFd<'_>, bytes: usize) -> rustix::io::Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh address range is chosen by the kernel; nothing else of ours lies there.
        let base = unsafe { rustix::mm::mmap(std::ptr::null_mut(), bytes, prot, MapFlags::SHARED, file, 0) }?;
        let base = NonNull::new(base.cast::<u8>()).ok_or(rustix::io::Errno::NOMEM)?;
        Ok(Self { base, bytes })
    }

    fn place<T>(&self, offset: usize, count: usize) -> NonNull<T> {
        let end = offset + count * size_of::<T>();
        assert!(end <= self.bytes && offset.is_multiple_of(align_of::<T>()), "outside of the mapping");
        // SAFETY: the offset was just checked to lie inside of the mapping.
        unsafe { self.base.add(offset) }.cast::<T>()
    }

    /// Reads a value that is constant after the file has its name.
    pub(crate) fn read_at<T: Shareable + Copy>(&self, offset: usize) -> T {
        // SAFETY: in bounds and aligned (`place`), and any bytes are a valid `T` (`Shareable`).
        unsafe { self.place::<T>(offset, 1).read() }
    }

    /// Writes the first contents, before anybody else can see the file.
    pub(crate) fn write_at<T: Shareable>(&self, offset: usize, value: T) {
        // SAFETY: in bounds and aligned (`place`).
        unsafe { self.place::<T>(offset, 1).write(value) }
    }

    /// Copies bytes to where nobody looks until told.
    pub(crate) fn write_bytes(&self, offset: usize, bytes: &[u8]) {
        let place = self.place::<u8>(offset, bytes.len());
        // SAFETY: in bounds (`place`); `bytes` are not of the mapping, of which only atomic and constant parts are handed out.
        unsafe { place.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) }
    }

    /// A view of one shared value.
    pub(crate) fn at<T: Shareable>(&self, offset: usize) -> &T {
        // SAFETY: in bounds and aligned (`place`), valid for the life of the mapping, changes are atomic.
        unsafe { self.place::<T>(offset, 1).as_ref() }
    }

    /// A view of a row of shared values.
    pub(crate) fn slice_at<T: Shareable>(&self, offset: usize, count: usize) -> &[T] {
        let start = self.place::<T>(offset, count);
        // SAFETY: as for `at`, for `count` values.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), count) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `shared`, and no reference outlives `self`. A failure leaks the range.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}
