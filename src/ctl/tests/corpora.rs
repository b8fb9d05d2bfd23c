//! What the fuzzer has found worth keeping, held against what must hold: each corpus is replayed with the compiler that
//! builds the rest. `make fuzz` starts from them. They are those of all crates below too.

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
use std::path::PathBuf;

use targets::{OF_FILES, PURE, Target};

#[test]
fn every_corpus_is_of_a_target() {
    for corpus in fs::read_dir(corpora()).unwrap() {
        let name = corpus.unwrap().file_name();
        let mut known = PURE.iter().chain(&OF_FILES);
        assert!(known.any(|(known, _)| name == **known), "{name:?}");
    }
}

#[test]
fn what_was_found_once_stays_right() {
    replay(&PURE);
}

#[test]
fn what_was_found_of_files_stays_right() {
    replay(&OF_FILES);
}

fn replay(targets: &[(&str, Target)]) {
    // Miri takes a thousand times as long: hours for the stories of `judge`; `make miri` runs some of the tests of judge.rs.
    const STRIDE: usize = if cfg!(miri) { 10 } else { 1 };
    let is_short = |target: &&(&str, Target)| !cfg!(miri) || target.0 != "judge";
    for (name, target) in targets.iter().filter(is_short) {
        let inputs = fs::read_dir(corpora().join(name)).unwrap();
        let mut count = 0;
        for input in inputs.step_by(STRIDE) {
            let path = input.unwrap().path();
            println!("{}", path.display());
            target(&fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 0, "an empty corpus: {name}");
    }
}

fn corpora() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus"))
}
