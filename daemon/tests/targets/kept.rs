//! What lies on a disk between one daemon and the next, where it may be damaged: what is read is written
//! again as the same bytes, and all else is refused.

use polyport::hub::sqlite::run::{Packed, unpack};
use polyport::hub::wire::{FRAME_BYTES_MAX, Message, News, next_frame};

/// A run of messages in the hub's history: each is one that a member can be told, after the one before it.
pub fn hub_run(bytes: &[u8]) -> bool {
    let Some(messages) = unpack(bytes) else {
        return false;
    };
    let (mut again, mut heads, mut frame) = (Vec::new(), Vec::new(), Vec::new());
    let mut so_far = 0;
    for packed in &messages {
        assert!(packed.sequence > so_far && packed.sequence < u64::MAX);
        so_far = packed.sequence;
        packed.pack(&mut again);
        packed.head().pack(&mut heads);
        frame.clear();
        let message = Message {
            sequence: packed.sequence,
            time_ms: packed.time_ms,
            id: packed.id,
            bytes: packed.bytes,
        };
        News::Message { token: 1, message }.write(&mut frame);
        assert!(frame.len() <= FRAME_BYTES_MAX && matches!(next_frame(&frame), Ok(Some(_))));
        assert!(News::read(&frame[4..]).is_ok(), "{message:?}");
    }
    assert_eq!(again, bytes);
    let numbers = |it: &Packed<'_>| (it.sequence, it.id.to_vec());
    let of_heads = unpack(&heads).expect("heads are a run as well");
    assert!(
        of_heads
            .iter()
            .map(numbers)
            .eq(messages.iter().map(numbers))
    );
    true
}
