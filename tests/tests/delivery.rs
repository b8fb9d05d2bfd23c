//! Codes by mail and by text message: a real mail server, a real sendmail, a gateway that keeps what it gets.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use end_to_end::clock;
use end_to_end::example::Example;
use end_to_end::gateway::{Gateway, code_in};
use end_to_end::libpam::{Code, Item, Message, Reply};
use end_to_end::machine::Machine;
use end_to_end::patience::wait_for;
use end_to_end::phone::Phone;
use end_to_end::post::Post;
use end_to_end::product::{ACCOUNT, Outcome, PROMPT, Scratch};
use end_to_end::ssh_key::SshKey;
use end_to_end::tree;

#[test]
fn by_ssh_a_mailed_code_gets_its_owner_in_once() {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd"), "");
    let post = Post::of(&machine);
    let mut enroll =
        machine.terminal(&["totpctl", "enroll", "alice", "--mail", "alice@example.org"]);
    enroll.see("A code was sent by mail to a…@example.org. It is good for 60 seconds.");
    enroll.see("Code that was sent: ");
    enroll.enter(&code_in(post.last(1).text()));
    enroll.see("Codes for alice are sent by mail to a…@example.org from now on.");
    assert_eq!(enroll.end().status, 0);

    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer("Password: ", PASSWORD);
    ssh.see("A code was sent by mail to a…@example.org. It is good for ");
    ssh.see(PROMPT);
    let mail = post.last(2);
    assert_eq!(mail.header("To"), "alice@example.org");
    assert_eq!(mail.header("From"), "root@machine");
    assert_eq!(mail.header("Subject"), "Your verification code for machine");
    assert_eq!(mail.header("Content-Type"), "text/plain; charset=utf-8");
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    let date = machine.run(&format!("date -u -d '{}' +%s", mail.header("Date")));
    let age = clock::system() - date.trim().parse::<i64>().expect("a date");
    assert!((0..60).contains(&age), "{}", mail.header("Date"));
    assert!(mail.header("Message-ID").ends_with("@machine>"));
    for part in [
        "sshd on machine",
        "alice from 127.0.0.1",
        "60 seconds",
        "somebody else is trying to, and may know\nyour password",
        "tell your administrator",
    ] {
        assert!(mail.text().contains(part), "{part}: {}", mail.text());
    }
    let code = code_in(mail.text());
    machine.log().keep_secret(&code);
    ssh.enter(&code);
    ssh.assert_ends_well("alice");
    machine
        .log()
        .assert_has(&["event=sent", "user=alice", "by mail to a...@example.org"]);
    machine
        .log()
        .assert_has(&["event=accepted", "user=alice", "device=mail"]);

    let mut again = machine.ssh("alice", &["id", "-un"]);
    again.answer("Password: ", PASSWORD);
    again.see(PROMPT);
    assert_ne!(code_in(post.last(3).text()), code);
    again.enter(&code);
    again.see("(Attempts left: 2)");
}

#[test]
fn who_has_an_app_too_asks_for_a_code_by_a_letter_that_costs_nothing() {
    let gateway = Gateway::new();
    let scratch = scratch_with(&gateway);
    scratch.enroll(ACCOUNT, &Phone::new(Phone::SECRET));
    enroll_text(&scratch);
    let app = scratch.login(
        ACCOUNT,
        Phone::new(Phone::SECRET).code_at(clock::now()).as_str(),
    );
    assert_eq!(app.code, Code::SUCCESS);
    let offer = format!("\nt: send a code by text message to …4567\n{PROMPT}");
    assert_eq!(app.asked(), [offer.as_str()]);
    assert_eq!(gateway.handed().len(), 0, "nobody asked for one");

    let mut letters = vec!["T", "r", "", "m"].into_iter();
    let outcome = login(&scratch, |_| letters.next().unwrap_or("000000").into());
    assert_eq!(outcome.code, Code::AUTH_ERR);
    let asked = outcome.asked();
    assert!(
        asked[1].contains("A code was sent by text message to …4567."),
        "{asked:?}"
    );
    assert!(
        asked[2].contains("Another code can be sent in"),
        "{asked:?}"
    );
    assert!(
        asked[3].contains("Another code can be sent in"),
        "{asked:?}"
    );
    assert_eq!(asked.len(), 4, "m was not offered, and is a wrong answer");
    assert!(outcome.told()[0].contains("Attempts left: 2"));
    let handed = gateway.handed();
    assert_eq!(handed.len(), 1);
    assert_eq!(handed[0].arguments, "--to\n+41791234567\n");

    let outcome = login(&scratch, |_| gateway.code().as_str().into());
    assert_eq!(
        outcome.code,
        Code::SUCCESS,
        "the next try of the same login may use it"
    );
    assert_eq!(gateway.handed().len(), 1);
    let outcome = login(&scratch, |_| gateway.code().as_str().into());
    assert_eq!(outcome.code, Code::AUTH_ERR);
}

#[test]
fn t52_a_command_is_given_nothing_but_the_message() {
    let gateway = Gateway::new();
    let scratch = scratch_with(&gateway);
    enroll_text(&scratch);
    let outcome = login(&scratch, |_| "000000".into());
    assert_eq!(outcome.code, Code::AUTH_ERR);
    let handed = gateway.handed().pop().expect("a message");
    let code = code_in(&handed.input);
    assert!(
        !handed.surroundings.contains(&code),
        "in no argument and no environment"
    );
    for part in [
        "uid=65534(nobody)",
        "LANG=C.UTF-8",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "\n/\n",
    ] {
        assert!(
            handed.surroundings.contains(part),
            "{part}: {}",
            handed.surroundings
        );
    }
}

#[test]
fn t53_of_24_who_type_the_same_code_one_gets_in() {
    const PEOPLE: usize = 24;
    for round in 0..5 {
        let gateway = Gateway::new();
        let scratch = scratch_with(&gateway);
        enroll_text(&scratch);
        let ready = AtomicUsize::new(0);
        let ended: Vec<Code> = thread::scope(|scope| {
            let people: Vec<_> = (0..PEOPLE)
                .map(|_| {
                    scope.spawn(|| {
                        let answer = |_: &Message| {
                            ready.fetch_add(1, Ordering::SeqCst);
                            wait_for("everybody to be asked", || {
                                ready.load(Ordering::SeqCst) == PEOPLE
                            });
                            gateway.code().as_str().into()
                        };
                        login(&scratch, answer).code
                    })
                })
                .collect();
            let ended = people.into_iter().map(|one| one.join().expect("a code"));
            ended.collect()
        });
        let won = ended.iter().filter(|code| **code == Code::SUCCESS).count();
        assert_eq!(won, 1, "round {round}: {ended:?}");
        assert_eq!(gateway.handed().len(), 1, "round {round}");
    }
}

#[test]
fn a_code_dies_with_its_time_with_the_next_one_and_with_the_third_wrong_answer() {
    let gateway = Gateway::new();
    let scratch = scratch_with(&gateway);
    enroll_text(&scratch);
    let now = clock::system();
    let at = |seconds: i64, answer: &str| {
        clock::set(now + seconds);
        login(&scratch, |_| answer.into()).code
    };
    assert_eq!(at(0, ""), Code::AUTH_ERR);
    let first = gateway.code();
    assert_eq!(at(60, &first), Code::AUTH_ERR, "its time is over");
    let second = gateway.code();
    let mut answers = vec!["r"].into_iter();
    clock::set(now + 91);
    let resent = login(&scratch, |_| answers.next().unwrap_or(&second).into());
    assert_eq!(resent.code, Code::AUTH_ERR, "another one was sent");
    let third = gateway.code();
    assert_ne!(second, third);
    assert_eq!(at(92, "111111"), Code::AUTH_ERR);
    assert_eq!(at(93, &third), Code::AUTH_ERR, "locked, or dead");
}

#[test]
fn a_code_dies_of_the_third_wrong_answer_where_nobody_is_locked_out() {
    for (wrong, is_alive) in [(2, true), (3, false)] {
        let gateway = Gateway::new();
        let scratch = Scratch::new(&format!("{}[limits]\ndeny = 9\n", gateway.settings()));
        enroll_text(&scratch);
        let first = login(&scratch, |_| another_than(&gateway.code()).as_str().into());
        assert_eq!(first.code, Code::AUTH_ERR);
        let code = gateway.code();
        for _ in 1..wrong {
            let next = login(&scratch, |_| another_than(&code).as_str().into());
            assert_eq!(next.code, Code::AUTH_ERR);
        }
        let last = login(&scratch, |_| code.as_str().into());
        assert_eq!(last.asked().len(), 1, "{wrong}: {last:?}");
        assert_eq!(last.code == Code::SUCCESS, is_alive, "{wrong}: {last:?}");
        let is_counted = last
            .told()
            .iter()
            .any(|told| told.contains("Attempts left"));
        assert_eq!(is_counted, !is_alive, "{wrong}: {last:?}");
    }
}

/// A code of the same length that is not it.
fn another_than(code: &str) -> String {
    let other = |digit: char| if digit == '1' { '2' } else { '1' };
    code.chars().map(other).collect()
}

#[test]
fn a_gateway_that_hangs_keeps_nobody_else_waiting() {
    let gateway = Gateway::that("sleep 600");
    let scratch = scratch_with(&gateway);
    let phone = Phone::new(Phone::SECRET);
    scratch.enroll(ACCOUNT, &phone);
    enroll_text(&scratch);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut letters = ["t"].into_iter();
            login(&scratch, |_| letters.next().unwrap_or_default().into())
        });
        wait_for("the message to be handed over", || {
            !gateway.handed().is_empty()
        });
        let code = phone.code_at(clock::system());
        let elsewhere = scratch.login_from("198.51.100.9", ACCOUNT, code.as_str());
        assert_eq!(elsewhere.code, Code::SUCCESS, "{elsewhere:?}");
        assert!(!waiting.is_finished(), "nothing hung");
        let outcome = waiting.join().expect("an outcome");
        let said = outcome.asked().concat();
        assert!(said.contains("No code could be sent"), "{said}");
    });
}

#[test]
fn a_thousand_requests_in_a_minute_send_no_more_than_is_configured() {
    let gateway = Gateway::new();
    let scratch = scratch_with(&gateway);
    enroll_text(&scratch);
    let began = clock::system();
    for request in 0..1000 {
        let now = began + request / 17;
        let address = format!("198.51.{}.{}", request % 250, request / 250);
        clock::set(now);
        let mut login = scratch.start(ACCOUNT, |_: &Message| Reply::from(""));
        login.set(Item::Rhost, &address);
        assert_eq!(login.authenticate(0), Code::AUTH_ERR);
    }
    assert_eq!(
        gateway.handed().len(),
        4,
        "as many as can wait in a minute, and per_hour is 5"
    );
}

#[test]
fn strangers_have_so_many_codes_sent_in_an_hour_and_more_in_the_next() {
    let gateway = Gateway::new();
    let scratch = scratch_with(&gateway);
    enroll_text(&scratch);
    let began = clock::system();
    // Each ends before the next one is asked for.
    let ask = |number: i64, seconds| {
        clock::set(began + seconds);
        let mut login = scratch.start(ACCOUNT, |_: &Message| Reply::from(""));
        login.set(Item::Rhost, &format!("198.51.100.{number}"));
        assert_eq!(login.authenticate(0), Code::AUTH_ERR);
        gateway.handed().len()
    };
    let sent = [0, 61, 122, 183, 244, 305, 3500].map(|seconds| ask(seconds / 61, seconds));
    assert_eq!(sent, [1, 2, 3, 4, 5, 5, 5], "per_hour is 5");
    assert_eq!(ask(60, 3601), 6);
}

#[test]
fn a_code_that_was_sent_is_in_no_file() {
    let gateway = Gateway::new();
    let scratch = scratch_with(&gateway);
    enroll_text(&scratch);
    let keeping = |text: &str| {
        let mut paths = tree::names(&scratch.path(""));
        paths.retain(|path| {
            let bytes = path.is_file().then(|| fs::read(path).expect("a file"));
            let mut places = bytes.iter().flat_map(|bytes| bytes.windows(text.len()));
            places.any(|place| place == text.as_bytes())
        });
        paths
    };
    let mut kept = None;
    let outcome = login(&scratch, |_| {
        let code = gateway.code();
        kept = Some((keeping(&code), keeping("+41791234567")));
        code.as_str().into()
    });
    assert_eq!(outcome.code, Code::SUCCESS);
    assert_eq!(kept, Some((Vec::new(), vec![scratch.secret(ACCOUNT)])));
}

#[test]
fn a_gateway_that_fails_keeps_nobody_from_another_code() {
    let gateway = Gateway::new();
    let scratch = scratch_with(&gateway);
    let phone = Phone::new(Phone::SECRET);
    scratch.enroll(ACCOUNT, &phone);
    enroll_text(&scratch);
    for (then, period) in [("exit 7", 0), ("kill -9 $$", 1), ("sleep 600", 2)] {
        gateway.does(then);
        let mut answers = vec!["t".to_owned()].into_iter();
        let now = clock::system() + period * 30;
        clock::set(now);
        let outcome = login(&scratch, |_| {
            let code = phone.code_at(now);
            answers.next().unwrap_or(code).as_str().into()
        });
        assert_eq!(outcome.code, Code::SUCCESS, "{then}");
        let asked = outcome.asked();
        assert!(
            asked[1].contains("No code could be sent by text message."),
            "{then}: {asked:?}"
        );
    }
}

#[test]
fn a_gateway_may_print_what_it_likes_and_leave_a_daemon_behind() {
    let gateway = Gateway::new();
    let scratch = scratch_with(&gateway);
    enroll_text(&scratch);
    let began = clock::system();
    for (period, then) in [
        "yes | head -c 10000000",
        "yes | head -c 10000000 >&2",
        "sleep 20 & exit 0",
    ]
    .iter()
    .enumerate()
    {
        gateway.does(then);
        clock::set(began + 60 * i64::try_from(period).expect("few"));
        let asked = Instant::now();
        let outcome = login(&scratch, |_| gateway.code().as_str().into());
        assert_eq!(outcome.code, Code::SUCCESS, "{then}");
        assert!(asked.elapsed() < Duration::from_secs(10), "{then}");
        assert!(
            outcome.asked()[0].contains("A code was sent"),
            "{then}: {outcome:?}"
        );
    }
}

#[test]
fn strangers_keep_no_familiar_place_from_a_code() {
    let gateway = Gateway::new();
    let scratch = scratch_with(&gateway);
    enroll_text(&scratch);
    let began = clock::system();
    clock::set(began);
    let at_home = login(&scratch, |_| gateway.code().as_str().into());
    assert_eq!(at_home.code, Code::SUCCESS);
    clock::set(began + 60);
    for stranger in 0..6 {
        let address = format!("198.51.100.{stranger}");
        scratch.login_from(&address, ACCOUNT, Reply::Null);
    }
    assert_eq!(gateway.handed().len(), 5, "four wait at most");
    let at_home = login(&scratch, |_| gateway.code().as_str().into());
    assert_eq!(at_home.code, Code::SUCCESS, "{at_home:?}");
}

#[test]
fn who_has_a_mailbox_and_a_telephone_is_told_of_both_letters() {
    let gateway = Gateway::new();
    let broken = "[delivery.mail]\ncommand = [\"/bin/false\"]\n";
    let scratch = Scratch::new(&format!("{broken}{}", gateway.settings()));
    let mail = ["enroll", ACCOUNT, "--mail", "d@example.org", "--no-confirm"];
    assert!(scratch.totpctl(&mail, "").status.success());
    enroll_text(&scratch);
    let began = clock::system();
    clock::set(began);
    let mut letters = vec!["r", "t"].into_iter();
    let outcome = login(&scratch, |_| {
        letters.next().map_or(Reply::Null, Reply::from)
    });
    let asked = outcome.asked();
    let other = "t: send one by text message";
    assert!(
        asked[0].starts_with("\nNo code could be sent by mail. ")
            && asked[0].contains("\n(r: try again, t: send one"),
        "{asked:?}"
    );
    for asked in &asked[1..] {
        let words = "\nAnother code can be sent in 30 seconds.";
        assert!(asked.starts_with(words), "none was sent: {asked:?}");
    }
    assert_eq!(asked.len(), 3, "t waits like r");
    clock::set(began + 30);
    let mut letters = vec!["t"].into_iter();
    let outcome = login(&scratch, |_| match letters.next() {
        Some(letter) => letter.into(),
        None => gateway.code().as_str().into(),
    });
    let asked = outcome.asked();
    assert!(
        asked[0].starts_with("\nThe last code by mail to d…@example.org is good for 30 more")
            && asked[0].contains(other),
        "{asked:?}"
    );
    assert_eq!(outcome.code, Code::SUCCESS, "{asked:?}");
    let explained = scratch.document(&["explain", "--user", ACCOUNT, "--service", "scratch"]);
    assert_eq!(explained["sent"][1]["address"], "…4567");
}

#[test]
fn what_has_nothing_to_send_is_not_counted_and_doctor_says_what_is_missing() {
    let gateway = Gateway::new();
    let scratch = scratch_with(&gateway);
    enroll_text(&scratch);
    let template = scratch.path("template");
    let settings = format!(
        "{}template = {template:?}\nper_hour = 1\n",
        gateway.settings()
    );
    scratch.configure(&settings);
    let found = |words: &str| {
        let said = scratch.totpctl(&["doctor"], "").stdout;
        String::from_utf8_lossy(&said).contains(words)
    };
    for _ in 0..2 {
        let outcome = login(&scratch, |_| Reply::Null);
        assert!(
            outcome.asked()[0].contains("No code could be sent"),
            "{outcome:?}"
        );
    }
    assert!(found("WARNING unsendable"));
    assert!(found(&format!("lets them in: {ACCOUNT}.")));
    fs::write(&template, "{code}\n").expect("writes the template");
    assert!(!found("unsendable"));
    let outcome = login(&scratch, |_| gateway.code().as_str().into());
    assert_eq!(outcome.code, Code::SUCCESS);
    fs::write(&template, "no code\n").expect("writes the template");
    assert!(found("there is no {code} in it"));
    scratch.configure("");
    assert!(found("no [delivery.text] is configured"));
}

#[test]
fn a_notice_that_the_owner_cannot_get_is_sent_to_the_others() {
    let gateway = Gateway::that(
        "if grep -q '^To: daemon$' \"$(dirname \"$0\")\"/box/*-$$/input; then exit 1; fi",
    );
    let scratch = Scratch::new(&format!(
        "[notify]\ncommand = [{:?}, \"{{address}}\"]\ncopy_to = \"soc@example.org\"\n",
        gateway.program().display().to_string()
    ));
    scratch.enroll(ACCOUNT, &Phone::new(Phone::SECRET));
    let handed = gateway.handed();
    let to: Vec<&str> = handed.iter().map(|one| one.arguments.trim_end()).collect();
    assert_eq!(to, [ACCOUNT, "soc@example.org"]);
}

#[test]
fn who_has_a_telephone_may_bind_the_only_app_to_an_ssh_key() {
    let scratch = scratch_with(&Gateway::new());
    scratch.enroll(ACCOUNT, &Phone::new(Phone::SECRET));
    let key = SshKey::new(&scratch.path("key")).fingerprint;
    let bind = ["device", "bind", ACCOUNT, "phone", "--ssh-key", &key];
    assert_eq!(scratch.totpctl(&bind, "").status.code(), Some(1));
    enroll_text(&scratch);
    assert_eq!(scratch.totpctl(&bind, "").status.code(), Some(0));
}

#[test]
fn backup_codes_and_notices_go_by_mail_where_the_site_wants_that() {
    let settings = "[backup_codes]\nsend = \"mail\"\n\
                    [policy]\ndisable_confirm = \"both\"\n\
                    [notify]\ncommand = [\"/usr/sbin/sendmail\", \"-t\", \"-i\"]\ncopy_to = \"soc@example.org\"\n";
    let machine =
        Machine::new()
            .user("alice", PASSWORD)
            .file("/etc/security/pam_totp.toml", "644", settings);
    let post = Post::of(&machine);
    let mut alice = machine.enroll("alice");
    let to: Vec<String> = post
        .mails(2)
        .iter()
        .map(|mail| mail.header("To").to_owned())
        .collect();
    assert!(
        to.contains(&"alice".to_owned()) && to.contains(&"soc@example.org".to_owned()),
        "{to:?}"
    );
    machine.run("totpctl enroll alice --mail alice@example.org --no-confirm");
    let mails = post.mails(4);
    assert!(
        mails
            .iter()
            .any(|mail| mail.header("To") == "alice@example.org")
    );
    assert_eq!(
        mails[3].header("Subject"),
        "Second factor of alice on machine: enrolled"
    );

    let made = machine.run("totpctl backup-codes alice --regenerate --json");
    let made: serde_json::Value = serde_json::from_str(&made).expect("a document");
    let first = made["codes"][0].as_str().expect("a code").to_owned();
    let mails = post.mails(7);
    let sent = mails
        .iter()
        .find(|mail| mail.header("Subject") == "Your backup codes for machine");
    assert!(sent.expect("the codes").text().contains(&first));
    for notice in mails
        .iter()
        .filter(|mail| mail.header("Subject").contains("Second factor"))
    {
        assert!(!notice.text().contains(&first));
    }

    let mut disable = machine.terminal(&["totpctl", "disable", "alice"]);
    disable.see("First, a code of an app or token of alice, or a backup code: ");
    disable.enter(&alice.code());
    disable.see("A code was sent by mail to a…@example.org.");
    disable.see("The code sent by mail to a…@example.org: ");
    let code = code_in(post.last(8).text());
    disable.enter(&code);
    disable.see("alice is not enrolled any more.");
    disable.end();
    let mails = post.mails(10);
    let last = &mails[8..];
    assert!(
        last.iter()
            .any(|mail| mail.header("To") == "alice@example.org"),
        "{last:?}"
    );
    assert!(last[0].text().contains("event=disabled"));
}

#[test]
fn where_a_mail_confirms_the_end_no_code_of_an_app_does_and_it_stays_good() {
    let machine = Machine::new().user("alice", PASSWORD).file(
        "/etc/security/pam_totp.toml",
        "644",
        "[policy]\ndisable_confirm = \"mail\"\n",
    );
    let post = Post::of(&machine);
    let mut alice = machine.enroll("alice");
    machine.run("totpctl enroll alice --mail alice@example.org --no-confirm");
    let prompt = "The code sent by mail to a…@example.org: ";

    let mut disable = machine.terminal(&["totpctl", "disable", "alice"]);
    disable.see(prompt);
    let mail = post.last(1);
    assert_eq!(
        mail.header("Subject"),
        "Your code to turn the second factor off on machine"
    );
    assert!(
        mail.text()
            .contains("turns the second factor of alice on machine off"),
        "{}",
        mail.text()
    );
    assert!(!mail.text().contains("login"), "{}", mail.text());
    disable.enter(&alice.code());
    disable.see("that is not the code sent by mail to a…@example.org, and no other counts here");
    assert_eq!(disable.end().status, 1);
    let status = machine.run("totpctl status alice");
    assert!(status.contains("SHA1, never used"), "{status}");

    let mut disable = machine.terminal(&["totpctl", "disable", "alice"]);
    disable.see(prompt);
    disable.enter(&code_in(mail.text()));
    disable.see("alice is not enrolled any more.");
    assert_eq!(disable.end().status, 0);
}

fn scratch_with(gateway: &Gateway) -> Scratch {
    Scratch::new(&gateway.settings())
}

fn enroll_text(scratch: &Scratch) {
    let output = scratch.totpctl(
        &[
            "enroll",
            ACCOUNT,
            "--text",
            "+41 79 123 45 67",
            "--no-confirm",
        ],
        "",
    );
    assert!(output.status.success(), "{output:?}");
}

fn login(scratch: &Scratch, mut answer: impl FnMut(&Message) -> Reply) -> Outcome {
    let mut login = scratch.start(ACCOUNT, |message: &Message| {
        match message.style.is_prompt() {
            true => answer(message),
            false => Reply::Null,
        }
    });
    let code = login.authenticate(0);
    let heard = login.heard();
    Outcome { code, heard }
}

const PASSWORD: &str = "correct horse";
