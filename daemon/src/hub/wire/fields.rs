//! The fields of a frame, read strictly and written in their order.
//!
//! Invariant: a reader takes no byte twice, and none that is not there.

use super::{
    Garbled, ID_BYTES_MAX, MESSAGE_BYTES_MAX, Message, NAME_BYTES_MAX, PackedIds, is_name,
};

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

const SHORT: Garbled = Garbled("a frame that is cut short");

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, Garbled> {
        let (byte, rest) = self.0.split_first().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*byte)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Garbled> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Garbled("a flag that is neither 0 nor 1")),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64, Garbled> {
        let (number, rest) = self.0.split_first_chunk::<8>().ok_or(SHORT)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    pub(super) fn bytes(&mut self, max: usize) -> Result<&'a [u8], Garbled> {
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(SHORT)?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > max {
            return Err(Garbled("a field that is too long"));
        }
        let (bytes, rest) = rest.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn name(&mut self) -> Result<&'a str, Garbled> {
        let bytes = self.bytes(NAME_BYTES_MAX)?;
        let name = std::str::from_utf8(bytes).ok();
        name.filter(|name| is_name(name.as_bytes()))
            .ok_or(Garbled("a name with characters that no name has"))
    }

    pub(super) fn message(&mut self) -> Result<Message<'a>, Garbled> {
        Ok(Message {
            sequence: self.number()?,
            time_ms: self.number()?,
            id: self.bytes(ID_BYTES_MAX)?,
            bytes: self.bytes(MESSAGE_BYTES_MAX)?,
        })
    }

    /// Whole ids with their numbers, and nothing else.
    pub(super) fn ids(&mut self) -> Result<PackedIds<'a>, Garbled> {
        let packed = self.bytes(MESSAGE_BYTES_MAX)?;
        let mut rest = Reader(packed);
        while !rest.0.is_empty() {
            rest.number()?;
            rest.bytes(ID_BYTES_MAX)?;
        }
        Ok(PackedIds(packed))
    }

    pub(super) fn end(&self) -> Result<(), Garbled> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(Garbled("a frame with bytes left over")),
        }
    }
}

pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Writer<'a> {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        Writer { out, start }
    }

    pub(super) fn byte(&mut self, byte: u8) -> &mut Self {
        self.out.push(byte);
        self
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.out.extend_from_slice(&number.to_le_bytes());
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        // Every field has a bound far below 4 GiB.
        self.out
            .extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.out.extend_from_slice(bytes);
        self
    }

    pub(super) fn message(&mut self, message: Message<'_>) -> &mut Self {
        self.number(message.sequence)
            .number(message.time_ms)
            .bytes(message.id)
            .bytes(message.bytes)
    }

    pub(super) fn end(self) {
        let length = (self.out.len() - self.start - 4) as u32;
        self.out[self.start..self.start + 4].copy_from_slice(&length.to_le_bytes());
    }
}
