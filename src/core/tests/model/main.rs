//! `judge` against the rules as they are written: random people, phones, clocks and thieves, each answer judged by both.
//!
//! The first episode's seed is `MODEL_SEED`, each further one's is one more, and a failure names its own: with
//! `MODEL_STEPS=1` that episode alone is run again. `make model` runs a million steps from a seed of the clock's.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod dice;
mod rules;
mod world;

use std::collections::BTreeMap;
use std::env;

use world::World;

/// Steps of one episode: one person, one configuration.
const EPISODE: u64 = 500;

fn number(name: &str, default: u64) -> u64 {
    let set = env::var(name).ok();
    set.map_or(default, |set| set.parse().expect("a whole number"))
}

#[test]
fn judge_decides_as_the_rules_say() {
    let (seed, steps) = (number("MODEL_SEED", 1), number("MODEL_STEPS", 10_000));
    let mut outcomes = BTreeMap::new();
    for episode in 0..steps.div_ceil(EPISODE) {
        let mut world = World::new(seed.wrapping_add(episode));
        for _ in 0..EPISODE {
            world.step(&mut outcomes);
        }
    }
    println!("from seed {seed}, {steps} steps: {outcomes:?}");
    // A run that never got somewhere shows nothing about it.
    let all = [
        "accepted",
        "backup code",
        "backup key",
        "bound",
        "first",
        "malformed",
        "mismatch",
        "nothing",
        "of no device",
        "out of reach",
        "refused",
        "replayed",
        "second",
        "two asked for",
    ];
    let never: Vec<_> = all
        .iter()
        .filter(|one| !outcomes.contains_key(*one))
        .collect();
    assert!(never.is_empty(), "never seen from seed {seed}: {never:?}");
}
