//! What is typed, refused and complained of, in tables: no plugin is needed for that.

use super::*;
use serde_json::json;

fn option(name: &str, kind: u32, default: Option<&str>) -> DeclaredOption {
    option_with(name, kind, default, None, (0, 0)).expect("a good row")
}

fn option_with(
    name: &str,
    kind: u32,
    default: Option<&str>,
    choices: Option<&str>,
    bounds: (i64, i64),
) -> Result<DeclaredOption, String> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    DeclaredOption::new(
        name.into(),
        String::new(),
        owned(default),
        owned(choices),
        bounds,
        kind,
    )
}

fn six_options() -> Vec<DeclaredOption> {
    let modes = Some("stream|line|once");
    vec![
        option_with("mode", abi::KIND_TEXT, Some("stream"), modes, (0, 0)).expect("a good row"),
        option_with("length", abi::KIND_INTEGER, Some("80"), None, (1, 100)).expect("a good row"),
        option("loud", abi::KIND_BOOLEAN, Some("false")),
        option_with(
            "pause",
            abi::KIND_DURATION,
            Some("10s"),
            None,
            (1_000, 86_400_000),
        )
        .expect("a good row"),
        option_with("line_max", abi::KIND_SIZE, Some("4KiB"), None, (1, 1 << 20))
            .expect("a good row"),
        option("roots", abi::KIND_LIST, None),
    ]
}

fn chosen(settings: Json) -> Result<Chosen, LoadError> {
    let settings = serde_json::from_value(settings).expect("a JSON object");
    let places = BTreeMap::from([
        ("services.echo".to_owned(), "p.toml:1".to_owned()),
        (
            "services.echo.settings.mode".to_owned(),
            "p.toml:7".to_owned(),
        ),
    ]);
    choose(&six_options(), "echo", &settings, &places)
}

fn complaints(settings: Json) -> Vec<String> {
    match chosen(settings) {
        Err(LoadError::Settings(complaints)) => complaints,
        other => panic!("expected complaints, not {other:?}"),
    }
}

#[test]
fn what_is_not_written_has_its_default() {
    let chosen = chosen(json!({"roots": ["/a"], "pause": "2m"})).expect("good settings");
    let values: Vec<_> = chosen
        .values
        .iter()
        .map(|v| (v.written, v.value.clone()))
        .collect();
    let expected = [
        (false, Typed::Text("stream".into())),
        (false, Typed::Integer(80)),
        (false, Typed::Boolean(false)),
        (true, Typed::Duration(120_000)),
        (false, Typed::Size(4096)),
        (true, Typed::List(vec!["/a".into()])),
    ];
    assert_eq!(values, expected);
    assert_eq!(chosen.raw_json, r#"{"pause":"2m","roots":["/a"]}"#);
}

#[test]
fn all_complaints_come_at_once_each_with_its_place() {
    let all = complaints(json!({"mode": "lines", "lenght": 3, "pause": 10}));
    assert_eq!(
        all,
        [
            "p.toml:1: services.echo.settings.lenght: unknown option, did you mean `length`?; \
             the plugin has mode, length, loud, pause, line_max, roots",
            "p.toml:7: services.echo.settings.mode: \"lines\" is none of: stream, line, once, did you \
             mean `line`?",
            "p.toml:1: services.echo.settings.pause: found a number, expected a duration with its \
             unit, for example pause = \"10s\"",
            "p.toml:1: services.echo.settings.roots: is missing; it takes a list of texts, for example \
             roots = [\"one\", \"two\"]",
        ]
    );
}

#[test]
fn a_value_of_the_wrong_kind_or_size_is_named() {
    let cases = [
        (
            json!({"mode": 1}),
            "found a number, expected a text, for example mode = \"stream\"",
        ),
        (json!({"length": 0}), "0 is not between 1 and 100"),
        (json!({"pause": "2d"}), "2d is not between 1s and 1d"),
        (
            json!({"line_max": "1GiB"}),
            "1GiB is not between 1B and 1MiB",
        ),
        (
            json!({"length": 1.5}),
            "found a number, expected a whole number",
        ),
        (
            json!({"length": "7"}),
            "found a text, expected a whole number",
        ),
        (json!({"loud": "yes"}), "expected true or false"),
        (json!({"pause": "10"}), "expected a duration with its unit"),
        (json!({"line_max": "9999999999GiB"}), "too large"),
        (json!({"roots": ["/a", 1]}), "expected a list of texts"),
        (json!({"roots": {"a": 1}}), "found a table"),
    ];
    for (mut settings, expected) in cases {
        let object = settings.as_object_mut().expect("an object");
        object.entry("roots").or_insert(json!([]));
        let all = complaints(settings.clone());
        assert!(
            all.len() == 1 && all[0].contains(expected),
            "{settings}: {all:?}"
        );
    }
}

#[test]
fn a_row_that_cannot_be_meant_is_refused() {
    let cases = [
        (option_with("", 1, None, None, (0, 0)), "form [a-z]"),
        (option_with("Mode", 1, None, None, (0, 0)), "form [a-z]"),
        (option_with("a.b", 1, None, None, (0, 0)), "form [a-z]"),
        (option_with("a", 0, None, None, (0, 0)), "unknown kind 0"),
        (option_with("a", 7, None, None, (0, 0)), "unknown kind 7"),
        (
            option_with("a", abi::KIND_SIZE, None, Some("x|y"), (0, 0)),
            "cannot have choices",
        ),
        (
            option_with("a", abi::KIND_TEXT, None, None, (0, 9)),
            "cannot have bounds",
        ),
        (
            option_with("a", abi::KIND_INTEGER, None, None, (9, 1)),
            "above its maximum",
        ),
        (
            option_with("a", abi::KIND_INTEGER, Some("12"), None, (1, 9)),
            "not between 1 and 9",
        ),
        (
            option_with("a", abi::KIND_INTEGER, Some("many"), None, (0, 0)),
            "a whole number",
        ),
        (
            option_with("a", abi::KIND_DURATION, Some("10"), None, (0, 0)),
            "a duration",
        ),
        (
            option_with("a", abi::KIND_TEXT, Some("z"), Some("x|y"), (0, 0)),
            "none of: x, y",
        ),
    ];
    for (row, expected) in cases {
        let why = row.expect_err(expected);
        assert!(why.contains(expected), "{why:?} does not say {expected:?}");
    }
}

#[test]
fn a_list_default_is_split_at_commas() {
    let list = |text| option("a", abi::KIND_LIST, Some(text)).default;
    assert_eq!(list(""), Some(Typed::List(vec![])));
    assert_eq!(
        list("a, b"),
        Some(Typed::List(vec!["a".into(), "b".into()]))
    );
}
