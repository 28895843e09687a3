//! Lines of a program: one JSON object each, which comes to the same commands as what people write.
//!
//! A line that is no JSON, and does not begin with `{`, is taken as a person's. Invariant: text is sanitised again once
//! JSON has unfolded it, so no escape hides behind another.

use serde_json::Value;

use crate::command::Command;
use crate::sanitise;

/// What a program asks for, and in which room; `None` if the line is not JSON at all.
pub(crate) fn parse(line: &str) -> Option<Result<(Command, Option<String>), String>> {
    let line = line.trim_start();
    if line.starts_with(['[', '"']) && serde_json::from_str::<Value>(line).is_ok() {
        return Some(Err(
            "a line of JSON is an object, as {\"text\":\"hi\"}".to_owned()
        ));
    }
    line.starts_with('{').then(|| object(line))
}

fn object(line: &str) -> Result<(Command, Option<String>), String> {
    let value: Value =
        serde_json::from_str(line).map_err(|error| format!("that is no JSON: {error}"))?;
    let field = |name: &str| match &value[name] {
        Value::String(text) => Ok(Some(sanitise::clean(text))),
        Value::Null => Ok(None),
        _ => Err(format!("{name} is to be a string")),
    };
    let kind = field("kind")?.unwrap_or_else(|| "text".to_owned());
    let text = field("text")?.filter(|text| !text.trim().is_empty());
    let text = || text.ok_or("there is no text");
    let room = field("room")?;
    let command = match kind.as_str() {
        "text" => Command::Say(text()?),
        "me" => Command::Me(text()?),
        "msg" => {
            let to = field("nick")?.ok_or("there is no nick to send it to")?;
            Command::Msg { to, text: text()? }
        }
        "command" => {
            let text = text()?;
            let slashed = if text.starts_with('/') {
                text
            } else {
                format!("/{text}")
            };
            crate::command::parse(&slashed, false)?
        }
        _ => {
            return Err(format!(
                "there is no kind {kind}: it is text, me, msg or command"
            ));
        }
    };
    Ok((command, room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_commands_or_mistakes() {
        let say = |text: &str| Command::Say(text.to_owned());
        for (line, command, room) in [
            (r#"{"text":"hi"}"#, say("hi"), None),
            (
                r#"{"kind":"text","room":"lobby","text":"/quit"}"#,
                say("/quit"),
                Some("lobby"),
            ),
            (
                r#"{"kind":"me","text":"waves"}"#,
                Command::Me("waves".to_owned()),
                None,
            ),
            (r#"{"kind":"command","text":"names"}"#, Command::Names, None),
            (r#"{"text":"a\u001b[31mb\u202e\nc"}"#, say("abc"), None),
        ] {
            let expected = (command, room.map(str::to_owned));
            assert_eq!(parse(line), Some(Ok(expected)), "{line}");
        }
        for (line, why) in [
            (r#"{"kind":"dance"}"#, "there is no kind dance"),
            (r#"{"kind":"me"}"#, "there is no text"),
        ] {
            let refused = parse(line).expect("JSON").expect_err(line);
            assert!(refused.starts_with(why), "{refused}");
        }
        for line in [
            "{",
            "{}",
            r#"{"text":7}"#,
            r#"{"text":""}"#,
            r#"{"kind":"dance","text":"x"}"#,
            r#"{"kind":"msg","text":"x"}"#,
            r#"{"kind":"command","text":"dance"}"#,
            r#"{"text":"\ud800"}"#,
            &"{\"a\":".repeat(400),
        ] {
            assert!(matches!(parse(line), Some(Err(_))), "{line}");
        }
        assert_eq!(parse("hi"), None);
    }
}
