//! Names that must be unique, each with the place where it was given.

use super::row::Located;
use crate::config::near;
use crate::config::source::Span;
use crate::diagnostic::{Code, Diagnostic};
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// What has been named so far.
#[derive(Debug)]
pub(crate) struct Names<T> {
    /// What a message calls one of them.
    what: &'static str,
    known: HashMap<String, (T, Span)>,
    /// What was said of a name that is not known: a wrong name is often used more than once.
    helps: RefCell<HashMap<String, String>>,
}

impl<T: Copy> Names<T> {
    pub(crate) fn new(what: &'static str) -> Self {
        Names { what, known: HashMap::new(), helps: RefCell::default() }
    }

    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.known.reserve(count);
    }

    /// Gives a name to something; false, with an error, where something else has it.
    pub(crate) fn declare(&mut self, name: Located<&str>, thing: T, out: &mut Vec<Diagnostic>) -> bool {
        let what = self.what;
        match self.known.entry(name.value.to_owned()) {
            Entry::Vacant(vacant) => {
                vacant.insert((thing, name.span));
                true
            }
            Entry::Occupied(first) => {
                out.push(
                    Diagnostic::error(
                        Code::DuplicateName,
                        name.span,
                        format!("two {} are called `{}`", plural(what), name.value),
                    )
                    .label("again here")
                    .related(first.get().1, "first here")
                    .help("give one of them another name"),
                );
                false
            }
        }
    }

    /// What bears the name.
    pub(crate) fn get(&self, name: &str) -> Option<T> {
        self.known.get(name).map(|(thing, _)| *thing)
    }

    /// Whether anything bears it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    fn help(&self, wrong: &str) -> String {
        let mut helps = self.helps.borrow_mut();
        let said = helps.entry(wrong.to_owned());
        said.or_insert_with(|| near::known(wrong, self.what, self.iter())).clone()
    }

    /// All names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.known.keys().map(String::as_str)
    }

    /// What bears the name, or an error that names those that are like it.
    pub(crate) fn find(&self, name: Located<&str>, code: Code, out: &mut Vec<Diagnostic>) -> Option<T> {
        let found = self.get(name.value);
        if found.is_none() {
            out.push(
                Diagnostic::error(code, name.span, format!("there is no {} `{}`", self.what, name.value))
                    .help(self.help(name.value)),
            );
        }
        found
    }
}

fn plural(what: &str) -> String {
    format!("{what}{}", if what.ends_with("ch") { "es" } else { "s" })
}

/// Things that refer to each other in a circle.
#[derive(Debug)]
pub(crate) struct Cycle {
    /// In the order of the references.
    pub(crate) path: Vec<usize>,
    /// The reference from the last to the first.
    pub(crate) closing: Span,
}

impl Cycle {
    /// `a -> b -> a`; of a long circle only the first few.
    pub(crate) fn describe<'a>(&self, name: impl Fn(usize) -> &'a str) -> String {
        const SHOWN: usize = 8;
        let mut names: Vec<&str> = self.path.iter().take(SHOWN).map(|index| name(*index)).collect();
        names.extend((self.path.len() > SHOWN).then_some("…"));
        names.extend(self.path.first().map(|index| name(*index)));
        names.join(" -> ")
    }
}

/// The circles among things, `references[i]` being what thing `i` refers to. Depth first with three colours:
/// a reference to a thing in progress closes a circle.
pub(crate) fn cycles(references: &[Vec<(usize, Span)>]) -> Vec<Cycle> {
    let mut found = Vec::new();
    let mut done = vec![false; references.len()];
    for start in 0..references.len() {
        let mut path: Vec<(usize, usize)> = if done[start] { Vec::new() } else { vec![(start, 0)] };
        while let Some((thing, next)) = path.last_mut() {
            let Some((to, span)) = references[*thing].get(*next).copied() else {
                done[*thing] = true;
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(at) = path.iter().position(|(thing, _)| *thing == to) {
                let path = path[at..].iter().map(|(thing, _)| *thing).collect();
                found.push(Cycle { path, closing: span });
            } else if !done[to] {
                path.push((to, 0));
            }
        }
    }
    found
}
