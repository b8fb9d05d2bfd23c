//! The packages on a Debian that boots: getty, login and systemd are the real ones, and the power is cut during a rollout.
//! Run by `make boot`; ends with 101 where a promise does not hold.

use end_to_end::boot::{Booted, Disk};
use end_to_end::enrolled::Enrolled;
use end_to_end::phone::Phone;
use end_to_end::product::PROMPT;
use end_to_end::secret;

fn main() {
    let disk = Disk::new(PASSWORD);
    println!("a rollout begins, and the power is cut");
    let mut machine = disk.boot();
    log_in(&mut machine, "root");
    machine.console.see("# ");
    let secret = secret::fresh();
    machine.run(&format!(
        "echo {secret} | totpctl enroll alice --secret-file - --no-confirm"
    ));
    let mut phone = Enrolled::with(Phone::new(&secret));
    // Else the rollout would take root's console.
    machine.run(&format!(
        "echo {} | totpctl enroll root --secret-file - --no-confirm",
        secret::fresh()
    ));
    machine.run("totpctl rollout login --user alice --within 1m --yes");
    machine.run("grep pam_totp /etc/pam.d/login");
    machine.cut();

    println!("after the next start the old stack comes back by itself");
    let mut machine = disk.boot();
    machine.wait_for(&["event=rollout-reverted"]);
    // By the password alone, as before.
    log_in(&mut machine, "root");
    machine.console.see("# ");
    machine.run("! grep pam_totp /etc/pam.d/login");

    println!("the profile asks at the console");
    let codes = machine.run("totpctl backup-codes alice --regenerate");
    let backup_code = codes
        .split_whitespace()
        .find(|word| word.len() == "AAAA-AAAA-AAAA-AAAA".len() && word.contains('-'))
        .expect("a backup code");
    machine.run("DEBIAN_FRONTEND=noninteractive pam-auth-update --enable totp");
    machine.console.enter("exit");
    log_in(&mut machine, "alice");
    machine.console.answer(PROMPT, &phone.wrong_code());
    machine.console.see("Login incorrect");
    log_in(&mut machine, "alice");
    machine.console.answer(PROMPT, &phone.code());
    leave(&mut machine);
    log_in(&mut machine, "alice");
    machine.console.answer(PROMPT, backup_code);
    // The profile has no_info: what must be seen is asked.
    machine.console.see("Backup codes left: 9 (Press Enter) ");
    machine.console.enter("");
    leave(&mut machine);
    for parts in [
        ["event=wrong", "device=-"],
        ["event=accepted", "device=phone"],
        ["event=accepted", "device=backup-code"],
    ] {
        machine.wait_for(&[&parts[..], &["user=alice", "address=tty:ttyS0"]].concat());
    }
    machine.cut();
    println!("all as promised");
}

fn log_in(machine: &mut Booted, user: &str) {
    machine.console.see("login: ");
    machine.console.enter(user);
    machine.console.answer("Password: ", PASSWORD);
}

fn leave(machine: &mut Booted) {
    machine.console.see("$ ");
    machine.run("test $(id -un) = alice");
    machine.console.enter("exit");
}

const PASSWORD: &str = "correct horse";
