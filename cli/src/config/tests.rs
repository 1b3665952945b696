use super::keys::{Kind, ROOT, TableSpec};
use super::lower::record;
use super::shape::every_key;
use super::*;
use serde_json::Value;
use std::collections::BTreeSet;

fn write(name: &str, text: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("bulkhead-config-{}-{name}.toml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

fn load_text(name: &str, text: &str) -> Result<Configuration, Vec<String>> {
    let path = write(name, text);
    let result = load_at(&path, Timestamp(0));
    std::fs::remove_file(&path).unwrap();
    result.map_err(|error| match error {
        LoadError::Unreadable(error) => panic!("{error}"),
        LoadError::Invalid(report) => {
            report.diagnostics().iter().map(|d| format!("{}: {}", d.code, d.message)).collect()
        }
    })
}

/// Uses every key that there is, once at least.
const EVERYTHING: &str = include_str!("tests/everything.toml");

/// The schema that describes the value at a path of keys; lists and alternatives are looked through.
fn described<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    let inside = |s: &'a Value| described(s, key);
    schema["properties"]
        .get(key)
        .or_else(|| schema.get("items").and_then(inside))
        .or_else(|| schema.get("additionalProperties").filter(|s| s.is_object()).and_then(inside))
        .or_else(|| schema["anyOf"].as_array().and_then(|all| all.iter().find_map(inside)))
}

/// Whether the tree has the shape that the schema wants: types, keys, choices and ranges.
fn fits(value: &tree::Value<'_>, schema: &Value) -> Result<(), String> {
    use tree::Data;
    if let Some(any) = schema["anyOf"].as_array() {
        let faults: Vec<String> = any.iter().map_while(|one| fits(value, one).err()).collect();
        return if faults.len() < any.len() { Ok(()) } else { Err(faults.join(" / ")) };
    }
    if let Some(choices) = schema["enum"].as_array() {
        let Data::Text(text) = &value.data else { return Err("no word".to_owned()) };
        return choices.iter().any(|c| c == &**text).then_some(()).ok_or(format!("{text} is no choice"));
    }
    match (schema["type"].as_str().unwrap(), &value.data) {
        ("string", Data::Text(_) | Data::Moment(_)) | ("boolean", Data::Boolean(_)) => Ok(()),
        ("integer", Data::Integer(Some(number))) => {
            let least = schema["minimum"].as_i64().unwrap_or(i64::MIN);
            let most = schema["maximum"].as_i64().unwrap_or(i64::MAX);
            (least..=most).contains(number).then_some(()).ok_or(format!("{number} is out of range"))
        }
        ("array", Data::List(list)) => list.iter().try_for_each(|item| fits(item, &schema["items"])),
        ("object", Data::Table(table)) => {
            for required in schema["required"].as_array().into_iter().flatten() {
                table.get(required.as_str().unwrap()).ok_or(format!("{required} is missing"))?;
            }
            table.entries.iter().try_for_each(|entry| {
                let known = schema["properties"].get(&*entry.key);
                let inner = known.or(Some(&schema["additionalProperties"]).filter(|s| s.is_object()));
                fits(&entry.value, inner.ok_or(format!("{} is not known", entry.key))?)
                    .map_err(|fault| format!("{}: {fault}", entry.key))
            })
        }
        (wanted, found) => Err(format!("wanted {wanted}, found {}", found.type_name())),
    }
}

fn tree_of(text: &str) -> tree::Value<'_> {
    let (table, errors) = tree::parse(source::FileId(0), text);
    assert!(errors.is_empty());
    tree::Value { span: Span::new(source::FileId(0), 0..0), data: tree::Data::Table(table) }
}

#[test]
fn the_lowering_reads_every_key_that_the_table_knows_and_no_other() {
    let configuration = load_text("everything", EVERYTHING).unwrap_or_else(|e| panic!("{}", e.join("\n")));
    assert_eq!(configuration.policy.rules().len(), 2);
    let known: BTreeSet<(&str, &str)> = every_key()
        .into_iter()
        .map(|(table, key)| (table.name, key.name))
        // Read while the files are, before there is anything to lower.
        .filter(|(_, key)| *key != "include")
        // Free text that no one but people reads.
        .filter(|pair| *pair != ("[segment.NAME]", "description"))
        .collect();
    assert_eq!(record::all(), known);
}

#[test]
fn the_schema_knows_every_key_that_the_lowering_knows() {
    let schema = json_schema();
    assert_eq!(fits(&tree_of(EVERYTHING), &schema), Ok(()));
    fn visit(spec: &'static TableSpec, schema: &Value, count: &mut usize) {
        for key in spec.keys {
            *count += 1;
            let found = described(schema, key.name).unwrap_or_else(|| panic!("{}: {}", spec.name, key.name));
            assert!(found["description"].is_string(), "{}: {}", spec.name, key.name);
            inside(&key.kind, found, count);
        }
    }
    fn inside(kind: &'static Kind, schema: &Value, count: &mut usize) {
        match kind {
            Kind::Table(spec) | Kind::Tables(spec) | Kind::Either(_, spec) => visit(spec, schema, count),
            Kind::List(kind) | Kind::Named(kind) => inside(kind, schema, count),
            Kind::Text(_) | Kind::Integer(..) | Kind::Boolean | Kind::Moment => {}
            Kind::Duration | Kind::Ports | Kind::Choice(_) => {}
        }
    }
    let mut count = 0;
    visit(&ROOT, &schema, &mut count);
    assert!(count >= every_key().len(), "{count}");
}

#[test]
fn the_schema_and_the_shape_refuse_the_same() {
    for text in [
        "x = 1",
        "policy = 1",
        "policy.default = 'x'",
        "policy.tiers = [1]",
        "[port]\nname = 'x'",
        "[[port]]",
        "port = [1]",
        "port = [{ name = 'a', mtu = 1 }]",
        "[segment]\nx = 1",
        "segment.x.members = [{ colour = 1 }]",
        "[service]\nx = { sport = 1 }",
        "rule = [{ id = 'a', from = 1, to = 'any' }]",
        "rule = [{ id = 'a', from = 'any', to = 'any', log = 1 }]",
        "workload = [{ name = 'a', labels = { x = 1 } }]",
        "conntrack.timeouts = { udp = true }",
    ] {
        let value = tree_of(text);
        let tree::Data::Table(table) = &value.data else { unreachable!() };
        let mut diagnostics = Vec::new();
        shape::check(table, &mut diagnostics);
        assert!(!diagnostics.is_empty(), "{text}");
        assert!(fits(&value, &json_schema()).is_err(), "{text}");
    }
}

#[test]
fn the_keys_of_timeouts_are_the_names_of_the_fields() {
    let fields = format!("{:?}", conntrack::config::Timeouts::default());
    let Kind::Table(conntrack) = ROOT.key("conntrack").unwrap().kind else { unreachable!() };
    let Kind::Table(timeouts) = conntrack.key("timeouts").unwrap().kind else { unreachable!() };
    for key in timeouts.keys {
        assert!(fields.contains(&format!("{}: ", key.name)), "{}", key.name);
    }
    assert_eq!(timeouts.keys.len(), fields.matches(": ").count());
    // Every default stands in the words about the key.
    let text = |key: &str| format!("[conntrack]\ntimeouts = {{ {key} = 77 }}");
    for key in timeouts.keys {
        let configuration = load_text(&format!("timeout-{}", key.name), &text(key.name)).unwrap();
        let changed = format!("{:?}", configuration.conntrack.timeouts);
        assert!(changed.contains(&format!("{}: 77s", key.name)), "{changed}");
        assert_eq!(changed.matches(": 77s").count(), 1);
    }
}

#[test]
fn included_files_come_behind_in_the_order_given_and_globs_in_name_order() {
    let folder = std::env::temp_dir().join(format!("bulkhead-include-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("d")).unwrap();
    let rule = |id: &str| format!("[[rule]]\nid = \"{id}\"\nfrom = \"any\"\nto = \"any\"\n");
    let put = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    put("gw.toml", format!("include = [\"z.toml\", \"d/*.toml\"]\n{}", rule("own")));
    put("z.toml", format!("include = \"y.toml\"\n{}", rule("z")));
    put("y.toml", rule("y"));
    put("d/2.toml", rule("d2"));
    put("d/10.toml", rule("d10"));
    put("d/.hidden.toml", rule("hidden"));
    let configuration = load_at(&folder.join("gw.toml"), Timestamp(0)).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let ids: Vec<&str> = configuration.policy.rules().iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["own", "z", "y", "d10", "d2"]);
}

#[test]
fn a_syntax_error_brings_no_errors_about_what_was_lost() {
    let text =
        "[segment.web]\nmembers = [\"10.0.0.0/8\"\n\n[[rule]]\nid = \"r\"\nfrom = \"web\"\nto = \"web\"\n";
    let errors = load_text("lost", text).unwrap_err();
    assert!(errors.iter().all(|e| e.starts_with("syntax: ")), "{errors:?}");
    let text = "[[rule]]\nid = \"r\"\nfrom = \nto = \"nobody\"\nacton = \"deny\"\n";
    let errors = load_text("both", text).unwrap_err();
    assert!(errors.iter().any(|e| e.starts_with("syntax: ")), "{errors:?}");
    assert!(errors.iter().any(|e| e.starts_with("unknown-key: ")), "{errors:?}");
}

#[test]
fn no_text_makes_the_loader_panic() {
    // Cuts and swaps of a file that uses every key; the same each time.
    let mut seed: u64 = 0x5eed_0001;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let sources = |text: &str| {
        let mut all = Sources::default();
        all.add(source::SourceFile::new("x.toml".into(), text.to_owned()));
        all
    };
    for round in 0..400 {
        let mut text: Vec<char> = EVERYTHING.chars().collect();
        for _ in 0..=random(4) {
            let at = random(text.len());
            match random(3) {
                0 => drop(text.splice(at..(at + random(40)).min(text.len()), [])),
                1 => text.insert(at, ['"', '[', ']', '{', '=', '\n', 'ä', '\'', '\0', '.'][random(10)]),
                _ => text.swap(at, (at + 1 + random(30)).min(EVERYTHING.chars().count() / 2)),
            }
        }
        let text: String = text.into_iter().collect();
        let sources = sources(&text);
        let (tree, errors) = tree::parse(source::FileId(0), &text);
        let mut out: Vec<Diagnostic> =
            errors.into_iter().map(|e| Diagnostic::error(Code::Syntax, e.span, e.message)).collect();
        shape::check(&tree, &mut out);
        let root = merge::merge(vec![tree], &mut out);
        let lowered = lower::lower(&root, &sources, Timestamp(0), &mut out);
        let report = Report::new(Arc::new(sources), out);
        assert!(lowered.is_some() || report.has_errors(), "round {round}: {text}");
        let _ = (report.render(crate::diagnostic::Style::Plain), report.to_json());
    }
}

#[test]
fn the_reference_for_operators_names_every_key_every_choice_and_every_code() {
    let page = include_str!("../../../docs/POLICY.md");
    for (table, key) in every_key() {
        let name = key.name;
        let forms = [format!("`{name}`"), format!("{name} = "), format!("[{name}]"), format!("[{name}.")];
        assert!(forms.iter().any(|form| page.contains(form)), "{}: {name}", table.name);
        if let Kind::Choice(choices) = key.kind {
            for choice in choices {
                assert!(page.contains(&format!("`{choice}`")), "{}: {choice}", table.name);
            }
        }
    }
    for code in Code::ALL {
        assert!(page.contains(&format!("| `{code}` |")), "{code}");
    }
}

#[test]
fn endpoints_and_services_are_read_from_a_command_line_as_from_a_test() {
    let configuration = load_text("command-line", EVERYTHING).unwrap_or_else(|e| panic!("{}", e.join("\n")));
    let bound = configuration.endpoint("10.0.10.5").unwrap();
    assert_eq!(Some(bound.vlan), configuration.vlan("web-net"));
    assert_eq!(bound.mac, "02:00:00:00:10:05".parse().ok());
    // By way of the route behind 10.0.20.254.
    assert_eq!(Some(configuration.endpoint("10.9.7.7").unwrap().vlan), configuration.vlan("trunk0.20"));
    // By the prefix of the one stitched VLAN that has it.
    assert_eq!(Some(configuration.endpoint("10.1.0.9").unwrap().vlan), configuration.vlan("trunk0.110"));
    assert!(configuration.endpoint("192.0.2.1").unwrap_err().contains("192.0.2.1@VLAN"));
    assert!(configuration.endpoint("192.0.2.1@nowhere").is_err());
    assert_eq!(configuration.service("https").unwrap().len(), 2);
    assert_eq!(configuration.service("tcp/80").unwrap().len(), 1);
    assert!(configuration.service("http").is_err());
}

#[test]
fn a_policy_over_a_limit_of_the_compiler_is_refused_at_the_rule_that_is_most_to_blame() {
    use classifier::compile::Limits;
    let text = r#"
[[port]]
name = "p"
[[vlan]]
id = 1
port = "p"
address = "10.1.0.1/16"
[[rule]]
id = "wide"
from = ["10.1.1.0/24", "10.1.2.0/24"]
to = "10.0.0.0/8"
"#;
    let configuration = load_text("limits", text).unwrap();
    let limits = Limits { pairs: 0, spread_of_choice: 0, ..Limits::default() };
    let Err(LoadError::Invalid(report)) = check_within(configuration.clone(), Timestamp(0), &limits) else {
        panic!("the policy is refused");
    };
    let [fault] = report.diagnostics() else { panic!("{:?}", report.diagnostics()) };
    assert_eq!(fault.code, Code::PolicyLimit);
    assert!(fault.message.contains("rule `wide`"), "{}", fault.message);
    assert!(fault.help.as_ref().is_some_and(|help| help.starts_with("write `any`")), "{:?}", fault.help);
    assert_eq!(fault.span, configuration.rule_spans[0]);
    check(configuration, Timestamp(0)).unwrap();
}

#[test]
fn the_last_day_of_the_year_9999_means_never() {
    let rule =
        |expires: &str| format!("[[rule]]\nid = \"r\"\nfrom = \"any\"\nto = \"any\"\nexpires = {expires}\n");
    for never in ["9999-12-31T23:59:59Z", "9999-12-31T00:00:00.5-05:00", "9999-12-30T23:00:00Z"] {
        let loaded = load_text("never", &rule(never)).unwrap();
        let expires = loaded.policy.rules()[0].expires.unwrap();
        assert!(
            expires
                > "9999-12-30T00:00:00Z"
                    .parse::<jiff::Timestamp>()
                    .map(|t| Timestamp(t.as_nanosecond()))
                    .unwrap()
        );
    }
    assert!(load_text("never-local", &rule("9999-12-31T23:59:59")).is_err(), "it has no offset");
}

#[test]
fn tiers_beyond_the_last_number_are_refused_and_not_dropped() {
    let names: Vec<String> = (0..=65_536).map(|index| format!("\"t{index}\"")).collect();
    let errors = load_text("tiers", &format!("[policy]\ntiers = [{}]\n", names.join(","))).unwrap_err();
    assert_eq!(errors, ["out-of-range: a policy has at most 65536 tiers"]);
}

#[test]
fn no_damage_of_a_sample_configuration_does_more_than_refuse_it() {
    let text = include_str!("../../../configs/three-tier.toml");
    let read = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let bundle = super::Bundle { files: vec![super::BundleFile { path: "gw.toml".into(), text }] };
        super::load_bundle(&bundle, Timestamp(0))
    };
    let whole = read(text.as_bytes()).unwrap();
    for at in 0..text.len() {
        let mut flipped = text.as_bytes().to_vec();
        flipped[at] ^= 1 << (at % 8);
        for damaged in [flipped.as_slice(), &text.as_bytes()[..at]] {
            // What is still a configuration is one as a whole: it has its tests, which speak of its rules.
            if let Ok(configuration) = read(damaged)
                && at % 32 == 0
            {
                let _ = super::check(configuration, Timestamp(0));
            }
        }
    }
    assert!(super::check(whole, Timestamp(0)).is_ok());
}
