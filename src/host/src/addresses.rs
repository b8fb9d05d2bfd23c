//! Wrong answers by remote address, of all users: the table behind `address_deny`.
//!
//! It has a fixed size of 2 MiB and no lock. An entry holds one slot for each wrong answer that is still borne; to
//! charge an answer is to put the time into a free slot by one compare-and-swap, and where no slot is free the
//! answer is not judged. So there never are more judged than slots, however many try at once and wherever one of
//! them is stopped or killed.
//!
//! The first page holds the head and the entry that all share who find no other place; then come pages of addresses,
//! then pages of the coarser networks (IPv4 /24, IPv6 /48, then /32) that addresses are counted by whose page
//! is full. Such an entry refuses nobody: who shares it with strangers gives two codes in a row.
//!
//! ```text
//! entry   key        a hash of the two words that follow the generation, 0 where it is free
//!         generation one more whenever the answers that led to a lock stop counting
//!         address    2 words: kind and prefix, then the number
//!         slots      28 words: time << 32 | generation << 1 | pending
//! ```

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use totp_core::address::Address;
use totp_core::throttle::{AddressDeny, Codes, Limit, Limits, Refusal, Rule, Standing};
use totp_core::time::Time;

use crate::file::{Fault, FileError};
use crate::folder::Folder;
use crate::shared::{PAGE_WORDS, Page, Shared};

const NAME: &str = "addresses";

const ENTRY_WORDS: usize = 32;
/// The first word is the key.
const GENERATION: usize = 1;
const SHOWN: usize = 2;
const SLOTS: usize = 4;
const ENTRIES: usize = PAGE_WORDS / ENTRY_WORDS;
const _: () = assert!(ENTRY_WORDS - SLOTS == AddressDeny::MAX as usize);

const ADDRESS_PAGES: u64 = 447;
const NETWORK_PAGES: u64 = 64;
const PAGES: usize = 1 + 447 + 64;
/// Where the entry for the rest is: behind the head.
const REST: usize = ENTRY_WORDS;

/// How long an answer may be on its way to its verdict. What takes longer was stopped, and counts.
const PENDING_SECONDS: u32 = 2;

/// The table, opened for one answer.
pub struct Addresses {
    shared: Shared,
}

impl Addresses {
    /// The table in `folder`; `None` where nothing was ever counted.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(folder: &Folder) -> Result<Option<Self>, FileError> {
        let shared = Shared::open(folder, NAME, PAGES)?;
        Ok(shared.map(|shared| Self { shared }))
    }

    /// The same, made where it is missing.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open_or_make(folder: &Folder) -> Result<Self, FileError> {
        let shared = Shared::open_or_make(folder, NAME, PAGES)?;
        Ok(Self { shared })
    }

    /// Forgets all that was counted.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn clear(folder: &Folder) -> Result<(), FileError> {
        Shared::renew(folder, NAME, PAGES)
    }

    /// Bytes that the file has, always.
    pub const BYTES: usize = PAGES * PAGE_WORDS * 8;

    /// Whether an answer from `address` would be judged now.
    ///
    /// # Errors
    /// What the system says.
    pub fn standing(
        &self,
        address: &Address,
        limits: &Limits,
        now: Time,
    ) -> Result<Standing, Errno> {
        let rule = limits.by_address();
        for place in self.places_of(address) {
            let words = self.words(place.page, now)?;
            let mut is_room = false;
            for entry in place.entries(&words) {
                let times = Times::of(entry, &rule, now);
                if entry.first() == Some(&place.key) {
                    return Ok(place.seen(times.standing(&rule, now)));
                }
                is_room |= times.standing(&rule, now).is_unused(&rule);
            }
            if is_room {
                return Ok(place.seen(rule.standing(&[], Limit::Address, now)));
            }
        }
        Ok(rule.standing(&[], Limit::Address, now))
    }

    /// Charges an answer that is about to be judged.
    ///
    /// # Errors
    /// What the system says.
    pub fn reserve(&self, address: &Address, limits: &Limits, now: Time) -> Result<Charge, Errno> {
        // Others' answers on their way may turn out right and give their slots back.
        const PATIENCE: Duration = Duration::from_secs(PENDING_SECONDS as u64 + 1);
        let rule = limits.by_address();
        let since = Instant::now();
        for place in self.places_of(address) {
            let page = self.shared.map(place.page).map_err(errno)?;
            clamp(&page, place.page, now);
            loop {
                let Some(base) = place.entry_in(&page, &rule, now) else {
                    break;
                };
                match place.claim_slot(&page, base, &rule, now) {
                    Claimed::Slot(slot, word) => {
                        return Ok(Charge::Reserved(Reservation { page, slot, word }));
                    }
                    // Each time somebody else was faster.
                    Claimed::Moved if since.elapsed() < PATIENCE => {}
                    Claimed::Moved => return Err(Errno::EAGAIN),
                    Claimed::Full {
                        is_pending: true, ..
                    } if since.elapsed() < PATIENCE => {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    Claimed::Full { until, .. } => {
                        return Ok(if place.is_shared {
                            Charge::Shared
                        } else {
                            Charge::Refused(Refusal {
                                until,
                                limit: Limit::Address,
                            })
                        });
                    }
                }
            }
        }
        Ok(Charge::Shared)
    }

    /// Forgets what is counted against an address, by itself or by its networks; `false` where nothing is.
    ///
    /// # Errors
    /// What the system says.
    pub fn forgive(&self, address: &Address, limits: &Limits, now: Time) -> Result<bool, Errno> {
        let rule = limits.by_address();
        let mut had_any = false;
        for place in self.places_of(address) {
            let page = self.shared.map(place.page).map_err(errno)?;
            let Some(base) = place.known_in(&page) else {
                continue;
            };
            let entry = load(&page, base);
            had_any |= !Times::of(&entry, &rule, now)
                .standing(&rule, now)
                .is_unused(&rule);
            if let Some(generation) = page.get(base.saturating_add(GENERATION)) {
                generation.fetch_add(1, Ordering::AcqRel);
            }
        }
        Ok(had_any)
    }

    /// All addresses and networks that something is counted against, with where they stand.
    ///
    /// # Errors
    /// What the system says.
    pub fn counted(&self, limits: &Limits, now: Time) -> Result<Vec<(String, Standing)>, Errno> {
        let rule = limits.by_address();
        let mut counted = Vec::new();
        for page in 0..PAGES {
            let words = self.words(page, now)?;
            let entries = words.chunks_exact(ENTRY_WORDS).enumerate();
            for (index, entry) in entries.skip(head_of(page)) {
                let standing = Times::of(entry, &rule, now).standing(&rule, now);
                if standing.is_unused(&rule) || (page == 0 && index > 1) {
                    continue;
                }
                let shown = entry.get(SHOWN..SLOTS).unwrap_or_default();
                let is_whole = entry.first() == Some(&self.key_of(shown));
                counted.push((
                    if page == 0 {
                        "all others".to_owned()
                    } else if is_whole {
                        Shown::of(shown).to_string()
                    } else {
                        "unreadable".to_owned()
                    },
                    standing,
                ));
            }
        }
        counted.sort_by(|(one, _), (two, _)| one.cmp(two));
        Ok(counted)
    }

    /// The words of a page, none of them in the future.
    fn words(&self, page: usize, now: Time) -> Result<Vec<u64>, Errno> {
        let words = self.shared.read(page).map_err(errno)?;
        let mut entries = words.chunks_exact(ENTRY_WORDS).skip(head_of(page));
        if entries.all(|entry| entry.iter().skip(SLOTS).all(|word| !is_future(*word, now))) {
            return Ok(words);
        }
        clamp(&self.shared.map(page).map_err(errno)?, page, now);
        self.shared.read(page).map_err(errno)
    }

    /// Where an address is counted, the finest place first.
    fn places_of(&self, address: &Address) -> Vec<Placing> {
        let levels = Shown::levels(address);
        let placing = |(level, shown): (usize, Shown)| {
            let key = self.key_of(&shown.0);
            let (first, pages) = match level {
                0 => (1, ADDRESS_PAGES),
                _ => (1 + ADDRESS_PAGES, NETWORK_PAGES),
            };
            let page = first.saturating_add((key >> 32).checked_rem(pages).unwrap_or(0));
            Placing {
                page: usize::try_from(page).unwrap_or(0),
                key,
                shown,
                is_shared: level != 0,
            }
        };
        let rest = Placing {
            page: 0,
            key: 0,
            shown: Shown([0; 2]),
            is_shared: true,
        };
        let levels = levels.into_iter().enumerate().map(placing);
        levels.chain([rest]).collect()
    }

    fn key_of(&self, shown: &[u64]) -> u64 {
        let bytes: Vec<u8> = shown.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.shared.hash(&bytes)
    }
}

/// What became of the wish to charge an answer.
pub enum Charge {
    /// The address is locked.
    Refused(Refusal),
    /// It is charged, until it turns out to be right.
    Reserved(Reservation),
    /// It has no place of its own, and the one that it shares is at its limit: two codes in a row are judged.
    Shared,
}

/// One slot, taken by an answer on its way to its verdict. Whoever is killed with it leaves it charged.
pub struct Reservation {
    page: Page,
    slot: usize,
    word: u64,
}

impl Reservation {
    /// The answer was wrong.
    pub fn settle(self) {
        self.exchange(self.word & !PENDING);
    }

    /// The answer was right, or not judged.
    pub fn release(self) {
        self.exchange(0);
    }

    fn exchange(&self, to: u64) {
        // Somebody who forgave the address meanwhile has the last word.
        if let Some(slot) = self.page.get(self.slot) {
            let _ = slot.compare_exchange(self.word, to, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

/// One of the places that an address may be counted in.
struct Placing {
    page: usize,
    key: u64,
    shown: Shown,
    is_shared: bool,
}

enum Claimed {
    Full {
        until: Time,
        is_pending: bool,
    },
    /// The entry is somebody else's by now, or begins anew.
    Moved,
    /// Which, and what was put into it.
    Slot(usize, u64),
}

impl Placing {
    /// What one who finds this standing is told.
    fn seen(&self, standing: Standing) -> Standing {
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
    fn entries<'w>(&self, words: &'w [u64]) -> Vec<&'w [u64]> {
        let entries: Vec<_> = words.chunks_exact(ENTRY_WORDS).collect();
        match self.page {
            0 => entries.get(1..2).unwrap_or_default().to_vec(),
            _ => entries,
        }
    }

    /// The entry that has this key already.
    fn known_in(&self, page: &Page) -> Option<usize> {
        if self.page == 0 {
            return Some(REST);
        }
        let mut bases = (0..PAGE_WORDS).step_by(ENTRY_WORDS);
        bases.find(|base| load_word(page, *base) == self.key)
    }

    /// The entry of this key, taken from somebody who has nothing left in it where there is none; `None` where all
    /// of them count.
    fn entry_in(&self, page: &Page, rule: &Rule, now: Time) -> Option<usize> {
        // Each failure is somebody else's success.
        for _ in 0..ENTRIES {
            if let Some(base) = self.known_in(page) {
                return Some(base);
            }
            let mut bases = (0..PAGE_WORDS).step_by(ENTRY_WORDS);
            let base = bases.find(|base| {
                let times = Times::of(&load(page, *base), rule, now);
                times.standing(rule, now).is_unused(rule)
            })?;
            let old = load_word(page, base);
            let taken = page.get(base)?.compare_exchange(
                old,
                self.key,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if taken.is_ok() {
                for (index, word) in self.shown.0.iter().enumerate() {
                    let at = base.saturating_add(SHOWN).saturating_add(index);
                    page.get(at)?.store(*word, Ordering::Release);
                }
            }
        }
        None
    }

    /// Puts this moment into a free slot of an entry.
    fn claim_slot(&self, page: &Page, base: usize, rule: &Rule, now: Time) -> Claimed {
        const TRIES: u32 = 10_000;
        for _ in 0..TRIES {
            let entry = load(page, base);
            let generation = entry.get(GENERATION).copied().unwrap_or(0);
            let times = Times::of(&entry, rule, now);
            if times.is_over(rule, now) {
                let at = base.saturating_add(GENERATION);
                if let Some(word) = page.get(at) {
                    let next = generation.wrapping_add(1);
                    let _ = word.compare_exchange(
                        generation,
                        next,
                        Ordering::AcqRel,
                        Ordering::Relaxed,
                    );
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
            let word = slot_word(now, generation) | PENDING;
            let Some(place) = page.get(slot) else {
                return Claimed::Moved;
            };
            let taken = place.compare_exchange(old, word, Ordering::AcqRel, Ordering::Relaxed);
            if taken.is_err() {
                continue;
            }
            let is_same = (self.page == 0 || load_word(page, base) == self.key)
                && load_word(page, base.saturating_add(GENERATION)) == generation;
            if is_same {
                return Claimed::Slot(slot, word);
            }
            let _ = place.compare_exchange(word, 0, Ordering::AcqRel, Ordering::Relaxed);
            return Claimed::Moved;
        }
        Claimed::Moved
    }
}

/// Replaces the times of a page that lie in the future by now, since the clock went back.
fn clamp(page: &Page, number: usize, now: Time) {
    let head = head_of(number).saturating_mul(ENTRY_WORDS);
    for (at, place) in page.iter().enumerate().skip(head) {
        let word = place.load(Ordering::Acquire);
        let is_slot = at.checked_rem(ENTRY_WORDS).is_some_and(|at| at >= SLOTS);
        if is_slot && is_future(word, now) {
            let clamped = (u64::from(seconds(now)) << 32) | (word & 0xFFFF_FFFF);
            let _ = place.compare_exchange(word, clamped, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

fn is_future(slot: u64, now: Time) -> bool {
    slot >> 32 > u64::from(seconds(now))
}

/// Entries that the head takes.
const fn head_of(page: usize) -> usize {
    if page == 0 { 1 } else { 0 }
}

const PENDING: u64 = 1;

fn slot_word(now: Time, generation: u64) -> u64 {
    (u64::from(seconds(now)) << 32) | ((generation << 1) & 0xFFFF_FFFE)
}

/// A time as slots have it: never 0, which stands for none.
fn seconds(time: Time) -> u32 {
    u32::try_from(time.unix().max(1)).unwrap_or(u32::MAX)
}

/// What the slots of one entry say.
struct Times {
    /// Of this generation, oldest first.
    wrong: Vec<Time>,
    /// A slot that can be taken, and what is in it.
    free: Option<(usize, u64)>,
    /// Whether one of them may still turn out right.
    is_pending: bool,
}

impl Times {
    fn of(entry: &[u64], rule: &Rule, now: Time) -> Self {
        let generation = entry.get(GENERATION).copied().unwrap_or(0);
        let slots = entry.iter().skip(SLOTS).take(usize::from(rule.most));
        let mut times = Self {
            wrong: Vec::new(),
            free: None,
            is_pending: false,
        };
        for (index, word) in slots.copied().enumerate() {
            let at = u32::try_from(word >> 32).unwrap_or(0);
            let is_current = at != 0 && word & 0xFFFF_FFFE == (generation << 1) & 0xFFFF_FFFE;
            let time = Time::from_unix(i64::from(at)).min(now);
            if is_current {
                times.wrong.push(time);
                let age = now.since(time).seconds();
                times.is_pending |= word & PENDING != 0 && age < PENDING_SECONDS;
            }
            if times.free.is_none() && !(is_current && now.since(time) < rule.interval) {
                times.free = Some((index, word));
            }
        }
        times.wrong.sort_unstable();
        times
    }

    fn standing(&self, rule: &Rule, now: Time) -> Standing {
        rule.standing(&self.wrong, Limit::Address, now)
    }

    /// Whether these led to a lock that has run out.
    fn is_over(&self, rule: &Rule, now: Time) -> bool {
        rule.is_over(&self.wrong, now)
    }
}

/// An address or network in two words: its kind and prefix, and its number.
struct Shown([u64; 2]);

impl Shown {
    const V4: u64 = 4;
    const V6: u64 = 6;
    const UID: u64 = 1;
    const LOCAL: u64 = 2;
    const OTHER: u64 = 3;

    fn of(words: &[u64]) -> Self {
        Self(words.first_chunk().copied().unwrap_or_default())
    }

    /// An address and the networks that it may be counted by.
    fn levels(address: &Address) -> Vec<Self> {
        let network = |kind: u64, number: u64, bits: u64, prefix: u64| {
            let behind = u32::try_from(bits.saturating_sub(prefix)).unwrap_or(0);
            let mask = u64::MAX.checked_shl(behind).unwrap_or(0);
            Self([kind << 8 | prefix, number & mask])
        };
        match address {
            Address::V4(address) => {
                let number = u64::from(address.to_bits());
                let levels = [32, 24].map(|prefix| network(Self::V4, number, 32, prefix));
                levels.into()
            }
            Address::V6(bytes) => {
                let number = u64::from_be_bytes(*bytes);
                let levels = [64, 48, 32].map(|prefix| network(Self::V6, number, 64, prefix));
                levels.into()
            }
            Address::Uid(uid) => vec![Self([Self::UID << 8, u64::from(*uid)])],
            Address::Local => vec![Self([Self::LOCAL << 8, 0])],
            _ => vec![Self([Self::OTHER << 8, 0])],
        }
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [kind, number] = self.0;
        let prefix = kind & 0xFF;
        match kind >> 8 {
            Self::V4 => {
                let number = u32::try_from(number).unwrap_or(0);
                let address = std::net::Ipv4Addr::from_bits(number);
                match prefix {
                    32 => write!(f, "{address}"),
                    _ => write!(f, "{address}/{prefix}"),
                }
            }
            Self::V6 => {
                let address = std::net::Ipv6Addr::from_bits(u128::from(number) << 64);
                write!(f, "{address}/{prefix}")
            }
            Self::UID => write!(f, "uid:{number}"),
            Self::LOCAL => f.write_str("local"),
            _ => f.write_str("unreadable"),
        }
    }
}

fn load(page: &Page, base: usize) -> Vec<u64> {
    let words = page.iter().skip(base).take(ENTRY_WORDS);
    words.map(|word| word.load(Ordering::Acquire)).collect()
}

fn load_word(page: &Page, at: usize) -> u64 {
    page.get(at).map_or(0, |word| word.load(Ordering::Acquire))
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// The error of a call on the table.
pub(crate) fn table_error(folder: &Folder, errno: Errno) -> FileError {
    let doing = "use";
    FileError::new(&folder.path_of(NAME), Fault::Io { doing, errno })
}
