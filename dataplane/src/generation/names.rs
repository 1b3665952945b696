//! The ids of rules by key: a list that only grows, and whose copies share all but the last page.

use std::sync::Arc;

/// Names in a page.
const PAGE: usize = 1024;

/// The names.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// All are full but the last.
    pages: Vec<Arc<Vec<Arc<str>>>>,
    len: usize,
}

impl Names {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The name at an index.
    pub(super) fn get(&self, at: usize) -> Option<&str> {
        self.pages.get(at / PAGE)?.get(at % PAGE).map(|name| &**name)
    }

    /// All of them in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.pages.iter().flat_map(|page| page.iter().map(|name| &**name))
    }

    /// Appends a name.
    pub(super) fn push(&mut self, name: Arc<str>) {
        if self.len.is_multiple_of(PAGE) {
            self.pages.push(Arc::default());
        }
        let page = self.pages.last_mut().expect("there is a page with room");
        Arc::make_mut(page).push(name);
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_what_it_had_when_the_other_grows() {
        let mut names = Names::default();
        let mut copies = Vec::new();
        for n in 0..3 * PAGE {
            copies.extend((n % 500 == 0).then(|| names.clone()));
            names.push(n.to_string().into());
        }
        for copy in copies.iter().chain([&names]) {
            assert!(copy.iter().eq((0..copy.len()).map(|n| n.to_string())));
            assert_eq!((copy.get(copy.len()), copy.iter().count()), (None, copy.len()));
        }
        assert_eq!(names.get(PAGE), Some(&*PAGE.to_string()));
    }
}
