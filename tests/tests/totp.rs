//! An authenticator's codes at every kind of time.

use end_to_end::clock::{self, EPOCH};
use end_to_end::libpam::Code;
use end_to_end::phone::{Hash, Phone};
use end_to_end::product::{ACCOUNT, HOME, NO_LIMITS, Scratch};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const YEAR: i64 = 365 * 24 * HOUR;
const PERIOD: i64 = 30;

fn phone() -> Phone {
    Phone::new(Phone::SECRET)
}

/// What becomes of the code of the step `offset` steps from `now`, typed at `now`.
fn login_at(scratch: &Scratch, now: i64, offset: i64) -> Code {
    clock::set(now);
    scratch
        .login(ACCOUNT, phone().code_at(now + offset * PERIOD).as_str())
        .code
}

#[test]
fn each_hash_length_and_period_lets_its_own_code_in() {
    clock::set(EPOCH);
    for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha512] {
        for digits in [6, 7, 8] {
            for period in [15, 30, 60, 120] {
                let phone = Phone {
                    hash,
                    digits,
                    period,
                    ..phone()
                };
                let other = match hash {
                    Hash::Sha1 => Phone {
                        hash: Hash::Sha256,
                        ..phone.clone()
                    },
                    _ => Phone {
                        hash: Hash::Sha1,
                        ..phone.clone()
                    },
                };
                let scratch = Scratch::unlimited(ACCOUNT, &phone);
                let login =
                    |phone: &Phone| scratch.login(ACCOUNT, phone.code_at(EPOCH).as_str()).code;
                assert_eq!(login(&other), Code::AUTH_ERR, "{other:?} for {phone:?}");
                assert_eq!(login(&phone), Code::SUCCESS, "{phone:?}");
                assert_eq!(login(&phone), Code::AUTH_ERR, "{phone:?} again");
            }
        }
    }
}

#[test]
fn the_window_is_as_wide_as_configured() {
    for window in 0..=2 {
        let scratch = Scratch::new(&format!(
            "{NO_LIMITS}[verify]\nwindow = {window}\nmax_drift = 0\n"
        ));
        scratch.enroll(ACCOUNT, &phone());
        let mut now = EPOCH;
        for second_of_step in [0, PERIOD - 1] {
            for offset in -4..=4_i64 {
                now += HOUR;
                let expected = if offset.abs() <= window {
                    Code::SUCCESS
                } else {
                    Code::AUTH_ERR
                };
                let code = login_at(&scratch, now + second_of_step, offset);
                assert_eq!(
                    code, expected,
                    "window {window}, offset {offset}, second {second_of_step}"
                );
            }
        }
    }
}

#[test]
fn t03_an_accepted_code_burns_its_step_and_all_before_it() {
    let cases: [&[(i64, bool)]; 4] = [
        &[
            (0, true),
            (0, false),
            (-1, false),
            (1, true),
            (1, false),
            (0, false),
        ],
        &[(-1, true), (-1, false), (0, true), (0, false), (1, true)],
        &[(1, true), (0, false), (-1, false), (1, false)],
        &[(-2, false), (2, false), (0, true)],
    ];
    for steps in cases {
        let scratch = Scratch::unlimited(ACCOUNT, &phone());
        for &(offset, accepted) in steps {
            let expected = if accepted {
                Code::SUCCESS
            } else {
                Code::AUTH_ERR
            };
            assert_eq!(
                login_at(&scratch, EPOCH, offset),
                expected,
                "{offset} in {steps:?}"
            );
        }
    }
}

#[test]
fn a_used_code_stays_used_for_the_rest_of_its_window() {
    let scratch = Scratch::unlimited(ACCOUNT, &phone());
    assert_eq!(login_at(&scratch, EPOCH, 1), Code::SUCCESS);
    for later in [1, PERIOD, 2 * PERIOD, 3 * PERIOD - 1, 3 * PERIOD] {
        clock::set(EPOCH + later);
        let code = phone().code_at(EPOCH + PERIOD);
        assert_eq!(
            scratch.login(ACCOUNT, code.as_str()).code,
            Code::AUTH_ERR,
            "{later} s later"
        );
    }
}

#[test]
fn t02_another_spelling_of_a_used_code_is_used_too() {
    let scratch = Scratch::unlimited(ACCOUNT, &phone());
    assert_eq!(login_at(&scratch, EPOCH, 0), Code::SUCCESS);
    let code = phone().code_at(EPOCH);
    let (left, right) = code.split_at(3);
    for spelling in [
        format!("{left} {right}"),
        format!("{left}-{right}"),
        format!(" {code} "),
    ] {
        assert_eq!(
            scratch.login(ACCOUNT, spelling.as_str()).code,
            Code::AUTH_ERR,
            "{spelling:?}"
        );
    }
}

#[test]
fn a_wrong_clock_never_revives_a_code_and_locks_nobody_out() {
    for wrong in [
        EPOCH - HOUR,
        EPOCH + 10 * YEAR,
        0,
        -1,
        -MINUTE * 60 * 24 * 200,
    ] {
        let scratch = Scratch::new("");
        scratch.enroll(ACCOUNT, &phone());
        let now = EPOCH + 2 * PERIOD;
        assert_eq!(login_at(&scratch, EPOCH, 0), Code::SUCCESS);

        // The phone shows the true time, and an eavesdropper has what it showed before.
        clock::set(wrong);
        for overheard in [EPOCH, now] {
            let code = scratch
                .login(ACCOUNT, phone().code_at(overheard).as_str())
                .code;
            assert_eq!(code, Code::AUTH_ERR, "code of {overheard} at {wrong}");
        }

        clock::set(now);
        let replay = scratch.login_from("198.51.100.9", ACCOUNT, phone().code_at(EPOCH).as_str());
        assert_eq!(
            replay.code,
            Code::AUTH_ERR,
            "used before the clock went to {wrong}"
        );
        assert_eq!(login_at(&scratch, now, 0), Code::SUCCESS, "after {wrong}");
    }
}

#[test]
fn t09_a_clock_put_back_gives_no_old_code_a_second_life() {
    let scratch = Scratch::unlimited(ACCOUNT, &phone());
    assert_eq!(login_at(&scratch, EPOCH, 0), Code::SUCCESS);
    for back in [PERIOD, 10 * MINUTE, HOUR, 10 * YEAR, EPOCH] {
        for offset in [-1, 0, 1] {
            // The step right after the accepted one is fresh, wherever the clock stands.
            if back > PERIOD || offset < 1 {
                let code = login_at(&scratch, EPOCH - back, offset);
                assert_eq!(code, Code::AUTH_ERR, "{offset} at {back} s before");
            }
        }
    }
    assert_eq!(login_at(&scratch, EPOCH + PERIOD, 0), Code::SUCCESS);
}

#[test]
fn a_lock_made_by_a_clock_ahead_ends_soon_after_it_is_corrected() {
    let scratch = Scratch::new("");
    scratch.enroll(ACCOUNT, &phone());
    clock::set(EPOCH + 10 * YEAR);
    let wrong = phone().wrong_code_at(EPOCH);
    for _ in 0..3 {
        assert_eq!(scratch.login(ACCOUNT, wrong.as_str()).code, Code::AUTH_ERR);
    }
    let _ = login_at(&scratch, EPOCH, 0);
    assert_eq!(
        login_at(&scratch, EPOCH + 10 * MINUTE + 1, 0),
        Code::SUCCESS
    );
}

#[test]
fn two_codes_on_the_same_side_an_hour_apart_move_the_drift_by_one_step() {
    for side in [-1, 1] {
        let cases = [
            ("one code", vec![0], false),
            ("two within an hour", vec![0, HOUR - PERIOD], false),
            ("two more than an hour apart", vec![0, HOUR + PERIOD], true),
        ];
        for (name, times, learned) in cases {
            let scratch = Scratch::unlimited(ACCOUNT, &phone());
            for time in times {
                assert_eq!(
                    login_at(&scratch, EPOCH + time, side),
                    Code::SUCCESS,
                    "{name}, {side}"
                );
            }
            let expected = if learned {
                Code::SUCCESS
            } else {
                Code::AUTH_ERR
            };
            let code = login_at(&scratch, EPOCH + 3 * HOUR, 2 * side);
            assert_eq!(code, expected, "{name}, {side}");
        }
    }
}

#[test]
fn codes_on_both_sides_teach_nothing() {
    let scratch = Scratch::unlimited(ACCOUNT, &phone());
    for (hours, side) in [(0, 1), (2, -1), (4, 1), (6, 0), (8, 1)] {
        assert_eq!(
            login_at(&scratch, EPOCH + hours * HOUR, side),
            Code::SUCCESS,
            "{hours}"
        );
    }
    assert_eq!(login_at(&scratch, EPOCH + 10 * HOUR, 2), Code::AUTH_ERR);
}

#[test]
fn wrong_codes_teach_nothing() {
    let scratch = Scratch::unlimited(ACCOUNT, &phone());
    for hours in 0..6 {
        assert_eq!(
            login_at(&scratch, EPOCH + 2 * hours * HOUR, 2),
            Code::AUTH_ERR
        );
    }
    assert_eq!(login_at(&scratch, EPOCH + 20 * HOUR, 0), Code::SUCCESS);
}

#[test]
fn drift_ends_at_max_drift() {
    for (settings, most) in [
        ("max_drift = 0", 0),
        ("max_drift = 2", 2),
        ("window = 1", 10),
    ] {
        for side in [-1, 1] {
            let scratch = Scratch::new(&format!("{NO_LIMITS}[verify]\n{settings}\n"));
            scratch.enroll(ACCOUNT, &phone());
            let mut now = EPOCH;
            let mut login = |offset| {
                now += 2 * HOUR;
                login_at(&scratch, now, offset)
            };
            for drift in 1..=most + 1 {
                for _ in 0..3 {
                    assert_eq!(
                        login(side * drift),
                        Code::SUCCESS,
                        "{drift} of {most} to {side}"
                    );
                }
            }
            assert_eq!(
                login(side * (most + 2)),
                Code::AUTH_ERR,
                "beyond {most} to {side}"
            );
            assert_eq!(login(side * most), Code::SUCCESS, "still {most} to {side}");
        }
    }
}

#[test]
fn leading_zeros_are_part_of_the_code() {
    let codes = phone().codes(EPOCH, 3000);
    let step = codes
        .iter()
        .position(|code| code.starts_with("00"))
        .expect("one in a hundred");
    let code = &codes[step];
    let scratch = Scratch::unlimited(ACCOUNT, &phone());
    clock::set(EPOCH + step as i64 * PERIOD);
    for short in [&code[1..], &code[2..], &format!("0{code}")] {
        assert_eq!(
            scratch.login(ACCOUNT, short).code,
            Code::AUTH_ERR,
            "{short} for {code}"
        );
    }
    assert_eq!(
        scratch.login(ACCOUNT, code.as_str()).code,
        Code::SUCCESS,
        "{code}"
    );
}

#[test]
fn steps_beyond_32_bits_count() {
    let scratch = Scratch::unlimited(ACCOUNT, &phone());
    let late = PERIOD << 32;
    for (now, offset, expected) in [
        (late, -1, Code::SUCCESS),
        (late, 0, Code::SUCCESS),
        (late, 0, Code::AUTH_ERR),
        (late + HOUR, 0, Code::SUCCESS),
        (late, 0, Code::AUTH_ERR),
    ] {
        assert_eq!(
            login_at(&scratch, now, offset),
            expected,
            "{offset} at {now}"
        );
    }
}

#[test]
fn each_device_of_a_person_lets_in() {
    let scratch = Scratch::unlimited(ACCOUNT, &phone());
    let token = Phone {
        hash: Hash::Sha256,
        digits: 8,
        period: 60,
        ..Phone::new("MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U")
    };
    scratch.enroll_device(ACCOUNT, "token", &token);
    clock::set(EPOCH);
    for phone in [phone(), token] {
        let login = || scratch.login(ACCOUNT, phone.code_at(EPOCH).as_str()).code;
        assert_eq!(login(), Code::SUCCESS, "{phone:?}");
        assert_eq!(login(), Code::AUTH_ERR, "{phone:?} again");
    }
}

#[test]
fn a_code_that_fits_two_devices_burns_both() {
    let scratch = Scratch::unlimited(ACCOUNT, &phone());
    scratch.enroll_device(ACCOUNT, "tablet", &phone());
    assert_eq!(login_at(&scratch, EPOCH, 0), Code::SUCCESS);
    assert_eq!(login_at(&scratch, EPOCH, 0), Code::AUTH_ERR);
    assert_eq!(login_at(&scratch, EPOCH, 1), Code::SUCCESS);
    assert_eq!(login_at(&scratch, EPOCH, 1), Code::AUTH_ERR);
}

#[test]
fn a_code_of_one_person_is_of_no_use_to_another() {
    let scratch = Scratch::new("");
    let other = Phone::new("MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U");
    scratch.enroll(ACCOUNT, &phone());
    scratch.enroll("bin", &other);
    clock::set(EPOCH);
    let login = |user, phone: &Phone| {
        scratch
            .login_from(HOME, user, phone.code_at(EPOCH).as_str())
            .code
    };
    assert_eq!(login(ACCOUNT, &other), Code::AUTH_ERR);
    assert_eq!(login("bin", &phone()), Code::AUTH_ERR);
    assert_eq!(login(ACCOUNT, &phone()), Code::SUCCESS);
    assert_eq!(login("bin", &other), Code::SUCCESS);
}
