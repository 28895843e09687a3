//! Choosing the role: an operator's verb, the supervisor, or a child that the supervisor started.

use std::process::ExitCode;

use polyport::channel::handed::{ADOPT_VERB, CHILD_VERB};

fn main() -> ExitCode {
    let verb = std::env::args_os().nth(1).unwrap_or_default();
    ExitCode::from(if verb == CHILD_VERB {
        polyport::role::play()
    } else if verb == ADOPT_VERB {
        polyport::supervisor::take_over()
    } else {
        polyport::operator::main()
    })
}
