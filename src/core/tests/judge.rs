//! The rules of verification, each as a sequence of answers.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic
)]

use proptest::prelude::*;
use totp_core::address::Address;
use totp_core::answer::Answer;
use totp_core::backup_code::{BackupCode, BackupKey, BackupSet, ScratchCode, SetId, UsedCodes};
use totp_core::challenge::Binding;
use totp_core::config::{Config, Verify, Window};
use totp_core::contact::{Channel, Contact, Recipient};
use totp_core::device::{Device, DeviceId, DeviceName};
use totp_core::doors::Entropy;
use totp_core::judge::{Attempt, Verdict, WrongReason, judge};
use totp_core::otp::{Code, Digits, MovingFactor, Otp, Step};
use totp_core::record::state::{DeviceState, Lean};
use totp_core::record::{Enrollment, Invite, State};
use totp_core::secret::Secret;
use totp_core::ssh_key::Fingerprint;
use totp_core::throttle::{Codes, Firsts, Limit, Limits, Refusal, Standing};
use totp_core::time::{Span, Time};
use totp_core::trust::Place;
use zeroize::Zeroizing;

/// A person with one device, whose logins are judged one after the other.
struct Person {
    enrollment: Enrollment,
    state: State,
    config: Config,
    ssh_keys: Vec<Fingerprint>,
    place: Option<Place>,
}

/// What came of an answer, in a word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Accepted,
    BackupKey,
    Empty,
    Refused,
    Wrong(WrongReason),
}

const MISMATCH: Outcome = Outcome::Wrong(WrongReason::Mismatch);
const REPLAYED: Outcome = Outcome::Wrong(WrongReason::Replayed);
const FIRST: Outcome = Outcome::Wrong(WrongReason::First);
const BOUND: Outcome = Outcome::Wrong(WrongReason::Bound);
const MALFORMED: Outcome = Outcome::Wrong(WrongReason::Malformed);

/// The middle of a step, far from the epoch.
const NOON: i64 = 1_800_000_015;

fn device(id: u64, name: &str, key: u8) -> Device {
    Device {
        id: DeviceId(id),
        name: DeviceName::parse(name).unwrap(),
        otp: Otp::default(),
        secret: Secret::from_bytes(vec![key; Secret::NEW_BYTES].into()).unwrap(),
        enrolled: Time::from_unix(NOON),
        ssh_key: None,
        window: None,
    }
}

fn typed(text: &str) -> Answer {
    Answer::new(Zeroizing::new(text.as_bytes().to_vec()))
}

fn home() -> Address {
    Address::V4([192, 0, 2, 1].into())
}

impl Person {
    /// No limit on wrong answers: these are the rules of codes.
    fn new() -> Self {
        let mut person = Self::limited();
        let limits = "[limits]\ndeny = 0\ndaily = 0\nuser_limit = 0";
        person.config.limits = Config::parse(limits).unwrap().limits;
        person
    }

    fn limited() -> Self {
        let mut person = Self {
            enrollment: Enrollment::new(1000),
            state: State::new(Time::from_unix(NOON)),
            config: Config::default(),
            ssh_keys: Vec::new(),
            place: None,
        };
        person.enroll(device(1, "phone", 1));
        person
    }

    /// One with an event token.
    fn with_token() -> Self {
        let mut person = Self::new();
        person.enrollment.devices[0].otp.factor = MovingFactor::Counter;
        person.state.devices[0].is_token = true;
        person
    }

    /// Presses the token's button so often that it shows the code of this counter, and types it.
    fn press(&mut self, counter: u64) -> Outcome {
        let device = &self.enrollment.devices[0];
        let code = device.otp.code(&device.secret, Step(counter)).to_digits();
        self.answer(&code, NOON)
    }

    fn enroll(&mut self, device: Device) {
        self.state.devices.push(DeviceState::of(&device, None));
        self.enrollment.devices.push(device);
    }

    fn phone(&self) -> &DeviceState {
        &self.state.devices[0]
    }

    /// The first device's code at a time by its own clock.
    fn code(&self, time: i64) -> String {
        let device = &self.enrollment.devices[0];
        let step = device.otp.period().unwrap().step_at(Time::from_unix(time));
        device
            .otp
            .code(&device.secret, step)
            .to_digits()
            .to_string()
    }

    fn answer_from(&mut self, address: &Address, text: &str, now: i64) -> Verdict {
        self.judge(address, &typed(text), now)
    }

    fn judge(&mut self, address: &Address, answer: &Answer, now: i64) -> Verdict {
        let attempt = Attempt {
            answer,
            source: &address.clone().into(),
            binding: Binding::of("sshd", address),
            ssh_keys: &self.ssh_keys,
            place: self.place,
            codes: Codes::One,
            now: Time::from_unix(now),
        };
        let Config { verify, limits, .. } = &self.config;
        let (verdict, state) = judge(
            &self.enrollment,
            self.state.clone(),
            &attempt,
            verify,
            limits,
        );
        self.state = State::decode(&state.encode()).unwrap();
        assert_eq!(self.state, state, "what is saved is what was decided");
        verdict
    }

    fn answer(&mut self, text: &str, now: i64) -> Outcome {
        match self.answer_from(&home(), text, now) {
            Verdict::Accepted(_) => Outcome::Accepted,
            Verdict::BackupKey { .. } => Outcome::BackupKey,
            Verdict::Invited(_) => panic!("nobody was invited"),
            Verdict::Empty => Outcome::Empty,
            Verdict::Refused(_) => Outcome::Refused,
            Verdict::Wrong(wrong) => Outcome::Wrong(wrong.reason),
        }
    }

    /// A login with the code that a device shows whose clock is `ahead` seconds ahead of ours.
    fn login(&mut self, now: i64, ahead: i64) -> Outcome {
        let code = self.code(now + ahead);
        self.answer(&code, now)
    }
}

#[test]
fn a_device_keeps_a_narrower_window_and_two_codes_set_it_right_all_the_same() {
    let mut person = Person::new();
    person.enrollment.devices[0].window = Window::new(0);
    let (behind, ahead) = (person.code(NOON - 30), person.code(NOON + 30));
    assert_eq!(person.answer(&behind, NOON), FIRST);
    assert_eq!(person.answer(&ahead, NOON), FIRST);
    let next = person.code(NOON + 60);
    assert_eq!(person.answer(&next, NOON + 30), Outcome::Accepted);
    assert_eq!(person.phone().drift, 1);
    let single = person.code(NOON + 90);
    assert_eq!(person.answer(&single, NOON + 60), Outcome::Accepted);

    let mut usual = Person::new();
    usual.enrollment.devices[0].window = Window::new(5);
    let far = usual.code(NOON + 60);
    assert_eq!(
        usual.answer(&far, NOON),
        FIRST,
        "never wider than the configuration has it"
    );
}

/// Or whoever has found one by guessing tries at the second as often as they like.
#[test]
fn a_first_of_two_is_worth_one_try_at_the_second() {
    let mut person = Person::new();
    let (first, second) = (person.code(NOON + 300), person.code(NOON + 330));
    assert_eq!(person.answer(&first, NOON), FIRST);
    assert_eq!(person.answer("000000", NOON + 1), MISMATCH);
    for later in 2..4 {
        assert_eq!(person.answer(&first, NOON + later), REPLAYED);
    }
    // The one after it is a first by itself.
    assert_eq!(person.answer(&second, NOON + 4), FIRST);
    let third = person.code(NOON + 360);
    assert_eq!(person.answer(&third, NOON + 30), Outcome::Accepted);

    // A token has no clock that would end it.
    let mut person = Person::with_token();
    assert_eq!(person.press(50), FIRST);
    assert_eq!(person.answer("000000", NOON), MISMATCH);
    assert_eq!(person.press(50), REPLAYED);
    assert_eq!(person.press(60), FIRST);
    assert_eq!(person.press(61), Outcome::Accepted);
}

#[test]
fn a_first_of_two_that_waits_is_none_elsewhere_and_waits_no_longer_when_it_comes_again() {
    let elsewhere = Address::V4([198, 51, 100, 1].into());
    let mut person = Person::new();
    let (first, second) = (person.code(NOON + 300), person.code(NOON + 330));
    assert_eq!(person.answer(&first, NOON), FIRST);
    let Verdict::Wrong(wrong) = person.answer_from(&elsewhere, &first, NOON) else {
        panic!("a first code is not enough");
    };
    assert_eq!(wrong.reason, WrongReason::Replayed);
    assert_eq!(person.answer(&first, NOON + 30), FIRST, "it waits");
    let mut late = Person {
        state: person.state.clone(),
        ..Person::new()
    };
    assert_eq!(person.answer(&second, NOON + 59), Outcome::Accepted);
    assert_eq!(late.answer(&second, NOON + 60), FIRST, "by itself");
}

#[test]
fn devices_of_one_secret_have_one_try_together() {
    let mut person = Person::new();
    person.enroll(device(2, "twin", 1));
    let first = person.code(NOON + 300);
    assert_eq!(person.answer(&first, NOON), FIRST);
    assert_eq!(person.answer("000000", NOON + 1), MISMATCH);
    assert_eq!(person.answer(&first, NOON + 2), REPLAYED);
}

#[test]
fn so_many_firsts_are_remembered_the_last_ones() {
    let mut person = Person::with_token();
    let most = u64::try_from(Firsts::MAX).unwrap();
    for counter in 0..=most {
        assert_eq!(person.press(20 + 2 * counter), FIRST);
    }
    for counter in 1..=most {
        assert_eq!(person.press(20 + 2 * counter), REPLAYED, "{counter}");
    }
    assert_eq!(person.press(20), FIRST);
}

#[test]
fn one_step_on_each_side_is_accepted_and_no_more() {
    for (ahead, expected) in [
        (-630, MISMATCH),
        (-60, FIRST),
        (-30, Outcome::Accepted),
        (0, Outcome::Accepted),
        (30, Outcome::Accepted),
        (60, FIRST),
        (630, MISMATCH),
    ] {
        assert_eq!(Person::new().login(NOON, ahead), expected, "{ahead}");
    }
}

#[test]
fn a_window_of_none_takes_the_current_step_alone() {
    for (ahead, expected) in [(-30, FIRST), (0, Outcome::Accepted), (30, FIRST)] {
        let mut person = Person::new();
        person.config.verify = Config::parse("[verify]\nwindow = 0").unwrap().verify;
        assert_eq!(person.login(NOON, ahead), expected, "{ahead}");
    }
}

#[test]
fn a_code_is_accepted_once_and_with_it_every_earlier_one_is_used_up() {
    let mut person = Person::new();
    assert_eq!(person.login(NOON, 0), Outcome::Accepted);
    assert_eq!(person.login(NOON, 0), REPLAYED);
    assert_eq!(person.login(NOON, -30), REPLAYED);
    assert_eq!(person.login(NOON + 30, -30), REPLAYED);
    assert_eq!(person.login(NOON, 30), Outcome::Accepted);
    assert_eq!(person.login(NOON + 30, 0), REPLAYED);
    assert_eq!(person.login(NOON + 60, 0), Outcome::Accepted);
}

#[test]
fn another_spelling_of_a_used_code_is_the_same_code() {
    let mut person = Person::new();
    let code = person.code(NOON);
    let (start, end) = code.split_at(3);
    assert_eq!(
        person.answer(&format!(" {start} {end}"), NOON),
        Outcome::Accepted
    );
    for spelling in [code.clone(), format!("{start}-{end}"), format!("{code}\t")] {
        assert_eq!(person.answer(&spelling, NOON), REPLAYED, "{spelling}");
    }
}

#[test]
fn answers_that_are_no_code_are_charged_and_empty_ones_are_not() {
    let mut person = Person::limited();
    for (text, expected) in [
        ("", Outcome::Empty),
        ("  -- ", Outcome::Empty),
        ("password", MALFORMED),
        ("", Outcome::Empty),
        ("12345", MALFORMED),
        ("１２３４５６", MALFORMED),
        ("", Outcome::Refused),
        ("123456", Outcome::Refused),
    ] {
        assert_eq!(person.answer(text, NOON), expected, "{text}");
    }
}

#[test]
fn a_code_of_another_length_is_not_compared_in_part() {
    let mut person = Person::new();
    let code = person.code(NOON);
    assert_eq!(person.answer(&format!("{code}0"), NOON), MISMATCH);
    assert_eq!(person.answer(&format!("0{code}"), NOON), MISMATCH);
    assert_eq!(person.answer(&code, NOON), Outcome::Accepted);
}

#[test]
fn a_code_used_before_a_clock_went_back_is_used_up_after() {
    let mut person = Person::new();
    assert_eq!(person.login(NOON, 0), Outcome::Accepted);
    for back in [3600, 86_400 * 3650, NOON, NOON + 86_400] {
        assert_eq!(
            person.login(NOON - back, back),
            MISMATCH,
            "a phone far ahead of the clock"
        );
    }
    assert_eq!(person.login(NOON - 30, 30), REPLAYED);
    assert_eq!(person.login(NOON, 0), REPLAYED);
    assert_eq!(person.login(NOON + 30, 0), Outcome::Accepted);
}

#[test]
fn a_clock_that_jumps_and_is_corrected_locks_nobody_out() {
    for jump in [-3600, 3600, 86_400 * 3650, -NOON - 86_400] {
        let mut person = Person::new();
        assert_eq!(person.login(NOON, 0), Outcome::Accepted);
        assert_eq!(person.login(NOON + 30 + jump, -jump), MISMATCH);
        assert_eq!(person.phone().drift, 0);
        assert_eq!(
            person.login(NOON + 60, 0),
            Outcome::Accepted,
            "after {jump}"
        );
    }
}

#[test]
fn the_floor_never_falls_and_its_being_out_of_reach_is_told_once() {
    let mut person = Person::new();
    person.state.devices[0].floor = Some(Step(u64::MAX));
    let mut told = 0;
    for login in 0..4 {
        let now = NOON + login * 30;
        let code = person.code(now);
        let Verdict::Wrong(wrong) = person.answer_from(&home(), &code, now) else {
            panic!("a step below the floor was not refused");
        };
        told += u32::from(wrong.out_of_reach.is_some());
    }
    assert_eq!(told, 1);
    assert_eq!(person.phone().floor, Some(Step(u64::MAX)));
}

#[test]
fn a_clock_that_went_back_a_little_is_nothing_to_report() {
    let mut person = Person::new();
    let code = person.code(NOON + 30);
    assert_eq!(person.answer(&code, NOON), Outcome::Accepted);
    let Verdict::Wrong(wrong) = person.answer_from(&home(), &code, NOON - 600) else {
        panic!("a used code was not refused");
    };
    assert_eq!(wrong.out_of_reach, None);
}

#[test]
fn out_of_reach_is_what_takes_longer_than_an_hour() {
    // The first code that is good again is the one after the floor, and the window reaches one step ahead.
    for (steps_ahead, is_told) in [(120, false), (121, true)] {
        let mut person = Person::new();
        let now = Step(u64::try_from(NOON / 30).unwrap());
        person.state.devices[0].floor = Some(now.moved(steps_ahead));
        let Verdict::Wrong(wrong) = person.answer_from(&home(), "000000", NOON) else {
            panic!("a wrong code was not refused");
        };
        assert_eq!(wrong.out_of_reach.is_some(), is_told);
    }
}

/// Logins of a device that is `ahead` seconds ahead, `apart` seconds from each other.
fn drift_after(logins: i64, ahead: i64, apart: i64) -> i16 {
    let mut person = Person::new();
    for login in 0..logins {
        let now = NOON + login * apart;
        assert_eq!(person.login(now, ahead), Outcome::Accepted, "login {login}");
    }
    person.phone().drift
}

#[test]
fn drift_follows_codes_on_one_side_for_more_than_an_hour() {
    for (logins, ahead, apart, drift) in [
        (1, 30, 0, 0),
        (2, 30, 3600, 0),
        (2, 30, 3630, 1),
        (2, -30, 3630, -1),
        (2, 0, 7200, 0),
        (3, 30, 1800, 0),
        (4, 30, 1800, 1),
        // Where the device is by then, the next codes lie in the middle.
        (9, 30, 3630, 1),
    ] {
        assert_eq!(
            drift_after(logins, ahead, apart),
            drift,
            "{logins} logins, {ahead} ahead"
        );
    }
}

#[test]
fn a_code_in_the_middle_or_on_the_other_side_breaks_the_run() {
    for between in [0, -30] {
        let mut person = Person::new();
        for (at, ahead) in [(0, 30), (3000, between), (3700, 30)] {
            assert_eq!(person.login(NOON + at, ahead), Outcome::Accepted);
        }
        assert_eq!(person.phone().drift, 0);
    }
}

#[test]
fn wrong_and_used_codes_teach_nothing() {
    let mut person = Person::new();
    assert_eq!(person.login(NOON, 30), Outcome::Accepted);
    let before = person.phone().clone();
    assert_eq!(person.login(NOON + 30, 0), REPLAYED);
    assert_eq!(person.answer("password", NOON + 7200), MALFORMED);
    assert_eq!(person.login(NOON + 7200, 90), FIRST);
    assert_eq!(person.login(NOON + 7200, 900), MISMATCH);
    assert_eq!(*person.phone(), before);
}

#[test]
fn t08_logins_teach_at_most_so_much_drift() {
    for sign in [1, -1] {
        let mut person = Person::new();
        // A clock that loses a step between each two logins, so that every code lies on its side.
        for login in 0..40 {
            let drift = i64::from(person.phone().drift);
            let outcome = person.login(NOON + login * 7200, 30 * (drift + sign));
            assert_eq!(outcome, Outcome::Accepted, "login {login}");
        }
        assert_eq!(i64::from(person.phone().drift), 10 * sign);
        assert_eq!(person.login(NOON + 86_400 * 30, 30 * 12 * sign), FIRST);
    }
}

#[test]
fn a_drift_beyond_a_lowered_limit_can_only_shrink() {
    let mut person = Person::new();
    person.config.verify = Config::parse("[verify]\nmax_drift = 3").unwrap().verify;
    person.state.devices[0].drift = 8;
    for (at, ahead, drift) in [
        (0, 270, 8),
        (7200, 270, 8),
        (14400, 210, 8),
        (21600, 210, 7),
    ] {
        assert_eq!(person.login(NOON + at, ahead), Outcome::Accepted, "{at}");
        assert_eq!(person.phone().drift, drift, "{at}");
    }
}

#[test]
fn a_clock_out_of_reach_is_told_for_each_device_even_after_another_was_accepted() {
    let mut person = Person::new();
    person.enroll(device(2, "token", 2));
    person.enroll(device(3, "tablet", 3));
    for device in [1, 2] {
        person.state.devices[device].floor = Some(Step(1 << 40));
    }
    assert_eq!(person.login(NOON, 0), Outcome::Accepted);
    let mut told = Vec::new();
    for _ in 0..4 {
        let Verdict::Wrong(wrong) = person.answer_from(&home(), "password", NOON) else {
            panic!("a word was accepted");
        };
        told.extend(wrong.out_of_reach.map(|(device, _)| device.to_string()));
    }
    assert_eq!(told, ["token", "tablet"]);
}

#[test]
fn right_codes_from_many_new_addresses_are_never_counted_as_wrong() {
    let mut person = Person::limited();
    let limits = "[limits]\ndaily = 0\nuser_limit = 0";
    person.config = Config::parse(limits).unwrap();
    for last in 0..=30 {
        let stranger = Address::V4([203, 0, 113, last].into());
        let _ = person.answer_from(&stranger, "000000", NOON);
    }
    for login in 0..6 {
        let place = Address::V4([198, 51, 100, login].into());
        let now = NOON + i64::from(login) * 30;
        let code = person.code(now);
        let verdict = person.answer_from(&place, &code, now);
        assert!(matches!(verdict, Verdict::Accepted(_)), "{verdict:?}");
    }
}

#[test]
fn learned_drift_moves_the_window_and_does_not_widen_it() {
    let mut person = Person::new();
    person.state.devices[0].drift = 5;
    for (ahead, expected) in [
        (0, FIRST),
        (90, FIRST),
        (120, Outcome::Accepted),
        (210, FIRST),
    ] {
        assert_eq!(person.login(NOON, ahead), expected, "{ahead}");
    }
}

#[test]
fn every_device_is_tried_and_named() {
    let mut person = Person::new();
    person.enroll(device(2, "token", 2));
    let token = &person.enrollment.devices[1];
    let step = token.otp.period().unwrap().step_at(Time::from_unix(NOON));
    let code = token.otp.code(&token.secret, step).to_digits();
    let Verdict::Accepted(accepted) = person.answer_from(&home(), &code, NOON) else {
        panic!("the second device's code was not accepted");
    };
    let names: Vec<&str> = accepted.devices().iter().map(DeviceName::as_str).collect();
    assert_eq!(names, ["token"]);
    assert_eq!(
        person.phone().floor,
        None,
        "the first device's codes are still good"
    );
    assert_eq!(person.login(NOON, 0), Outcome::Accepted);
}

#[test]
fn who_is_accepted_is_told_how_many_digits_were_the_code() {
    let mut person = Person::new();
    let mut long = device(2, "long", 1);
    long.otp.digits = Digits::new(8).unwrap();
    let step = long.otp.period().unwrap().step_at(Time::from_unix(NOON));
    let code = long.otp.code(&long.secret, step).to_digits();
    person.enroll(long);
    let untouched = person.state.clone();
    let mut digits_of = |text: &str| {
        person.state = untouched.clone();
        let answer = typed(&format!("secret{text}")).with_password();
        match person.judge(&home(), &answer, NOON) {
            Verdict::Accepted(accepted) => accepted.digits().map(Digits::get),
            _ => panic!("{text} was not accepted"),
        }
    };
    assert_eq!(digits_of(&code[2..]), Some(6));
    // Of one secret the shorter code is the end of the longer one: both fit.
    assert_eq!(digits_of(&code), Some(8));
}

#[test]
fn a_code_that_fits_two_devices_burns_both() {
    let mut person = Person::new();
    person.enroll(device(2, "copy", 1));
    assert_eq!(person.login(NOON, 0), Outcome::Accepted);
    assert_eq!(person.state.devices[0].floor, person.state.devices[1].floor);
    assert_eq!(person.login(NOON, 0), REPLAYED);
}

#[test]
fn what_one_of_two_twins_used_is_used_for_the_other_whatever_their_drifts() {
    let mut person = Person::new();
    person.enroll(device(2, "copy", 1));
    person.state.devices[0].drift = 2;
    assert_eq!(person.login(NOON, 90), Outcome::Accepted);
    assert_eq!(person.login(NOON + 60, 30), REPLAYED);
    assert_eq!(person.login(NOON + 90, 0), REPLAYED);
    assert_eq!(person.login(NOON + 120, 0), Outcome::Accepted);
}

#[test]
fn a_device_that_the_state_does_not_know_is_refused() {
    let mut person = Person::new();
    person.state.devices.clear();
    assert_eq!(person.login(NOON, 0), Outcome::Wrong(WrongReason::NoDevice));
    person.enroll(device(2, "token", 2));
    assert_eq!(person.login(NOON, 0), MISMATCH);
}

#[test]
fn the_third_wrong_answer_locks_its_address_and_no_other() {
    let mut person = Person::limited();
    let elsewhere = Address::V4([198, 51, 100, 7].into());
    let until = Time::from_unix(NOON + 600);
    let open = |left| Standing::Open {
        left: Some(left),
        codes: Codes::One,
    };
    let limit = Limit::Place;
    for standing in [
        open(2),
        open(1),
        Standing::Refused(Refusal { until, limit }),
    ] {
        let Verdict::Wrong(wrong) = person.answer_from(&home(), "000000", NOON) else {
            panic!("not judged");
        };
        assert_eq!(wrong.standing, standing);
    }
    let code = person.code(NOON);
    assert_eq!(person.answer(&code, NOON + 599), Outcome::Refused);
    let verdict = person.answer_from(&elsewhere, &code, NOON);
    assert!(matches!(verdict, Verdict::Accepted(_)), "{verdict:?}");
    assert_eq!(
        person.login(NOON + 599, 0),
        Outcome::Refused,
        "a success elsewhere frees nobody"
    );
    assert_eq!(person.login(NOON + 600, 0), Outcome::Accepted);
}

#[test]
fn a_refused_answer_is_not_judged_not_charged_and_does_not_lengthen_the_lock() {
    let mut person = Person::limited();
    for _ in 0..3 {
        person.answer("000000", NOON);
    }
    let locked = person.state.clone();
    for second in 0..60 {
        assert_eq!(person.login(NOON + second, 0), Outcome::Refused);
    }
    assert_eq!(
        (&person.state.devices, &person.state.tally),
        (&locked.devices, &locked.tally)
    );
}

#[test]
fn an_accepted_code_clears_the_count_of_its_address() {
    let mut person = Person::limited();
    assert_eq!(person.answer("000000", NOON), MISMATCH);
    assert_eq!(person.answer("000000", NOON), MISMATCH);
    assert_eq!(person.login(NOON, 0), Outcome::Accepted);
    assert_eq!(person.answer("000000", NOON), MISMATCH);
    assert_eq!(person.answer("000000", NOON), MISMATCH);
}

#[test]
fn a_lock_made_in_a_future_that_was_none_lasts_no_longer_than_from_now() {
    let mut person = Person::limited();
    let future = NOON + 86_400 * 3650;
    for _ in 0..3 {
        assert_eq!(person.answer("000000", future), MISMATCH);
    }
    assert_eq!(person.login(NOON, 0), Outcome::Refused);
    assert_eq!(person.login(NOON + 599, 0), Outcome::Refused);
    assert_eq!(person.login(NOON + 600, 0), Outcome::Accepted);
}

/// One thing that happens to a person's account.
#[derive(Clone, Debug)]
enum Event {
    Guess(u32),
    Login { ahead: i64 },
    Clock { seconds: i64 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..1_000_000_u32).prop_map(Event::Guess),
        (-4..=4_i64).prop_map(|steps| Event::Login { ahead: steps * 30 }),
        (-2_000_000_000..2_000_000_000_i64).prop_map(|seconds| Event::Clock { seconds }),
        (0..4000_i64).prop_map(|seconds| Event::Clock { seconds }),
    ]
}

fn ssh_key(symbol: char) -> Fingerprint {
    Fingerprint::parse(&format!("SHA256:{}A", String::from(symbol).repeat(42))).unwrap()
}

#[test]
fn a_bound_device_counts_only_beside_its_ssh_key() {
    let mut person = Person::new();
    person.enrollment.devices[0].ssh_key = Some(ssh_key('k'));
    for others in [vec![], vec![ssh_key('x')]] {
        person.ssh_keys = others;
        assert_eq!(person.login(NOON, 0), BOUND);
        assert_eq!(person.phone().floor, None, "its code is not used up");
        assert_eq!(person.answer("000000", NOON), MISMATCH);
    }
    person.ssh_keys = vec![ssh_key('x'), ssh_key('k')];
    assert_eq!(person.login(NOON, 0), Outcome::Accepted);
    // Another device of the same secret is no way round it, and what was used of one is used of both.
    person.ssh_keys.clear();
    person.enroll(device(2, "tablet", 1));
    assert_eq!(person.login(NOON, 0), BOUND);
    assert_eq!(person.login(NOON + 30, 0), BOUND);
    person.ssh_keys.push(ssh_key('k'));
    assert_eq!(person.login(NOON, 0), REPLAYED);
    assert_eq!(person.login(NOON + 30, 0), Outcome::Accepted);
}

#[test]
fn a_place_is_proposed_to_be_trusted_by_a_code_of_a_device_that_is_not_bound() {
    let (place, now) = (Place(7), Time::from_unix(NOON));
    let mut person = Person::new();
    person.place = Some(place);
    assert_eq!(person.answer("000000", NOON), MISMATCH);
    assert!(!person.state.trusts.confirm(place, now));
    assert_eq!(person.login(NOON, 0), Outcome::Accepted);
    assert!(person.state.trusts.confirm(place, now));

    let mut person = Person::new();
    person.place = Some(place);
    person.enrollment.devices[0].ssh_key = Some(ssh_key('k'));
    person.ssh_keys.push(ssh_key('k'));
    assert_eq!(person.login(NOON, 0), Outcome::Accepted);
    assert!(!person.state.trusts.confirm(place, now));
}

#[test]
fn what_one_device_used_is_used_of_all_with_its_secret() {
    let mut person = Person::new();
    person.enroll(device(2, "twin", 1));
    person.enroll(device(3, "other", 3));
    let step = |time: i64| Some(Step(u64::try_from(time / 30).unwrap()));
    // Whatever a command has left behind.
    person.state.devices[1].floor = step(NOON + 30);
    assert_eq!(person.login(NOON, 30), REPLAYED);
    assert_eq!(person.state.devices[0].floor, step(NOON + 30));
    assert_eq!(person.state.devices[2].floor, None);
    assert_eq!(person.login(NOON + 30, 30), Outcome::Accepted);
}

#[test]
fn two_codes_in_a_row_of_a_bound_device_are_none_without_its_key() {
    let mut person = Person::new();
    person.enrollment.devices[0].ssh_key = Some(ssh_key('k'));
    for step in 10..14 {
        assert_eq!(person.login(NOON, 30 * step), MISMATCH);
    }
    person.ssh_keys.push(ssh_key('k'));
    assert_eq!(person.login(NOON, 300), FIRST);
    assert_eq!(person.login(NOON, 330), Outcome::Accepted);
}

#[test]
fn an_invitation_is_judged_like_a_backup_code_until_it_expires_and_entitles_for_a_quarter_of_an_hour()
 {
    let invitation = BackupCode::new(&[1; BackupCode::RANDOM_BYTES]).unwrap();
    let other = BackupCode::new(&[2; BackupCode::RANDOM_BYTES]).unwrap();
    let mut person = Person::limited();
    person.enrollment.devices.clear();
    person.enrollment.invite = Some(Invite {
        set: BackupSet::of(SetId(7), [9; 16], std::slice::from_ref(&invitation)),
        expires: Time::from_unix(NOON + 60),
    });
    for (code, now) in [(&other, NOON), (&invitation, NOON + 60)] {
        let Verdict::Wrong(wrong) = person.answer_from(&home(), &code.shown(), now) else {
            panic!("invited by {} at {now}", code.shown().as_str());
        };
        assert_eq!(wrong.reason, WrongReason::Mismatch);
    }
    let before = person.state.clone();
    let typed = invitation.shown().to_lowercase();
    let Verdict::Invited(entitled) = person.answer_from(&home(), &typed, NOON + 59) else {
        panic!("not invited");
    };
    assert_eq!(
        person.state.tally,
        before.as_of(Time::from_unix(NOON + 59)).tally
    );
    assert_eq!(entitled.invite(), Some(SetId(7)));
    for (later, is_over) in [(-1, true), (0, false), (900, false), (901, true)] {
        let at = Time::from_unix(NOON + 59 + later);
        assert_eq!(entitled.is_over(at), is_over, "{later} s later");
    }
}

#[test]
fn the_backup_key_is_judged_like_a_code_and_a_backup_code_is_none() {
    let mut person = Person::limited();
    let key = BackupKey::new(&[7; BackupKey::RANDOM_BYTES]).unwrap();
    let code = BackupCode::new(&[7; BackupCode::RANDOM_BYTES]).unwrap();
    let other = BackupKey::new(&[8; BackupKey::RANDOM_BYTES]).unwrap();
    let set = BackupSet::of(SetId(1), [9; 16], std::slice::from_ref(&key));
    person.enrollment.backup_key = Some(set);
    // A state that does not know it refuses it.
    assert_eq!(person.answer(&key.shown(), NOON), MISMATCH);
    let (id, used) = (SetId(1), 0);
    person.state.sets.push(UsedCodes { id, used });
    assert_eq!(person.answer(&code.shown(), NOON), MISMATCH);
    assert_eq!(person.answer(&key.shown(), NOON), Outcome::BackupKey);
    assert_eq!(person.answer(&other.shown(), NOON), MISMATCH);
    assert_eq!(person.answer(&key.shown(), NOON), Outcome::Refused);
}

#[test]
fn an_event_token_counts_from_the_last_code_on_and_looks_ten_ahead() {
    let mut person = Person::with_token();
    for counter in [0, 1, 11, 21, 22] {
        assert_eq!(person.press(counter), Outcome::Accepted, "{counter}");
        assert_eq!(person.phone().floor, Some(Step(counter)));
        assert_eq!(person.press(counter), REPLAYED, "{counter}");
    }
    for used in [13, 21, 22] {
        assert_eq!(person.press(used), REPLAYED, "{used}");
    }
    assert_eq!(
        person.press(12),
        MISMATCH,
        "too old to be told from a guess"
    );
    assert_eq!(person.press(33), FIRST, "eleven ahead");
    assert_eq!(person.press(32), Outcome::Accepted);
    assert_eq!(person.phone().drift, 0);
}

#[test]
fn a_token_is_in_step_again_by_two_codes_in_a_row() {
    for (first, second, is_second) in [
        (99, 100, true),
        (11, 12, true),
        (50, 52, false),
        (50, 50, false),
        (51, 50, false),
    ] {
        let mut person = Person::with_token();
        assert_eq!(person.press(first), FIRST, "{first}");
        let outcome = person.press(second);
        let expected = if is_second { Outcome::Accepted } else { FIRST };
        assert_eq!(outcome, expected, "{first}, {second}");
        let floor = is_second.then_some(Step(second));
        assert_eq!(person.phone().floor, floor, "{first}, {second}");
        if is_second {
            assert_eq!(person.press(first), REPLAYED, "{first}, {second}");
        }
    }
    let mut person = Person::with_token();
    assert_eq!(person.press(100), MISMATCH, "out of reach");
    assert_eq!(person.press(101), MISMATCH);
}

#[test]
fn the_first_code_of_a_token_waits_four_minutes_for_the_second() {
    for (seconds, expected) in [(239, Outcome::Accepted), (240, FIRST)] {
        let mut person = Person::with_token();
        let codes = [40, 41].map(|counter| {
            let device = &person.enrollment.devices[0];
            device.otp.code(&device.secret, Step(counter)).to_digits()
        });
        assert_eq!(person.answer(&codes[0], NOON), FIRST);
        assert_eq!(person.answer(&codes[1], NOON + seconds), expected);
    }
}

#[test]
fn used_codes_of_a_token_resync_nothing() {
    let mut person = Person::with_token();
    for counter in 0..=20 {
        assert_eq!(person.press(counter), Outcome::Accepted);
    }
    for counter in 0..=20 {
        let outcome = person.press(counter);
        assert!([REPLAYED, MISMATCH].contains(&outcome), "{counter}");
    }
    assert_eq!(person.phone().floor, Some(Step(20)));
}

#[test]
fn a_token_whose_counter_is_not_known_takes_two_codes_however_far_it_is() {
    for (floor, at) in [(None, 0), (None, 9_998), (Some(70), 71), (Some(70), 10_069)] {
        let mut person = Person::with_token();
        person.state.devices[0].floor = floor.map(Step);
        person.state.devices[0].awaits_resync = true;
        assert_eq!(person.press(at), FIRST, "{at}");
        assert_eq!(person.press(at), FIRST, "{at}: the same again");
        assert_eq!(person.press(at + 1), Outcome::Accepted, "{at}");
        assert_eq!(
            person.press(at + 2),
            Outcome::Accepted,
            "{at}: one is enough"
        );
    }
}

#[test]
fn where_two_codes_are_needed_two_of_a_token_are_enough() {
    let mut person = Person::with_token();
    person.config.limits = Config::parse("[limits]\ndeny = 0\ndaily = 1")
        .unwrap()
        .limits;
    let other = Address::V4([198, 51, 100, 1].into());
    let _ = person.answer_from(&other, "000000", NOON);
    assert_eq!(person.press(0), FIRST);
    assert_eq!(person.press(1), Outcome::Accepted);
}

#[test]
fn tokens_of_one_secret_have_one_counter_and_one_bond() {
    let mut person = Person::with_token();
    person.enroll(Device {
        id: DeviceId(2),
        name: DeviceName::parse("twin").unwrap(),
        ..person.enrollment.devices[0].clone()
    });
    assert_eq!(person.press(5), Outcome::Accepted);
    let floors = person.state.devices.iter().map(|known| known.floor);
    assert!(floors.clone().all(|floor| floor == Some(Step(5))));
    // One that waits knows where the other is.
    person.state.devices[0].awaits_resync = true;
    assert_eq!(person.press(6), Outcome::Accepted);
    assert!(!person.state.devices[0].awaits_resync);
    person.enrollment.devices[1].ssh_key = Some(ssh_key('k'));
    assert_eq!(person.press(7), BOUND);
    person.ssh_keys.push(ssh_key('k'));
    assert_eq!(person.press(7), Outcome::Accepted);
}

#[test]
fn a_phone_and_a_token_of_one_secret_are_two_devices() {
    let mut person = Person::with_token();
    person.enroll(device(2, "phone", 1));
    assert_eq!(person.press(0), Outcome::Accepted);
    assert_eq!(person.state.devices[1].floor, None);
}

/// Somebody with a phone and the codes 00000000 to 00000009.
/// A mail address that codes are sent to.
fn with_mail(mut person: Person) -> Person {
    person.state.challenges.contacts.push(DeviceId(9));
    person.enrollment.contacts.push(Contact {
        id: DeviceId(9),
        name: DeviceName::parse("mail").unwrap(),
        recipient: Recipient::new(Channel::Mail, "alice@example.org").unwrap(),
        enrolled: Time::from_unix(NOON),
    });
    person
}

impl Person {
    /// The code that is sent for a login from an address, where one is.
    fn sent(&mut self, address: &Address, now: i64) -> Option<String> {
        struct Random;
        impl Entropy for Random {
            fn random(&self, length: usize) -> Result<Zeroizing<Vec<u8>>, String> {
                Ok((0..)
                    .take(length)
                    .map(|byte: u8| byte.wrapping_mul(7))
                    .collect::<Vec<_>>()
                    .into())
            }
        }
        let delivery = &self.config.mail;
        let begun = self.state.challenges.begin(
            (DeviceId(9), Channel::Mail),
            (Binding::of("sshd", address), true),
            (delivery.digits, delivery.pace()),
            Time::from_unix(now),
            &Random,
        );
        begun.unwrap().ok().map(|code| code.to_digits().to_string())
    }
}

#[test]
fn a_code_that_was_sent_is_good_once_and_from_where_it_was_asked_for() {
    let elsewhere = Address::V4([192, 0, 2, 2].into());
    let mut person = with_mail(Person::new());
    let code = person.sent(&home(), NOON).unwrap();
    let verdict = person.answer_from(&elsewhere, &code, NOON);
    assert!(
        matches!(verdict, Verdict::Wrong(_)),
        "sent to another place"
    );
    let Verdict::Accepted(accepted) = person.answer_from(&home(), &code, NOON) else {
        panic!("it was sent");
    };
    assert_eq!(accepted.sent_by(), Some(Channel::Mail));
    assert_eq!(accepted.devices()[0].as_str(), "mail");
    assert_eq!(person.answer(&code, NOON), MISMATCH);
}

#[test]
fn a_code_that_was_sent_dies_with_its_time_and_of_three_wrong_answers() {
    for (wrong, at, expected) in [
        (0, 59, Outcome::Accepted),
        (0, 60, MISMATCH),
        (2, 1, Outcome::Accepted),
        (3, 1, MISMATCH),
    ] {
        let mut person = with_mail(Person::new());
        let code = person.sent(&home(), NOON).unwrap();
        for guess in ["000000", "x", "AAAA-AAAA-AAAA-AAAA"]
            .into_iter()
            .take(wrong)
        {
            assert!(matches!(person.answer(guess, NOON), Outcome::Wrong(_)));
        }
        assert_eq!(person.answer(&code, NOON + at), expected, "{wrong} {at}");
    }
}

#[test]
fn wrong_answers_to_a_code_that_was_sent_are_charged_like_any() {
    let mut person = with_mail(Person::limited());
    person.enrollment.devices.clear();
    person.state.devices.clear();
    person.sent(&home(), NOON);
    for _ in 0..3 {
        assert_eq!(
            person.answer("000000", NOON),
            MISMATCH,
            "no state to repair"
        );
    }
    assert_eq!(person.answer("000000", NOON), Outcome::Refused);
}

#[test]
fn where_two_codes_are_needed_a_second_one_is_sent_after_the_first() {
    let mut person = with_mail(Person::limited());
    person.config.limits = Config::parse("[limits]\ndeny = 0\ndaily = 1")
        .unwrap()
        .limits;
    assert_eq!(person.answer("000000", NOON), MISMATCH);
    let first = person.sent(&home(), NOON + 1).unwrap();
    assert_eq!(person.answer(&first, NOON + 2), FIRST);
    assert_eq!(
        person.answer(&first, NOON + 2),
        MISMATCH,
        "it is used up, and so is its mark"
    );
    let first = person.sent(&home(), NOON + 3).unwrap();
    assert_eq!(person.answer(&first, NOON + 4), FIRST);
    let second = person
        .sent(&home(), NOON + 5)
        .expect("no waiting after a right one");
    let Verdict::Accepted(accepted) = person.answer_from(&home(), &second, NOON + 6) else {
        panic!("the second of two");
    };
    assert_eq!(
        accepted.first_at(),
        Some(Time::from_unix(NOON + 4)),
        "the charge of the first is taken back"
    );
}

#[test]
fn a_contact_that_the_state_or_the_secret_file_does_not_know_lets_nobody_in() {
    let mut person = with_mail(Person::new());
    let code = person.sent(&home(), NOON).unwrap();
    person.enrollment.contacts.clear();
    assert_eq!(person.answer(&code, NOON), MISMATCH);
    let mut person = with_mail(Person::new());
    let code = person.sent(&home(), NOON).unwrap();
    person.state.challenges.contacts.clear();
    assert_eq!(person.answer(&code, NOON), MISMATCH);
}

fn with_scratch_codes(mut person: Person) -> Person {
    let code = |index| format!("{index:08}");
    let codes: Vec<_> = (0..10)
        .filter_map(|index| ScratchCode::of(&Code::from_digits(code(index).as_bytes())?))
        .collect();
    person.enrollment.backup_codes = Some(BackupSet::of(SetId(7), [9; 16], &codes));
    let (id, used) = (SetId(7), 0);
    person.state.sets.push(UsedCodes { id, used });
    person
}

#[test]
fn a_scratch_code_of_eight_digits_is_a_backup_code() {
    let mut person = with_scratch_codes(Person::new());
    let Verdict::Accepted(accepted) = person.answer_from(&home(), "0000 0003", NOON) else {
        panic!("it was not accepted");
    };
    assert!(accepted.devices().is_empty());
    assert_eq!(accepted.backup_left(), Some(9));
    assert_eq!(person.answer("00000003", NOON), REPLAYED);
    assert_eq!(person.answer("00000010", NOON), MISMATCH);
    assert_eq!(person.answer("000003", NOON), MISMATCH);
    assert_eq!(person.answer("00000004", NOON), Outcome::Accepted);
    // Of a set that the state does not know none counts.
    person.state.sets.clear();
    assert_eq!(person.answer("00000005", NOON), MISMATCH);
}

#[test]
fn a_scratch_code_is_charged_like_any_and_none_where_two_codes_are_needed() {
    let mut person = with_scratch_codes(Person::limited());
    assert_eq!(person.answer("00000010", NOON), MISMATCH);
    assert_eq!(person.answer("00000011", NOON), MISMATCH);
    assert_eq!(person.answer("00000000", NOON), Outcome::Accepted);
    let limits = "[limits]\ndeny = 0\ndaily = 1";
    person.config.limits = Config::parse(limits).unwrap().limits;
    let other = Address::V4([198, 51, 100, 1].into());
    for _ in 0..2 {
        let verdict = person.answer_from(&other, "00000001", NOON);
        assert!(matches!(verdict, Verdict::Wrong(_)), "{verdict:?}");
    }
    assert_eq!(
        person.answer("00000001", NOON),
        Outcome::Accepted,
        "at home"
    );
}

#[test]
fn a_code_that_is_both_is_used_up_as_both() {
    let mut person = with_scratch_codes(Person::new());
    person.enrollment.devices[0].otp.digits = Digits::new(8).unwrap();
    let code = person.code(NOON);
    let scratch = ScratchCode::of(&Code::from_digits(code.as_bytes()).unwrap()).unwrap();
    person.enrollment.backup_codes = Some(BackupSet::of(SetId(7), [9; 16], &[scratch]));
    assert_eq!(person.answer(&code, NOON), Outcome::Accepted);
    assert_eq!(person.answer(&code, NOON), REPLAYED);
}

/// What somebody does with a token.
#[derive(Clone, Debug)]
enum Press {
    /// Presses it so many times for nothing, then types what it shows.
    Next(u64),
    /// Types a code from so many presses ago.
    Again(u64),
}

fn press() -> impl Strategy<Value = Press> {
    prop_oneof![
        4 => (0..4_u64).prop_map(Press::Next),
        1 => (0..200_u64).prop_map(Press::Next),
        3 => (0..40_u64).prop_map(Press::Again),
    ]
}

proptest! {
    #[test]
    fn no_code_of_a_token_is_accepted_twice_and_its_counter_never_goes_back(
        presses in prop::collection::vec(press(), 1..40),
    ) {
        let mut person = Person::with_token();
        let (mut token, mut accepted) = (0_u64, Vec::new());
        for press in presses {
            let counter = match press {
                Press::Next(skipped) => {
                    token += skipped + 1;
                    token - 1
                }
                Press::Again(back) => token.saturating_sub(back),
            };
            let before = person.phone().clone();
            let outcome = person.press(counter);
            let floor = person.phone().floor;
            prop_assert!(floor >= before.floor, "the counter went back");
            if outcome == Outcome::Accepted {
                prop_assert_eq!(floor, Some(Step(counter)));
                prop_assert!(!accepted.contains(&counter), "{} was accepted twice", counter);
                accepted.push(counter);
            } else {
                prop_assert_eq!(floor, before.floor);
                let is_near = counter >= before.next().0 && counter < before.next().0 + 10;
                prop_assert!(!is_near, "{} was refused", counter);
            }
        }
    }

    #[test]
    fn whatever_happens_no_step_is_accepted_twice_and_no_guess_is_free(
        events in prop::collection::vec(event(), 1..80),
        limited in any::<bool>(),
    ) {
        let mut person = if limited { Person::limited() } else { Person::new() };
        let (mut now, mut accepted) = (NOON, Vec::new());
        for event in events {
            let before = person.state.clone();
            let answer = match event {
                Event::Clock { seconds } => {
                    // Ages are kept for 136 years; older ones are only older.
                    now = (now + seconds).clamp(NOON - 2_000_000_000, NOON + 2_000_000_000);
                    continue;
                }
                Event::Guess(number) => format!("{number:06}"),
                Event::Login { ahead } => person.code(now + ahead),
            };
            let verdict = person.answer_from(&home(), &answer, now);
            let (floor, old_floor) = (person.phone().floor, before.devices[0].floor);
            prop_assert!(floor >= old_floor, "the floor fell");
            prop_assert!(person.phone().drift.abs() <= 10);
            let wrong = |state: &State| state.tally.places.iter().map(|p| p.wrong.len()).sum::<usize>();
            match verdict {
                Verdict::Accepted(_) => {
                    prop_assert!(!accepted.contains(&floor), "a step was accepted twice");
                    accepted.push(floor);
                    prop_assert_eq!(wrong(&person.state), 0);
                }
                Verdict::Refused(Refusal { until, .. }) => {
                    prop_assert!(limited && until > Time::from_unix(now));
                    prop_assert!(until <= Time::from_unix(now + 600), "locked for longer than promised");
                }
                Verdict::Wrong(_) if limited => {
                    let last = person.state.tally.places[0].wrong.last().copied();
                    prop_assert_eq!(last, Some(Time::from_unix(now)), "a guess was free");
                }
                Verdict::Wrong(_) => prop_assert_eq!(floor, old_floor),
                Verdict::BackupKey { .. } | Verdict::Empty | Verdict::Invited(_) => prop_assert!(false, "neither was typed"),
            }
        }
    }

    #[test]
    fn any_state_and_time_are_judged_without_a_fault(
        floor in any::<Option<u64>>(),
        drift in any::<i16>(),
        since in any::<i64>(),
        now in any::<i64>(),
        text in "\\PC{0,20}|[0-9 -]{0,12}",
        is_token in any::<bool>(),
    ) {
        let mut person = Person::limited();
        if is_token {
            person.enrollment.devices[0].otp.factor = MovingFactor::Counter;
        }
        let since = Time::from_unix(since);
        person.state.devices[0] = DeviceState {
            floor: floor.map(Step),
            drift,
            lean: Some(Lean { side: totp_core::record::state::Side::Ahead, since }),
            ..DeviceState::new(DeviceId(1), None)
        };
        let answer = Answer::new(text.into_bytes().into());
        let (source, codes) = (home().into(), Codes::One);
        let attempt = Attempt { answer: &answer, source: &source, binding: Binding(0), ssh_keys: &[], place: None, codes, now: Time::from_unix(now) };
        let limits = Limits { interval: Span::from_seconds(u32::MAX), ..Limits::default() };
        let _ = judge(&person.enrollment, person.state, &attempt, &Verify::default(), &limits);
    }
}
