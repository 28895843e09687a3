//! Verbs about the running daemon as a whole: `status` and `stop`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::asking::{Asking, understood};
use super::say_json;
use crate::config::nearest;
use crate::control::client::Failure;
use crate::control::{Request, Status};
use crate::exit;
use crate::terminal::say;

pub(super) fn status(service: Option<String>, asking: &Asking) -> u8 {
    let Some(service) = service else {
        return asking.show(&Request::Status, Status::exit);
    };
    let found = asking.look(&Request::Status);
    let found = found.and_then(|answer| Ok((understood::<Status>(&answer)?, answer)));
    let (status, answer) = match found.and_then(|(status, answer)| only(&service, status, answer)) {
        Ok(found) => found,
        Err(failure) => return asking.fail(&failure),
    };
    match asking.output.json {
        true => say_json(status.exit(), &answer),
        false => say(status.exit(), &status.to_string()),
    }
}

/// The same documents, of one service: with nothing of others, and as healthy as it is.
fn only(service: &str, mut status: Status, mut answer: Value) -> Result<(Status, Value), Failure> {
    let Some(found) = status.services.remove(service) else {
        let known = status.services.keys().map(String::as_str);
        let hint = match nearest(service, known.clone()) {
            Some(name) => format!("did you mean \"{name}\"?"),
            None => format!("there are: {}", known.collect::<Vec<_>>().join(", ")),
        };
        return Err(Failure {
            exit: exit::FAILED,
            text: format!("no service \"{service}\" is configured; {hint}"),
        });
    };
    status.healthy |= found.healthy;
    answer["services"] = json!({ service: answer["services"][service] });
    answer["healthy"] = json!(status.healthy);
    answer["removed"] = json!({});
    status.services = BTreeMap::from([(service.to_owned(), found)]);
    status.removed = BTreeMap::new();
    Ok((status, answer))
}

pub(super) fn stop(fast: bool, asking: &Asking) -> u8 {
    let asked = asking.change(&Request::Stop { fast });
    let stopped = asked.and_then(|(answer, call)| call.wait_for_end().map(|()| answer));
    match stopped {
        Ok(answer) if asking.output.json => say_json(
            exit::DONE,
            &json!({ "stopped": true, "pid": answer["pid"] }),
        ),
        Ok(_) => exit::DONE,
        Err(failure) => asking.fail(&failure),
    }
}
