use super::*;
use proptest::prelude::*;

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| Address::V4(octets.into())),
        any::<[u8; 8]>().prop_map(Address::V6),
        any::<u32>().prop_map(Address::Uid),
        "tty(S|)[0-9]{1,12}".prop_map(|name| Address::Tty(TtyName::console(&name).unwrap())),
        Just(Address::Local),
        Just(Address::Unreadable),
        Just(Address::Crowd),
        Just(Address::LocalCrowd),
        Just(Address::ConsoleCrowd),
        Just(Address::Elsewhere),
        any::<u64>().prop_map(Address::Masked),
    ]
}

prop_compose! {
    fn device(saved: Time)(
        id in any::<u64>(),
        floor in any::<Option<u64>>(),
        drift in any::<i16>(),
        lean in any::<Option<(bool, u32)>>(),
        last_used in any::<Option<u32>>(),
        (floor_reported, awaits_resync, is_token) in any::<(bool, bool, bool)>(),
    ) -> DeviceState {
        let ago = |age| saved.before(Span::from_seconds(age));
        DeviceState {
            id: DeviceId(id),
            floor: floor.map(Step),
            drift,
            lean: lean.map(|(ahead, age)| Lean {
                side: if ahead { Side::Ahead } else { Side::Behind },
                since: ago(age),
            }),
            last_used: last_used.map(ago),
            floor_reported,
            awaits_resync,
            is_token,
        }
    }
}

prop_compose! {
    fn place(saved: Time)(
        address in address(),
        wrong in times(saved),
        daily in times(saved),
        accepted in any::<Option<u32>>(),
    ) -> Place {
        let accepted = accepted.map(|age| saved.before(Span::from_seconds(age)));
        Place { address, wrong, daily, accepted }
    }
}

prop_compose! {
    fn pool(saved: Time)(
        address in address(),
        daily in times(saved),
        total in any::<u32>(),
        marks in any::<u16>(),
    ) -> Pool {
        Pool { address, daily, total, marks }
    }
}

prop_compose! {
    fn mark(saved: Time)(
        address in address(),
        (device, step) in any::<(u64, u64)>(),
        (age, lasts) in any::<(u32, u8)>(),
    ) -> Mark {
        Mark {
            address,
            device: DeviceId(device),
            step: Step(step),
            at: saved.before(Span::from_seconds(age)),
            lasts,
        }
    }
}

fn times(saved: Time) -> impl Strategy<Value = Vec<Time>> {
    let time = any::<u32>().prop_map(move |age| saved.before(Span::from_seconds(age)));
    prop::collection::vec(time, 0..=3)
}

fn trusts(count: usize, saved: Time) -> Trusts {
    let trust = |place| Trust {
        place: trust::Place(place),
        since: saved.before(Span::from_seconds(7)),
        is_confirmed: place % 2 == 0,
    };
    Trusts::new((0..).take(count).map(trust).collect())
}

fn challenges(count: usize, saved: Time) -> Challenges {
    let at = saved.before(Span::from_seconds(11));
    let challenge = |number: u8| Challenge {
        contact: DeviceId(u64::from(number)),
        binding: Binding(u64::MAX - u64::from(number)),
        salt: [number; 8],
        hash: [!number; 16],
        sent: at,
        lasts: Span::from_minutes(15),
        wrong: number % 4,
        is_familiar: number % 3 == 0,
    };
    let sending = |number: u8| Sending {
        channel: Channel::ALL[usize::from(number % 2)],
        is_familiar: number % 3 == 0,
        at,
    };
    Challenges {
        contacts: (0..).take(count).map(DeviceId).collect(),
        pending: (0..).take(count).map(challenge).collect(),
        sendings: (0..).take(count * 8).map(sending).collect(),
    }
}

fn state() -> impl Strategy<Value = State> {
    (-5_000_000_000_i64..5_000_000_000)
        .prop_map(Time::from_unix)
        .prop_flat_map(|saved| {
            let devices = prop::collection::vec(device(saved), 0..=State::MAX_DEVICES);
            let places = prop::collection::vec(place(saved), 0..=40);
            let pools = prop::collection::vec(pool(saved), 0..=8);
            let marks = prop::collection::vec(mark(saved), 0..=Mark::MAX);
            let trusts = (0..=Trusts::MAX).prop_map(move |count| trusts(count, saved));
            let challenges = (0..=4_usize).prop_map(move |count| challenges(count, saved));
            let firsts = any::<[u32; Firsts::MAX]>();
            let all = (devices, places, pools, marks, firsts, trusts, challenges);
            all.prop_map(
                move |(devices, places, pools, marks, firsts, trusts, challenges)| State {
                    saved,
                    devices,
                    tally: Tally {
                        places,
                        pools,
                        marks,
                    },
                    firsts: Firsts::new(firsts),
                    sets: vec![UsedCodes {
                        id: SetId(7),
                        used: 0x8001,
                    }],
                    trusts,
                    challenges,
                },
            )
        })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(state in state()) {
        let record = state.encode();
        prop_assert!(record.len() <= State::MAX_BYTES);
        prop_assert_eq!(State::decode(&record), Ok(state));
    }

    #[test]
    fn a_record_cut_anywhere_is_refused_with_the_place(state in state(), cut in any::<prop::sample::Index>()) {
        let record = state.encode();
        let end = cut.index(record.len());
        let error = State::decode(&record[..end]).expect_err("a cut record was taken");
        prop_assert!(error.offset <= end);
    }

    #[test]
    fn whatever_is_decoded_is_bounded_and_encodes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(state) = State::decode(&bytes) {
            prop_assert!(state.devices.len() <= State::MAX_DEVICES);
            prop_assert_eq!(State::decode(&state.encode()), Ok(state));
        }
    }

    #[test]
    fn no_time_lies_in_the_future_after_the_clock_went_back(state in state(), back in 0..9_000_000_000_i64) {
        let now = Time::from_unix(state.saved.unix() - back);
        let clamped = state.clone().as_of(now);
        let Tally { places, pools, marks } = &clamped.tally;
        let times = places.iter().flat_map(|p| p.wrong.iter().chain(&p.daily).chain(&p.accepted));
        let times = times.chain(pools.iter().flat_map(|pool| &pool.daily));
        let times = times.chain(marks.iter().map(|mark| &mark.at));
        let times = times.chain(clamped.trusts.all().iter().map(|trust| &trust.since));
        let Challenges { pending, sendings, .. } = &clamped.challenges;
        let times = times.chain(pending.iter().map(|challenge| &challenge.sent));
        let times = times.chain(sendings.iter().map(|sending| &sending.at));
        prop_assert!(times.chain([&clamped.saved]).all(|time| *time <= now));
        prop_assert_eq!(clamped.clone().as_of(now), clamped);
        prop_assert_eq!(state.clone().as_of(state.saved), state);
    }
}

/// One entry of each list, but no device.
fn with_one_of_each() -> State {
    let saved = Time::from_unix(1_800_000_000);
    let times = vec![saved.before(Span::from_seconds(3))];
    let address = Address::Tty(TtyName::console("tty1").unwrap());
    State {
        tally: Tally {
            places: vec![Place {
                address: address.clone(),
                wrong: times.clone(),
                daily: times.clone(),
                accepted: Some(saved),
            }],
            pools: vec![Pool {
                address: Address::Elsewhere,
                daily: times,
                total: 1,
                marks: 1,
            }],
            marks: vec![Mark {
                address,
                device: DeviceId(1),
                step: Step(1),
                at: saved,
                lasts: 60,
            }],
        },
        firsts: Firsts::new([7; Firsts::MAX]),
        sets: vec![UsedCodes {
            id: SetId(1),
            used: 1,
        }],
        trusts: trusts(1, saved),
        challenges: Challenges {
            sendings: vec![Sending {
                channel: Channel::Mail,
                is_familiar: false,
                at: saved,
            }],
            ..challenges(1, saved)
        },
        ..State::new(saved)
    }
}

#[test]
fn a_flipped_bit_is_refused_or_means_something_else() {
    // Miri takes too long for each of them.
    const STRIDE: usize = if cfg!(miri) { 61 } else { 1 };
    let record = with_one_of_each().encode();
    for bit in (0..8 * record.len()).step_by(STRIDE) {
        let mut flipped = record.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(state) = State::decode(&flipped) {
            assert_eq!(state.encode(), flipped, "bit {bit}");
        }
    }
}

#[test]
fn a_device_has_only_known_flags_and_leans_to_one_side() {
    let mut state = State::new(Time::from_unix(1_800_000_000));
    state.devices.push(DeviceState::new(DeviceId(1), None));
    for flags in 0..=u8::MAX {
        let (mut record, at) = (state.encode(), 8 + 1 + 8);
        record[at] = flags;
        let is_known = flags < 128 && flags & 12 != 12;
        match State::decode(&record) {
            Ok(read) => assert!(is_known && read.encode() == record, "{flags}"),
            Err(error) => assert!(!is_known && error.offset == at, "{flags}"),
        }
    }
}

#[test]
fn a_damaged_record_says_which_byte_is_wrong() {
    let record = State::new(Time::from_unix(0)).encode();
    for (length, offset) in [
        (0, 0),
        (7, 0),
        (8, 8),
        (9, 9),
        (record.len() - 1, record.len() - 1),
    ] {
        assert_eq!(State::decode(&record[..length]), Err(StateError { offset }));
    }
    let longer = [&record[..], &[0]].concat();
    let error = State::decode(&longer).unwrap_err();
    assert_eq!(error.offset, record.len());
    assert_eq!(error.to_string(), "the record is damaged at byte 145");
}

#[test]
fn no_more_places_are_read_than_there_is_room_for() {
    let mut state = State::new(Time::from_unix(0));
    let place = |number: usize| Place {
        address: Address::V4([10, 0, 0, u8::try_from(number).unwrap()].into()),
        wrong: Vec::new(),
        daily: Vec::new(),
        accepted: None,
    };
    state.tally.places = (0..Tally::MAX_PLACES).map(place).collect();
    assert_eq!(State::decode(&state.encode()), Ok(state.clone()));
    state.tally.places.push(place(Tally::MAX_PLACES));
    assert!(State::decode(&state.encode()).is_err());
}

#[test]
fn the_largest_record_fits_its_slot() {
    const DEVICE: usize = 27;
    const LARGEST: usize = 8
        + 1
        + State::MAX_DEVICES * DEVICE
        + 3
        + Tally::MAX_BYTES
        + Firsts::MAX * 4
        + 1
        + State::MAX_SETS * 10
        + 1
        + Trusts::MAX * 13
        + 3
        + Challenges::MAX_CONTACTS * 8
        + Challenges::MAX_PENDING * 47
        + Challenges::MAX_SENDINGS * 5;
    const { assert!(LARGEST <= State::MAX_BYTES) };
}
