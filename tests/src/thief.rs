//! Somebody who knows the password and guesses the code.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::hostile::Hostile;
use crate::machine::Machine;
use crate::owners::{self, attempt, counted, owner_gets_in, thief_of, unlock};
use crate::product::{PROMPT, attempts_left};

/// Every case with an owner of its own, a few at a time.
pub fn assert_none_is_free(cases: &[Hostile]) {
    let owners = owners::names(cases.len());
    let machine = owners::machine(&owners);
    assert_none_is_free_in(&machine, &owners, cases);
}

/// The same in a machine of the `owners`.
pub fn assert_none_is_free_in(machine: &Machine, owners: &[String], cases: &[Hostile]) {
    // What the first enrollment makes for everybody.
    machine.enroll("carol");
    let before = kept(machine);
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(index) else { break };
            println!("{}", assert_no_guess_is_free(machine, &owners[index], case));
        }
    };
    thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(work);
        }
    });
    let after = kept(machine);
    let of_owner = |line: &&str| owners.iter().any(|owner| line.contains(owner.as_str()));
    let others: Vec<_> = after.lines().filter(|line| !of_owner(line)).collect();
    assert_eq!(others.join("\n"), before.trim_end());
    let state = before.lines().find(|line| line.starts_with("state/carol "));
    let tail = state.expect("a state").trim_start_matches("state/carol");
    for owner in owners {
        assert!(
            after.contains(&format!("state/{owner}{tail}\n")),
            "{owner}: {after}"
        );
    }
    assert_eq!(
        after.lines().filter(of_owner).count(),
        2 * owners.len(),
        "a secret and a state each:\n{after}"
    );
    assert_eq!(
        machine
            .run("find /run/pam_totp ! -user root -o -type d ! -perm 700 -o -type f ! -perm 600"),
        ""
    );
}

/// A wrong and a right answer under `hostile`, and what they left.
fn assert_no_guess_is_free(machine: &Machine, user: &str, hostile: &Hostile) -> String {
    let mut phone = machine.enroll(user);
    let wrong = phone.wrong_code();
    let refused = attempt(machine, &thief_of(user), hostile, user, &wrong);
    assert_ne!(refused.code, Some(0), "{hostile:?}: {refused:?}");
    assert_eq!(refused.out, "", "{hostile:?}");
    let count = counted(machine, user);
    assert!(count <= 1, "{hostile:?} counted {count}");
    let logged = |event: &str| {
        let line = format!("event={event} user={user} ");
        machine
            .log()
            .lines()
            .iter()
            .any(|logged| logged.contains(&line))
    };
    let judged = refused.is_judged() || logged("wrong");
    assert!(
        !judged || count == 1,
        "a free guess: {hostile:?}: {refused:?}"
    );

    let right = phone.code();
    let answered = attempt(machine, &thief_of(user), hostile, user, &right);
    let accepted = logged("accepted");
    let let_in = matches!(&*answered.out, out if out == format!("{user}\n") || out == "root\n");
    assert!(accepted || !let_in, "{hostile:?}: {answered:?}");
    assert!(
        !accepted || count == 1,
        "right and wrong are told apart, and the wrong isn't counted: {hostile:?}: {refused:?}, {answered:?}"
    );
    if hostile.harmless {
        let asked = format!("Password: {PROMPT}");
        let told = format!("{asked}{}\n", attempts_left(2));
        // su counts failures in a file of its own, which may end it.
        let last = ["", "su: Authentication failure\n"];
        assert!(
            last.iter()
                .any(|last| refused.err == format!("{told}{last}")),
            "{hostile:?}: {refused:?}"
        );
        assert!(
            accepted && answered.err.starts_with(&asked),
            "{hostile:?}: {answered:?}"
        );
    }

    unlock(machine, user);
    let again = owner_gets_in(machine, user, &right);
    assert!(!(accepted && again), "used twice after {hostile:?}");
    unlock(machine, user);
    let fresh = owner_gets_in(machine, user, &phone.code());
    assert!(fresh, "the owner can't get in after {hostile:?}");
    let cause = match (&*answered.err, answered.code) {
        (_, None) => "killed",
        (text, _) => text.lines().last().unwrap_or_default(),
    };
    format!(
        "{:60} judged {:5} counted {count} accepted {accepted:5} reusable {again:5} {cause:?}",
        format!("{} {}", hostile.prelude, hostile.wrapper),
        judged
    )
}

/// Everything that is kept, by kind, mode and owner.
fn kept(machine: &Machine) -> String {
    machine.run("cd /var/lib/pam_totp; find . -type f -printf '%P %y %m %u %s\\n' -o -printf '%P %y %m %u\\n' | sort")
}
