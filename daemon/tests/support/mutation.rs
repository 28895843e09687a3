//! Inputs that are nearly right: something right with a few bytes changed, so that most of them get
//! past the first check of a parser.
//!
//! The seed is printed. `POLYPORT_SEED=N` repeats a run, `POLYPORT_ROUNDS=N` makes it longer.

use super::dice::Dice;

/// Calls with so many mutations of `right`, bytes of `telling` put in where luck has it.
pub(crate) fn each(
    what: &str,
    right: &[impl AsRef<[u8]>],
    telling: &[u8],
    rounds: u64,
    judge: impl FnMut(&[u8]),
) {
    let from_environment = |name: &str, usual| match std::env::var(name) {
        Ok(number) => number.parse().expect("a number"),
        Err(_) => usual,
    };
    let seed = from_environment("POLYPORT_SEED", 0x5EED);
    let rounds = from_environment("POLYPORT_ROUNDS", rounds);
    eprintln!("{what}: {rounds} rounds; once more: POLYPORT_SEED={seed}");
    let mut judge = judge;
    let mut dice = Dice(seed);
    for bytes in right {
        judge(bytes.as_ref());
    }
    for _ in 0..rounds {
        let mut bytes = dice.one_of(right).as_ref().to_vec();
        for _ in 0..=dice.below(3) {
            mutate(&mut dice, &mut bytes, telling);
        }
        judge(&bytes);
    }
}

fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>, telling: &[u8]) {
    let other = match dice.chance(10) {
        true => dice.below(256) as u8,
        false => *dice.one_of(telling),
    };
    let at = dice.below(bytes.len() as u64 + 1) as usize;
    let end = at + dice.below((bytes.len() - at) as u64 + 1) as usize;
    match dice.below(6) {
        0 => bytes.insert(at, other),
        1 => bytes.truncate(at),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let again = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, again));
        }
        _ if at < bytes.len() => bytes[at] = other,
        _ => bytes.push(other),
    }
}
