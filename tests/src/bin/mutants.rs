//! Changes what leads from libpam to the verdict in each small way that cargo-mutants knows, and expects an end-to-end test to
//! fail: what `cargo mutants` does where unit tests can tell.
//!
//! `mutants FOLDER [PATTERN]...` builds a copy of the workspace in FOLDER, and takes those changes whose names match one of the
//! patterns, as `cargo mutants --re` does; all, where there is none. Ends with 1 where a change went by unnoticed.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, iter};

use end_to_end::product::{built, workspace};
use serde_json::Value;

/// What decides beside the core, or asks it.
const FILES: [&str; 5] = [
    "src/core/src/flow/authenticate/enrolling.rs",
    "src/core/src/flow/authenticate/mod.rs",
    "src/core/src/flow/authenticate/report.rs",
    "src/host/src/store/login.rs",
    "src/module/src/lib.rs",
];
/// The tests that ask most of it come first.
const TESTS: [&str; 21] = [
    "pam_codes",
    "totp",
    "answers",
    "login",
    "backup_codes",
    "limits",
    "addresses",
    "trust",
    "backup_key",
    "hotp",
    "policy",
    "names",
    "files",
    "guessing",
    "race",
    "one_field",
    "enrolling",
    "delivery",
    "callers_process",
    "callers_signals",
    "sshd",
];
/// What no test sees in a module that was built here, and why.
const ELSEWHERE: [(&str, &str); 1] = [(
    "replace silence_panics with ()",
    "pam_codes.rs builds a module of its own, in which there is a panic",
)];
/// Seconds that a test may take: a change can make it wait for ever.
const PATIENCE: &str = "240";

fn main() -> ExitCode {
    let mut words = env::args_os().skip(1);
    let folder = PathBuf::from(words.next().expect("see the head of this file"));
    let patterns: Vec<OsString> = words.collect();
    let mut bench = Bench::new(&folder);
    assert_eq!(bench.judge(), Outcome::Missed, "without any change");
    let mut counts = [0; 3];
    for mutant in mutants(patterns) {
        if let Some((_, why)) = ELSEWHERE
            .iter()
            .find(|(name, _)| mutant.name.ends_with(name))
        {
            println!("left out, for {why}: {}", mutant.name);
            continue;
        }
        let outcome = bench.try_out(&mutant);
        println!("{outcome:?}: {}", mutant.name);
        counts[outcome as usize] += 1;
    }
    let [caught, unviable, missed] = counts;
    println!("{caught} failed a test, {unviable} don't compile, {missed} were missed");
    ExitCode::from(u8::from(missed > 0))
}

struct Mutant {
    name: String,
    file: String,
    diff: String,
}

fn mutants(patterns: Vec<OsString>) -> Vec<Mutant> {
    let of_files = FILES.iter().flat_map(|file| ["-f", file]);
    let of_names = patterns.into_iter().flat_map(|one| ["--re".into(), one]);
    let mut list = Command::new("cargo");
    list.args(["mutants", "--no-config", "--list", "--json", "--diff"]);
    list.args(of_files).args(of_names).current_dir(workspace());
    let listed: Value = serde_json::from_str(&text(&mut list)).expect("JSON");
    let listed = listed.as_array().expect("a list");
    let mutants: Vec<Mutant> = listed
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().expect("text").to_owned();
            Mutant {
                name: text("name"),
                file: text("file"),
                diff: text("diff"),
            }
        })
        .collect();
    assert!(!mutants.is_empty());
    mutants
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    /// A test failed, or took too long.
    Caught,
    Unviable,
    Missed,
}

/// A copy of the workspace, and the tests as they are.
struct Bench {
    copy: PathBuf,
    tests: Vec<PathBuf>,
}

impl Bench {
    fn new(folder: &Path) -> Self {
        let copy = folder.join("tree");
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir_all(&copy).expect("a new folder");
        let mut list = Command::new("git");
        list.args(["ls-files", "-z"]).current_dir(workspace());
        let listed = text(&mut list);
        for file in listed.split_terminator('\0') {
            let to = copy.join(file);
            fs::create_dir_all(to.parent().expect("a folder")).expect("a new folder");
            fs::copy(workspace().join(file), to).expect("a copy");
        }
        let mut build = Command::new("cargo");
        build.args(["test", "--locked", "--package", "end-to-end", "--no-run"]);
        build.args(["--message-format", "json", "--quiet"]);
        build.args(TESTS.iter().flat_map(|test| ["--test", test]));
        let messages = text(build.current_dir(workspace()));
        let programs = messages.lines().filter_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, PathBuf::from(message["executable"].as_str()?)))
        });
        let programs: Vec<_> = programs.collect();
        let tests = TESTS.map(|test| {
            let found = programs.iter().find(|(name, _)| name == test);
            found.expect(test).1.clone()
        });
        // Machines install them too, and no change of these files makes others.
        let completions = folder.join("build/mutants/completions");
        fs::create_dir_all(&completions).expect("a new folder");
        for one in fs::read_dir(built("completions")).expect("run `make` first") {
            let one = one.expect("a file");
            fs::copy(one.path(), completions.join(one.file_name())).expect("a copy");
        }
        Self {
            copy,
            tests: tests.to_vec(),
        }
    }

    fn try_out(&mut self, mutant: &Mutant) -> Outcome {
        let file = self.copy.join(&mutant.file);
        let before = fs::read(&file).expect("a source");
        self.patch(&mutant.diff);
        let outcome = self.judge();
        fs::write(&file, before).expect("put back");
        outcome
    }

    fn patch(&self, diff: &str) {
        let mut patch = Command::new("patch")
            .args(["--quiet", "--strip=0"])
            .current_dir(&self.copy)
            .stdin(Stdio::piped())
            .spawn()
            .expect("patch");
        // The name of the change stands where that of the file would.
        let mut lines = diff.lines();
        let from = lines.next().expect("a head");
        let head = [from.to_owned(), from.replacen("---", "+++", 1)];
        let lines = head.into_iter().chain(lines.skip(1).map(str::to_owned));
        let text: String = lines.flat_map(|line| [line, "\n".to_owned()]).collect();
        let mut input = patch.stdin.take().expect("a pipe");
        input.write_all(text.as_bytes()).expect("it reads");
        drop(input);
        assert!(patch.wait().expect("a child").success(), "{text}");
    }

    fn judge(&mut self) -> Outcome {
        let target = self.copy.with_file_name("build");
        let mut build = Command::new("cargo");
        build.args(["build", "--quiet", "--locked", "--profile", "mutants"]);
        build.args(["--package", "pam_totp", "--package", "totpctl"]);
        // Of std they look at descriptors, which the tests of the process see.
        build.env("CARGO_PROFILE_MUTANTS_DEBUG_ASSERTIONS", "false");
        build
            .arg("--target-dir")
            .arg(&target)
            .current_dir(&self.copy);
        if !succeeds(&mut build) {
            return Outcome::Unviable;
        }
        let passes = |test: &PathBuf| {
            let mut run = Command::new("timeout");
            run.args(["--kill-after=5", PATIENCE])
                .arg(test)
                .arg("--quiet");
            run.env("PAM_TOTP_BUILD", target.join("mutants"));
            run.envs(iter::once(("RUST_TEST_THREADS", "8")));
            succeeds(run.current_dir(workspace().join("tests")))
        };
        let Some(failed) = self.tests.iter().position(|test| !passes(test)) else {
            return Outcome::Missed;
        };
        // Neighbours are of a kind: it comes first with the next one.
        let failed = self.tests.remove(failed);
        self.tests.insert(0, failed);
        Outcome::Caught
    }
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().expect("it starts").success()
}

fn text(command: &mut Command) -> String {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).expect("text")
}
