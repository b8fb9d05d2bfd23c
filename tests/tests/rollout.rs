//! Turning the module on for a service, so that nobody locks themselves out.

use end_to_end::enrolled::Enrolled;
use end_to_end::example::Example;
use end_to_end::machine::Machine;
use end_to_end::patience;
use end_to_end::product::PROMPT;
use end_to_end::terminal::Terminal;
use serde_json::Value;

/// A machine on which alice logs in by ssh with her password, as Debian ships it.
fn machine() -> (Machine, Enrolled) {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd"), "");
    // The stack and settings of Debian, and a folder for what cron has to do.
    machine.run(&format!(
        "printf '%s' '{STACK}' >/etc/pam.d/sshd; rm {DROP_IN}"
    ));
    machine.run("until [ -s /run/sshd.pid ]; do sleep 0.1; done; kill -HUP $(cat /run/sshd.pid)");
    let machine = prepared(machine);
    let phone = machine.enroll("alice");
    (machine, phone)
}

/// With what a rollout needs: something named cron, a way to root that asks for nothing, and a folder to compare.
fn prepared(machine: Machine) -> Machine {
    let machine = machine.file(
        "/etc/sudoers",
        "440",
        "Defaults timestamp_timeout=0\nalice ALL = (ALL) ALL\n\
         alice ALL = (ALL) NOPASSWD: /usr/local/sbin/totpctl\nbob ALL = (ALL) NOPASSWD: ALL\n",
    );
    machine.run(
        "mkdir -p /etc/cron.d; cp /usr/bin/sleep /usr/sbin/cron; \
         bash -c \"exec -a 'cron [listener]' /usr/sbin/cron infinity\" </dev/null >/dev/null 2>&1 & \
         mkdir -m 700 -p /var/lib/pam_totp/rollout; umask 077; : >/var/lib/pam_totp/rollout/.lock; \
         until [ \"$(pgrep --exact cron)\" ]; do :; done",
    );
    machine
}

/// Begins a rollout.
fn begin(machine: &Machine, words: &str) -> String {
    machine.run(&format!("totpctl rollout {words} --yes --within 10m"))
}

/// Makes its time be over.
fn end_time(machine: &Machine, service: &str) {
    machine.run(&format!(
        "sed -i 's/\"ends\": [0-9]*/\"ends\": 1000000000/' /var/lib/pam_totp/rollout/{service}.json"
    ));
}

/// A login of alice by ssh that runs a command.
fn ssh_with_code(machine: &Machine, code: &str, words: &[&str]) -> Terminal {
    wait_for_sshd(machine);
    let mut ssh = machine.ssh("alice", words);
    ssh.answer(PASSWORD_PROMPT, PASSWORD).answer(PROMPT, code);
    ssh
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
    let mut old = machine.ssh("alice", &["sh"]);
    old.answer(PASSWORD_PROMPT, PASSWORD);
    old.enter("echo here; read go; sudo /usr/local/sbin/totpctl rollout --confirm")
        .see("here\r\n");
    let told = begin(&machine, "sshd --user alice");
    for part in [
        "+auth       required     pam_totp.so",
        "log in by sshd as alice with a\ncode, and run there within 10 min:\n\n    sudo totpctl rollout --confirm\n",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let told = refused(&machine, "--confirm");
    assert!(told.contains("no login by sshd since"), "{told}");
    let told = refused(&machine, "su --user alice --yes");
    assert!(told.contains("a rollout for sshd is under way"), "{told}");
    let mut ssh = ssh_with_code(&machine, &phone.code(), &["id", "-un"]);
    ssh.assert_ends_well("alice");
    // A code was accepted since, and that terminal is still one of before.
    old.enter("");
    old.see("no login by sshd since the rollout began");
    old.enter("exit");
    old.end();
    ssh_with_code(&machine, &phone.code(), &CONFIRM).assert_ends_well(CONFIRMED);
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
fn a_login_by_backup_code_confirms_and_one_without_code_does_not() {
    let (machine, _) = machine();
    let codes = machine.run("totpctl backup-codes alice --regenerate --print");
    let code = codes
        .lines()
        .find(|line| line.contains('-'))
        .expect("a code");
    let code = code
        .split_whitespace()
        .find(|word| word.contains('-'))
        .expect("a code");
    begin(&machine, "sshd --user alice");
    machine.run(
        "printf '[[policy.rule]]\\nsecond_factor = \"never\"\\n' >/etc/security/pam_totp.toml",
    );
    wait_for_sshd(&machine);
    let mut ssh = machine.ssh("alice", &CONFIRM);
    ssh.answer(PASSWORD_PROMPT, PASSWORD)
        .see("no code of alice was accepted by sshd since");
    ssh.end();
    machine.run("rm /etc/security/pam_totp.toml");
    ssh_with_code(&machine, code, &CONFIRM).see(CONFIRMED);
}

#[test]
fn a_code_that_was_typed_elsewhere_does_not_confirm() {
    let (machine, mut phone) = machine();
    let machine = machine.pam("sudo", &Example::named("sudo"));
    begin(&machine, "sshd --user alice");
    machine.run(
        "printf '[[policy.rule]]\\nservice = [\"sshd\"]\\nsecond_factor = \"never\"\\n' \
         >/etc/security/pam_totp.toml",
    );
    wait_for_sshd(&machine);
    machine
        .ssh(
            "alice",
            &[
                "-tt",
                "sudo",
                "env",
                "/usr/local/sbin/totpctl",
                "rollout",
                "--confirm",
            ],
        )
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer("password for alice: ", PASSWORD)
        .answer(PROMPT, &phone.code())
        .see("no code of alice was accepted by sshd since this login began");
    machine.run("totpctl rollout --revert");
}

#[test]
fn an_old_connection_does_not_confirm_where_proc_tells_the_uptime_of_a_container() {
    let (machine, _) = machine();
    // lxcfs: the uptime is the container's, the starts of processes are the machine's.
    machine.run("echo 1.00 1.00 >/tmp/uptime; mount --bind /tmp/uptime /proc/uptime");
    let control = ["-S", "/tmp/control"];
    let mut old = machine.ssh("alice", &[&control[..], &["-M", "sh"]].concat());
    old.answer(PASSWORD_PROMPT, PASSWORD);
    old.enter("echo here; read go").see("here\r\n");
    begin(&machine, "sshd --user alice");
    // A new session, and no new login.
    machine
        .ssh("alice", &[&control[..], &CONFIRM].concat())
        .see("no login by sshd since the rollout began");
    old.enter("");
    old.enter("exit");
    old.end();
    machine.run("totpctl rollout --revert");
}

#[test]
fn a_new_login_confirms_where_root_may_not_see_what_others_run() {
    let (machine, mut phone) = machine();
    begin(&machine, "sshd --user alice");
    // root of a container (CAP_SYS_PTRACE).
    let confirm = "setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace /usr/local/sbin/totpctl rollout --confirm";
    let machine = machine.file(
        "/usr/local/sbin/confirm",
        "755",
        format!("#!/bin/sh\nexec {confirm}\n"),
    );
    machine.run(
        "sed -i 's,NOPASSWD: /usr/local/sbin/totpctl,&\\, /usr/local/sbin/confirm,' /etc/sudoers",
    );
    ssh_with_code(
        &machine,
        &phone.code(),
        &["sudo", "/usr/local/sbin/confirm"],
    )
    .assert_ends_well(CONFIRMED);
}

#[test]
fn somebody_elses_login_does_not_confirm() {
    let (machine, mut phone) = machine();
    let machine = machine.user("bob", PASSWORD);
    let mut bobs = machine.enroll("bob");
    begin(&machine, "sshd --user alice");
    ssh_with_code(&machine, &phone.code(), &["id", "-un"]).assert_ends_well("alice");
    let mut ssh = machine.ssh("bob", &CONFIRM);
    ssh.answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &bobs.code())
        .see("this login by sshd is not alice's");
    ssh.end();
    machine.run("totpctl rollout --revert");
}

#[test]
fn a_login_at_a_console_confirms_though_its_getty_is_older() {
    let machine = prepared(Machine::new().user("alice", PASSWORD));
    let mut phone = machine.enroll("alice");
    // getty: it becomes login when somebody types a name.
    let mut console = machine.terminal(&["sh", "-c", "read go; exec login alice"]);
    let told = begin(&machine, "login --user alice");
    assert!(
        told.contains("At a console, log in anew as alice with a\ncode, and run there within"),
        "{told}"
    );
    console.enter("go");
    console
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    console.see("$ ");
    console.enter("sudo /usr/local/sbin/totpctl rollout --confirm; exit");
    console.see("login asks for a code from now on");
    console.end();
}

#[test]
fn each_service_is_rolled_out_and_taken_back_by_itself() {
    let (machine, mut phone) = machine();
    let sudo = machine.run("cat /etc/pam.d/sudo");
    begin(&machine, "sshd --user alice");
    ssh_with_code(&machine, &phone.code(), &CONFIRM).assert_ends_well(CONFIRMED);
    begin(&machine, "sudo --user alice");
    // The one under way, and not the other.
    machine.run("totpctl rollout --revert --unconfirmed");
    assert_eq!(machine.run("cat /etc/pam.d/sudo"), sudo);
    assert!(machine.run("cat /etc/pam.d/sshd").contains("pam_totp.so"));
    let told = machine.run("totpctl rollout --revert --unconfirmed");
    assert!(told.contains("No rollout waits"), "{told}");

    begin(&machine, "sudo --user alice");
    confirm_by_sudo(&machine, &phone.code());
    let told = refused(&machine, "--revert");
    assert!(told.contains("--revert sshd | sudo"), "{told}");
    let told = refused(&machine, "--revert su");
    assert!(told.contains("su was not rolled out"), "{told}");
    machine.run("totpctl rollout --revert sshd");
    assert!(!machine.run("cat /etc/pam.d/sshd").contains("pam_totp.so"));
    assert!(machine.run("cat /etc/pam.d/sudo").contains("pam_totp.so"));
    machine.run("totpctl rollout --revert");
    assert_eq!(machine.run("cat /etc/pam.d/sudo"), sudo);
}

#[test]
fn what_nobody_confirms_comes_back_by_itself_though_the_terminal_is_gone() {
    let (machine, _) = machine();
    let before = files(&machine);
    // The terminal, and all that it started, is gone before the time has come.
    let mut terminal =
        machine.terminal(&["totpctl", "rollout", "sshd", "--user", "alice", "--yes"]);
    terminal.see("Keep this terminal open");
    drop(terminal);
    assert!(files(&machine).contains("pam_totp.so"));
    end_time(&machine, "sshd");
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
    begin(&machine, "sshd --user alice");
    // The boot: the watcher is gone, and by then it is late.
    machine.run("pkill --full '[r]ollout --expire --wait'");
    end_time(&machine, "sshd");
    // A configuration that denies everybody keeps nobody locked out.
    machine.run("echo '[' >/etc/security/pam_totp.toml");
    let timer = machine.run("sed 's/^\\* \\* \\* \\* \\* root //' /etc/cron.d/pam-totp-rollout");
    machine.run(&timer);
    assert_eq!(files(&machine), before);
}

#[test]
fn whatever_the_configuration_says_by_then_it_is_taken_back() {
    let (machine, _) = machine();
    machine.run(
        "mkdir -m 700 /srv/totp; mv /var/lib/pam_totp/secrets /var/lib/pam_totp/state /srv/totp; echo          'secret_dir = \"/srv/totp/secrets\"\nstate_dir = \"/srv/totp/state\"' >/etc/security/pam_totp.toml",
    );
    let before = files(&machine);
    begin(&machine, "sshd --user alice");
    machine.run("pkill --full '[r]ollout --expire --wait'");
    machine.run("echo '[' >/etc/security/pam_totp.toml; totpctl rollout --revert");
    assert_eq!(files(&machine), before);
}

#[test]
fn a_disk_that_takes_no_changes_keeps_nobody_locked_out() {
    let (machine, _) = machine();
    let before = files(&machine);
    begin(&machine, "sshd --user alice");
    machine.run(&format!(
        "cd /var/lib/pam_totp; mount --bind . .; mount -o remount,bind,ro /var/lib/pam_totp
         ! totpctl rollout --revert 2>/tmp/told
         grep 'the old files of sshd are back, but .*Read-only.*: mount -o remount,rw /var/lib/pam_totp, then run totpctl rollout --revert sshd$' /tmp/told
         ! grep pam_totp.so /etc/pam.d/sshd; ! test -e {DROP_IN}
         umount /var/lib/pam_totp; totpctl rollout --revert"
    ));
    assert_eq!(files(&machine), before);
}

#[test]
fn of_a_disk_that_takes_no_changes_is_said_what_to_run() {
    let (machine, mut phone) = machine();
    let before = files(&machine);
    // What is said is run as it stands.
    let mended = |words: &str, place: &str, file: &str, then: &str| {
        machine.run(&format!(
            "mount --bind {place} {place}; mount -o remount,bind,ro {place}"
        ));
        let told = refused(&machine, words);
        let mend = format!("mount -o remount,rw {place}");
        let end = format!(": {mend}, then run {then}\n");
        assert!(told.contains(&format!("cannot write {file}: ")), "{told}");
        assert!(told.ends_with(&end), "{told}");
        assert!(!told.contains("-new-"), "{told}");
        machine.run(&format!(
            "{mend}; touch {place}/written; rm {place}/written; umount {place}"
        ));
    };
    let begin = "sshd --user alice --yes";
    for (place, file) in [
        (
            "/var/lib/pam_totp/rollout",
            "/var/lib/pam_totp/rollout/sshd.json",
        ),
        ("/etc/cron.d", "/etc/cron.d/pam-totp-rollout"),
        ("/etc/pam.d", "/etc/pam.d/sshd"),
    ] {
        mended(begin, place, file, "this again");
        assert_eq!(files(&machine), before, "{place}");
    }
    machine.run("mv /var/lib/pam_totp/rollout /tmp");
    mended(
        begin,
        "/var/lib/pam_totp",
        "/var/lib/pam_totp/rollout",
        "this again",
    );
    machine.run("mv /tmp/rollout /var/lib/pam_totp");
    self::begin(&machine, "sshd --user alice");
    ssh_with_code(&machine, &phone.code(), &CONFIRM).assert_ends_well(CONFIRMED);
    self::begin(&machine, "sudo --user alice");
    mended(
        "--revert sshd",
        "/etc/pam.d",
        "/etc/pam.d/sshd",
        "totpctl rollout --revert sshd",
    );
    machine.run("totpctl rollout --revert sudo; totpctl rollout --revert sshd");
    assert_eq!(files(&machine), before);
}

#[test]
fn what_comes_back_is_on_disk_before_the_journal_goes() {
    let (machine, _) = machine();
    begin(&machine, "sshd --user alice");
    let calls = machine.run(
        "strace -y -o /tmp/calls -e trace=rename,unlink,unlinkat,fsync totpctl rollout --revert >/tmp/told; cat /tmp/calls",
    );
    let at = |wanted: &str| {
        calls
            .lines()
            .position(|call| wanted.split('*').all(|part| call.contains(part)))
            .unwrap_or_else(|| panic!("{wanted}: {calls}"))
    };
    let journal = at("unlink*rollout/sshd.json");
    for (change, made_durable) in [
        ("rename(*\"/etc/pam.d/sshd\"", "fsync(*</etc/pam.d>"),
        ("unlink(*10-pam_totp.conf\"", "fsync(*sshd_config.d>"),
    ] {
        assert!(
            at(change) < at(made_durable) && at(made_durable) < journal,
            "{calls}"
        );
    }
}

#[test]
fn whoever_has_not_answered_yet_keeps_nobody_waiting() {
    let (machine, _) = machine();
    let mut terminal = machine.terminal(&["totpctl", "rollout", "sshd", "--user", "alice"]);
    terminal.see("Make these changes? Type yes: ");
    let told = machine.run("timeout 20 totpctl rollout --revert --unconfirmed");
    assert!(told.contains("No rollout waits"), "{told}");
    // What was shown is not what would be changed.
    machine.run("echo '# mine' >>/etc/pam.d/sshd");
    let before = files(&machine);
    terminal.enter("y");
    terminal.see("/etc/pam.d/sshd was edited meanwhile, and nothing was changed");
    terminal.end();
    assert_eq!(files(&machine), before);
}

#[test]
fn an_sshd_that_could_not_read_its_settings_is_left_alone() {
    let (machine, _) = machine();
    begin(&machine, "sshd --user alice");
    wait_for_sshd(&machine);
    machine.run("echo Nonsense yes >>/etc/ssh/sshd_config.d/machine.conf");
    let told = machine.run("totpctl rollout --revert");
    assert!(told.contains("But sshd does not know of it yet"), "{told}");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PASSWORD_PROMPT, PASSWORD);
    ssh.assert_ends_well("alice");
}

#[test]
fn systemd_runs_the_timer_where_it_runs_the_machine() {
    let (machine, _) = machine();
    let machine = systemd(machine);
    // What systemd and a shell would take for something else.
    machine.run("mkdir '/srv/a $b 50%'; cp /usr/local/sbin/totpctl '/srv/a $b 50%'");
    let before = files(&machine);
    machine.run("'/srv/a $b 50%/totpctl' rollout sshd --user alice --yes --within 10m");
    let called = machine.run("cat /tmp/systemctl");
    assert!(
        called.starts_with(
            "daemon-reload\nenable --now pam-totp-rollout.timer\nis-active --quiet pam-totp-rollout.timer\n"
        ) && called.contains("reload ssh.service\n"),
        "{called}"
    );
    let unit = machine.run("cat /etc/systemd/system/pam-totp-rollout.service");
    let wanted = r#"ExecStart="/srv/a $$b 50%%/totpctl" "rollout" "--expire""#;
    assert!(unit.ends_with(&format!("{wanted}\n")), "{unit}");
    // The boot: the watcher is gone, and by then it is late.
    machine.run("pkill --full '[r]ollout --expire --wait'");
    end_time(&machine, "sshd");
    machine.run("totpctl rollout --expire");
    assert_eq!(files(&machine), before);
    let called = machine.run("cat /tmp/systemctl; ls /etc/systemd/system");
    assert!(
        called.contains("disable --now pam-totp-rollout.timer\n"),
        "{called}"
    );
    assert!(!called.contains("pam-totp-rollout.service\n"), "{called}");
}

#[test]
fn an_sshd_that_a_socket_starts_needs_no_reload_and_one_that_refuses_is_told_of() {
    let (machine, _) = machine();
    let machine = systemd(machine);
    machine
        .run("touch /tmp/inactive; cp /run/sshd.pid /tmp/kept; pgrep --exact cron >/run/sshd.pid");
    begin(&machine, "sshd --user alice");
    machine.run("totpctl rollout --revert");
    let called = machine.run("cat /tmp/systemctl");
    assert!(!called.contains("\nreload ssh"), "{called}");
    // Nor is whoever has the number of an sshd of before told anything.
    machine.run("pgrep --exact cron");

    machine.run("rm /tmp/inactive; cp /tmp/kept /run/sshd.pid");
    begin(&machine, "sshd --user alice");
    machine.run("touch /tmp/refusing");
    let told = machine.run("totpctl rollout --revert");
    assert!(
        told.contains("The old files of sshd are back.\nBut sshd does not know of it yet"),
        "{told}"
    );
    machine
        .log()
        .assert_has(&["event=rollout-reverted", "sshd does not know of it yet"]);
}

#[test]
fn nothing_is_changed_where_nothing_would_bring_the_old_files_back() {
    let (machine, _) = machine();
    let before = files(&machine);
    let begin = "sshd --user alice --yes";
    machine.run("mv /usr/bin/setsid /usr/bin/setsid.old; ln -s true /usr/bin/setsid");
    let told = refused(&machine, begin);
    assert!(
        told.contains("the process that waits did not start"),
        "{told}"
    );
    assert_eq!(files(&machine), before);
    machine.run("mv /usr/bin/setsid.old /usr/bin/setsid; kill $(pgrep --exact cron)");
    // Before anything is asked.
    for begin in [begin, "sshd --user alice </dev/null"] {
        let told = refused(&machine, begin);
        assert!(
            told.contains("needs systemd or a running cron"),
            "{begin}: {told}"
        );
        assert_eq!(files(&machine), before);
    }
}

/// With a stand-in for systemctl, which notes what it is told.
fn systemd(machine: Machine) -> Machine {
    let machine = machine.file(
        "/usr/bin/systemctl",
        "755",
        "#!/bin/sh\necho \"$*\" >>/tmp/systemctl\ncase \"$*\" in\n\
         *is-active*ssh*) [ ! -e /tmp/inactive ] ;;\n\
         'reload ssh.service') [ ! -e /tmp/refusing ] && kill -HUP $(cat /run/sshd.pid) ;;\nesac\n",
    );
    machine.run("mkdir -p /run/systemd/system /etc/systemd/system");
    machine
}

#[test]
fn a_clock_that_goes_back_does_not_keep_it() {
    let (machine, _) = machine();
    let before = files(&machine);
    begin(&machine, "sshd --user alice");
    machine.run(
        "sed -i 's/\"began\": [0-9]*/\"began\": 9000000000/' /var/lib/pam_totp/rollout/sshd.json",
    );
    wait_for(&machine, &before);
    // By less than the whole time: the time since the boot tells.
    begin(&machine, "sshd --user alice");
    machine.run("sed -i 's/\"ticks\": [0-9]*/\"ticks\": 0/' /var/lib/pam_totp/rollout/sshd.json");
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
                let journal = machine.run("cat /var/lib/pam_totp/rollout/sshd.json");
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
    let machine = machine.password("root", PASSWORD).file(
        "/etc/pam.d/vsftpd",
        "644",
        "auth required pam_unix.so\n",
    );
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
        ("sshd --user alice --yes --within 59s", "expected 1m to 1h"),
        ("sshd --user alice --yes --within 61m", "expected 1m to 1h"),
        ("sshd --confirm", "cannot be used with"),
        (
            "sshd --user alice --yes --after-key",
            "alice has no key that sshd knows (/home/alice/.ssh/authorized_keys",
        ),
        (
            "su --user alice --yes",
            "No device, and a code is required: root",
        ),
        (
            "login --user alice --yes",
            "No device, and a code is required: root",
        ),
        (
            "vsftpd --user alice --yes",
            "no login by vsftpd can confirm it",
        ),
    ] {
        let told = refused(&machine, words);
        assert!(told.contains(part), "{words}: {told}");
    }
    machine.enroll("root");
    let told = refused(&machine, "sshd --user root --yes");
    assert!(
        told.contains("root gets in by no code over ssh (PermitRootLogin)"),
        "{told}"
    );
    // With a key that sshd takes for no key, or somebody's in a file that it doesn't read.
    machine.run(
        "install -d ~alice/.ssh; echo '# none' >~alice/.ssh/authorized_keys
         echo AuthorizedKeysFile /etc/ssh/keys/%u .ssh/authorized_keys >/etc/ssh/sshd_config.d/keys.conf",
    );
    let told = refused(&machine, "sshd --user alice --yes --after-key");
    assert!(
        told.contains("(/etc/ssh/keys/alice, /home/alice/.ssh/authorized_keys)"),
        "{told}"
    );
    // Of a display manager the audit system tells whose login it is.
    machine.run(
        "printf 'auth required pam_unix.so\nsession required pam_loginuid.so\n' >/etc/pam.d/greeter",
    );
    for service in ["sshd", "greeter"] {
        let told = machine.run(&format!(
            "echo no | (! totpctl rollout {service} --user alice 2>&1)"
        ));
        assert!(told.contains("nothing was changed"), "{service}: {told}");
    }
    machine.run("rm /etc/pam.d/greeter");
    assert_eq!(files(&machine), before);
}

#[test]
fn doctor_tells_of_one_that_waits() {
    let (machine, mut phone) = machine();
    let doctor = || machine.run("totpctl doctor || true");
    assert!(!doctor().contains("rollout-pending"));
    let told = begin(&machine, "sshd --user alice");
    let (_, until) = told.split_once("come back at ").expect("a time");
    let until: String = until.chars().take_while(|c| *c != '.').collect();
    let told = doctor();
    for part in [
        "NOTE rollout-pending (sshd)  /var/lib/pam_totp/rollout/sshd.json\n",
        &format!(" at {until}.\n"),
        "\n    sudo totpctl rollout --confirm        # In a NEW terminal, log in by sshd as alice with a code, and",
        "\n    totpctl rollout --revert ",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // Of a disk that is mounted for repair it is of interest as well.
    let told = machine
        .run("mkdir /srv/all; mount --bind / /srv/all; totpctl doctor --root /srv/all || true");
    assert!(
        told.contains("NOTE rollout-pending (sshd)  /srv/all/var/"),
        "{told}"
    );
    ssh_with_code(&machine, &phone.code(), &CONFIRM).assert_ends_well(CONFIRMED);
    assert!(!doctor().contains("rollout-pending"));
}

#[test]
fn explain_advises_no_rollout_that_is_always_refused() {
    let (machine, _) = machine();
    let machine = machine
        .file("/etc/pam.d/vsftpd", "644", "auth required pam_unix.so\n")
        .file(
            "/etc/pam.d/odd",
            "644",
            "session required pam_loginuid.so\n",
        );
    let explain =
        |service: &str| machine.run(&format!("totpctl explain --user alice --service {service}"));
    for (service, parts) in [
        (
            "vsftpd",
            &[
                "is not in the stack of vsftpd here",
                "no login by vsftpd can confirm it",
                "by hand, after ",
            ][..],
        ),
        ("chsh", &["no login by chsh can confirm it"]),
        ("odd", &["no line of it asks for the password"]),
        ("common-auth", &["no service with a stack of its own"]),
        (
            "nosuch",
            &[
                "BUT there is no stack of nosuch here (/etc/pam.d/nosuch)",
                "that of other",
            ],
        ),
    ] {
        let told = explain(service);
        for part in parts {
            assert!(told.contains(part), "{service}: {part}: {told}");
        }
        let command = format!("totpctl rollout {service}");
        assert!(!told.contains(&command), "{service}: {told}");
    }
    for service in ["sshd", "SSHD", "su"] {
        let told = explain(service);
        let command = format!(
            "asks for no code: totpctl rollout {}\n",
            service.to_lowercase()
        );
        assert!(told.ends_with(&command), "{service}: {told}");
    }
}

#[test]
fn whom_it_refuses_is_told_before_the_question() {
    let (machine, _) = machine();
    // alice has a device and a key, root and bob a key, erin a device, the others neither; dave and frank have no password.
    let mut machine = machine.authorized_key("alice").authorized_key("root");
    for user in ["bob", "carol", "dave", "erin"] {
        machine = machine.user(user, PASSWORD);
    }
    let machine = machine.authorized_key("bob");
    machine.run("passwd --quiet --lock dave; useradd --shell /bin/sh frank");
    let before = files(&machine);
    machine.enroll("erin");
    let refused = |words: &str| {
        let told = machine.run(&format!(
            "echo no | (! totpctl rollout {words} --user alice 2>&1)"
        ));
        let (told, _) = told
            .split_once("Make these changes?")
            .expect("the question");
        let found = told.split_once(" refuses from then on:\n");
        let lines = found.map_or("", |(_, rest)| rest).lines();
        let lines = lines.map_while(|line| line.strip_prefix("  "));
        let facts = lines.filter(|line| !line.starts_with("  "));
        facts.map(str::to_owned).collect::<Vec<_>>()
    };
    let has = |lines: &[String], what: &str, names: &[&str], others: &[&str]| {
        let facts = lines.iter().filter_map(|line| line.split_once(": "));
        let found = facts
            .filter(|(_, fact)| fact.starts_with(what))
            .map(|(names, _)| names);
        let found: Vec<&str> = found.flat_map(|names| names.split(", ")).collect();
        for name in names {
            assert!(found.contains(name), "no {name} of {what}: {lines:?}");
        }
        for name in others {
            assert!(!found.contains(name), "{name} of {what}: {lines:?}");
        }
    };
    let lines = refused("sshd");
    // dave's password was locked: he got in by nothing before.
    let others = ["alice", "dave", "erin", "frank"];
    has(&lines, "no device", &["bob", "carol"], &others);
    let others = ["carol", "dave", "erin", "frank"];
    has(&lines, "a key alone", &["root", "bob", "alice"], &others);
    has(&lines, "sshd takes no code", &["root"], &["bob"]);
    // Where a key is asked for, who had only a password is out, with a device or without.
    let lines = refused("sshd --after-key");
    has(&lines, "no key", &["carol", "erin"], &["bob", "alice"]);
    has(&lines, "no device", &["bob", "carol"], &["erin", "alice"]);
    // Whose keys a program tells may have one.
    machine.run(
        "printf 'AuthorizedKeysCommand /usr/bin/true\nAuthorizedKeysCommandUser nobody\n' >/etc/ssh/sshd_config.d/keys.conf",
    );
    let lines = refused("sshd --after-key");
    has(&lines, "no key", &[], &["carol", "erin"]);
    let others = ["whoever else sshd may know a key of"];
    has(&lines, "a key alone does no more", &others, &[]);
    machine.run("rm /etc/ssh/sshd_config.d/keys.conf");
    assert_eq!(files(&machine), before);
    // Of a key nobody is asked at a console, where dave and root have no password either.
    let lines = refused("login");
    has(&lines, "no device", &["bob", "carol"], &["root", "dave"]);
    assert_eq!(lines.len(), 1, "{lines:?}");

    let told =
        machine.run("totpctl rollout sshd --user alice --yes --json --within 10m 2>/tmp/told");
    let document: Value = serde_json::from_str(&told).expect("a document");
    let told = machine.run("cat /tmp/told");
    assert!(told.contains("a key alone got them in until now"), "{told}");
    let why = |user: &str| {
        let mut people = document["refused"].as_array().expect("a list").iter();
        people
            .find(|one| one["user"] == user)
            .map(|one| &one["why"])
    };
    for (user, expected) in [
        ("alice", Some(serde_json::json!(["key-alone"]))),
        ("bob", Some(serde_json::json!(["no-device", "key-alone"]))),
        ("carol", Some(serde_json::json!(["no-device"]))),
        (
            "root",
            Some(serde_json::json!(["root-by-ssh", "key-alone"])),
        ),
        ("dave", None),
        ("erin", None),
    ] {
        assert_eq!(why(user), expected.as_ref(), "{user}: {document}");
    }
    // So it is: bob's key is asked for more now, and root's is refused.
    wait_for_sshd(&machine);
    for user in ["bob", "root"] {
        machine.ssh(user, &["id", "-un"]).see(PASSWORD_PROMPT);
    }
    machine.run("totpctl rollout --revert");
}

#[test]
fn root_that_gets_in_by_other_services_is_not_said_to_get_in_nowhere() {
    let machine = prepared(Machine::new().user("alice", PASSWORD)).password("root", PASSWORD);
    machine.run("echo 'alice ALL = (ALL) ALL' >/etc/sudoers");
    machine.enroll("alice");
    let told = machine.run("echo no | (! totpctl rollout sudo --user alice 2>&1)");
    assert!(!told.contains("root gets in nowhere"), "{told}");
    assert!(told.contains("nothing was changed"), "{told}");
}

#[test]
fn what_doctor_would_find_of_the_new_files_is_told_before_anything_changes() {
    let (machine, _) = machine();
    let machine = machine.user("bob", PASSWORD);
    machine.enroll("bob");
    machine.run("passwd --quiet --delete bob; usermod --lock bob");
    let refuse = |prepare: &str, words: &str, parts: &[&str]| {
        machine.run(&format!("rm -rf /tmp/etc; cp -a /etc /tmp/etc; {prepare}"));
        let before = files(&machine);
        let told = refused(&machine, words);
        for part in parts {
            assert!(told.contains(part), "{prepare}: {part}: {told}");
        }
        assert_eq!(files(&machine), before, "{prepare}");
        machine.run("for file in pam.d ssh/sshd_config.d security; do rm -rf /etc/$file; cp -a /tmp/etc/$file /etc/$file; done");
    };
    let sshd = "sshd --user alice --yes";
    let first = "/etc/ssh/sshd_config.d/01-first.conf";
    for (prepare, words, parts) in [
        (
            "echo 'auth required pam_totp.so' >>/etc/pam.d/common-auth".to_owned(),
            sshd,
            &["asks for a code already", "/etc/pam.d/common-auth, line"][..],
        ),
        // Jumps and ends that lead around the new line.
        (
            "printf 'auth [success=1 default=ignore] pam_unix.so\nauth requisite pam_deny.so\nauth required pam_permit.so\n' \
             >/etc/pam.d/su".to_owned(),
            "su --user alice --yes",
            &["DANGER code-refused"],
        ),
        (
            "printf 'auth sufficient pam_unix.so\nauth required pam_deny.so\n' >/etc/pam.d/su".to_owned(),
            "su --user alice --yes",
            &["DANGER skipped", "leads around pam_totp.so"],
        ),
        // Of two lines the first one counts.
        (
            format!("echo 'AuthenticationMethods publickey' >{first}"),
            sshd,
            &["DANGER sshd-key-alone"],
        ),
        (
            format!("printf 'Match User alice\nKbdInteractiveAuthentication no\n' >{first}"),
            sshd,
            &["DANGER sshd-no-prompt", "For alice:"],
        ),
        (
            format!("printf 'Match User alice\nAuthenticationMethods publickey\n' >{first}"),
            sshd,
            &["DANGER sshd-key-alone", "For alice:"],
        ),
        (
            String::new(),
            "sshd --user bob --yes",
            &["bob has no password"],
        ),
        (
            "mv /lib/*/security/pam_totp.so /tmp".to_owned(),
            sshd,
            &["DANGER module-missing"],
        ),
        (
            "mv /tmp/pam_totp.so $(dirname /lib/*/security/pam_unix.so); totpctl device bind alice phone --force --ssh-key SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            sshd,
            &["no device of alice counts by sshd"],
        ),
    ] {
        refuse(&prepare, words, parts);
    }
}

#[test]
fn after_a_key_the_code_is_asked_for_and_without_the_module_nobody_gets_in() {
    let (machine, mut phone) = machine();
    let machine = machine.authorized_key("alice");
    machine.run("totpctl rollout sshd --user alice --yes --after-key --within 10m");
    wait_for_sshd(&machine);
    machine
        .ssh("alice", &CONFIRM)
        .answer(PROMPT, &phone.code())
        .assert_ends_well(CONFIRMED);
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
    // What README says of that.
    machine.run(
        "cp -p /etc/pam.d/sshd /tmp/sshd
         sed -i 's/^#@include/@include/; s/^auth.*pam_deny/#&/' /etc/pam.d/sshd",
    );
    machine
        .ssh("alice", &["id", "-un"])
        .answer(PASSWORD_PROMPT, PASSWORD)
        .assert_ends_well("alice");
    machine.run("cp -p /tmp/sshd /etc/pam.d/sshd");
    // A configuration with a mistake keeps nobody from taking it back.
    machine.run("echo '[' >/etc/security/pam_totp.toml; totpctl rollout --revert");
    let stack = machine.run("cat /etc/pam.d/sshd");
    assert!(!stack.contains("pam_totp"), "{stack}");
}

#[test]
fn what_was_edited_before_the_confirmation_is_kept_beside_the_old_files() {
    let (machine, _) = machine();
    let before = files(&machine);
    begin(&machine, "sshd --user alice");
    // A second rollout begins from this one's old files, whatever these bytes are.
    machine.run("printf '# mine \\377\\n' >>/etc/pam.d/sshd");
    let told = machine.run("totpctl rollout --revert");
    assert!(
        told.contains("is in /etc/pam.d/.pam_totp-edited-sshd"),
        "{told}"
    );
    let kept = machine.run("grep --text -c mine /etc/pam.d/.pam_totp-edited-sshd");
    assert_eq!(kept.trim(), "1");
    machine.run("rm /etc/pam.d/.pam_totp-edited-sshd");
    assert_eq!(files(&machine), before);

    // A disk on which nothing more goes keeps nobody locked out.
    begin(&machine, "sshd --user alice");
    machine.run("echo '# mine' >>/etc/pam.d/sshd");
    // Nor has it room for a report.
    machine.run(
        "status=0
         strace -qq -o /dev/null -e inject=linkat,write:error=ENOSPC totpctl rollout --revert >/dev/null || status=$?
         [ $status = 3 ]",
    );
    assert_eq!(files(&machine), before);
}

#[test]
fn what_was_edited_after_the_confirmation_stays() {
    let (machine, mut phone) = machine();
    begin(&machine, "sshd --user alice");
    ssh_with_code(&machine, &phone.code(), &CONFIRM).assert_ends_well(CONFIRMED);
    machine.run(&format!(
        "cp /etc/pam.d/sshd /tmp/sshd; echo 'session optional pam_motd.so' >>/etc/pam.d/sshd; \
         echo MaxAuthTries 3 >>{DROP_IN}"
    ));
    // Our own line was edited: what is to be taken out is for a person to say.
    machine.run("sed -i 's/pam_totp.so/& nullok/' /etc/pam.d/sshd");
    let edited = files(&machine);
    let told = refused(&machine, "--revert");
    for part in [
        "was edited in our lines",
        "    auth       required     pam_totp.so",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(files(&machine), edited);
    machine.run("sed -i 's/pam_totp.so nullok/pam_totp.so/' /etc/pam.d/sshd");
    machine.run("totpctl rollout --revert");
    let stack = machine.run("cat /etc/pam.d/sshd");
    assert_eq!(stack, format!("{STACK}session optional pam_motd.so\n"));
    assert_eq!(machine.run(&format!("cat {DROP_IN}")), "MaxAuthTries 3\n");
}

#[test]
fn a_revert_says_what_the_stack_asks_for_all_the_same() {
    let (machine, mut phone) = machine();
    begin(&machine, "sshd --user alice");
    ssh_with_code(&machine, &phone.code(), &CONFIRM).assert_ends_well(CONFIRMED);
    // What pam-auth-update --enable totp does.
    machine.run("cp /etc/pam.d/common-auth /tmp; echo 'auth required pam_totp.so no_info' >>/etc/pam.d/common-auth");
    let revert = |words: &str| {
        machine.run("cp -a /etc/pam.d/sshd /etc/ssh/sshd_config.d/10-pam_totp.conf /var/lib/pam_totp/rollout/sshd.json /tmp");
        let told = machine.run(&format!("totpctl rollout --revert sshd {words} 2>&1"));
        machine.run(
            "cd /tmp; cp -a sshd /etc/pam.d; cp -a 10-pam_totp.conf /etc/ssh/sshd_config.d
             cp -a sshd.json /var/lib/pam_totp/rollout",
        );
        told
    };
    let told = revert("");
    for part in [
        "sshd still asks for a code: pam_totp.so is in its stack (/etc/pam.d/common-auth, line",
        "DANGER sshd-no-prompt (sshd)",
        "KbdInteractiveAuthentication yes",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("asks for no code any more"), "{told}");
    let document: Value = serde_json::from_str(&revert("--json")).expect("a document");
    let ids = document["findings"].as_array().expect("a list").iter();
    let ids: Vec<_> = ids.map(|finding| &finding["id"]).collect();
    assert_eq!(ids, ["sshd-key-alone", "sshd-no-prompt"]);
    let place = document["still_asks"].as_str().expect("a place");
    assert!(place.starts_with("/etc/pam.d/common-auth, line"), "{place}");
    machine.run("cp /tmp/common-auth /etc/pam.d/common-auth");
    let document: Value = serde_json::from_str(&revert("--json")).expect("a document");
    assert!(document["still_asks"].is_null(), "{document}");
    let told = revert("");
    assert_eq!(told, "sshd asks for no code any more.\n");
}

#[test]
fn a_new_file_has_the_owner_the_mode_and_the_attributes_of_the_old_one() {
    let (machine, _) = machine();
    machine.run(
        "setfattr --name user.label --value mine /etc/pam.d/sshd
         chown root:daemon /etc/pam.d/sshd; chmod 640 /etc/pam.d/sshd",
    );
    let about = || {
        let inode = machine.run("stat --format %i /etc/pam.d/sshd");
        let rest = "stat --format '%a %u %g' /etc/pam.d/sshd; getfattr --dump /etc/pam.d/sshd 2>&1";
        (inode, machine.run(rest))
    };
    let (old, before) = about();
    assert!(before.contains("user.label=\"mine\""), "{before}");
    begin(&machine, "sshd --user alice");
    let (new, after) = about();
    assert_ne!(new, old);
    assert_eq!(after, before);
    // The old file itself is gone as well.
    machine.run("rm /etc/pam.d/.pam_totp-old-sshd; totpctl rollout --revert");
    assert_eq!(about().1, before);
    assert!(!machine.run("cat /etc/pam.d/sshd").contains("pam_totp.so"));
}

#[test]
fn sudo_is_confirmed_by_sudo() {
    let machine = prepared(Machine::new().user("alice", PASSWORD));
    let mut phone = machine.enroll("alice");
    let told = begin(&machine, "sudo --user alice");
    let wanted = "Open a NEW terminal as alice, and run there within 10 min:\n\n    sudo totpctl rollout --confirm\n";
    assert!(told.contains(wanted), "{told}");
    confirm_by_sudo(&machine, &phone.code());
    machine.run("totpctl rollout --revert; echo Defaults use_pty >>/etc/sudoers");
    begin(&machine, "sudo --user alice");
    confirm_by_sudo(&machine, &phone.code());
}

#[test]
fn a_sudo_that_asks_for_nothing_yet_is_named() {
    let machine = prepared(Machine::new().user("alice", PASSWORD));
    machine.run("echo 'alice ALL = (ALL) ALL' >/etc/sudoers");
    let mut phone = machine.enroll("alice");
    let confirm = "sudo /usr/local/sbin/totpctl rollout --confirm";
    let mut shell = machine.terminal_as("alice", &["sh"]);
    shell.see("$ ");
    shell.enter("sudo true");
    shell.answer("password for alice: ", PASSWORD).see("$ ");
    begin(&machine, "sudo --user alice");
    shell.enter(confirm);
    let seen = shell.see("The old files come back at");
    assert!(
        seen.contains("no code of alice was accepted by sudo since"),
        "{seen}"
    );
    assert!(seen.contains("run sudo -k first"), "{seen}");
    shell.see("$ ");
    shell.enter(&format!("sudo -k; {confirm}; exit"));
    shell
        .answer("password for alice: ", PASSWORD)
        .answer(PROMPT, &phone.code())
        .see("sudo asks for a code from now on");
    shell.end();
}

#[test]
fn sudo_i_is_confirmed_by_what_is_said() {
    let machine = prepared(Machine::new().user("alice", PASSWORD));
    let mut phone = machine.enroll("alice");
    let told = begin(&machine, "sudo-i --user alice");
    let command = "sudo -i totpctl rollout --confirm";
    assert!(told.contains(command), "{told}");
    let mut shell = machine.terminal_as("alice", &["sh", "-c", &format!("{command}; true")]);
    shell
        .answer("password for alice: ", PASSWORD)
        .answer(PROMPT, &phone.code());
    shell.assert_ends_well(
        "sudo-i asks for a code from now on. To turn it off: totpctl rollout --revert sudo-i",
    );
}

#[test]
fn su_is_confirmed_by_su_and_not_where_root_ran_it() {
    let machine = prepared(Machine::new().user("alice", PASSWORD).user("bob", PASSWORD));
    let mut phone = machine.enroll("alice");
    let confirm = "sudo /usr/local/sbin/totpctl rollout --confirm; exit";
    let told = begin(&machine, "su --user alice");
    for part in [
        "as somebody else than root, type\n`su - alice`",
        "\n    sudo totpctl rollout --confirm\n",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let mut shell = machine.terminal(&["su", "alice"]);
    shell.see("$ ");
    shell.enter(confirm);
    shell.see("no code of alice was accepted by su since this login began");
    shell.see("root's own su asks for nothing (pam_rootok)");
    shell.end();
    let mut shell = machine.terminal_as("bob", &["su", "-", "alice"]);
    shell
        .answer(PASSWORD_PROMPT, PASSWORD)
        .answer(PROMPT, &phone.code());
    shell.see("$ ");
    shell.enter(confirm);
    shell.see("su asks for a code from now on");
    shell.end();
}

/// Not by the one command that sudo asks nothing for.
fn confirm_by_sudo(machine: &Machine, code: &str) {
    let mut shell = machine.terminal_as(
        "alice",
        &[
            "sh",
            "-c",
            "sudo env /usr/local/sbin/totpctl rollout --confirm; true",
        ],
    );
    shell
        .answer("password for alice: ", PASSWORD)
        .answer(PROMPT, code);
    shell.assert_ends_well(
        "sudo asks for a code from now on. To turn it off: totpctl rollout --revert sudo",
    );
}

const CONFIRM: [&str; 4] = ["sudo", "/usr/local/sbin/totpctl", "rollout", "--confirm"];
const CONFIRMED: &str =
    "sshd asks for a code from now on. To turn it off: totpctl rollout --revert sshd";
const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-pam_totp.conf";
const STACK: &str = "@include common-auth\naccount    required     pam_nologin.so\n@include common-account\n\
                     @include common-session\n@include common-password\n";
const PASSWORD: &str = "correct horse";
const PASSWORD_PROMPT: &str = "assword: ";
