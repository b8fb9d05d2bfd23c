//! Devices that count only beside one ssh key.

use std::fs;
use std::path::PathBuf;

use end_to_end::clock::{self, EPOCH};
use end_to_end::example::Example;
use end_to_end::libpam::{Code, Message, Reply};
use end_to_end::machine::{CLIENT_KEY, Machine};
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, NO_LIMITS, PROMPT, Scratch, answering, attempts_left};
use end_to_end::ssh_key::SshKey;
use end_to_end::tree::tree;

const OTHER: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";
const PASSWORD: &str = "correct horse";
const OTHER_KEY: &str = "/etc/ssh/other_key";

/// Alice gets in by either of two keys and a code.
fn alice_with_keys() -> Machine {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd-publickey"), "");
    machine.make_key(OTHER_KEY, "ed25519");
    machine.authorize("alice", &[CLIENT_KEY, OTHER_KEY]);
    machine
}

/// By force: there may be no other device.
fn bind(machine: &Machine, user: &str, device: &str, key: &str) {
    let print = machine.fingerprint(key);
    machine.run(&format!(
        "totpctl device bind {user} {device} --ssh-key {print} --force"
    ));
}

/// A person is told first, and may have seen it by then.
fn wait_for_the_reason(machine: &Machine, service: &str) {
    machine.log().wait_for(&[
        "event=wrong",
        service,
        "reason=\"a code of a device that is bound to an ssh key which this login has not shown\"",
    ]);
}

#[test]
fn beside_its_key_a_bound_device_gets_in() {
    let machine = alice_with_keys();
    let mut phone = machine.enroll("alice");
    bind(&machine, "alice", "phone", &format!("{CLIENT_KEY}.pub"));
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PROMPT, &phone.code());
    ssh.assert_ends_well("alice");
    let accepted = ["event=accepted", "user=alice", "device=phone"];
    machine.log().assert_has(&accepted);
}

#[test]
fn beside_another_key_its_code_is_refused_and_stays_good_for_its_own() {
    let machine = alice_with_keys();
    let code = machine.enroll("alice").code();
    bind(&machine, "alice", "phone", OTHER_KEY);
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PROMPT, &code);
    ssh.see(&attempts_left(2));
    wait_for_the_reason(&machine, "service=sshd");
    drop(ssh);
    machine.authorize("alice", &[OTHER_KEY]);
    let mut ssh = machine.ssh("alice", &["-i", OTHER_KEY, "id", "-un"]);
    ssh.answer(PROMPT, &code);
    ssh.assert_ends_well("alice");
}

#[test]
fn another_device_that_is_not_bound_gets_in_beside_any_key() {
    let machine = alice_with_keys();
    machine.enroll("alice");
    let mut tablet = machine.enroll_device("alice", "tablet");
    bind(&machine, "alice", "phone", OTHER_KEY);
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer(PROMPT, &tablet.code());
    ssh.assert_ends_well("alice");
}

#[test]
fn of_a_certificate_the_key_in_it_counts_and_not_its_issuers() {
    let machine = Machine::new().sshd(
        &Example::named("sshd-publickey"),
        "TrustedUserCAKeys /etc/ssh/issuer.pub",
    );
    machine.make_key("/etc/ssh/issuer", "ed25519");
    let mut machine = machine;
    // Nobody has authorized_keys: who is asked for a code has shown the certificate.
    for kind in ["ed25519", "rsa", "ecdsa"] {
        machine = machine.user(kind, PASSWORD);
        let key = format!("/etc/ssh/certified_{kind}");
        machine.make_key(&key, kind);
        machine.run(&format!(
            "ssh-keygen -q -s /etc/ssh/issuer -I {kind} -n {kind} {key}.pub"
        ));
        let code = machine.enroll(kind).code();

        bind(&machine, kind, "phone", "/etc/ssh/issuer.pub");
        let mut ssh = machine.ssh(kind, &["-i", &key, "id", "-un"]);
        ssh.answer(PROMPT, &code);
        ssh.see(&attempts_left(2));
        drop(ssh);

        bind(&machine, kind, "phone", &format!("{key}-cert.pub"));
        let mut ssh = machine.ssh(kind, &["-i", &key, "id", "-un"]);
        ssh.answer(PROMPT, &code);
        ssh.assert_ends_well(kind);
    }
}

#[test]
fn of_several_keys_of_one_login_each_counts() {
    let example = Example::named("sshd-publickey");
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .file(
            // The first that sshd reads holds.
            "/etc/ssh/sshd_config.d/0-two-keys.conf",
            "644",
            "AuthenticationMethods publickey,publickey,keyboard-interactive:pam\n",
        )
        .sshd(&example, "");
    machine.make_key(OTHER_KEY, "ecdsa");
    machine.authorize("alice", &[CLIENT_KEY, OTHER_KEY]);
    for (device, key) in [("phone", CLIENT_KEY), ("tablet", OTHER_KEY)] {
        let mut enrolled = machine.enroll_device("alice", device);
        bind(&machine, "alice", device, key);
        let mut ssh = machine.ssh("alice", &["-i", OTHER_KEY, "id", "-un"]);
        ssh.answer(PROMPT, &enrolled.code());
        ssh.assert_ends_well("alice");
    }
}

#[test]
fn with_a_password_for_a_key_a_bound_device_is_refused() {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .sshd(&Example::named("sshd"), "")
        .authorized_key("alice");
    let code = machine.enroll("alice").code();
    bind(&machine, "alice", "phone", CLIENT_KEY);
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer("Password: ", PASSWORD).answer(PROMPT, &code);
    ssh.see(&attempts_left(2));
    wait_for_the_reason(&machine, "service=sshd");
}

#[test]
fn a_client_that_names_a_key_which_it_does_not_have_is_asked_for_no_code() {
    let machine = alice_with_keys();
    machine.enroll("alice");
    bind(&machine, "alice", "phone", OTHER_KEY);
    machine.run(&format!("rm {OTHER_KEY}; chmod 600 {OTHER_KEY}.pub"));
    machine.authorize("alice", &[OTHER_KEY]);
    let ending = machine
        .ssh("alice", &["-i", &format!("{OTHER_KEY}.pub"), "id"])
        .end();
    assert_ne!(ending.status, 0);
    assert!(!ending.said.contains(PROMPT), "{ending:?}");
}

#[test]
fn sudo_takes_no_code_of_a_bound_device() {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .pam("sudo", &Example::named("sudo"))
        .file("/etc/sudoers", "440", "alice ALL = (ALL) ALL\n");
    let code = machine.enroll("alice").code();
    machine.make_key(OTHER_KEY, "ed25519");
    bind(&machine, "alice", "phone", OTHER_KEY);
    // What only sshd may say, somebody may say of themselves.
    let public = machine.run(&format!("cut -d' ' -f1,2 {OTHER_KEY}.pub"));
    let claim = format!("SSH_AUTH_INFO_0=publickey {public}");
    let mut sudo = machine.terminal_as("alice", &["env", &claim, "sudo", "id", "-un"]);
    sudo.answer("[sudo] password for alice: ", PASSWORD)
        .answer(PROMPT, &code);
    sudo.see("Sorry, try again.");
    wait_for_the_reason(&machine, "service=sudo");
    sudo.see("password for alice: ");
    sudo.interrupt();
    sudo.end();
}

#[test]
fn su_takes_no_code_of_a_bound_device() {
    let machine = Machine::new()
        .user("alice", PASSWORD)
        .user("bob", PASSWORD)
        .pam("su", &Example::named("su"));
    let code = machine.enroll("bob").code();
    machine.make_key(OTHER_KEY, "ed25519");
    bind(&machine, "bob", "phone", OTHER_KEY);
    let public = machine.run(&format!("cut -d' ' -f1,2 {OTHER_KEY}.pub"));
    let claim = format!("SSH_AUTH_INFO_0=publickey {public}");
    let mut su = machine.terminal_as("alice", &["env", &claim, "su", "bob", "-c", "id -un"]);
    su.answer("Password: ", PASSWORD).answer(PROMPT, &code);
    su.see(&attempts_left(2));
    assert_ne!(su.end().status, 0);
    wait_for_the_reason(&machine, "service=su");
}

/// Somebody with a phone, and two keys.
struct Case {
    scratch: Scratch,
    phone: Phone,
    key: SshKey,
    other_key: SshKey,
}

impl Case {
    fn new() -> Self {
        let scratch = Scratch::new("");
        let phone = Phone::new(Phone::SECRET);
        scratch.enroll(ACCOUNT, &phone);
        let [key, other_key] = ["key", "other_key"].map(|name| SshKey::new(&scratch.path(name)));
        clock::set(EPOCH);
        Self {
            scratch,
            phone,
            key,
            other_key,
        }
    }

    fn bind(&self, key: &SshKey, words: &[&str]) -> i32 {
        let bind = ["device", "bind", ACCOUNT, "phone", "--ssh-key"];
        self.totpctl(&[&bind[..], &[&key.fingerprint], words].concat())
    }

    fn totpctl(&self, words: &[&str]) -> i32 {
        let output = self.scratch.totpctl(words, "");
        output.status.code().expect("a status")
    }

    /// A login that has shown `keys`, with the code of now.
    fn lets_in(&self, keys: &[&SshKey]) -> bool {
        let code = self.phone.code_at(EPOCH);
        let mut login = self.scratch.start(ACCOUNT, answering(code.as_str()));
        let proofs: Vec<&str> = keys.iter().map(|key| key.proof.as_str()).collect();
        login.put_env("SSH_AUTH_INFO_0", &proofs.concat());
        login.authenticate(0) == Code::SUCCESS
    }

    fn secret(&self) -> PathBuf {
        self.scratch.secret(ACCOUNT)
    }
}

#[test]
fn the_only_device_is_bound_only_by_force() {
    let case = Case::new();
    let before = tree(&case.secret());
    assert_eq!(case.bind(&case.key, &[]), 1);
    assert_eq!(tree(&case.secret()), before);
    assert!(case.lets_in(&[]), "it serves any login still");
    assert_eq!(case.bind(&case.key, &["--force"]), 0);
    assert_ne!(tree(&case.secret()), before);
}

#[test]
fn the_last_device_that_is_not_bound_is_bound_only_by_force() {
    let case = Case::new();
    let tablet = Phone::new(OTHER);
    case.scratch.enroll_device(ACCOUNT, "tablet", &tablet);
    assert_eq!(case.bind(&case.key, &[]), 0);
    let bind = ["device", "bind", ACCOUNT, "tablet", "--ssh-key"];
    let bind = [&bind[..], &[&case.key.fingerprint]].concat();
    assert_eq!(case.totpctl(&bind), 1);
    assert_eq!(case.bind(&case.other_key, &[]), 0, "it was bound before");
    assert_eq!(case.totpctl(&[&bind[..], &["--force"]].concat()), 0);
}

#[test]
fn a_code_that_was_refused_for_its_key_is_not_used_up() {
    let case = Case::new();
    assert_eq!(case.bind(&case.key, &["--force"]), 0);
    assert!(!case.lets_in(&[]) && !case.lets_in(&[&case.other_key]));
    assert!(case.lets_in(&[&case.other_key, &case.key]));
    assert!(!case.lets_in(&[&case.key]), "used up now");
}

#[test]
fn without_its_bond_a_device_serves_any_login_at_once() {
    let case = Case::new();
    assert_eq!(case.bind(&case.key, &["--force"]), 0);
    assert!(!case.lets_in(&[]));
    assert_eq!(case.totpctl(&["device", "unbind", ACCOUNT, "phone"]), 0);
    assert!(case.lets_in(&[]));
}

#[test]
fn a_code_that_was_refused_for_its_key_is_charged_as_any_wrong_one() {
    let case = Case::new();
    assert_eq!(case.bind(&case.key, &["--force"]), 0);
    for _ in 0..3 {
        assert!(!case.lets_in(&[]));
    }
    assert!(!case.lets_in(&[&case.key]), "the address is locked");
}

#[test]
fn a_bond_made_or_loosed_at_a_prompt_counts_for_its_login() {
    for (bound, keys, expected) in [
        ("key", "other_key", Code::AUTH_ERR),
        ("key", "key", Code::SUCCESS),
        ("none", "other_key", Code::SUCCESS),
    ] {
        let case = Case::new();
        let code = case.phone.code_at(EPOCH);
        if bound == "none" {
            assert_eq!(case.bind(&case.key, &["--force"]), 0);
        }
        let person = |message: &Message| {
            if !message.style.is_prompt() {
                return Reply::Null;
            }
            let status = match bound {
                "none" => case.totpctl(&["device", "unbind", ACCOUNT, "phone"]),
                _ => case.bind(&case.key, &["--force"]),
            };
            assert_eq!(status, 0);
            code.as_str().into()
        };
        let mut login = case.scratch.start(ACCOUNT, person);
        let proof = match keys {
            "key" => &case.key.proof,
            _ => &case.other_key.proof,
        };
        login.put_env("SSH_AUTH_INFO_0", proof);
        assert_eq!(
            login.authenticate(0),
            expected,
            "bound to {bound}, shown {keys}"
        );
    }
}

#[test]
fn another_name_and_another_secret_of_a_device_leave_its_bond() {
    let case = Case::new();
    assert_eq!(case.bind(&case.key, &["--force"]), 0);
    let bound_to = || case.scratch.status(ACCOUNT)["users"][0]["devices"][0]["ssh_key"].clone();
    assert_eq!(
        case.totpctl(&["device", "rename", ACCOUNT, "phone", "pixel"]),
        0
    );
    assert_eq!(bound_to(), case.key.fingerprint);
    let code = Phone::new(OTHER).code_at(clock::system());
    let rotate = ["rotate", ACCOUNT, "--device", "pixel", "--secret-file", "-"];
    let rotated = case.scratch.totpctl(&rotate, &format!("{OTHER}\n{code}\n"));
    assert!(rotated.status.success(), "{rotated:?}");
    assert_eq!(bound_to(), case.key.fingerprint);
}

#[test]
fn a_secret_file_of_before_undoes_neither_a_bond_nor_its_end() {
    let case = Case::new();
    case.scratch.configure(NO_LIMITS);
    let tablet = Phone::new(OTHER);
    case.scratch.enroll_device(ACCOUNT, "tablet", &tablet);
    let copy = case.scratch.path("copy");
    let unbind = ["device", "unbind", ACCOUNT, "phone"];
    let changes: [&dyn Fn() -> i32; 2] = [&|| case.bind(&case.key, &[]), &|| case.totpctl(&unbind)];
    for change in changes {
        // With its owner and mode, as a backup brings it back.
        fs::copy(case.secret(), &copy).expect("a secret");
        let current = fs::read(case.secret()).expect("a secret");
        assert_eq!(change(), 0);
        let changed = fs::read(case.secret()).expect("a secret");
        assert_ne!(changed, current);
        fs::rename(&copy, case.secret()).expect("a secret");
        assert!(!case.lets_in(&[]) && !case.lets_in(&[&case.key]));
        fs::write(case.secret(), changed).expect("a secret");
    }
    assert!(case.lets_in(&[]), "with the file that it has");
}
