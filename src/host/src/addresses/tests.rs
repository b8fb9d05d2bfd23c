//! The table, by itself: races, windows, floods, damage.

use std::cell::Cell;
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use tempfile::TempDir;
use totp_core::address::Origin;
use totp_core::throttle::Codes;
use totp_core::time::Span;

use super::entry::*;
use super::*;

const START: Time = Time::from_unix(1_800_000_000);
const HOME: &str = "192.0.2.7";

struct Case {
    place: TempDir,
    table: Addresses,
    limits: Limits,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    Counted,
    Refused(Time),
    Shared,
}

impl Case {
    fn new(deny: i64) -> Self {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() {
            tempfile::tempdir_in(memory).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
        let table = Addresses::open_or_make(&Folder::open(place.path()).unwrap()).unwrap();
        let limits = Limits {
            address_deny: AddressDeny::new(deny).unwrap(),
            ..Limits::default()
        };
        Self {
            place,
            table,
            limits,
        }
    }

    fn reserve(&self, address: &Address, now: Time) -> Charge {
        // As the store does it.
        let since = Instant::now();
        loop {
            let is_patient = since.elapsed() < PATIENCE;
            let charge = self
                .table
                .reserve(address, &self.limits, &|| now, is_patient);
            match charge.unwrap() {
                Charge::Busy => std::thread::yield_now(),
                charge => return charge,
            }
        }
    }

    fn reserved(&self, address: &str, now: Time) -> Reservation {
        match self.reserve(&named(address), now) {
            Charge::Reserved(reservation) => reservation,
            _ => panic!("{address} has a free slot"),
        }
    }

    /// A wrong answer, where it is judged.
    fn wrong_from(&self, address: &Address, now: Time) -> Ended {
        match self.reserve(address, now) {
            Charge::Refused(refusal) => Ended::Refused(refusal.until),
            Charge::Shared => Ended::Shared,
            Charge::Busy => panic!("nobody is that patient"),
            Charge::Reserved(reservation) => {
                reservation.settle();
                Ended::Counted
            }
        }
    }

    fn wrong(&self, address: &str, now: Time) -> Ended {
        self.wrong_from(&named(address), now)
    }

    fn standing(&self, address: &Address, now: Time) -> Standing {
        self.table.standing(address, &self.limits, &|| now).unwrap()
    }

    /// Wrong answers left, as one is told who is not refused.
    fn left(&self, address: &str, now: Time) -> Option<u8> {
        match self.standing(&named(address), now) {
            Standing::Open { left, .. } => left,
            Standing::Refused(_) => Some(0),
        }
    }

    fn counted(&self, now: Time) -> Vec<String> {
        let counted = self.table.counted(&self.limits, &|| now).unwrap();
        counted.into_iter().map(|(shown, _)| shown).collect()
    }

    fn forgive(&self, address: &str, now: Time) -> bool {
        self.table
            .forgive(&named(address), &self.limits, now)
            .unwrap()
    }

    /// So many addresses whose page of their own is the same.
    fn neighbours(&self, count: usize) -> Vec<Address> {
        let page = self.page_of(&v4(0));
        let all = (0..).map(v4);
        all.filter(|address| self.page_of(address) == page)
            .take(count)
            .collect()
    }

    fn page_of(&self, address: &Address) -> usize {
        self.table.places_of(address)[0].page
    }

    fn file_length(&self) -> u64 {
        self.place.path().join(NAME).metadata().unwrap().len()
    }
}

fn named(text: &str) -> Address {
    Address::named(text).unwrap()
}

/// Addresses in as many networks of 24 bits.
fn v4(number: u32) -> Address {
    Address::V4(Ipv4Addr::from_bits((10 << 24) + (number << 8)))
}

fn v6(number: u64) -> Address {
    Address::V6(number.to_be_bytes())
}

fn later(seconds: u32) -> Time {
    START.after(Span::from_seconds(seconds))
}

/// Numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ (number >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Another process that does `work` and ends with the number it returns.
fn child(work: impl FnOnce() -> u8) -> Pid {
    // SAFETY: the child touches no lock that a thread of ours may have held but the allocator's, which glibc
    // frees in it, and leaves by `_exit`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let work = std::panic::AssertUnwindSafe(work);
            let status = std::panic::catch_unwind(work).unwrap_or(255);
            // SAFETY: ends the process, and needs nothing of it.
            unsafe { nix::libc::_exit(status.into()) }
        }
    }
}

fn ended(child: Pid) -> u8 {
    match waitpid(child, None).unwrap() {
        WaitStatus::Exited(_, status) => status.try_into().unwrap(),
        status => panic!("{status:?}"),
    }
}

/// Several processes that begin `work` at the same moment, and the numbers that they return.
fn at_once(case: &Case, processes: u64, work: impl Fn(u64) -> u8) -> Vec<u8> {
    // In the part of the first page that nobody uses.
    let page = case.table.shared.map(0).unwrap();
    let (ready, gate) = (&page[PAGE_WORDS - 1], &page[PAGE_WORDS - 2]);
    ready.store(0, ORDER);
    gate.store(0, ORDER);
    let children: Vec<Pid> = (0..processes)
        .map(|process| {
            child(|| {
                ready.fetch_add(1, ORDER);
                while gate.load(ORDER) == 0 {
                    std::thread::yield_now();
                }
                work(process)
            })
        })
        .collect();
    while ready.load(ORDER) != processes {
        std::thread::yield_now();
    }
    gate.store(1, ORDER);
    children.into_iter().map(ended).collect()
}

/// The clock of a caller that is stopped right after one of its looks at it, and goes on when `meanwhile` is over.
struct Stopped<'a> {
    after: u32,
    looks: Cell<u32>,
    meanwhile: &'a dyn Fn(),
}

impl<'a> Stopped<'a> {
    const GOES_ON: u32 = 1200;

    fn after(looks: u32, meanwhile: &'a dyn Fn()) -> Self {
        Self {
            after: looks,
            looks: Cell::new(0),
            meanwhile,
        }
    }

    fn now(&self) -> Time {
        self.looks.set(self.looks.get() + 1);
        if self.looks.get() == self.after {
            (self.meanwhile)();
        }
        match self.looks.get() > self.after {
            true => later(Self::GOES_ON),
            false => START,
        }
    }
}

fn sum(numbers: &[u8]) -> i64 {
    numbers.iter().map(|number| i64::from(*number)).sum()
}

#[test]
fn of_ten_thousand_answers_at_once_as_many_are_charged_as_the_limit_says() {
    for deny in [1, 3, 20, 28] {
        let case = Case::new(deny);
        let charged = at_once(&case, 8, |_| {
            let tries = (0..1250).map(|_| case.wrong(HOME, START));
            let charged = tries.filter(|ended| *ended == Ended::Counted);
            charged.count().try_into().unwrap()
        });
        assert_eq!(sum(&charged), deny, "{charged:?}");
        assert_eq!(case.wrong(HOME, START), Ended::Refused(later(600)));
    }
}

#[test]
fn of_many_threads_at_once_as_many_are_charged_as_the_limit_says() {
    for deny in [1, 3, 20, 28] {
        let case = Case::new(deny);
        let guess = |_: &u32| case.wrong(HOME, START) == Ended::Counted;
        let charged: usize = std::thread::scope(|threads| {
            let guesses = || (0..500).filter(guess).count();
            let threads: Vec<_> = (0..8).map(|_| threads.spawn(guesses)).collect();
            let counts = threads.into_iter().map(|thread| thread.join().unwrap());
            counts.sum()
        });
        assert_eq!(i64::try_from(charged).unwrap(), deny);
    }
}

#[test]
fn none_is_lost_where_others_take_over_the_entries_of_the_same_page() {
    const DENY: i64 = 5;
    const ROUNDS: u64 = 80;
    let case = Case::new(DENY);
    let neighbours = case.neighbours(24);
    let mut numbers = Numbers(1);
    for round in 0..ROUNDS {
        let now = later(u32::try_from(round).unwrap() * 3600);
        // Half of them had entries in the round before, and no more of them come than the page has.
        let first = (numbers.below(2) * 12) as usize;
        let comers = &neighbours[first..first + 12];
        let charged = at_once(&case, 4, |process| {
            let mut numbers = Numbers(round * 4 + process);
            let mut charged = 0;
            for _ in 0..120 {
                let comer = numbers.below(12) as usize;
                let is_charged = case.wrong_from(&comers[comer], now) == Ended::Counted;
                charged += u8::from(is_charged);
            }
            charged
        });
        let standing = |comer| case.standing(comer, now);
        let counted = comers.iter().map(standing).map(|standing| match standing {
            Standing::Open { left, .. } => DENY - i64::from(left.unwrap()),
            Standing::Refused(_) => DENY,
        });
        assert_eq!(sum(&charged), counted.sum::<i64>(), "round {round}");
    }
}

#[test]
fn a_right_answer_gives_its_slot_back_and_a_wrong_one_keeps_it() {
    let case = Case::new(2);
    for _ in 0..50 {
        case.reserved(HOME, START).release();
    }
    assert_eq!(case.left(HOME, START), Some(2));
    case.reserved(HOME, START).settle();
    assert_eq!(case.left(HOME, START), Some(1));
    case.reserved(HOME, START).settle();
    assert_eq!(case.wrong(HOME, START), Ended::Refused(later(600)));
}

#[test]
fn an_answer_on_its_way_counts_but_is_not_yet_held_against_who_can_wait() {
    let case = Case::new(1);
    let on_its_way = case.reserved(HOME, START);
    assert_eq!(case.left(HOME, later(1)), Some(1));
    assert_eq!(case.left(HOME, later(2)), Some(0));
    let since = Instant::now();
    assert_eq!(case.wrong(HOME, later(2)), Ended::Refused(later(600)));
    assert!(
        since.elapsed() < PATIENCE,
        "nobody waits for what was stopped"
    );
    on_its_way.release();
    assert_eq!(case.wrong(HOME, later(2)), Ended::Counted);

    let case = Case::new(2);
    assert_eq!(case.wrong(HOME, START), Ended::Counted);
    let _on_its_way = case.reserved(HOME, START);
    assert_eq!(case.left(HOME, START), Some(1));
}

#[test]
fn who_finds_all_slots_taken_by_answers_on_their_way_waits_for_one_of_them_and_no_longer() {
    let case = Case::new(1);
    let on_its_way = case.reserved(HOME, START);
    let since = Instant::now();
    assert_eq!(case.wrong(HOME, START), Ended::Refused(later(600)));
    let waited = since.elapsed();
    assert!(waited >= PATIENCE && waited < 2 * PATIENCE, "{waited:?}");

    std::thread::scope(|threads| {
        let waiter = threads.spawn(|| case.wrong(HOME, START));
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(100) {
            assert!(!waiter.is_finished());
            std::thread::yield_now();
        }
        on_its_way.release();
        assert_eq!(waiter.join().unwrap(), Ended::Counted);
    });
}

#[test]
fn the_answer_of_a_process_that_is_killed_before_its_verdict_counts() {
    let case = Case::new(2);
    let killed = child(|| {
        let _on_its_way = case.reserved(HOME, START);
        raise(Signal::SIGKILL).unwrap();
        0
    });
    let status = waitpid(killed, None).unwrap();
    assert!(matches!(
        status,
        WaitStatus::Signaled(_, Signal::SIGKILL, _)
    ));
    assert_eq!(case.left(HOME, later(2)), Some(1));
    assert_eq!(case.wrong(HOME, later(2)), Ended::Counted);
    assert_eq!(case.wrong(HOME, later(2)), Ended::Refused(later(602)));
}

#[test]
fn the_window_is_that_of_the_rule_whatever_the_limits() {
    let mut numbers = Numbers(2);
    for (deny, interval, lock_time) in [
        (1, 900, 600),
        (3, 900, 600),
        (3, 60, 3600),
        (5, 3600, 10),
        (20, 900, 600),
        (28, 900, 901),
        (4, 1, 1),
    ] {
        for _ in 0..8 {
            let mut case = Case::new(deny);
            case.limits.interval = Span::from_seconds(interval);
            case.limits.lock_time = Span::from_seconds(lock_time);
            let rule = case.limits.by_address();
            let mut wrong: Vec<Time> = Vec::new();
            let mut now = START;
            for _ in 0..120 {
                let longest = [1, interval / 8 + 1, interval / 2 + 1, lock_time + 2];
                let longest = longest[numbers.below(4) as usize];
                let pause = numbers.below(u64::from(longest)) as u32;
                now = now.after(Span::from_seconds(pause));
                rule.forget(&mut wrong, now);
                let expected = rule.standing(&wrong, Limit::Address, now);
                let context = format!("{rule:?} {wrong:?} {now:?}");
                assert_eq!(case.standing(&named(HOME), now), expected, "{context}");
                match case.reserve(&named(HOME), now) {
                    Charge::Refused(refusal) => {
                        assert_eq!(Standing::Refused(refusal), expected, "{context}");
                    }
                    Charge::Reserved(reservation) => {
                        assert_eq!(expected.refusal(), None, "{context}");
                        if numbers.below(4) == 0 {
                            reservation.release();
                        } else {
                            reservation.settle();
                            wrong.push(now);
                        }
                    }
                    Charge::Shared | Charge::Busy => panic!("{context}"),
                }
            }
        }
    }
}

#[test]
fn a_lock_runs_from_the_last_answer_that_counted_and_then_none_of_them_counts() {
    for (interval, lock_time) in [(900, 600), (900, 60), (60, 3600)] {
        let mut case = Case::new(3);
        case.limits.interval = Span::from_seconds(interval);
        case.limits.lock_time = Span::from_seconds(lock_time);
        for seconds in [0, 10, 50] {
            assert_eq!(case.wrong(HOME, later(seconds)), Ended::Counted);
        }
        let until = later(50 + lock_time);
        for seconds in [50, 51, 50 + lock_time - 1] {
            assert_eq!(case.wrong(HOME, later(seconds)), Ended::Refused(until));
        }
        assert_eq!(case.left(HOME, until), Some(3));
        assert_eq!(case.wrong(HOME, until), Ended::Counted);
        assert_eq!(case.left(HOME, until), Some(2));
    }
}

#[test]
fn a_clock_that_jumps_locks_nobody_for_longer_than_a_lock() {
    const YEARS: u32 = 10 * 365 * 86_400;
    for wrong_clock in [
        later(3600),
        later(YEARS),
        Time::from_unix(i64::from(u32::MAX) + 1),
        Time::from_unix(i64::MAX),
        Time::from_unix(0),
        Time::from_unix(-86_400),
        Time::from_unix(i64::MIN),
        START.before(Span::from_seconds(3600)),
    ] {
        let case = Case::new(3);
        let all: Vec<_> = (0..4).map(|_| case.wrong(HOME, wrong_clock)).collect();
        assert_eq!(all[..3], [Ended::Counted; 3], "{wrong_clock:?}");
        assert!(matches!(all[3], Ended::Refused(_)), "{wrong_clock:?}");
        // The lock begins at the first look with the clock put right, and no later look lengthens it.
        for seconds in [0, 1, 300, 599] {
            let is_locked = wrong_clock > START;
            let expected = if is_locked { Some(0) } else { Some(3) };
            assert_eq!(case.left(HOME, later(seconds)), expected, "{wrong_clock:?}");
        }
        assert_eq!(case.left(HOME, later(600)), Some(3), "{wrong_clock:?}");
        assert_eq!(case.wrong(HOME, later(600)), Ended::Counted);
    }
}

#[test]
fn a_caller_that_was_stopped_takes_for_the_future_nothing_that_others_charged_meanwhile() {
    const LATE: u32 = Stopped::GOES_ON;
    let calls: [fn(&Case, &Address, Clock<'_>); 3] = [
        |case, address, clock| drop(case.table.reserve(address, &case.limits, clock, false)),
        |case, address, clock| {
            case.table.standing(address, &case.limits, clock).unwrap();
        },
        |case, _, clock| drop(case.table.counted(&case.limits, clock)),
    ];
    for call in calls {
        for looks in 1..6 {
            let case = Case::new(3);
            let neighbours = case.neighbours(2);
            let others = || {
                for _ in 0..3 {
                    let ended = case.wrong_from(&neighbours[0], later(LATE));
                    assert_eq!(ended, Ended::Counted);
                }
            };
            let stopped = Stopped::after(looks, &others);
            call(&case, &neighbours[1], &|| stopped.now());
            if stopped.looks.get() >= looks {
                let ended = case.wrong_from(&neighbours[0], later(LATE));
                assert_eq!(ended, Ended::Refused(later(LATE + 600)), "after {looks}");
            }
        }
    }
}

#[test]
fn a_caller_that_was_stopped_charges_nothing_that_is_long_over() {
    for looks in 1.. {
        let case = Case::new(3);
        let was_charged = Cell::new(false);
        let others = || {
            was_charged.set(case.left(HOME, START) == Some(2));
            let ended = case.wrong(HOME, later(Stopped::GOES_ON));
            assert_eq!(ended, Ended::Counted);
        };
        let stopped = Stopped::after(looks, &others);
        let now = || stopped.now();
        let charge = case
            .table
            .reserve(&named(HOME), &case.limits, &now, false)
            .unwrap();
        let Charge::Reserved(reservation) = charge else {
            panic!("after {looks}");
        };
        let at = reservation.at();
        reservation.settle();
        if stopped.looks.get() > looks {
            assert_eq!(at, later(Stopped::GOES_ON), "after {looks}");
            assert_eq!(case.left(HOME, at), Some(1), "after {looks}");
        } else {
            assert!(at == START && was_charged.get(), "after {looks}");
            break;
        }
    }
}

#[test]
fn what_is_on_its_way_is_left_alone_by_who_looks_at_an_earlier_second() {
    let case = Case::new(3);
    let on_its_way = case.reserved(HOME, later(2));
    assert_eq!(case.left(HOME, START), Some(2));
    case.reserved(HOME, START).release();
    on_its_way.release();
    assert_eq!(case.left(HOME, later(2)), Some(3));
}

#[test]
fn addresses_count_by_whom_they_belong_to() {
    let remote = |rhost| {
        Address::of(&Origin {
            rhost: Some(rhost),
            ..Origin::default()
        })
    };
    for (one, two, is_together) in [
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7", "::ffff:192.0.2.7", true),
        ("192.0.2.7", "192.0.2.8", false),
        ("2001:db8::1", "2001:db8::ffff:1", true),
        ("2001:db8::1", "2001:db8:0:1::1", false),
        ("client.example.com", "0xc0000207", true),
        ("client.example.com", "192.0.2.7", false),
        ("0.0.3.232", "::3e8", false),
    ] {
        let case = Case::new(3);
        assert_eq!(case.wrong_from(&remote(one), START), Ended::Counted);
        let Standing::Open { left, .. } = case.standing(&remote(two), START) else {
            panic!("{one} {two}")
        };
        assert_eq!(left, Some(if is_together { 2 } else { 3 }), "{one} {two}");
    }
    let case = Case::new(1);
    for address in ["uid:1000", "uid:1001", "local", "unreadable", "0.0.3.232"] {
        assert_eq!(case.wrong(address, START), Ended::Counted, "{address}");
    }
}

#[test]
fn who_finds_the_page_full_is_counted_by_network_and_never_for_free() {
    let case = Case::new(2);
    let neighbours = case.neighbours(ENTRIES + 1);
    let (last, first) = neighbours.split_last().unwrap();
    for address in first {
        assert_eq!(case.wrong_from(address, START), Ended::Counted);
    }
    assert_eq!(case.wrong_from(last, START), Ended::Counted);
    let Address::V4(number) = last else { panic!() };
    let network = format!("{number}/24");
    assert!(case.counted(START).contains(&network), "{network}");
    let one_left = Standing::Open {
        left: None,
        codes: Codes::One,
    };
    assert_eq!(case.standing(last, START), one_left);
    assert_eq!(case.wrong_from(last, START), Ended::Counted);
    for _ in 0..3 {
        assert_eq!(case.wrong_from(last, START), Ended::Shared);
    }
    let two_codes = Standing::Open {
        left: None,
        codes: Codes::Two,
    };
    assert_eq!(case.standing(last, START), two_codes);
    // Those who came before have lost nothing.
    for address in first {
        assert_eq!(case.wrong_from(address, START), Ended::Counted);
        assert_eq!(case.wrong_from(address, START), Ended::Refused(later(600)));
    }
}

#[test]
fn every_level_is_used_before_the_entry_of_all_others() {
    let case = Case::new(1);
    let now = later(5);
    let address = v6(0x2001_0db8_0001_0002);
    let mut shown = Vec::new();
    for place in case.table.places_of(&address) {
        assert_eq!(case.wrong_from(&address, now), Ended::Counted);
        shown = case.counted(now);
        shown.retain(|shown| !shown.starts_with("unknown"));
        // Its entry is somebody else's from now on, as all the others of the page are.
        let page = case.table.shared.map(place.page).unwrap();
        if place.page != 0 {
            for base in (0..PAGE_WORDS).step_by(ENTRY_WORDS) {
                page[base].store(1 << 16, ORDER);
                page[base + SLOTS]
                    .store(slot_word(now, page[base + GENERATION].load(ORDER)), ORDER);
            }
        }
    }
    assert_eq!(shown, ["all others"]);
    assert_eq!(case.wrong_from(&address, now), Ended::Shared);
    assert_eq!(case.wrong("uid:1000", now), Ended::Counted);
}

#[test]
fn an_entry_that_nothing_counts_in_is_somebody_elses() {
    let case = Case::new(3);
    let neighbours = case.neighbours(2 * ENTRIES);
    let (first, second) = neighbours.split_at(ENTRIES);
    for address in first {
        assert_eq!(case.wrong_from(address, START), Ended::Counted);
    }
    for address in second {
        assert_eq!(case.wrong_from(address, later(900)), Ended::Counted);
    }
    let shown: HashSet<String> = case.counted(later(900)).into_iter().collect();
    let expected = second.iter().map(Address::to_string).collect();
    assert_eq!(shown, expected);
}

#[test]
fn no_entry_is_taken_over_in_which_an_answer_was_charged_meanwhile() {
    let case = Case::new(3);
    let place = &case.table.places_of(&named(HOME))[0];
    let page = case.table.shared.map(place.page).unwrap();
    case.reserved(HOME, START).release();
    let base = place.known_in(&page)[0];
    // Whoever looks at the entry now finds nothing that counts.
    let looked_at = page[base].load(ORDER);
    case.reserved(HOME, START).settle();
    let taken = page[base].compare_exchange(looked_at, 7 << 16, ORDER, ORDER);
    assert!(taken.is_err());
    assert_eq!(case.left(HOME, START), Some(2));
}

#[test]
fn a_charge_is_taken_back_where_the_entry_was_taken_over_meanwhile() {
    let case = Case::new(3);
    let rule = case.limits.by_address();
    let neighbours = case.neighbours(2);
    let places: Vec<_> = neighbours
        .iter()
        .map(|address| case.table.places_of(address).swap_remove(0))
        .collect();
    let page = case.table.shared.map(places[0].page).unwrap();
    let base = places[0].entry_in(&page, &rule, START).unwrap();
    assert_eq!(places[1].entry_in(&page, &rule, START), Some(base));
    assert!(!places[0].confirm(&page, base, 0));
    assert!(places[1].confirm(&page, base, 0));
    assert!(!places[1].confirm(&page, base, 1));
    let claimed = places[0].claim_slot(&page, base, &rule, &|| START);
    assert!(matches!(claimed, Claimed::Moved));
}

#[test]
fn two_entries_of_one_address_count_as_one() {
    let case = Case::new(5);
    let place = &case.table.places_of(&named(HOME))[0];
    let page = case.table.shared.map(place.page).unwrap();
    let wrong = |seconds| case.wrong(HOME, later(seconds));
    // Somebody who had seen none made an entry before the one that there is.
    let (early, late) = (0, 3 * ENTRY_WORDS);
    page[late].store(place.key, ORDER);
    assert_eq!([wrong(0), wrong(0), wrong(0)], [Ended::Counted; 3]);
    page[early].store(place.key, ORDER);
    assert!(!place.confirm(&page, late, 0));
    assert_eq!(case.left(HOME, later(0)), Some(2));
    let charged = at_once(&case, 4, |_| {
        let tries = (0..100).map(|_| wrong(10));
        let charged = tries.filter(|ended| *ended == Ended::Counted);
        charged.count().try_into().unwrap()
    });
    assert_eq!(sum(&charged), 2);
    assert_eq!(wrong(10), Ended::Refused(later(610)));
    let charged: Vec<_> = (0..7).map(|_| wrong(610)).collect();
    assert_eq!(charged[..5], [Ended::Counted; 5]);
    assert_eq!(charged[5..], [Ended::Refused(later(1210)); 2]);
    page[late + SLOTS].store(
        slot_word(later(610), page[late + GENERATION].load(ORDER)),
        ORDER,
    );
    assert!(case.forgive(HOME, later(611)));
    assert_eq!(case.left(HOME, later(611)), Some(5));
}

#[test]
fn forgiving_an_address_forgives_its_networks_and_nobody_else() {
    let case = Case::new(1);
    let neighbours = case.neighbours(ENTRIES + 1);
    let (last, first) = neighbours.split_last().unwrap();
    for address in first {
        case.wrong_from(address, START);
    }
    assert_eq!(case.wrong_from(last, START), Ended::Counted);
    assert_eq!(case.wrong_from(last, START), Ended::Shared);
    assert!(case.forgive(&last.to_string(), START));
    assert!(!case.forgive(&last.to_string(), START));
    assert_eq!(case.wrong_from(last, START), Ended::Counted);

    let locked = first[0].to_string();
    assert_eq!(case.left(&locked, START), Some(0));
    assert!(case.forgive(&locked, START));
    assert_eq!(case.wrong(&locked, START), Ended::Counted);
    assert_eq!(case.left(&first[1].to_string(), START), Some(0));
    assert!(!case.forgive("203.0.113.1", START));
}

#[test]
fn an_answer_on_its_way_does_not_count_for_who_is_forgiven_meanwhile() {
    let case = Case::new(3);
    let on_its_way = case.reserved(HOME, START);
    assert!(case.forgive(HOME, START));
    on_its_way.settle();
    assert_eq!(case.left(HOME, START), Some(3));
}

#[test]
fn what_is_counted_is_shown_as_the_log_shows_it() {
    let case = Case::new(3);
    let named_ones = [
        "192.0.2.7",
        "2001:db8:1:2::/64",
        "local",
        "uid:1000",
        "unreadable",
    ];
    for address in named_ones {
        case.wrong(address, START);
    }
    // Who was right is not in it.
    case.reserved("198.51.100.1", START).release();
    assert_eq!(case.counted(START), named_ones);
    let counted = case.table.counted(&case.limits, &|| START).unwrap();
    let two_left = Standing::Open {
        left: Some(2),
        codes: Codes::One,
    };
    assert!(counted.iter().all(|(_, standing)| *standing == two_left));
    assert!(case.counted(later(900)).is_empty());

    let shown = |address| {
        let levels = Counted::levels(&named(address));
        levels.iter().map(Counted::to_string).collect::<Vec<_>>()
    };
    assert_eq!(shown("192.0.2.7"), ["192.0.2.7", "192.0.2.0/24"]);
    let networks = ["2001:db8:1:2::/64", "2001:db8:1::/48", "2001:db8::/32"];
    assert_eq!(shown("2001:db8:1:2::7"), networks);
    assert_eq!(shown("uid:4294967295"), ["uid:4294967295"]);
    assert_eq!(shown("tty:tty1"), ["unreadable"]);
}

#[test]
fn clearing_the_table_forgets_everything() {
    let case = Case::new(1);
    case.wrong(HOME, START);
    let folder = Folder::open(case.place.path()).unwrap();
    Addresses::clear(&folder).unwrap();
    let table = Addresses::open(&folder).unwrap().unwrap();
    assert!(table.counted(&case.limits, &|| START).unwrap().is_empty());
    assert_eq!(case.file_length(), Addresses::BYTES as u64);
}

#[test]
fn no_flood_of_addresses_frees_a_locked_one_or_grows_the_table() {
    // As many as a real one, where that does not take a minute.
    let flood: u32 = if cfg!(debug_assertions) {
        15_000
    } else {
        100_000
    };
    let mut case = Case::new(3);
    case.limits.lock_time = Span::from_minutes(120);
    let mut numbers = Numbers(3);
    let mut random = |number: u32| match number % 2 {
        0 => Address::V4(Ipv4Addr::from_bits(numbers.next() as u32)),
        _ => v6(0x2000_0000_0000_0000 | numbers.next() >> 3),
    };
    let at = |number: u32| later((u64::from(number) * 899 / u64::from(flood)) as u32);
    let locked: Vec<_> = (0..50).map(&mut random).collect();
    for address in &locked {
        for _ in 0..3 {
            assert_eq!(case.wrong_from(address, START), Ended::Counted);
        }
    }
    let (mut counted, mut shared) = (0_u32, 0_u32);
    let mut times = Vec::new();
    for number in 0..flood {
        let address = random(number);
        let since = Instant::now();
        let ended = case.wrong_from(&address, at(number));
        times.push(since.elapsed());
        match ended {
            Ended::Counted => counted += 1,
            Ended::Shared => shared += 1,
            Ended::Refused(_) => panic!("{address} was never there before"),
        }
        if number % 100 == 0 {
            let address = &locked[(number / 100) as usize % locked.len()];
            let until = later(7200);
            assert_eq!(case.wrong_from(address, at(number)), Ended::Refused(until));
        }
    }
    assert_eq!(case.file_length(), Addresses::BYTES as u64);
    let entries = (PAGES - 1) * ENTRIES + 1;
    let places = u32::try_from(entries * 3).unwrap();
    assert!(counted <= places, "{counted} of {places} are on record");
    let share = if cfg!(debug_assertions) { 0 } else { 70_000 };
    assert!(shared >= share, "{shared}");

    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (first, last) = (median(&times[..1000]), median(&times[times.len() - 1000..]));
    // Five pages instead of one are looked at where they are full.
    assert!(last < 15 * first, "{first:?} at first, {last:?} at last");

    // Late ones find no place of their own, and share.
    for number in 0..100 {
        let address = random(number);
        let tries = (0..30).map(|_| case.wrong_from(&address, at(flood)));
        let counted = tries.filter(|ended| *ended == Ended::Counted).count();
        assert!(counted <= 3, "{counted} from {address}");
    }
    for address in &locked {
        let ended = case.wrong_from(address, later(7199));
        assert_eq!(ended, Ended::Refused(later(7200)));
    }
    assert!(case.counted(later(20_000)).is_empty());
}

#[test]
fn who_is_stopped_or_killed_at_any_point_holds_nobody() {
    const KILLED: usize = 20;
    let case = Case::new(28);
    let mut numbers = Numbers(4);
    let neighbours = case.neighbours(ENTRIES);
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    for round in 0..KILLED {
        // Its entries are taken over, too.
        let now = later(u32::try_from(round).unwrap() * 10);
        let busy = child(|| {
            loop {
                case.reserved(HOME, now).release();
                for address in &neighbours[..3] {
                    if let Charge::Reserved(one) = case.reserve(address, now) {
                        one.release();
                    }
                }
            }
        });
        for _ in 0..5 {
            for _ in 0..numbers.below(200) {
                case.reserved(HOME, now).release();
            }
            kill(busy, Signal::SIGSTOP).unwrap();
            waitpid(busy, Some(nix::sys::wait::WaitPidFlag::WUNTRACED)).unwrap();
            for _ in 0..100 {
                let since = Instant::now();
                case.reserved(HOME, now).release();
                if let Charge::Reserved(one) = case.reserve(&neighbours[0], now) {
                    one.release();
                }
                longest = longest.max(since.elapsed());
            }
            kill(busy, Signal::SIGCONT).unwrap();
        }
        kill(busy, Signal::SIGKILL).unwrap();
        waitpid(busy, None).unwrap();
    }
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    // Each of the killed may have left one answer, and nobody else has.
    let left = case.left(HOME, later(200)).unwrap();
    assert!(usize::from(left) >= 28 - KILLED, "{left}");
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn whatever_is_in_the_table_ends_every_call_and_holds_for_no_longer_than_a_lock() {
    let mut numbers = Numbers(5);
    for round in 0..36 {
        let case = Case::new([1, 3, 20, 28][round % 4]);
        let address = named(["192.0.2.7", "2001:db8::7", "uid:1000", "unreadable"][round / 4 % 4]);
        let places = case.table.places_of(&address);
        for place in &places {
            let page = case.table.shared.map(place.page).unwrap();
            let first = head_of(place.page) * ENTRY_WORDS;
            for (at, word) in page.iter().enumerate().skip(first) {
                let near = START.unix() as u64 + numbers.below(2400) - 1200;
                let generation = numbers.below(4) << 1;
                let value = match (at % ENTRY_WORDS, round % 3) {
                    (_, 0) => numbers.next(),
                    (0, _) if numbers.below(3) != 0 => place.key | numbers.below(4),
                    (GENERATION, _) => generation >> 1,
                    // Those on their way are waited for, which once is enough.
                    _ => near << 32 | generation | u64::from(round == 23),
                };
                word.store(value, ORDER);
            }
        }
        let since = Instant::now();
        case.standing(&address, START);
        case.wrong_from(&address, START);
        case.counted(START);
        case.forgive(&address.to_string(), START);
        assert!(since.elapsed() < 5 * PATIENCE, "round {round}");
        // Beyond the window and the lock it is as good as new.
        let now = later(2400);
        assert!(!matches!(
            case.standing(&address, now),
            Standing::Refused(_)
        ));
        assert_eq!(
            case.wrong_from(&address, now),
            Ended::Counted,
            "round {round}"
        );
    }
}

#[test]
fn the_first_of_two_codes_is_given_back_when_the_second_has_come() {
    let case = Case::new(3);
    let address = Address::named(HOME).unwrap();
    for second in [0, 1] {
        let at = Time::from_unix(START.unix() + second);
        match case.reserve(&address, at) {
            Charge::Reserved(reservation) => reservation.settle(),
            _ => panic!("not judged"),
        }
    }
    let left = |seconds| {
        let at = Time::from_unix(START.unix() + seconds);
        match case.table.standing(&address, &case.limits, &|| at).unwrap() {
            Standing::Open { left, .. } => left,
            Standing::Refused(_) => None,
        }
    };
    assert_eq!(left(2), Some(1));
    case.table.take_back(&address, START).unwrap();
    assert_eq!(left(2), Some(2));
    case.table.take_back(&address, START).unwrap();
    assert_eq!(left(2), Some(2), "there is none of that time any more");
}
