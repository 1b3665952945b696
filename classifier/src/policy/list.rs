//! A list whose changed copy shares what it did not touch.
//!
//! ```text
//! base: all elements as they were built, shared by every copy
//! pages: 512 elements each, only where one was changed or added ──► the element, shared by the copies that have it
//! ```
//!
//! A policy of a million rules is copied with each change of compiled tables: that costs a reference count per page
//! that has changes, and no element.

use std::fmt;
use std::ops::{Index, IndexMut, Range};
use std::sync::Arc;

/// Elements in a page.
const PAGE: usize = 512;

/// Changed elements, `None` where the base has them.
type Page<T> = [Option<Arc<T>>; PAGE];

/// The list.
#[derive(Clone)]
pub struct List<T> {
    base: Arc<Vec<T>>,
    pages: Vec<Option<Arc<Page<T>>>>,
    len: usize,
}

impl<T> List<T> {
    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The element at an index.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&T> {
        if at >= self.len {
            return None;
        }
        match self.pages.get(at / PAGE) {
            Some(Some(page)) => page[at % PAGE].as_deref().or_else(|| self.base.get(at)),
            Some(None) | None => self.base.get(at),
        }
    }

    /// All elements in order.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { list: self, rest: 0..self.len }
    }
}

impl<T: Clone> List<T> {
    /// Appends an element.
    pub(crate) fn push(&mut self, value: T) {
        match Arc::get_mut(&mut self.base) {
            Some(base) if base.len() == self.len => base.push(value),
            Some(_) | None => *self.slot(self.len) = Some(Arc::new(value)),
        }
        self.len += 1;
    }

    /// Puts another element in the place of the one at an index.
    pub(crate) fn set(&mut self, at: usize, value: T) {
        assert!(at < self.len, "{at} of {}", self.len);
        *self.slot(at) = Some(Arc::new(value));
    }

    fn slot(&mut self, at: usize) -> &mut Option<Arc<T>> {
        let page = at / PAGE;
        if self.pages.len() <= page {
            self.pages.resize(page + 1, None);
        }
        let page = self.pages[page].get_or_insert_with(|| Arc::new([const { None }; PAGE]));
        &mut Arc::make_mut(page)[at % PAGE]
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        List { base: Arc::default(), pages: Vec::new(), len: 0 }
    }
}

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let base: Vec<T> = elements.into_iter().collect();
        List { len: base.len(), base: Arc::new(base), pages: Vec::new() }
    }
}

impl<T> Index<usize> for List<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        self.get(at).expect("the index is within the list")
    }
}

impl<T: Clone> IndexMut<usize> for List<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        assert!(at < self.len, "{at} of {}", self.len);
        let is_changed =
            self.pages.get(at / PAGE).is_some_and(|p| p.as_ref().is_some_and(|p| p[at % PAGE].is_some()));
        if !is_changed {
            let copy = Arc::new(self.base[at].clone());
            *self.slot(at) = Some(copy);
        }
        Arc::make_mut(self.slot(at).as_mut().expect("it was put in above"))
    }
}

impl<T: PartialEq> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other)
    }
}

impl<T: Eq> Eq for List<T> {}

impl<T: fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'l, T> IntoIterator for &'l List<T> {
    type Item = &'l T;
    type IntoIter = Iter<'l, T>;

    fn into_iter(self) -> Iter<'l, T> {
        self.iter()
    }
}

/// The elements of a [`List`] in order.
#[derive(Clone, Debug)]
pub struct Iter<'l, T> {
    list: &'l List<T>,
    rest: Range<usize>,
}

impl<'l, T> Iterator for Iter<'l, T> {
    type Item = &'l T;

    fn next(&mut self) -> Option<&'l T> {
        self.rest.next().map(|at| &self.list[at])
    }

    fn nth(&mut self, n: usize) -> Option<&'l T> {
        self.rest.nth(n).map(|at| &self.list[at])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rest.size_hint()
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}

impl<T> DoubleEndedIterator for Iter<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.rest.next_back().map(|at| &self.list[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_share_what_was_not_changed() {
        let mut list: List<String> = (0..2_000).map(|n| n.to_string()).collect();
        let before = list.clone();
        list[700] = "changed".to_owned();
        list.push("new".to_owned());
        assert_eq!((list.len(), before.len()), (2_001, 2_000));
        assert_eq!((list[700].as_str(), before[700].as_str()), ("changed", "700"));
        assert_eq!(list.get(2_000).map(String::as_str), Some("new"));
        assert_eq!(before.get(2_000), None);
        assert!(std::ptr::eq(&raw const list[701], &raw const before[701]), "one copy of what is the same");
        list[700] = "700".to_owned();
        assert_ne!(list, before);
        assert!(list.iter().take(2_000).eq(&before));
    }

    #[test]
    fn elements_come_in_order_from_both_ends() {
        let mut list = List::default();
        for n in 0..1_500 {
            list.push(n);
        }
        let other = list.clone();
        list.push(1_500);
        assert!(list.iter().copied().eq(0..1_501));
        assert!(list.iter().rev().copied().eq((0..1_501).rev()));
        assert_eq!(other.iter().len(), 1_500);
    }
}
