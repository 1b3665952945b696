use super::*;
use crate::config::source::SourceFile;

fn report(text: &str, diagnostics: impl FnOnce(crate::config::source::FileId) -> Vec<Diagnostic>) -> Report {
    let mut sources = Sources::default();
    let file = sources.add(SourceFile::new("gw.toml".into(), text.to_owned()));
    Report::new(Arc::new(sources), diagnostics(file))
}

#[test]
fn columns_count_characters_from_one() {
    let report = report("a\nnäme = \"ünknown\"\n", |file| {
        vec![Diagnostic::error(Code::UnknownKey, Span::new(file, 10..20), "no")]
    });
    let json = report.to_json();
    assert_eq!(json[0]["line"], 2);
    assert_eq!(json[0]["column"], 8);
    assert_eq!(json[0]["end_column"], 17);
    assert!(report.render(Style::Plain).contains("gw.toml:2:8"), "{}", report.render(Style::Plain));
}

#[test]
fn diagnostics_come_in_the_order_of_their_places() {
    let report = report("abc\n", |file| {
        vec![
            Diagnostic::warning(Code::NoEffect, Span::new(file, 2..3), "second"),
            Diagnostic::error(Code::Syntax, Span::new(file, 0..1), "first"),
        ]
    });
    let order: Vec<&str> = report.diagnostics().iter().map(|d| d.message.as_str()).collect();
    assert_eq!(order, ["first", "second"]);
}

#[test]
fn a_place_behind_the_end_is_shown_all_the_same() {
    for text in ["", "x", "x\n", "ä"] {
        let report =
            report(text, |file| vec![Diagnostic::error(Code::Syntax, Span::new(file, 7..9), "gone")]);
        assert!(report.render(Style::Plain).contains("gone"));
        assert_eq!(report.to_json()[0]["file"], "gw.toml");
    }
}

#[test]
fn plain_text_bears_no_escapes() {
    let report = report("x\n", |file| {
        vec![Diagnostic::error(Code::Syntax, Span::new(file, 0..1), "evil \u{1b}[31m").help("do \u{1b}")]
    });
    assert!(!report.render(Style::Plain).contains('\u{1b}'));
    assert!(report.render(Style::Colour).contains('\u{1b}'));
}

#[test]
fn codes_are_kebab_case_and_unique() {
    let mut seen = std::collections::HashSet::new();
    for code in Code::ALL {
        assert!(seen.insert(code.name()), "{code} stands twice");
        assert!(code.name().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
    }
}
