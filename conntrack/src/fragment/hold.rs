//! Memory for frames that are held: equal blocks, taken once at the start, and chained where a frame needs several.

use super::table::NONE;

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

/// A pool of blocks.
pub(super) struct Hold {
    blocks: Box<[[u8; BLOCK]]>,
    /// The next block of the same frame, or the next free one.
    next: Box<[u16]>,
    free: u16,
    left: usize,
}

/// How many blocks a frame needs.
pub(super) const fn blocks_for(length: usize) -> usize {
    length.div_ceil(BLOCK)
}

impl Hold {
    /// A pool of that many blocks, all free.
    pub(super) fn new(blocks: usize) -> Hold {
        assert!(blocks < usize::from(NONE), "a block has a 16-bit number");
        let next = (1..=blocks).map(|at| if at < blocks { at as u16 } else { NONE });
        Hold {
            blocks: vec![[0; BLOCK]; blocks].into_boxed_slice(),
            next: next.collect(),
            free: if blocks > 0 { 0 } else { NONE },
            left: blocks,
        }
    }

    /// Bytes of memory.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.blocks) + size_of_val(&*self.next)
    }

    /// Whether a frame of that length fits.
    pub(super) fn has_room(&self, length: usize) -> bool {
        blocks_for(length) <= self.left
    }

    /// Keeps a copy of a frame, for which there is room: its first block.
    pub(super) fn store(&mut self, frame: &[u8]) -> u16 {
        debug_assert!(self.has_room(frame.len()), "the caller asks before");
        let first = self.free;
        let mut last = NONE;
        for part in frame.chunks(BLOCK) {
            let block = self.free;
            self.blocks[usize::from(block)][..part.len()].copy_from_slice(part);
            last = block;
            self.free = self.next[usize::from(block)];
            self.left -= 1;
        }
        if last == NONE {
            return NONE;
        }
        self.next[usize::from(last)] = NONE;
        first
    }

    /// Writes a kept frame to the beginning of `into`, which is as long as the frame or longer.
    pub(super) fn copy(&self, mut block: u16, length: usize, into: &mut [u8]) {
        for part in into[..length].chunks_mut(BLOCK) {
            part.copy_from_slice(&self.blocks[usize::from(block)][..part.len()]);
            block = self.next[usize::from(block)];
        }
    }

    /// Gives the blocks of a frame back.
    pub(super) fn free(&mut self, first: u16) {
        let mut block = first;
        while block != NONE {
            let next = self.next[usize::from(block)];
            self.next[usize::from(block)] = self.free;
            self.free = block;
            self.left += 1;
            block = next;
        }
    }
}
