//! `totpctl doctor`: what is wrong, or will be, found by reading alone.
//!
//! MUST: nothing is written, locked, logged or asked of a person here. Whoever is afraid of the next step runs this first.

mod clock;
mod covered;
mod delivery;
mod doors;
mod entry;
mod files;
mod finding;
mod keys;
mod pending;
pub(crate) mod people;
mod reach;
mod refused;
mod rules;
mod services;
mod settings;
mod sshd;
mod stack;
mod sudoers;
mod ways;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use totp_core::config::Config;
use totp_core::doors::Account;

pub(crate) use self::finding::Finding;
use self::finding::Findings;
use self::people::{Accounts, Person, RootBySsh};
pub(crate) use self::refused::Refused;
pub(crate) use self::sshd::permits_empty_passwords;
use self::stack::Folders;
use crate::cli::Doctor;
use crate::context::Context;
use crate::failure::Failure;

/// Where the system's files are: of this machine, or of one whose disk is mounted somewhere.
pub(crate) struct Tree<'a> {
    root: &'a Path,
    /// What files are about to hold, by their paths in the root.
    changed: BTreeMap<PathBuf, String>,
}

impl Tree<'_> {
    /// Where a file is that has this path in the tree.
    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether it is the tree that this process runs in.
    fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// What is in a file, or will be.
    fn text(&self, path: &Path) -> std::io::Result<String> {
        match self.changed.get(path) {
            Some(text) => Ok(text.clone()),
            None => std::fs::read_to_string(path),
        }
    }

    /// A configuration that was found in the tree, with its folders where they are now.
    fn moved(&self, config: Config) -> Config {
        Config {
            secret_dir: self.path(&config.secret_dir),
            state_dir: self.path(&config.state_dir),
            run_dir: self.path(&config.run_dir),
            ..config
        }
    }
}

/// Exit status: 0 where nothing has to be mended, 1 where something has, 3 where it can't be told.
pub(crate) fn run(named: Option<&Path>, json: bool, arguments: &Doctor) -> Result<(), Failure> {
    if !arguments.root.is_absolute() || !arguments.root.is_dir() {
        return Err(Failure::unreachable(format_args!(
            "{} is no folder: --root takes an absolute path, such as /mnt",
            arguments.root.display()
        )));
    }
    let tree = Tree {
        root: &arguments.root,
        changed: BTreeMap::new(),
    };
    let mut findings = Findings::default();
    let config = config(&tree, named, &mut findings)?;
    let context = Context::of(config.clone().unwrap_or_default(), json);
    let accounts = Accounts::of(&tree, context.system());

    let services = services::look(&tree, config.as_ref(), &mut findings)?;
    let is_used = !services.asking.is_empty();
    let mut configs: Vec<&Config> = config.iter().collect();
    for other in services
        .asking
        .iter()
        .filter_map(|service| service.config.as_ref())
    {
        if !configs.contains(&other) {
            configs.push(other);
        }
    }
    for config in &configs {
        files::look(config, &accounts, is_used, &mut findings)?;
    }
    if let Some(config) = &config {
        let path = config_path(&tree, named);
        settings::look(config, &path, &mut findings);
        rules::look(config, &path, &accounts, &services, &mut findings);
    }
    let people = people::people(&accounts)?;
    let root_by_ssh = sshd::look(&tree, &services, &people, &mut findings);
    people::look(
        &tree,
        &accounts,
        &people,
        &services,
        root_by_ssh,
        &mut findings,
    );
    pending::look(&tree, &accounts, &mut findings);
    if tree.is_this_machine() {
        clock::look(&mut findings);
    }

    findings.sort();
    let asking: Vec<&String> = services
        .asking
        .iter()
        .map(|service| &service.name)
        .collect();
    let document = json!({ "findings": findings.document(), "services": asking });
    context.print(&findings.to_string(), &document);
    match findings.need_mending() {
        true => Err(Failure::answered_no()),
        false => Ok(()),
    }
}

/// The place where our module is in the stack of a service, whichever file that is.
pub(crate) fn place_in(service: &str) -> Option<String> {
    let stack = Folders::below(Path::new("/")).stack(service, "auth");
    let line = stack.lines.iter().find(|line| line.is_ours())?;
    Some(format!("{}, line {}", line.file.display(), line.number))
}

/// The file that libpam looks for first, where a service has none and goes by `other`.
pub(crate) fn missing_stack(service: &str) -> Option<PathBuf> {
    let file = Folders::below(Path::new("/")).file(service);
    (!file.is_file()).then_some(file)
}

/// Whether the audit system counts the logins by a service.
pub(crate) fn is_audited(service: &str) -> bool {
    let stack = Folders::below(Path::new("/")).stack(service, "session");
    let mut lines = stack.lines.iter();
    lines.any(|line| line.module() == "pam_loginuid.so")
}

/// What is dangerous about one service of this machine, as it is now.
///
/// # Errors
/// Where the stacks can't be read.
pub(crate) fn dangers(context: &Context, service: &str) -> Result<Vec<Finding>, Failure> {
    let tree = Tree {
        root: Path::new("/"),
        changed: BTreeMap::new(),
    };
    let mut findings = Findings::default();
    let mut services = services::look(&tree, Some(&context.config), &mut findings)?;
    services.asking.retain(|one| one.name == service);
    sshd::look(&tree, &services, &[], &mut findings);
    Ok(findings.about(service).forbidding())
}

/// What is to be said of one service, and of somebody's logins by it, once some files of this machine hold what is given; and
/// whom it refuses then.
///
/// # Errors
/// Where it can't be told, or the person lacks what is asked for before the code, or sshd takes no code of theirs.
pub(crate) fn foresee(
    context: &Context,
    service: &str,
    person: &Account,
    changed: BTreeMap<PathBuf, String>,
) -> Result<(Findings, Refused), Failure> {
    let tree = Tree {
        root: Path::new("/"),
        changed,
    };
    let accounts = Accounts::of(&tree, context.system());
    let mut findings = Findings::default();
    let services = services::look(&tree, Some(&context.config), &mut findings)?;
    let listed = people::people(&accounts)?;
    let named = listed.iter().find(|one| one.account == *person).cloned();
    let person = named.unwrap_or_else(|| Person::of_a_directory(person.clone()));
    let one = services.named(service);
    let asks_password = one.is_some_and(|one| one.reach.has_proofs);
    let name = &person.account.name;
    if asks_password && !person.has_password {
        return Err(Failure::refused(format_args!(
            "{name} has no password, and {service} asks for one: passwd {name}, or name somebody else by --user"
        )));
    }
    // The console is root's last way in, and by su people become root: that has to go on beside what the person shows.
    let is_met = |one: &&Person| one.is_root() && is_way_to_root(service) && **one != person;
    let mut met: Vec<Person> = listed.iter().filter(is_met).cloned().collect();
    met.push(person.clone());
    let root_by_ssh = sshd::look(&tree, &services, &met, &mut findings);
    if let Some(one) = one {
        people::look_at(&tree, &accounts, &met, one, root_by_ssh, &mut findings);
    }
    people::look_at_root(
        &tree,
        &accounts,
        &listed,
        &services,
        root_by_ssh,
        &mut findings,
    );
    let findings = findings.about(service);
    if service == "sshd" && !findings.iter().any(Finding::forbids) {
        refuse_unasked_by_sshd(&tree, &person, root_by_ssh, asks_password)?;
    }
    let now = Tree {
        root: tree.root,
        changed: BTreeMap::new(),
    };
    let refused = one.map(|one| Refused::between((&now, &tree), &accounts, &listed, one));
    Ok((findings, refused.unwrap_or_default()))
}

/// Whether root gets in by a service, or others become root.
fn is_way_to_root(service: &str) -> bool {
    matches!(service, "login" | "su" | "su-l")
}

/// Whose codes sshd would not take, or who has not what it asks for before them.
fn refuse_unasked_by_sshd(
    tree: &Tree<'_>,
    person: &Person,
    root_by_ssh: RootBySsh,
    asks_password: bool,
) -> Result<(), Failure> {
    let name = &person.account.name;
    if person.is_root() && root_by_ssh != RootBySsh::Asked {
        return Err(Failure::refused(
            "root gets in by no code over ssh (PermitRootLogin): name somebody else by --user, or have sshd say \
             PermitRootLogin yes",
        ));
    }
    match sshd::places_without_key(tree, person) {
        Some(places) if !asks_password => Err(Failure::refused(format_args!(
            "{name} has no key that sshd knows ({places}): put one there, or name somebody else by --user"
        ))),
        _ => Ok(()),
    }
}

fn config_path(tree: &Tree<'_>, named: Option<&Path>) -> PathBuf {
    named.map_or_else(|| tree.path(Config::DEFAULT_PATH), Path::to_owned)
}

/// The configuration; `None`, and a finding, where it can't be used.
fn config(
    tree: &Tree<'_>,
    named: Option<&Path>,
    findings: &mut Findings,
) -> Result<Option<Config>, Failure> {
    let path = config_path(tree, named);
    // The default one may be missing.
    if named.is_none() && std::fs::symlink_metadata(&path).is_err() {
        return Ok(Some(tree.moved(Config::default())));
    }
    match totp_host::config::load(Some(&path)) {
        Ok(config) if named.is_some() => Ok(Some(config)),
        Ok(config) => Ok(Some(tree.moved(config))),
        Err(error) if error.is_denied() => Err(Failure::unreachable(format_args!(
            "{error}: run totpctl as root"
        ))),
        Err(error) => {
            let line = error.line();
            findings.add(
                Finding::new(
                    "config",
                    format!("The configuration can't be used: {error}."),
                    "A configuration is taken whole or not at all: every login that has no config= of its own is denied.",
                    "Correct that line; `totpctl doctor` tells when it is right.",
                )
                .at(path, line),
            );
            Ok(None)
        }
    }
}
