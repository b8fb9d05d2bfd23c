//! Enrolling: what a person sees and scans, and what is left when it doesn't come to an end.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use end_to_end::enrolled::Enrolled;
use end_to_end::libpam::Code;
use end_to_end::log::Log;
use end_to_end::machine::{Machine, output};
use end_to_end::mounts::{self, Disk};
use end_to_end::phone::{Hash, Phone};
use end_to_end::picture::{Image, decoded};
use end_to_end::product::{self, ACCOUNT, NO_LIMITS, Scratch};
use end_to_end::terminal::Terminal;
use end_to_end::tree::{Tree, tree};
use serde_json::Value;

/// Enrolls on a terminal of `rows` and `columns`.
fn enroll_on(
    scratch: &Scratch,
    (rows, columns): (usize, usize),
    locale: &str,
    words: &[&str],
) -> Terminal {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    // It is the terminal that wants a log. What totpctl logs is a matter of the machine's tests.
    let log = format!("log-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = Arc::new(Log::listen(&folder.path().join(log)));
    let mut sized = Command::new("/bin/sh");
    sized
        .args([
            "-c",
            &format!("stty rows {rows} cols {columns}; exec \"$@\""),
        ])
        .args(["sh", "env", "-i", "TERM=dumb", &format!("LC_ALL={locale}")])
        .arg(product::totpctl())
        .arg("--config")
        .arg(scratch.config())
        .args(["enroll", ACCOUNT])
        .args(words);
    Terminal::open(sized, log)
}

/// Enrolls on a terminal that everything fits.
fn enroll(scratch: &Scratch, words: &[&str]) -> Terminal {
    enroll_on(scratch, (60, 200), "C.UTF-8", words)
}

/// Enrolls through pipes.
fn enroll_piped(
    scratch: &Scratch,
    environment: &[(&str, &str)],
    words: &[&str],
    input: &str,
) -> Output {
    let mut totpctl = Command::new(product::totpctl());
    totpctl
        .env_clear()
        .envs(environment.iter().copied())
        .arg("--config")
        .arg(scratch.config())
        .args(["enroll", ACCOUNT])
        .args(words);
    output(totpctl, input.as_bytes())
}

fn everything(scratch: &Scratch) -> Tree {
    tree(&scratch.path(""))
}

/// What totpctl shows before it asks for a code.
struct Shown {
    groups: Vec<String>,
    description: String,
    uri: String,
    /// The lines of the QR code.
    picture: Vec<String>,
    /// The lines from the first of the picture to the last.
    below: usize,
}

impl Shown {
    fn on(terminal: &mut Terminal) -> Self {
        let bytes: Vec<u8> = terminal.see(CODE_PROMPT).chars().map(|c| c as u8).collect();
        Self::read(&String::from_utf8(bytes).expect("text"))
    }

    fn read(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let find = |sign: &dyn Fn(&str) -> bool| lines.iter().position(|line| sign(line.trim()));
        let uri = find(&|line| line.starts_with("otpauth://")).expect("a URI");
        let description = find(&|line| line.starts_with("time-based")).expect("a description");
        let key = find(&|line| line.ends_with("QR code:")).expect("an introduction") + 2;
        let is_drawn = |line: &str| {
            // The margin of the picture makes its first line one unbroken row.
            line.len() > 20
                && (line.chars().all(|c| "█▀▄ ".contains(c))
                    || line.chars().all(|c| "# ".contains(c)))
        };
        let picture: Vec<String> = text
            .lines()
            .filter(|line| is_drawn(line.trim_end_matches('\r')))
            .map(|line| line.trim_end_matches('\r').to_owned())
            .collect();
        let first = lines.iter().position(|line| is_drawn(line));
        Self {
            groups: lines[key].split_whitespace().map(str::to_owned).collect(),
            description: lines[description].trim().to_owned(),
            uri: lines[uri].trim().to_owned(),
            picture,
            below: first.map_or(0, |first| lines.len() - first),
        }
    }

    fn secret(&self) -> String {
        self.groups.concat()
    }

    fn phone(&self) -> Phone {
        Phone::new(&self.secret())
    }

    /// What a camera reads from the screen.
    #[track_caller]
    fn scanned(&self) -> String {
        Image::of_screen(&self.picture).decoded()
    }
}

/// What a URI says beside the secret: apps take the usual for granted.
fn spelled_out(hash: Hash, digits: u32, period: u32) -> String {
    let said = [
        (format!("&algorithm={hash}"), hash == Hash::Sha1),
        (format!("&digits={digits}"), digits == 6),
        (format!("&period={period}"), period == 30),
    ];
    let said = said.into_iter().filter(|(_, is_usual)| !is_usual);
    said.map(|(text, _)| text).collect()
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
    name.trim().to_owned()
}

fn status_of(output: &Output) -> Option<i32> {
    output.status.code()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn assert_lets_in(scratch: &Scratch, code: &str) {
    assert_eq!(scratch.login(ACCOUNT, code).code, Code::SUCCESS);
}

fn assert_keeps_out(scratch: &Scratch, code: &str) {
    assert_eq!(scratch.login(ACCOUNT, code).code, Code::AUTH_ERR);
}

/// Not everybody's PATH leads there.
const INSTALLED: &str = "/usr/local/sbin/totpctl";
const CODE_PROMPT: &str = "Code from your app: ";
const WELCOME: &str = "Device phone of daemon is active.\r\n\
                       The code just typed is used up: wait for the next code to log in.";

#[test]
fn key_uri_and_picture_say_the_same() {
    let host = host();
    for (words, hash, digits, period, label) in [
        (&[][..], Hash::Sha1, 6, 30, "phone"),
        (
            &["--device", "tablet", "--algorithm", "sha256"],
            Hash::Sha256,
            6,
            30,
            "tablet",
        ),
        (
            &["--algorithm", "SHA512", "--digits", "8", "--period", "60"],
            Hash::Sha512,
            8,
            60,
            "phone",
        ),
        (
            &["--digits", "7", "--period", "15"],
            Hash::Sha1,
            7,
            15,
            "phone",
        ),
    ] {
        for locale in ["C.UTF-8", "C"] {
            let scratch = Scratch::new("issuer = \"Bank of Examples\"\n");
            let output = enroll_piped(&scratch, &[("LC_ALL", locale)], words, "");
            let shown = Shown::read(text(&output.stdout));
            assert_eq!(
                shown.groups.iter().map(String::len).collect::<Vec<_>>(),
                [4; 8]
            );
            let secret = shown.secret();
            assert_eq!(
                shown.uri,
                format!(
                    "otpauth://totp/Bank%20of%20Examples:{ACCOUNT}@{host}%20({label})?secret={secret}\
                     &issuer=Bank%20of%20Examples{}",
                    spelled_out(hash, digits, period)
                )
            );
            assert_eq!(
                shown.description,
                format!("time-based, {hash}, {digits} digits, {period} seconds")
            );
            assert_eq!(shown.scanned(), shown.uri, "{words:?} in {locale}");
        }
    }
}

#[test]
fn every_new_secret_is_another() {
    let scratch = Scratch::new("");
    let secrets = (0..20).map(|_| {
        let output = enroll_piped(&scratch, &[], &["--qr", "none"], "");
        Shown::read(text(&output.stdout)).secret()
    });
    let mut secrets: Vec<String> = secrets.collect();
    secrets.sort();
    secrets.dedup();
    assert_eq!(secrets.len(), 20);
}

#[test]
fn the_locale_and_then_the_option_decide_how_the_picture_is_drawn() {
    let scratch = Scratch::new("");
    for (environment, words, signs) in [
        (&[("LC_ALL", "C.UTF-8")][..], &[][..], "█▀▄ "),
        (&[("LANG", "de_DE.utf8")], &[], "█▀▄ "),
        (&[("LC_CTYPE", "C.UTF-8"), ("LANG", "C")], &[], "█▀▄ "),
        (&[("LC_ALL", ""), ("LANG", "en_US.UTF-8")], &[], "█▀▄ "),
        (&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")], &[], "# "),
        (&[("LC_CTYPE", "POSIX"), ("LANG", "C.UTF-8")], &[], "# "),
        (&[("LANG", "de_DE.ISO-8859-1")], &[], "# "),
        (&[], &[], "# "),
        (&[], &["--qr", "utf8"], "█▀▄ "),
        (&[("LC_ALL", "C.UTF-8")], &["--qr", "ascii"], "# "),
    ] {
        let output = enroll_piped(&scratch, environment, words, "");
        let shown = Shown::read(text(&output.stdout));
        let drawn = shown.picture.concat();
        assert!(!drawn.is_empty(), "{environment:?} {words:?}");
        assert!(
            drawn.chars().all(|sign| signs.contains(sign)),
            "{environment:?} {words:?}"
        );
        assert_eq!(shown.scanned(), shown.uri, "{environment:?} {words:?}");
    }
    let output = enroll_piped(&scratch, &[], &["--qr", "none"], "");
    assert!(Shown::read(text(&output.stdout)).picture.is_empty());
}

#[test]
fn a_terminal_gets_a_picture_that_fits_with_the_prompt_below_or_a_sentence() {
    const SHORT: &str = "issuer = \"E\"
";
    const LONG: &str = "issuer = \"The Bank of Examples, Department of Examples\"
";
    for (size, locale, settings, fits) in [
        ((60, 200), "C.UTF-8", SHORT, true),
        ((60, 200), "C.UTF-8", LONG, true),
        ((60, 200), "C", SHORT, true),
        ((24, 80), "C.UTF-8", LONG, false),
        ((24, 80), "C", SHORT, false),
        ((60, 30), "C.UTF-8", SHORT, false),
        ((10, 200), "C.UTF-8", SHORT, false),
        ((60, 70), "C", SHORT, false),
    ] {
        let scratch = Scratch::new(settings);
        let mut terminal = enroll_on(&scratch, size, locale, &[]);
        let shown = Shown::on(&mut terminal);
        if fits {
            assert_eq!(shown.scanned(), shown.uri, "{size:?} {locale}");
        } else {
            assert_eq!(shown.picture, Vec::<String>::new(), "{size:?} {locale}");
            let smaller = match locale {
                "C" => ", or --qr utf8",
                _ => "",
            };
            let told = format!(
                "enlarge this terminal of {} columns\r\nand {} rows (or give --qr-file NAME.png{smaller})",
                size.1, size.0
            );
            assert!(terminal.seen().contains(&told), "{}", terminal.seen());
        }
        // Who types the key instead gets in just the same.
        terminal.enter(&Enrolled::with(shown.phone()).code());
        assert_eq!(terminal.end().status, 0, "{size:?} {locale}");
    }
}

#[test]
fn a_usual_terminal_holds_the_picture_and_the_prompt() {
    // The test's own machine may have a name of any length, this one has a usual one.
    let machine = Machine::new().file(
        "/etc/security/pam_totp.toml",
        "644",
        "issuer = \"Example\"\n",
    );
    let on_80x24 = "stty rows 24 cols 80; exec totpctl enroll daemon";
    let mut terminal = machine.terminal(&["sh", "-c", on_80x24]);
    let shown = Shown::on(&mut terminal);
    assert_eq!(shown.scanned(), shown.uri);
    assert!(shown.below <= 24, "{} rows", shown.below);
    assert!(shown.picture[0].chars().count() <= 80);
    machine.log().keep_secret(&shown.secret());
    terminal.interrupt();
    terminal.end();
}

#[test]
fn the_files_hold_the_same_picture() {
    let picture = |name: &str| {
        let scratch = Scratch::new("");
        let path = scratch.path(name);
        let words = ["--no-confirm", "--qr-file", path.to_str().expect("text")];
        let output = enroll_piped(&scratch, &[], &words, "");
        (scratch, path, Shown::read(text(&output.stdout)).uri)
    };
    let (_scratch, png, uri) = picture("code.png");
    assert_eq!(decoded(&png), uri);
    let (_scratch, svg, uri) = picture("code.svg");
    let drawn = fs::read_to_string(svg).expect("an SVG");
    assert_eq!(Image::of_svg(&drawn).decoded(), uri);
}

#[test]
fn a_right_code_enrolls_after_wrong_ones() {
    for wrong in 0..3 {
        let scratch = Scratch::new("");
        let mut terminal = enroll(&scratch, &[]);
        let mut person = Enrolled::with(Shown::on(&mut terminal).phone());
        for left in (0..3).rev().take(wrong) {
            terminal.enter(&person.wrong_code());
            terminal.see(&format!("(Attempts left: {left})"));
            terminal.see(CODE_PROMPT);
        }
        terminal.enter(&person.code());
        terminal.assert_ends_well(WELCOME);
        assert_lets_in(&scratch, &person.code());
    }
}

#[test]
fn a_code_is_read_as_people_type_it() {
    let scratch = Scratch::new("");
    let mut terminal = enroll(&scratch, &[]);
    let mut person = Enrolled::with(Shown::on(&mut terminal).phone());
    let code = person.code();
    terminal.enter(&format!(" {}-{} {} ", &code[..1], &code[1..3], &code[3..]));
    terminal.assert_ends_well(WELCOME);
}

#[test]
fn the_confirming_code_is_used_up_and_the_next_one_is_not() {
    let scratch = Scratch::new("");
    let mut terminal = enroll(&scratch, &[]);
    let mut person = Enrolled::with(Shown::on(&mut terminal).phone());
    let used = person.code();
    terminal.enter(&used);
    terminal.assert_ends_well(WELCOME);
    assert_keeps_out(&scratch, &used);
    assert_lets_in(&scratch, &person.code());
}

#[test]
fn everything_works_through_pipes_and_as_a_document() {
    let scratch = Scratch::new("");
    let phone = Phone::new(Phone::SECRET);
    let mut person = Enrolled::with(phone.clone());
    let used = person.code();
    let input = format!("{}\n12345\n{used}\n", phone.uri());
    let words = ["--secret-file", "-", "--json"];
    let output = enroll_piped(&scratch, &[("LC_ALL", "C.UTF-8")], &words, &input);
    assert_eq!(status_of(&output), Some(0), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let told = text(&output.stderr);
    assert!(told.contains(CODE_PROMPT), "{told}");
    for secret in [Phone::SECRET, "otpauth://", "█"] {
        assert!(!told.contains(secret), "what may be logged: {told}");
    }
    assert_eq!(document["user"], ACCOUNT);
    assert_eq!(document["device"], "phone");
    assert_eq!(document["confirmed"], true);
    assert_eq!(document["secret"], Phone::SECRET);
    let uri = document["uri"].as_str().expect("a URI");
    assert!(uri.contains(Phone::SECRET), "{uri}");
    assert_keeps_out(&scratch, &used);
    assert_lets_in(&scratch, &person.code());
}

#[test]
fn a_program_that_can_not_know_the_key_is_asked_for_no_code() {
    let scratch = Scratch::new("");
    let before = everything(&scratch);
    let output = enroll_piped(&scratch, &[], &["--json"], "000000\n");
    assert_eq!(status_of(&output), Some(2), "{output:?}");
    assert_eq!(everything(&scratch), before);
    let output = enroll_piped(&scratch, &[], &["--json", "--no-confirm"], "");
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let phone = Phone::new(document["secret"].as_str().expect("a key"));
    assert_lets_in(&scratch, &Enrolled::with(phone).code());
}

#[test]
fn without_a_code_asked_for_the_first_code_serves() {
    let scratch = Scratch::new("");
    let output = enroll_piped(&scratch, &[], &["--no-confirm"], "");
    assert_eq!(status_of(&output), Some(0), "{output:?}");
    let shown = Shown::read(text(&output.stdout));
    assert_lets_in(&scratch, &Enrolled::with(shown.phone()).code());
}

#[test]
fn a_key_that_nobody_could_see_lets_nobody_in_and_locks_nobody_out() {
    let scratch = Scratch::new("");
    let before = everything(&scratch);
    let full = fs::File::create("/dev/full").expect("a device");
    let mut totpctl = Command::new(product::totpctl());
    totpctl
        .arg("--config")
        .arg(scratch.config())
        .args(["enroll", ACCOUNT, "--no-confirm"])
        .stdout(full);
    let status = totpctl.status().expect("totpctl starts").code();
    assert_eq!(everything(&scratch), before);
    assert_eq!(status, Some(3));
}

/// How a person walks away.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    WrongCodes,
    Interrupt,
    EndOfInput,
}

impl Leaving {
    const ALL: [Self; 3] = [Self::WrongCodes, Self::Interrupt, Self::EndOfInput];

    /// Leaves at the prompt.
    fn leave(self, terminal: &mut Terminal, person: &Enrolled) {
        match self {
            Self::WrongCodes => {
                for _ in 0..2 {
                    terminal.enter(&person.wrong_code());
                    terminal.see(CODE_PROMPT);
                }
                terminal.enter(&person.wrong_code());
            }
            Self::Interrupt => terminal.interrupt(),
            Self::EndOfInput => {
                terminal.enter("\x04");
            }
        }
    }
}

#[test]
fn who_walks_away_leaves_nothing_behind() {
    for leaving in Leaving::ALL {
        let scratch = Scratch::new("");
        let before = everything(&scratch);
        let mut terminal = enroll(&scratch, &[]);
        let person = Enrolled::with(Shown::on(&mut terminal).phone());
        assert_eq!(everything(&scratch), before, "while it is pending");
        leaving.leave(&mut terminal, &person);
        let ending = terminal.end();
        let expected = match leaving {
            // As a shell tells of a program that a signal ended.
            Leaving::Interrupt => 130,
            Leaving::WrongCodes | Leaving::EndOfInput => 1,
        };
        assert_eq!(ending.status, expected, "{leaving:?}: {ending:?}");
        assert_eq!(everything(&scratch), before, "{leaving:?}");
    }
}

/// Nobody knows by then what is in them: a whole secret file perhaps.
#[test]
fn what_a_killed_change_left_goes_away_with_a_later_one() {
    let scratch = Scratch::new("");
    scratch.enroll(ACCOUNT, &Phone::new(Phone::SECRET));
    for folder in ["secrets", "state"] {
        let (old, young, other) = (".new-old", ".new-young", "new-old");
        let path = |name| scratch.path(folder).join(name);
        for (name, hours) in [(old, 2), (young, 0), (other, 2)] {
            let file = fs::File::create_new(path(name)).expect("a new file");
            let age = Duration::from_secs(3600 * hours);
            file.set_modified(SystemTime::now() - age).expect("a time");
        }
        let words = ["enroll", ACCOUNT, "--device", folder, "--no-confirm"];
        assert_eq!(status_of(&scratch.totpctl(&words, "")), Some(0));
        let left = [old, young, other].map(|name| path(name).exists());
        assert_eq!(left, [false, true, true], "{folder}");
    }
}

#[test]
fn the_picture_of_an_enrollment_that_failed_goes_away() {
    for (words, input) in [(&[][..], "1\n2\n3\n"), (&["--json"], "")] {
        let scratch = Scratch::new("");
        let before = everything(&scratch);
        let picture = scratch.path("code.png");
        let file = ["--qr-file", picture.to_str().expect("text")];
        let output = enroll_piped(&scratch, &[], &[&file[..], words].concat(), input);
        assert_eq!(status_of(&output), Some(1), "{output:?}");
        assert_eq!(everything(&scratch), before, "{words:?}");
    }
}

#[test]
fn who_is_enrolled_stays_so_while_and_after_another_enrollment_is_pending() {
    for leaving in Leaving::ALL {
        let scratch = Scratch::new("");
        let phone = Phone::new(Phone::SECRET);
        scratch.enroll(ACCOUNT, &phone);
        let mut owner = Enrolled::with(phone);
        let before = everything(&scratch);
        let mut terminal = enroll(&scratch, &["--device", "tablet"]);
        let mut person = Enrolled::with(Shown::on(&mut terminal).phone());
        assert_eq!(everything(&scratch), before, "{leaving:?}");
        assert_keeps_out(&scratch, &person.code());
        assert_lets_in(&scratch, &owner.code());
        let before = everything(&scratch);
        leaving.leave(&mut terminal, &person);
        assert_ne!(terminal.end().status, 0);
        assert_eq!(everything(&scratch), before, "{leaving:?}");
        assert_keeps_out(&scratch, &person.code());
        assert_lets_in(&scratch, &owner.code());
    }
}

#[test]
fn a_login_during_a_pending_enrollment_is_not_forgotten() {
    let scratch = Scratch::new("");
    let phone = Phone::new(Phone::SECRET);
    scratch.enroll(ACCOUNT, &phone);
    let mut owner = Enrolled::with(phone);
    let mut terminal = enroll(&scratch, &["--device", "tablet"]);
    let mut person = Enrolled::with(Shown::on(&mut terminal).phone());
    let used = owner.code();
    assert_lets_in(&scratch, &used);
    terminal.enter(&person.code());
    assert_eq!(terminal.end().status, 0);
    assert_keeps_out(&scratch, &used);
    assert_lets_in(&scratch, &owner.code());
    assert_lets_in(&scratch, &person.code());
}

#[test]
fn a_reset_during_a_pending_enrollment_removes_the_old_devices_for_good() {
    let scratch = Scratch::new("");
    let phone = Phone::new(Phone::SECRET);
    scratch.enroll(ACCOUNT, &phone);
    let mut terminal = enroll(&scratch, &["--device", "tablet"]);
    let mut person = Enrolled::with(Shown::on(&mut terminal).phone());
    let reset = scratch.totpctl(&["reset", ACCOUNT, "--force"], "");
    assert_eq!(status_of(&reset), Some(0));
    terminal.enter(&person.code());
    assert_eq!(terminal.end().status, 0);
    assert_keeps_out(&scratch, &Enrolled::with(phone).code());
    assert_lets_in(&scratch, &person.code());
}

#[test]
fn of_two_who_enroll_one_device_the_later_is_told() {
    let scratch = Scratch::new("");
    let (mut first, mut second) = (enroll(&scratch, &[]), enroll(&scratch, &[]));
    let mut winner = Enrolled::with(Shown::on(&mut first).phone());
    let mut loser = Enrolled::with(Shown::on(&mut second).phone());
    first.enter(&winner.code());
    first.assert_ends_well(WELCOME);
    let before = everything(&scratch);
    second.enter(&loser.code());
    let told = second.end();
    assert_eq!(told.status, 1, "{told:?}");
    assert!(
        told.said.contains("there is a device named phone already"),
        "{told:?}"
    );
    assert_eq!(everything(&scratch), before);
    assert_keeps_out(&scratch, &loser.code());
    assert_lets_in(&scratch, &winner.code());
}

/// A totpctl that waits for the secret it is to enroll.
fn waiting(scratch: &Scratch, device: &str) -> Child {
    Command::new(product::totpctl())
        .arg("--config")
        .arg(scratch.config())
        .args(["enroll", ACCOUNT, "--device", device])
        .args(["--secret-file", "-", "--no-confirm"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("totpctl starts")
}

/// Gives each of `waiting` a secret of its own at the same moment.
fn release(waiting: Vec<Child>) -> Vec<(Phone, Output)> {
    let phone = |letter: char| Phone::new(&format!("{}{letter}", &Phone::SECRET[..31]));
    let mut released = Vec::new();
    for (mut child, letter) in waiting.into_iter().zip('A'..='P') {
        let mut stdin = child.stdin.take().expect("a pipe");
        // One that has been refused reads nothing.
        let _ = writeln!(stdin, "{}", phone(letter).secret);
        released.push((phone(letter), child));
    }
    let ended = released
        .into_iter()
        .map(|(phone, child)| (phone, child.wait_with_output().expect("totpctl ends")));
    ended.collect()
}

#[test]
fn of_many_who_enroll_one_device_at_once_one_wins() {
    let scratch = Scratch::new(NO_LIMITS);
    for round in 0..20 {
        let ended = release((0..8).map(|_| waiting(&scratch, "phone")).collect());
        let statuses = ended.iter().map(|(_, output)| status_of(output));
        let won = statuses.clone().filter(|status| *status == Some(0)).count();
        let told = statuses.filter(|status| *status == Some(1)).count();
        assert_eq!((won, told), (1, 7), "round {round}: {ended:?}");
        for (phone, output) in ended {
            let code = Enrolled::with(phone).code();
            let login = scratch.login(ACCOUNT, code.as_str()).code;
            assert_eq!(login == Code::SUCCESS, output.status.success());
        }
        let reset = scratch.totpctl(&["reset", ACCOUNT, "--force"], "");
        assert_eq!(status_of(&reset), Some(0));
    }
}

#[test]
fn many_who_enroll_devices_of_their_own_at_once_all_win() {
    let scratch = Scratch::new(NO_LIMITS);
    let children = (0..12).map(|number| waiting(&scratch, &format!("device-{number}")));
    let ended = release(children.collect());
    for (phone, output) in ended {
        assert_eq!(status_of(&output), Some(0), "{output:?}");
        assert_lets_in(&scratch, &Enrolled::with(phone).code());
    }
}

#[test]
fn an_enrollment_and_a_reset_at_once_leave_a_whole_person_or_none() {
    let scratch = Scratch::new(NO_LIMITS);
    for round in 0..50 {
        let mut enrolling = waiting(&scratch, "phone");
        let mut stdin = enrolling.stdin.take().expect("a pipe");
        writeln!(stdin, "{}", Phone::SECRET).expect("it reads");
        scratch.totpctl(&["reset", ACCOUNT, "--force"], "");
        let enrolled = enrolling.wait_with_output().expect("totpctl ends");
        let code = Enrolled::with(Phone::new(Phone::SECRET)).code();
        let login = scratch.login(ACCOUNT, code.as_str()).code;
        // Whoever was first: what status says is what a login finds.
        let status = scratch.status(ACCOUNT);
        let is_enrolled = status["users"][0]["enrolled"] == true;
        assert_eq!(login == Code::SUCCESS, is_enrolled, "round {round}");
        assert!(
            enrolled.status.success() || !is_enrolled,
            "round {round}: {enrolled:?}"
        );
        scratch.totpctl(&["reset", ACCOUNT, "--force"], "");
    }
}

/// Takes all that is left of a disk but `free` bytes.
fn fill(folder: &Path, free: usize) -> PathBuf {
    let path = folder.join("filler");
    let mut filler = fs::File::create(&path).expect("a new file");
    while filler.write_all(&[0; 4096]).is_ok() {}
    let length = filler.metadata().expect("a file").len();
    filler
        .set_len(length.saturating_sub(free as u64))
        .expect("a shorter file");
    path
}

#[test]
fn on_a_full_disk_the_old_device_stays_and_the_person_is_told() {
    mounts::privately(|| {
        let mut refused = 0;
        for blocks in 0..8 {
            let disk = Disk::new(2 << 20);
            let scratch = Scratch::on(disk.path(), NO_LIMITS);
            let phone = Phone::new(Phone::SECRET);
            scratch.enroll(ACCOUNT, &phone);
            let mut owner = Enrolled::with(phone);
            let filler = fill(disk.path(), blocks * 4096);
            let before = scratch.status(ACCOUNT);
            let child = waiting(&scratch, "tablet");
            let (tablet, output) = release(vec![child]).remove(0);
            let mut person = Enrolled::with(tablet);
            assert_lets_in(&scratch, &owner.code());
            if output.status.success() {
                assert_lets_in(&scratch, &person.code());
            } else {
                refused += 1;
                let told = text(&output.stderr);
                assert_eq!(status_of(&output), Some(3), "{told}");
                assert!(told.contains("No space left on device"), "{told}");
                let after = scratch.status(ACCOUNT);
                assert_eq!(
                    before["users"][0]["devices"][0]["name"],
                    after["users"][0]["devices"][0]["name"]
                );
                assert_eq!(after["users"][0]["devices"][1], Value::Null);
                assert_keeps_out(&scratch, &person.code());
                fs::remove_file(filler).expect("our own file");
                let again = release(vec![waiting(&scratch, "tablet")]).remove(0).1;
                assert_eq!(status_of(&again), Some(0), "{again:?}");
                assert_lets_in(&scratch, &person.code());
            }
        }
        assert!(refused > 0, "the disk never was full");
    });
}

#[test]
fn on_a_full_disk_nobody_is_half_enrolled() {
    mounts::privately(|| {
        let mut refused = 0;
        for blocks in (0..20).chain([100, 128, 129, 130, 131, 132]) {
            let disk = Disk::new(2 << 20);
            let scratch = Scratch::on(disk.path(), NO_LIMITS);
            let filler = fill(disk.path(), blocks * 4096);
            let (phone, output) = release(vec![waiting(&scratch, "phone")]).remove(0);
            if !output.status.success() {
                refused += 1;
                assert_eq!(status_of(&output), Some(3), "{output:?}");
                let status = scratch.status(ACCOUNT);
                assert_eq!(status["users"][0]["enrolled"], false, "{blocks}: {status}");
                fs::remove_file(filler).expect("our own file");
                let again = release(vec![waiting(&scratch, "phone")]).remove(0).1;
                assert_eq!(status_of(&again), Some(0), "{again:?}");
            }
            assert_lets_in(&scratch, &Enrolled::with(phone).code());
        }
        assert!(refused > 0, "the disk never was full");
    });
}

/// The lines that totpctl logged.
fn said(log: &Log) -> Vec<String> {
    let mut lines = log.lines();
    lines.retain(|line| line.contains("totpctl["));
    lines
}

/// Who logged in to run these tests, where that was somebody else.
fn login(uid: &str) -> String {
    let login = std::fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
    match login.trim() {
        "" | "4294967295" => String::new(),
        login if login == uid => String::new(),
        login => format!(" login:{login}"),
    }
}

#[test]
fn every_action_is_logged_once_with_who_did_it_to_whom() {
    let machine = Machine::new().user("alice", "correct horse").file(
        "/etc/sudoers",
        "440",
        "alice ALL = (ALL) NOPASSWD: ALL\n",
    );
    machine.log().keep_secret(Phone::SECRET);
    let uid = machine.run("id -u alice");
    let uid = uid.trim();
    let source = "--secret-file - --no-confirm";
    let actor = |uid: &str, sudo: &str| {
        let actor = format!("uid:{uid}{}{sudo}", login(uid));
        let quote = if actor.contains(' ') { "\"" } else { "" };
        format!("actor={quote}{actor}{quote}")
    };
    for (prefix, actor) in [
        ("", actor("0", "")),
        ("sudo", actor("0", " sudo:alice")),
        ("setpriv --ruid alice", actor(uid, "")),
    ] {
        for (action, event, device) in [
            (format!("enroll alice {source}"), "enrolled", "phone"),
            (
                format!("enroll alice --device tablet {source} --json"),
                "enrolled",
                "tablet",
            ),
            ("unlock alice".to_owned(), "unlocked", "-"),
            ("reset alice --force".to_owned(), "reset", "-"),
        ] {
            let line = format!("{prefix} {INSTALLED} {action}");
            let words: Vec<&str> = line.split_whitespace().collect();
            let command = match prefix {
                "sudo" => machine.command_as("alice", &words),
                _ => machine.command(&words),
            };
            let before = said(machine.log()).len();
            let output = output(command, Phone::SECRET.as_bytes());
            assert_eq!(status_of(&output), Some(0), "{line}: {output:?}");
            let lines = said(machine.log()).split_off(before);
            let [logged] = &lines[..] else {
                panic!("{line}: {lines:?}");
            };
            let authpriv_notice = "<85>";
            assert!(logged.starts_with(authpriv_notice), "{logged}");
            for field in [
                &format!("event={event} user=alice "),
                &format!(" device={device} "),
                &actor,
            ] {
                assert!(logged.contains(field), "{line}: no {field} in {logged}");
            }
            assert!(logged.ends_with(&actor), "{logged}");
        }
    }
}

#[test]
fn an_enrollment_on_a_terminal_logs_neither_key_nor_code() {
    let machine = Machine::new();
    let mut terminal = machine.terminal(&[
        "sh",
        "-c",
        "stty rows 60 cols 200; exec totpctl enroll daemon",
    ]);
    let shown = Shown::on(&mut terminal);
    let mut person = Enrolled::with(shown.phone());
    let (wrong, code) = (person.wrong_code(), person.code());
    for word in [&shown.secret(), &wrong, &code] {
        machine.log().keep_secret(word);
    }
    terminal.enter(&wrong).see(CODE_PROMPT);
    assert_eq!(said(machine.log()), Vec::<String>::new());
    terminal.enter(&code);
    terminal.assert_ends_well(WELCOME);
    assert_eq!(said(machine.log()).len(), 1);
}

#[test]
fn a_caller_of_a_strange_name_forges_no_line() {
    let machine = Machine::new();
    machine.enroll("daemon");
    let caller = "SUDO_USER=x\n<85>totpctl[1]: event=reset user=root actor=uid:0 \u{1b}[2J\"";
    let output = output(
        machine.command(&["env", caller, "totpctl", "unlock", "daemon"]),
        b"",
    );
    assert_eq!(status_of(&output), Some(0), "{output:?}");
    let lines = said(machine.log());
    let last = lines.last().expect("a line");
    assert!(last.contains("event=unlocked user=daemon"), "{last}");
    assert!(!last.chars().any(char::is_control), "{last}");
    // What is quoted is one value.
    let actor = format!(" actor=\"uid:0{} sudo:x\\n", login("0"));
    assert!(last.contains(&actor), "{last}");
    assert_eq!(
        last.matches('"').count() - last.matches("\\\"").count(),
        2,
        "{last}"
    );
}

#[test]
fn nothing_is_open_to_somebody_else() {
    let machine = Machine::new().user("alice", "correct horse");
    machine.enroll("alice");
    let before = machine.run("cat /var/lib/pam_totp/*/alice | sha256sum");
    for action in [
        "status",
        "status alice",
        "enroll alice --device tablet --no-confirm",
        "reset alice --force",
        "unlock alice",
    ] {
        let words: Vec<&str> = action.split(' ').collect();
        let totpctl = machine.command_as("alice", &[&[INSTALLED], &words[..]].concat());
        let output = output(totpctl, b"");
        assert_eq!(status_of(&output), Some(3), "{action}: {output:?}");
        let told = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(told.contains("run totpctl as root"), "{action}: {told}");
    }
    let after = machine.run("cat /var/lib/pam_totp/*/alice | sha256sum");
    assert_eq!(after, before);
}

/// As on ZFS before 2.2: a file system that can't be told what a renamed file must not replace.
#[test]
fn a_file_system_that_knows_no_flags_of_rename_is_good_enough() {
    let (scratch, phone) = (Scratch::new(""), Phone::new(Phone::SECRET));
    let enroll = scratch.command(&["enroll", ACCOUNT, "--secret-file", "-", "--no-confirm"]);
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-o"])
        .arg(scratch.path("calls"))
        .args(["-e", "trace=renameat2,linkat"])
        .args(["-e", "inject=renameat2:error=EINVAL"])
        .arg(enroll.get_program())
        .args(enroll.get_args());
    let ended = output(strace, phone.uri().as_bytes());
    assert!(ended.status.success(), "{ended:?}");
    let calls = fs::read_to_string(scratch.path("calls")).expect("calls");
    assert!(
        calls.contains("EINVAL") && calls.contains("linkat"),
        "{calls}"
    );
    let now = end_to_end::clock::system();
    let login = scratch.login(ACCOUNT, phone.code_at(now).as_str());
    assert_eq!(login.code, Code::SUCCESS, "{login:?}");
    let files = tree(&scratch.path("state"));
    let found = format!("{files:?}");
    assert!(!found.contains(".new-"), "{found}");
}
