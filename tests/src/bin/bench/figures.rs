//! What was measured, and the tables that it makes.

use std::iter;
use std::time::Duration;

/// What one login took.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// From its start to its end.
    pub wall: Duration,
    /// On a processor.
    pub cpu: Duration,
}

/// The logins of one module, one a round.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    spent: Vec<Spent>,
    let_in: usize,
}

impl Samples {
    /// Adds a login of the next round.
    pub fn add(&mut self, spent: Spent, is_let_in: bool) {
        self.spent.push(spent);
        self.let_in += usize::from(is_let_in);
    }

    fn wall(&self) -> Vec<f64> {
        let wall = self.spent.iter().map(|spent| spent.wall);
        wall.map(|wall| wall.as_secs_f64() * 1e6).collect()
    }

    fn cpu(&self) -> Vec<f64> {
        let cpu = self.spent.iter().map(|spent| spent.cpu);
        cpu.map(|cpu| cpu.as_secs_f64() * 1e6).collect()
    }

    /// The median of the ratios to another module's login of the same round: what slows the machine down for a
    /// while slows both.
    fn over(&self, other: &Self) -> f64 {
        let (own, other) = (self.wall(), other.wall());
        let pairs = own.iter().zip(&other);
        quantile(pairs.map(|(own, other)| own / other).collect(), 0.5)
    }
}

/// The value below which a part of all lies.
pub fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    values[(last as f64 * part).round() as usize]
}

/// Prints what the modules took in one case; the first is what all are compared with, and all with `ours`.
pub fn print(case: &str, measured: &[(&str, Samples)], ours: &str) {
    let (_, base) = measured.first().expect("a module");
    let ours = measured.iter().find(|(name, _)| *name == ours);
    heading(
        case,
        &[
            "median µs",
            "p99 µs",
            "CPU µs",
            "× permit",
            "ours ÷",
            "let in",
        ],
    );
    for (name, samples) in measured {
        let rate = 100.0 * samples.let_in as f64 / samples.spent.len() as f64;
        line(
            name,
            [
                format!("{:.0}", quantile(samples.wall(), 0.5)),
                format!("{:.0}", quantile(samples.wall(), 0.99)),
                format!("{:.0}", quantile(samples.cpu(), 0.5)),
                format!("{:.2}", samples.over(base)),
                ours.map_or("-".to_owned(), |(_, ours)| {
                    format!("{:.2}", ours.over(samples))
                }),
                format!("{rate:.0} %"),
            ],
        );
    }
}

/// A blank line, what the lines to come are about, and the titles of their columns.
pub fn heading(about: &str, titles: &[&str]) {
    println!();
    line(about, titles.iter().map(ToString::to_string));
}

/// One line of a table.
pub fn line(name: &str, values: impl IntoIterator<Item = String>) {
    let columns = values.into_iter().map(|value| format!("{value:>12}"));
    let name = iter::once(format!("{name:<38}"));
    println!("{}", name.chain(columns).collect::<String>().trim_end());
}
