//! The language of `select`: which workloads a segment picks, by their labels.
//!
//! ```text
//! expression = conjunction *( "or" conjunction )
//! conjunction = negation *( "and" negation )
//! negation = "not" negation / "(" expression ")" / comparison
//! comparison = label ( "==" / "!=" ) string
//!            / label [ "not" ] "in" "(" string *( "," string ) [ "," ] ")"
//! string = "'" *any "'" / DQUOTE *any DQUOTE
//! ```
//!
//! A label that a workload does not have is unequal to every string.

use std::collections::HashMap;
use std::ops::Range;

/// How deep parentheses and `not` may nest: the parser and the evaluation are recursive.
const DEPTH_LIMIT: usize = 64;

/// An expression that could be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Expression {
    /// The label has one of these values.
    OneOf(Label, Vec<String>),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

/// A label and where it stands in the expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Label {
    pub(super) name: String,
    pub(super) range: Range<usize>,
}

/// What was wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) range: Range<usize>,
}

impl Expression {
    /// Whether a workload with these labels is picked.
    pub(super) fn picks(&self, labels: &HashMap<&str, &str>) -> bool {
        match self {
            Expression::OneOf(label, values) => {
                labels.get(label.name.as_str()).is_some_and(|value| values.iter().any(|v| v == value))
            }
            Expression::Not(inner) => !inner.picks(labels),
            Expression::And(all) => all.iter().all(|each| each.picks(labels)),
            Expression::Or(any) => any.iter().any(|each| each.picks(labels)),
        }
    }

    /// Every label that it asks for.
    pub(super) fn labels(&self) -> Vec<&Label> {
        match self {
            Expression::OneOf(label, _) => vec![label],
            Expression::Not(inner) => inner.labels(),
            Expression::And(all) | Expression::Or(all) => all.iter().flat_map(Expression::labels).collect(),
        }
    }
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Expression, Fault> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, end: text.len() };
    let expression = parser.expression()?;
    match parser.tokens.get(parser.at) {
        None => Ok(expression),
        Some((token, range)) => {
            let message = format!("expected `and`, `or` or the end, and found {}", token.describe());
            Err(Fault { message, range: range.clone() })
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Word(String),
    Text(String),
    Equal,
    Unequal,
    Open,
    Close,
    Comma,
}

impl Token {
    fn describe(&self) -> String {
        match self {
            Token::Word(word) => format!("`{word}`"),
            Token::Text(text) => format!("'{text}'"),
            Token::Equal => "`==`".to_owned(),
            Token::Unequal => "`!=`".to_owned(),
            Token::Open => "`(`".to_owned(),
            Token::Close => "`)`".to_owned(),
            Token::Comma => "`,`".to_owned(),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, Fault> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let (token, length) = match c {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '\'' | '"' => {
                let Some(end) = rest[1..].find(c) else {
                    let message = format!("this string has no closing {c}");
                    return Err(Fault { message, range: at..text.len() });
                };
                (Token::Text(rest[1..=end].to_owned()), end + 2)
            }
            _ if rest.starts_with("==") => (Token::Equal, 2),
            _ if rest.starts_with("!=") => (Token::Unequal, 2),
            c if is_word(c) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (Token::Word(rest[..length].to_owned()), length)
            }
            c => {
                let message = match c {
                    '=' => "one `=` compares nothing: write `==`".to_owned(),
                    '!' | '&' | '|' => format!("`{c}` means nothing here: write `not`, `and`, `or` or `!=`"),
                    c => format!("`{c}` means nothing here"),
                };
                return Err(Fault { message, range: at..at + c.len_utf8() });
            }
        };
        all.push((token, at..at + length));
        at += length;
    }
    Ok(all)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/')
}

struct Parser {
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    depth: usize,
    end: usize,
}

impl Parser {
    fn expression(&mut self) -> Result<Expression, Fault> {
        let mut any = vec![self.conjunction()?];
        while self.takes_word("or") {
            any.push(self.conjunction()?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Expression::Or(any) })
    }

    fn conjunction(&mut self) -> Result<Expression, Fault> {
        let mut all = vec![self.negation()?];
        while self.takes_word("and") {
            all.push(self.negation()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expression::And(all) })
    }

    fn negation(&mut self) -> Result<Expression, Fault> {
        if self.depth == DEPTH_LIMIT {
            let message = format!("parentheses and `not` nest at most {DEPTH_LIMIT} deep");
            return Err(Fault { message, range: self.here() });
        }
        self.depth += 1;
        let result = if self.takes_word("not") {
            self.negation().map(|inner| Expression::Not(Box::new(inner)))
        } else if self.takes(&Token::Open) {
            self.expression().and_then(|inner| self.expect(&Token::Close, "`)`").map(|()| inner))
        } else {
            self.comparison()
        };
        self.depth -= 1;
        result
    }

    fn comparison(&mut self) -> Result<Expression, Fault> {
        let range = self.here();
        let name = match self.tokens.get(self.at) {
            Some((Token::Word(word), _)) if !["and", "or", "in", "not"].contains(&word.as_str()) => {
                word.clone()
            }
            _ => return Err(self.unexpected("a label")),
        };
        self.at += 1;
        let label = Label { name, range };
        if self.takes(&Token::Equal) {
            return Ok(Expression::OneOf(label, vec![self.string()?]));
        }
        if self.takes(&Token::Unequal) {
            let equal = Expression::OneOf(label, vec![self.string()?]);
            return Ok(Expression::Not(Box::new(equal)));
        }
        let is_negated = self.takes_word("not");
        if !self.takes_word("in") {
            return Err(self.unexpected(if is_negated { "`in`" } else { "`==`, `!=`, `in` or `not in`" }));
        }
        self.expect(&Token::Open, "`(`")?;
        let mut values = vec![self.string()?];
        while self.takes(&Token::Comma) {
            if self.tokens.get(self.at).is_some_and(|(token, _)| *token == Token::Close) {
                break;
            }
            values.push(self.string()?);
        }
        self.expect(&Token::Close, "`,` or `)`")?;
        let one_of = Expression::OneOf(label, values);
        Ok(if is_negated { Expression::Not(Box::new(one_of)) } else { one_of })
    }

    fn string(&mut self) -> Result<String, Fault> {
        match self.tokens.get(self.at) {
            Some((Token::Text(text), _)) => {
                self.at += 1;
                Ok(text.clone())
            }
            Some((Token::Word(word), range)) => {
                Err(Fault { message: format!("a value has quotes: write '{word}'"), range: range.clone() })
            }
            _ => Err(self.unexpected("a value in quotes")),
        }
    }

    fn takes(&mut self, token: &Token) -> bool {
        let takes = self.tokens.get(self.at).is_some_and(|(found, _)| found == token);
        self.at += usize::from(takes);
        takes
    }

    fn takes_word(&mut self, word: &str) -> bool {
        self.takes(&Token::Word(word.to_owned()))
    }

    fn expect(&mut self, token: &Token, what: &str) -> Result<(), Fault> {
        if self.takes(token) { Ok(()) } else { Err(self.unexpected(what)) }
    }

    /// The next token, or the end.
    fn here(&self) -> Range<usize> {
        self.tokens.get(self.at).map_or(self.end..self.end, |(_, range)| range.clone())
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let found = self.tokens.get(self.at).map_or("the end".to_owned(), |(token, _)| token.describe());
        Fault { message: format!("expected {wanted}, and found {found}"), range: self.here() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(text: &str, labels: &[(&str, &str)]) -> bool {
        parse(text)
            .unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
            .picks(&labels.iter().copied().collect())
    }

    #[test]
    fn the_example_of_the_format_means_what_it_says() {
        let text = "role == 'db' and env in ('prod', 'stage') and not app == 'lab'";
        assert!(picks(text, &[("role", "db"), ("env", "prod"), ("app", "pay")]));
        assert!(picks(text, &[("role", "db"), ("env", "stage")]));
        assert!(!picks(text, &[("role", "db"), ("env", "prod"), ("app", "lab")]));
        assert!(!picks(text, &[("role", "db"), ("env", "dev")]));
        assert!(!picks(text, &[("env", "prod")]));
    }

    #[test]
    fn a_missing_label_is_unequal_to_everything() {
        assert!(!picks("a == ''", &[]));
        assert!(picks("a != 'x'", &[]));
        assert!(!picks("a in ('x')", &[]));
        assert!(picks("a not in ('x',)", &[]));
    }

    #[test]
    fn not_binds_closer_than_and_and_that_closer_than_or() {
        assert!(picks("a == '1' or b == '1' and c == '1'", &[("a", "1")]));
        assert!(!picks("(a == '1' or b == '1') and c == '1'", &[("a", "1")]));
        assert!(picks("not a == '1' or b == '1'", &[("a", "1"), ("b", "1")]));
        assert!(!picks("not (a == '1' or b == '1')", &[("a", "1"), ("b", "1")]));
        assert!(picks("not not a == \"it's\"", &[("a", "it's")]));
    }

    #[test]
    fn a_fault_says_where_it_is() {
        for (text, range, part) in [
            ("", 0..0, "a label"),
            ("role = 'x'", 5..6, "write `==`"),
            ("role == x", 8..9, "write 'x'"),
            ("role == 'x", 8..10, "closing"),
            ("(role == 'x'", 12..12, "`)`"),
            ("role == 'x' env", 12..15, "`and`, `or` or the end"),
            ("role in 'x'", 8..11, "`(`"),
            ("role in ()", 9..10, "a value in quotes"),
            ("and", 0..3, "a label"),
            ("ä ? 'x'", 3..4, "means nothing"),
            ("a not == 'x'", 6..8, "`in`"),
        ] {
            let fault = parse(text).expect_err(text);
            assert_eq!(fault.range, range, "{text}: {fault:?}");
            assert!(fault.message.contains(part), "{text}: {fault:?}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let deep = |n: usize| format!("{}a == 'x'{}", "(".repeat(n), ")".repeat(n));
        assert!(parse(&deep(DEPTH_LIMIT - 1)).is_ok());
        assert!(parse(&deep(100_000)).is_err());
        assert!(parse(&"not ".repeat(100_000)).is_err());
    }
}
