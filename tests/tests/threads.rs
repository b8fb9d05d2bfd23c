//! Callers whose threads log in at the same moment. Each of these processes also copies itself meanwhile, and looks at its
//! masks, limits, folder and open files.

use std::env;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use end_to_end::clock::EPOCH;
use end_to_end::crowd::Ended;
use end_to_end::libpam::Code;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, BY_PLACE, NO_LIMITS, Scratch, attempts_left, limit_reached};

const ROUNDS: usize = 30;

/// What one thread says: who it is, and its answer.
type Pair<'a> = (&'a str, &'a str);

/// A process whose threads log in, one for each pair, in one round after the other. It was started by a shell after
/// `prelude`.
struct Crew {
    process: Child,
    /// Of each round.
    threads: Vec<usize>,
}

impl Crew {
    fn start(scratch: &Scratch, prelude: &str, rounds: &[(i64, Vec<Pair<'_>>)]) -> Self {
        let mut process = Command::new("sh")
            .args(["-c", &format!("{prelude}\nexec \"$@\""), "sh"])
            .arg(env!("CARGO_BIN_EXE_crew"))
            .arg(scratch.path("pam.d"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut input = process.stdin.take().expect("a pipe");
        for (time, pairs) in rounds {
            let pairs = pairs
                .iter()
                .map(|(user, answer)| format!(" {user}={answer}"));
            let line = format!("{time}{}\n", pairs.collect::<String>());
            input.write_all(line.as_bytes()).expect("it reads");
        }
        let threads = rounds.iter().map(|(_, pairs)| pairs.len()).collect();
        Self { process, threads }
    }

    /// How the logins of each round ended.
    fn ended(self) -> Vec<Vec<Ended>> {
        let output = self.process.wait_with_output().expect("it ends");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {complaint}", output.status);
        let out = String::from_utf8(output.stdout).expect("text");
        let mut lines = out.lines().map(Ended::of);
        let rounds = self.threads.into_iter();
        let rounds = rounds.map(|threads| lines.by_ref().take(threads).collect());
        rounds.collect()
    }

    /// What libpam told the threads of each round.
    fn codes(self) -> Vec<Vec<Code>> {
        let rounds = self.ended().into_iter();
        let codes = rounds.map(|round| round.iter().map(|one| one.code).collect());
        codes.collect()
    }
}

/// One round for each step of time, in which everybody has that step's code and may use it.
fn rounds<'a>(
    codes: &'a [String],
    pairs: impl Fn(&'a str) -> Vec<Pair<'a>>,
) -> Vec<(i64, Vec<Pair<'a>>)> {
    let times = (EPOCH..).step_by(30);
    times.zip(codes.iter().map(|code| pairs(code))).collect()
}

/// Saves take their time on a disk, and that is when others come in between.
fn on_disk(settings: &str, phone: &Phone, users: &[&str]) -> Scratch {
    let scratch = Scratch::on(&env::temp_dir(), settings);
    for user in users {
        scratch.enroll(user, phone);
    }
    scratch
}

#[test]
fn of_12_threads_in_each_of_two_processes_with_one_code_one_gets_in() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = on_disk(NO_LIMITS, &phone, &[ACCOUNT]);
    let codes = phone.codes(EPOCH, ROUNDS - 1);
    let rounds = rounds(&codes, |code| vec![(ACCOUNT, code); 12]);
    let crews = [(); 2].map(|()| Crew::start(&scratch, "", &rounds));
    let [one, other] = crews.map(Crew::ended);
    for (round, both) in one.iter().zip(&other).enumerate() {
        let all = || both.0.iter().chain(both.1);
        let won = all().filter(|one| one.code == Code::SUCCESS).count();
        let lost = all().filter(|one| one.is_wrong()).count();
        assert_eq!((won, lost), (1, 23), "round {round}: {both:?}");
    }
}

#[test]
fn threads_of_different_people_get_in_by_their_right_codes_alone() {
    const PEOPLE: [&str; 4] = ["root", "daemon", "bin", "sys"];
    let phone = Phone::new(Phone::SECRET);
    let scratch = on_disk(NO_LIMITS, &phone, &PEOPLE);
    let codes = phone.codes(EPOCH, ROUNDS - 1);
    let wrong = phone.wrong_code_at(EPOCH + 15 * ROUNDS as i64);
    let rounds = rounds(&codes, |code| {
        let pairs = PEOPLE
            .iter()
            .flat_map(|user| [(*user, code), (*user, &*wrong)]);
        let strangers = [("games", code), ("no-such-person", code)];
        pairs.chain(strangers).collect()
    });
    let codes = Crew::start(&scratch, "", &rounds).codes();
    let mut expected = [Code::SUCCESS, Code::AUTH_ERR].repeat(PEOPLE.len());
    expected.extend([Code::AUTH_ERR; 2]);
    assert_eq!(codes, vec![expected; ROUNDS]);
}

#[test]
fn t06_of_24_guesses_of_threads_three_are_judged() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = on_disk(BY_PLACE, &phone, &[ACCOUNT]);
    let wrong: Vec<_> = phone.wrong_codes_at(EPOCH).take(24).collect();
    let pairs = wrong.iter().map(|code| (ACCOUNT, &**code)).collect();
    let ended = Crew::start(&scratch, "", &[(EPOCH, pairs)]).ended();
    for (text, count) in [
        (attempts_left(2), 1),
        (attempts_left(1), 1),
        (limit_reached(10), 22),
    ] {
        let told = ended.iter().flatten().filter(|one| one.told == text);
        assert_eq!(told.count(), count, "{text:?}: {ended:?}");
    }
}

#[test]
fn limits_are_left_alone_where_threads_share_them_and_nothing_is_judged_where_they_leave_no_room() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = on_disk("", &phone, &[ACCOUNT, "bin"]);
    let right = phone.code_at(EPOCH);
    let rounds = rounds(std::slice::from_ref(&right), |code| {
        vec![(ACCOUNT, code), ("bin", code)]
    });
    for (prelude, expected) in [
        ("ulimit -S -f 4", Code::AUTH_ERR),
        ("ulimit -f 4", Code::AUTH_ERR),
        ("ulimit -S -n 48", Code::SUCCESS),
    ] {
        let codes = Crew::start(&scratch, prelude, &rounds).codes();
        assert_eq!(codes, [[expected; 2]], "{prelude}");
    }
}
