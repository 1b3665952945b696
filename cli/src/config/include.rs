//! Reads the gateway file and the files that it includes, each once, in their order: a file, then what it
//! includes, depth first, a glob in name order.

use super::bundle::Files;
use super::source::{FileId, SourceFile, Sources, Span};
use super::tree::{self, Data, Table, Texts};
use crate::diagnostic::{Code, Diagnostic};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How deep files may include each other.
const DEPTH_LIMIT: usize = 32;

/// What was read.
pub(crate) struct Read<'t> {
    pub(crate) sources: Sources,
    /// One for each file, in the order of the sources.
    pub(crate) trees: Vec<Table<'t>>,
}

struct Reader<'a, 't> {
    files: &'a dyn Files,
    texts: &'t Texts,
    read: Read<'t>,
    /// By canonical path: where a file was included first; the gateway file was not.
    seen: HashMap<PathBuf, Option<Span>>,
    /// The canonical paths of the files that are being read.
    open: Vec<PathBuf>,
    out: &'a mut Vec<Diagnostic>,
}

/// Reads all files; what they say is kept in `texts`. Only a gateway file that can't be read at all is a failure.
pub(crate) fn read<'t>(
    files: &dyn Files,
    path: &Path,
    texts: &'t Texts,
    out: &mut Vec<Diagnostic>,
) -> io::Result<Read<'t>> {
    let bytes = files.read(path)?;
    // A pipe (`<(…)`, /dev/stdin) can be read, and has no other name; nothing includes it.
    let canonical = files.canonical(path).unwrap_or_else(|_| path.to_owned());
    let mut reader = Reader {
        files,
        texts,
        read: Read { sources: Sources::default(), trees: Vec::new() },
        seen: HashMap::from([(canonical.clone(), None)]),
        open: vec![canonical],
        out,
    };
    reader.file(path, bytes);
    Ok(reader.read)
}

impl Reader<'_, '_> {
    fn file(&mut self, path: &Path, bytes: Vec<u8>) {
        let (text, bad_byte) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(at))
            }
        };
        let file = SourceFile::new(path.to_owned(), text);
        let text = self.texts.keep(Arc::clone(file.shared_text()));
        let id = self.read.sources.add(file);
        if let Some(at) = bad_byte {
            self.out.push(
                Diagnostic::error(Code::NotUtf8, Span::new(id, at..at + 1), "the file is not UTF-8")
                    .label("the first byte that is not")
                    .help("save the file as UTF-8, the only encoding that TOML has"),
            );
        }
        let (table, errors) = tree::parse(id, text);
        for error in errors {
            self.out.push(syntax_error(&error, self.read.sources.file(id)));
        }
        let includes = includes(&table);
        self.read.trees.push(table);
        for (pattern, span) in includes {
            self.include(id, &pattern, span);
        }
    }

    fn include(&mut self, by: FileId, pattern: &str, span: Span) {
        let base = self.read.sources.file(by).path().parent().unwrap_or(Path::new("")).to_owned();
        let is_glob = pattern.contains(['*', '?', '[']);
        let paths = if is_glob { self.files.expand(&base, pattern) } else { Ok(vec![base.join(pattern)]) };
        match paths {
            Ok(paths) if paths.is_empty() => self.out.push(
                Diagnostic::error(Code::IncludeMissing, span, format!("no file matches `{pattern}`"))
                    .help("correct the pattern, or take it out: it is relative to the file that it stands in"),
            ),
            Ok(paths) => {
                for path in paths {
                    self.include_one(&path, span);
                }
            }
            Err(error) => self.out.push(
                Diagnostic::error(Code::IncludeMissing, span, format!("`{pattern}` is no pattern: {error}"))
                    .help("`*` and `?` match within a name, `**` matches folders, `[ab]` one of some characters"),
            ),
        }
    }

    fn include_one(&mut self, path: &Path, span: Span) {
        let shown = path.display();
        let content =
            self.files.canonical(path).and_then(|canonical| Ok((canonical, self.files.read(path)?)));
        let (canonical, bytes) = match content {
            Ok(content) => content,
            Err(error) => {
                self.out.push(
                    Diagnostic::error(
                        Code::IncludeMissing,
                        span,
                        format!("`{shown}` can't be read: {}", reason(&error)),
                    )
                    .help("correct the path: it is relative to the file that it stands in"),
                );
                return;
            }
        };
        if self.open.len() >= DEPTH_LIMIT {
            self.out.push(
                Diagnostic::error(
                    Code::IncludeCycle,
                    span,
                    format!("files include each other over {DEPTH_LIMIT} deep"),
                )
                .help("include them from fewer files"),
            );
            return;
        }
        if self.open.contains(&canonical) {
            self.out.push(
                Diagnostic::error(Code::IncludeCycle, span, format!("`{shown}` includes itself"))
                    .help("take it out: a file is read once, whoever includes it"),
            );
            return;
        }
        if let Some(first) = self.seen.get(&canonical) {
            let mut diagnostic =
                Diagnostic::error(Code::IncludeTwice, span, format!("`{shown}` is included twice"))
                    .help("include it once");
            if let Some(first) = first.filter(|first| *first != span) {
                diagnostic = diagnostic.related(first, "first here");
            }
            self.out.push(diagnostic);
            return;
        }
        self.seen.insert(canonical.clone(), Some(span));
        self.open.push(canonical);
        self.file(path, bytes);
        self.open.pop();
    }
}

/// What the operating system says, without the number.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

/// The entries of `include`. What has the wrong shape is reported with all other wrong shapes.
fn includes(table: &Table<'_>) -> Vec<(String, Span)> {
    let Some(entry) = table.get("include") else { return Vec::new() };
    let items = match &entry.value.data {
        Data::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&entry.value),
    };
    items
        .iter()
        .filter_map(|item| match &item.data {
            Data::Text(text) => Some((text.to_string(), item.span)),
            _ => None,
        })
        .collect()
}

fn syntax_error(error: &tree::SyntaxError, file: &SourceFile) -> Diagnostic {
    let found = file.text().get(error.span.range()).unwrap_or("");
    let diagnostic = Diagnostic::error(Code::Syntax, error.span, error.message.clone());
    if error.message == "duplicate key" {
        return Diagnostic { message: format!("`{found}` is given twice"), ..diagnostic }
            .help("a table has each key once: keep one of them; a list of tables is written `[[name]]`");
    }
    diagnostic.help("this is not TOML; strings want quotes, lists want brackets, and each key its own line")
}
