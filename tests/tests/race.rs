//! Many processes at once.

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use end_to_end::clock::{self, EPOCH};
use end_to_end::libpam::Code;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, HOME, Scratch, attempts_left, limit_reached};
use nix::fcntl::{Flock, FlockArg};

const ROUNDS: usize = 200;

/// Processes that log in together, each again and again.
struct Crowd {
    gate: PathBuf,
    contenders: Vec<Contender>,
}

struct Contender {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

#[derive(Debug)]
struct Ended {
    code: Code,
    told: String,
}

impl Ended {
    /// Judged, and told so.
    fn is_wrong(&self) -> bool {
        self.code == Code::AUTH_ERR && self.told.starts_with("Invalid One Time Password!")
    }
}

impl Crowd {
    /// One process for each of `users`.
    fn new<'a>(scratch: &Scratch, users: impl IntoIterator<Item = &'a str>) -> Self {
        let gate = scratch.path("gate");
        File::create(&gate).expect("a new file");
        let contender = |user| {
            let mut process = Command::new(env!("CARGO_BIN_EXE_contender"))
                .arg(scratch.path("pam.d"))
                .arg(&gate)
                .arg(user)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("the contender starts");
            let input = process.stdin.take().expect("a pipe");
            let output = BufReader::new(process.stdout.take().expect("a pipe"));
            Contender {
                process,
                input,
                output,
            }
        };
        Self {
            contenders: users.into_iter().map(contender).collect(),
            gate,
        }
    }

    /// Everybody gives an answer of `answers` from `address`, all released at once at `place`.
    fn rush<'a>(
        &mut self,
        place: &str,
        now: i64,
        address: &str,
        answers: impl IntoIterator<Item = &'a str>,
    ) -> Vec<Ended> {
        let gate = File::open(&self.gate).expect("the gate");
        let gate = Flock::lock(gate, FlockArg::LockExclusive).expect("nobody waits at the gate");
        for (contender, answer) in self.contenders.iter_mut().zip(answers) {
            writeln!(contender.input, "{place} {address} {now} {answer}").expect("it reads");
        }
        for contender in &mut self.contenders {
            assert_eq!(contender.line(), "ready");
        }
        drop(gate);
        self.contenders.iter_mut().map(Contender::ended).collect()
    }
}

impl Contender {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("lines of text");
        line.trim_end_matches('\n').to_owned()
    }

    fn ended(&mut self) -> Ended {
        let line = self.line();
        let (code, told) = line.split_once(' ').expect("a code and what was told");
        Ended {
            code: Code(code.parse().expect("a number")),
            told: told.to_owned(),
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // It may be waiting for a line or at the gate, and has nothing to lose.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Saves take their time on a disk, and that is when others come in between.
fn on_disk(settings: &str, phone: &Phone) -> Scratch {
    let scratch = Scratch::on(&env::temp_dir(), settings);
    scratch.enroll(ACCOUNT, phone);
    scratch
}

fn assert_one_winner(count: usize, place: &str) {
    let phone = Phone::new(Phone::SECRET);
    let scratch = on_disk("[limits]\ndeny = 0\n", &phone);
    let mut crowd = Crowd::new(&scratch, vec![ACCOUNT; count]);
    for (round, code) in phone.codes(EPOCH, ROUNDS - 1).iter().enumerate() {
        let now = EPOCH + round as i64 * phone.period;
        let ended = crowd.rush(place, now, HOME, vec![code.as_str(); count]);
        let won = ended.iter().filter(|one| one.code == Code::SUCCESS).count();
        let lost = ended.iter().filter(|one| one.is_wrong()).count();
        assert_eq!((won, lost), (1, count - 1), "round {round}: {ended:?}");
    }
}

#[test]
fn of_24_with_one_code_and_an_open_prompt_one_gets_in() {
    assert_one_winner(24, "inside");
}

#[test]
fn of_24_who_start_with_one_code_one_gets_in() {
    assert_one_winner(24, "outside");
}

#[test]
fn of_50_with_one_code_and_an_open_prompt_one_gets_in() {
    assert_one_winner(50, "inside");
}

#[test]
fn of_50_who_start_with_one_code_one_gets_in() {
    assert_one_winner(50, "outside");
}

#[test]
fn of_100_guesses_at_once_three_are_judged() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = on_disk("", &phone);
    let mut crowd = Crowd::new(&scratch, [ACCOUNT; 100]);
    for round in 0..20 {
        let now = EPOCH + round * 7200;
        let wrong: Vec<_> = phone.wrong_codes_at(now).take(100).collect();
        let place = if round % 2 == 0 { "inside" } else { "outside" };
        let ended = crowd.rush(place, now, HOME, wrong.iter().map(String::as_str));
        assert!(
            ended.iter().all(|one| one.code == Code::AUTH_ERR),
            "round {round}: {ended:?}"
        );
        for (text, count) in [
            (attempts_left(2), 1),
            (attempts_left(1), 1),
            (limit_reached(10), 98),
        ] {
            let told = ended.iter().filter(|one| one.told == text).count();
            assert_eq!(told, count, "{text:?} in round {round}: {ended:?}");
        }

        clock::set(now);
        let code = phone.code_at(now);
        assert_eq!(
            scratch.login(ACCOUNT, code.as_str()).code,
            Code::AUTH_ERR,
            "round {round}"
        );
        let elsewhere = scratch.login_from("198.51.100.9", ACCOUNT, code.as_str());
        assert_eq!(elsewhere.code, Code::SUCCESS, "round {round}");
    }
}

#[test]
fn of_100_guesses_at_once_without_a_limit_all_are_judged_and_none_is_right() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = on_disk("[limits]\ndeny = 0\n", &phone);
    let mut crowd = Crowd::new(&scratch, [ACCOUNT; 100]);
    let wrong: Vec<_> = phone.wrong_codes_at(EPOCH).take(100).collect();
    let ended = crowd.rush("inside", EPOCH, HOME, wrong.iter().map(String::as_str));
    assert!(ended.iter().all(Ended::is_wrong), "{ended:?}");
    clock::set(EPOCH);
    assert_eq!(
        scratch.login(ACCOUNT, phone.code_at(EPOCH).as_str()).code,
        Code::SUCCESS
    );
}

#[test]
fn the_one_with_the_right_code_gets_in_among_23_without() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = on_disk("[limits]\ndeny = 32\n", &phone);
    let mut crowd = Crowd::new(&scratch, [ACCOUNT; 24]);
    for round in 0..50 {
        let now = EPOCH + round as i64 * 7200;
        let (right, wrong) = (phone.code_at(now), phone.wrong_code_at(now));
        let mut answers = [wrong.as_str(); 24];
        answers[round % 24] = &right;
        let ended = crowd.rush("inside", now, HOME, answers);
        let won: Vec<_> = ended.iter().map(|one| one.code == Code::SUCCESS).collect();
        let expected: Vec<_> = (0..24).map(|index| index == round % 24).collect();
        assert_eq!(won, expected, "round {round}: {ended:?}");
    }
}

#[test]
fn people_who_log_in_at_the_same_moment_all_get_in() {
    const PEOPLE: [&str; 16] = [
        "root", "daemon", "bin", "sys", "games", "man", "lp", "mail", "news", "uucp", "proxy",
        "www-data", "backup", "list", "irc", "nobody",
    ];
    let phone = Phone::new(Phone::SECRET);
    let scratch = Scratch::on(&env::temp_dir(), "");
    for user in PEOPLE {
        scratch.enroll(user, &phone);
    }
    let mut crowd = Crowd::new(&scratch, PEOPLE);
    for (round, code) in phone.codes(EPOCH, 49).iter().enumerate() {
        let now = EPOCH + round as i64 * phone.period;
        let ended = crowd.rush("outside", now, HOME, [code.as_str(); 16]);
        assert!(
            ended.iter().all(|one| one.code == Code::SUCCESS),
            "round {round}: {ended:?}"
        );
    }
}
