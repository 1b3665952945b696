//! The datagrams in the order in which they began, oldest first: a list through the records. Since all wait equally
//! long, it is the order in which their time is over, too.

use super::table::NONE;

/// A record's place in the list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    older: u16,
    newer: u16,
}

/// The list.
pub(super) struct Order {
    links: Box<[Link]>,
    oldest: u16,
    newest: u16,
}

impl Order {
    /// A list for that many records, empty.
    pub(super) fn new(records: usize) -> Order {
        let links = vec![Link { older: NONE, newer: NONE }; records].into_boxed_slice();
        Order { links, oldest: NONE, newest: NONE }
    }

    /// Bytes of memory.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.links)
    }

    /// The oldest record.
    pub(super) fn oldest(&self) -> Option<u16> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// The record that began next after this one.
    pub(super) fn newer(&self, record: u16) -> Option<u16> {
        let newer = self.links[usize::from(record)].newer;
        (newer != NONE).then_some(newer)
    }

    /// Appends a record.
    pub(super) fn push(&mut self, record: u16) {
        self.links[usize::from(record)] = Link { older: self.newest, newer: NONE };
        match self.newest {
            NONE => self.oldest = record,
            newest => self.links[usize::from(newest)].newer = record,
        }
        self.newest = record;
    }

    /// Takes a record out.
    pub(super) fn remove(&mut self, record: u16) {
        let Link { older, newer } = self.links[usize::from(record)];
        match older {
            NONE => self.oldest = newer,
            older => self.links[usize::from(older)].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.links[usize::from(newer)].older = older,
        }
    }
}
