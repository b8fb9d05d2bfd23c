//! The wrong answers of one user, and the places that the user comes from.
//!
//! The record is bounded, and whatever strangers do, nobody gets a free guess for it. When it is full, the oldest
//! unfamiliar place is forgotten: `daily` bounds what all of them may guess. Where that limit is off, unfamiliar
//! remote addresses share one place, the youngest first, then local callers another. Familiar addresses and
//! consoles come last, which takes more of them than anybody has.

use crate::address::Address;
use crate::throttle::rule::{keep_last, merge, remove_one, younger};
use crate::throttle::{Codes, Limit, Limits, Mark, Place, Pool, Source, Standing};
use crate::time::{Span, Time};

/// The wrong answers of one user.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// One entry an address.
    pub places: Vec<Place>,
    /// One entry a user: one, but in the tables that people share who are not enrolled.
    pub pools: Vec<Pool>,
    /// One entry an address.
    pub marks: Vec<Mark>,
}

impl Tally {
    /// Bytes that all of it takes at most.
    pub const MAX_BYTES: usize = 2460;
    /// Places told apart at most: as many as there is room for.
    pub const MAX_PLACES: usize = Self::MAX_BYTES / Place::MAX_BYTES;
    /// Unfamiliar places, and those of people who are not enrolled, kept at most where `daily` bounds what they may guess
    /// together: how many there are of each must not tell one from the other.
    pub const MAX_STRANGE: usize = 48;
    /// Pools kept at most.
    pub const MAX_POOLS: usize = 60;
    /// Familiar addresses kept at most.
    pub const MAX_FAMILIAR: usize = 16;
    /// Marks that unfamiliar places get and no second code follows. A guesser with ever new addresses has one chance
    /// in a million with each and needs some 24,000 guesses for it: here the chance of all of them together ends.
    pub const MAX_STRANGE_MARKS: u16 = 1000;

    /// Whether an answer from `source` would be judged now. The user's active devices are worth `devices` phones.
    #[must_use]
    pub fn standing(
        &self,
        source: &Source,
        limits: &Limits,
        devices: usize,
        now: Time,
    ) -> Standing {
        if source.is_exempt {
            return Standing::UNLIMITED;
        }
        let asked = self.codes(source, limits, devices, now);
        let rule = limits.by_place();
        let mut wrong = match self.place(&source.address) {
            Some(place) => place.wrong.clone(),
            // One code of many strangers is nothing to lock anybody out for who gives two.
            None if asked == Codes::Two => Vec::new(),
            None => self
                .place(&source.address.crowd())
                .map_or(Vec::new(), |crowd| crowd.wrong.clone()),
        };
        let mut standing = rule.standing(&wrong, Limit::Place, now);
        // The first of two codes counts, but doesn't keep the second out.
        if let (Standing::Refused(_), Some(mark)) = (standing, self.mark_of(&source.address, now)) {
            remove_one(&mut wrong, mark.at);
            standing = rule.standing(&wrong, Limit::Place, now);
        }
        standing.and(Standing::Open {
            left: None,
            codes: asked,
        })
    }

    /// Whether the user knows the place: a code was accepted from there, not too long ago.
    #[must_use]
    pub fn is_familiar(&self, source: &Source, limits: &Limits, now: Time) -> bool {
        let place = self.place(&source.address);
        source.is_console || place.is_some_and(|place| place.is_familiar(limits, now))
    }

    /// Counts a wrong answer.
    pub fn charge(&mut self, source: &Source, limits: &Limits, now: Time) {
        self.forget_old(limits, now);
        if source.is_exempt {
            return;
        }
        let is_familiar = self.is_familiar(source, limits, now);
        if limits.deny.get() != 0 || is_familiar {
            if let Some(place) = self.place_or_new(&source.address) {
                place.wrong.push(now);
                if is_familiar {
                    place.daily.push(now);
                }
            }
        }
        if !is_familiar {
            if let Some(pool) = self.pool_or_new(&source.elsewhere) {
                pool.daily.push(now);
                pool.total = pool.total.saturating_add(1);
            }
        }
        self.fit(limits);
    }

    /// Takes an accepted code down: its place begins anew with `deny`, and is familiar from now on.
    pub fn accept(&mut self, source: &Source, limits: &Limits, now: Time) {
        self.forget_old(limits, now);
        if !self.is_familiar(source, limits, now) {
            if let Some(pool) = self.pool_mut(&source.elsewhere) {
                pool.total = 0;
            }
        }
        self.marks.retain(|mark| mark.address != source.address);
        let becomes_familiar = source.address.is_one_place()
            && !source.is_console
            && limits.familiar_for != Span::ZERO;
        if becomes_familiar && self.own_place(&source.address).is_none() {
            self.places.push(Place::new(source.address.clone()));
        }
        if let Some(place) = self.own_place(&source.address) {
            place.wrong.clear();
            place.accepted = becomes_familiar.then_some(now);
        }
        let familiar = self.places.iter().filter(|place| place.accepted.is_some());
        for _ in Self::MAX_FAMILIAR..familiar.count() {
            self.demote_oldest();
        }
        self.fit(limits);
    }

    /// Forgets how often unfamiliar places were wrong in all, and the marks that they left.
    pub fn forget_total(&mut self, source: &Source) {
        if let Some(pool) = self.pool_mut(&source.elsewhere) {
            (pool.total, pool.marks) = (0, 0);
        }
    }

    /// Leaves a mark for the first of two codes. `false` where strangers have had all that they get, which are no more than
    /// are worth nothing.
    #[must_use]
    pub fn mark(&mut self, mark: Mark, source: &Source, limits: &Limits, now: Time) -> bool {
        self.unmark(&mark.address);
        if !self.is_familiar(source, limits, now) {
            let pool = self.pool_or_new(&source.elsewhere);
            let Some(pool) = pool.filter(|pool| pool.marks < Self::MAX_STRANGE_MARKS) else {
                return false;
            };
            pool.marks = pool.marks.saturating_add(1);
        }
        self.marks.push(mark);
        let excess = self.marks.len().saturating_sub(Mark::MAX);
        self.marks.drain(..excess);
        self.fit(limits);
        true
    }

    /// The first of two codes that was given at an address, where it still waits for the second.
    #[must_use]
    pub fn mark_of(&self, address: &Address, now: Time) -> Option<&Mark> {
        let mut marks = self.marks.iter();
        marks.find(|mark| mark.address == *address && mark.is_live(now))
    }

    /// Removes the mark of an address.
    pub fn unmark(&mut self, address: &Address) {
        self.marks.retain(|mark| mark.address != *address);
    }

    /// Takes back the charge for the first of two codes, since the second has come and was accepted.
    pub fn take_back(&mut self, source: &Source, at: Time) {
        if let Some(place) = self.own_place(&source.address) {
            if remove_one(&mut place.daily, at) || place.accepted.is_some() {
                return;
            }
        }
        let pools = self.pools.iter_mut();
        for pool in pools.filter(|pool| pool.address == source.elsewhere) {
            pool.marks = pool.marks.saturating_sub(1);
            // Of an exempt address nothing was charged: what was at that time is somebody else's.
            if !source.is_exempt && remove_one(&mut pool.daily, at) {
                pool.total = pool.total.saturating_sub(1);
            }
        }
    }

    /// Takes back the charge of an answer that was no guess after all.
    pub fn uncharge(&mut self, source: &Source, at: Time) {
        // Of an exempt address nothing was charged: what was at that time is somebody else's.
        if source.is_exempt {
            return;
        }
        if let Some(place) = self.place_or_crowd(&source.address) {
            remove_one(&mut place.wrong, at);
            if remove_one(&mut place.daily, at) {
                return self.drop_empty();
            }
        }
        if let Some(pool) = self.pool_mut(&source.elsewhere) {
            if remove_one(&mut pool.daily, at) {
                pool.total = pool.total.saturating_sub(1);
            }
        }
        self.drop_empty();
    }

    /// Whether any wrong answer is counted.
    #[must_use]
    pub fn counts_any(&self) -> bool {
        let in_pools = self.pools.iter().any(|pool| !pool.is_empty());
        in_pools || self.places.iter().any(Place::counts_any)
    }

    /// Forgets all wrong answers. What is familiar stays so.
    pub fn forgive(&mut self) {
        self.pools.clear();
        self.marks.clear();
        self.places.iter_mut().for_each(Place::forgive);
        self.places.retain(|place| place.accepted.is_some());
    }

    /// Forgets the wrong answers that `deny` counts by the place of an address, be it shared; `false` where there are
    /// none. What is spent of a day stays spent.
    pub fn forgive_place(&mut self, address: &Address) -> bool {
        let address = match self.place(address) {
            Some(_) => address.clone(),
            None => address.crowd(),
        };
        self.forgive_places(|known| *known == address)
    }

    /// The same of all places that are meant.
    pub fn forgive_places(&mut self, is_meant: impl Fn(&Address) -> bool) -> bool {
        let mut had_any = false;
        let places = self.places.iter_mut();
        for place in places.filter(|place| is_meant(&place.address)) {
            had_any |= !place.wrong.is_empty();
            place.wrong.clear();
        }
        self.places.retain(|place| !place.is_empty());
        had_any
    }

    /// Replaces every time that lies after `now` by `now`, since the clock went back. Familiarity and marks of the
    /// future have expired: by its mark a device would show the jump of our clock for its own drift.
    pub fn clamp(&mut self, now: Time) {
        let clamp =
            |times: &mut Vec<Time>| times.iter_mut().for_each(|time| *time = (*time).min(now));
        for place in &mut self.places {
            clamp(&mut place.wrong);
            clamp(&mut place.daily);
        }
        self.demote_where(|place| place.accepted > Some(now));
        self.pools
            .iter_mut()
            .for_each(|pool| clamp(&mut pool.daily));
        self.marks.retain(|mark| mark.at <= now);
    }

    /// Until when the place is familiar, where it is and that ends.
    #[must_use]
    pub fn familiar_until(&self, source: &Source, limits: &Limits, now: Time) -> Option<Time> {
        let place = self.place(&source.address)?;
        let accepted = place.accepted.filter(|_| place.is_familiar(limits, now))?;
        Some(accepted.after(limits.familiar_for))
    }

    /// The wrong answers in the last 24 hours that `daily` holds against `source`.
    #[must_use]
    pub fn today(&self, source: &Source, limits: &Limits, now: Time) -> usize {
        let in_a_day = |times: &Vec<Time>| younger(times, Limits::DAY, now).len();
        if self.is_familiar(source, limits, now) {
            let place = self.place(&source.address);
            return place.map_or(0, |place| in_a_day(&place.daily));
        }
        let pool = self.pool(&source.elsewhere);
        let pooled = pool.map_or(0, |pool| in_a_day(&pool.daily));
        // Those of places that are familiar no longer join the pool with the next charge, and count with it already.
        let places = self.places.iter();
        let expired = places.filter(|place| place.has_expired(limits, now));
        expired.fold(pooled, |sum, place| {
            sum.saturating_add(in_a_day(&place.daily))
        })
    }

    /// The count of unfamiliar places under one name.
    #[must_use]
    pub fn pool(&self, address: &Address) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.address == *address)
    }

    /// How many codes let `source` in. The user has `devices` active devices.
    #[must_use]
    pub fn codes(&self, source: &Source, limits: &Limits, devices: usize, now: Time) -> Codes {
        let is_spent =
            limits.daily.get() != 0 && self.today(source, limits, now) >= limits.daily_for(devices);
        let most = limits.user_limit.get();
        let total = self.pool(&source.elsewhere).map_or(0, |pool| pool.total);
        let is_over = most != 0 && total >= most && !self.is_familiar(source, limits, now);
        if is_spent || is_over {
            Codes::Two
        } else {
            Codes::One
        }
    }

    fn place(&self, address: &Address) -> Option<&Place> {
        self.places.iter().find(|place| place.address == *address)
    }

    fn own_place(&mut self, address: &Address) -> Option<&mut Place> {
        let mut places = self.places.iter_mut();
        places.find(|place| place.address == *address)
    }

    /// The place that an address is counted by: its own, or that of the crowd while there is one.
    fn place_or_crowd(&mut self, address: &Address) -> Option<&mut Place> {
        let crowd = address.crowd();
        let known = |address: &Address| self.places.iter().position(|p| p.address == *address);
        let index = known(address).or_else(|| known(&crowd))?;
        self.places.get_mut(index)
    }

    /// The same, or a new one.
    fn place_or_new(&mut self, address: &Address) -> Option<&mut Place> {
        if self.place_or_crowd(address).is_none() {
            self.places.push(Place::new(address.clone()));
        }
        self.place_or_crowd(address)
    }

    fn pool_mut(&mut self, address: &Address) -> Option<&mut Pool> {
        let mut pools = self.pools.iter_mut();
        pools.find(|pool| pool.address == *address)
    }

    fn pool_or_new(&mut self, address: &Address) -> Option<&mut Pool> {
        if self.pool(address).is_none() {
            self.pools.push(Pool::new(address.clone()));
        }
        self.pool_mut(address)
    }

    fn drop_empty(&mut self) {
        self.places.retain(|place| !place.is_empty());
        self.pools.retain(|pool| !pool.is_empty());
    }

    /// Drops what no longer counts.
    pub fn forget_old(&mut self, limits: &Limits, now: Time) {
        let drop_old = |times: &mut Vec<Time>| *times = younger(times, Limits::DAY, now).to_vec();
        let rule = limits.by_place();
        for place in &mut self.places {
            rule.forget(&mut place.wrong, now);
            drop_old(&mut place.daily);
        }
        self.demote_where(|place| place.has_expired(limits, now));
        for pool in &mut self.pools {
            drop_old(&mut pool.daily);
        }
        self.drop_empty();
        self.marks.retain(|mark| mark.is_live(now));
    }

    /// Keeps as many of the last answers as the limits go by.
    fn trim(&mut self, limits: &Limits) {
        // The first of two codes is in there too, and taken out again when the second comes.
        let daily = usize::from(limits.daily.get()).saturating_add(Mark::MAX);
        for place in &mut self.places {
            keep_last(&mut place.wrong, usize::from(limits.deny.get()));
            keep_last(&mut place.daily, daily);
        }
        for pool in &mut self.pools {
            keep_last(&mut pool.daily, daily);
        }
    }

    fn demote_where(&mut self, is_over: impl Fn(&Place) -> bool) {
        for index in 0..self.places.len() {
            if self.places.get(index).is_some_and(&is_over) {
                self.demote(index);
            }
        }
    }

    /// Makes a place unfamiliar. Its wrong answers and marks count with those of all unfamiliar places from now on.
    fn demote(&mut self, index: usize) {
        let Some(place) = self.places.get_mut(index) else {
            return;
        };
        place.accepted = None;
        let daily = std::mem::take(&mut place.daily);
        let marks = self.marks.iter();
        let marks = marks.filter(|mark| mark.address == place.address);
        let marks = u16::try_from(marks.count()).unwrap_or(u16::MAX);
        if !daily.is_empty() || marks != 0 {
            if let Some(pool) = self.pool_or_new(&Address::Elsewhere) {
                merge(&mut pool.daily, daily);
                keep_last(&mut pool.daily, Place::MAX_TIMES);
                pool.marks = pool.marks.saturating_add(marks);
            }
        }
    }

    fn demote_oldest(&mut self) -> bool {
        let familiar = self.places.iter().enumerate();
        let familiar = familiar.filter_map(|(index, place)| Some((place.accepted?, index)));
        match familiar.min() {
            Some((_, index)) => self.demote(index),
            None => return false,
        }
        self.places.retain(|place| !place.is_empty());
        true
    }

    /// Keeps what the limits go by, and forgets or folds places until the rest fits.
    fn fit(&mut self, limits: &Limits) {
        self.trim(limits);
        let is_bounded = limits.daily.get() != 0;
        let strange = |tally: &Self| {
            tally
                .places
                .iter()
                .filter(|place| place.is_strange())
                .count()
        };
        while is_bounded && strange(self) > Self::MAX_STRANGE {
            self.forget_oldest_strange();
        }
        while self.bytes() > Self::MAX_BYTES || self.pools.len() > Self::MAX_POOLS {
            let folded = self.forget_oldest_masked()
                || is_bounded && self.forget_oldest_strange()
                || self.fold(|address| !address.is_local())
                || self.fold(|address| address.is_local() && !address.is_console())
                || self.demote_oldest()
                || self.fold(Address::is_console);
            if !folded {
                return;
            }
            self.trim(limits);
        }
    }

    /// Puts the youngest unfamiliar place of a kind into its crowd.
    fn fold(&mut self, is_of_kind: impl Fn(&Address) -> bool) -> bool {
        let foldable = |place: &Place| {
            let address = &place.address;
            place.accepted.is_none() && is_of_kind(address) && address.crowd() != *address
        };
        let Some(index) = self.places.iter().rposition(foldable) else {
            return false;
        };
        let place = self.places.remove(index);
        if let Some(crowd) = self.place_or_new(&place.address.crowd()) {
            merge(&mut crowd.wrong, place.wrong);
            merge(&mut crowd.daily, place.daily);
        }
        true
    }

    /// An unfamiliar place less. Where `daily` holds for all of them together, none of them is worth a guess more.
    fn forget_oldest_strange(&mut self) -> bool {
        let oldest = self.places.iter().position(Place::is_strange);
        if let Some(index) = oldest {
            self.places.remove(index);
        }
        oldest.is_some()
    }

    /// Nothing can be guessed of people who are not enrolled, and a crowd would tell that they are some.
    fn forget_oldest_masked(&mut self) -> bool {
        let is_masked = |address: &Address| matches!(address, Address::Masked(_));
        let places = self.places.iter().enumerate();
        let place = places
            .filter(|(_, place)| is_masked(&place.address))
            .min_by_key(|(_, place)| place.last());
        let place = place.map(|(index, place)| (place.last(), index));
        let pools = self.pools.iter().enumerate();
        let pool = pools
            .filter(|(_, pool)| is_masked(&pool.address))
            .min_by_key(|(_, pool)| pool.daily.last().copied());
        let pool = pool.map(|(index, pool)| (pool.daily.last().copied(), index));
        match (place, pool) {
            (Some((at, _)), Some((pool_at, index))) if pool_at < at => {
                self.pools.remove(index);
            }
            (Some((_, index)), _) => {
                self.places.remove(index);
            }
            (None, Some((_, index))) => {
                self.pools.remove(index);
            }
            (None, None) => return false,
        }
        true
    }

    /// The most that the record of all this takes.
    fn bytes(&self) -> usize {
        const TIME: usize = 4;
        let of_places = self.places.iter();
        let of_places = of_places.flat_map(|place| [&place.wrong, &place.daily]);
        let of_pools = self.pools.iter().map(|pool| &pool.daily);
        let kinds = [
            (self.places.len(), Place::MAX_BYTES),
            (self.pools.len(), Pool::MAX_BYTES),
            (self.marks.len(), Mark::MAX_BYTES),
            (of_places.chain(of_pools).map(Vec::len).sum(), TIME),
        ];
        let kinds = kinds.into_iter();
        kinds
            .map(|(count, bytes)| count.saturating_mul(bytes))
            .sum()
    }
}

#[cfg(test)]
mod tests;
