//! The reader and the `toml` crate, held together.

use super::*;
use crate::config::tree::parse_any;
use std::path::PathBuf;

/// What this reader takes, the `toml` crate takes without an error, and reads the same. Whether it was taken.
fn is_taken(text: &str) -> bool {
    let Some(table) = parse(FileId(3), text) else { return false };
    let (other, errors) = parse_any(FileId(3), text);
    assert!(errors.is_empty(), "{}: {text:?}", errors[0].message);
    assert_eq!(table, other, "{text:?}");
    true
}

fn files_below(folder: PathBuf, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(path, all);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            all.push(path);
        }
    }
}

#[test]
fn every_sample_is_read_alike_and_every_good_one_at_once() {
    let mut files = Vec::new();
    files_below(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs")), &mut files);
    files_below(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut files);
    assert!(files.len() > 60, "{}", files.len());
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let is_invalid = path.components().any(|part| part.as_os_str() == "invalid");
        assert!(is_taken(&text) || is_invalid, "{} is left to the toml crate", path.display());
    }
}

#[test]
fn what_configurations_hold_is_taken() {
    for text in [
        "",
        "# nothing\r\n\r\n",
        "a = 1\nb = 'x'\n[c]\n",
        "[a.b]\n[a.c]\nx = { }\n[[d]]\n[[d]]\nx = [ ]",
        "[conntrack]\nmax_flows = 1\n[conntrack.timeouts]\nudp = 30\n",
        "[ a . \"b c\" ] # why\nx = \"\\\"y\\\" \\\\ \\n\\tz\"",
        "x = [ # one\n  \"a\" , # two\n\n  'b',\n]",
        "x = { a = \"b\", c = [1, 2], d = { e = true } }",
        "x = \"\"\"\nlines\nand \"quotes\"\n\"\"\"\ny = '''it's'''",
        "x = 2027-01-31T00:00:00Z\ny = 9999-12-31T23:59:59Z",
        "ä = 1".replace('ä', "\"ä\"").as_str(),
        "x = \"ä\" # ö",
    ] {
        assert!(is_taken(text), "{text:?}");
    }
}

#[test]
fn what_is_rare_or_wrong_is_left_to_others() {
    for text in [
        "a.b = 1",
        "[a.b.c]",
        "[[a.b]]",
        "a = 1\na = 2",
        "[a]\n[a]",
        "[a.b]\n[a]",
        "[a]\nb = 1\n[a.b]",
        "[a.b]\n[a.b]",
        "a = {}\n[a.b]",
        "a = []\n[[a]]",
        "[[a]]\n[a.b]",
        "[a]\n[[a]]",
        "x = { a = 1, a = 2 }",
        "x = { a = 1, }",
        "x = { a = 1\n}",
        "x = 1_0",
        "x = 01",
        "x = -1",
        "x = 1.5",
        "x = 0x10",
        "x = 12345678901234567890",
        "x = tru",
        "x = truee",
        "x = \"\\u0041\"",
        "x = \"a",
        "x = \"a\nb\"",
        "x = \"\"\"a\"\"\"\"",
        "x = \"\"\"a\\\nb\"\"\"",
        "x = 2027-02-29T00:00:00Z",
        "x = 2027-13-01T00:00:00Z",
        "x = 2027-01-01",
        "x = 1 y = 2",
        "x = [1 2]",
        "x",
        "= 1",
        "x =",
        "\u{feff}x = 1",
        "# \u{7}",
        "x = 1\rx",
    ] {
        assert!(parse(FileId(0), text).is_none(), "{text:?}");
    }
}

/// A generator of Knuth's (MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

#[test]
fn no_text_is_read_otherwise_than_by_the_toml_crate() {
    const PIECES: [&str; 48] = [
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        ",",
        "=",
        ".",
        "\n",
        "\n",
        "\r\n",
        "\r",
        " ",
        "\t",
        "#",
        "\"",
        "'",
        "\"\"\"",
        "'''",
        "\\",
        "\\n",
        "\\\"",
        "\\u00e4",
        "a",
        "b",
        "c-d",
        "_",
        "true",
        "false",
        "0",
        "7",
        "42",
        "00",
        "-1",
        "+1",
        "1_0",
        "1.5",
        "1e3",
        "0x1f",
        "inf",
        "2027-01-31T00:00:00Z",
        "2024-02-29T00:00:00Z",
        "07:32:00",
        "ä",
        "\u{7f}",
        "\0",
        "\u{feff}",
    ];
    const LINES: [&str; 28] = [
        "[a]",
        "[b]",
        "[a.b]",
        "[a.c]",
        "[b.c]",
        "[[a]]",
        "[[r]]",
        "[[r]]",
        "[[r]] # x",
        "[r.s]",
        "a = 1",
        "b = 2",
        "a.b = 1",
        "c = 'x'",
        "d = [1, 'two', [3]]",
        "e = { a = 1, b = { c = 2 } }",
        "e = { a = 1, a = 2 }",
        "f = \"x\\\"y\"",
        "g = \"\"\"\nz\n\"\"\"",
        "h = [",
        "  1, # one",
        "  'two',",
        "]",
        "# no more",
        "",
        "i = 2027-01-31T00:00:00Z",
        "\"k l\" = true",
        "m = [{ a = 1 }, { a = 2 }]",
    ];
    let mut random = Random(20);
    let mut taken = 0;
    for _ in 0..40_000 {
        let count = random.below(12) + 1;
        let soup: String = (0..count).map(|_| random.one(&PIECES)).collect();
        // A beginning lets more of them through.
        let value = format!("x = {soup}");
        let count = random.below(8) + 1;
        let lines: Vec<&str> = (0..count).map(|_| random.one(&LINES)).collect();
        let lines = lines.join(random.one(&["\n", "\n", "\r\n"]));
        let mut damaged: Vec<char> = lines.chars().collect();
        if !damaged.is_empty() {
            let at = random.below(damaged.len());
            damaged[at] = random.one(&PIECES).chars().next().unwrap();
        }
        let damaged: String = damaged.into_iter().collect();
        for text in [&soup, &value, &lines, &damaged] {
            taken += usize::from(is_taken(text));
        }
    }
    assert!(taken > 10_000, "{taken} were taken: the test says little");
}
