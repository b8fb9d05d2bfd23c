//! What the fuzzer has found worth keeping, held against what must hold: each corpus is replayed with the compiler that
//! builds the rest. `make fuzz` starts from them. They are those of totp-core too, which this crate stands above.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::Path;

#[test]
fn what_was_found_once_stays_right() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let known = targets::TARGETS.map(|(name, _)| name);
    for corpus in fs::read_dir(&corpora).unwrap() {
        let name = corpus.unwrap().file_name();
        assert!(
            known.iter().any(|known| name == **known),
            "a corpus of no target: {name:?}"
        );
    }
    for (name, target) in targets::TARGETS {
        let inputs = fs::read_dir(corpora.join(name)).unwrap();
        let mut count = 0;
        for input in inputs {
            let path = input.unwrap().path();
            println!("{}", path.display());
            target(&fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 0, "an empty corpus: {name}");
    }
}
