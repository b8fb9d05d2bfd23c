//! The manual pages say what the product does, and its completions complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use end_to_end::clock::{self, EPOCH};
use end_to_end::example::Example;
use end_to_end::libpam::Code;
use end_to_end::machine::Machine;
use end_to_end::page::{Entry, Page};
use end_to_end::phone::Phone;
use end_to_end::product::{self, ACCOUNT, Scratch};
use end_to_end::said::Said;

#[test]
fn every_page_renders_without_a_warning() {
    for page in Page::all() {
        let mut mandoc = Command::new("mandoc");
        mandoc.args(["-Tlint", "-Wwarning"]).arg(&page.path);
        let mandoc = Said::new(&mandoc.output().expect("mandoc"));
        assert_eq!((mandoc.code, mandoc.out.as_str()), (Some(0), ""));
        // As lintian has it.
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
            .arg(&page.path)
            .envs([
                ("LC_ALL", "C.UTF-8"),
                ("MANROFFSEQ", ""),
                ("MANWIDTH", "80"),
            ]);
        let man = Said::new(&man.output().expect("man"));
        assert_eq!((man.code, man.err.as_str()), (Some(0), ""));
    }
}

#[test]
fn every_key_of_the_parser_is_in_the_page_and_no_other() {
    let page = Page::named("pam_totp.conf.5");
    for Section { heading, opening } in SECTIONS {
        let entries = page.entries(heading);
        let shown: BTreeSet<_> = entries.iter().filter_map(key).collect();
        let known = known_keys(opening);
        let (sections, keys): (Vec<_>, Vec<_>) =
            known.iter().map(String::as_str).partition(|key| {
                let headings = [format!("[{key}]"), format!("[[policy.{key}]]")];
                let has_parts = format!("[{key}.");
                page.headings().any(|shown| {
                    headings.contains(&shown.to_owned()) || shown.starts_with(&has_parts)
                })
            });
        assert_eq!(shown, keys.into_iter().collect(), "{heading}");
        for section in sections {
            let is_tested = SECTIONS.iter().any(|one| one.opening.contains(section));
            assert!(
                is_tested,
                "{section} is a section that this test doesn't know"
            );
        }
    }
}

#[test]
fn every_key_stands_with_the_default_that_the_readme_names() {
    let page = Page::named("pam_totp.conf.5");
    let readme = fs::read_to_string(product::workspace().join("README.md")).expect("text");
    let block = defaults_of(&readme);
    let mut section = "Files and name";
    let mut seen = BTreeSet::new();
    for line in block.lines() {
        // Without a blank after it the sign is there only since the section has no meaning as it stands.
        let (is_set, line) = match line.strip_prefix("# ") {
            Some(line) => (false, line),
            None => (true, line.strip_prefix('#').unwrap_or(line)),
        };
        let line = line.split("  #").next().unwrap_or(line).trim_end();
        let Some((name, _)) = line.split_once(" = ") else {
            let is_section = SECTIONS.iter().any(|one| one.heading == line);
            section = if is_section { line } else { section };
            continue;
        };
        let entries = page.entries(section);
        let entry = entries.iter().find(|entry| key(entry) == Some(name));
        let entry = entry.unwrap_or_else(|| panic!("{section} has no {name}"));
        match (is_set, entry.tag.split_once(" = ")) {
            (true, _) => assert_eq!(entry.tag, line),
            // Not set: only the kind of value is told.
            (false, Some((_, kind))) => {
                let is_kind = kind.bytes().all(|byte| byte.is_ascii_uppercase());
                assert!(is_kind, "{entry:?}");
            }
            (false, None) => panic!("{entry:?}"),
        }
        seen.insert((section, name.to_owned()));
    }
    for Section { heading, .. } in SECTIONS.iter().filter(|one| one.heading != RULE) {
        for entry in page.entries(heading) {
            let Some(name) = key(&entry) else { continue };
            let is_there = seen.contains(&(*heading, name.to_owned()));
            assert!(is_there, "the README has no {name} of {heading}");
        }
    }
}

/// The block of a text with all defaults.
fn defaults_of(readme: &str) -> &str {
    let mut blocks = readme.split("```toml\n");
    let block = blocks.find(|block| block.starts_with("secret_dir"));
    let block = block.and_then(|block| block.split("```").next());
    block.expect("the defaults")
}

#[test]
fn the_configuration_of_the_readme_loads_as_it_stands() {
    let readme = fs::read_to_string(product::workspace().join("README.md")).expect("text");
    let refused = complaint(defaults_of(&readme));
    assert_eq!(refused, None);
}

#[test]
fn every_key_names_the_values_that_the_parser_expects() {
    let page = Page::named("pam_totp.conf.5");
    for Section { heading, opening } in SECTIONS {
        for entry in page.entries(heading) {
            let Some(key) = key(&entry) else { continue };
            // A time of day is no key's value, and no span of time is at most not enough.
            for value in ["00:00:00", "\"0s\""] {
                // The rule has one already.
                let opening = opening.replace(&format!("{key} = \"never\"\n"), "");
                let refused = complaint(&format!("{opening}{key} = {value}\n"));
                for words in expected(refused.as_deref().unwrap_or_default()) {
                    assert!(
                        entry.text.contains(&words),
                        "{heading}: {words} in {entry:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_configuration_of_the_pages_loads() {
    let pages = Page::all();
    let examples = pages.iter().flat_map(Page::examples);
    let configurations: Vec<_> = examples.filter(|text| kind(text) == Kind::Toml).collect();
    assert!(configurations.len() > 2);
    for text in configurations {
        let scratch = Scratch::new(&text);
        scratch.enroll(ACCOUNT, &Phone::new(Phone::SECRET));
        let said = Said::new(&scratch.totpctl(&["status"], ""));
        assert_eq!(said.code, Some(0), "{text}{}", said.err);
    }
}

#[test]
fn every_stack_of_the_pages_lets_in_by_the_code_alone() {
    clock::set(EPOCH);
    let phone = Phone::new(Phone::SECRET);
    for stack in stacks() {
        for (answer, code) in [
            (phone.code_at(EPOCH), Code::SUCCESS),
            (phone.wrong_code_at(EPOCH), Code::AUTH_ERR),
        ] {
            let scratch = Scratch::unlimited(ACCOUNT, &phone);
            for included in ["auth", "account", "session", "session-noninteractive"] {
                let kind = included.split('-').next().unwrap_or(included);
                let file = scratch.path(&format!("pam.d/common-{included}"));
                fs::write(file, format!("{kind} required pam_permit.so\n")).expect("a file");
            }
            // The module of this build, the configuration of this test, and no file of the machine's: libpam takes
            // those that a stack includes from /etc/pam.d, unless they have a whole path.
            let line = scratch.line("required", "");
            assert!(stack.contains("required     pam_totp.so"), "{stack}");
            let service = stack
                .replace("required     pam_totp.so", line.trim_end())
                .replace(
                    "common-",
                    &format!("{}/common-", scratch.path("pam.d").display()),
                );
            scratch.service(&service);
            let outcome = scratch.login(ACCOUNT, answer.as_str());
            assert_eq!(outcome.code, code, "{service}{outcome:?}");
            assert_eq!(outcome.asked().len(), 1, "{stack}");
        }
    }
}

#[test]
fn what_the_pages_give_beside_the_stacks_is_what_the_examples_give() {
    let page = Page::named("pam_totp.8");
    let lines = Example::named("sshd").lines_below("Needed in");
    assert!(page.examples().contains(&lines), "{lines}");
    let page = Page::named("pam_totp.conf.5");
    let example = Example::named("totp-enroll");
    let lines = example.stack.lines().filter(|line| !line.starts_with('#'));
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    assert!(
        page.examples().contains(&lines.trim_start().to_owned()),
        "{lines}"
    );
}

#[test]
fn every_command_of_the_pages_is_one_that_totpctl_understands() {
    let machine = Machine::new().user("alice", "correct horse");
    let pages = Page::all();
    let examples: Vec<_> = pages.iter().flat_map(Page::examples).collect();
    let lines = examples.iter().flat_map(|example| example.lines());
    let commands: Vec<_> = lines.filter(|line| line.starts_with("totpctl ")).collect();
    assert!(commands.len() > 5);
    for command in commands {
        let alone = command.split(" | ").next().unwrap_or(command);
        let status = machine.run(&format!(
            "{alone} </dev/null >/dev/null 2>&1 && echo 0 || echo $?"
        ));
        assert_ne!(status, "2\n", "{command}");
    }
}

#[test]
fn every_verb_and_option_of_the_help_is_in_the_page_and_no_other() {
    let page = Page::named("totpctl.8");
    let own = Help::of(&[]);
    for option in &own.options {
        option.assert_in(&page.entries("OPTIONS"));
    }
    let enroll = page.entries("enroll USER");
    let mut verbs = own.verbs();
    for path in &verbs {
        let heading = page.headings().find(|heading| is_about(heading, path));
        let heading = heading.unwrap_or_else(|| panic!("the page has no {path:?}"));
        let help = Help::of(path);
        for argument in &help.arguments {
            assert!(heading.contains(argument.as_str()), "{argument}: {heading}");
        }
        let entries = page.entries(heading);
        let text = page.below(heading).join(" ");
        let is_own = |option: &&Choice| {
            own.options
                .iter()
                .all(|one| one.spelling != option.spelling)
        };
        let known: Vec<_> = help.options.iter().filter(is_own).collect();
        for option in &known {
            let is_there = entries.iter().any(|entry| entry.tag == option.spelling);
            // Some are described once, with `enroll`.
            let elsewhere = text.contains(option.name()) && text.contains("those of enroll");
            option.assert_in(if elsewhere && !is_there {
                &enroll
            } else {
                &entries
            });
        }
        for entry in entries.iter().filter(|entry| entry.tag.starts_with("--")) {
            let is_known = known.iter().any(|option| option.spelling == entry.tag);
            assert!(is_known, "{path:?} has no {}", entry.tag);
        }
    }
    verbs.retain(|path| !path.is_empty());
    let shown = page
        .headings()
        .filter(|heading| heading.starts_with(char::is_lowercase));
    assert_eq!(
        shown.count(),
        verbs.len(),
        "a verb that totpctl doesn't have"
    );
}

#[test]
fn every_argument_of_the_module_is_in_the_page_and_no_other() {
    let stack = "auth required pam_totp.so no_such_argument\n";
    let machine =
        Machine::new()
            .user("alice", "correct horse")
            .file("/etc/pam.d/scratch", "644", stack);
    machine.run("totpctl try --service scratch alice </dev/null || true");
    let lines = machine.log().lines().join("\n");
    let known = lines
        .split("unknown module argument no_such_argument: expected ")
        .nth(1);
    let known = known.unwrap_or_else(|| panic!("{lines}"));
    let known = known
        .split('"')
        .next()
        .expect("a reason")
        .replace(" or ", ", ");
    let known: BTreeSet<_> = known.split(", ").collect();
    let page = Page::named("pam_totp.8");
    let entries = page.entries("ARGUMENTS");
    let shown = entries
        .iter()
        .filter(|entry| entry.text.contains("Default: "));
    assert_eq!(
        shown
            .map(|entry| entry.tag.as_str())
            .collect::<BTreeSet<_>>(),
        known
    );
    let synopsis = page.below("SYNOPSIS").join(" ");
    for argument in known {
        assert!(
            synopsis.contains(&format!("[{argument}]")),
            "{argument}: {synopsis}"
        );
    }
}

#[test]
fn every_event_of_the_readme_is_in_the_page() {
    let readme = fs::read_to_string(product::workspace().join("README.md")).expect("text");
    let page = Page::named("pam_totp.8");
    let entries = page.entries("LOG");
    let events = readme.split("`event=").skip(1);
    let events: BTreeSet<_> = events
        .filter_map(|rest| rest.split(['`', ' ']).next())
        .collect();
    assert!(events.len() > 10, "{events:?}");
    for event in events {
        assert!(entries.iter().any(|entry| entry.tag == event), "{event}");
    }
}

#[test]
fn pages_and_completions_are_installed_and_removed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = || {
        let find = Command::new("find")
            .arg(folder.path())
            .args(["-type", "f", "-printf", "%P\n"])
            .output();
        String::from_utf8(find.expect("find").stdout).expect("plain names")
    };
    make("install", folder.path());
    let installed = files();
    for file in [
        "man/man5/pam_totp.conf.5",
        "man/man8/pam_totp.8",
        "man/man8/totpctl.8",
        "bash-completion/completions/totpctl",
        "fish/vendor_completions.d/totpctl.fish",
        "zsh/site-functions/_totpctl",
    ] {
        let path = format!("usr/local/share/{file}\n");
        assert!(installed.contains(&path), "{path}{installed}");
        // What the help doesn't show is not offered.
        let text = fs::read_to_string(folder.path().join(path.trim_end())).expect("text");
        let offers = ["--expire ", "--expire)", "--expire[", "-l expire "];
        assert!(!offers.iter().any(|offer| text.contains(offer)), "{file}");
    }
    make("uninstall", folder.path());
    assert_eq!(files(), "");
}

#[test]
fn bash_completes_verbs_and_options() {
    let machine = Machine::new();
    let completions = "/usr/local/share/bash-completion/completions/totpctl";
    machine.run(&format!("bash -n {completions}"));
    let mut bash = machine.terminal(&["bash", "--norc", "--noprofile", "-i"]);
    // What is completed is then run: a function of that name says what became of it.
    bash.enter(&format!(". {completions}; PS1='ready''> '"));
    bash.enter("totpctl() { echo \"got: $*.\"; }");
    bash.see("ready> ");
    for (typed, completed) in [
        ("enr\talice", "enroll alice"),
        ("device ren\talice", "device rename alice"),
        ("enroll alice --no-c\t", "enroll alice --no-confirm "),
        ("rotate alice --qr as\t", "rotate alice --qr ascii "),
    ] {
        bash.enter(&format!("totpctl {typed}"));
        bash.see(&format!("got: {}.", completed.trim_end()));
    }
}

/// A section of the configuration: where the page describes it, and how it begins in a file.
struct Section {
    heading: &'static str,
    opening: &'static str,
}

const RULE: &str = "[[policy.rule]]";

const SECTIONS: [Section; 9] = [
    Section {
        heading: "Files and name",
        opening: "",
    },
    Section {
        heading: "[verify]",
        opening: "[verify]\n",
    },
    Section {
        heading: "[limits]",
        opening: "[limits]\n",
    },
    Section {
        heading: "[backup_codes]",
        opening: "[backup_codes]\n",
    },
    Section {
        heading: "[delivery.mail]",
        opening: "[delivery.mail]\n",
    },
    Section {
        heading: "[delivery.text]",
        opening: "[delivery.text]\ncommand = [\"/bin/true\", \"{address}\"]\n",
    },
    Section {
        heading: "[notify]",
        opening: "[notify]\ncommand = [\"/bin/true\"]\n",
    },
    Section {
        heading: "[policy]",
        opening: "[policy]\n",
    },
    Section {
        heading: RULE,
        opening: "[[policy.rule]]\nsecond_factor = \"never\"\n",
    },
];

/// The keys that the parser names when it meets another one.
fn known_keys(opening: &str) -> Vec<String> {
    let complaint = complaint(&format!("{opening}no_such_key = 1\n")).expect("a complaint");
    let known = complaint.split("expected one of ").nth(1);
    let known = known.unwrap_or_else(|| panic!("{complaint}"));
    known.trim().split(", ").map(str::to_owned).collect()
}

/// What totpctl says of a configuration that it refuses.
fn complaint(text: &str) -> Option<String> {
    let scratch = Scratch::new("");
    scratch.write_config(text);
    let said = Said::new(&scratch.totpctl(&["explain", "--user", ACCOUNT, "--service", "x"], ""));
    said.err.contains(", line ").then_some(said.err)
}

/// What a complaint expects: ranges (`0 to 10`), words between quotes, and the least.
fn expected(complaint: &str) -> Vec<String> {
    let Some((_, expected)) = complaint.trim_end().split_once("expected ") else {
        return Vec::new();
    };
    // An example follows, or what else is wrong.
    let expected = expected.split(", such as").next().unwrap_or(expected);
    let expected = expected.split(": a limit").next().unwrap_or(expected);
    let words: Vec<_> = expected.split(' ').collect();
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let ranges = words
        .windows(3)
        .filter(|range| range[1] == "to" && is_number(range[0]) && is_number(range[2]));
    let mut all: Vec<String> = ranges.map(|range| range.join(" ")).collect();
    match expected.strip_prefix("at least ") {
        Some(least) => all.push(format!("at least {}", least.trim_matches('"'))),
        None => all.extend(expected.split('"').skip(1).step_by(2).map(str::to_owned)),
    }
    all
}

/// The key that an entry of the page is about.
fn key(entry: &Entry) -> Option<&str> {
    let (key, _) = entry.tag.split_once(" = ")?;
    (!key.contains(' ')).then_some(key)
}

#[derive(Eq, PartialEq)]
enum Kind {
    Stack,
    Toml,
    Other,
}

/// What a block of a page is an example of.
fn kind(text: &str) -> Kind {
    let first = text.split_whitespace().next().unwrap_or_default();
    match first {
        "auth" | "account" | "session" | "password" => Kind::Stack,
        _ if text.starts_with('[')
            || text.lines().next().is_some_and(|line| line.contains(" = ")) =>
        {
            Kind::Toml
        }
        _ => Kind::Other,
    }
}

/// Those of the pages that ask for a code.
fn stacks() -> Vec<String> {
    let pages = Page::all();
    let examples = pages.iter().flat_map(Page::examples);
    let stacks = examples.filter(|text| kind(text) == Kind::Stack);
    let stacks: Vec<_> = stacks.filter(|text| text.contains("pam_totp.so")).collect();
    assert!(stacks.len() > 2);
    stacks
}

/// What `totpctl VERB --help` says.
struct Help {
    verbs: Vec<String>,
    arguments: Vec<String>,
    options: Vec<Choice>,
}

/// An option, as the page spells it, and what the help says of its values.
struct Choice {
    spelling: String,
    values: Vec<String>,
}

impl Help {
    fn of(path: &[String]) -> Self {
        let said = Command::new(product::totpctl())
            .args(path)
            .arg("--help")
            .output();
        let said = Said::new(&said.expect("totpctl starts"));
        assert_eq!(said.code, Some(0), "{path:?}");
        let mut help = Self {
            verbs: Vec::new(),
            arguments: Vec::new(),
            options: Vec::new(),
        };
        let mut part = "";
        for line in said.out.lines() {
            let text = line.trim();
            match (part, text.chars().next()) {
                _ if line.ends_with(':') && !line.starts_with(' ') => part = line,
                ("Commands:", _) if line.starts_with("  ") && !line.starts_with("   ") => {
                    let verb = text.split(' ').next().unwrap_or(text);
                    help.verbs.push(verb.to_owned());
                }
                ("Arguments:", Some('<' | '[')) => {
                    let name = text.split(['>', ']']).next().unwrap_or(text);
                    help.arguments.push(name[1..].to_owned());
                }
                ("Options:", Some('-')) if !text.starts_with("- ") => help.options.push(Choice {
                    spelling: text
                        .split("  ")
                        .next()
                        .unwrap_or(text)
                        .replace(['<', '>'], "")
                        .replace('…', "..."),
                    values: Vec::new(),
                }),
                _ => {}
            }
            let Some(option) = help.options.last_mut() else {
                continue;
            };
            let value = text
                .strip_prefix("- ")
                .and_then(|value| value.split(':').next());
            let default = text.split("[default: ").nth(1);
            let default = default.and_then(|value| value.split(']').next());
            option.values.extend(value.map(str::to_owned));
            option
                .values
                .extend(default.map(|value| format!("Default: {value}")));
        }
        help.verbs.retain(|verb| verb != "help");
        help
    }

    /// The ways to say what is to be done: `status`, `device list`.
    fn verbs(&self) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        for verb in &self.verbs {
            let path = vec![verb.clone()];
            let below = Self::of(&path).verbs;
            match below.is_empty() {
                true => all.push(path),
                false => all.extend(below.into_iter().map(|next| vec![verb.clone(), next])),
            }
        }
        assert!(all.len() > 10);
        all
    }
}

impl Choice {
    /// `--device` of `--device NAME`.
    fn name(&self) -> &str {
        self.spelling.split(' ').next().unwrap_or(&self.spelling)
    }

    #[track_caller]
    fn assert_in(&self, entries: &[Entry]) {
        let entry = entries.iter().find(|entry| entry.tag == self.spelling);
        let entry = entry.unwrap_or_else(|| panic!("{} is not in {entries:#?}", self.spelling));
        for value in &self.values {
            assert!(
                entry.text.contains(value.as_str()),
                "{value} is not in {entry:?}"
            );
        }
    }
}

fn is_about(heading: &str, path: &[String]) -> bool {
    let verb = path.join(" ");
    heading == verb || heading.starts_with(&format!("{verb} "))
}

fn make(target: &str, folder: &Path) {
    let module = product::module();
    let build = module.parent().expect("a folder");
    let output = Command::new("make")
        .args(["--silent", target])
        .arg(format!("DESTDIR={}", folder.display()))
        .arg(format!("BUILD={}", build.display()))
        .current_dir(product::workspace())
        .env_remove("MAKEFLAGS")
        .output()
        .expect("make starts");
    assert!(output.status.success(), "{output:?}");
}
