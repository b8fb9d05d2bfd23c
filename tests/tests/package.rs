//! The Debian packages: installed, turned on, upgraded, removed and purged, with logins all along.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use end_to_end::enrolled::Enrolled;
use end_to_end::example::Example;
use end_to_end::machine::{Machine, output};
use end_to_end::package::{NEXT, unpack};
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, PROMPT, Scratch, workspace};
use end_to_end::terminal::Terminal;
use serde_json::Value;

/// Debian with sshd and two people, as it is before anybody thinks of codes.
fn debian() -> Machine {
    Machine::without_product()
        .user("alice", PASSWORD)
        .user("bob", PASSWORD)
        .file("/etc/sudoers", "440", "bob ALL = (ALL) ALL\n")
        .sshd_with_its_stack(&Example::named("sshd").lines_below("Needed in"), "")
}

/// The same with the packages, the profile on, and alice and bob enrolled.
fn protected() -> (Machine, Enrolled, Enrolled) {
    let machine = debian();
    machine.install_packages();
    machine.run(ENABLE);
    let (alice, bob) = (machine.enroll("alice"), machine.enroll("bob"));
    (machine, alice, bob)
}

/// A login that ends well, by the password and the code if there is one to be asked for.
#[track_caller]
fn gets_in(mut terminal: Terminal, prompt: &str, code: Option<String>, said: &str) {
    terminal.answer(prompt, PASSWORD);
    if let Some(code) = &code {
        terminal.answer(PROMPT, code);
    }
    terminal.assert_ends_well(said);
    assert_eq!(
        terminal.seen().contains(PROMPT),
        code.is_some(),
        "{}",
        terminal.seen()
    );
}

#[track_caller]
fn ssh(machine: &Machine, code: Option<String>) {
    let ssh = machine.ssh("alice", &["id", "-un"]);
    gets_in(ssh, "Password: ", code, "alice");
}

#[track_caller]
fn sudo(machine: &Machine, code: Option<String>) {
    let sudo = machine.terminal_as("bob", &["sudo", "-k", "id", "-un"]);
    gets_in(sudo, "[sudo] password for bob: ", code, "root");
}

#[track_caller]
fn login(machine: &Machine, code: Option<String>) {
    let mut login = machine.terminal(&["login"]);
    login.see("login: ");
    login.enter("alice").answer("Password: ", PASSWORD);
    if let Some(code) = &code {
        login.answer(PROMPT, code);
    }
    login.see("$ ");
    login.enter("exit");
    assert_eq!(login.end().status, 0);
    assert_eq!(login.seen().contains(PROMPT), code.is_some());
}

/// Everybody gets in by the password alone.
#[track_caller]
fn nobody_is_asked(machine: &Machine) {
    ssh(machine, None);
    sudo(machine, None);
    login(machine, None);
}

/// All files of the system but the package manager's own lists: kinds, modes, owners and sizes, and what is in those
/// that are not programs. Of /run the names: what is in there changes with each login.
fn tree(machine: &Machine) -> BTreeSet<String> {
    let found = machine.run(
        "find /etc /usr /var/lib \\( -path /var/lib/dpkg -o -path /var/lib/apt \\) -prune \
           -o -type d -printf '%p %y %m %u %g\\n' -o -printf '%p %y %m %u %g %s %l\\n'
         find /etc /var/lib \\( -path /var/lib/dpkg -o -path /var/lib/apt \\) -prune -o -type f -exec sha256sum {} +
         find /run",
    );
    found.lines().map(str::to_owned).collect()
}

#[test]
fn installed_it_changes_no_login_and_its_profile_asks_at_ssh_sudo_and_the_console() {
    let machine = debian();
    machine.install_packages();
    nobody_is_asked(&machine);
    let modes = machine.run(
        "stat -c '%a %U %n' /var/lib/pam_totp /var/lib/pam_totp/* /run/pam_totp /etc/security/pam_totp.toml",
    );
    assert_eq!(
        modes,
        "700 root /var/lib/pam_totp\n700 root /var/lib/pam_totp/secrets\n700 root /var/lib/pam_totp/state\n\
         700 root /run/pam_totp\n644 root /etc/security/pam_totp.toml\n"
    );

    machine.run(ENABLE);
    let auth = machine.run("grep ^auth /etc/pam.d/common-auth");
    let place = |name: &str| auth.find(name).unwrap_or_else(|| panic!("{name}: {auth}"));
    assert!(
        place("pam_unix.so") < place("pam_totp.so")
            && place("pam_deny.so") < place("pam_totp.so")
            && place("pam_permit.so") < place("pam_totp.so"),
        "{auth}"
    );
    let (mut alice, mut bob) = (machine.enroll("alice"), machine.enroll("bob"));
    ssh(&machine, Some(alice.code()));
    sudo(&machine, Some(bob.code()));
    login(&machine, Some(alice.code()));
    for (user, service) in [("alice", "sshd"), ("bob", "sudo"), ("alice", "login")] {
        let (user, service) = (format!("user={user}"), format!("service={service}"));
        machine
            .log()
            .assert_has(&["event=accepted", &user, &service]);
    }
    // Without a code nobody gets in.
    let mut refused = machine.ssh("alice", &["id", "-un"]);
    refused
        .answer("Password: ", PASSWORD)
        .answer(PROMPT, &alice.wrong_code());
    refused.see("Password: ");
}

#[test]
fn a_rule_that_says_never_exempts_one_service_of_the_profile() {
    let (machine, mut alice, _) = protected();
    let machine = machine.file(
        "/etc/security/pam_totp.toml",
        "644",
        "[[policy.rule]]\nservice = [\"sudo\"]\nsecond_factor = \"never\"\n",
    );
    sudo(&machine, None);
    ssh(&machine, Some(alice.code()));
}

#[test]
fn an_upgrade_breaks_no_login_that_is_under_way() {
    let (machine, mut alice, mut bob) = protected();
    machine.run("echo '# Mine.' >>/etc/security/pam_totp.toml");
    let mut ssh = machine.ssh("alice", &["id", "-un"]);
    ssh.answer("Password: ", PASSWORD).see(PROMPT);
    machine.upgrade_packages();
    let mapped = machine.run("cat /proc/[0-9]*/maps | grep pam_totp.so");
    assert!(
        mapped.lines().all(|line| line.ends_with("(deleted)")),
        "{mapped}"
    );
    let code = alice.code();
    machine.log().keep_secret(&code);
    ssh.enter(&code);
    ssh.assert_ends_well("alice");

    let versions = machine.run("dpkg-query --show --showformat='${Version} ' libpam-totp totpctl");
    assert_eq!(versions, format!("{NEXT} {NEXT} "));
    sudo(&machine, Some(bob.code()));
    login(&machine, Some(alice.code()));
    let kept = machine.run("tail -n 1 /etc/security/pam_totp.toml");
    assert_eq!(kept, "# Mine.\n");
}

#[test]
fn removed_it_asks_nobody_and_keeps_the_secrets_and_purged_it_leaves_no_trace() {
    let machine = debian();
    nobody_is_asked(&machine);
    let before = tree(&machine);
    machine.install_packages();
    machine.run(ENABLE);
    let mut alice = machine.enroll("alice");
    ssh(&machine, Some(alice.code()));

    let told = machine.dpkg("--remove libpam-totp totpctl");
    assert!(told.contains("until the package is purged"), "{told}");
    nobody_is_asked(&machine);
    machine.run("test -s /var/lib/pam_totp/secrets/alice -a -s /var/lib/pam_totp/state/alice");
    machine.run("test -s /etc/security/pam_totp.toml");

    machine.install_packages();
    nobody_is_asked(&machine);
    machine.run(ENABLE);
    ssh(&machine, Some(alice.code()));

    // What a confirmed rollout leaves beside a stack that somebody mended by hand.
    machine.run(
        "touch /etc/pam.d/.pam_totp-old-sshd /etc/systemd/system/pam-totp-rollout.timer
         mkdir -p /etc/cron.d; touch /etc/cron.d/pam-totp-rollout
         cd /etc/ssh/sshd_config.d; cp -p 10-pam_totp.conf /tmp
         echo '# Written by totpctl rollout: the key.' >10-pam_totp.conf",
    );
    machine.dpkg("--purge libpam-totp totpctl");
    // What was a person's own by that name would have stayed.
    machine.run(
        "cd /etc/ssh/sshd_config.d; test ! -e 10-pam_totp.conf; cp -p /tmp/10-pam_totp.conf .",
    );
    nobody_is_asked(&machine);
    let after = tree(&machine);
    let changed: Vec<&String> = before.symmetric_difference(&after).collect();
    assert!(changed.is_empty(), "{changed:#?}");
}

#[test]
fn a_rollout_that_nobody_has_confirmed_ends_with_the_package() {
    let machine = debian();
    machine.install_packages();
    machine.enroll("bob");
    let files = "cat /etc/pam.d/sudo; ls -A /etc/pam.d /etc/cron.d";
    machine.run(
        "mkdir -p /etc/cron.d; cp /usr/bin/sleep /usr/sbin/cron
         bash -c \"exec -a 'cron [listener]' /usr/sbin/cron infinity\" </dev/null >/dev/null 2>&1 &
         until [ \"$(pgrep --exact cron)\" ]; do :; done",
    );
    let before = machine.run(files);
    machine.run("totpctl rollout sudo --user bob --yes");
    sudo_asks(&machine);
    machine.dpkg("--remove libpam-totp totpctl");
    assert_eq!(machine.run(files), before);
    nobody_is_asked(&machine);
}

#[track_caller]
fn sudo_asks(machine: &Machine) {
    let mut sudo = machine.terminal_as("bob", &["sudo", "-k", "id", "-un"]);
    sudo.answer("[sudo] password for bob: ", PASSWORD)
        .see(PROMPT);
    // sudo misses one that comes between its prompt and its reading.
    sudo.interrupt();
    sudo.interrupt();
    assert_ne!(sudo.end().status, 0);
}

#[test]
fn a_removal_that_is_refused_leaves_the_profile_on() {
    let (machine, mut alice, _) = protected();
    machine.run("echo 'auth required pam_totp.so no_info # mine' >/etc/pam.d/common-mine");
    let before = machine.run("grep -v '^#' /etc/pam.d/common-auth");
    let told = output(machine.command(&["dpkg", "--remove", "libpam-totp"]), b"");
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(
        !told.status.success() && said.contains("common-mine"),
        "{said}"
    );
    assert_eq!(machine.run("grep -v '^#' /etc/pam.d/common-auth"), before);
    ssh(&machine, Some(alice.code()));
}

#[test]
fn it_is_not_removed_while_a_stack_needs_it() {
    let (machine, mut alice, mut bob) = protected();
    let machine = machine.pam("sshd", &Example::named("sshd"));
    // Asked for once, not twice.
    machine.run("pam-auth-update --disable totp");
    machine.run(ENABLE);
    let before = machine.run("cat /etc/pam.d/*");
    let removal = machine.command(&["dpkg", "--remove", "libpam-totp"]);
    let refused = output(removal, b"");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{told}");
    for part in ["/etc/pam.d/sshd:auth", "totpctl rollout --revert"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(machine.run("cat /etc/pam.d/*"), before);
    sudo(&machine, Some(bob.code()));

    machine.run(
        "cp -p /etc/pam.d/sshd /tmp/sshd; sed -i '/pam_totp.so/s/^/#/' /etc/pam.d/sshd; cat /etc/pam.d/sshd",
    );
    ssh(&machine, Some(alice.code()));
    machine.dpkg("--remove libpam-totp");
    nobody_is_asked(&machine);
}

#[test]
fn the_configuration_that_is_shipped_is_accepted_and_names_the_defaults() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tree = folder.path().join("tree");
    unpack("libpam-totp", &tree);
    let shipped = fs::read_to_string(tree.join("etc/security/pam_totp.toml")).expect("a conffile");
    let defaults: String = shipped
        .lines()
        .map(|line| {
            let is_default = line.starts_with('#') && !line.starts_with("# ") && line != "#";
            let line = if is_default { &line[1..] } else { line };
            format!("{line}\n")
        })
        .collect();
    let scratch = Scratch::new("");
    scratch.enroll(ACCOUNT, &Phone::new(Phone::SECRET));
    scratch.configure(&shipped);
    let as_shipped = scratch.document(&EXPLAIN);
    let folder = scratch.path("");
    let folder = folder.to_str().expect("text").trim_end_matches('/');
    scratch.write_config(
        &defaults
            .replace("/var/lib/pam_totp", folder)
            .replace("/run/pam_totp", folder),
    );
    assert_eq!(scratch.document(&EXPLAIN), as_shipped);

    let readme = fs::read_to_string(workspace().join("README.md")).expect("the README");
    let block = readme
        .split("```")
        .find(|block| block.contains("secret_dir ="));
    let mut known = 0;
    for line in block.expect("the defaults").lines() {
        let setting = line.split('#').next().unwrap_or_default().trim();
        if setting.contains(" = ") {
            known += 1;
            assert!(
                defaults.lines().any(|line| line == setting),
                "{setting} is missing"
            );
        }
    }
    assert!(known > 15, "{known}");
}

#[test]
fn the_packaged_module_exports_six_functions_and_names_no_folder_of_its_builder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, pattern) in [
        ("libpam-totp", "lib/*/security/pam_totp.so"),
        ("totpctl", "usr/sbin/totpctl"),
    ] {
        let tree = folder.path().join(name);
        unpack(name, &tree);
        let path = text("sh", &["-c", &format!("ls {}/{pattern}", tree.display())]);
        let path = path.trim();
        let strings = text("strings", &["--all", path]);
        let folder = format!("{}/", workspace().display());
        for folder in [folder.as_str(), "/.cargo/", "/registry/src/"] {
            assert!(!strings.contains(folder), "{folder} in {name}");
        }
        if name == "libpam-totp" {
            let exported = text(
                "nm",
                &["--dynamic", "--defined-only", "--format=just-symbols", path],
            );
            assert_eq!(exported.lines().count(), 6, "{exported}");
            assert!(
                exported.lines().all(|line| line.starts_with("pam_sm_")),
                "{exported}"
            );
            let dynamic = text("readelf", &["--dynamic", "--wide", path]);
            assert!(
                dynamic.contains("NODELETE") && dynamic.contains("NOW"),
                "{dynamic}"
            );
        }
    }
}

#[test]
fn t46_nothing_in_the_packages_is_setuid() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let find = |tree: &Path, what: &[&str]| {
        let tree = tree.to_str().expect("text");
        text("find", &[&[tree], what].concat())
    };
    for (name, file) in [("libpam-totp", "pam_totp.so"), ("totpctl", "totpctl")] {
        let tree = folder.path().join(name);
        unpack(name, &tree);
        assert_ne!(find(&tree, &["-type", "f", "-name", file]), "", "{name}");
        assert_eq!(find(&tree, &["-perm", "/7000"]), "", "{name}");
    }
}

#[test]
fn the_package_asks_for_a_c_library_that_loads_the_module() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tree = folder.path().join("tree");
    unpack("libpam-totp", &tree);
    let module = format!("{}/lib/*/security/pam_totp.so", tree.display());
    let needs = text("sh", &["-c", &format!("readelf --version-info {module}")]);
    let control = fs::read_to_string(tree.join("DEBIAN/control")).expect("a control file");
    let mut fields = control.lines();
    let depends = fields.find_map(|line| line.strip_prefix("Depends: "));
    let depends = depends.expect("it depends on something");
    let mut packages = depends.split(", ");
    let least = packages.find_map(|one| one.strip_prefix("libc6 (>= 2.")?.strip_suffix(')'));
    let least: u32 = least.and_then(|minor| minor.parse().ok()).expect(depends);
    assert!(needs.contains("Name: GLIBC_2."), "{needs}");
    for need in needs.split("Name: GLIBC_").skip(1) {
        let need = need.split_whitespace().next().expect("a version");
        // Packed relocations came with 2.36.
        let need = if need == "ABI_DT_RELR" { "2.36" } else { need };
        let minor = need.strip_prefix("2.").expect("a version of glibc");
        let minor = minor.split('.').next().expect("a number");
        let minor: u32 = minor.parse().expect("a number");
        assert!(least >= minor, "{need}: {depends}");
    }
}

#[test]
fn the_copyright_file_has_the_licence_of_each_library() {
    const BOTH: &str = "Expat or Apache-2.0";
    let manifest = workspace().join("Cargo.toml");
    let manifest = manifest.to_str().expect("text");
    let metadata = ["metadata", "--locked", "--format-version=1"];
    let metadata = text(
        env!("CARGO"),
        &[&metadata[..], &["--manifest-path", manifest]].concat(),
    );
    let metadata: Value = serde_json::from_str(&metadata).expect("a document");
    let packages = metadata["packages"].as_array().expect("packages").iter();
    let libraries: Vec<(&str, &str)> = packages
        .filter(|package| !package["source"].is_null())
        .map(|package| ["name", "license"].map(|key| package[key].as_str().expect("text")))
        .map(|[name, licence]| (name, licence))
        .collect();
    assert!(libraries.len() > 100, "{}", libraries.len());

    let copyright = fs::read_to_string(workspace().join("debian/copyright")).expect("it");
    let paragraphs: Vec<&str> = copyright.split("\n\n").collect();
    let about = |files: &str| {
        let files = format!("\n vendor/{files}\n");
        let mut paragraphs = paragraphs.iter();
        paragraphs.find(|paragraph| paragraph.contains(&files))
    };
    let licence_of = |paragraph: &str| {
        let mut lines = paragraph.lines();
        let line = lines.find_map(|line| line.strip_prefix("License: "));
        line.expect("a licence").to_owned()
    };
    let all = about("*").expect("a paragraph on all");
    assert_eq!(licence_of(all), BOTH);
    for (name, licence) in &libraries {
        let own = about(&format!("{name}-*"));
        let said = own.map(|own| licence_of(own));
        let expected = match *licence {
            "MIT" => Some("Expat"),
            "Apache-2.0" | "Zlib" => Some(*licence),
            "BSD-3-Clause" => Some("BSD-3-clause"),
            "(MIT OR Apache-2.0) AND Unicode-3.0" => Some("Expat and Unicode-3.0"),
            _ => None,
        };
        assert_eq!(said.as_deref(), expected, "{name}: {licence}");
        if expected.is_none() {
            let choice: BTreeSet<&str> = licence
                .split('/')
                .flat_map(|one| one.split(" OR "))
                .collect();
            assert!(choice.contains("MIT"), "{name}: {licence}");
            let mut words = all.split([' ', '\n', ',']);
            let is_usual = choice == BTreeSet::from(["Apache-2.0", "MIT"]);
            assert!(
                is_usual || words.any(|word| word == *name),
                "{name}: {licence}"
            );
        }
    }
    // Nor is one named that is there no more.
    let named = copyright
        .lines()
        .filter_map(|line| line.strip_prefix(" vendor/")?.strip_suffix("-*"));
    for named in named {
        assert!(libraries.iter().any(|(name, _)| *name == named), "{named}");
    }
}

fn text(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().expect(program);
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const EXPLAIN: [&str; 5] = ["explain", "--user", ACCOUNT, "--service", "sshd"];
const ENABLE: &str = "DEBIAN_FRONTEND=noninteractive pam-auth-update --enable totp";
const PASSWORD: &str = "correct horse";
