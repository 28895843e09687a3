//! Fingerprints: a seeded word for a source or a payload, at the speed of reading it.
//!
//! Good enough to tell payloads apart and to spread keys over a table; the seed keeps others from
//! choosing which collide. Not for anything that must not be forged.
//!
//! Invariant: equal bytes have equal fingerprints under one seed.

use std::net::{IpAddr, SocketAddr};

/// Bits without a pattern, so that a seed of few is as good as any.
const BITS: [u64; 4] = [
    0xd6e8_feb8_6659_fd93,
    0x7f4a_7c15_9e37_79b9,
    0x9e37_79b9_7f4a_7c15,
    0x6659_fd93_d6e8_feb8,
];
const WORD: usize = size_of::<u64>();
const BLOCK: usize = 4 * WORD;

pub(crate) fn of(seed: u64, bytes: &[u8]) -> u64 {
    // Two lanes, as one multiplication would have to wait for the other.
    let mut lanes = [seed ^ BITS[0], seed ^ BITS[1]];
    let mut blocks = bytes.chunks_exact(BLOCK);
    for block in &mut blocks {
        stir(seed, &mut lanes, block);
    }
    let rest = blocks.remainder();
    if !rest.is_empty() {
        let mut last = [0; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        stir(seed, &mut lanes, &last);
    }
    // The length tells zeros of the last block from bytes that are zero.
    let [one, other] = lanes;
    fold(one ^ bytes.len() as u64, other ^ seed ^ BITS[2])
}

/// Of so few words that they are not worth laying out as bytes.
pub(crate) fn of_words<const N: usize>(seed: u64, words: [u64; N]) -> u64 {
    let stirred = |lane: u64, word| fold(lane ^ word, seed ^ BITS[2]);
    words.into_iter().fold(seed ^ BITS[0], stirred)
}

/// Of a socket's address, its port included.
pub(crate) fn of_source(seed: u64, source: SocketAddr) -> u64 {
    let port = u64::from(source.port());
    match source.ip() {
        IpAddr::V4(ip) => of_words(seed, [u64::from(u32::from(ip)) << 16 | port]),
        IpAddr::V6(ip) => {
            let ip = u128::from(ip);
            of_words(seed, [(ip >> 64) as u64, ip as u64, port])
        }
    }
}

/// The seed is in all four factors: nobody else can choose one that makes the others meaningless.
fn stir(seed: u64, lanes: &mut [u64; 2], block: &[u8]) {
    let word = |nth: usize| {
        let bytes = &block[nth * WORD..][..WORD];
        u64::from_le_bytes(bytes.try_into().expect("a word is so long"))
    };
    lanes[0] = fold(lanes[0] ^ word(0), word(1) ^ seed ^ BITS[2]);
    lanes[1] = fold(lanes[1] ^ word(2), word(3) ^ seed ^ BITS[3]);
}

/// Both halves of the product: each bit of the answer depends on nearly all of both.
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
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
        let halves: [u8; 32] = std::array::from_fn(|at| (at / 8) as u8);
        let mut swapped = halves;
        swapped.rotate_left(8);
        assert_ne!(of(7, &halves), of(7, &swapped));
        assert_ne!(of(7, b"hello"), of(8, b"hello"));
        assert_eq!(of(7, b"hello"), of(7, b"hello"));
    }
    /// A table takes its rows from the low bits.
    #[test]
    fn sources_that_lie_together_are_spread() {
        let mut seen = BTreeSet::new();
        let mut rows = [0u32; 64];
        for nth in 0..4096u32 {
            let v4: SocketAddr = ([10, 0, 0, (nth >> 8) as u8], nth as u16 & 0xff).into();
            let v6: SocketAddr = ([0x2001, 0xdb8, 0, nth as u16, 0, 0, 0, 1], 7).into();
            for source in [v4, v6] {
                let print = of_source(7, source);
                assert!(seen.insert(print), "{source}");
                rows[print as usize % rows.len()] += 1;
            }
        }
        // 128 are to be expected in each.
        assert!(rows.iter().all(|row| (64..256).contains(row)), "{rows:?}");
        assert_ne!(of_words(7, [1, 2]), of_words(7, [2, 1]));
    }
}
