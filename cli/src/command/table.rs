//! Items of an answer as a table, as lines of JSON, or as one JSON document.

use serde_json::Value;

/// How items are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Form {
    /// For people.
    Table,
    /// For people with a wide screen: all columns.
    Wide,
    /// One JSON document: `items` and `summary`.
    Json,
    /// One JSON object per item and line.
    Jsonl,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// What stands above it.
    pub(super) heading: &'static str,
    /// Where its value is in the item: keys, with dots between them.
    pub(super) key: &'static str,
    /// Whether only [`Form::Wide`] has it.
    pub(super) is_wide: bool,
}

/// Takes items and writes them.
#[derive(Debug)]
pub(super) struct Rows {
    form: Form,
    columns: Option<&'static [Column]>,
    items: Vec<Value>,
}

impl Rows {
    /// `columns` are those of the table; without them, the answer itself is shown, key by key.
    pub(super) fn new(form: Form, columns: Option<&'static [Column]>) -> Rows {
        Rows { form, columns, items: Vec::new() }
    }

    /// Takes an item, or the number of those that were lost.
    pub(super) fn take(&mut self, item: Result<Value, u64>) {
        match (item, self.form) {
            (Ok(item), Form::Jsonl) => answer!("{item}"),
            (Ok(item), Form::Table | Form::Wide | Form::Json) => self.items.push(item),
            (Err(count), Form::Jsonl) => answer!("{}", serde_json::json!({ "lost": count })),
            (Err(count), Form::Table | Form::Wide | Form::Json) => tell!("{count} items were lost"),
        }
    }

    /// The items that were taken.
    pub(super) fn values(&self) -> &[Value] {
        &self.items
    }

    /// Writes what is left to write.
    pub(super) fn finish(self, summary: &Value) {
        match (self.form, self.columns) {
            (Form::Jsonl, Some(_)) => {}
            (Form::Jsonl, None) => answer!("{summary}"),
            (Form::Json, None) if self.items.is_empty() => answer!("{summary:#}"),
            (Form::Json, _) => {
                answer!("{:#}", serde_json::json!({ "items": self.items, "summary": summary }));
            }
            (Form::Table | Form::Wide, Some(columns)) => {
                let shown: Vec<Column> =
                    columns.iter().copied().filter(|c| self.form == Form::Wide || !c.is_wide).collect();
                answer!("{}", table(&shown, &self.items));
            }
            (Form::Table | Form::Wide, None) => answer!("{}", fields(summary)),
        }
    }
}

/// A table with its columns as wide as their widest value; numbers to the right.
fn table(columns: &[Column], items: &[Value]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(columns.iter().map(|column| column.heading));
    for item in items {
        table.add_row(columns.iter().map(|column| {
            let value = column.key.split('.').fold(item, |value, key| &value[key]);
            let align = match value {
                Value::Number(_) => comfy_table::CellAlignment::Right,
                _ => comfy_table::CellAlignment::Left,
            };
            comfy_table::Cell::new(text(value)).set_alignment(align)
        }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A value as a person reads it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// The keys of an object, a line each; those of objects within are set in.
fn fields(value: &Value) -> String {
    fn into(value: &Value, depth: usize, lines: &mut Vec<String>) {
        let Value::Object(fields) = value else { return };
        for (key, value) in fields {
            let name = format!("{:depth$}{}", "", key.replace('_', " "), depth = depth * 2);
            match value {
                Value::Object(_) => {
                    lines.push(name);
                    into(value, depth + 1, lines);
                }
                _ => lines.push(format!("{name:<26}{}", text(value))),
            }
        }
    }
    let mut lines = Vec::new();
    into(value, 0, &mut lines);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_line_up_and_nested_values_are_found() {
        let columns = [
            Column { heading: "PORT", key: "name", is_wide: false },
            Column { heading: "DROPPED", key: "kernel.rx", is_wide: false },
        ];
        let items = [
            json!({ "name": "trunk0", "kernel": { "rx": 7 } }),
            json!({ "name": null, "kernel": { "rx": 12345678 } }),
        ];
        let text = table(&columns, &items);
        assert_eq!(text, "PORT    DROPPED\ntrunk0         7\n-       12345678");
    }

    #[test]
    fn an_object_is_a_line_for_each_key() {
        let text = fields(&json!({ "in_force": true, "table": { "peak": 3 } }));
        assert_eq!(text, "in force                  yes\ntable\n  peak                    3");
    }
}
