//! Choosing the role: an operator's verb, the supervisor, or a child that the supervisor started.

use std::process::ExitCode;

use polyport::channel::handed::CHILD_VERB;

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|verb| verb == CHILD_VERB)
    {
        return ExitCode::from(polyport::role::play());
    }
    ExitCode::from(polyport::operator::main())
}
