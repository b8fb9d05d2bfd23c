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
mod words;
mod world;

use std::collections::BTreeMap;
use std::env;

use world::{Book, World};

/// Steps of one episode: one person, one configuration.
const EPISODE: u64 = 500;

/// A run that never got to one of these shows nothing about it.
const ALL: [&str; 28] = [
    "backup code",
    "backup key",
    "bound",
    "code of a phone",
    "code of a token",
    "code that was sent",
    "first",
    "malformed",
    "mismatch",
    "not sent again yet",
    "not sent to a locked place",
    "not sent, too many",
    "nothing",
    "of no device",
    "out of reach",
    "refused",
    "repair",
    "replayed",
    "resync",
    "resync by codes that are not two in a row",
    "scratch code",
    "second code that was sent",
    "second of a phone",
    "second of a token",
    "second of an unknown count",
    "sent",
    "sent in a stranger's place",
    "two asked for",
];

fn number(name: &str, default: u64) -> u64 {
    let set = env::var(name).ok();
    set.map_or(default, |set| set.parse().expect("a whole number"))
}

#[test]
fn judge_decides_as_the_rules_say() {
    // From 40 ten thousand steps see all there is.
    let (seed, steps) = (number("MODEL_SEED", 40), number("MODEL_STEPS", 10_000));
    let (mut outcomes, mut book) = (BTreeMap::new(), Book::default());
    let episodes = steps.div_ceil(EPISODE);
    for episode in 0..episodes {
        let mut world = World::new(seed.wrapping_add(episode), &mut book);
        for _ in 0..EPISODE {
            world.step(&mut outcomes);
        }
    }
    println!("{episodes} seeds from {seed}, {EPISODE} steps each: {outcomes:?}");
    let never = ALL.iter().filter(|one| !outcomes.contains_key(*one));
    let never: Vec<_> = never.collect();
    assert!(never.is_empty(), "never seen from seed {seed}: {never:?}");
}
