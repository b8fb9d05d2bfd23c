//! Whether the time of a comparison tells what it compared: answers that fit and answers that don't, in random order,
//! and Welch's t of their times (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?", 2017). Run by
//! `make timing`; ends with 1 where a time tells, or where a comparison that stops early does not show that it does.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used
)]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use totp_core::backup_code::{BackupSet, SetId, Symbols};
use totp_core::otp::{Code, Otp, Step};
use totp_core::secret::Secret;

/// Beyond this a difference is certain; chance alone stays below 5.
const TELLS: f64 = 10.0;

const CENTRE: Step = Step(60_000_000);
const WINDOW: u16 = 20;

fn main() -> ExitCode {
    let samples = std::env::var("TIMING_SAMPLES")
        .map_or(100_000, |number| number.parse().expect("a whole number"));
    let (otp, secret) = (
        Otp::default(),
        Secret::from_bytes(vec![7; 20].into()).unwrap(),
    );
    let first = otp.code(&secret, CENTRE.moved(-i32::from(WINDOW)));
    let codes = Answers::new(samples, &first, |random| {
        Code::from_digits(format!("{:06}", random % 1_000_000).as_bytes()).unwrap()
    });
    let backup = Backup::<16>::new(samples, 10);
    let key = Backup::<32>::new(samples, 1);

    let mut holds = true;
    for (what, t, is_ours) in [
        (
            "a code in the window",
            codes.t(|code| {
                otp.matching_step(&secret, code, &CENTRE.around(WINDOW))
                    .is_some()
            }),
            true,
        ),
        (
            "the same, stopping at the one that fits",
            codes.t(|code| {
                let reach = i32::from(WINDOW);
                let mut steps = (-reach..=reach).map(|offset| CENTRE.moved(offset));
                steps.any(|step| otp.matching_step(&secret, code, &step.around(0)).is_some())
            }),
            false,
        ),
        (
            "a backup code in its set",
            backup.answers.t(|code| backup.set.position(code).is_some()),
            true,
        ),
        (
            "the same, stopping at the one that fits",
            backup.answers.t(|code| {
                backup
                    .one_by_one
                    .iter()
                    .any(|set| set.position(code).is_some())
            }),
            false,
        ),
        (
            "a backup key",
            key.answers.t(|code| key.set.position(code).is_some()),
            true,
        ),
    ] {
        let verdict = if t.abs() > TELLS {
            "tells"
        } else {
            "tells nothing"
        };
        println!("{what}: t = {t:.1}, {verdict}");
        holds &= is_ours == (t.abs() <= TELLS);
    }
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Answers in random order, each with whether it is the one that fits.
struct Answers<T>(Vec<(bool, T)>);

impl<T: Clone> Answers<T> {
    fn new(count: usize, fitting: &T, other: impl Fn(u64) -> T) -> Self {
        let mut random = 1_u64;
        let mut next = || {
            // xorshift64 (Marsaglia 2003)
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let answers = (0..count).map(|_| {
            let (fits, other) = (next() >> 63 == 1, other(next() >> 8));
            (fits, if fits { fitting.clone() } else { other })
        });
        Self(answers.collect())
    }

    /// Welch's t of the times that both kinds take. The slowest tenth is interruptions.
    fn t(&self, compare: impl Fn(&T) -> bool) -> f64 {
        let times = self.0.iter().map(|(fits, answer)| {
            let began = Instant::now();
            black_box(compare(black_box(answer)));
            (*fits, began.elapsed().as_nanos() as f64)
        });
        let times: Vec<(bool, f64)> = times.collect();
        let mut sorted: Vec<f64> = times.iter().map(|(_, time)| *time).collect();
        sorted.sort_by(f64::total_cmp);
        let most = sorted[sorted.len() * 9 / 10];
        let of = |kind: bool| {
            let kept = times
                .iter()
                .filter(|(fits, time)| *fits == kind && *time <= most);
            let kept: Vec<f64> = kept.map(|(_, time)| *time).collect();
            let count = kept.len() as f64;
            let mean = kept.iter().sum::<f64>() / count;
            let spread = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
            (mean, spread / count)
        };
        let ((fitting, one), (other, two)) = (of(true), of(false));
        (fitting - other) / (one + two).sqrt()
    }
}

/// A set of codes, the same codes in sets of one, and answers of which the first code is one.
struct Backup<const N: usize> {
    set: BackupSet,
    one_by_one: Vec<BackupSet>,
    answers: Answers<Symbols<N>>,
}

impl<const N: usize> Backup<N> {
    fn new(samples: usize, codes: u8) -> Self {
        let code = |random: u64| {
            let bytes = random.to_le_bytes();
            let random: Vec<u8> = bytes
                .into_iter()
                .cycle()
                .take(Symbols::<N>::RANDOM_BYTES)
                .collect();
            Symbols::new(&random)
        };
        let codes: Vec<Symbols<N>> = (1..=codes)
            .filter_map(|byte| code(u64::from(byte)))
            .collect();
        let set = |codes: &[Symbols<N>]| BackupSet::of(SetId(1), [7; 16], codes);
        Self {
            set: set(&codes),
            one_by_one: codes
                .iter()
                .map(|code| set(std::slice::from_ref(code)))
                .collect(),
            answers: Answers::new(samples, &codes[0], |random| code(random | 1 << 40).unwrap()),
        }
    }
}
