//! Whole logins by ssh with a password, and with a code after it.

use std::io::{Read, Write};
use std::time::Instant;

use end_to_end::example::Example;
use end_to_end::machine::Machine;
use end_to_end::product::PROMPT;
use nix::sys::wait::WaitStatus;
use rexpect::process::PtyProcess;

use crate::figures::{heading, line, quantile};

const PASSWORD: &str = "correct horse";
const PASSWORD_PROMPT: &str = "Password: ";

/// Measures so many of each. The machine's clock is the real one, so everybody comes once.
pub fn full_logins(rounds: usize) {
    let with = Example::named("sshd");
    let is_ours = |line: &&str| line.contains("pam_totp.so");
    let without = with.stack.lines().filter(|line| !is_ours(line));
    let without = without.collect::<Vec<_>>().join("\n") + "\n";
    let machine = Machine::new()
        .sshd(&with, "")
        .file("/root/with", "644", &with.stack)
        .file("/root/without", "644", without);
    let names: Vec<_> = (0..rounds)
        .map(|number| format!("person{number}"))
        .collect();
    let accounts: String = names
        .iter()
        .map(|name| format!("{name}:{PASSWORD}::::/:/bin/sh\n"))
        .collect();
    machine.log().keep_secret(PASSWORD);
    machine.feed("newusers /dev/fd/0", accounts);

    let (mut password, mut both) = (Vec::new(), Vec::new());
    for (round, name) in names.iter().enumerate() {
        let mut phone = machine.enroll(name);
        let mut login = |has_code: bool| {
            let stack = if has_code { "with" } else { "without" };
            machine.run(&format!("cp /root/{stack} /etc/pam.d/sshd"));
            let code = phone.code();
            let mut answers = vec![(PASSWORD_PROMPT, PASSWORD)];
            if has_code {
                answers.push((PROMPT, &code));
            }
            milliseconds(&machine, name, &answers)
        };
        // Another one is the first in each round.
        let order = if round % 2 == 0 {
            [false, true]
        } else {
            [true, false]
        };
        for has_code in order {
            let took = login(has_code);
            if has_code { &mut both } else { &mut password }.push(took);
        }
    }
    let added = both.iter().zip(&password).map(|(both, one)| both - one);
    let added = added.collect::<Vec<_>>();
    heading("ssh, from start to end", &["median ms", "p99 ms"]);
    for (name, times) in [
        ("password", password),
        ("password and code", both),
        ("added", added),
    ] {
        let at = |part| format!("{:.1}", quantile(times.clone(), part));
        line(name, [at(0.5), at(0.99)]);
    }
}

/// How long it takes somebody who types at once to run `true` over there.
fn milliseconds(machine: &Machine, user: &str, answers: &[(&str, &str)]) -> f64 {
    let ssh = machine.ssh_command(user, &["true"]);
    let started = Instant::now();
    let process = PtyProcess::new(ssh).expect("a terminal");
    let mut terminal = process.get_file_handle().expect("a terminal");
    let mut shown = Vec::new();
    for (prompt, answer) in answers {
        while !shown.ends_with(prompt.as_bytes()) {
            let mut bytes = [0; 1024];
            let count = terminal.read(&mut bytes).expect("it is not over yet");
            shown.extend_from_slice(&bytes[..count]);
        }
        writeln!(terminal, "{answer}").expect("it reads");
    }
    let status = process.wait().expect("it ends");
    let took = started.elapsed();
    let shown = String::from_utf8_lossy(&shown);
    assert!(
        matches!(status, WaitStatus::Exited(_, 0)),
        "{status:?}: {shown}"
    );
    took.as_secs_f64() * 1e3
}
