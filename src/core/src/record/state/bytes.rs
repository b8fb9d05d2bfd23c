//! The record of a state in bytes.
//!
//! Numbers are little-endian. Times are kept as their age in seconds when the record was saved, so that
//! a time in the future can't be written at all.
//!
//! ```text
//! saved                     i64
//! count of devices          u8
//!   id                      u64
//!   flags                   u8    1 a floor, 2 a last use, 4 leans ahead, 8 leans behind, 16 floor reported,
//!                                 32 awaits a resync, 64 a token
//!   floor                   u64   highest accepted step
//!   drift                   i16   steps
//!   last use                u32   age
//!   leaning since           u32   age
//! count of places           u8
//!   address                 u8 kind, then as long as the kind says
//!   wrong answers           u8 count, u32 each: age, oldest first
//!   wrong answers of a day  the same
//!   accepted                u8 count of 0 or 1, u32 age
//! count of pools            u8
//!   address                 as above
//!   wrong answers of a day  as above
//!   wrong answers in all    u32
//!   marks left              u16
//! count of marks            u8
//!   address                 as above
//!   device                  u64   id
//!   step                    u64
//!   given                   u32   age
//!   lasts                   u8    seconds
//! firsts of two codes       u32 each, 32 of them
//! count of sets             u8    of backup codes
//!   id                      u64
//!   used                    u16   one bit a code
//! count of trusted places   u8
//!   place                   u64   hash
//!   since                   u32   age
//!   confirmed               u8    0 or 1
//! count of contacts         u8
//!   id                      u64
//! count of codes sent       u8
//!   contact                 u64   id
//!   binding                 u64   hash
//!   salt                    8 bytes
//!   hash                    16 bytes
//!   sent                    u32   age
//!   lasts                   u16   seconds
//!   wrong answers           u8    and 128 where it was asked for at a familiar place
//! count of sendings         u8
//!   flags                   u8    1 by text message, 2 for a familiar place
//!   sent                    u32   age
//! ```

use std::fmt;
use std::net::Ipv4Addr;

use super::{DeviceState, Lean, Side, State};
use crate::address::{Address, TtyName};
use crate::backup_code::{SetId, UsedCodes};
use crate::challenge::{Binding, Challenge, Challenges, Sending};
use crate::contact::Channel;
use crate::device::DeviceId;
use crate::otp::Step;
use crate::throttle::{Firsts, Mark, Place, Pool, Tally};
use crate::time::{Span, Time};
use crate::trust::{self, Trust, Trusts};

impl State {
    /// The record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        debug_assert!(
            self.remembers_the_same(&self.clone().as_of(self.saved)),
            "what comes after the time of saving would be kept as older than it is"
        );
        let mut record = Writer {
            bytes: Vec::with_capacity(256),
            saved: self.saved,
        };
        record.put(self.saved.unix().to_le_bytes());
        record.count(self.devices.len());
        for device in &self.devices {
            record.device(device);
        }
        let Tally {
            places,
            pools,
            marks,
        } = &self.tally;
        record.count(places.len());
        for place in places {
            record.address(&place.address);
            record.times(&place.wrong);
            record.times(&place.daily);
            record.times(place.accepted.as_slice());
        }
        record.count(pools.len());
        for pool in pools {
            record.address(&pool.address);
            record.times(&pool.daily);
            record.put(pool.total.to_le_bytes());
            record.put(pool.marks.to_le_bytes());
        }
        record.count(marks.len());
        for mark in marks {
            record.address(&mark.address);
            record.put(mark.device.0.to_le_bytes());
            record.put(mark.step.0.to_le_bytes());
            record.time(mark.at);
            record.put([mark.lasts]);
        }
        for first in self.firsts.numbers() {
            record.put(first.to_le_bytes());
        }
        record.count(self.sets.len());
        for set in &self.sets {
            record.put(set.id.0.to_le_bytes());
            record.put(set.used.to_le_bytes());
        }
        let trusts = self.trusts.all();
        record.count(trusts.len());
        for trust in trusts {
            record.put(trust.place.0.to_le_bytes());
            record.time(trust.since);
            record.put([u8::from(trust.is_confirmed)]);
        }
        let Challenges {
            contacts,
            pending,
            sendings,
        } = &self.challenges;
        record.count(contacts.len());
        for contact in contacts {
            record.put(contact.0.to_le_bytes());
        }
        record.count(pending.len());
        for challenge in pending {
            record.challenge(challenge);
        }
        record.count(sendings.len());
        for sending in sendings {
            record.put([sum_of([
                (sending.channel == Channel::Text, SENT_BY_TEXT),
                (sending.is_familiar, SENT_HOME),
            ])]);
            record.time(sending.at);
        }
        record.bytes
    }

    /// Reads a record; every list in it is bounded.
    ///
    /// # Errors
    /// [`StateError`] with the offset of the first byte that is not what it should be.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut record = Reader {
            rest: bytes,
            length: bytes.len(),
            saved: Time::from_unix(0),
        };
        record.saved = Time::from_unix(i64::from_le_bytes(record.take()?));
        let devices = record.list(Self::MAX_DEVICES, Reader::device)?;
        let tally = Tally {
            places: record.list(Tally::MAX_PLACES, Reader::place)?,
            pools: record.list(Tally::MAX_POOLS, Reader::pool)?,
            marks: record.list(Mark::MAX, Reader::mark)?,
        };
        let mut firsts = [0; Firsts::MAX];
        for first in &mut firsts {
            *first = u32::from_le_bytes(record.take()?);
        }
        let sets = record.list(Self::MAX_SETS, Reader::used_codes)?;
        let trusts = Trusts::new(record.list(Trusts::MAX, Reader::trust)?);
        let challenges = Challenges {
            contacts: record.list(Challenges::MAX_CONTACTS, Reader::id)?,
            pending: record.list(Challenges::MAX_PENDING, Reader::challenge)?,
            sendings: record.list(Challenges::MAX_SENDINGS, Reader::sending)?,
        };
        if !record.rest.is_empty() {
            return Err(record.error());
        }
        Ok(Self {
            saved: record.saved,
            devices,
            tally,
            firsts: Firsts::new(firsts),
            sets,
            trusts,
            challenges,
        })
    }
}

/// A damaged record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StateError {
    /// The first byte that is not what it should be.
    pub offset: usize,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the record is damaged at byte {}", self.offset)
    }
}

impl std::error::Error for StateError {}

const HAS_FLOOR: u8 = 1;
const HAS_LAST_USE: u8 = 2;
const LEANS_AHEAD: u8 = 4;
const LEANS_BEHIND: u8 = 8;
const FLOOR_REPORTED: u8 = 16;
const AWAITS_RESYNC: u8 = 32;
const IS_TOKEN: u8 = 64;
/// Beside the wrong answers of a code that was sent.
const AT_HOME: u8 = 128;
const SENT_BY_TEXT: u8 = 1;
const SENT_HOME: u8 = 2;

/// The flags that are set, each of them a bit of its own.
fn sum_of<const N: usize>(flags: [(bool, u8); N]) -> u8 {
    let set = flags.into_iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, flag)| flag).sum()
}

fn is_set(flags: u8, flag: u8) -> bool {
    flags & flag != 0
}

struct Writer {
    bytes: Vec<u8>,
    saved: Time,
}

impl Writer {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes.extend_from_slice(&bytes);
    }

    /// Lists are bounded well below 256 entries where they are filled.
    fn count(&mut self, count: usize) {
        self.put([u8::try_from(count).unwrap_or(u8::MAX)]);
    }

    fn time(&mut self, time: Time) {
        self.put(self.saved.since(time).seconds().to_le_bytes());
    }

    fn times(&mut self, times: &[Time]) {
        self.count(times.len());
        times.iter().for_each(|time| self.time(*time));
    }

    fn device(&mut self, device: &DeviceState) {
        let lean = device.lean.map(|lean| lean.side);
        self.put(device.id.0.to_le_bytes());
        self.put([sum_of([
            (device.floor.is_some(), HAS_FLOOR),
            (device.last_used.is_some(), HAS_LAST_USE),
            (lean == Some(Side::Ahead), LEANS_AHEAD),
            (lean == Some(Side::Behind), LEANS_BEHIND),
            (device.floor_reported, FLOOR_REPORTED),
            (device.awaits_resync, AWAITS_RESYNC),
            (device.is_token, IS_TOKEN),
        ])]);
        self.put(device.floor.map_or(0, |floor| floor.0).to_le_bytes());
        self.put(device.drift.to_le_bytes());
        self.time(device.last_used.unwrap_or(self.saved));
        self.time(device.lean.map_or(self.saved, |lean| lean.since));
    }

    fn challenge(&mut self, challenge: &Challenge) {
        self.put(challenge.contact.0.to_le_bytes());
        self.put(challenge.binding.0.to_le_bytes());
        self.put(challenge.salt);
        self.put(challenge.hash);
        self.time(challenge.sent);
        let lasts = u16::try_from(challenge.lasts.seconds()).unwrap_or(u16::MAX);
        self.put(lasts.to_le_bytes());
        let familiar = sum_of([(challenge.is_familiar, AT_HOME)]);
        self.put([challenge.wrong.saturating_add(familiar)]);
    }

    fn address(&mut self, address: &Address) {
        match address {
            Address::V4(address) => {
                self.put([0]);
                self.put(address.octets());
            }
            Address::V6(network) => {
                self.put([1]);
                self.put(*network);
            }
            Address::Uid(uid) => {
                self.put([2]);
                self.put(uid.to_le_bytes());
            }
            Address::Tty(name) => {
                self.put([3]);
                self.count(name.as_str().len());
                self.bytes.extend_from_slice(name.as_str().as_bytes());
            }
            Address::Local => self.put([4]),
            Address::Unreadable => self.put([5]),
            Address::Crowd => self.put([6]),
            Address::LocalCrowd => self.put([8]),
            Address::ConsoleCrowd => self.put([9]),
            Address::Elsewhere => self.put([10]),
            Address::Masked(hash) => {
                self.put([7]);
                self.put(hash.to_le_bytes());
            }
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
    saved: Time,
}

impl Reader<'_> {
    fn error(&self) -> StateError {
        StateError {
            offset: self.length.saturating_sub(self.rest.len()),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(self.error())?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn byte(&mut self, valid: impl FnOnce(u8) -> bool) -> Result<u8, StateError> {
        let error = self.error();
        let [byte] = self.take()?;
        if valid(byte) { Ok(byte) } else { Err(error) }
    }

    fn time(&mut self) -> Result<Time, StateError> {
        let age = Span::from_seconds(u32::from_le_bytes(self.take()?));
        Ok(self.saved.before(age))
    }

    fn list<T>(
        &mut self,
        most: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, StateError>,
    ) -> Result<Vec<T>, StateError> {
        let count = self.byte(|count| usize::from(count) <= most)?;
        let mut list = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            list.push(read(self)?);
        }
        Ok(list)
    }

    fn device(&mut self) -> Result<DeviceState, StateError> {
        let id = DeviceId(u64::from_le_bytes(self.take()?));
        let flags = self.byte(|flags| {
            let leans_both_ways = is_set(flags, LEANS_AHEAD) && is_set(flags, LEANS_BEHIND);
            flags < 2 * IS_TOKEN && !leans_both_ways
        })?;
        let floor = Step(u64::from_le_bytes(self.take()?));
        let drift = i16::from_le_bytes(self.take()?);
        let last_used = self.time()?;
        let since = self.time()?;
        let side = match (is_set(flags, LEANS_AHEAD), is_set(flags, LEANS_BEHIND)) {
            (true, _) => Some(Side::Ahead),
            (_, true) => Some(Side::Behind),
            _ => None,
        };
        Ok(DeviceState {
            id,
            floor: is_set(flags, HAS_FLOOR).then_some(floor),
            drift,
            lean: side.map(|side| Lean { side, since }),
            last_used: is_set(flags, HAS_LAST_USE).then_some(last_used),
            floor_reported: is_set(flags, FLOOR_REPORTED),
            awaits_resync: is_set(flags, AWAITS_RESYNC),
            is_token: is_set(flags, IS_TOKEN),
        })
    }

    fn place(&mut self) -> Result<Place, StateError> {
        Ok(Place {
            address: self.address()?,
            wrong: self.list(Place::MAX_TIMES, Self::time)?,
            daily: self.list(Place::MAX_TIMES, Self::time)?,
            accepted: self.list(1, Self::time)?.pop(),
        })
    }

    fn pool(&mut self) -> Result<Pool, StateError> {
        Ok(Pool {
            address: self.address()?,
            daily: self.list(Place::MAX_TIMES, Self::time)?,
            total: u32::from_le_bytes(self.take()?),
            marks: u16::from_le_bytes(self.take()?),
        })
    }

    fn mark(&mut self) -> Result<Mark, StateError> {
        Ok(Mark {
            address: self.address()?,
            device: DeviceId(u64::from_le_bytes(self.take()?)),
            step: Step(u64::from_le_bytes(self.take()?)),
            at: self.time()?,
            lasts: self.byte(|_| true)?,
        })
    }

    fn used_codes(&mut self) -> Result<UsedCodes, StateError> {
        Ok(UsedCodes {
            id: SetId(u64::from_le_bytes(self.take()?)),
            used: u16::from_le_bytes(self.take()?),
        })
    }

    fn id(&mut self) -> Result<DeviceId, StateError> {
        Ok(DeviceId(u64::from_le_bytes(self.take()?)))
    }

    fn challenge(&mut self) -> Result<Challenge, StateError> {
        let mut challenge = Challenge {
            contact: self.id()?,
            binding: Binding(u64::from_le_bytes(self.take()?)),
            salt: self.take()?,
            hash: self.take()?,
            sent: self.time()?,
            lasts: Span::from_seconds(u32::from(u16::from_le_bytes(self.take()?))),
            wrong: 0,
            is_familiar: false,
        };
        let last = self.byte(|last| last & !AT_HOME <= Challenge::MOST_WRONG)?;
        challenge.wrong = last & !AT_HOME;
        challenge.is_familiar = is_set(last, AT_HOME);
        Ok(challenge)
    }

    fn sending(&mut self) -> Result<Sending, StateError> {
        let flags = self.byte(|flags| flags <= SENT_BY_TEXT + SENT_HOME)?;
        Ok(Sending {
            channel: match is_set(flags, SENT_BY_TEXT) {
                true => Channel::Text,
                false => Channel::Mail,
            },
            is_familiar: is_set(flags, SENT_HOME),
            at: self.time()?,
        })
    }

    fn trust(&mut self) -> Result<Trust, StateError> {
        Ok(Trust {
            place: trust::Place(u64::from_le_bytes(self.take()?)),
            since: self.time()?,
            is_confirmed: self.byte(|flag| flag <= 1)? == 1,
        })
    }

    fn address(&mut self) -> Result<Address, StateError> {
        Ok(match self.byte(|kind| kind <= 10)? {
            0 => Address::V4(Ipv4Addr::from(self.take::<4>()?)),
            1 => Address::V6(self.take()?),
            2 => Address::Uid(u32::from_le_bytes(self.take()?)),
            3 => Address::Tty(self.tty()?),
            4 => Address::Local,
            5 => Address::Unreadable,
            6 => Address::Crowd,
            8 => Address::LocalCrowd,
            9 => Address::ConsoleCrowd,
            10 => Address::Elsewhere,
            _ => Address::Masked(u64::from_le_bytes(self.take()?)),
        })
    }

    fn tty(&mut self) -> Result<TtyName, StateError> {
        let error = self.error();
        let name = self.list(TtyName::MAX_BYTES, |reader| reader.byte(|_| true))?;
        let name = std::str::from_utf8(&name).ok().and_then(TtyName::console);
        name.ok_or(error)
    }
}

#[cfg(test)]
mod tests;
