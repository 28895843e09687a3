//! The smallest plugin in Rust: echo. Build: `cargo build --example smallest`.

use polyport_plugin::prelude::*;

#[derive(Default)]
struct Echo;

impl Protocol for Echo {
    type Session = ();

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        _: &mut (),
        input: &[u8],
    ) -> Result<usize> {
        cx.write(from, input)?;
        Ok(input.len())
    }
}

export_plugin!(Echo, name = "echo");
