//! What processes of one daemon hand to each other of their sessions and of the bus: what is read is written
//! again as the same bytes, and all else is refused.

use polyport::engine::carried::Carried;
use polyport::engine::handover::Message;
use polyport::hub::wire::{Ask, FRAME_BYTES_MAX, News, next_frame};

/// A live session on its way to another worker.
pub fn carried(bytes: &[u8]) -> bool {
    let Ok(carried) = Carried::read(bytes) else {
        return false;
    };
    let mut again = Vec::new();
    carried.write(&mut again);
    assert_eq!(again, bytes, "{carried:?}");
    true
}

/// What the two workers say meanwhile; the sessions in it are read as well.
pub fn handover(bytes: &[u8]) -> bool {
    let Ok(message) = Message::read(bytes) else {
        return false;
    };
    assert_eq!(message.write(), bytes, "{message:?}");
    if let Message::Batch(batch) = &message {
        for record in &batch.records {
            carried(record);
        }
    }
    true
}

/// What comes down the stream between a worker and the hub, as either hears it.
pub fn hub_frame(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut understood = false;
    while let Ok(Some((content, length))) = next_frame(rest) {
        assert!(!content.is_empty() && content.len() <= FRAME_BYTES_MAX);
        // Whoever was told of a frame is told the same of it with less behind it, and of less nothing.
        assert_eq!(next_frame(&rest[..length]), Ok(Some((content, length))));
        assert_eq!(next_frame(&rest[..length - 1]), Ok(None));
        let mut again = Vec::new();
        if let Ok(ask) = Ask::read(content) {
            ask.write(&mut again);
            assert_eq!(again, rest[..length], "{ask:?}");
            understood = true;
        }
        again.clear();
        if let Ok(news) = News::read(content) {
            news.write(&mut again);
            assert_eq!(again, rest[..length], "{news:?}");
            understood = true;
        }
        rest = &rest[length..];
    }
    understood
}
