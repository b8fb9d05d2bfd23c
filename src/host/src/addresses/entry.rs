//! One entry of the table: whose it is, and which of its slots count.

use totp_core::throttle::{Codes, Limit, Refusal, Rule, Standing, merge};
use totp_core::time::Time;

use super::counted::Counted;
use super::{
    CHARGES, Clock, END, ENTRIES, ENTRY_WORDS, GENERATION, ORDER, PENDING_SECONDS, REST, SLOTS,
    WHOSE,
};
use crate::shared::{PAGE_WORDS, Page};

/// One of the places that an address may be counted in.
pub(super) struct Placing {
    pub(super) page: usize,
    pub(super) key: u64,
    pub(super) counted: Counted,
    pub(super) is_shared: bool,
}

/// What became of the wish to put an answer into an entry.
pub(super) enum Claimed {
    Full {
        until: Time,
        is_pending: bool,
    },
    /// The entry is somebody else's by now, or begins anew.
    Moved,
    /// Which, what was put into it, and the time in that.
    Slot {
        slot: usize,
        word: u64,
        at: Time,
    },
}

impl Placing {
    /// What one who finds this standing is told.
    pub(super) fn seen(&self, standing: Standing) -> Standing {
        match standing {
            _ if !self.is_shared => standing,
            Standing::Refused(_) => Standing::Open {
                left: None,
                codes: Codes::Two,
            },
            Standing::Open { codes, .. } => Standing::Open { left: None, codes },
        }
    }

    /// The entries of a page that may be this one's.
    pub(super) fn entries<'w>(&self, words: &'w [u64]) -> Vec<&'w [u64]> {
        let entries: Vec<_> = words.chunks_exact(ENTRY_WORDS).collect();
        match self.page {
            0 => entries.get(1..2).unwrap_or_default().to_vec(),
            _ => entries,
        }
    }

    /// Whether an entry whose first word this is has this key.
    pub(super) fn has(&self, word: u64) -> bool {
        self.page == 0 || word & !CHARGES == self.key
    }

    /// The entries that have this key already. There are several where some came at the same moment to make it:
    /// answers are charged to the first then, and those in the others count on.
    pub(super) fn known_in(&self, page: &Page) -> Vec<usize> {
        if self.page == 0 {
            return vec![REST];
        }
        let bases = (0..PAGE_WORDS).step_by(ENTRY_WORDS);
        bases
            .filter(|base| self.has(load_word(page, *base)))
            .collect()
    }

    /// The entry of this key, taken from somebody who has nothing left in it where there is none; `None` where all
    /// of them count.
    pub(super) fn entry_in(&self, page: &Page, rule: &Rule, now: Time) -> Option<usize> {
        // Each failure is somebody else's success.
        for _ in 0..ENTRIES {
            if let Some(base) = self.known_in(page).first() {
                return Some(*base);
            }
            let mut bases = (0..PAGE_WORDS).step_by(ENTRY_WORDS);
            let (base, old) = bases.find_map(|base| {
                // Before the slots: a charge that they don't show yet changes it.
                let old = load_word(page, base);
                let times = Times::of(&load(page, base), rule, now);
                times.is_unused(rule, now).then_some((base, old))
            })?;
            let new = self.key | old & CHARGES;
            let _ = page.get(base)?.compare_exchange(old, new, ORDER, ORDER);
        }
        None
    }

    /// Puts this moment into a free slot of the first entry of this key.
    pub(super) fn claim_slot(
        &self,
        page: &Page,
        base: usize,
        rule: &Rule,
        clock: Clock<'_>,
    ) -> Claimed {
        const TRIES: u32 = 10_000;
        for _ in 0..TRIES {
            let known = self.known_in(page);
            if known.first() != Some(&base) {
                return Claimed::Moved;
            }
            let entry = load(page, base);
            let generation = entry.get(GENERATION).copied().unwrap_or(0);
            let at = clock();
            let now = at.min(END);
            let mut times = Times::of(&entry, rule, now);
            let twins: Vec<_> = known
                .iter()
                .skip(1)
                .map(|twin| (*twin, load(page, *twin)))
                .collect();
            for (_, twin) in &twins {
                times.join(Times::of(twin, rule, now));
            }
            if times.is_over(rule, now) {
                begin_anew(page, base, &entry);
                for (twin, entry) in &twins {
                    begin_anew(page, *twin, entry);
                }
                continue;
            }
            if let Standing::Refused(Refusal { until, .. }) = times.standing(rule, now) {
                return Claimed::Full {
                    until,
                    is_pending: times.is_pending,
                };
            }
            let Some((index, old)) = times.free else {
                return Claimed::Moved;
            };
            let slot = base.saturating_add(SLOTS).saturating_add(index);
            let word = slot_word(at, generation) | PENDING;
            let Some(place) = page.get(slot) else {
                return Claimed::Moved;
            };
            if place.compare_exchange(old, word, ORDER, ORDER).is_err() {
                continue;
            }
            let is_confirmed = self.confirm(page, base, generation);
            // Who was stopped since would have charged what is long over.
            if is_confirmed && clock().since(at).seconds() <= PENDING_SECONDS {
                self.show(page, base);
                return Claimed::Slot { slot, word, at };
            }
            let _ = place.compare_exchange(word, 0, ORDER, ORDER);
            return Claimed::Moved;
        }
        Claimed::Moved
    }

    /// Makes a charge known to whoever is about to take the entry over; `false` where that has happened already,
    /// where the entry has begun anew, or where the key has got one before it.
    pub(super) fn confirm(&self, page: &Page, base: usize, generation: u64) -> bool {
        let charged = |word: u64| {
            let charges = word.wrapping_add(1) & CHARGES;
            self.has(word).then_some(word & !CHARGES | charges)
        };
        let key = page.get(base);
        let is_ours = key.is_some_and(|key| key.fetch_update(ORDER, ORDER, charged).is_ok());
        is_ours
            && self.known_in(page).first() == Some(&base)
            && load_word(page, base.saturating_add(GENERATION)) == generation
    }

    /// Says whose the entry is. Each charge does, since whoever took the entry may have been killed before.
    fn show(&self, page: &Page, base: usize) {
        for (index, counted) in self.counted.0.iter().enumerate() {
            let at = base.saturating_add(WHOSE).saturating_add(index);
            if let Some(word) = page.get(at) {
                word.store(*counted, ORDER);
            }
        }
    }
}

/// Ends what an entry's answers led to, as it was found, unless somebody else has.
fn begin_anew(page: &Page, base: usize, entry: &[u64]) {
    let generation = entry.get(GENERATION).copied().unwrap_or(0);
    if let Some(word) = page.get(base.saturating_add(GENERATION)) {
        let _ = word.compare_exchange(generation, generation.wrapping_add(1), ORDER, ORDER);
    }
}

/// Replaces the times of a page that lie in the future by now, since the clock went back.
pub(super) fn clamp(page: &Page, number: usize, clock: Clock<'_>) {
    let head = head_of(number).saturating_mul(ENTRY_WORDS);
    let mut now = clock();
    for (at, place) in page.iter().enumerate().skip(head) {
        let word = place.load(ORDER);
        let is_slot = at.checked_rem(ENTRY_WORDS).is_some_and(|at| at >= SLOTS);
        if !is_slot || !is_future(word, now) {
            continue;
        }
        now = clock();
        if is_future(word, now) {
            let clamped = (u64::from(seconds(now)) << 32) | (word & 0xFFFF_FFFF);
            let _ = place.compare_exchange(word, clamped, ORDER, ORDER);
        }
    }
}

/// Whether the clock went back since. Not where somebody else has merely looked at it a moment later: what is
/// changed under an answer on its way can't be given back.
pub(super) fn is_future(slot: u64, now: Time) -> bool {
    slot >> 32 > u64::from(seconds(now).saturating_add(PENDING_SECONDS))
}

/// Entries that the head takes.
pub(super) const fn head_of(page: usize) -> usize {
    if page == 0 { 1 } else { 0 }
}

pub(super) const PENDING: u64 = 1;

pub(super) fn slot_word(now: Time, generation: u64) -> u64 {
    (u64::from(seconds(now)) << 32) | ((generation << 1) & 0xFFFF_FFFE)
}

/// A time as slots have it: never 0, which stands for none.
pub(super) fn seconds(time: Time) -> u32 {
    u32::try_from(time.unix().max(1)).unwrap_or(u32::MAX)
}

/// What the slots of one entry say.
pub(super) struct Times {
    /// Of this generation, oldest first.
    wrong: Vec<Time>,
    /// Those of them that can't turn out right any more.
    settled: Vec<Time>,
    /// A slot that can be taken, and what is in it.
    free: Option<(usize, u64)>,
    /// Whether one of them may still turn out right.
    is_pending: bool,
}

impl Times {
    pub(super) fn of(entry: &[u64], rule: &Rule, now: Time) -> Self {
        let generation = entry.get(GENERATION).copied().unwrap_or(0);
        let slots = entry.iter().skip(SLOTS).take(usize::from(rule.most));
        let mut times = Self {
            wrong: Vec::new(),
            settled: Vec::new(),
            free: None,
            is_pending: false,
        };
        for (index, word) in slots.copied().enumerate() {
            let at = u32::try_from(word >> 32).unwrap_or(0);
            let is_current = at != 0 && word & 0xFFFF_FFFE == (generation << 1) & 0xFFFF_FFFE;
            let time = Time::from_unix(i64::from(at)).min(now);
            if is_current {
                merge(&mut times.wrong, [time]);
                let is_young = now.since(time).seconds() < PENDING_SECONDS;
                if word & PENDING != 0 && is_young {
                    times.is_pending = true;
                } else {
                    merge(&mut times.settled, [time]);
                }
            }
            if times.free.is_none() && !(is_current && now.since(time) < rule.interval) {
                times.free = Some((index, word));
            }
        }
        times
    }

    /// Adds what another entry of the same key says.
    pub(super) fn join(&mut self, twin: Self) {
        self.is_pending |= twin.is_pending;
        merge(&mut self.wrong, twin.wrong);
        merge(&mut self.settled, twin.settled);
    }

    pub(super) fn standing(&self, rule: &Rule, now: Time) -> Standing {
        rule.standing(&self.wrong, Limit::Address, now)
    }

    /// The same, but for who can wait until those on their way have turned out right or wrong.
    pub(super) fn outlook(&self, rule: &Rule, now: Time) -> Standing {
        match self.standing(rule, now) {
            Standing::Refused(_) if self.is_pending => {
                rule.standing(&self.settled, Limit::Address, now)
            }
            standing => standing,
        }
    }

    /// Whether nothing counts any more.
    pub(super) fn is_unused(&self, rule: &Rule, now: Time) -> bool {
        self.standing(rule, now).is_unused(rule)
    }

    /// Whether these led to a lock that has run out.
    fn is_over(&self, rule: &Rule, now: Time) -> bool {
        rule.is_over(&self.wrong, now)
    }
}

pub(super) fn load(page: &Page, base: usize) -> Vec<u64> {
    let words = page.iter().skip(base).take(ENTRY_WORDS);
    words.map(|word| word.load(ORDER)).collect()
}

fn load_word(page: &Page, at: usize) -> u64 {
    page.get(at).map_or(0, |word| word.load(ORDER))
}
