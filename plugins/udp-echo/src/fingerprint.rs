//! Fingerprints: a seeded word for a source or a payload, at the speed of reading it.
//!
//! Good enough to tell payloads apart and to spread keys over a table; the seed keeps others from
//! choosing which collide. Not for anything that must not be forged.
//!
//! Invariant: equal bytes have equal fingerprints under one seed.

use std::net::{IpAddr, SocketAddr};

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
const LANES: usize = 4;
const BLOCK: usize = LANES * 8;

pub(crate) fn of(seed: u64, bytes: &[u8]) -> u64 {
    let mut lanes = [seed, !seed, seed.rotate_left(16), seed.rotate_left(32)];
    let mut blocks = bytes.chunks_exact(BLOCK);
    for block in &mut blocks {
        stir(&mut lanes, block);
    }
    let mut last = [0; BLOCK];
    let rest = blocks.remainder();
    last[..rest.len()].copy_from_slice(rest);
    stir(&mut lanes, &last);
    // The length tells zeros of the last block from bytes that are zero.
    let mut word = bytes.len() as u64;
    for lane in lanes {
        word = (word ^ lane).wrapping_mul(MIX).rotate_left(31);
    }
    word ^ word >> 29
}

/// Of a socket's address, its port included.
pub(crate) fn of_source(seed: u64, source: SocketAddr) -> u64 {
    let mut bytes = [0; 18];
    match source.ip() {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes[..16].copy_from_slice(&ip.octets()),
    }
    bytes[16..].copy_from_slice(&source.port().to_be_bytes());
    of(seed, &bytes)
}

fn stir(lanes: &mut [u64; LANES], block: &[u8]) {
    for (lane, bytes) in lanes.iter_mut().zip(block.chunks_exact(8)) {
        let word = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
        *lane = (*lane ^ word).wrapping_mul(MIX).rotate_left(29);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_differs_in_one_byte_or_in_length_has_another_fingerprint() {
        let mut seen = BTreeSet::new();
        for length in 0..200 {
            let mut bytes = vec![0u8; length];
            assert!(seen.insert(of(7, &bytes)), "{length} zeros");
            for at in 0..length {
                bytes[at] = 1;
                assert!(seen.insert(of(7, &bytes)), "{length} zeros and a 1 at {at}");
                bytes[at] = 0;
            }
        }
        assert_ne!(of(7, b"hello"), of(8, b"hello"));
        assert_eq!(of(7, b"hello"), of(7, b"hello"));
    }
}
