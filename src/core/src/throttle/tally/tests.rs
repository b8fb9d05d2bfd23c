use super::*;
use crate::address::TtyName;
use crate::device::DeviceId;
use crate::otp::Step;
use crate::record::State;
use crate::throttle::Daily;

const NOON: Time = Time::from_unix(1_800_000_000);

fn home() -> Address {
    Address::V4([192, 0, 2, 1].into())
}

fn hotel() -> Address {
    Address::V4([203, 0, 113, 9].into())
}

fn place(address: Address, wrong: usize, daily: usize, accepted: Option<Time>) -> Place {
    Place {
        address,
        wrong: vec![NOON; wrong],
        daily: vec![NOON; daily],
        accepted,
    }
}

fn pool(address: Address, daily: usize, total: u32, marks: u16) -> Pool {
    Pool {
        address,
        daily: vec![NOON; daily],
        total,
        marks,
    }
}

fn tally(places: &[Place], pools: &[Pool]) -> Tally {
    Tally {
        places: places.to_vec(),
        pools: pools.to_vec(),
        marks: Vec::new(),
    }
}

/// A place and a pool of people who are not enrolled, each with its wrong answers.
fn masked(place: &[i64], pool: &[i64]) -> Tally {
    let times = |times: &[i64]| times.iter().copied().map(Time::from_unix).collect();
    Tally {
        places: vec![Place {
            wrong: times(place),
            ..Place::new(Address::Masked(1))
        }],
        pools: vec![Pool {
            address: Address::Masked(2),
            daily: times(pool),
            total: 1,
            marks: 0,
        }],
        marks: Vec::new(),
    }
}

#[test]
fn of_people_who_are_not_enrolled_the_oldest_entry_is_forgotten_first() {
    for (place, pool, place_stays) in [
        (&[1, 5][..], &[2, 3][..], true),
        (&[1, 3], &[2, 5], false),
        (&[4], &[4], false),
    ] {
        let mut tally = masked(place, pool);
        assert!(tally.forget_oldest_masked());
        let left = (tally.places.len(), tally.pools.len());
        let expected = if place_stays { (1, 0) } else { (0, 1) };
        assert_eq!(left, expected, "{place:?} {pool:?}");
        assert!(tally.forget_oldest_masked() && !tally.forget_oldest_masked());
    }
}

/// At each kind of place, with and without other answers before it.
#[test]
fn what_was_no_guess_leaves_the_tally_as_it_was() {
    let limits = Limits::default();
    let now = NOON.after(Span::from_minutes(1));
    let crowd = home().crowd();
    let mut marked = tally(&[], &[pool(Address::Elsewhere, 2, 2, 1)]);
    marked.marks.push(Mark {
        address: hotel(),
        device: DeviceId(1),
        step: Step(1),
        at: NOON,
        lasts: 240,
    });
    for before in [
        tally(&[], &[]),
        tally(
            &[place(home(), 1, 0, None)],
            &[pool(Address::Elsewhere, 2, 2, 0)],
        ),
        tally(&[place(home(), 1, 2, Some(NOON))], &[]),
        tally(
            &[place(crowd, 1, 0, None)],
            &[pool(Address::Elsewhere, 1, 1, 0)],
        ),
        marked,
    ] {
        let source = Source::from(home());
        let mut after = before.clone();
        after.charge(&source, &limits, now);
        assert_ne!(after, before);
        let charged = after.clone();
        after.uncharge(&source, NOON.after(Span::from_minutes(2)));
        assert_eq!(after, charged, "nothing was charged at that time");
        after.uncharge(&source, now);
        assert_eq!(after, before);
    }
    let exempt = Source {
        is_exempt: true,
        ..Source::from(home())
    };
    let others = tally(
        &[place(home(), 1, 0, None)],
        &[pool(Address::Elsewhere, 1, 1, 0)],
    );
    let mut after = others.clone();
    after.uncharge(&exempt, NOON);
    assert_eq!(after, others, "of an exempt place nothing was charged");
}

#[test]
fn wrong_answers_are_counted_of_a_place_and_of_all_unfamiliar_ones() {
    let elsewhere = || Address::Elsewhere;
    for (tally, counts_any) in [
        (tally(&[], &[]), false),
        (tally(&[place(home(), 0, 0, Some(NOON))], &[]), false),
        (tally(&[], &[pool(elsewhere(), 0, 0, 0)]), false),
        (tally(&[place(home(), 1, 0, None)], &[]), true),
        (tally(&[place(home(), 0, 1, Some(NOON))], &[]), true),
        (tally(&[], &[pool(elsewhere(), 1, 0, 0)]), true),
        (tally(&[], &[pool(elsewhere(), 0, 1, 0)]), true),
        (tally(&[], &[pool(elsewhere(), 0, 0, 1)]), true),
    ] {
        assert_eq!(tally.counts_any(), counts_any, "{tally:?}");
    }
}

#[test]
fn the_wrong_answers_of_one_place_are_forgotten_and_no_others() {
    let others = [
        place(hotel(), 1, 0, None),
        place(Address::Uid(7), 0, 0, Some(NOON)),
    ];
    for (wrong, daily, accepted, had_any) in [
        (2, 0, None, true),
        (2, 2, Some(NOON), true),
        (0, 2, Some(NOON), false),
        (0, 0, Some(NOON), false),
    ] {
        let known = place(home(), wrong, daily, accepted);
        let mut tally = tally(&[&[known][..], &others].concat(), &[]);
        assert_eq!(tally.forgive_place(&home()), had_any, "{wrong} {daily}");
        // What was spent of the day stays spent.
        let left = accepted.map(|accepted| place(home(), 0, daily, Some(accepted)));
        assert_eq!(tally.places, [left.as_slice(), &others].concat());
        assert!(!tally.forgive_place(&home()), "they are forgotten");
    }
}

#[test]
fn who_is_counted_with_a_crowd_is_forgiven_with_it() {
    let crowd = place(Address::Crowd, 3, 0, None);
    let mut tally = tally(&[crowd.clone(), place(home(), 0, 0, Some(NOON))], &[]);
    assert!(!tally.forgive_place(&Address::Uid(7)), "another crowd's");
    assert!(!tally.forgive_place(&home()), "it has a place of its own");
    assert_eq!(tally.places.first(), Some(&crowd));
    assert!(tally.forgive_place(&hotel()));
    assert!(tally.place(&Address::Crowd).is_none());
}

#[test]
fn a_login_is_remembered_of_a_place_that_becomes_a_usual_one() {
    let console = Address::Tty(TtyName::console("tty1").unwrap());
    for (address, entries) in [(home(), 1), (console, 0), (Address::Local, 0)] {
        let mut tally = Tally::default();
        for _ in 0..2 {
            tally.accept(&address.clone().into(), &Limits::default(), NOON);
            assert_eq!(tally.places.len(), entries, "{address}");
        }
    }
}

#[test]
fn a_place_is_said_to_be_familiar_until_it_is_no_longer() {
    let limits = Limits::default();
    let tally = tally(&[place(home(), 0, 0, Some(NOON))], &[]);
    let end = NOON.after(limits.familiar_for);
    let last = end.before(Span::from_seconds(1));
    let until = |address: Address, now| tally.familiar_until(&address.into(), &limits, now);
    assert_eq!(until(home(), NOON), Some(end));
    assert_eq!(until(home(), last), Some(end));
    assert_eq!(until(home(), end), None);
    assert_eq!(until(hotel(), NOON), None);
}

#[test]
fn as_much_room_is_reckoned_with_as_the_longest_record_takes() {
    let longest = Address::Tty(TtyName::console("ttyS123456789012").unwrap());
    let mark = Mark {
        address: longest.clone(),
        device: DeviceId(1),
        step: Step(1),
        at: NOON,
        lasts: 60,
    };
    let place = place(longest.clone(), 3, 5, Some(NOON));
    let tally = Tally {
        places: vec![place; 2],
        pools: vec![pool(longest, 7, 1, 1); 3],
        marks: vec![mark; 4],
    };
    let (bytes, empty) = (tally.bytes(), State::new(NOON));
    let record = State {
        tally,
        ..empty.clone()
    };
    assert_eq!(
        empty.encode().len() + bytes,
        record.encode().len(),
        "of a record without a tally, and of the tally"
    );
}

/// Without the limit that bounds all unfamiliar places together.
fn unbounded() -> Limits {
    Limits {
        daily: Daily::new(0).unwrap(),
        ..Limits::default()
    }
}

#[test]
fn the_oldest_unfamiliar_place_is_forgotten_where_all_of_them_are_bounded() {
    let strange = |n: u8| Address::V4([198, 51, 100, n].into());
    let at = |n: u8| NOON.after(Span::from_seconds(u32::from(n)));
    let masked = |n: u8| Address::Masked(u64::from(n));
    let kinds: [&dyn Fn(u8) -> Address; 2] = [&strange, &masked];
    for address in kinds {
        let tty = Address::Tty(TtyName::console("tty1").unwrap());
        let kept = [
            place(home(), 1, 0, Some(NOON)),
            place(tty, 1, 0, None),
            place(Address::Crowd, 1, 0, None),
        ];
        let mut tally = tally(&kept, &[]);
        for n in 1..=60 {
            tally.places.push(Place {
                wrong: vec![at(n)],
                ..Place::new(address(n))
            });
            tally.fit(&Limits::default());
        }
        let left: Vec<_> = tally.places.iter().map(|place| &place.address).collect();
        let expected = kept.iter().map(|place| place.address.clone());
        let expected: Vec<_> = expected.chain((13..=60).map(address)).collect();
        assert_eq!(left, expected.iter().collect::<Vec<_>>());
        let all = tally.clone();
        tally.fit(&unbounded());
        assert_eq!(tally, all);
    }
}

#[test]
fn places_are_folded_when_the_record_is_full_and_not_before() {
    let limits = unbounded();
    let address = |n: u8| Address::V4([198, 51, 100, n].into());
    // Of 84 places 78 have one wrong answer, and 6 have two.
    let places = (0..84).map(|n| place(address(n), if n < 6 { 2 } else { 1 }, 0, None));
    let mut tally = tally(&places.collect::<Vec<_>>(), &[]);
    assert_eq!(tally.bytes(), Tally::MAX_BYTES);
    let full = tally.clone();
    tally.fit(&limits);
    assert_eq!(tally, full);
    let known = Source::from(address(6));
    let place = tally.place_or_new(&known.address).unwrap();
    place.wrong.push(NOON);
    tally.fit(&limits);
    let stays = |n: &u8| tally.place(&address(*n)).is_some();
    assert!((0..82).all(|n| stays(&n)) && !(82..84).any(|n| stays(&n)));
    let crowd = tally.place(&Address::Crowd);
    assert_eq!(crowd.map(|crowd| crowd.wrong.len()), Some(2));
}

#[test]
fn of_a_full_record_strangers_go_first_then_local_callers_then_usual_places_then_consoles() {
    /// Places that fit in with one wrong answer each.
    const ROOM: usize = Tally::MAX_BYTES / (Place::MAX_BYTES + 4);
    let console = |n: usize| Address::Tty(TtyName::console(&format!("tty{n}")).unwrap());
    for excess in 0..=4 {
        let shared = [Address::Crowd, Address::LocalCrowd, Address::ConsoleCrowd];
        let others = [hotel(), Address::Uid(7), home()];
        let last = ROOM + excess - shared.len() - others.len();
        let known = |address: Address| {
            let accepted = (address == home()).then_some(NOON);
            place(address, 1, 0, accepted)
        };
        let in_order = others.iter().cloned().chain([console(last)]);
        let in_order: Vec<_> = in_order.map(known).collect();

        let consoles = (1..=last).map(console);
        let addresses = shared.into_iter().chain(others).chain(consoles);
        let mut tally = tally(&addresses.map(known).collect::<Vec<_>>(), &[]);
        tally.fit(&unbounded());

        assert_eq!(tally.places.len(), ROOM);
        let stays = in_order.iter().map(|place| tally.places.contains(place));
        let expected = (0..in_order.len()).map(|index| index >= excess);
        assert!(stays.eq(expected), "{excess}: {:?}", tally.places);
    }
}

#[test]
fn people_who_are_not_enrolled_are_forgotten_when_there_are_too_many_and_not_before() {
    let limits = Limits::default();
    let most = u64::try_from(Tally::MAX_POOLS).unwrap();
    let mut tally = Tally::default();
    for person in 0..=most {
        assert_eq!(tally.pools.len().try_into(), Ok(person));
        let pool = pool(Address::Masked(person), 1, 1, 0);
        tally.pools.push(pool);
        tally.fit(&limits);
    }
    let people = tally.pools.iter().map(|pool| pool.address.clone());
    assert!(people.eq((1..=most).map(Address::Masked)));
}
