//! What the stacks say about each service, and what is wrong with that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use totp_core::config::Config;
use totp_core::flow::{Arguments, FirstPass};
use totp_core::policy::{EnrollWith, Unenrolled};
use totp_host::enroll_stack;

use super::finding::{Finding, Findings};
use super::reach::{Reach, follow, is_proof};
use super::stack::{Folders, Kind, Line, Stack};
use super::{Tree, doors, sudoers, ways};
use crate::example;
use crate::failure::Failure;

/// A service that asks for codes, or was meant to.
pub(crate) struct Service {
    pub(crate) name: String,
    /// The configuration of its line, where that can be read.
    pub(crate) config: Option<Config>,
    pub(crate) nullok: bool,
    /// Password and code are one answer: our line that is reached first takes them so.
    pub(crate) is_one_field: bool,
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
        doors::DOORS.contains(&name) || folders.any(|folder| tree.path(folder).join(name).is_file())
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
    doors::look(tree, &folders, &services, findings);
    services.is_sudo_free = sudoers::look(tree, &services, findings);
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
        is_one_field: false,
        reach: Reach::default(),
    };
    let mut is_missing = false;
    let mut of_one_field = BTreeSet::new();
    for (index, line) in &ours {
        is_missing |= !line.is_misnamed() && module_file(tree, name, line, findings);
        match Arguments::parse(line.arguments().iter().map(String::as_str)) {
            Ok(arguments) => {
                service.nullok |= arguments.options.nullok;
                let is_asked_before = stack.lines.iter().take(*index).any(may_ask);
                let takes_it_alone = arguments.options.first_pass == FirstPass::Only;
                if arguments.options.forward_pass || (takes_it_alone && is_asked_before) {
                    of_one_field.insert(*index);
                }
                if takes_it_alone && !is_asked_before {
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
    tell_faults(stack, name, findings);
    for line in &stack.lines {
        writable(line, name, findings);
    }
    if !stack.is_refused {
        service.reach = follow(stack, is_missing);
        let reach = &service.reach;
        let reached_first = reach.reached.first();
        service.is_one_field = reached_first.is_some_and(|first| of_one_field.contains(first));
        ways::tell(tree, stack, name, first, reach, is_missing, findings);
    }
    Some(service)
}

/// What libpam can't use of a stack.
pub(super) fn tell_faults(stack: &Stack, name: &str, findings: &mut Findings) {
    for fault in &stack.faults {
        findings.add(
            Finding::new(
                "stack-broken",
                format!("libpam can't use this: {}.", fault.what),
                match stack.is_refused {
                    true => "libpam gives up: nobody gets in by this service.",
                    false => {
                        "libpam has such a line fail, and mostly nobody gets in by this service."
                    }
                },
                "Correct the line, or put the saved file back (/root/pam.d-*).",
            )
            .at(&fault.file, Some(fault.line))
            .of(name),
        );
    }
}

/// Whether a module may ask for a password.
fn may_ask(line: &Line) -> bool {
    is_proof(line) || line.is_ours() || ["pam_exec.so", "pam_mount.so"].contains(&line.module())
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
    let path = tree.path("/etc/pam.d").join(enroll_stack::SERVICE);
    let shipped = example::folder(tree.root).map(|folder| folder.join(enroll_stack::SERVICE));
    let mend = match shipped.filter(|shipped| shipped.is_file()) {
        Some(shipped) => format!("cp {} {}", shipped.display(), path.display()),
        None => "Write the file that pam_totp.conf(5) shows: man 5 pam_totp.conf".to_owned(),
    };
    let by_password = config.is_some_and(|config| {
        config.policy.enroll_with == EnrollWith::Password
            && config.policy.unenrolled == Unenrolled::Enroll
    });
    let mut add = |id, fact: String, meaning: &str| {
        let finding = Finding::new(id, fact, meaning, mend.as_str());
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
    } else if !stack.is_refused && follow(&stack, false).open {
        add(
            "totp-enroll-open",
            "The stack says yes where no module has checked the password.".to_owned(),
            "Whoever comes first enrolls a device of their own for anybody who has none.",
        );
    }
    tell_faults(&stack, enroll_stack::SERVICE, findings);
}
