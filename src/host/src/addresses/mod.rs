//! Wrong answers by remote address, of all users: the table behind `address_deny`.
//!
//! It has a fixed size of 2 MiB and no lock. An entry holds one slot for each wrong answer that is still borne; to
//! charge an answer is to put the time into a free slot by one compare-and-swap, and where no slot is free the
//! answer is not judged. So there never are more judged than slots, however many try at once and wherever one of
//! them is stopped or killed.
//!
//! Whoever takes an entry over from an address that has nothing left in it does so by one compare-and-swap of the
//! key, which fails if an answer was charged since he looked: each charge changes the key's low bits.
//!
//! The first page holds the head and the entry that all share who find no other place; then come pages of addresses,
//! then pages of the coarser networks (IPv4 /24, IPv6 /48, then /32) that addresses are counted by whose page
//! is full. Such an entry refuses nobody: who shares it with strangers gives two codes in a row.
//!
//! ```text
//! entry   key        48 bits: a hash of the two words that follow the generation, 0 where it is free
//!                    16 bits: how many answers were charged here, from 0 again when they run over
//!         generation one more whenever the answers that led to a lock stop counting
//!         address    2 words: kind and prefix, then the number
//!         slots      28 words: time << 32 | generation << 1 | pending
//! ```

mod counted;
mod entry;

use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use totp_core::address::Address;
use totp_core::throttle::{AddressDeny, Limit, Limits, Refusal, Standing};
use totp_core::time::Time;

use self::counted::Counted;
use self::entry::{Claimed, PENDING, Placing, Times, clamp, head_of, is_future, load, seconds};
use crate::file::{Fault, FileError};
use crate::folder::Folder;
use crate::shared::{PAGE_WORDS, Page, Shared};

const NAME: &str = "addresses";

const ENTRY_WORDS: usize = 32;
/// The first word is the key.
const GENERATION: usize = 1;
const WHOSE: usize = 2;
const SLOTS: usize = 4;
const ENTRIES: usize = PAGE_WORDS / ENTRY_WORDS;
const _: () = assert!(ENTRY_WORDS - SLOTS == AddressDeny::MAX as usize);

const ADDRESS_PAGES: u64 = 447;
const NETWORK_PAGES: u64 = 64;
const PAGES: usize = 1 + ADDRESS_PAGES as usize + NETWORK_PAGES as usize;
/// Where the entry for the rest is: behind the head.
const REST: usize = ENTRY_WORDS;

/// The part of a key that counts charges.
const CHARGES: u64 = 0xFFFF;

/// How long an answer may be on its way to its verdict. What takes longer was stopped, and counts.
const PENDING_SECONDS: u32 = 2;

/// The last time that a slot can have (in 2106): later ones are taken for it, so that what counts goes on counting.
const END: Time = Time::from_unix(0xFFFF_FFFF);

/// Who charges an answer and who takes the entry over must not both be first, so all accesses have one order.
const ORDER: Ordering = Ordering::SeqCst;

/// How long it makes sense to wait for a slot that others may give back.
pub const PATIENCE: Duration = Duration::from_secs(PENDING_SECONDS as u64 + 1);

/// The clock. It is read after what its time is compared with or put in the place of: who was stopped in between would
/// take for the future what others have charged meanwhile, and charge what is long over.
pub type Clock<'c> = &'c dyn Fn() -> Time;

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
        clock: Clock<'_>,
    ) -> Result<Standing, Errno> {
        let (rule, now) = (limits.by_address(), clock().min(END));
        for place in self.places_of(address) {
            let words = self.words(place.page, clock)?;
            let mut known: Option<Times> = None;
            let mut is_room = false;
            for entry in place.entries(&words) {
                let times = Times::of(entry, &rule, now);
                is_room |= times.is_unused(&rule, now);
                if entry.first().is_some_and(|word| place.has(*word)) {
                    match &mut known {
                        Some(known) => known.join(times),
                        None => known = Some(times),
                    }
                }
            }
            if let Some(times) = known {
                return Ok(place.seen(times.outlook(&rule, now)));
            }
            if is_room {
                return Ok(place.seen(rule.standing(&[], Limit::Address, now)));
            }
        }
        Ok(rule.standing(&[], Limit::Address, now))
    }

    /// Charges an answer that is about to be judged. Answers of others on their way may turn out right and give their
    /// slots back: who is patient tries again.
    ///
    /// # Errors
    /// What the system says.
    pub fn reserve(
        &self,
        address: &Address,
        limits: &Limits,
        clock: Clock<'_>,
        is_patient: bool,
    ) -> Result<Charge, Errno> {
        // Each failure is somebody else's success.
        const TRIES: u32 = 1000;
        let rule = limits.by_address();
        let mut tries = 0..TRIES;
        for place in self.places_of(address) {
            let page = self.shared.map(place.page).map_err(errno)?;
            clamp(&page, place.page, clock);
            while let Some(base) = place.entry_in(&page, &rule, clock().min(END)) {
                match place.claim_slot(&page, base, &rule, clock) {
                    Claimed::Slot { slot, word, at } => {
                        return Ok(Charge::Reserved(Reservation {
                            page,
                            slot,
                            word,
                            at,
                        }));
                    }
                    Claimed::Moved => tries.next().ok_or(Errno::EAGAIN).map(drop)?,
                    Claimed::Full {
                        is_pending: true, ..
                    } if is_patient => return Ok(Charge::Busy),
                    Claimed::Full { until, .. } => {
                        let limit = Limit::Address;
                        let refusal = Refusal { until, limit };
                        return Ok(if place.is_shared {
                            Charge::Shared
                        } else {
                            Charge::Refused(refusal)
                        });
                    }
                }
            }
        }
        Ok(Charge::Shared)
    }

    /// Takes one wrong answer back that was given at a time: it was the first of two codes, and the second has come.
    ///
    /// # Errors
    /// What the system says.
    pub fn take_back(&self, address: &Address, at: Time) -> Result<(), Errno> {
        // One that shares its place may have been charged there or not.
        for place in self
            .places_of(address)
            .iter()
            .filter(|place| !place.is_shared)
        {
            let page = self.shared.map(place.page).map_err(errno)?;
            for base in place.known_in(&page) {
                let slots = page.iter().skip(base.saturating_add(SLOTS));
                for slot in slots.take(ENTRY_WORDS - SLOTS) {
                    let word = slot.load(ORDER);
                    let is_it = word >> 32 == u64::from(seconds(at)) && word & PENDING == 0;
                    if is_it && slot.compare_exchange(word, 0, ORDER, ORDER).is_ok() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Forgets what is counted against an address, by itself or by its networks; `false` where nothing is.
    ///
    /// # Errors
    /// What the system says.
    pub fn forgive(&self, address: &Address, limits: &Limits, now: Time) -> Result<bool, Errno> {
        let (rule, now) = (limits.by_address(), now.min(END));
        let mut had_any = false;
        for place in self.places_of(address) {
            let page = self.shared.map(place.page).map_err(errno)?;
            for base in place.known_in(&page) {
                let times = Times::of(&load(&page, base), &rule, now);
                had_any |= !times.is_unused(&rule, now);
                if let Some(generation) = page.get(base.saturating_add(GENERATION)) {
                    generation.fetch_add(1, ORDER);
                }
            }
        }
        Ok(had_any)
    }

    /// All addresses and networks that something is counted against, with where they stand.
    ///
    /// # Errors
    /// What the system says.
    pub fn counted(
        &self,
        limits: &Limits,
        clock: Clock<'_>,
    ) -> Result<Vec<(String, Standing)>, Errno> {
        let (rule, now) = (limits.by_address(), clock().min(END));
        let mut counted = Vec::new();
        for page in 0..PAGES {
            let words = self.words(page, clock)?;
            let entries = words.chunks_exact(ENTRY_WORDS).enumerate();
            for (index, entry) in entries.skip(head_of(page)) {
                let standing = Times::of(entry, &rule, now).standing(&rule, now);
                if standing.is_unused(&rule) || (page == 0 && index > 1) {
                    continue;
                }
                let whose = entry.get(WHOSE..SLOTS).unwrap_or_default();
                let key = entry.first().map(|word| word & !CHARGES);
                let is_whole = key == Some(self.key_of(whose));
                counted.push((
                    if page == 0 {
                        "all others".to_owned()
                    } else if is_whole {
                        Counted::of(whose).to_string()
                    } else {
                        "unknown".to_owned()
                    },
                    standing,
                ));
            }
        }
        counted.sort_by(|(one, _), (two, _)| one.cmp(two));
        Ok(counted)
    }

    /// The words of a page, none of them in the future.
    fn words(&self, page: usize, clock: Clock<'_>) -> Result<Vec<u64>, Errno> {
        let words = self.shared.read(page).map_err(errno)?;
        let now = clock();
        let mut entries = words.chunks_exact(ENTRY_WORDS).skip(head_of(page));
        if entries.all(|entry| entry.iter().skip(SLOTS).all(|word| !is_future(*word, now))) {
            return Ok(words);
        }
        clamp(&self.shared.map(page).map_err(errno)?, page, clock);
        self.shared.read(page).map_err(errno)
    }

    /// Where an address is counted, the finest place first.
    fn places_of(&self, address: &Address) -> Vec<Placing> {
        let levels = Counted::levels(address);
        let placing = |(level, whose): (usize, Counted)| {
            let key = self.key_of(&whose.0);
            let (first, pages) = match level {
                0 => (1, ADDRESS_PAGES),
                _ => (1 + ADDRESS_PAGES, NETWORK_PAGES),
            };
            let page = first.saturating_add((key >> 32).checked_rem(pages).unwrap_or(0));
            Placing {
                page: usize::try_from(page).unwrap_or(0),
                key,
                counted: whose,
                is_shared: level != 0,
            }
        };
        let rest = Placing {
            page: 0,
            key: 0,
            counted: Counted([0; 2]),
            is_shared: true,
        };
        let levels = levels.into_iter().enumerate().map(placing);
        levels.chain([rest]).collect()
    }

    fn key_of(&self, whose: &[u64]) -> u64 {
        let bytes: Vec<u8> = whose.iter().flat_map(|word| word.to_le_bytes()).collect();
        (self.shared.hash(&bytes) & !CHARGES).max(CHARGES + 1)
    }
}

/// What became of the wish to charge an answer.
pub enum Charge {
    /// Others are on their way to their verdicts, and without them there would be room.
    Busy,
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
    at: Time,
}

impl Reservation {
    /// The time that it is charged to.
    #[must_use]
    pub fn at(&self) -> Time {
        self.at
    }

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
            let _ = slot.compare_exchange(self.word, to, ORDER, ORDER);
        }
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// The error of a call on the table.
pub(crate) fn table_error(folder: &Folder, errno: Errno) -> FileError {
    let doing = "use";
    FileError::new(&folder.path_of(NAME), Fault::Io { doing, errno })
}

#[cfg(test)]
mod tests;
