//! People who own an enrolled account each, and a machine with a thief and a friend of everyone.

use serde_json::Value;

use crate::example::Example;
use crate::hostile::{Hostile, Program};
use crate::machine::{Machine, output};
use crate::said::Said;

/// Everybody's.
pub const PASSWORD: &str = "correct horse";

/// The names of so many owners.
pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("owner{index}")).collect()
}

/// alice and the thieves attack, carol's and the friends' are other addresses, and `users` own what is attacked.
pub fn machine(users: &[String]) -> Machine {
    let machine = Machine::new()
        .pam("su", &Example::named("su"))
        .pam("sudo", &Example::named("sudo"))
        .file("/etc/sudoers", "440", "ALL ALL = (ALL) ALL\n");
    // These delays are not ours, and cost minutes.
    machine.run("sed -i 's/pam_unix.so/& nodelay/' /etc/pam.d/common-auth; echo FAIL_DELAY 0 >>/etc/login.defs");
    let accounts: String = ["alice".to_owned(), "carol".to_owned()]
        .into_iter()
        .chain(
            users
                .iter()
                .flat_map(|user| [user.clone(), thief_of(user), friend_of(user)]),
        )
        .map(|name| format!("{name}:{PASSWORD}::::/:/bin/sh\n"))
        .collect();
    machine.log().keep_secret(PASSWORD);
    machine.feed("newusers /dev/fd/0", accounts);
    machine
}

/// Somebody else for each owner: what one person guesses of many counts together.
pub fn thief_of(user: &str) -> String {
    format!("thief-of-{user}")
}

/// Who lets the owner in: another address than the thief's.
pub fn friend_of(user: &str) -> String {
    format!("friend-of-{user}")
}

/// What `caller` hears who gives the password and `code` of `user` to a program that they started as
/// `hostile` says.
pub fn attempt(machine: &Machine, caller: &str, hostile: &Hostile, user: &str, code: &str) -> Said {
    machine.log().keep_secret(code);
    let script = format!("{}\nexec {} \"$@\"", hostile.prelude, hostile.wrapper);
    let program = match hostile.program {
        Program::Su => vec!["/bin/su", user, "-c", "/usr/bin/id -un"],
        Program::Sudo => vec!["sudo", "-S", "-k", "-p", "Password: ", "id", "-un"],
    };
    let caller = match hostile.program {
        Program::Su => caller,
        Program::Sudo => user,
    };
    let words = [&["sh", "-c", &script, "sh"], &program[..]].concat();
    let command = machine.command_as(caller, &words);
    Said::new(&output(command, format!("{PASSWORD}\n{code}\n").as_bytes()))
}

/// Whether a friend, who does nothing odd, gets in as `user`.
pub fn owner_gets_in(machine: &Machine, user: &str, code: &str) -> bool {
    let said = attempt(machine, &friend_of(user), &Hostile::PLAIN, user, code);
    said.code == Some(0) && said.out == format!("{user}\n")
}

/// The wrong answers that were counted for `user` from addresses that are not familiar.
pub fn counted(machine: &Machine, user: &str) -> u64 {
    let status = machine.run(&format!("totpctl status {user} --json"));
    let status: Value = serde_json::from_str(&status).expect("a document");
    let total = &status["users"][0]["unfamiliar"]["total"];
    total.as_u64().unwrap_or_else(|| panic!("{status}"))
}

/// Gives `user` all attempts back.
pub fn unlock(machine: &Machine, user: &str) {
    machine.run(&format!("totpctl unlock {user}"));
}
