//! Logins at the same moment as a command that changes what they are judged by.

use std::{env, thread};

use end_to_end::clock::{self, EPOCH};
use end_to_end::crowd::{Crowd, Ended};
use end_to_end::libpam::Code;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, HOME, NO_LIMITS, Scratch};
use end_to_end::secret;

const ROUNDS: i64 = 60;
/// Seconds between two rounds.
const ROUND: i64 = 120;
/// What is said where an enrollment ended during a login.
const OUT_OF_ORDER: &str =
    "The verification code can't be checked at the moment. Please tell your administrator.";

/// Somebody with a phone that a command leaves alone, and a tablet that it may not. Some are at their prompts when the
/// command starts and answer while it runs; others are, and answer when it has returned.
struct Case {
    scratch: Scratch,
    phone: Phone,
    tablet: Phone,
    early: Crowd,
    late: Crowd,
    round: i64,
}

/// How the logins of a round ended, with what each has typed.
struct Round {
    early: Vec<(String, Ended)>,
    late: Vec<(String, Ended)>,
}

impl Round {
    /// How often a code was accepted while the command ran, and after it.
    fn accepted(&self, code: &str) -> (usize, usize) {
        let count = |logins: &[(String, Ended)]| {
            let accepted =
                |(typed, ended): &&(String, Ended)| typed == code && ended.code == Code::SUCCESS;
            logins.iter().filter(accepted).count()
        };
        (count(&self.early), count(&self.late))
    }

    fn all(&self) -> impl Iterator<Item = &(String, Ended)> {
        self.early.iter().chain(&self.late)
    }

    /// A code of a device that stays gets one in.
    #[track_caller]
    fn assert_once(&self, code: &str) {
        let (early, late) = self.accepted(code);
        assert_eq!(early + late, 1, "{self}");
    }

    /// What the command ended gets in at most once, and not after it.
    #[track_caller]
    fn assert_only_before(&self, code: &str) {
        let (early, late) = self.accepted(code);
        assert!(early <= 1 && late == 0, "{self}");
    }

    /// Everybody was judged, and told so.
    #[track_caller]
    fn assert_judged(&self) {
        let is_judged = |ended: &Ended| ended.code == Code::SUCCESS || ended.is_wrong();
        assert!(self.all().all(|(_, ended)| is_judged(ended)), "{self}");
    }

    /// Everybody was judged, or told that there is nothing to be judged by any more.
    #[track_caller]
    fn assert_judged_or_ended(&self) {
        for (_, ended) in self.all() {
            let has_ended = ended.code == Code::AUTH_ERR && ended.told == OUT_OF_ORDER;
            let is_judged = ended.code == Code::SUCCESS || ended.is_wrong();
            assert!(is_judged || has_ended, "{self}");
        }
    }
}

impl std::fmt::Display for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "early {:?}\nlate {:?}", self.early, self.late)
    }
}

impl Case {
    fn new() -> Self {
        // Saves take their time on a disk, and that is when a command comes in between.
        let scratch = Scratch::on(&env::temp_dir(), NO_LIMITS);
        let (phone, tablet) = (Phone::new(&secret::fresh()), Phone::new(&secret::fresh()));
        scratch.enroll_device(ACCOUNT, "phone", &phone);
        scratch.enroll_device(ACCOUNT, "tablet", &tablet);
        let contender = env!("CARGO_BIN_EXE_contender").as_ref();
        let early = Crowd::new(contender, &scratch, [ACCOUNT; 12]);
        let late = Crowd::with_gate(contender, &scratch, "late gate", [ACCOUNT; 6]);
        Self {
            scratch,
            phone,
            tablet,
            early,
            late,
            round: 0,
        }
    }

    /// The codes of this round: the phone's, the tablet's, and one of the phone's that was used.
    fn codes(&mut self) -> [String; 3] {
        self.round += 1;
        let now = EPOCH + self.round * ROUND;
        let codes = [&self.phone, &self.tablet].map(|device| device.code_at(now));
        let stale = self.phone.code_at(now - 30);
        clock::set(now);
        let used = self.scratch.login(ACCOUNT, stale.as_str());
        assert_eq!(used.code, Code::SUCCESS);
        let [phone, tablet] = codes;
        [phone, tablet, stale]
    }

    /// A phone that by no chance has one of this round's codes too: two in a million do, and there are many rounds.
    fn new_phone(&self, codes: &[&String]) -> Phone {
        let now = EPOCH + self.round * ROUND;
        loop {
            let new = Phone::new(&secret::fresh());
            let own = new.codes(now - 60, 4);
            if !codes.iter().any(|code| own.contains(code)) {
                return new;
            }
        }
    }

    /// Everybody types one of `answers` while `command` runs, and others when it has returned.
    fn race(&mut self, answers: &[&str], command: impl FnOnce(&Scratch)) -> Round {
        let now = EPOCH + self.round * ROUND;
        // Whose turn comes first is another's in each round.
        let turn = self.round as usize;
        let typed = |count| {
            let answers = answers.iter().cycle().skip(turn).take(count);
            answers
                .map(|answer| (*answer).to_owned())
                .collect::<Vec<_>>()
        };
        let (first, then) = (typed(12), typed(6));
        let (early, scratch) = (&mut self.early, &self.scratch);
        let (mut ended_early, mut ended_late) = (Vec::new(), Vec::new());
        let place = ["inside", "outside"][turn % 2];
        thread::scope(|threads| {
            let mut rush = None;
            let rush_early = || early.rush(place, now, HOME, first.iter().map(String::as_str));
            let between = || {
                rush = Some(threads.spawn(rush_early));
                command(scratch);
            };
            let answers = then.iter().map(String::as_str);
            ended_late = self.late.rush_after("inside", now, HOME, answers, between);
            let rush = rush.expect("a thread");
            ended_early = rush.join().expect("it ends");
        });
        Round {
            early: first.into_iter().zip(ended_early).collect(),
            late: then.into_iter().zip(ended_late).collect(),
        }
    }

    /// Whether a code of the step after this round's gets in.
    fn lets_in(&self, device: &Phone) -> bool {
        let now = EPOCH + self.round * ROUND + 30;
        clock::set(now);
        self.scratch
            .login(ACCOUNT, device.code_at(now).as_str())
            .code
            == Code::SUCCESS
    }
}

#[track_caller]
fn run(scratch: &Scratch, words: &[&str]) {
    feed(scratch, words, "");
}

#[track_caller]
fn feed(scratch: &Scratch, words: &[&str], input: &str) {
    let output = scratch.totpctl(words, input);
    assert!(output.status.success(), "{words:?}: {output:?}");
}

/// Races a command that ends nothing: `command` gets the number of the round.
fn assert_harmless(command: impl Fn(&Scratch, i64)) {
    let mut case = Case::new();
    for round in 0..ROUNDS {
        let [phone, tablet, stale] = case.codes();
        let logins = case.race(&[&phone, &tablet, &stale], |scratch| {
            command(scratch, round)
        });
        logins.assert_once(&phone);
        logins.assert_once(&tablet);
        assert_eq!(logins.accepted(&stale), (0, 0), "{logins}");
        logins.assert_judged();
        assert!(case.lets_in(&case.phone) && case.lets_in(&case.tablet));
    }
}

#[test]
fn a_third_device_enrolled_and_removed() {
    assert_harmless(|scratch, round| match round % 2 {
        0 => scratch.enroll_device(ACCOUNT, "third", &Phone::new(&secret::fresh())),
        _ => run(scratch, &["device", "remove", ACCOUNT, "third", "--force"]),
    });
}

#[test]
fn a_device_renamed() {
    assert_harmless(|scratch, round| {
        let names = [["tablet", "slate"], ["slate", "tablet"]][round as usize % 2];
        run(scratch, &["device", "rename", ACCOUNT, names[0], names[1]]);
    });
}

#[test]
fn a_repair() {
    assert_harmless(|scratch, _| run(scratch, &["repair", ACCOUNT]));
}

#[test]
fn an_unlock() {
    assert_harmless(|scratch, round| match round % 3 {
        0 => run(scratch, &["unlock", ACCOUNT]),
        1 => run(scratch, &["unlock", "--address", HOME]),
        _ => run(scratch, &["unlock", "--all"]),
    });
}

#[test]
fn a_device_set_right() {
    let thirds: Vec<Phone> = (0..ROUNDS / 10)
        .map(|_| Phone::new(&secret::fresh()))
        .collect();
    assert_harmless(|scratch, round| {
        let third = &thirds[round as usize / 10];
        if round % 10 == 0 {
            // Nothing to remove in the first round.
            scratch.totpctl(&["device", "remove", ACCOUNT, "third", "--force"], "");
            scratch.enroll_device(ACCOUNT, "third", third);
        }
        // From the oldest in reach to the newest, two each.
        let first = clock::system() + 30 * (2 * (round % 10) - 10);
        let codes = third.codes(first, 1).join("\n");
        let resync = ["resync", ACCOUNT, "--device", "third"];
        feed(scratch, &resync, &format!("{codes}\n"));
    });
}

#[test]
fn new_backup_codes() {
    let mut case = Case::new();
    let mut codes = case.scratch.new_backup_codes(ACCOUNT);
    for _ in 0..ROUNDS {
        let [phone, tablet, stale] = case.codes();
        let old = codes[0].clone();
        let mut made = Vec::new();
        let logins = case.race(&[&old, &phone, &tablet, &stale], |scratch| {
            made = scratch.new_backup_codes(ACCOUNT);
        });
        logins.assert_only_before(&old);
        logins.assert_once(&phone);
        logins.assert_once(&tablet);
        assert_eq!(logins.accepted(&stale), (0, 0), "{logins}");
        codes = made;
        let left = case.scratch.document(&["backup-codes", ACCOUNT])["left"].clone();
        assert_eq!(left, 10);
        assert!(case.lets_in(&case.phone));
    }
}

#[test]
fn a_backup_code_that_is_a_proof_too() {
    let mut case = Case::new();
    let remove = ["device", "remove", ACCOUNT, "third"];
    for _ in 0..ROUNDS {
        case.scratch
            .enroll_device(ACCOUNT, "third", &Phone::new(&secret::fresh()));
        let backup = case.scratch.new_backup_codes(ACCOUNT).remove(0);
        let [phone, ..] = case.codes();
        let mut is_proven = false;
        let logins = case.race(&[&backup, &phone], |scratch| {
            let output = scratch.totpctl(&remove, &format!("{backup}\n"));
            is_proven = output.status.success();
        });
        let (early, late) = logins.accepted(&backup);
        assert_eq!(early + late + usize::from(is_proven), 1, "{logins}");
        logins.assert_once(&phone);
        logins.assert_judged();
        if !is_proven {
            run(&case.scratch, &[&remove[..], &["--force"]].concat());
        }
    }
}

#[test]
fn a_repair_that_voids_backup_codes() {
    let mut case = Case::new();
    for _ in 0..ROUNDS {
        let codes = case.scratch.new_backup_codes(ACCOUNT);
        let [phone, tablet, _] = case.codes();
        let logins = case.race(&[&codes[0], &phone, &tablet], |scratch| {
            run(scratch, &["repair", ACCOUNT]);
        });
        logins.assert_only_before(&codes[0]);
        logins.assert_once(&phone);
        logins.assert_once(&tablet);
        assert_eq!(
            case.scratch.login(ACCOUNT, codes[1].as_str()).code,
            Code::AUTH_ERR
        );
    }
}

#[test]
fn a_device_removed() {
    let mut case = Case::new();
    for _ in 0..ROUNDS {
        let [phone, tablet, stale] = case.codes();
        let logins = case.race(&[&tablet, &phone, &stale], |scratch| {
            run(scratch, &["device", "remove", ACCOUNT, "tablet", "--force"]);
        });
        logins.assert_only_before(&tablet);
        logins.assert_once(&phone);
        assert_eq!(logins.accepted(&stale), (0, 0), "{logins}");
        logins.assert_judged();
        assert!(case.lets_in(&case.phone) && !case.lets_in(&case.tablet));
        case.tablet = Phone::new(&secret::fresh());
        case.scratch.enroll_device(ACCOUNT, "tablet", &case.tablet);
    }
}

#[test]
fn a_device_rotated() {
    let mut case = Case::new();
    for _ in 0..ROUNDS {
        let [phone, tablet, stale] = case.codes();
        let new = case.new_phone(&[&phone, &tablet, &stale]);
        let codes = new.codes(clock::system(), 1).join("\n");
        let input = format!("{}\n{codes}\n", new.secret);
        let logins = case.race(&[&tablet, &phone, &stale], |scratch| {
            let rotate = [
                "rotate",
                ACCOUNT,
                "--device",
                "tablet",
                "--secret-file",
                "-",
            ];
            feed(scratch, &rotate, &input);
        });
        logins.assert_only_before(&tablet);
        logins.assert_once(&phone);
        assert_eq!(logins.accepted(&stale), (0, 0), "{logins}");
        logins.assert_judged();
        assert!(case.lets_in(&case.phone) && case.lets_in(&new) && !case.lets_in(&case.tablet));
        case.tablet = new;
    }
}

#[test]
fn a_device_bound_and_loosed() {
    let mut case = Case::new();
    let print = format!("SHA256:{}", "A".repeat(43));
    for round in 0..ROUNDS {
        let [phone, tablet, stale] = case.codes();
        let binds = round % 2 == 0;
        let bind = ["device", "bind", ACCOUNT, "tablet", "--ssh-key", &print];
        let unbind = ["device", "unbind", ACCOUNT, "tablet"];
        let command = if binds { &bind[..] } else { &unbind[..] };
        let logins = case.race(&[&tablet, &phone, &stale], |scratch| run(scratch, command));
        match binds {
            true => logins.assert_only_before(&tablet),
            // What was refused for its bond is not used up.
            false => logins.assert_once(&tablet),
        }
        logins.assert_once(&phone);
        assert_eq!(logins.accepted(&stale), (0, 0), "{logins}");
        logins.assert_judged();
        assert!(case.lets_in(&case.phone));
        assert_eq!(case.lets_in(&case.tablet), !binds);
    }
}

/// Races a command that ends the enrollment, and perhaps begins another one.
fn assert_ends(command: impl Fn(&Scratch, &Phone)) {
    let mut case = Case::new();
    for _ in 0..ROUNDS {
        let backup = case.scratch.new_backup_codes(ACCOUNT).remove(0);
        let [phone, tablet, stale] = case.codes();
        let new = case.new_phone(&[&phone, &tablet, &stale]);
        let logins = case.race(&[&phone, &tablet, &backup, &stale], |scratch| {
            command(scratch, &new);
        });
        for code in [&phone, &tablet, &backup] {
            logins.assert_only_before(code);
        }
        assert_eq!(logins.accepted(&stale), (0, 0), "{logins}");
        logins.assert_judged_or_ended();
        assert!(!case.lets_in(&case.phone) && !case.lets_in(&case.tablet));
        if case.scratch.status(ACCOUNT)["users"][0]["enrolled"] == false {
            case.scratch.enroll(ACCOUNT, &new);
        }
        assert!(case.lets_in(&new));
        case.phone = new;
        case.tablet = Phone::new(&secret::fresh());
        case.scratch.enroll_device(ACCOUNT, "tablet", &case.tablet);
    }
}

#[test]
fn the_second_factor_disabled() {
    assert_ends(|scratch, _| run(scratch, &["disable", ACCOUNT, "--force"]));
}

#[test]
fn an_account_reset_and_enrolled_anew() {
    assert_ends(|scratch, new| {
        run(scratch, &["reset", ACCOUNT, "--force"]);
        scratch.enroll(ACCOUNT, new);
    });
}

#[test]
fn a_new_backup_key_after_which_the_old_one_ends_nothing() {
    let mut case = Case::new();
    for _ in 0..ROUNDS {
        let old = case.scratch.new_backup_key(ACCOUNT);
        let [phone, tablet, stale] = case.codes();
        let mut made = None;
        let logins = case.race(&[&phone, &tablet, &stale, &old], |scratch| {
            made = Some(scratch.totpctl(&["backup-key", ACCOUNT, "--regenerate"], ""));
        });
        let made = made.expect("it ran");
        let is_enrolled = case.scratch.status(ACCOUNT)["users"][0]["enrolled"] == true;
        assert_eq!(made.status.success(), is_enrolled, "{made:?}\n{logins}");
        // By a key nobody gets in here, but the enrollment ends.
        assert_eq!(logins.accepted(&old), (0, 0), "{logins}");
        let gone = |(_, one): &&(String, Ended)| one.told.starts_with("All your devices");
        let early = logins.early.iter().filter(gone).count();
        assert_eq!(early, usize::from(!is_enrolled), "{logins}");
        assert_eq!(logins.late.iter().filter(gone).count(), 0, "{logins}");
        assert_eq!(logins.accepted(&stale), (0, 0), "{logins}");
        if is_enrolled {
            logins.assert_once(&phone);
            logins.assert_once(&tablet);
            logins.assert_judged();
            assert!(case.lets_in(&case.phone));
        } else {
            logins.assert_only_before(&phone);
            assert!(!case.lets_in(&case.phone));
            case.phone = Phone::new(&secret::fresh());
            case.tablet = Phone::new(&secret::fresh());
            case.scratch.enroll(ACCOUNT, &case.phone);
            case.scratch.enroll_device(ACCOUNT, "tablet", &case.tablet);
        }
    }
}
