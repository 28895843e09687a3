//! The kept corpus of the fuzzer: what once reached something new, or broke something, is fed again
//! to the same targets on every run, as it is and with what a seed changes of it.
//!
//! That each target has a folder and a program is seen to by the
//! daemon's test of the same name.

#[path = "../../../daemon/tests/support/dice.rs"]
mod dice;
#[path = "../../../daemon/tests/support/kept_corpus.rs"]
mod kept_corpus;
#[path = "../../../daemon/tests/support/mutation.rs"]
mod mutation;
mod targets;

use std::path::Path;

/// Of each corpus, in a run that is not to last: most of these write a file, and are answered by a hole.
const MUTATIONS: u64 = 300;

#[test]
fn every_target_keeps_its_promise_on_the_kept_corpus_and_mutations_of_it() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in targets::ALL {
        kept_corpus::feed(&corpus.join(name), MUTATIONS, target);
    }
}
