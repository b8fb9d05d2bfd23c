//! A process that logs in when told to.
//!
//! `contender CONFDIR once USER ADDRESS TIME ANSWER` logs in, the clock set to TIME, prints nothing and
//! exits with the PAM code; `bare` instead of `once` closes its standard files first.
//!
//! `contender CONFDIR aloud USER ADDRESS TIME ANSWER...` gives one answer after the other, then empty ones,
//! prints what it is told at once, each line with one system call, then `= ` and the PAM code, and ends the transaction;
//! `whole` instead of `aloud` has `pam_setcred` follow where that is success.
//!
//! `contender CONFDIR enroll USER ADDRESS INVITE` types an invitation, then a code of the key that is shown, by the real
//! clock, prints what it is told at once and exits with the PAM code.
//!
//! `contender CONFDIR many USER ADDRESS TIME COUNT ANSWER` logs in so many times, the clock set to TIME.
//!
//! `contender CONFDIR GATE USER` reads lines `PLACE ADDRESS TIME ANSWER`, and for each writes `ready`, waits
//! until nobody holds the lock of the file GATE any more, and writes the code and what was told. PLACE is
//! where it waits: `outside`, before the login starts, or `inside`, with the prompt open.

use std::fs::File;
use std::path::Path;
use std::{env, io, process};

use end_to_end::clock;
use end_to_end::libpam::{Code, ESTABLISH_CRED, Item, Login, Message, Reply};
use end_to_end::phone::Phone;
use end_to_end::product::PROMPT;
use nix::fcntl::{Flock, FlockArg};

struct Attempt<'a> {
    confdir: &'a str,
    user: &'a str,
    address: &'a str,
    time: &'a str,
    answer: &'a str,
}

impl Attempt<'_> {
    /// The code, and what was told. `wait` runs while the prompt is open.
    fn run(&self, mut wait: impl FnMut()) -> (Code, String) {
        clock::set(self.time.parse().expect("seconds"));
        let person = |message: &Message| {
            if !message.style.is_prompt() {
                return Reply::Null;
            }
            wait();
            self.answer.into()
        };
        let mut login = Login::start(
            self.confdir.as_ref(),
            "scratch",
            self.user.as_bytes(),
            person,
        )
        .expect("libpam reads the service");
        login.set(Item::Rhost, self.address);
        let code = login.authenticate(0);
        let heard = login.heard();
        let told = heard.iter().filter(|message| !message.style.is_prompt());
        (code, told.map(|message| message.text.as_str()).collect())
    }
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [
            confdir,
            verb @ ("once" | "bare"),
            user,
            address,
            time,
            answer,
        ] => {
            if verb == "bare" {
                for file in 0..=2 {
                    nix::unistd::close(file).expect("it was open");
                }
            }
            let (code, _) = Attempt {
                confdir,
                user,
                address,
                time,
                answer,
            }
            .run(|| ());
            process::exit(code.0);
        }
        [
            confdir,
            verb @ ("aloud" | "whole"),
            user,
            address,
            time,
            ref answers @ ..,
        ] => {
            clock::set(time.parse().expect("seconds"));
            let mut answers = answers.iter();
            let person = |message: &Message| {
                print_at_once(&message.text);
                if !message.style.is_prompt() {
                    return Reply::Null;
                }
                answers.next().copied().unwrap_or_default().into()
            };
            let mut login = Login::start(confdir.as_ref(), "scratch", user.as_bytes(), person)
                .expect("libpam reads the service");
            login.set(Item::Rhost, address);
            let code = login.authenticate(0);
            print_at_once(&format!("= {}", code.0));
            if verb == "whole" && code == Code::SUCCESS {
                login.setcred(ESTABLISH_CRED);
            }
            // Whatever is done to it now is done after the verdict was heard.
            drop(login);
            process::exit(code.0);
        }
        [confdir, "enroll", user, address, invite] => {
            let person = |message: &Message| {
                print_at_once(&message.text);
                match message.text.as_str() {
                    _ if !message.style.is_prompt() => Reply::Null,
                    PROMPT => invite.into(),
                    text if text.contains("Add this key") => {
                        let phone = Phone::of_shown_key(text);
                        phone.code_at(clock::system()).as_str().into()
                    }
                    _ => "".into(),
                }
            };
            let mut login = Login::start(confdir.as_ref(), "scratch", user.as_bytes(), person)
                .expect("libpam reads the service");
            login.set(Item::Rhost, address);
            process::exit(login.authenticate(0).0);
        }
        [confdir, "many", user, address, time, count, answer] => {
            clock::set(time.parse().expect("seconds"));
            for _ in 0..count.parse().expect("a number") {
                let person = |message: &Message| match message.style.is_prompt() {
                    true => answer.into(),
                    false => Reply::Null,
                };
                let confdir = Path::new(confdir);
                let mut login = Login::start(confdir, "scratch", user.as_bytes(), person)
                    .expect("libpam reads the service");
                login.set(Item::Rhost, address);
                assert_eq!(login.authenticate(0), Code::AUTH_ERR);
            }
        }
        [confdir, gate, user] => {
            for line in io::stdin().lines() {
                contend(confdir, gate.as_ref(), user, &line.expect("lines of text"));
            }
        }
        _ => panic!("see the head of this file"),
    }
}

/// Where that fails, nobody has heard it.
fn print_at_once(text: &str) {
    let _ = nix::unistd::write(io::stdout(), format!("{text}\n").as_bytes());
}

fn contend(confdir: &str, gate: &Path, user: &str, line: &str) {
    let words: Vec<_> = line.split(' ').collect();
    let [place, address, time, answer] = words[..] else {
        panic!("{line:?}")
    };
    let attempt = Attempt {
        confdir,
        user,
        address,
        time,
        answer,
    };
    let wait = || {
        println!("ready");
        pass(gate);
    };
    let (code, told) = match place {
        "inside" => attempt.run(wait),
        _ => {
            wait();
            attempt.run(|| ())
        }
    };
    // One line, whatever the sentences are.
    println!("{} {}", code.0, told.replace('\n', " "));
}

/// Returns once nobody holds `gate`, together with all who wait for it.
fn pass(gate: &Path) {
    let file = File::open(gate).expect("a gate");
    drop(Flock::lock(file, FlockArg::LockShared).expect("an opened gate"));
}
