//! What `totpctl doctor` finds, and that it changes nothing.
//!
//! The cases are files in tests/doctor. After sentences that start with `#`, `--- PATH` begins a file of a tree that is
//! otherwise in order: the shipped stacks, Debian's common-auth, root and alice enrolled. `$ LINE` is then run in the
//! tree's folder. `=== SEVERITY ID PLACE` is a finding that has to be there, with every word of the lines below it; PLACE is
//! `file:line` below the tree, or left out. But for notes, no other finding may be there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::clock;
use end_to_end::example::Example;
use end_to_end::libpam::{Code, Login, Reply};
use end_to_end::machine::{Machine, output};
use end_to_end::phone::Phone;
use end_to_end::product::{self, ACCOUNT, HOME, Scratch};
use end_to_end::tree::tree;
use serde_json::Value;

#[derive(Debug, Default)]
struct Case {
    files: Vec<(String, String)>,
    commands: Vec<String>,
    expected: Vec<Expected>,
}

#[derive(Debug)]
struct Expected {
    severity: String,
    id: String,
    place: Option<String>,
    words: Vec<String>,
}

impl Case {
    fn parse(text: &str) -> Self {
        let mut case = Self::default();
        let mut in_file = false;
        for line in text.lines() {
            if let Some(path) = line.strip_prefix("--- ") {
                case.files.push((path.to_owned(), String::new()));
                in_file = true;
            } else if let Some(finding) = line.strip_prefix("=== ") {
                in_file = false;
                let mut words = finding.split(' ').map(str::to_owned);
                case.expected.push(Expected {
                    severity: words.next().expect("a severity"),
                    id: words.next().expect("an id"),
                    place: words.next(),
                    words: Vec::new(),
                });
            } else if let Some(command) = line.strip_prefix("$ ") {
                case.commands.push(command.to_owned());
                in_file = false;
            } else if in_file {
                let (_, content) = case.files.last_mut().expect("a file");
                let _ = writeln!(content, "{}", line.replace("<CR>", "\r"));
            } else if let Some(expected) = case.expected.last_mut() {
                expected
                    .words
                    .extend((!line.is_empty()).then(|| line.to_owned()));
            } else {
                assert!(
                    line.is_empty() || line.starts_with('#'),
                    "no part of a case: {line}"
                );
            }
        }
        case
    }

    /// What differs between what was found and what was to be.
    fn differences(&self, tree: &str, found: &Value) -> String {
        let mut left: Vec<&Value> = found["findings"]
            .as_array()
            .expect("a list")
            .iter()
            .collect();
        let mut told = String::new();
        for expected in &self.expected {
            let is_it = |finding: &&Value| {
                let place = expected.place.as_ref().is_none_or(|place| {
                    let file = finding["file"].as_str().unwrap_or_default();
                    let file = file.strip_prefix(tree).unwrap_or(file);
                    let line = finding["line"].as_u64();
                    let line = line.map_or(String::new(), |line| format!(":{line}"));
                    *place == format!("{file}{line}")
                });
                finding["id"] == expected.id && finding["severity"] == expected.severity && place
            };
            let Some(at) = left.iter().position(is_it) else {
                let _ = writeln!(told, "not found: {expected:?}");
                continue;
            };
            let finding = left.remove(at);
            let text = ["fact", "meaning", "mend"].map(|key| finding[key].as_str().expect("text"));
            let text = format!("{}\n{}", text.join("\n"), finding["services"]);
            for words in &expected.words {
                if !text.contains(words.as_str()) {
                    let _ = writeln!(told, "no {words:?} in {finding:#}");
                }
            }
        }
        for finding in left.iter().filter(|finding| finding["severity"] != "note") {
            let _ = writeln!(told, "found too: {finding:#}");
        }
        told
    }
}

/// A machine with a tree that is in order in /base.
fn machine() -> Machine {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .password("root", PASSWORD);
    machine.make_key("/etc/ssh/machine_key", "ed25519");
    for user in ["root", "alice"] {
        machine.enroll(user);
    }
    machine.run(
        "mkdir -p /base/etc/pam.d /base/etc/ssh /base/etc/security /base/var/lib /base/lib/security
         cp -a /var/lib/pam_totp /base/var/lib/
         : >/base/lib/security/pam_totp.so
         for file in passwd shadow; do grep -E '^(root|alice):' /etc/$file >/base/etc/$file; done
         cp /etc/pam.d/common-* /base/etc/pam.d/
         touch /base/etc/group",
    );
    for name in ["sshd", "sudo", "sudo-i", "su", "login"] {
        let path = format!("/base/etc/pam.d/{name}");
        machine.feed(&format!("cat >{path}"), Example::named(name).stack);
    }
    let settings = format!(
        "{HOST_KEY}{}",
        Example::named("sshd").lines_below("Needed in")
    );
    machine.feed("cat >/base/etc/ssh/sshd_config", settings);
    machine.feed("cat >/base/etc/pam.d/other", "auth required pam_deny.so\n");
    machine
}

#[track_caller]
fn doctor(machine: &Machine, words: &[&str]) -> (i32, Value) {
    let words = [&["totpctl", "doctor", "--json"], words].concat();
    let output = output(machine.command(&words), b"");
    let text = String::from_utf8_lossy(&output.stdout);
    let document = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    });
    (output.status.code().expect("an end of its own"), document)
}

fn cases() -> Vec<PathBuf> {
    let folder = product::workspace().join("tests/doctor");
    let entries = fs::read_dir(folder).expect("the cases");
    let mut cases: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    cases.sort();
    assert!(cases.len() >= 20, "only {} cases", cases.len());
    cases
}

#[test]
fn every_case_is_found_as_written() {
    let machine = machine();
    let mut wrong = String::new();
    for path in cases() {
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let case = Case::parse(&fs::read_to_string(&path).expect("a readable case"));
        let tree = format!("/trees/{name}");
        machine.run(&format!("mkdir -p /trees && cp -a /base {tree}"));
        for (file, content) in &case.files {
            machine.feed(
                &format!("install -D -m 644 /dev/fd/0 {tree}{file}"),
                content,
            );
        }
        for command in &case.commands {
            machine.run(&format!("cd {tree} && {command}"));
        }
        let before = snapshot(&machine, &tree);
        let (status, found) = doctor(&machine, &["--root", &tree]);
        let differences = case.differences(&tree, &found);
        if !differences.is_empty() {
            let _ = writeln!(wrong, "\n{name}:\n{differences}");
        }
        let needs_mending = case.expected.iter().any(|one| one.severity != "note");
        if status != i32::from(needs_mending) {
            let _ = writeln!(wrong, "\n{name}: exit {status}");
        }
        if snapshot(&machine, &tree) != before {
            let _ = writeln!(wrong, "\n{name}: doctor changed the tree");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Names, owners, modes, sizes and times of all that is in a folder, down to when anything of it last changed.
fn snapshot(machine: &Machine, folder: &str) -> String {
    machine.run(&format!(
        "find {folder} -xdev -printf '%p %m %U %G %n %s %T@ %C@\\n' | sort"
    ))
}

#[test]
fn a_tree_in_order_has_nothing_to_mend() {
    let machine = machine();
    let (status, found) = doctor(&machine, &["--root", "/base"]);
    assert_eq!(
        (status, worse_than_notes(&found)),
        (0, Vec::new()),
        "{found:#}"
    );
    assert_eq!(
        found["services"],
        serde_json::json!(["login", "sshd", "su", "sudo", "sudo-i"])
    );
}

fn worse_than_notes(found: &Value) -> Vec<String> {
    let findings = found["findings"].as_array().expect("a list").iter();
    findings
        .filter(|finding| finding["severity"] != "note")
        .map(|finding| finding["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// Of the machine that the tests run on, and of no concern here: whoever keeps its clock, and a stranger's account.
fn of_the_product(found: &Value) -> Vec<String> {
    let mut ids = worse_than_notes(found);
    ids.retain(|id| !id.starts_with("clock-"));
    ids
}

#[test]
fn the_shipped_examples_are_no_danger() {
    for name in Example::names() {
        let machine = Machine::new()
            .user("alice", PASSWORD)
            .password("root", PASSWORD);
        let example = Example::named(&name);
        let service = example.service();
        let machine = machine.pam(service, &example);
        machine.run("cp /usr/share/openssh/sshd_config /etc/ssh/sshd_config");
        machine.make_key("/etc/ssh/machine_key", "ed25519");
        let lines = match service {
            "sshd" => example.lines_below("Needed in"),
            _ => String::new(),
        };
        let machine = machine.file(
            "/etc/ssh/sshd_config.d/10-pam_totp.conf",
            "644",
            format!("{HOST_KEY}{lines}"),
        );
        for user in machine
            .run("awk -F: '$3 == 0 || $3 >= 1000 && $3 < 65534 {print $1}' /etc/passwd")
            .lines()
        {
            machine.enroll(user);
        }
        let (_, found) = doctor(&machine, &[]);
        let dangers = found["findings"].as_array().expect("a list").iter();
        let dangers: Vec<_> = dangers.filter(|one| one["severity"] == "danger").collect();
        assert!(dangers.is_empty(), "{name}: {dangers:#?}");
    }
}

#[test]
fn a_machine_that_was_set_up_as_the_readme_says_needs_no_mending_and_is_left_alone() {
    let mut machine = Machine::new()
        .user("alice", PASSWORD)
        .password("root", PASSWORD);
    for name in ["sudo", "sudo-i", "su"] {
        machine = machine.pam(name, &Example::named(name));
    }
    let machine = machine.sshd(&Example::named("sshd"), "");
    machine.run("gpasswd -a alice sudo");
    // Whoever has an account on the machine that the tests run on.
    machine.run(
        "for user in $(awk -F: '$3 >= 1000 && $3 < 65534 && $1 != \"alice\" {print $1}' /etc/passwd)
         do usermod -s /usr/sbin/nologin $user; done
         sed -i '/NOPASSWD/d' /etc/sudoers /etc/sudoers.d/*",
    );
    machine.enroll("alice");
    machine.run("totpctl enroll root --no-confirm >/dev/null");
    let before =
        ["/etc", "/var/lib/pam_totp", "/run", "/root"].map(|folder| snapshot(&machine, folder));
    let (_, found) = doctor(&machine, &[]);
    assert_eq!(of_the_product(&found), Vec::<String>::new(), "{found:#}");
    let text = machine.run("totpctl doctor || true");
    assert!(text.contains("NOTE sudo-timestamp (sudo)\n"), "{text}");
    let after =
        ["/etc", "/var/lib/pam_totp", "/run", "/root"].map(|folder| snapshot(&machine, folder));
    assert_eq!(before, after);
}

#[test]
fn what_cannot_be_read_is_no_finding() {
    let machine = machine();
    for (words, told) in [
        (&["--root", "/nowhere"][..], "is no folder"),
        (&["--root", "base"], "absolute"),
        (&["--root", "/base/var"], "cannot read /base/var/etc/pam.d"),
    ] {
        let (status, document) = doctor(&machine, words);
        let message = document["error"]["message"].to_string();
        assert!(
            status == 3 && message.contains(told),
            "{words:?}: {status} {message}"
        );
    }
    let words = ["/usr/local/sbin/totpctl", "doctor", "--json"];
    let output = output(machine.command_as("alice", &words), b"");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.code() == Some(3) && said.contains("run totpctl as root"),
        "{said}"
    );
}

#[test]
fn who_is_locked_or_invited_is_noted() {
    let scratch = Scratch::new("[policy]\nunenrolled = \"enroll\"\n");
    let phone = Phone::new(Phone::SECRET);
    scratch.enroll(ACCOUNT, &phone);
    for folder in ["root/etc/pam.d", "root/lib/security"] {
        fs::create_dir_all(scratch.path(folder)).expect("a new folder");
    }
    let line = |path: &str, text: &str| fs::write(scratch.path(path), text).expect("a new file");
    line("root/lib/security/pam_totp.so", "");
    line(
        "root/etc/passwd",
        "daemon:x:1:1::/:/bin/sh\nbin:x:2:2::/:/bin/sh\n",
    );
    line(
        "root/etc/pam.d/su",
        "auth required pam_unix.so\nauth required pam_totp.so\n",
    );
    let root = scratch.path("root");
    let root = root.to_str().expect("text");
    let found = || scratch.document(&["doctor", "--root", root]);
    assert_eq!(found()["findings"], serde_json::json!([]));

    scratch.document(&["invite", "bin"]);
    for number in 0..3 {
        assert_eq!(found()["findings"], serde_json::json!([]), "after {number}");
        scratch.login(ACCOUNT, phone.wrong_code_at(clock::system()).as_str());
    }
    let (before, found) = (tree(&scratch.path("")), found());
    assert_eq!(tree(&scratch.path("")), before);
    let finding = &found["findings"][0];
    assert_eq!(
        (&finding["id"], &finding["mend"]),
        (&"locked".into(), &"totpctl unlock daemon".into())
    );
    assert!(
        finding["fact"].as_str().expect("text").contains(HOME),
        "{finding}"
    );
    assert_eq!(
        found["findings"].as_array().expect("a list").len(),
        1,
        "{found:#}"
    );

    // An invite of somebody who is enrolled by now was forgotten.
    fs::copy(
        scratch.path("secrets/.invite-bin"),
        scratch.path("secrets/.invite-daemon"),
    )
    .expect("a copy");
    let found = scratch.document(&["doctor", "--root", root]);
    assert_eq!(found["findings"][1]["id"], "invite-orphaned", "{found:#}");
}

/// A stack of modules whose answers are known, with one of ours in it.
struct Generated {
    name: String,
    files: Vec<(String, String)>,
}

/// Numbers without an end, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

impl Generated {
    fn new(number: usize, numbers: &mut Numbers) -> Self {
        let name = format!("service{number}");
        let mut generated = Self {
            name: name.clone(),
            files: Vec::new(),
        };
        let mut text = generated.lines(&name, numbers, 0);
        // One line of ours, in the service's own file or in an included one.
        let target = numbers.below(generated.files.len() + 1);
        let usual = [
            "required",
            "sufficient",
            "success=ok default=bad module_unknown=ignore ignore=ignore",
        ];
        let control = match numbers.below(3) {
            0 => control(numbers),
            _ => format!("[{}]", numbers.one_of(&usual)),
        };
        let line = format!("auth {control} pam_totp.so\n");
        let file = match generated.files.get_mut(target) {
            Some((_, file)) => file,
            None => &mut text,
        };
        let mut lines: Vec<String> = file.lines().map(|line| format!("{line}\n")).collect();
        let at = numbers.below(lines.len() + 1);
        lines.insert(at, line);
        *file = lines.concat();
        generated.files.push((name, text));
        for (_, text) in &mut generated.files {
            *text = text.lines().map(|line| written(line, numbers)).collect();
        }
        // Not in the others: what libpam of Debian does where an inner @include fails depends on what is in its memory.
        if let Some((_, own)) = generated.files.last_mut() {
            match numbers.below(40) {
                0 => own.truncate(own.len() - 1),
                1 => own.push_str("auth \\\n"),
                _ => {}
            }
        }
        generated
    }

    fn lines(&mut self, name: &str, numbers: &mut Numbers, depth: usize) -> String {
        let mut text = String::new();
        for number in 0..=numbers.below(4) {
            let included = format!("{name}-{number}");
            let way = numbers.one_of(&[
                "auth substack",
                "auth include",
                "@include",
                "",
                "",
                "",
                "",
                "",
            ]);
            if !way.is_empty() && depth < 3 {
                let inner = self.lines(&included, numbers, depth + 1);
                self.files.push((included.clone(), inner));
                let _ = writeln!(text, "{way} {included}");
                continue;
            }
            let module = numbers.one_of(&[
                "pam_permit.so",
                "pam_permit.so",
                "pam_permit.so",
                "pam_permit.so",
                "pam_permit.so",
                "pam_deny.so",
                "pam_debug.so auth=user_unknown",
                "pam_debug.so auth=new_authtok_reqd",
                "pam_debug.so auth=maxtries",
                "pam_debug.so auth=ignore",
                "pam_debug.so auth=perm_denied",
            ]);
            let _ = writeln!(text, "auth {} {module}", control(numbers));
        }
        text
    }

    /// What libpam makes of it where our module gives a code: whether it was run, and the end. Nothing where libpam can't
    /// use it at all.
    fn run(&self, folder: &Path, code: &str) -> Option<(bool, bool)> {
        let stacks = folder.join(code);
        fs::create_dir_all(&stacks).expect("a new folder");
        for (name, text) in &self.files {
            // Names that are included are looked for in /etc/pam.d, wherever the service's own file is.
            let included = format!("{}-", self.name);
            let text = text
                .replace("pam_totp.so", &format!("pam_debug.so auth={code}"))
                .replace(&included, &format!("{}/{included}", stacks.display()));
            fs::write(stacks.join(name), text).expect("a new file");
        }
        let login = Login::start(&stacks, &self.name, b"daemon", |_| Reply::Null);
        let mut login = match login {
            Err(Code::ABORT) => return None,
            login => login.expect("libpam reads the service"),
        };
        let is_in = login.authenticate(0) == Code::SUCCESS;
        let marker = format!("auth={code}");
        let is_run = login.heard().iter().any(|message| message.text == marker);
        Some((is_run, is_in))
    }

    /// What doctor is to find, by what libpam does.
    fn expected(&self, folder: &Path) -> Option<Vec<&'static str>> {
        let (is_run, is_in) = self.run(folder, "auth_err")?;
        let lets_in_with = |code| self.run(folder, code).is_some_and(|(_, is_in)| is_in);
        let overruled = |code| is_run && lets_in_with(code);
        let lets_in = is_run && lets_in_with("success");
        let is_refusal_ignored =
            (is_run && is_in) || overruled("service_err") || overruled("abort");
        let mut ids = Vec::new();
        for (id, is_so) in [
            ("skipped", is_in && !is_run),
            ("refusal-ignored", is_refusal_ignored),
            (
                "fault-ignored",
                !is_refusal_ignored && overruled("module_unknown"),
            ),
            ("unreachable", !is_run),
            ("code-refused", is_run && !lets_in),
            ("exempt-denied", lets_in && !lets_in_with("ignore")),
        ] {
            ids.extend(is_so.then_some(id));
        }
        Some(ids)
    }
}

/// A line as somebody may have written it: most of it in ways that mean the same, some of it wrong.
fn written(line: &str, numbers: &mut Numbers) -> String {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    // What hides our line makes it another service.
    let may_fail = !["pam_totp.so", "service"]
        .iter()
        .any(|one| line.contains(one));
    match numbers.below(40) {
        0 => format!(" \t{kind} {rest}\n"),
        1 => format!("{kind}\t \t{}\n", rest.replace(' ', "  ")),
        2 => format!("{kind} {rest} # no more of it \\\n"),
        3 => format!("{kind} {rest}#\n"),
        4 => format!("{kind} \\\n{rest}\n"),
        5 => format!("{kind}\\\n  {rest}\n"),
        6 => format!("{kind} \\ \t\n\t{rest}\n"),
        7 => format!("{} {rest}\n", kind.to_uppercase()),
        8 if kind == "auth" => format!("-{kind} {rest}\n"),
        9 => format!("# {kind} {rest} \\\n\n{kind} {rest} \t\n"),
        11 if may_fail => format!("{kind} {rest}\r\n"),
        12 if may_fail => format!("{}u{kind} {rest}\n", &kind[..1]),
        13 if may_fail => format!("{kind}\n"),
        14 => format!("{kind} {}\n", rest.replace('=', " = ")),
        15 => format!("{kind} {}\n", rest.replace('[', "[ ").replace(']', "\t]")),
        16 if may_fail => format!("{kind} {}\n", rest.replace("success=", "sucess=")),
        17 => format!("{kind} {}\n", rest.replace("success=", "success=0")),
        _ => format!("{line}\n"),
    }
}

fn control(numbers: &mut Numbers) -> String {
    let word = numbers.one_of(&[
        "required",
        "requisite",
        "sufficient",
        "optional",
        "",
        "",
        "",
    ]);
    if !word.is_empty() {
        return word.to_owned();
    }
    let mut pairs = String::new();
    for code in [
        "success",
        "ignore",
        "auth_err",
        "user_unknown",
        "abort",
        "module_unknown",
        "default",
    ] {
        if numbers.below(2) == 0 || code == "success" {
            let action =
                numbers.one_of(&["ok", "ignore", "bad", "die", "done", "reset", "1", "2", "3"]);
            let _ = write!(pairs, " {code}={action}");
        }
    }
    format!("[{}]", pairs.trim_start())
}

#[test]
fn t56_what_doctor_says_of_a_stack_is_what_libpam_does_with_it() {
    const STACKS: usize = 800;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("root");
    for path in ["etc/pam.d", "lib/security"] {
        fs::create_dir_all(root.join(path)).expect("a new folder");
    }
    fs::write(root.join("lib/security/pam_totp.so"), "").expect("a new file");
    let mut numbers = Numbers(20_270_131);
    let generated: Vec<Generated> = (0..STACKS)
        .map(|number| Generated::new(number, &mut numbers))
        .collect();
    for (name, text) in generated.iter().flat_map(|one| &one.files) {
        fs::write(root.join("etc/pam.d").join(name), text).expect("a new file");
    }
    let output = Command::new(product::totpctl())
        .args(["doctor", "--json", "--root"])
        .arg(&root)
        .output()
        .expect("totpctl starts");
    let found: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for finding in found["findings"].as_array().expect("a list") {
        for service in finding["services"].as_array().expect("a list") {
            let id = finding["id"].as_str().expect("an id");
            told.entry(service.as_str().expect("a name"))
                .or_default()
                .push(id);
        }
    }
    let (mut counts, mut wrong) = (BTreeMap::new(), String::new());
    for one in &generated {
        let mut found = told.remove(one.name.as_str()).unwrap_or_default();
        let is_broken = found.contains(&"stack-broken");
        let Some(mut expected) = one.expected(folder.path()) else {
            if !is_broken {
                let _ = writeln!(wrong, "{}: libpam gives up\n{:#?}", one.name, one.files);
            }
            continue;
        };
        if is_broken {
            expected.retain(|id| *id != "code-refused");
        }
        found.retain(|id| JUDGED.contains(id));
        found.sort_unstable();
        found.dedup();
        let mut sorted = expected.clone();
        sorted.sort_unstable();
        if found != sorted {
            let _ = writeln!(
                wrong,
                "{}: libpam {sorted:?}, doctor {found:?}\n{:#?}",
                one.name, one.files
            );
        }
        for id in expected {
            *counts.entry(id).or_insert(0_usize) += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    // Each was put to the test.
    assert!(
        JUDGED
            .iter()
            .all(|id| counts.get(id).is_some_and(|count| *count > 4)),
        "{counts:?}"
    );
}

/// What the simulation alone decides.
const JUDGED: [&str; 6] = [
    "skipped",
    "refusal-ignored",
    "fault-ignored",
    "unreachable",
    "code-refused",
    "exempt-denied",
];

const PASSWORD: &str = "correct horse";
const HOST_KEY: &str = "HostKey /etc/ssh/machine_key\n";
