//! Who is asked, and who is not: `totpctl explain` says it, and a login through libpam does it.
//!
//! The cases are tables in tests/policy, one file each. After sentences that start with `#` and blank lines comes a
//! configuration, in which `{10 days ago}` stands for that date as date(1) has it, then lines of shell (`$`) that run in
//! the scratch folder once alice and carol are enrolled, and then the logins:
//!
//! `? USER by SERVICE [from ADDRESS] [on TTY] [with nullok] -> OUTCOME [by rule NUMBER]`
//!
//! | outcome | |
//! |---|---|
//! | `asked` | for a code, which gets in |
//! | `denied` | asked for a code, which no code is right for |
//! | `exempt`, `elsewhere`, `free` | asked for nothing, since a rule says never, the password is kept elsewhere, or nobody enrolled |
//! | `announced` | the same as `free`, and told of the date |
//! | `invited` | an invitation leads to a new device |
//! | `password` | so does the password |
//! | `failed` | denied without a question |
//! | `broken WORDS` | PAM_SERVICE_ERR, and totpctl complains in these words |

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::clock::{self, EPOCH};
use end_to_end::libpam::{Code, Item, Login, Message, Reply};
use end_to_end::machine::{Machine, output};
use end_to_end::mounts;
use end_to_end::phone::Phone;
use end_to_end::product::{self, HOME, IGNORED, NO_LIMITS, Outcome, PROMPT, Scratch, answering};
use end_to_end::skipped::skip;
use nix::unistd::geteuid;
use serde_json::Value;

/// One file.
struct Table {
    config: String,
    shell: Vec<String>,
    logins: Vec<Row>,
}

/// One of its logins.
struct Row {
    line: String,
    user: String,
    service: String,
    address: Option<String>,
    tty: Option<String>,
    nullok: bool,
    outcome: String,
    /// The first is 1; 0 stands for none.
    rule: usize,
}

impl Table {
    fn parse(text: &str) -> Self {
        let text = text.trim_start_matches(|c| c != '\n');
        let (config, rest) = match text.find("\n$ ").or_else(|| text.find("\n? ")) {
            Some(at) => text.split_at(at),
            None => panic!("a table has logins"),
        };
        let (mut shell, mut logins) = (Vec::new(), Vec::new());
        for line in rest.lines().filter(|line| !line.is_empty()) {
            match line.split_at_checked(2) {
                Some(("$ ", line)) => shell.push(line.to_owned()),
                Some(("? ", line)) => logins.push(Row::parse(line)),
                _ => panic!("no part of a table: {line}"),
            }
        }
        Self {
            config: with_dates(config),
            shell,
            logins,
        }
    }

    /// The line of the configuration where the rule of that number begins.
    fn line_of_rule(&self, scratch: &Scratch, number: usize) -> usize {
        let config = fs::read_to_string(scratch.config()).expect("a configuration");
        let mut lines = config.lines().enumerate();
        let mut rules = lines
            .by_ref()
            .filter(|(_, line)| *line == "[[policy.rule]]");
        rules.nth(number - 1).expect("so many rules").0 + 1
    }

    /// What is wrong with what happens.
    fn try_row(&self, row: &Row) -> Result<(), String> {
        let (scratch, phone) = (Scratch::new(&self.settings()), Phone::new(Phone::SECRET));
        if !row.outcome.starts_with("broken") {
            for user in ENROLLED {
                scratch.enroll(user, &phone);
            }
        }
        for line in &self.shell {
            let mut shell = Command::new("sh");
            shell.args(["-ec", line]).current_dir(scratch.path(""));
            let ran = output(shell, b"");
            assert!(ran.status.success(), "{line}: {ran:?}");
        }
        self.explained(&scratch, row)?;
        logged_in(&scratch, &phone, row)
    }

    /// Many logins of one table come from one place.
    fn settings(&self) -> String {
        format!("{NO_LIMITS}{}", self.config)
    }

    fn explained(&self, scratch: &Scratch, row: &Row) -> Result<(), String> {
        let mut arguments = vec!["explain", "--json", "--user", &row.user];
        arguments.extend(["--service", &row.service]);
        for (option, value) in [("--rhost", &row.address), ("--tty", &row.tty)] {
            arguments.extend(value.iter().flat_map(|value| [option, value.as_str()]));
        }
        arguments.extend(row.nullok.then_some("--nullok"));
        let output = scratch.totpctl(&arguments, "");
        let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
        if let Some(words) = row.outcome.strip_prefix("broken ") {
            let message = document["error"]["message"].as_str().unwrap_or_default();
            let is_told = output.status.code() == Some(3) && message.contains(words);
            return is_told.then_some(()).ok_or(document.to_string());
        }
        if row.outcome == "failed" {
            let is_told = output.status.code() == Some(3);
            return is_told.then_some(()).ok_or(document.to_string());
        }
        let (outcome, why, enroll_with) = match row.outcome.as_str() {
            "exempt" => ("ignored", Some("exempt by a rule"), Value::Null),
            "elsewhere" => ("ignored", Some("not a local user"), Value::Null),
            "free" | "announced" => ("ignored", Some("not enrolled"), Value::Null),
            "invited" => ("denied", None, Value::from(vec!["invite"])),
            "password" => ("enrolled", None, Value::from(vec!["password", "invite"])),
            outcome => (outcome, None, Value::Null),
        };
        let line = match row.rule {
            0 => Value::Null,
            number => self.line_of_rule(scratch, number).into(),
        };
        let expected = [outcome.into(), why.into(), enroll_with, line];
        let told = ["outcome", "why", "enroll_with"].map(|key| document[key].clone());
        let told = [&told[..], &[document["rule"]["line"].clone()]].concat();
        (told == expected).then_some(()).ok_or(document.to_string())
    }
}

impl Row {
    fn parse(line: &str) -> Self {
        let (login, end) = line.split_once(" -> ").expect("an outcome");
        let (outcome, rule) = match end.split_once(" by rule ") {
            Some((outcome, rule)) => (outcome, rule.parse().expect("a number")),
            None => (end, 0),
        };
        let words: Vec<&str> = login.split(' ').collect();
        let after = |word: &str| {
            let mut pairs = words.windows(2).filter(|pair| pair[0] == word);
            pairs.next().map(|pair| pair[1].to_owned())
        };
        let known: BTreeSet<&str> = ["by", "from", "on", "with"].into();
        let mut others = words.iter().skip(1).step_by(2);
        assert!(others.all(|word| known.contains(word)), "{line}");
        Self {
            line: line.to_owned(),
            user: words[0].to_owned(),
            service: after("by").expect("a service"),
            address: after("from"),
            tty: after("on"),
            nullok: after("with").is_some_and(|argument| argument == "nullok"),
            outcome: outcome.to_owned(),
            rule,
        }
    }

    /// The stack of the service is the module's line and no other.
    fn login(&self, scratch: &Scratch, person: impl FnMut(&Message) -> Reply) -> Outcome {
        let folder = scratch.path("pam.d");
        let line = scratch.line("required", if self.nullok { "nullok" } else { "" });
        let stack = format!("auth {line}\n");
        fs::write(folder.join(&self.service), stack).expect("a service");
        let user = self.user.as_bytes();
        let mut login = Login::start(&folder, &self.service, user, person).expect("a service");
        for (item, value) in [(Item::Rhost, &self.address), (Item::Tty, &self.tty)] {
            if let Some(value) = value {
                login.set(item, value);
            }
        }
        let code = login.authenticate(0);
        let heard = login.heard();
        Outcome { code, heard }
    }
}

/// What is wrong with a login through libpam.
fn logged_in(scratch: &Scratch, phone: &Phone, row: &Row) -> Result<(), String> {
    let code = phone.code_at(clock::system());
    let outcome = match row.outcome.as_str() {
        "invited" => {
            let invite = scratch.document(&["invite", &row.user])["code"].clone();
            let mut answers = invite.as_str().into_iter();
            row.login(scratch, |message| match message.style.is_prompt() {
                true => answers
                    .next()
                    .map_or(Reply::Fail(Code::CONV_ERR), Reply::from),
                false => Reply::Null,
            })
        }
        _ => row.login(scratch, answering(code.as_str())),
    };
    let (asked, told) = (outcome.asked(), outcome.told());
    let is_right = match (row.outcome.as_str(), outcome.code) {
        ("asked", Code::SUCCESS) => asked == [PROMPT] && told.is_empty(),
        ("denied", Code::AUTH_ERR) => asked == [PROMPT],
        ("exempt" | "elsewhere" | "free", IGNORED) => outcome.heard.is_empty(),
        ("announced", IGNORED) => {
            asked.is_empty() && told.len() == 1 && told[0].contains("a verification code is needed")
        }
        ("invited", Code::AUTH_ERR) => {
            asked.len() == 2 && asked[0] == PROMPT && asked[1].contains("Add this key")
        }
        // The service that it is checked by takes none.
        ("password", Code::AUTH_ERR) => asked == [PASSWORD_PROMPT, PROMPT],
        ("failed", Code::AUTH_ERR) => asked.is_empty() && told.len() == 1,
        (outcome, Code::SERVICE_ERR) => outcome.starts_with("broken ") && asked.is_empty(),
        _ => false,
    };
    is_right.then_some(()).ok_or(format!("{outcome:?}"))
}

/// Every `{10 days}` as the date that date(1) takes it for.
fn with_dates(text: &str) -> String {
    let mut parts = text.split('{');
    let mut dated = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (when, rest) = part.split_once('}').expect("a closing brace");
        let mut date = Command::new("date");
        date.args(["--utc", "--date", when, "+%F"]);
        let date = output(date, b"");
        assert!(date.status.success(), "{when}: {date:?}");
        dated += String::from_utf8(date.stdout).expect("text").trim_end();
        dated += rest;
    }
    dated
}

/// Runs `test` where these are all the accounts and groups, and nobody's password is right.
fn among_our_own(test: impl FnOnce(&Path) + Send) {
    mounts::privately(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in [("passwd", PASSWD), ("shadow", SHADOW), ("group", GROUP)] {
            let file = folder.path().join(name);
            fs::write(&file, text).expect("a new file");
            mounts::cover(&Path::new("/etc").join(name), &file);
        }
        mounts::hide("/etc/pam.d".as_ref(), 1 << 20);
        let nobody = "auth required pam_deny.so\naccount required pam_deny.so\n";
        fs::write("/etc/pam.d/totp-enroll", nobody).expect("a new file");
        test(folder.path());
    });
}

fn tables() -> Vec<PathBuf> {
    let entries = fs::read_dir(product::workspace().join("tests/policy")).expect("the tables");
    let mut tables: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    tables.sort();
    assert!(!tables.is_empty(), "no tables");
    tables
}

#[test]
fn every_login_goes_as_written_and_as_explained() {
    among_our_own(|_| {
        let mut wrong = String::new();
        for path in tables() {
            let table = Table::parse(&fs::read_to_string(&path).expect("a readable table"));
            let name = path.file_name().expect("a name").display();
            for row in &table.logins {
                if let Err(happened) = table.try_row(row) {
                    let _ = writeln!(wrong, "{name}: {}\n  but: {happened}", row.line);
                }
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
    });
}

/// As screen lockers do.
#[test]
fn t48_a_program_that_is_not_root_is_refused_unasked_unless_a_rule_says_never() {
    if !geteuid().is_root() {
        return skip("only root becomes somebody else");
    }
    const NOBODY: &str = "65534";
    const NEVER: &str = "[[policy.rule]]\nsecond_factor = \"never\"\n";
    for (settings, by_root, by_nobody) in [
        ("", Code::SUCCESS, Code::AUTH_ERR),
        (NEVER, IGNORED, IGNORED),
    ] {
        let (scratch, phone) = (Scratch::new(settings), Phone::new(Phone::SECRET));
        scratch.enroll("daemon", &phone);
        // It has to reach its program, the module and the configuration.
        let mode = |mode| fs::Permissions::from_mode(mode);
        fs::set_permissions(scratch.path(""), mode(0o755)).expect("our own folder");
        let (program, module) = (scratch.path("contender"), scratch.path("pam_totp.so"));
        fs::copy(env!("CARGO_BIN_EXE_contender"), &program).expect("a copy");
        fs::copy(product::module(), &module).expect("a copy");
        let line = format!("{} config={}", module.display(), scratch.config().display());
        scratch.service(&format!("auth required {line}\n"));
        for (user, expected) in [(NOBODY, by_nobody), ("0", by_root)] {
            let mut login = Command::new("setpriv");
            login
                .args(["--reuid", user, "--regid", user, "--clear-groups"])
                .arg(&program)
                .arg(scratch.path("pam.d"))
                .args(["aloud", "daemon", HOME, &EPOCH.to_string()])
                .arg(phone.code_at(EPOCH));
            let ended = output(login, b"");
            let told = String::from_utf8_lossy(&ended.stdout);
            assert_eq!(ended.status.code(), Some(expected.0), "{user}: {ended:?}");
            let is_asked = told.contains(PROMPT);
            assert_eq!(is_asked, expected == Code::SUCCESS, "{user}: {told}");
        }
    }
}

#[test]
fn an_announcement_counts_the_days_until_its_first_second() {
    among_our_own(|_| {
        let settings = "[policy]\nunenrolled = 'deny'\n[[policy.rule]]\nsecond_factor = 'required'\nfrom = 2033-06-01\n";
        let scratch = Scratch::new(settings);
        scratch.enroll("alice", &Phone::new(Phone::SECRET));
        // 2033-06-01T00:00:00Z
        let from = 2_001_196_800;
        for (before, days) in [
            (1, "in 1 day,"),
            (86_400, "in 1 day,"),
            (86_401, "in 2 days,"),
            (30 * 86_400, "in 30 days,"),
        ] {
            clock::set(from - before);
            let login = scratch.login("bob", "000000");
            assert_eq!((login.code, login.asked()), (IGNORED, vec![]), "{before}");
            let [told] = login.told()[..] else {
                panic!("{login:?}")
            };
            assert!(told.contains(days) && told.contains("2033-06-01"), "{told}");
            // Who is enrolled is asked, and not told.
            let login = scratch.login("alice", "");
            assert_eq!(login.asked(), [PROMPT], "{before}");
        }
        clock::set(from);
        let login = scratch.login("bob", "000000");
        assert_eq!((login.code, login.asked()), (Code::AUTH_ERR, vec![PROMPT]));
    });
}

#[test]
fn an_announcement_is_a_prompt_where_messages_are_hidden() {
    among_our_own(|_| {
        let scratch = Scratch::new(&with_dates(ANNOUNCED));
        scratch.enroll("alice", &Phone::new(Phone::SECRET));
        scratch.stack("no_info");
        for user in ["bob", "dave"] {
            let login = scratch.login(user, "");
            assert_eq!((login.code, login.told()), (IGNORED, vec![]));
            let [asked] = login.asked()[..] else {
                panic!("{login:?}")
            };
            assert!(asked.starts_with("From ") && asked.ends_with("(Press Enter) "));
        }
    });
}

#[test]
fn t58_a_group_database_that_cannot_be_read_denies() {
    among_our_own(|folder| {
        let rule = "[policy]\nunenrolled = 'skip'\n[[policy.rule]]\ngroup = ['wheel']\nsecond_factor = 'required'\n";
        let scratch = Scratch::new(rule);
        scratch.enroll("alice", &Phone::new(Phone::SECRET));
        let once = |user: &str| {
            let mut login = Command::new(env!("CARGO_BIN_EXE_contender"));
            let time = clock::system().to_string();
            login
                .arg(scratch.path("pam.d"))
                .args(["once", user, product::HOME, &time, "000000"]);
            let status = output(login, b"").status;
            Code(status.code().expect("an exit status"))
        };
        assert_eq!(once("bob"), IGNORED);
        // With a further service the name service switch hides that the first one has failed.
        let switch = folder.join("nsswitch.conf");
        fs::write(&switch, "passwd: files\ngroup: files\n").expect("a new file");
        mounts::cover("/etc/nsswitch.conf".as_ref(), &switch);
        assert_eq!(once("bob"), IGNORED);
        for unreadable in ["/proc/self/mem", "/etc/no-such-file"] {
            if unreadable.starts_with("/proc") {
                mounts::cover("/etc/group".as_ref(), unreadable.as_ref());
            } else {
                // An empty file system in the place of /etc has none.
                mounts::hide("/etc".as_ref(), 1 << 20);
                fs::write("/etc/passwd", PASSWD).expect("a new file");
                fs::write("/etc/nsswitch.conf", "passwd: files\ngroup: files\n").expect("another");
            }
            assert_eq!(once("bob"), Code::AUTH_ERR, "{unreadable}");
            let explain = ["explain", "--user", "bob", "--service", "sshd"];
            let told = scratch.totpctl(&explain, "");
            let complaint = String::from_utf8_lossy(&told.stderr);
            assert_eq!(told.status.code(), Some(3), "{unreadable}: {complaint}");
            assert!(complaint.contains("group wheel"), "{complaint}");
        }
    });
}

#[test]
fn whose_account_cannot_be_found_is_in_no_group_for_certain() {
    among_our_own(|folder| {
        let rules = "[[policy.rule]]\ngroup = ['wheel']\nsecond_factor = 'required'\n\
                     [[policy.rule]]\nsecond_factor = 'never'\n";
        let scratch = Scratch::new(rules);
        scratch.enroll("alice", &Phone::new(Phone::SECRET));
        assert_eq!(scratch.login("bob", "").code, IGNORED);
        // As after a directory has gone away that said who she is when the login began.
        let others: String = PASSWD
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("alice:"))
            .collect();
        let file = folder.join("others");
        fs::write(&file, others).expect("a new file");
        mounts::cover("/etc/passwd".as_ref(), &file);
        let login = scratch.login("alice", "");
        assert_eq!((login.code, login.asked()), (Code::AUTH_ERR, vec![PROMPT]));
        assert_eq!(scratch.login("bob", "").code, IGNORED);
    });
}

#[test]
fn where_passwords_are_kept_denies_if_it_cannot_be_told() {
    among_our_own(|_| {
        let settings = "[policy]\nlocal_users_only = true\nunenrolled = 'skip'\n";
        let scratch = Scratch::new(settings);
        scratch.enroll("alice", &Phone::new(Phone::SECRET));
        for user in ["bob", "carol"] {
            assert_eq!(scratch.login(user, "000000").code, IGNORED, "{user}");
        }
        mounts::cover("/etc/shadow".as_ref(), "/proc/self/mem".as_ref());
        for user in ["alice", "bob", "carol"] {
            assert_eq!(scratch.login(user, "000000").code, Code::AUTH_ERR, "{user}");
            let told = scratch.totpctl(&["explain", "--user", user, "--service", "sshd"], "");
            let complaint = String::from_utf8_lossy(&told.stderr);
            assert_eq!(told.status.code(), Some(3), "{user}: {complaint}");
            assert!(complaint.contains("cannot read /etc/shadow"), "{complaint}");
        }
    });
}

#[test]
fn a_broken_rule_denies_and_the_log_names_its_line() {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .user("bob", PASSWORD)
        .file("/etc/pam.d/su", "644", "auth required pam_totp.so\n");
    for (rule, words) in [
        ("second_factor = 'always'", "line 2, column 17: expected "),
        ("service = ['su']", "line 1"),
        (
            "second_factor = 'never'\nfrom = 2027-01-31",
            "line 3, column 8: expected ",
        ),
    ] {
        let config = format!("[[policy.rule]]\n{rule}\n");
        let machine = &machine;
        machine.feed("cat >/etc/security/pam_totp.toml", config);
        let su = output(machine.command_as("alice", &["su", "bob"]), b"");
        assert!(!su.status.success());
        let said = String::from_utf8_lossy(&su.stderr);
        assert!(said.contains("can't be checked at the moment"), "{said}");
        let file = "/etc/security/pam_totp.toml, ";
        machine
            .log()
            .assert_has(&["pam_totp(su:auth)", "event=misconfigured", file, words]);
    }
}

const PASSWORD: &str = "correct horse";
const PASSWORD_PROMPT: &str = "Password: ";
const ANNOUNCED: &str = "[[policy.rule]]\nsecond_factor = 'required'\nfrom = {10 days}\n";
const ENROLLED: [&str; 2] = ["alice", "carol"];

/// carol's and dave's passwords are kept elsewhere, and eve is not even here. bob is in `office` by his line alone.
const PASSWD: &str = "root:x:0:0::/:/bin/sh\n\
                      nobody:x:65534:65534::/:/bin/sh\n\
                      alice:x:3001:3001::/:/bin/sh\n\
                      bob:x:3002:3100::/:/bin/sh\n\
                      carol:x:3003:3003::/:/bin/sh\n\
                      dave:x:3004:3004::/:/bin/sh\n\
                      old:$6$salt$hash:3005:3005::/:/bin/sh\n";
const SHADOW: &str = "root:*:1::::::\nnobody:*:1::::::\nalice:*:1::::::\nbob:*:1::::::\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\nalice:x:3001:\ncarol:x:3003:\ndave:x:3004:\nold:x:3005:\noffice:x:3100:carol\nwheel:x:3200:alice,carol\n\
                     empty:x:3300:\n";
