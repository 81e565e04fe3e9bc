//! The program's allocator: mimalloc for what is small, and one region of memory for blocks of 256 KiB and more.
//!
//! A step takes and frees all its activations and gradients, of a dozen sizes. mimalloc keeps what was freed for blocks
//! of like sizes, so that pages of one size lie idle while those of another are in use: a quarter of the memory of a
//! ResNet-18's step. The region joins neighbouring free blocks and hands out the shortest that is long enough (best fit).
//!
//! Pages of the region stay with the process, as those of mimalloc do ([`crate::runtime::prepare`]).

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Bytes from which on a block is large.
const LARGE: usize = 256 << 10;
/// Blocks begin at multiples of a cache line.
const LINE: usize = 64;

/// The allocator, to be made a `#[global_allocator]`.
///
/// Where the system sets no address space aside (a limit by `ulimit -v`, another system than Linux), mimalloc serves
/// all blocks. So it does when the region is full.
pub struct Heap {
    region: OnceLock<Option<Region>>,
    free: Mutex<Free>,
}

/// Addresses that are set aside.
#[derive(Debug, Clone, Copy)]
struct Region {
    start: usize,
    len: usize,
}

/// Free blocks: their lengths by their starts. No two of them touch.
#[derive(Debug, Default)]
struct Free(BTreeMap<usize, usize>);

impl Free {
    /// A block of a length: the beginning of the shortest free one that is as long, of several the lowest.
    fn take(&mut self, len: usize) -> Option<usize> {
        let (&start, _) = self.0.iter().filter(|(_, found)| **found >= len).min_by_key(|(_, found)| **found)?;
        self.take_at(start, len).then_some(start)
    }

    /// Takes the first `len` of the free block that starts there, if there is one as long.
    fn take_at(&mut self, start: usize, len: usize) -> bool {
        let Some(&found) = self.0.get(&start).filter(|found| **found >= len) else { return false };
        self.0.remove(&start);
        if found > len {
            self.0.insert(start + len, found - len);
        }
        true
    }

    /// Takes a block back, joined with the free ones beside it.
    fn give(&mut self, mut start: usize, mut len: usize) {
        if let Some(after) = self.0.remove(&(start + len)) {
            len += after;
        }
        if let Some((&before, &found)) = self.0.range(..start).next_back().filter(|(at, found)| *at + *found == start) {
            self.0.remove(&before);
            (start, len) = (before, found + len);
        }
        self.0.insert(start, len);
    }
}

impl Region {
    /// As many addresses as the machine has memory.
    #[cfg(target_os = "linux")]
    fn reserve() -> Option<Self> {
        use std::ptr::null_mut;
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: fills the struct; nothing is touched where it fails.
        let known = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } == 0;
        // of an address space with a limit, others need what is left
        if !known || limit.rlim_cur != libc::RLIM_INFINITY {
            return None;
        }
        // SAFETY: asks for numbers.
        let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
        let len = usize::try_from(pages).ok()?.checked_mul(usize::try_from(size).ok()?)?;
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
        // SAFETY: new addresses, which nothing else knows.
        let start = unsafe { libc::mmap(null_mut(), len, access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: the mapping above; a system without huge pages refuses, and all is as before.
        unsafe { libc::madvise(start, len, libc::MADV_HUGEPAGE) };
        Some(Self { start: start as usize, len })
    }

    #[cfg(not(target_os = "linux"))]
    fn reserve() -> Option<Self> {
        None
    }
}

impl Heap {
    /// An allocator that has set nothing aside yet.
    #[expect(clippy::new_without_default, reason = "a static needs a constant")]
    pub const fn new() -> Self {
        Self { region: OnceLock::new(), free: Mutex::new(Free(BTreeMap::new())) }
    }

    /// Runs `f` on the free blocks; the first time they are the whole region. The map's own nodes are small, and so
    /// mimalloc's.
    fn with<R>(&self, f: impl FnOnce(&mut Free) -> R) -> Option<R> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let region = self.region.get_or_init(|| {
            let region = Region::reserve();
            region.inspect(|region| free.give(region.start, region.len))
        });
        region.map(|_| f(&mut free))
    }

    /// Whether a block lies in the region.
    fn holds(&self, block: *mut u8) -> bool {
        let region = self.region.get().copied().flatten();
        region.is_some_and(|region| (block as usize).wrapping_sub(region.start) < region.len)
    }
}

/// What a block of so many bytes takes.
fn whole(size: usize) -> usize {
    size.next_multiple_of(LINE)
}

// SAFETY: a block is mimalloc's, or a part of the region that `Free` hands out once until it is given back.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE
            && layout.align() <= LINE
            && let Some(start) = self.with(|free| free.take(whole(layout.size()))).flatten()
        {
            return start as *mut u8;
        }
        // SAFETY: the caller's.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.holds(block) {
            self.with(|free| free.give(block as usize, whole(layout.size())));
            return;
        }
        // SAFETY: the caller's; the block is not of the region.
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let held = self.holds(block);
        if !held && size < LARGE {
            // SAFETY: the caller's; the block is not of the region.
            return unsafe { MiMalloc.realloc(block, layout, size) };
        }
        let (old, new) = (whole(layout.size()), whole(size));
        if held && size >= LARGE {
            // what follows may be free, and what is left over becomes so
            let end = block as usize + old.min(new);
            let stays = self.with(|free| match new.checked_sub(old) {
                Some(more) => more == 0 || free.take_at(end, more),
                None => {
                    free.give(end, old - new);
                    true
                }
            });
            if stays == Some(true) {
                return block;
            }
        }
        // SAFETY: the caller's: a size that is not 0, and does not overflow with the alignment.
        unsafe {
            let other = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !other.is_null() {
                std::ptr::copy_nonoverlapping(block, other, layout.size().min(size));
                self.dealloc(block, layout);
            }
            other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_free_blocks_are_one_and_the_shortest_is_taken() {
        let mut free = Free::default();
        free.give(0, 100);
        let [a, b, c] = [30, 20, 50].map(|len| free.take(len).expect("room"));
        assert_eq!(([a, b, c], free.take(1)), ([0, 30, 50], None));
        // in any order three blocks become one
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 1, 0]] {
            order.map(|i| [(a, 30), (b, 20), (c, 50)][i]).iter().for_each(|(at, len)| free.give(*at, *len));
            assert_eq!(free.0, BTreeMap::from([(0, 100)]), "{order:?}");
            assert_eq!([30, 20, 50].map(|len| free.take(len)), [Some(a), Some(b), Some(c)]);
        }
        free.give(c, 50);
        free.give(a, 10);
        assert_eq!(
            [free.take(15), free.take(10), free.take(36)],
            [Some(c), Some(a), None],
            "the shortest that is long enough"
        );
        assert!(!free.take_at(c + 15, 36) && free.take_at(c + 15, 35) && free.0.is_empty());
    }

    #[test]
    fn blocks_keep_their_contents_while_others_come_and_go() {
        /// A block with the number that fills it.
        struct Held(*mut u8, Layout, u8);
        let heap = Heap::new();
        let layout = |size| Layout::from_size_align(size, 8).expect("a layout");
        let sizes = [1000, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE, 1 << 20];
        let mut held: Vec<Held> = Vec::new();
        let filled = |h: &Held| {
            // SAFETY: the block is held, and was filled.
            let bytes = unsafe { std::slice::from_raw_parts(h.0, h.1.size()) };
            bytes.iter().all(|byte| *byte == h.2)
        };
        for i in 0..600usize {
            let size = sizes[i * i % 7 % sizes.len()];
            match i % 5 {
                0 | 1 | 3 => {
                    // SAFETY: a size that is not 0; the block is filled before it is read.
                    let block = unsafe { heap.alloc(layout(size)) };
                    assert!(!block.is_null());
                    held.push(Held(block, layout(size), i as u8));
                }
                2 => {
                    let Held(block, was, with) = held.swap_remove(i * 7 % held.len());
                    // SAFETY: the block is held, with this layout.
                    let block = unsafe { heap.realloc(block, was, size) };
                    let common = Held(block, layout(size.min(was.size())), with);
                    assert!(filled(&common), "{} bytes to {size}", was.size());
                    held.push(Held(block, layout(size), i as u8));
                }
                _ => {
                    let one = held.swap_remove(i * 3 % held.len());
                    assert!(filled(&one));
                    // SAFETY: the block is held, with this layout.
                    unsafe { heap.dealloc(one.0, one.1) };
                    continue;
                }
            }
            if let Some(Held(block, layout, with)) = held.last() {
                // SAFETY: the block was just had.
                unsafe { block.write_bytes(*with, layout.size()) };
            }
        }
        assert!(held.iter().all(filled));
        for Held(block, layout, _) in held {
            // SAFETY: as above.
            unsafe { heap.dealloc(block, layout) };
        }
        // all has come back, in one piece
        let region = heap.region.get().copied().flatten();
        let free = heap.free.lock().expect("no test failed");
        assert_eq!(
            free.0.iter().map(|(at, len)| (*at, *len)).collect::<Vec<_>>(),
            region.map_or(vec![], |r| vec![(r.start, r.len)])
        );
    }
}
