use super::*;
use crate::address::Address;
use crate::backup_code::BackupSet;
use crate::challenge::Sending;
use crate::contact::{Channel, Contact, Recipient};
use crate::device::DeviceName;
use crate::otp::Otp;
use crate::secret::Secret;
use crate::trust::{Place, Trust};

const NOON: Time = Time::from_unix(1_800_000_000);
const LATER: Time = Time::from_unix(1_800_000_060);

fn name(name: &str) -> DeviceName {
    DeviceName::parse(name).unwrap()
}

fn device(id: u64, key: u8) -> Device {
    Device {
        id: DeviceId(id),
        name: name("phone"),
        otp: Otp::default(),
        secret: Secret::from_bytes(vec![key; Secret::NEW_BYTES].into()).unwrap(),
        enrolled: NOON,
        ssh_key: None,
        window: None,
    }
}

fn home() -> Source {
    Address::V4([192, 0, 2, 1].into()).into()
}

fn enrolled(devices: Vec<Device>) -> Enrollment {
    Enrollment {
        devices,
        ..Enrollment::new(1000)
    }
}

fn set(id: u64) -> BackupSet {
    BackupSet {
        id: SetId(id),
        salt: [0; 16],
        hashes: vec![[0; 32]],
    }
}

/// One entry of each kind of things that have an id.
fn state(ids: &[u64]) -> State {
    let mut state = State::new(NOON);
    for id in ids.iter().copied() {
        state.devices.push(DeviceState::new(DeviceId(id), None));
        state.sets.push(UsedCodes {
            id: SetId(id),
            used: 0,
        });
        state.challenges.contacts.push(DeviceId(id));
    }
    state
}

fn ids(state: &State) -> [Vec<u64>; 3] {
    [
        state.devices.iter().map(|known| known.id.0).collect(),
        state.sets.iter().map(|known| known.id.0).collect(),
        state.challenges.contacts.iter().map(|id| id.0).collect(),
    ]
}

#[test]
fn a_device_is_known_as_what_it_is() {
    let mut token = device(1, 1);
    assert!(!DeviceState::of(&token, None).is_token);
    token.otp.factor = MovingFactor::Counter;
    let known = DeviceState::of(&token, Some(Step(7)));
    assert!(known.is_token && known.floor == Some(Step(7)));
    assert_eq!(known.next(), Step(8));
    assert_eq!(DeviceState::of(&token, None).next(), Step(0));
}

#[test]
fn there_is_room_for_the_devices_of_before_and_after_a_change() {
    let full = 2 * u64::try_from(Enrollment::MAX_DEVICES).unwrap();
    let mut state = State::new(NOON);
    for id in 0..full {
        state.devices.push(DeviceState::new(DeviceId(id), None));
    }
    assert_eq!(State::decode(&state.encode()).unwrap(), state);
    state.devices.push(DeviceState::new(DeviceId(full), None));
    assert!(State::decode(&state.encode()).is_err());
}

#[test]
fn who_joins_a_device_that_waits_for_two_codes_waits_too() {
    let (first, twin, other) = (device(1, 1), device(2, 1), device(3, 3));
    let enrolled = enrolled(vec![first]);
    for (waits, says, joins, expected) in [
        (true, false, &twin, true),
        (false, true, &twin, true),
        (false, false, &twin, false),
        (true, false, &other, false),
        (false, true, &other, true),
    ] {
        let mut state = state(&[1]);
        state.devices.first_mut().unwrap().awaits_resync = waits;
        let known = DeviceState {
            awaits_resync: says,
            ..DeviceState::of(joins, Some(Step(5)))
        };
        state.admit(&enrolled, joins, known);
        let known = state.device(joins.id).unwrap();
        assert_eq!(known.awaits_resync, expected, "{waits} {says}");
        assert_eq!(known.floor, Some(Step(5)));
    }
}

#[test]
fn what_an_enrollment_does_not_have_is_forgotten() {
    let mut enrolled = enrolled(vec![device(2, 2)]);
    enrolled.backup_codes = Some(set(2));
    enrolled.backup_key = Some(set(3));
    enrolled.contacts.push(Contact {
        id: DeviceId(3),
        name: name("mail"),
        recipient: Recipient::new(Channel::Mail, "alice@example.org").unwrap(),
        enrolled: NOON,
    });
    let mut state = state(&[1, 2, 3, 4]);
    state.forget_others(&enrolled);
    assert_eq!(ids(&state), [vec![2], vec![2, 3], vec![3]]);
    state.forget_others(&Enrollment::new(1000));
    assert_eq!(ids(&state), [vec![], vec![], vec![]]);
}

#[test]
fn devices_and_sets_are_found_by_their_id() {
    let state = state(&[1, 2]);
    assert_eq!(state.device(DeviceId(2)), state.devices.get(1));
    assert_eq!(state.set(SetId(2)), state.sets.get(1));
    assert!(state.device(DeviceId(3)).is_none() && state.set(SetId(3)).is_none());
}

#[test]
fn a_token_is_worth_four_phones_and_a_contact_one() {
    let mut state = state(&[1, 2]);
    assert_eq!(state.worth_in_phones(), 4);
    state.devices.first_mut().unwrap().is_token = true;
    assert_eq!(state.worth_in_phones(), 7);
}

#[test]
fn what_is_forgiven_is_wrong_answers_and_what_was_sent() {
    let limits = Limits::default();
    let mut state = state(&[1]);
    state.challenges.sendings.push(Sending {
        channel: Channel::Mail,
        is_familiar: false,
        at: NOON,
    });
    for _ in 0..3 {
        state.tally.charge(&home(), &limits, NOON);
    }
    assert!(state.standing(&home(), &limits, NOON).refusal().is_some());
    state.forgive();
    assert!(state.standing(&home(), &limits, NOON).refusal().is_none());
    assert!(state.challenges.sendings.is_empty() && state.devices.len() == 1);
}

/// Each thing that a state remembers, changed.
fn changes() -> [fn(&mut State); 5] {
    [
        |state| state.devices.push(DeviceState::new(DeviceId(9), None)),
        |state| {
            state.tally.charge(&home(), &Limits::default(), NOON);
        },
        |state| {
            state.sets.push(UsedCodes {
                id: SetId(9),
                used: 1,
            });
        },
        |state| state.trusts.propose(Place(9), NOON),
        |state| state.challenges.contacts.push(DeviceId(9)),
    ]
}

#[test]
fn whatever_is_remembered_makes_states_differ_but_the_time_of_saving() {
    let one = state(&[1]);
    let mut saved_later = one.clone();
    saved_later.saved = LATER;
    assert!(one.remembers_the_same(&saved_later));
    for change in changes() {
        let mut changed = one.clone();
        change(&mut changed);
        assert!(!one.remembers_the_same(&changed), "{changed:?}");
    }
}

#[test]
fn no_time_lies_in_the_future() {
    let mut ahead = state(&[1]);
    let known = ahead.devices.first_mut().unwrap();
    known.last_used = Some(LATER);
    known.lean = Some(Lean {
        side: Side::Ahead,
        since: LATER,
    });
    ahead.saved = LATER;
    ahead.trusts = Trusts::new(vec![Trust {
        place: Place(1),
        since: LATER,
        is_confirmed: true,
    }]);
    assert_eq!(ahead.clone().as_of(LATER), ahead);
    let now = ahead.as_of(NOON);
    let known = now.devices.first().unwrap();
    assert_eq!(known.last_used, Some(NOON));
    assert_eq!(known.lean.map(|lean| lean.since), Some(NOON));
    assert_eq!((now.saved, now.trusts.all().len()), (NOON, 0));
}
