//! Power that is cut at any moment of logins and of changes, with any part of what was not synced lost or torn: what
//! somebody has heard stays true, and nobody is kept out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::changes::{self, Change};
use end_to_end::clock::{self, EPOCH};
use end_to_end::disk::{self, Disk};
use end_to_end::disturbed::{Job, Plan};
use end_to_end::kept;
use end_to_end::libpam::Code;
use end_to_end::mounts;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, HOME, Scratch};
use end_to_end::recorded::{self, Call};
use end_to_end::token::Token;
use end_to_end::trial::{Way, disturb_login};

const TABLET: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";
const NEW: &str = "NZSXO43FMNZGK5DONZSXO43FMNZGK5DO";
const SEED: &str = "KRUGS4ZANFZSA5DIMUQHG2LYORUGKZLO";
/// No address is refused; wrong answers are counted until one is accepted.
const SETTINGS: &str = "[limits]\ndeny = 0\naddress_deny = 0\ndaily = 0\nuser_limit = 100_000\nfamiliar_for = \"0s\"\n";

/// Something that is done, and what is true when it is over.
struct Step {
    job: Job,
    /// The PAM code or the exit status.
    status: i32,
    /// A code that is used up, and when it was typed.
    spent: Option<(String, i64)>,
    /// Wrong answers since one was accepted.
    wrong: u64,
    /// Those whose codes get in.
    phones: Vec<Phone>,
}

/// What is done, one thing after the other.
struct Story {
    scratch: Scratch,
    token: Token,
    /// No code of anybody's.
    wrong: String,
    steps: Vec<Step>,
    records: Records,
}

/// The folders of records.
struct Records {
    folders: [PathBuf; 2],
    /// What was in them at the beginning.
    before: Disk,
}

/// A moment: a step, and how much of what it changes is done. Where that is all, somebody has heard so.
type Moment = (usize, usize);

#[test]
fn t04_whatever_is_not_synced_may_be_lost() {
    let story = Story::new();
    let calls = story.record();
    let changes: Vec<Vec<disk::Change>> = calls.into_iter().map(|calls| calls.concat()).collect();
    let moments: Vec<Moment> = changes
        .iter()
        .enumerate()
        .flat_map(|(step, changes)| (0..=changes.len()).map(move |done| (step, done)))
        .collect();
    let cuts = std::env::var("POWER_CUTS").ok();
    let cuts = cuts.map_or(200, |cuts| cuts.parse().expect("a whole number"));
    assert!(moments.len() < cuts, "{} moments", moments.len());
    for cut in 0..cuts {
        let (step, done) = moments[cut % moments.len()];
        let mut disk = story.records.before.clone();
        disk.apply_all(changes[..step].iter().flatten());
        disk.apply_all(&changes[step][..done]);
        story.records.put(disk.after_power_cut(cut as u64));
        let heard = step + usize::from(done == changes[step].len());
        story.check(
            heard,
            0,
            &format!("cut {cut}, step {step}, {done} of {:?}", changes[step]),
        );
    }
}

/// What somebody who was killed has left in memory is what the next one builds on.
#[test]
fn whoever_comes_after_a_kill_may_lose_their_power_too() {
    const CUTS: u64 = 3;
    let story = Story::new();
    let calls = story.record();
    let mut cuts = 0;
    for (step, calls_of_step) in calls.iter().enumerate() {
        for killed in 1..=calls_of_step.len() {
            let mut disk = story.records.before.clone();
            disk.apply_all(calls[..step].iter().flatten().flatten());
            disk.apply_all(calls_of_step[..killed].iter().flatten());
            story.records.put(disk.seen());
            let next = story.job(&story.wrong, EPOCH);
            let changes = story.records.record(&next, Code::AUTH_ERR.0).concat();
            for done in 0..=changes.len() {
                let mut disk = disk.clone();
                disk.apply_all(&changes[..done]);
                let is_heard = done == changes.len();
                for cut in 0..CUTS {
                    cuts += 1;
                    story.records.put(disk.after_power_cut(cut));
                    story.check(
                        step,
                        u64::from(is_heard),
                        &format!(
                            "cut {cut}, step {step}, killed after {:?}, then {done} of {changes:?}",
                            &calls_of_step[..killed]
                        ),
                    );
                }
            }
        }
    }
    println!("{cuts} power cuts after a kill");
}

#[test]
fn whoever_enrolls_after_a_kill_is_enrolled_after_a_power_cut_too() {
    const CUTS: u64 = 8;
    let (scratch, phone) = (Scratch::new(SETTINGS), Phone::new(Phone::SECRET));
    // Who comes first makes what all share.
    scratch.enroll("bin", &phone);
    let records = Records::of(&scratch);
    let enroll = || {
        let words = ["enroll", ACCOUNT, "--secret-file", "-", "--no-confirm"];
        Job::new(scratch.command(&words), &format!("{}\n", Phone::SECRET))
    };
    let calls = records.record(&enroll(), 0);
    let code = phone.code_at(EPOCH);
    for killed in 0..calls.len() {
        let mut disk = records.before.clone();
        disk.apply_all(calls[..killed].iter().flatten());
        if disk.has(&scratch.secret(ACCOUNT)) {
            break;
        }
        records.put(disk.seen());
        disk.apply_all(records.record(&enroll(), 0).iter().flatten());
        for cut in 0..CUTS {
            records.put(disk.after_power_cut(cut));
            clock::set(EPOCH);
            let code = scratch.login(ACCOUNT, code.as_str()).code;
            clock::unset();
            let before = &calls[..killed];
            assert_eq!(code, Code::SUCCESS, "cut {cut}, killed after {before:?}");
        }
    }
}

fn contender() -> &'static Path {
    env!("CARGO_BIN_EXE_contender").as_ref()
}

/// What has not reached a real file system's device is lost.
fn cut_power(way: Way) {
    mounts::with_images(|| disturb_login(Plan::PowerCuts, way, contender()));
}

fn cut_power_in(change: Change) {
    mounts::with_images(|| change(Plan::PowerCuts, contender()));
}

#[test]
fn a_login_by_a_backup_code() {
    cut_power(Way::BackupCode);
}

#[test]
fn a_login_by_an_event_token() {
    cut_power(Way::EventToken);
}

#[test]
fn a_login_by_a_code_that_was_sent() {
    cut_power(Way::SentCode);
}

#[test]
fn a_login_by_a_phone() {
    cut_power(Way::RightCode);
}

#[test]
fn a_login_that_ends_in_trust() {
    cut_power(Way::Trusting);
}

#[test]
fn a_wrong_answer() {
    cut_power(Way::WrongCode);
}

#[test]
fn an_enrollment() {
    cut_power_in(changes::an_enrollment);
}

#[test]
fn a_first_enrollment() {
    cut_power_in(changes::a_first_enrollment);
}

#[test]
fn a_bond_to_an_ssh_key() {
    cut_power_in(changes::a_bond_to_an_ssh_key);
}

#[test]
fn a_bond_that_ends() {
    cut_power_in(changes::a_bond_that_ends);
}

#[test]
fn a_login_by_the_backup_key() {
    cut_power_in(changes::a_login_by_the_backup_key);
}

#[test]
fn a_new_backup_key() {
    cut_power_in(changes::a_new_backup_key);
}

#[test]
fn a_removal() {
    cut_power_in(changes::a_removal);
}

#[test]
fn a_repair() {
    cut_power_in(changes::a_repair);
}

#[test]
fn a_resync() {
    cut_power_in(changes::a_resync);
}

#[test]
fn a_confirmed_enrollment() {
    cut_power_in(changes::a_confirmed_enrollment);
}

#[test]
fn a_telephone() {
    cut_power_in(changes::a_telephone);
}

#[test]
fn an_end_of_trust() {
    cut_power_in(changes::an_end_of_trust);
}

#[test]
fn an_enrollment_at_a_login() {
    cut_power_in(changes::an_enrollment_at_a_login);
}

#[test]
fn an_import() {
    cut_power_in(changes::an_import);
}

#[test]
fn an_invitation() {
    cut_power_in(changes::an_invitation);
}

#[test]
fn an_unlock() {
    cut_power_in(changes::an_unlock);
}

#[test]
fn another_name() {
    cut_power_in(changes::another_name);
}

#[test]
fn backup_codes() {
    cut_power_in(changes::backup_codes);
}

#[test]
fn disabling() {
    cut_power_in(changes::disabling);
}

#[test]
fn disabling_by_a_code() {
    cut_power_in(changes::disabling_by_a_code);
}

#[test]
fn a_rotation() {
    cut_power_in(changes::a_rotation);
}

#[test]
fn new_backup_codes() {
    cut_power_in(changes::new_backup_codes);
}

#[test]
fn resetting() {
    cut_power_in(changes::resetting);
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .map(|path| {
            let bytes = fs::read(&path).expect("a file");
            (path, bytes)
        })
        .collect()
}

impl Records {
    fn of(scratch: &Scratch) -> Self {
        let folders = ["secrets", "state"].map(|name| scratch.path(name));
        Self {
            before: Disk::new(folders.iter().flat_map(|folder| files(folder))),
            folders,
        }
    }

    /// Does something, and tells by which calls.
    fn record(&self, job: &Job, status: i32) -> Vec<Call> {
        let (ended, calls) = recorded::run(job, &self.folders);
        assert_eq!(ended.code(), Some(status));
        assert!(!calls.is_empty());
        calls
    }

    /// Puts these files in the place of all that are there.
    fn put(&self, files: Vec<(PathBuf, Vec<u8>)>) {
        for folder in &self.folders {
            fs::remove_dir_all(folder).expect("our own folder");
            kept::make_folder(folder, 0o700);
        }
        for (path, bytes) in files {
            kept::write(&path, 0o600, &bytes);
        }
    }
}

impl Story {
    fn new() -> Self {
        let scratch = Scratch::new(SETTINGS);
        let (phone, token) = (Phone::new(Phone::SECRET), Token::new(SEED));
        scratch.enroll(ACCOUNT, &phone);
        scratch.enroll_uri(ACCOUNT, "token", &token.uri(0));
        let backup_codes = scratch.new_backup_codes(ACCOUNT);
        let (tablet, rotated) = (Phone::new(TABLET), Phone::new(NEW));

        let now = EPOCH;
        let wrong = phone.wrong_code_at(now);
        let mut story = Self {
            records: Records::of(&scratch),
            scratch,
            token,
            wrong: wrong.clone(),
            steps: Vec::new(),
        };
        story.login(&phone.code_at(now), now, [&phone]);
        story.wrong(&wrong, now);
        story.wrong(&wrong, now);
        story.login(&backup_codes[0], now, [&phone]);
        story.login(&story.token.code(2), now, [&phone]);
        story.wrong(&wrong, now);
        story.command(changes::ENROLL, &format!("{TABLET}\n"), [&phone, &tablet]);
        story.login(&tablet.code_at(now), now, [&phone, &tablet]);
        story.login(&phone.code_at(now + 30), now + 30, [&phone, &tablet]);
        story.command(
            &["backup-codes", ACCOUNT, "--regenerate"],
            "",
            [&phone, &tablet],
        );
        // The code of now, whatever that is when it is judged.
        let codes = rotated.codes(clock::system(), 1).join("\n");
        let rotate = ["rotate", ACCOUNT, "--device", "phone", "--secret-file", "-"];
        story.command(&rotate, &format!("{NEW}\n{codes}\n"), [&rotated, &tablet]);
        story.login(&rotated.code_at(now), now, [&rotated, &tablet]);
        story.wrong(&wrong, now);
        let remove = ["device", "remove", ACCOUNT, "tablet", "--force"];
        story.command(&remove, "", [&rotated]);
        story.login(&rotated.code_at(now + 30), now + 30, [&rotated]);
        story
    }

    fn login<'a>(&mut self, code: &str, time: i64, phones: impl IntoIterator<Item = &'a Phone>) {
        let job = self.job(code, time);
        self.steps.push(Step {
            job,
            status: Code::SUCCESS.0,
            spent: Some((code.to_owned(), time)),
            wrong: 0,
            phones: phones.into_iter().cloned().collect(),
        });
    }

    fn wrong(&mut self, code: &str, time: i64) {
        let job = self.job(code, time);
        let before = self.steps.last().expect("a login");
        self.steps.push(Step {
            job,
            status: Code::AUTH_ERR.0,
            spent: None,
            wrong: before.wrong + 1,
            phones: before.phones.clone(),
        });
    }

    fn command<'a>(
        &mut self,
        words: &[&str],
        input: &str,
        phones: impl IntoIterator<Item = &'a Phone>,
    ) {
        let job = Job::new(self.scratch.command(words), input);
        let wrong = self.steps.last().expect("a login").wrong;
        self.steps.push(Step {
            job,
            status: 0,
            spent: None,
            wrong,
            phones: phones.into_iter().cloned().collect(),
        });
    }

    fn job(&self, code: &str, time: i64) -> Job {
        let mut login = Command::new(env!("CARGO_BIN_EXE_contender"));
        login.arg(self.scratch.path("pam.d"));
        login.args(["once", ACCOUNT, HOME, &time.to_string(), code]);
        Job::new(login, "")
    }

    /// Does all of it, and tells by which calls.
    fn record(&self) -> Vec<Vec<Call>> {
        let steps = self.steps.iter();
        steps
            .map(|step| self.records.record(&step.job, step.status))
            .collect()
    }

    /// What was heard of the first steps is true, and of the next one all or nothing. `wrong` more answers were heard
    /// to be wrong since.
    fn check(&self, heard: usize, wrong: u64, at: &str) {
        let (over, rest) = self.steps.split_at(heard);
        let (last, next) = (over.last(), rest.first());
        // Somebody who is let in has the earlier ones forgotten.
        let least = match next {
            Some(Step { spent: Some(_), .. }) => 0,
            _ => last.map_or(0, |step| step.wrong),
        } + wrong;
        let status = self.scratch.status(ACCOUNT);
        let counted = &status["users"][0]["unfamiliar"]["total"];
        assert!(
            counted.as_u64() >= Some(least),
            "{at}: {counted} of {least} wrong answers"
        );

        for (code, time) in over.iter().filter_map(|step| step.spent.as_ref()) {
            assert!(!self.takes(code, *time), "{at}: {code} is accepted again");
        }
        let later = EPOCH + 1200;
        let known = self.steps.iter().flat_map(|step| &step.phones);
        let mut takes = Vec::new();
        for phone in known {
            if !takes.iter().any(|(secret, _)| *secret == phone.secret) {
                let is_taken = self.takes(&phone.code_at(later), later);
                takes.push((phone.secret.clone(), is_taken));
            }
        }
        let get_in_as_after = |step: Option<&Step>| {
            let phones = step.map_or(&self.steps[0].phones, |step| &step.phones);
            let has = |secret: &String| phones.iter().any(|phone| phone.secret == *secret);
            takes
                .iter()
                .all(|(secret, is_taken)| has(secret) == *is_taken)
        };
        assert!(
            get_in_as_after(last) || next.is_some() && get_in_as_after(next),
            "{at}: {takes:?}"
        );
        assert!(
            self.takes(&self.token.code(3), later),
            "{at}: the token's next code"
        );
    }

    fn takes(&self, code: &str, time: i64) -> bool {
        clock::set(time);
        let outcome = self.scratch.login(ACCOUNT, code);
        clock::unset();
        outcome.code == Code::SUCCESS
    }
}
