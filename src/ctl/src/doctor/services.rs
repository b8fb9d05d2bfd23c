//! What the stacks say about each service, and what is wrong with that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use totp_core::config::Config;
use totp_core::flow::{Arguments, FirstPass};
use totp_core::policy::{EnrollWith, Unenrolled};
use totp_host::enroll_stack;

use super::Tree;
use super::finding::{Finding, Findings};
use super::reach::{Reach, follow, is_proof};
use super::stack::{
    ABORT, AUTH_ERR, CODES, Folders, Kind, Line, MODULE_UNKNOWN, SERVICE_ERR, Stack,
};
use crate::failure::Failure;

/// A service that asks for codes, or was meant to.
pub(crate) struct Service {
    pub(crate) name: String,
    /// The configuration of its line, where that can be read.
    pub(crate) config: Option<Config>,
    pub(crate) nullok: bool,
    pub(crate) reach: Reach,
}

impl Service {
    /// Whether our module is run.
    pub(crate) fn asks(&self) -> bool {
        !self.reach.reached.is_empty()
    }
}

/// Every service with our module, after findings about all.
pub(crate) struct Services {
    pub(crate) asking: Vec<Service>,
    /// The names of all.
    pub(crate) names: BTreeSet<String>,
    /// sudoers lets somebody become root without being asked.
    pub(crate) is_sudo_free: bool,
}

impl Services {
    pub(crate) fn named(&self, name: &str) -> Option<&Service> {
        self.asking.iter().find(|service| service.name == name)
    }
}

/// Programs that lock screens and run as their user, by the names of their services.
pub(crate) const LOCKERS: [&str; 19] = [
    "cinnamon-screensaver",
    "gnome-screensaver",
    "gtklock",
    "hyprlock",
    "i3lock",
    "i3lock-color",
    "kde",
    "kscreenlocker",
    "kscreensaver",
    "light-locker",
    "mate-screensaver",
    "physlock",
    "swaylock",
    "vlock",
    "waylock",
    "xlock",
    "xscreensaver",
    "xsecurelock",
    "xfce4-screensaver",
];

/// Doors that people come in by: where others ask for a code and one of these doesn't, that is worth a word.
const DOORS: [&str; 6] = ["login", "sshd", "su", "su-l", "sudo", "sudo-i"];

/// Looks at every service.
///
/// # Errors
/// Where /etc/pam.d can't be read.
pub(crate) fn look(
    tree: &Tree<'_>,
    config: Option<&Config>,
    findings: &mut Findings,
) -> Result<Services, Failure> {
    let folders = Folders::of(tree);
    let mut names = folders.services().map_err(|error| {
        let folder = tree.path("/etc/pam.d");
        Failure::unreachable(format_args!(
            "cannot read {}: {error}: run totpctl as root, or name the tree with --root",
            folder.display()
        ))
    })?;
    for locker in LOCKERS {
        if tree.path("/usr/bin").join(locker).is_file() {
            names.insert(locker.to_owned());
        }
    }
    let stacks: BTreeMap<String, Stack> = names
        .iter()
        .map(|name| (name.clone(), folders.stack(name, "auth")))
        .collect();
    // What is only there to be included is no service.
    let parts: BTreeSet<&PathBuf> = stacks.values().flat_map(|stack| &stack.included).collect();
    let is_program = |name: &str| {
        let mut folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter();
        DOORS.contains(&name) || folders.any(|folder| tree.path(folder).join(name).is_file())
    };
    let is_part = |name: &str| {
        name.starts_with("common-") || (parts.contains(&folders.file(name)) && !is_program(name))
    };
    let mut asking = Vec::new();
    for (name, stack) in &stacks {
        if is_part(name) || name == enroll_stack::SERVICE {
            continue;
        }
        if let Some(service) = service(tree, name, stack, config, findings) {
            asking.push(service);
        } else if is_elsewhere(&folders, name) {
            findings.add(
                Finding::new(
                    "only-other-types",
                    "pam_totp.so stands in account, session or password lines, and in no auth line.",
                    "Nobody is asked for a code by this service.",
                    "auth       required     pam_totp.so",
                )
                .at(folders.file(name), None)
                .of(name),
            );
        }
    }
    enroll_stack(tree, &folders, config, findings);
    let mut services = Services {
        asking,
        names,
        is_sudo_free: false,
    };
    doors(tree, &folders, &services, findings);
    services.is_sudo_free = sudo(tree, &services, findings);
    Ok(services)
}

fn is_elsewhere(folders: &Folders, name: &str) -> bool {
    ["account", "session", "password"].iter().any(|facility| {
        folders
            .stack(name, facility)
            .lines
            .iter()
            .any(Line::is_ours)
    })
}

/// What is to be said of one service; `None` where our module is not in its stack.
fn service(
    tree: &Tree<'_>,
    name: &str,
    stack: &Stack,
    config: Option<&Config>,
    findings: &mut Findings,
) -> Option<Service> {
    let ours: Vec<(usize, &Line)> = stack
        .lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.is_ours())
        .collect();
    let (_, first) = ours.first()?;
    let mut service = Service {
        name: name.to_owned(),
        config: config.cloned(),
        nullok: false,
        reach: Reach::default(),
    };
    let mut is_missing = false;
    for (index, line) in &ours {
        is_missing |= module_file(tree, name, line, findings);
        match Arguments::parse(line.arguments().iter().map(String::as_str)) {
            Ok(arguments) => {
                service.nullok |= arguments.options.nullok;
                let mut before = stack.lines.iter().take(*index);
                if arguments.options.first_pass == FirstPass::Only && !before.any(may_ask) {
                    findings.add(
                        Finding::new(
                            "nothing-before",
                            "use_first_pass takes what a module before this one has asked for, and none of those asks.",
                            "There is never a code: every login by this service is denied.",
                            "Put the line behind the one of pam_unix.so, or take use_first_pass out of it.",
                        )
                        .at(&line.file, Some(line.number))
                        .of(name),
                    );
                }
                if let Some(path) = &arguments.config {
                    service.config = line_config(tree, name, line, path, findings);
                }
            }
            Err(reason) => findings.add(
                Finding::new(
                    "arguments",
                    format!("The line of pam_totp.so can't be read: {reason}."),
                    "The module refuses to work with an argument that it does not know: every login by this \
                     service is denied.",
                    "Take the argument out of the line, or write it right, as pam_totp(8) has it; a text with blanks is\n\
                     written [prompt=Your code: ].",
                )
                .at(&line.file, Some(line.number))
                .of(name),
            ),
        }
    }
    for fault in &stack.faults {
        findings.add(
            Finding::new(
                "stack-broken",
                format!("libpam can't use this: {}.", fault.what),
                "libpam has such a line fail: nobody gets in by this service.",
                "Correct the line, or put the saved file back (/root/pam.d-*).",
            )
            .at(&fault.file, Some(fault.line))
            .of(name),
        );
    }
    for line in &stack.lines {
        writable(line, name, findings);
    }
    service.reach = follow(stack, is_missing);
    ways(stack, name, first, &service.reach, is_missing, findings);
    Some(service)
}

/// Whether a module may ask for a password.
fn may_ask(line: &Line) -> bool {
    is_proof(line) || line.is_ours() || ["pam_exec.so", "pam_mount.so"].contains(&line.module())
}

/// What the simulation has found.
fn ways(
    stack: &Stack,
    name: &str,
    first: &Line,
    reach: &Reach,
    is_missing: bool,
    findings: &mut Findings,
) {
    let mut add = |finding: Finding, line: &Line| {
        findings.add(finding.at(&line.file, Some(line.number)).of(name));
    };
    if reach.is_cut_short {
        add(
            Finding::new(
                "too-complex",
                "This stack has more ways through it than doctor follows.",
                "What is said of it may not be all.",
                format!("totpctl try --service {name} USER"),
            ),
            first,
        );
    }
    for culprit in &reach.skipped {
        skipped(stack, *culprit, first, &mut add);
    }
    if is_missing && !reach.overruled.is_empty() {
        add(
            Finding::new(
                "skipped",
                "pam_totp.so is not there, and the line says that this doesn't matter.",
                "Everybody gets in without a code.",
                "Install the module, and let the line say `required`.",
            ),
            first,
        );
    }
    let serious: Vec<&str> = [AUTH_ERR, SERVICE_ERR, ABORT]
        .iter()
        .filter(|code| reach.overruled.contains(code))
        .filter_map(|code| CODES.get(*code).copied())
        .collect();
    if !serious.is_empty() {
        let meaning = match reach.overruled.contains(&AUTH_ERR) {
            true => "Whoever types a wrong code, or none, gets in all the same.",
            false => "Whenever the module can't work, everybody gets in without a code.",
        };
        add(
            Finding::new(
                "refusal-ignored",
                format!(
                    "The control of pam_totp.so is `{}`, and with it a refusal ({}) doesn't refuse.",
                    first.control_text,
                    serious.join(", ")
                ),
                meaning,
                "auth       required     pam_totp.so",
            ),
            first,
        );
    } else if !is_missing && reach.overruled.contains(&MODULE_UNKNOWN) {
        add(
            Finding::new(
                "fault-ignored",
                format!(
                    "The control of pam_totp.so is `{}`, which goes on where the module can't be loaded.",
                    first.control_text
                ),
                "Once the module's file is gone or doesn't load, everybody gets in without a code.",
                "auth       required     pam_totp.so",
            ),
            first,
        );
    }
    if reach.reached.is_empty() {
        let meaning = match reach.skipped.is_empty() {
            true => "Lines above end every login, and nobody gets in by this service.",
            false => "Nobody is ever asked for a code by this service.",
        };
        add(
            Finding::new(
                "unreachable",
                "No login gets as far as the line of pam_totp.so.",
                meaning,
                "Take away or correct the lines above that always end the stack (pam_deny, pam_permit).",
            ),
            first,
        );
        return;
    }
    // Where something else lets people in, or a line is broken, that is why.
    if !is_missing && !reach.lets_in && reach.skipped.is_empty() && stack.faults.is_empty() {
        add(
            Finding::new(
                "code-refused",
                format!(
                    "No login in which the code is right gets in; the control of pam_totp.so is `{}`.",
                    first.control_text
                ),
                "Nobody gets in by this service, whatever they type.",
                "auth       required     pam_totp.so",
            ),
            first,
        );
    }
    // Only sshd can ask for something beside the stack.
    if reach.code_alone && (reach.has_proofs || name != "sshd") {
        add(
            Finding::new(
                "code-alone",
                "A right code gets in without a right password.",
                "Whoever holds somebody's phone is that person.",
                "auth       substack     common-auth\nauth       required     pam_totp.so",
            ),
            first,
        );
    }
    if reach.lets_in && !reach.lets_exempt_in && reach.skipped.is_empty() {
        add(
            Finding::new(
                "exempt-denied",
                "Whoever is asked for nothing (a rule with \"never\", `nullok`, \"skip\") does not get in, since no other \
                 line says yes.",
                "libpam denies where every module abstains.",
                "auth       required     pam_permit.so      # below the line of pam_totp.so",
            ),
            first,
        );
    }
    if reach.reveals {
        add(
            Finding::new(
                "password-revealed",
                "Only whoever has typed the right password is asked for a code.",
                "A stranger learns which passwords are right, with no code at all.",
                "auth       substack     common-auth        # instead of @include or requisite\n\
                 auth       required     pam_totp.so",
            ),
            first,
        );
    }
}

fn skipped(
    stack: &Stack,
    culprit: Option<usize>,
    first: &Line,
    add: &mut impl FnMut(Finding, &Line),
) {
    let around = culprit.and_then(|at| stack.lines.get(at));
    let (fact, mend) = match around {
        Some(line) => {
            let mend = match line.file == first.file {
                true => "Move the line of pam_totp.so above this one, or let this one say `required`; or put it into a\n\
                     file of its own and say: auth substack THAT-FILE".to_owned(),
                false => format!(
                    "auth       substack     {}      # instead of @include or include",
                    line.file
                        .file_name()
                        .and_then(|name| name.to_str())
                        .unwrap_or("FILE")
                ),
            };
            let fact = format!(
                "`{} {}` leads around pam_totp.so, and the login succeeds.",
                line.control_text,
                line.module()
            );
            (fact, mend)
        }
        None => (
            "A login succeeds that never comes to pam_totp.so.".to_owned(),
            "auth       required     pam_totp.so".to_owned(),
        ),
    };
    add(
        Finding::new(
            "skipped",
            fact,
            "Whoever satisfies that line gets in without a code.",
            mend,
        ),
        around.unwrap_or(first),
    );
}

/// Whether the file of our module is missing from where libpam looks for it.
fn module_file(tree: &Tree<'_>, name: &str, line: &Line, findings: &mut Findings) -> bool {
    let Kind::Module { path, .. } = &line.kind else {
        return false;
    };
    let Some(file) = find_module(tree, path) else {
        findings.add(
            Finding::new(
                "module-missing",
                format!("{path} is not in the folder of libpam's modules."),
                "libpam can't run it. Where the line says `required`, nobody gets in by this service.",
                "make install        # or: apt-get install --reinstall libpam-totp",
            )
            .at(&line.file, Some(line.number))
            .of(name),
        );
        return true;
    };
    if let Some((fact, mend)) = unsafe_file(&file) {
        findings.add(
            Finding::new(
                "module-unsafe",
                fact,
                "Whoever can change the module is root at the next login.",
                mend,
            )
            .at(file, None)
            .of(name),
        );
    }
    false
}

fn find_module(tree: &Tree<'_>, path: &str) -> Option<PathBuf> {
    if path.starts_with('/') {
        return Some(tree.path(path)).filter(|file| file.is_file());
    }
    let mut folders = Vec::new();
    for lib in ["/lib", "/usr/lib", "/lib64", "/usr/lib64"] {
        let lib = tree.path(lib);
        folders.push(lib.join("security"));
        let inner = fs::read_dir(lib)
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        folders.extend(
            inner
                .filter(|entry| entry.file_name().to_string_lossy().contains("-linux-"))
                .map(|entry| entry.path().join("security")),
        );
    }
    let mut files = folders.iter().map(|folder| folder.join(path));
    files.find(|file| file.is_file())
}

/// What is wrong with the owner or the mode of a file that only root may change.
fn unsafe_file(file: &Path) -> Option<(String, String)> {
    let about = fs::metadata(file).ok()?;
    let path = file.display();
    if about.uid() != 0 && about.uid() != nix_effective() {
        let fact = format!("{path} belongs to user id {}.", about.uid());
        return Some((fact, format!("chown root {path}")));
    }
    if about.mode() & 0o022 != 0 {
        let mode = about.mode() & 0o7777;
        let fact = format!("{path} has mode {mode:04o}, so others may change it.");
        return Some((fact, format!("chmod go-w {path}")));
    }
    None
}

fn nix_effective() -> u32 {
    totp_host::account::effective_uid()
}

fn writable(line: &Line, name: &str, findings: &mut Findings) {
    if let Some((fact, mend)) = unsafe_file(&line.file) {
        findings.add(
            Finding::new(
                "stack-unsafe",
                fact,
                "Whoever can change a stack gets in without password and code.",
                mend,
            )
            .at(&line.file, None)
            .of(name),
        );
    }
}

fn line_config(
    tree: &Tree<'_>,
    name: &str,
    line: &Line,
    path: &Path,
    findings: &mut Findings,
) -> Option<Config> {
    let loaded = match path.is_absolute() {
        true => totp_host::config::load(Some(&tree.path(path))),
        false => totp_host::config::load(Some(path)),
    };
    match loaded {
        Ok(config) => Some(tree.moved(config)),
        Err(error) => {
            findings.add(
                Finding::new(
                    "line-config",
                    format!("The configuration of this line can't be used: {error}."),
                    "Every login by this service is denied.",
                    "Correct that file, or take config= out of the line to have the default one.",
                )
                .at(&line.file, Some(line.number))
                .of(name),
            );
            None
        }
    }
}

/// The stack by which the passwords of those are checked who enroll.
fn enroll_stack(
    tree: &Tree<'_>,
    folders: &Folders,
    config: Option<&Config>,
    findings: &mut Findings,
) {
    const MEND: &str =
        "cp /usr/local/share/doc/pam_totp/examples/totp-enroll /etc/pam.d/totp-enroll";
    let path = tree.path("/etc/pam.d").join(enroll_stack::SERVICE);
    let by_password = config.is_some_and(|config| {
        config.policy.enroll_with == EnrollWith::Password
            && config.policy.unenrolled == Unenrolled::Enroll
    });
    let mut add = |id, fact: String, meaning: &str| {
        let finding = Finding::new(id, fact, meaning, MEND);
        findings.add(finding.at(&path, None).of(enroll_stack::SERVICE));
    };
    let nobody = "Nobody can enroll by password: the module checks it by this service.";
    let file = fs::symlink_metadata(&path).ok();
    let Some(file) = file else {
        if by_password {
            let fact = format!(
                "{} is not there, and enroll_with is \"password\".",
                path.display()
            );
            add("totp-enroll-missing", fact, nobody);
        }
        return;
    };
    if !file.is_file() || unsafe_file(&path).is_some() {
        let fact = format!("{} is a link, or others may change it.", path.display());
        add("totp-enroll-missing", fact, nobody);
    }
    let stack = folders.stack(enroll_stack::SERVICE, "auth");
    if stack.lines.iter().any(Line::is_ours) {
        let fact = "The stack leads to pam_totp.so, which refuses to be run by it.".to_owned();
        add("totp-enroll-loop", fact, nobody);
    } else if follow(&stack, false).open {
        add(
            "totp-enroll-open",
            "The stack says yes where no module has checked the password.".to_owned(),
            "Whoever comes first enrolls a device of their own for anybody who has none.",
        );
    }
}

/// Doors that ask for no code while others do.
fn doors(tree: &Tree<'_>, folders: &Folders, services: &Services, findings: &mut Findings) {
    let asks = |name: &str| services.named(name).is_some();
    if services.asking.is_empty() {
        findings.add(
            Finding::new(
                "nobody-asked",
                "No service has pam_totp.so in its auth lines.",
                "Nobody is asked for a code anywhere.",
                "See pam.d-examples, and begin with a root shell that stays open.",
            )
            .at(tree.path("/etc/pam.d"), None),
        );
        return;
    }
    if asks("sudo") && !asks("sudo-i") && services.names.contains("sudo-i") {
        findings.add(
            Finding::new(
                "sudo-i",
                "sudo asks for a code, and sudo-i does not.",
                "`sudo -i` is a service of its own: whoever has the password becomes root by it.",
                "cp pam.d-examples/sudo-i /etc/pam.d/sudo-i",
            )
            .at(folders.file("sudo-i"), None)
            .of("sudo-i"),
        );
    }
    for door in DOORS {
        let is_said = door == "sudo-i" && asks("sudo");
        if services.names.contains(door) && !asks(door) && !is_said {
            findings.add(
                Finding::new(
                    "without-module",
                    "This service asks for no code, and others do.",
                    "It may be meant as a way in, such as the console.",
                    "See pam.d-examples where it is not.",
                )
                .of(door),
            );
        }
    }
}

/// What sudo lets people do without its stack; whether it lets somebody do something.
fn sudo(tree: &Tree<'_>, services: &Services, findings: &mut Findings) -> bool {
    if services
        .named("sudo")
        .or(services.named("sudo-i"))
        .is_none()
    {
        return false;
    }
    let mut files = vec![tree.path("/etc/sudoers")];
    let inner = fs::read_dir(tree.path("/etc/sudoers.d"));
    let mut drop_ins: Vec<PathBuf> = inner
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| !path.to_string_lossy().ends_with('~'))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| !name.to_string_lossy().contains('.'))
        })
        .collect();
    drop_ins.sort();
    files.extend(drop_ins);
    let (mut is_off, mut is_free) = (false, false);
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        for (index, line) in text.lines().enumerate() {
            let number = Some(index.saturating_add(1));
            let line = line.trim();
            if line.starts_with('#') {
                continue;
            }
            if line.contains("NOPASSWD") || line.contains("!authenticate") {
                is_free = true;
                findings.add(
                    Finding::new(
                        "sudo-no-password",
                        format!("sudoers says `{line}`."),
                        "sudo asks for neither password nor code there.",
                        "Take NOPASSWD or !authenticate away where a code is wanted.",
                    )
                    .at(&file, number)
                    .of("sudo"),
                );
            }
            let timeout = line
                .strip_prefix("Defaults")
                .and_then(|rest| rest.split_once("timestamp_timeout"))
                .map(|(_, value)| value.trim_start_matches([' ', '\t', '=']));
            let Some(timeout) = timeout else {
                continue;
            };
            let minutes = timeout.split([',', ' ', '\t']).next().unwrap_or_default();
            is_off |= minutes.parse::<f64>().is_ok_and(|minutes| minutes == 0.0);
            if minutes.starts_with('-') {
                findings.add(
                    Finding::new(
                        "sudo-timestamp-never-ends",
                        format!("sudoers says timestamp_timeout={minutes}."),
                        "Whoever used sudo once is never asked again until the next boot.",
                        "Defaults timestamp_timeout=15",
                    )
                    .at(&file, number)
                    .of("sudo"),
                );
            }
        }
    }
    if !is_off {
        findings.add(
            Finding::new(
                "sudo-timestamp",
                "sudo asks neither for the password nor for a code again for some minutes (15 unless sudoers says other).",
                "Whoever takes over that terminal meanwhile is root without a code.",
                "Defaults timestamp_timeout=0        # by visudo, where each command is to be asked for",
            )
            .of("sudo"),
        );
    }
    is_free
}
