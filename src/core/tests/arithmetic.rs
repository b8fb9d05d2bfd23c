//! The arithmetic of guessing: what SECURITY.md states, computed by letting somebody guess.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]

use totp_core::address::Address;
use totp_core::answer::Answer;
use totp_core::challenge::Binding;
use totp_core::config::Verify;
use totp_core::device::{Device, DeviceId, DeviceName};
use totp_core::judge::{Attempt, Verdict, judge};
use totp_core::otp::{MovingFactor, Otp, Step};
use totp_core::record::state::DeviceState;
use totp_core::record::{Enrollment, State};
use totp_core::secret::Secret;
use totp_core::throttle::{Codes, Limits, Standing, Tally};
use totp_core::time::Time;

const NOON: i64 = 1_800_000_015;
const DAY: i64 = 24 * 60 * 60;
/// Codes of six digits.
const CODES: f64 = 1e6;

struct Target {
    enrollment: Enrollment,
    state: State,
    now: i64,
}

impl Target {
    fn with_devices(devices: u8) -> Self {
        let device = |id: u8| Device {
            id: DeviceId(u64::from(id)),
            name: DeviceName::parse(&format!("device{id}")).unwrap(),
            otp: Otp::default(),
            secret: Secret::from_bytes(vec![id; Secret::NEW_BYTES].into()).unwrap(),
            enrolled: Time::from_unix(NOON),
            ssh_key: None,
            window: None,
        };
        let devices: Vec<_> = (1..=devices).map(device).collect();
        let mut state = State::new(Time::from_unix(NOON));
        let states = devices
            .iter()
            .map(|device| DeviceState::new(device.id, None));
        state.devices = states.collect();
        Self {
            enrollment: Enrollment {
                devices,
                ..Enrollment::new(1000)
            },
            state,
            now: NOON,
        }
    }

    fn with_token() -> Self {
        let mut target = Self::with_devices(1);
        target.enrollment.devices[0].otp.factor = MovingFactor::Counter;
        target.state.devices[0] = DeviceState::of(&target.enrollment.devices[0], Some(Step(1000)));
        target
    }

    fn answer(&self, address: &Address, text: &str) -> (Verdict, State) {
        let answer = Answer::new(text.as_bytes().to_vec().into());
        let attempt = Attempt {
            answer: &answer,
            source: &address.clone().into(),
            binding: Binding(0),
            ssh_keys: &[],
            place: None,
            codes: Codes::One,
            now: Time::from_unix(self.now),
        };
        let (verify, limits) = (Verify::default(), Limits::default());
        judge(
            &self.enrollment,
            self.state.clone(),
            &attempt,
            &verify,
            &limits,
        )
    }

    /// The code of a device's step so many steps from now, or from its last counter.
    fn code(&self, device: usize, offset: i32) -> String {
        let Device { otp, secret, .. } = &self.enrollment.devices[device];
        let step = match otp.period() {
            Some(period) => period.step_at(Time::from_unix(self.now)),
            None => self.state.devices[device].floor.unwrap(),
        };
        let code = otp.code(secret, step.moved(offset));
        code.to_digits().to_string()
    }

    /// How many of all codes would be accepted now.
    fn acceptable(&self) -> usize {
        // Any other code is that of a step further away, or of none.
        let steps = (0..self.enrollment.devices.len())
            .flat_map(|device| (-60..=60).map(move |offset| (device, offset)));
        let mut codes: Vec<_> = steps
            .map(|(device, offset)| self.code(device, offset))
            .collect();
        codes.sort_unstable();
        codes.dedup();
        let accepted = |code: &&String| {
            let (verdict, _) = self.answer(&Address::Local, code.as_str());
            matches!(verdict, Verdict::Accepted(_))
        };
        codes.iter().filter(accepted).count()
    }

    /// How many guesses are judged in so many days of somebody who has these addresses, knows the limits and gives
    /// each answer as soon as a single one is judged.
    fn guesses(&mut self, addresses: &[Address], days: i64) -> u32 {
        let limits = Limits::default();
        let (end, mut judged) = (self.now + days * DAY, 0);
        while self.now < end {
            for address in addresses {
                let now = Time::from_unix(self.now);
                let standing = self.state.standing(&address.clone().into(), &limits, now);
                let is_single = matches!(
                    standing,
                    Standing::Open {
                        codes: Codes::One,
                        ..
                    }
                );
                if is_single {
                    // Never right, whatever the time.
                    let (verdict, state) = self.answer(address, "guess");
                    assert!(matches!(verdict, Verdict::Wrong(_)));
                    self.state = state;
                    judged += 1;
                }
            }
            self.now += 60;
        }
        judged
    }
}

fn addresses(count: u32) -> Vec<Address> {
    let address = |n: u32| Address::V4((0xC633_0000 + n).into());
    (0..count).map(address).collect()
}

fn percent(chance: f64) -> String {
    format!("{:.2} %", chance * 100.0)
}

/// Fails where SECURITY.md says something else.
fn is_stated(figure: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../SECURITY.md");
    let security = std::fs::read_to_string(path).unwrap();
    assert!(
        security.contains(figure),
        "SECURITY.md does not say {figure}"
    );
}

#[test]
fn t05_t12_one_guess_has_three_chances_in_a_million() {
    for devices in [1, 2, 3] {
        let target = Target::with_devices(devices);
        assert_eq!(target.acceptable(), 3 * usize::from(devices));
    }
    is_stated("3 of 1,000,000");
}

#[test]
fn t05_a_token_has_ten_chances_in_a_million_and_two_guesses_a_day() {
    let mut target = Target::with_token();
    assert_eq!(target.acceptable(), 10);
    let guesses = target.guesses(&addresses(10), 10);
    assert_eq!(guesses, 2 * 10);
    is_stated("10 of 1,000,000");
    is_stated("two guesses a day");
}

#[test]
fn t05_a_guesser_has_eight_guesses_a_day_however_many_addresses() {
    for count in [1, 2, 10, 1000] {
        let judged = Target::with_devices(1).guesses(&addresses(count), 10);
        assert_eq!(judged, 8 * 10, "{count} addresses");
    }
    is_stated("8 guesses a day");
}

#[test]
fn t05_behind_the_owners_address_there_are_eight_more() {
    let home = Address::V4([192, 0, 2, 1].into());
    let mut target = Target::with_devices(1);
    let (verdict, state) = target.answer(&home, &target.code(0, 0));
    assert!(matches!(verdict, Verdict::Accepted(_)));
    target.state = state;
    let both = [addresses(100), vec![home]].concat();
    assert_eq!(target.guesses(&both, 10), 2 * 8 * 10);
}

#[test]
fn t05_more_devices_bring_no_more_chances() {
    for devices in 1..=16_u8 {
        let mut target = Target::with_devices(devices);
        let judged = target.guesses(&addresses(10), 5) / 5;
        let chances = judged * 3 * u32::from(devices);
        let most = 8 * 3;
        // Where there are more devices than guesses, one guess a day is left.
        assert!(
            chances <= most.max(3 * u32::from(devices)),
            "{devices}: {chances}"
        );
    }
    is_stated("more than 8 devices");
}

#[test]
fn t05_without_a_login_of_the_owners_from_somewhere_new_there_are_a_hundred_guesses_in_all() {
    assert_eq!(Target::with_devices(1).guesses(&addresses(10), 40), 100);
    is_stated(&percent(100.0 * 3.0 / CODES));
}

#[test]
fn t05_the_chance_of_a_year_is_below_one_percent() {
    let singles = 8.0 * 365.0 * 3.0 / CODES;
    // One try at the second of two codes for each first one that was right.
    let pairs = f64::from(Tally::MAX_STRANGE_MARKS) / CODES;
    is_stated(&percent(singles));
    is_stated(&percent(pairs));
    is_stated(&percent(singles + pairs));
    assert!(singles + pairs < 0.01);
}
