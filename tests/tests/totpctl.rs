//! totpctl as a script or an administrator meets it: arguments and input in, words and exit status out.
//!
//! The cases are transcripts in tests/cli, one file each. After sentences that start with `#`, a step is a
//! line of shell (`$`), its input (`<`), what it prints (`>`) and complains about (`!`), and its exit
//! status (`=`). It runs in a scratch folder where `totpctl` has that folder's configuration; `command
//! totpctl` has none, and `nobody` is `totpctl` of somebody who is not root. Blanks at the ends of lines don't count. `$PWD`, `$HOST` and `$TIME` stand for what
//! differs from run to run. `UPDATE_CASES=1 cargo test` writes what happened into the files, for a look at
//! the difference.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::clock::system as now;
use end_to_end::enrolled::Enrolled;
use end_to_end::libpam::Code;
use end_to_end::machine::output;
use end_to_end::phone::Phone;
use end_to_end::product::{self, ACCOUNT, HOME, Scratch};
use serde_json::Value;

/// What one file says.
struct Case {
    about: Vec<String>,
    steps: Vec<Step>,
}

#[derive(Clone, Default)]
struct Step {
    line: String,
    input: Vec<String>,
    printed: Vec<String>,
    complained: Vec<String>,
    status: i32,
}

impl Case {
    fn parse(text: &str) -> Result<Self, String> {
        let (mut about, mut steps) = (Vec::new(), Vec::<Step>::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (kind, rest) = line.split_at_checked(1).ok_or(line)?;
            let rest = rest.strip_prefix(' ').unwrap_or(rest).to_owned();
            match (kind, steps.last_mut()) {
                ("#", None) => about.push(rest),
                ("$", _) => steps.push(Step {
                    line: rest,
                    ..Step::default()
                }),
                ("<", Some(step)) => step.input.push(rest),
                (">", Some(step)) => step.printed.push(rest),
                ("!", Some(step)) => step.complained.push(rest),
                ("=", Some(step)) => step.status = rest.parse().map_err(|_| line)?,
                _ => return Err(format!("no part of a case: {line}")),
            }
        }
        match (about.is_empty(), steps.is_empty()) {
            (false, false) => Ok(Self { about, steps }),
            _ => Err("a case has a sentence and a step".to_owned()),
        }
    }

    /// The same steps with what happens now.
    fn run(&self, scratch: &Scratch) -> Result<Self, String> {
        let about = self.about.clone();
        let steps = self.steps.iter().map(|step| step.run(scratch));
        let steps = steps.collect::<Result<_, _>>()?;
        Ok(Self { about, steps })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.about {
            writeln!(f, "# {line}")?;
        }
        self.steps.iter().try_for_each(|step| write!(f, "\n{step}"))
    }
}

impl Step {
    fn run(&self, scratch: &Scratch) -> Result<Self, String> {
        let folder = scratch.path("");
        let input: String = self.input.iter().map(|line| format!("{line}\n")).collect();
        let output = output(shell(scratch, &self.line), input.as_bytes());
        let text = |bytes| String::from_utf8(bytes).map_err(|_| format!("{}: not text", self.line));
        let (printed, complained) = (text(output.stdout)?, text(output.stderr)?);
        let ran = Self {
            printed: lines(&printed, &folder)?,
            complained: lines(&complained, &folder)?,
            status: output.status.code().ok_or("ended by a signal")?,
            ..self.clone()
        };
        if self.line.contains(" --json") {
            let document = serde_json::from_str::<Value>(&printed);
            document.map_err(|error| format!("{}: not one document: {error}", self.line))?;
        }
        match self.betrayed_by(&ran) {
            Some(word) => Err(format!("a refusal gives {word} away:\n{ran}")),
            None => Ok(ran),
        }
    }

    /// A word of the input, or of a file that this step writes, that a refusal repeats.
    fn betrayed_by(&self, ran: &Self) -> Option<String> {
        let told: Vec<String> = ran.printed.iter().chain(&ran.complained).cloned().collect();
        let told = told.join("\n").to_ascii_uppercase();
        let made = self.line.starts_with("printf").then_some(&self.line);
        let text = self.input.iter().chain(made);
        let words = text.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()));
        words
            .filter(|word| word.len() >= 8 && !word.bytes().all(|b| b.is_ascii_lowercase()))
            .filter(|_| ran.status != 0 && !told.contains("ADD THIS KEY"))
            .find(|word| told.contains(&word.to_ascii_uppercase()))
            .map(str::to_owned)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.line)?;
        for (kind, lines) in [
            ('<', &self.input),
            ('>', &self.printed),
            ('!', &self.complained),
        ] {
            for line in lines {
                writeln!(f, "{}", format!("{kind} {line}").trim_end())?;
            }
        }
        writeln!(f, "= {}", self.status)
    }
}

/// Runs a line in the scratch folder.
fn shell(scratch: &Scratch, line: &str) -> Command {
    let totpctl = product::totpctl();
    let path = totpctl.parent().expect("a folder").display();
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &format!("{OURS}\n{line}")])
        .current_dir(scratch.path(""))
        .env_clear()
        .env("PATH", format!("{path}:/usr/bin:/bin"))
        .env("LC_ALL", "C.UTF-8");
    shell
}

/// What was said, line by line, without what differs from run to run.
fn lines(said: &str, folder: &Path) -> Result<Vec<String>, String> {
    if !said.is_empty() && !said.ends_with('\n') {
        return Err(format!("the last line has no end: {said}"));
    }
    let folder = folder.display().to_string();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
    let said = said
        .replace(folder.trim_end_matches('/'), "$PWD")
        .replace(&format!("@{}", host.trim()), "@$HOST");
    let lines = said.lines().map(|line| without_times(line.trim_end()));
    Ok(lines.collect())
}

fn without_times(line: &str) -> String {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00Z";
    let mut text = line.to_owned();
    let is_time = |bytes: &[u8]| {
        let digit = |byte: &u8| if byte.is_ascii_digit() { b'0' } else { *byte };
        bytes.iter().map(digit).eq(SHAPE.iter().copied())
    };
    while let Some(start) = text.as_bytes().windows(SHAPE.len()).position(is_time) {
        text.replace_range(start..start + SHAPE.len(), "$TIME");
    }
    text
}

fn cases() -> Vec<PathBuf> {
    let folder = product::workspace().join("tests/cli");
    let entries = fs::read_dir(folder).expect("the cases");
    let mut cases: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "no cases");
    cases
}

#[test]
fn every_case_goes_as_written() {
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let mut wrong = String::new();
    for path in cases() {
        let text = fs::read_to_string(&path).expect("a readable case");
        let ran = Case::parse(&text).and_then(|case| case.run(&Scratch::new(SETTINGS)));
        match ran.map(|case| case.to_string()) {
            Ok(ran) if ran == text => (),
            Ok(ran) if update => fs::write(&path, ran).expect("a writable case"),
            Ok(ran) => {
                let _ = write!(wrong, "\n{}:\n{}", path.display(), difference(&text, &ran));
            }
            Err(error) => {
                let _ = write!(wrong, "\n{}: {error}\n", path.display());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What `totpctl status` says of the one account.
fn status(scratch: &Scratch) -> Vec<String> {
    let output = scratch.totpctl(&["status", ACCOUNT], "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    lines(&said, &scratch.path("")).expect("whole lines")
}

const UNUSED: &str = "  phone: 6 digits, 30 s, SHA1, never used, drift +0 steps";

/// What it says of wrong answers from unfamiliar addresses: those of a day, and those without end.
fn elsewhere(today: u8, total: u8) -> String {
    format!(
        "  wrong answers from unfamiliar addresses: {today} in 24 hours (8 allowed), {total} since a login from one \
         (100 allowed)"
    )
}

#[test]
fn status_tells_of_wrong_answers_and_locks_until_they_are_forgotten() {
    let scratch = Scratch::new("");
    let phone = Phone::new(Phone::SECRET);
    scratch.enroll(ACCOUNT, &phone);
    let mut owner = Enrolled::with(phone);
    let enrolled = format!("{ACCOUNT}: enrolled");
    let advice = format!("  to forget all wrong answers: totpctl unlock {ACCOUNT}");
    for (count, told) in [
        (1, "attempts left: 2"),
        (2, "attempts left: 1"),
        (3, "refused until $TIME, 10 minutes from now"),
    ] {
        let login = scratch.login(ACCOUNT, owner.wrong_code().as_str());
        assert_eq!(login.code, Code::AUTH_ERR);
        let place = format!("  {HOME}: {told}");
        let elsewhere = elsewhere(count, count);
        let expected = [&enrolled, UNUSED, &place, &elsewhere, &advice];
        assert_eq!(status(&scratch), expected);
    }
    let address = scratch.status(ACCOUNT)["users"][0]["addresses"][0].clone();
    assert_eq!(
        (&address["address"], &address["locked"]),
        (&HOME.into(), &true.into())
    );
    let code = owner.code();
    assert_eq!(scratch.login(ACCOUNT, code.as_str()).code, Code::AUTH_ERR);

    let unlock = scratch.totpctl(&["unlock", ACCOUNT], "");
    assert_eq!(unlock.status.code(), Some(0), "{unlock:?}");
    assert_eq!(status(&scratch), [&enrolled, UNUSED]);
    assert_eq!(scratch.login(ACCOUNT, code.as_str()).code, Code::SUCCESS);
    let used = UNUSED.replace("never used", "last used $TIME");
    let place = format!("  {HOME}: familiar until $TIME, attempts left: 3");
    assert_eq!(status(&scratch), [enrolled, used, place]);
}

#[test]
fn status_tells_of_the_wrong_answers_of_a_day_whatever_login_came_after_them() {
    let scratch = Scratch::new("");
    let phone = Phone::new(Phone::SECRET);
    scratch.enroll(ACCOUNT, &phone);
    let mut owner = Enrolled::with(phone);
    for (answer, outcome) in [
        (owner.wrong_code(), Code::AUTH_ERR),
        (owner.code(), Code::SUCCESS),
    ] {
        assert_eq!(scratch.login(ACCOUNT, answer.as_str()).code, outcome);
    }
    assert!(status(&scratch).contains(&elsewhere(1, 0)));
}

#[test]
fn an_output_that_takes_nothing_is_said_to() {
    let mut silent = String::new();
    for line in [
        "totpctl status >/dev/full",
        "totpctl status --json >/dev/full",
        "totpctl status nosuchuser --json >/dev/full",
        "totpctl doctor >/dev/full",
        "totpctl explain --user daemon --service sshd >/dev/full",
        "totpctl --help >/dev/full",
        "totpctl unlock daemon >/dev/full",
        // A reader that has gone before anything is written.
        "mkfifo gone; : <gone & exec 3>gone; wait; totpctl status >&3",
    ] {
        let scratch = Scratch::new("");
        scratch.enroll(ACCOUNT, &Phone::new(Phone::SECRET));
        let output = output(shell(&scratch, line), b"");
        let said = String::from_utf8_lossy(&output.stderr);
        let status = output.status.code();
        if status != Some(3) || !said.starts_with("totpctl: ") || said.contains("panicked") {
            let _ = writeln!(silent, "{line}: {status:?}: {said}");
        }
    }
    assert!(silent.is_empty(), "{silent}");
}

#[test]
fn a_standard_error_that_takes_nothing_changes_no_status() {
    let scratch = Scratch::new("");
    let line = "totpctl status nosuchuser 2>/dev/full";
    assert_eq!(output(shell(&scratch, line), b"").status.code(), Some(1));
}

#[test]
fn what_is_shown_once_and_cannot_be_shown_is_to_be_made_again() {
    for command in ["backup-codes", "backup-key"] {
        for json in ["", " --json"] {
            let scratch = Scratch::new("");
            let phone = Phone::new(Phone::SECRET);
            scratch.enroll(ACCOUNT, &phone);
            let line = format!("totpctl {command} {ACCOUNT} --regenerate{json} >/dev/full");
            let output = output(shell(&scratch, &line), b"");
            assert_eq!(output.status.code(), Some(3), "{line}");
            if json.is_empty() {
                let said = String::from_utf8(output.stderr).expect("text");
                assert!(said.ends_with(". Run this once more\n"), "{said}");
            }
            let made = scratch.document(&[command, ACCOUNT, "--regenerate"]);
            assert!(made["codes"][0].is_string() || made["key"].is_string());
            let login = scratch.login(ACCOUNT, phone.code_at(now()).as_str());
            assert_eq!(login.code, Code::SUCCESS, "{line}");
        }
    }
}

/// The lines from the first that differs to the last.
fn difference(written: &str, ran: &str) -> String {
    let (written, ran): (Vec<_>, Vec<_>) = (written.lines().collect(), ran.lines().collect());
    let common = |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| {
        pairs.take_while(|(one, other)| one == other).count()
    };
    let start = common(&mut written.iter().zip(&ran));
    let longest = written.len().min(ran.len()) - start;
    let end = common(&mut written.iter().rev().zip(ran.iter().rev())).min(longest);
    let mut text = String::new();
    for (sign, lines) in [('-', &written), ('+', &ran)] {
        for line in &lines[start..lines.len() - end] {
            let _ = writeln!(text, "{sign}{line}");
        }
    }
    text
}

const SETTINGS: &str = "issuer = \"Example\"\n";

/// The shell's own `totpctl`, and that of `nobody`, who may not even reach the folder that it was built in.
const OURS: &str = r#"
totpctl() { command totpctl --config "$PWD/pam_totp.toml" "$@"; }
nobody() {
    chmod 755 .
    exec 3<"$(which totpctl)"
    set -- --config "$PWD/pam_totp.toml" "$@"
    setpriv --reuid 65534 --regid 65534 --clear-groups /proc/self/fd/3 "$@"
}"#;
