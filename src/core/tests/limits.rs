//! The limits on wrong answers, each as a sequence of answers from addresses. Two codes in a row.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic
)]

use totp_core::address::{Address, TtyName};
use totp_core::answer::Answer;
use totp_core::backup_code::{BackupCode, BackupSet, SetId, UsedCodes};
use totp_core::challenge::Binding;
use totp_core::config::Config;
use totp_core::device::{Device, DeviceId, DeviceName};
use totp_core::judge::{Attempt, Verdict, WrongReason, judge};
use totp_core::otp::Otp;
use totp_core::record::state::DeviceState;
use totp_core::record::{Enrollment, State};
use totp_core::repair::{OutOfStep, resync};
use totp_core::secret::Secret;
use totp_core::throttle::{Codes, Limits, Place, Source, Standing, Tally};
use totp_core::time::Time;

const NOON: i64 = 1_800_000_015;
const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

struct Person {
    enrollment: Enrollment,
    state: State,
    config: Config,
    now: i64,
}

/// What came of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Accepted,
    /// By the second of two codes.
    Second,
    Refused,
    Wrong,
    /// Wrong, and two codes were needed.
    WrongOfTwo,
}

use Outcome::{Accepted, Refused, Second, Wrong, WrongOfTwo};

impl Person {
    fn new(settings: &str) -> Self {
        let mut person = Self {
            enrollment: Enrollment::new(1000),
            state: State::new(Time::from_unix(NOON)),
            config: Config::parse(settings).unwrap(),
            now: NOON,
        };
        person.enroll(1);
        person
    }

    fn enroll(&mut self, id: u8) {
        self.enrollment.devices.push(Device {
            id: DeviceId(u64::from(id)),
            name: DeviceName::parse(&format!("phone{id}")).unwrap(),
            otp: Otp::default(),
            secret: Secret::from_bytes(vec![id; Secret::NEW_BYTES].into()).unwrap(),
            enrolled: Time::from_unix(NOON),
            ssh_key: None,
            window: None,
        });
        let device = DeviceState::new(DeviceId(u64::from(id)), None);
        self.state.devices.push(device);
    }

    fn code(&self, ahead: i64) -> String {
        let Device { otp, secret, .. } = &self.enrollment.devices[0];
        let step = otp
            .period()
            .unwrap()
            .step_at(Time::from_unix(self.now + ahead));
        otp.code(secret, step).to_digits().to_string()
    }

    fn answer(&mut self, address: &Address, text: &str) -> Outcome {
        match self.verdict(address, text) {
            Verdict::Accepted(accepted) if accepted.first_at().is_some() => Second,
            Verdict::Accepted(_) => Accepted,
            Verdict::Refused(_) => Refused,
            Verdict::Wrong(wrong) => match wrong.codes {
                Codes::One => Wrong,
                Codes::Two => WrongOfTwo,
            },
            Verdict::BackupKey { .. } | Verdict::Empty | Verdict::Invited(_) => {
                panic!("neither was typed")
            }
        }
    }

    fn verdict(&mut self, address: &Address, text: &str) -> Verdict {
        let answer = Answer::new(text.as_bytes().to_vec().into());
        let attempt = Attempt {
            answer: &answer,
            source: &self.config.source(address),
            binding: Binding(0),
            ssh_keys: &[],
            place: None,
            codes: Codes::One,
            now: Time::from_unix(self.now),
        };
        let (verdict, state) = judge(
            &self.enrollment,
            self.state.clone(),
            &attempt,
            &self.config.verify,
            &self.config.limits,
        );
        let record = state.encode();
        assert!(record.len() <= State::MAX_BYTES, "{} bytes", record.len());
        self.state = State::decode(&record).unwrap();
        assert_eq!(self.state, state, "what is saved is what was decided");
        verdict
    }

    fn guess(&mut self, address: &Address) -> Outcome {
        self.answer(address, "000000")
    }

    fn login(&mut self, address: &Address) -> Outcome {
        let code = self.code(0);
        self.answer(address, &code)
    }

    /// What root makes of two codes of the phone, the second given half a minute later.
    fn resync(&self, codes: &[impl AsRef<str>; 2]) -> Result<State, OutOfStep> {
        let answers = codes.each_ref().map(|code| {
            let typed = code.as_ref().as_bytes().to_vec();
            Answer::new(typed.into())
        });
        let [first, second] = &answers;
        let [at, later] = [0, 30].map(|later| Time::from_unix(self.now + later));
        resync(
            &self.enrollment,
            self.state.clone(),
            &self.enrollment.devices[0].name,
            [(first, at), (second, later)],
            &self.config.verify,
            later,
        )
    }

    /// One wrong answer from each of so many addresses that were never seen before.
    fn spray(&mut self, count: u32) {
        for _ in 0..count {
            let fresh = Address::V4((0xC633_0000 + self.seen()).into());
            self.guess(&fresh);
        }
    }

    /// A number that no address of `spray` had.
    fn seen(&self) -> u32 {
        self.state.tally.pools.first().map_or(0, |pool| pool.total)
    }

    fn codes_at(&self, address: &Address) -> Codes {
        let now = Time::from_unix(self.now);
        let source = self.config.source(address);
        match self.state.standing(&source, &self.config.limits, now) {
            Standing::Open { codes, .. } => codes,
            Standing::Refused(_) => panic!("{address} is refused"),
        }
    }
}

fn home() -> Address {
    Address::V4([192, 0, 2, 1].into())
}

fn hotel() -> Address {
    Address::V4([203, 0, 113, 9].into())
}

fn console() -> Address {
    Address::Tty(TtyName::console("tty1").unwrap())
}

#[test]
fn eight_wrong_answers_from_anywhere_new_ask_for_two_codes_everywhere_new() {
    let mut person = Person::new("");
    assert_eq!(person.login(&home()), Accepted);
    person.spray(7);
    assert_eq!(person.codes_at(&hotel()), Codes::One);
    person.spray(1);
    assert_eq!(person.codes_at(&hotel()), Codes::Two);
    assert_eq!(person.codes_at(&home()), Codes::One, "the usual place");
    assert_eq!(person.codes_at(&console()), Codes::One, "a console");
    person.now += 30;
    assert_eq!(person.login(&hotel()), WrongOfTwo, "one code is not enough");
    assert_eq!(person.login(&home()), Accepted);
}

#[test]
fn two_codes_in_a_row_get_in_and_make_the_place_a_usual_one() {
    let mut person = Person::new("");
    person.spray(20);
    assert_eq!(person.login(&hotel()), WrongOfTwo);
    let counted = person.state.tally.pools[0].daily.len();
    person.now += 30;
    assert_eq!(person.login(&hotel()), Second);
    assert_eq!(
        person.state.tally.pools[0].daily.len() + 1,
        counted,
        "the first code counts no more"
    );
    person.now += 30;
    assert_eq!(person.login(&hotel()), Accepted);
}

#[test]
fn both_codes_are_used_up() {
    let mut person = Person::new("");
    person.spray(8);
    let (first, second) = (person.code(0), person.code(30));
    assert_eq!(person.answer(&hotel(), &first), WrongOfTwo);
    assert_eq!(person.answer(&hotel(), &second), Second);
    for code in [first, second] {
        assert_eq!(person.answer(&home(), &code), WrongOfTwo);
        assert_eq!(person.answer(&hotel(), &code), Wrong);
    }
}

#[test]
fn the_second_code_is_the_next_one_from_the_same_place_in_two_periods() {
    for (ahead, from, later, expected) in [
        (30, hotel(), 0, Second),
        (30, hotel(), 59, Second),
        (30, hotel(), 60, WrongOfTwo),
        (0, hotel(), 0, WrongOfTwo),
        (60, hotel(), 0, WrongOfTwo),
        (-30, hotel(), 0, WrongOfTwo),
        (30, home(), 0, WrongOfTwo),
    ] {
        let mut person = Person::new("");
        person.spray(8);
        let (first, second) = (person.code(0), person.code(ahead));
        assert_eq!(person.answer(&hotel(), &first), WrongOfTwo);
        person.now += later;
        let outcome = person.answer(&from, &second);
        assert_eq!(
            outcome, expected,
            "{ahead} s ahead from {from} {later} s later"
        );
    }
}

#[test]
fn a_wrong_second_code_takes_the_first_with_it() {
    let mut person = Person::new("");
    person.spray(8);
    assert_eq!(person.login(&hotel()), WrongOfTwo);
    assert_eq!(person.guess(&hotel()), WrongOfTwo);
    let second = person.code(30);
    let Verdict::Wrong(wrong) = person.verdict(&hotel(), &second) else {
        panic!("accepted without a first one");
    };
    assert_eq!(wrong.reason, WrongReason::First, "it begins anew");
}

#[test]
fn a_first_code_that_locks_does_not_keep_the_second_out() {
    let mut person = Person::new("[limits]\ndeny = 1");
    person.spray(8);
    assert_eq!(person.login(&hotel()), WrongOfTwo);
    person.now += 30;
    assert_eq!(person.login(&hotel()), Second);
    // But a wrong one does.
    person.now += 30;
    assert_eq!(person.guess(&home()), WrongOfTwo);
    assert_eq!(person.login(&home()), Refused);
}

#[test]
fn nobody_is_told_that_the_first_code_was_right() {
    let told = |text: Option<&str>| {
        let mut person = Person::new("");
        person.spray(8);
        let text = text.map_or(person.code(0), str::to_owned);
        match person.verdict(&hotel(), &text) {
            Verdict::Wrong(wrong) => (wrong.codes, wrong.standing),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told(None), told(Some("000000")));
    assert_eq!(told(None), told(Some("no code")));
}

#[test]
fn a_phone_that_is_minutes_off_is_set_right_by_two_codes_anywhere() {
    for minutes in [-10, -3, 3, 10] {
        let mut person = Person::new("");
        let ahead = minutes * MINUTE;
        let first = person.code(ahead);
        assert_eq!(person.answer(&home(), &first), Wrong);
        person.now += 30;
        let second = person.code(ahead);
        assert_eq!(person.answer(&home(), &second), Second, "{minutes} minutes");
        assert_eq!(i64::from(person.state.devices[0].drift), ahead / 30);
        person.now += 30;
        let next = person.code(ahead);
        assert_eq!(person.answer(&home(), &next), Accepted);
    }
    for ahead in [-630, 630] {
        let mut person = Person::new("");
        for expected in [Wrong, Wrong] {
            let code = person.code(ahead);
            assert_eq!(person.answer(&home(), &code), expected, "beyond the range");
            person.now += 30;
        }
    }
}

#[test]
fn used_codes_set_nothing_right() {
    let mut person = Person::new("");
    let (first, second) = (person.code(0), person.code(30));
    person.now += 30;
    assert_eq!(person.login(&home()), Accepted);
    person.now += 5 * MINUTE;
    assert_eq!(person.answer(&home(), &first), Wrong);
    assert_eq!(person.answer(&home(), &second), Wrong);
    assert_eq!(person.state.devices[0].drift, 0);
}

#[test]
fn a_first_code_does_not_wait_for_a_clock_that_goes_back() {
    let mut person = Person::new("");
    let (first, second) = (person.code(3 * MINUTE), person.code(3 * MINUTE + 30));
    assert_eq!(person.answer(&home(), &first), Wrong);
    person.now -= 5 * MINUTE;
    assert_eq!(person.answer(&home(), &second), Wrong, "a first one again");
    assert_eq!(person.state.devices[0].drift, 0, "it was our clock");
}

#[test]
fn an_exempt_place_takes_back_what_is_its_own() {
    let mut person = Person::new("[limits]\nexempt = ['10.0.0.0/8']");
    let exempt = Address::named("10.0.0.1").unwrap();
    // The second time the place is familiar.
    for ahead in [9 * MINUTE, 4 * MINUTE] {
        person.spray(1);
        let stranger = person.code(ahead - MINUTE);
        assert_eq!(person.answer(&hotel(), &stranger), Wrong);
        let before = person.state.tally.pools.clone();
        let codes = [0, 30].map(|later| person.code(ahead + later));
        assert_eq!(person.answer(&exempt, &codes[0]), Wrong);
        assert_eq!(person.answer(&exempt, &codes[1]), Second);
        let after = &person.state.tally.pools;
        assert_eq!(after[0].daily, before[0].daily);
        assert_eq!(after[0].marks, before[0].marks);
        person.now += 10 * MINUTE;
    }
}

#[test]
fn a_mark_of_a_place_that_is_familiar_no_longer_is_a_strangers() {
    for exempt in ["", "exempt = ['192.0.2.0/24']"] {
        let mut person = Person::new(&format!("[limits]\nfamiliar_for = '1m'\n{exempt}"));
        assert_eq!(person.login(&home()), Accepted);
        person.now += 45;
        let first = person.code(5 * MINUTE);
        assert_eq!(person.answer(&home(), &first), Wrong);
        person.now += 15;
        assert_eq!(person.guess(&hotel()), Wrong);
        assert_eq!(person.state.tally.pools[0].marks, 1);
        let second = person.code(5 * MINUTE + 30);
        assert_eq!(person.answer(&home(), &second), Second);
        assert_eq!(person.state.tally.pools[0].marks, 0);
    }
    // One that was a stranger's from the start is one and not two.
    let mut person = Person::new("[limits]\nfamiliar_for = '1m'\nexempt = ['192.0.2.0/24']");
    assert_eq!(person.login(&home()), Accepted);
    person.now += 60;
    let first = person.code(5 * MINUTE);
    assert_eq!(person.answer(&home(), &first), Wrong);
    assert_eq!(person.guess(&hotel()), Wrong);
    assert_eq!(person.state.tally.pools[0].marks, 1);
}

#[test]
fn a_place_that_is_familiar_no_longer_counts_with_all_such_at_once() {
    let mut person = Person::new("[limits]\ndeny = 0\nfamiliar_for = '1h'");
    assert_eq!(person.login(&home()), Accepted);
    for _ in 0..8 {
        person.guess(&home());
    }
    assert_eq!(person.codes_at(&hotel()), Codes::One);
    person.now += 60 * MINUTE;
    assert_eq!(person.codes_at(&hotel()), Codes::Two);
    assert_eq!(person.codes_at(&home()), Codes::Two);
    assert_eq!(person.guess(&hotel()), WrongOfTwo);
}

#[test]
fn the_day_slides_and_a_success_does_not_clear_it() {
    let mut person = Person::new("");
    person.spray(4);
    person.now += DAY / 2;
    person.spray(4);
    assert_eq!(person.login(&hotel()), WrongOfTwo);
    assert_eq!(person.answer(&hotel(), &person.code(30)), Second);
    assert_eq!(person.codes_at(&home()), Codes::Two, "a success elsewhere");
    person.now += DAY / 2 - 1;
    assert_eq!(person.codes_at(&home()), Codes::Two);
    person.now += 1;
    assert_eq!(
        person.codes_at(&home()),
        Codes::One,
        "the first four are a day old"
    );
    person.spray(4);
    assert_eq!(person.codes_at(&home()), Codes::Two);
}

#[test]
fn each_usual_place_has_a_day_of_its_own() {
    let mut person = Person::new("");
    assert_eq!(person.login(&home()), Accepted);
    person.now += 30;
    assert_eq!(person.login(&hotel()), Accepted);
    for wrong in 0..8 {
        assert_eq!(person.codes_at(&home()), Codes::One, "after {wrong}");
        assert_eq!(person.guess(&home()), Wrong);
        person.now += 15 * MINUTE;
    }
    assert_eq!(person.codes_at(&home()), Codes::Two);
    assert_eq!(person.codes_at(&hotel()), Codes::One);
    assert_eq!(person.codes_at(&Address::Uid(1000)), Codes::One);
    assert_eq!(person.login(&home()), WrongOfTwo);
    assert_eq!(person.login(&hotel()), Accepted);
}

#[test]
fn a_console_is_usual_and_has_a_day_of_its_own() {
    let mut person = Person::new("");
    for _ in 0..8 {
        assert_eq!(person.guess(&console()), Wrong);
        person.now += 15 * MINUTE;
    }
    assert_eq!(person.codes_at(&console()), Codes::Two);
    let other = Address::Tty(TtyName::console("tty2").unwrap());
    assert_eq!(person.codes_at(&other), Codes::One);
    assert_eq!(person.codes_at(&hotel()), Codes::One);
}

#[test]
fn the_day_is_divided_among_devices_and_never_empty() {
    for (devices, allowed) in [(1, 8), (2, 4), (3, 2), (8, 1), (16, 1)] {
        let mut person = Person::new("");
        for id in 2..=devices {
            person.enroll(id);
        }
        person.spray(allowed - 1);
        assert_eq!(person.codes_at(&hotel()), Codes::One, "{devices} devices");
        person.spray(1);
        assert_eq!(person.codes_at(&hotel()), Codes::Two, "{devices} devices");
    }
}

#[test]
fn a_hundred_wrong_answers_ask_for_two_codes_until_a_login_from_somewhere_new() {
    let mut person = Person::new("");
    assert_eq!(person.login(&home()), Accepted);
    for _ in 0..100 {
        assert_eq!(person.codes_at(&hotel()), Codes::One);
        person.spray(1);
        person.now += DAY / 4;
    }
    person.now += 2 * DAY;
    assert_eq!(person.codes_at(&hotel()), Codes::Two);
    assert_eq!(person.login(&home()), Accepted, "25 days later");
    assert_eq!(
        person.codes_at(&hotel()),
        Codes::Two,
        "home says nothing of others"
    );
    person.now += 30;
    assert_eq!(person.login(&hotel()), WrongOfTwo);
    person.now += 30;
    assert_eq!(person.login(&hotel()), Second);
    assert_eq!(person.codes_at(&Address::Uid(7)), Codes::One);
}

#[test]
fn unlocking_forgets_wrong_answers_and_keeps_what_is_usual() {
    let mut person = Person::new("");
    assert_eq!(person.login(&home()), Accepted);
    for _ in 0..3 {
        person.guess(&home());
    }
    person.spray(120);
    person.state.tally.forgive();
    person.now += 30;
    assert_eq!(person.codes_at(&hotel()), Codes::One);
    assert_eq!(person.codes_at(&home()), Codes::One);
    person.spray(8);
    assert_eq!(person.login(&home()), Accepted, "still a usual place");
}

#[test]
fn what_is_usual_ends_after_thirty_days_without_a_login() {
    let mut person = Person::new("");
    assert_eq!(person.login(&home()), Accepted);
    for days in [29, 29, 30] {
        person.now += days * DAY;
        person.spray(8);
        let expected = if days == 30 { Codes::Two } else { Codes::One };
        assert_eq!(person.codes_at(&home()), expected);
        person.login(&home());
    }
}

#[test]
fn a_usual_place_has_one_entry_however_often_somebody_comes_from_it() {
    let mut person = Person::new("");
    for _ in 0..3 {
        assert_eq!(person.login(&home()), Accepted);
        person.guess(&home());
        assert_eq!(person.state.tally.places.len(), 1);
        person.now += MINUTE;
    }
}

#[test]
fn a_usual_place_that_was_forgotten_takes_its_wrong_answers_along() {
    let mut person = Person::new("[limits]\nfamiliar_for = \"1h\"");
    assert_eq!(person.login(&home()), Accepted);
    person.now += 50 * MINUTE;
    person.guess(&home());
    person.now += 10 * MINUTE;
    person.spray(6);
    assert_eq!(person.codes_at(&hotel()), Codes::One);
    person.spray(1);
    assert_eq!(person.codes_at(&hotel()), Codes::Two, "seven and that one");
}

#[test]
fn what_is_usual_in_the_future_is_not_and_its_wrong_answers_count_with_all_others() {
    let mut person = Person::new("");
    assert_eq!(person.login(&home()), Accepted);
    person.guess(&home());
    person.now -= DAY;
    person.spray(6);
    assert_eq!(person.codes_at(&hotel()), Codes::One);
    person.spray(1);
    assert_eq!(person.codes_at(&home()), Codes::Two);
}

#[test]
fn the_record_can_be_read_after_many_usual_places_ended_at_once() {
    let mut person = Person::new("[limits]\ndeny = 0\ndaily = 32");
    for place in 1..=3 {
        person.now += MINUTE;
        let usual = Address::V4([198, 51, 100, place].into());
        assert_eq!(person.login(&usual), Accepted);
        for _ in 0..32 {
            person.guess(&usual);
        }
    }
    person.now -= DAY;
    assert!(matches!(person.verdict(&home(), ""), Verdict::Empty));
    assert_eq!(person.guess(&home()), WrongOfTwo);
}

#[test]
fn root_sets_a_phone_right_whatever_strangers_did_and_gives_no_place_more_time() {
    let mut person = Person::new("");
    assert_eq!(person.login(&home()), Accepted);
    person.now -= 5 * MINUTE;
    let codes = [330, 360].map(|ahead| person.code(ahead));
    // Who can't get in has tried it before.
    assert_eq!(person.answer(&home(), &codes[0]), Wrong);
    person.state.tally.pools[0].marks = Tally::MAX_STRANGE_MARKS;
    let state = person.resync(&codes).unwrap();
    assert_eq!(state.devices[0].drift, 11);
    let read = State::decode(&state.encode()).unwrap();
    let source = person.config.source(&home());
    assert!(
        !read
            .tally
            .is_familiar(&source, &person.config.limits, read.saved)
    );
}

#[test]
fn a_resync_leaves_the_other_devices_as_somebody_used_them_meanwhile() {
    let mut person = Person::new("");
    person.enroll(2);
    let used = Time::from_unix(NOON + 20);
    person.state.saved = used;
    person.state.devices[1].last_used = Some(used);
    let codes = [330, 360].map(|ahead| person.code(ahead));
    let state = person.resync(&codes).unwrap();
    assert_eq!(state.devices[0].drift, 11);
    assert_eq!(state.devices[1], person.state.devices[1]);
}

#[test]
fn a_backup_code_sets_nothing_right() {
    let mut person = Person::new("");
    let backup = BackupCode::new(&[7; BackupCode::RANDOM_BYTES]).unwrap();
    let set = BackupSet::of(SetId(1), [9; 16], std::slice::from_ref(&backup));
    person.enrollment.backup_codes = Some(set);
    let (id, used) = (SetId(1), 0);
    person.state.sets.push(UsedCodes { id, used });
    let [first, second] = [330, 360].map(|ahead| person.code(ahead));
    let backup = backup.shown().to_string();
    for codes in [[&backup, &first], [&first, &backup]] {
        assert!(person.resync(&codes).is_err(), "{codes:?}");
    }
    assert!(person.resync(&[&first, &second]).is_ok());
    assert_eq!(person.answer(&home(), &backup), Accepted);
}

#[test]
fn limits_that_are_turned_off_hold_for_nobody() {
    let mut person = Person::new("[limits]\ndaily = 0\nuser_limit = 0");
    person.spray(1000);
    assert_eq!(person.codes_at(&Address::Uid(7)), Codes::One);
    let mut person = Person::new("[limits]\nexempt = [\"192.0.2.0/24\"]");
    for _ in 0..200 {
        assert_eq!(person.guess(&home()), Wrong);
    }
    assert_eq!(person.codes_at(&hotel()), Codes::One, "nothing was counted");
    assert_eq!(person.login(&home()), Accepted);
}

#[test]
fn whatever_strangers_do_the_owner_gets_in_from_the_usual_place_and_the_console_and_by_two_codes() {
    let mut person = Person::new("");
    assert_eq!(person.login(&home()), Accepted);
    for _ in 0..5 {
        person.now += 5 * MINUTE;
        person.spray(300);
        for uid in 2000..2100 {
            person.guess(&Address::Uid(uid));
        }
        assert_eq!(person.login(&home()), Accepted);
        person.now += 30;
        assert_eq!(person.login(&console()), Accepted);
        let new = Address::V6(person.now.to_be_bytes());
        person.now += 30;
        assert_eq!(person.login(&new), WrongOfTwo);
        person.spray(300);
        person.now += 30;
        assert_eq!(person.login(&new), Second);
    }
}

#[test]
fn no_place_gets_more_than_its_three_however_full_the_record_is() {
    let mut person = Person::new("[limits]\ndaily = 0\nuser_limit = 0");
    let mut judged = 0;
    for round in 0..3 {
        for last in 0..250 {
            let address = Address::V4([198, 51, 100, last].into());
            judged += usize::from(person.guess(&address) == Wrong);
        }
        person.now += round;
    }
    let own = person.state.tally.places.len();
    assert!(judged <= own * 3 + 250, "{judged} judged in {own} places");
    for last in 0..250 {
        let address = Address::V4([198, 51, 100, last].into());
        assert_eq!(person.guess(&address), Refused, "{last}");
    }
    assert_eq!(person.guess(&console()), Wrong);
}

#[test]
fn marks_for_strangers_end_before_they_are_worth_a_guess() {
    let mut person = Person::new("");
    person.spray(8);
    for mark in 0..Tally::MAX_STRANGE_MARKS {
        let fresh = Address::V6(u64::from(mark).to_be_bytes());
        assert_eq!(person.login(&fresh), WrongOfTwo);
        person.now += 90;
        // What the owner finishes is no mark, and frees none.
        if mark % 100 == 0 {
            let new = Address::V6((u64::from(mark) << 32).to_le_bytes());
            assert_eq!(person.login(&new), WrongOfTwo);
            person.now += 30;
            assert_eq!(person.login(&new), Second);
            person.now += 30;
            person.spray(8);
        }
    }
    person.now += 30;
    assert_eq!(person.login(&hotel()), WrongOfTwo);
    person.now += 30;
    assert_eq!(person.login(&hotel()), WrongOfTwo, "no mark was left");
    assert_eq!(person.login(&console()), Accepted);
    person.state.tally.forgive();
    person.now += 30;
    assert_eq!(person.login(&hotel()), Accepted);
}

#[test]
fn usual_places_are_few_and_the_least_recent_one_goes() {
    let mut person = Person::new("");
    let place = |n: u8| Address::V4([10, 0, 0, n].into());
    for n in 0..20 {
        assert_eq!(person.login(&place(n)), Accepted);
        person.now += 30;
    }
    let familiar = |place: &&Place| place.accepted.is_some();
    let count = person.state.tally.places.iter().filter(familiar).count();
    assert_eq!(count, Tally::MAX_FAMILIAR);
    let limits = Limits::default();
    for n in 0..20 {
        let source = Source::from(place(n));
        let now = Time::from_unix(person.now);
        let is_familiar = person.state.tally.is_familiar(&source, &limits, now);
        assert_eq!(is_familiar, n >= 4, "{n}");
    }
}

#[test]
fn t19_the_record_fits_whatever_the_limits_are() {
    for (deny, daily) in [(1, 1), (3, 8), (32, 32), (32, 1), (1, 32)] {
        let settings = format!("[limits]\ndeny = {deny}\ndaily = {daily}");
        let mut person = Person::new(&settings);
        for n in 0..24 {
            person.login(&Address::V4([10, 0, 0, n].into()));
            person.now += 30;
        }
        for round in 0..8_u32 {
            for n in 0..60 {
                person.guess(&Address::V4([10, 0, (round % 3) as u8, n].into()));
                person.guess(&Address::Uid(u32::from(n)));
                person.guess(&Address::V6(u64::from(n).to_le_bytes()));
                let tty = format!("tty{}", n % 20);
                person.guess(&Address::Tty(TtyName::console(&tty).unwrap()));
            }
            person.now += MINUTE;
        }
    }
}
