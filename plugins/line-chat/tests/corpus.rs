//! The kept corpus of the fuzzer: what once reached something new, or broke something, is fed again
//! to the same targets on every run, as it is and with what a seed changes of it.
//!
//! That each target has a folder and a program is seen to by the
//! daemon's test of the same name.

#[path = "../../../daemon/tests/support/dice.rs"]
mod dice;
#[path = "../../../daemon/tests/support/mutation.rs"]
mod mutation;
mod targets;

use std::path::Path;

/// Of each corpus, in a run that is not to last.
const MUTATIONS: u64 = 300;

#[test]
fn every_target_keeps_its_promise_on_the_kept_corpus_and_mutations_of_it() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in targets::ALL {
        let mut accepted = 0;
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(corpus.join(name)).expect("a folder for each target") {
            let path = entry.expect("an entry").path();
            // A panic is printed with it.
            eprintln!("{}", path.display());
            let bytes = std::fs::read(&path).expect("a file");
            accepted += u32::from(target(&bytes));
            kept.push(bytes);
        }
        assert!(accepted > 0, "{name}: nothing in the corpus is right");
        let telling = kept.concat();
        mutation::each(name, &kept, &telling, MUTATIONS, |bytes| {
            target(bytes);
        });
    }
}
