//! Turning the module on for a service, so that nobody locks themselves out.

use end_to_end::enrolled::Enrolled;
use end_to_end::example::Example;
use end_to_end::machine::Machine;
use end_to_end::patience;
use end_to_end::product::PROMPT;

/// A machine on which alice logs in by ssh with her password, as Debian ships it.
fn machine() -> (Machine, Enrolled) {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd"), "");
    // The stack and settings of Debian, and a folder for what cron has to do.
    machine.run(&format!(
        "printf '%s' '{STACK}' >/etc/pam.d/sshd; rm {DROP_IN}"
    ));
    machine.run("kill -HUP $(cat /run/sshd.pid); mkdir -p /etc/cron.d");
    let phone = machine.enroll("alice");
    machine.run(
        "mkdir -m 700 /var/lib/pam_totp/rollout; umask 077; : >/var/lib/pam_totp/rollout/.lock",
    );
    (machine, phone)
}

/// All that a rollout of sshd may touch.
fn files(machine: &Machine) -> String {
    machine.run(&format!(
        "cat /etc/pam.d/sshd; cat {DROP_IN} 2>&1 || true; ls -A /etc/pam.d /etc/cron.d /var/lib/pam_totp/rollout 2>&1 || true"
    ))
}

fn refused(machine: &Machine, words: &str) -> String {
    machine.run(&format!("! totpctl rollout {words} 2>&1"))
}

/// Waits for the watcher, which waits for the clock.
#[track_caller]
fn wait_for(machine: &Machine, wanted: &str) {
    patience::wait_for("the files of before", || files(machine) == wanted);
}

/// An sshd that reads its settings anew listens anew.
fn wait_for_sshd(machine: &Machine) {
    machine.run("until ssh-keyscan -T 1 127.0.0.1 >/dev/null 2>&1; do sleep 0.1; done");
}

#[test]
fn a_rollout_that_a_new_login_confirms_stays_and_can_be_taken_back() {
    let (machine, mut phone) = machine();
    let before = files(&machine);
    let told = machine.run("totpctl rollout sshd --user alice --yes --within 10m");
    for part in ["+auth       required     pam_totp.so", "rollout --confirm"] {
        assert!(told.contains(part), "{told}");
    }
    let told = refused(&machine, "--confirm");
    assert!(told.contains("no code of alice was accepted"), "{told}");
    let told = refused(&machine, "su --user alice --yes");
    assert!(told.contains("a rollout for sshd is under way"), "{told}");
    wait_for_sshd(&machine);
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    ssh.assert_ends_well("alice");
    machine.run("totpctl rollout --confirm");
    // Nothing waits any more, and a timer of before finds nothing to do.
    let told = machine.run("totpctl rollout --expire");
    assert!(told.contains("No rollout is over its time"), "{told}");
    machine
        .ssh("alice", &["true"])
        .answer(PASSWORD_PROMPT, PASSWORD)
        .see(PROMPT);
    machine.run("totpctl rollout --revert");
    assert_eq!(files(&machine), before);
}

#[test]
fn what_nobody_confirms_comes_back_by_itself_though_the_terminal_is_gone() {
    let (machine, _) = machine();
    let before = files(&machine);
    // The terminal, and all that it started, is gone before the time has come.
    let mut terminal = machine.terminal(&[
        "totpctl", "rollout", "sshd", "--user", "alice", "--yes", "--within", "3s",
    ]);
    terminal.see("Keep this terminal open");
    drop(terminal);
    assert!(files(&machine).contains("pam_totp.so"));
    wait_for(&machine, &before);
    wait_for_sshd(&machine);
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD);
    ssh.assert_ends_well("alice");
    machine.log().assert_has(&["event=rollout-reverted"]);
}

#[test]
fn after_a_reboot_the_timer_takes_it_back() {
    let (machine, _) = machine();
    let before = files(&machine);
    machine.run("totpctl rollout sshd --user alice --yes --within 10m");
    // The boot: the watcher is gone, and by then it is late.
    machine.run("pkill --full '[r]ollout --expire --wait'");
    machine.run(
        "sed -i 's/\"ends\": [0-9]*/\"ends\": 1000000000/' /var/lib/pam_totp/rollout/journal.json",
    );
    let timer = machine.run("sed 's/^\\* \\* \\* \\* \\* root //' /etc/cron.d/pam-totp-rollout");
    machine.run(&timer);
    assert_eq!(files(&machine), before);
}

#[test]
fn a_clock_that_goes_back_does_not_keep_it() {
    let (machine, _) = machine();
    let before = files(&machine);
    machine.run("totpctl rollout sshd --user alice --yes --within 10m");
    machine.run("sed -i 's/\"began\": [0-9]*/\"began\": 9000000000/' /var/lib/pam_totp/rollout/journal.json");
    wait_for(&machine, &before);
}

#[test]
fn killed_before_any_call_it_leaves_the_old_files_or_the_new_ones() {
    let (machine, _) = machine();
    let before = files(&machine);
    let rollout = "totpctl rollout sshd --user alice --yes --within 10m";
    let mut killed = 0;
    for call in [
        "rename",
        "renameat2",
        "linkat",
        "unlink",
        "fsync",
        "fchown",
        "openat",
    ] {
        for count in 1..40 {
            let inject = format!("inject={call}:signal=KILL:when={count}");
            let status = machine.run(&format!(
                "strace -qq -o /dev/null -e {inject} {rollout} >/dev/null 2>&1 || s=$?; echo ${{s-0}}"
            ));
            killed += usize::from(status.trim() == "137");
            // What the watcher or the timer does at once, since nobody is making it any more.
            let now = machine.run("totpctl rollout --expire >/dev/null 2>&1; cat /etc/pam.d/sshd");
            let is_new = now.contains("pam_totp.so");
            let drop_in = machine.run(&format!("test -e {DROP_IN} && echo there || echo none"));
            assert_eq!(is_new, drop_in.trim() == "there", "{call} {count}");
            if is_new {
                let journal = machine.run("cat /var/lib/pam_totp/rollout/journal.json");
                assert!(journal.contains("\"applied\""), "{call} {count}: {journal}");
                machine.run("totpctl rollout --revert");
            }
            wait_for(&machine, &before);
            if status.trim() == "0" {
                break;
            }
        }
    }
    assert!(killed > 10, "{killed}");
}

#[test]
fn a_full_disk_in_the_middle_leaves_the_old_files() {
    let (machine, _) = machine();
    let before = files(&machine);
    for when in 1..12 {
        let told = machine.run(&format!(
            "strace -qq -o /dev/null -e inject=write:error=ENOSPC:when={when}+ \
             totpctl rollout sshd --user alice --yes --within 10m >/dev/null 2>&1 && echo done || echo failed"
        ));
        if told.trim() == "failed" {
            machine.run("totpctl rollout --revert >/dev/null 2>&1 || true");
        } else {
            machine.run("totpctl rollout --revert");
        }
        wait_for(&machine, &before);
    }
}

#[test]
fn who_would_be_locked_out_is_told_before_anything_changes() {
    let (machine, _) = machine();
    let before = files(&machine);
    for (words, part) in [
        (
            "sshd --user bin --yes",
            "bin could not confirm, having no device",
        ),
        ("nosuch --user alice --yes", "no such stack"),
        ("sshd --user nosuch --yes", "no account named"),
        ("--confirm", "no rollout waits"),
        ("su --user alice --yes --after-key", "for sshd alone"),
        (
            "common-auth --user alice --yes",
            "no service with a stack of its own",
        ),
        (
            "../pam.d/sshd --user alice --yes",
            "no service with a stack of its own",
        ),
        ("--revert", "no rollout to take back"),
    ] {
        let told = refused(&machine, words);
        assert!(told.contains(part), "{words}: {told}");
    }
    let told = machine.run("echo no | (! totpctl rollout sshd --user alice 2>&1)");
    assert!(told.contains("nothing was changed"), "{told}");
    assert_eq!(files(&machine), before);
    // Whoever edits a line that comes first would otherwise have a code asked of nobody, or of nobody but sshd's.
    machine.run("echo 'AuthenticationMethods publickey' >/etc/ssh/sshd_config.d/01-first.conf");
    let told = refused(&machine, "sshd --user alice --yes");
    assert!(told.contains("another line comes before"), "{told}");
    assert!(!files(&machine).contains("pam_totp.so"));
}

#[test]
fn after_a_key_the_code_is_asked_for_and_without_the_module_nobody_gets_in() {
    let (machine, mut phone) = machine();
    let machine = machine.authorized_key("alice");
    machine.run("totpctl rollout sshd --user alice --yes --after-key --within 10m");
    wait_for_sshd(&machine);
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PROMPT, &phone.code());
    ssh.assert_ends_well("alice");
    machine.run("totpctl rollout --confirm");
    // Whom a rule exempts the key is enough for.
    machine.run(
        "printf '[[policy.rule]]\\nsecond_factor = \"never\"\\n' >/etc/security/pam_totp.toml",
    );
    machine
        .ssh("alice", &["id", "-un"])
        .assert_ends_well("alice");
    // Taken out by hand it leaves no stack that lets everybody in.
    machine.run("sed -i 's/^[^#].*pam_totp\\.so/#&/' /etc/pam.d/sshd");
    machine
        .ssh("alice", &["id", "-un"])
        .see("Permission denied");
    // A configuration with a mistake keeps nobody from taking it back.
    machine.run("echo '[' >/etc/security/pam_totp.toml; totpctl rollout --revert");
    let stack = machine.run("cat /etc/pam.d/sshd");
    assert!(!stack.contains("pam_totp"), "{stack}");
}

#[test]
fn what_was_edited_meanwhile_is_kept() {
    let (machine, _) = machine();
    machine.run("totpctl rollout sshd --user alice --yes --within 10m");
    machine.run("echo '# mine' >>/etc/pam.d/sshd; totpctl rollout --revert");
    assert!(
        !files(&machine).contains("# mine\naccount"),
        "{}",
        files(&machine)
    );
    let kept = machine.run("cat /var/lib/pam_totp/rollout/edited-1");
    assert!(kept.contains("# mine"), "{kept}");
}

#[test]
fn sudo_is_confirmed_by_sudo() {
    let machine = Machine::new().user("alice", PASSWORD).file(
        "/etc/sudoers",
        "440",
        "Defaults timestamp_timeout=0\nalice ALL = (ALL) ALL\n",
    );
    let mut phone = machine.enroll("alice");
    machine.run("totpctl rollout sudo --user alice --yes --within 10m");
    let mut sudo = machine.terminal_as(
        "alice",
        &["sudo", "/usr/local/sbin/totpctl", "rollout", "--confirm"],
    );
    sudo.answer("password for alice: ", PASSWORD)
        .answer(PROMPT, &phone.code());
    sudo.assert_ends_well(
        "sudo asks for a code from now on. To turn it off: totpctl rollout --revert",
    );
}

const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-pam_totp.conf";
const STACK: &str = "@include common-auth\naccount    required     pam_nologin.so\n@include common-account\n\
                     @include common-session\n@include common-password\n";
const PASSWORD: &str = "correct horse";
const PASSWORD_PROMPT: &str = "assword: ";
