//! Who can log in, who will be asked for a code that they don't have, and how root gets in.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use totp_core::address::Address;
use totp_core::delivery::Message;
use totp_core::doors::{Account, Caller, Entropy, System};
use totp_core::event::Event;
use totp_core::flow::plan::{Next, Reason, plan};
use totp_core::flow::{Options, Request};
use totp_core::time::Time;
use totp_host::store::FileStore;
use zeroize::Zeroizing;

use super::Tree;
use super::finding::{Finding, Findings};
use super::services::{LOCKERS, Service, Services};
use crate::failure::Failure;

/// The machine, with the accounts of a tree.
pub(crate) struct Accounts<'a> {
    machine: &'a dyn System,
    /// Of another tree than this machine's: its passwd, group and shadow.
    files: Option<(PathBuf, PathBuf)>,
    passwd: PathBuf,
    shadow: PathBuf,
}

impl<'a> Accounts<'a> {
    pub(crate) fn of(tree: &Tree<'_>, machine: &'a dyn System) -> Self {
        let (passwd, group) = (tree.path("/etc/passwd"), tree.path("/etc/group"));
        Self {
            machine,
            files: (!tree.is_this_machine()).then(|| (passwd.clone(), group)),
            passwd,
            shadow: tree.path("/etc/shadow"),
        }
    }

    /// Whether these are the accounts of the machine that we run on.
    pub(super) fn are_this_machines(&self) -> bool {
        self.files.is_none()
    }

    /// Whether there is a group of that name.
    ///
    /// # Errors
    /// Where that can't be told.
    pub(super) fn has_group(&self, name: &str) -> Result<bool, String> {
        match &self.files {
            Some((_, groups)) => Ok(Self::fields(groups, name)?.is_some()),
            None => totp_host::account::has_group(name),
        }
    }

    /// The fields of a name's line.
    fn fields(path: &PathBuf, name: &str) -> Result<Option<Vec<String>>, String> {
        let text =
            fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines().map(|line| line.split(':'));
        let line = lines.find(|line| line.clone().next() == Some(name));
        Ok(line.map(|line| line.map(str::to_owned).collect()))
    }
}

impl System for Accounts<'_> {
    fn now(&self) -> Time {
        self.machine.now()
    }

    fn host_name(&self) -> Option<String> {
        self.machine.host_name()
    }

    fn account(&self, name: &str) -> Result<Option<Account>, String> {
        let Some((passwd, _)) = &self.files else {
            return self.machine.account(name);
        };
        let fields = Self::fields(passwd, name)?;
        Ok(fields.and_then(|fields| {
            Some(Account {
                name: name.to_owned(),
                uid: fields.get(2)?.parse().ok()?,
            })
        }))
    }

    fn is_member(&self, account: &Account, group: &str) -> Result<bool, String> {
        let Some((passwd, groups)) = &self.files else {
            return self.machine.is_member(account, group);
        };
        let Some(group) = Self::fields(groups, group)? else {
            return Ok(false);
        };
        let primary = Self::fields(passwd, &account.name)?;
        let primary = primary.and_then(|fields| fields.get(3).cloned());
        let members = group.get(3).map(String::as_str).unwrap_or_default();
        Ok(members.split(',').any(|name| name == account.name)
            || (primary.is_some() && primary.as_ref() == group.get(2)))
    }

    fn is_local(&self, account: &Account) -> Result<bool, String> {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        totp_host::account::is_local(account, &text(&self.passwd), &text(&self.shadow))
    }

    fn deliver(&self, _: &Message) -> Result<(), String> {
        Err("nothing is sent where people are only looked at".to_owned())
    }

    /// Nothing that is looked at here is anybody's doing.
    fn log(&self, _: &Event) {}
}

impl Entropy for Accounts<'_> {
    fn random(&self, length: usize) -> Result<Zeroizing<Vec<u8>>, String> {
        self.machine.random(length)
    }
}

/// Somebody of this machine who can have a shell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Person {
    pub(crate) account: Account,
    /// There is a password to type.
    pub(super) has_password: bool,
    /// Where that can be told.
    pub(super) home: Option<PathBuf>,
    is_admin: bool,
}

impl Person {
    /// Somebody of whom this machine has no line.
    pub(super) fn of_a_directory(account: Account) -> Self {
        Self {
            home: totp_host::account::home(&account).ok().flatten(),
            account,
            has_password: true,
            is_admin: true,
        }
    }

    pub(super) fn is_root(&self) -> bool {
        self.account.uid == 0
    }

    /// Whether a service is for somebody like that.
    pub(super) fn is_served_by(&self, service: &str) -> bool {
        match service {
            "sudo" | "sudo-i" => self.is_admin && !self.is_root(),
            _ => true,
        }
    }
}

/// The people in the tree's /etc/passwd, root among them. Those of directories are not listed anywhere.
///
/// # Errors
/// Where the file can't be read.
pub(crate) fn people(accounts: &Accounts<'_>) -> Result<Vec<Person>, Failure> {
    const FIRST: u32 = 1000;
    const NOBODY: u32 = 65534;
    let failed = |error: std::io::Error| {
        let path = accounts.passwd.display();
        Failure::unreachable(format_args!("cannot read {path}: {error}"))
    };
    let passwd = match fs::read(&accounts.passwd) {
        // A tree that has none, made for a look at its stacks.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && accounts.files.is_some() => {
            Vec::new()
        }
        passwd => passwd.map_err(failed)?,
    };
    let mut people = Vec::new();
    for line in String::from_utf8_lossy(&passwd).lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let (Some(name), Some(uid), Some(shell)) = (fields.first(), fields.get(2), fields.get(6))
        else {
            continue;
        };
        let Some(uid) = uid
            .parse()
            .ok()
            .filter(|uid| *uid == 0 || (*uid >= FIRST && *uid != NOBODY))
        else {
            continue;
        };
        let program = shell.rsplit('/').next().unwrap_or_default();
        if ["nologin", "false", "sync", "halt", "shutdown"].contains(&program) {
            continue;
        }
        let account = Account {
            name: (*name).to_owned(),
            uid,
        };
        let own = fields.get(1).copied().unwrap_or_default();
        let hash = match own {
            "x" => Accounts::fields(&accounts.shadow, name)
                .ok()
                .flatten()
                .and_then(|fields| fields.get(1).cloned())
                .map(Zeroizing::new),
            own => Some(Zeroizing::new(own.to_owned())),
        };
        let has_password = hash.is_none_or(|hash| !hash.starts_with(['!', '*']));
        let groups = ["sudo", "wheel", "admin"];
        let is_in = |group: &&str| accounts.is_member(&account, group).unwrap_or(false);
        people.push(Person {
            is_admin: groups.iter().any(is_in),
            home: fields.get(5).map(PathBuf::from),
            has_password,
            account,
        });
    }
    Ok(people)
}

/// How root gets in by ssh.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RootBySsh {
    /// With what the stack asks for.
    Asked,
    /// By a key alone.
    Key,
    No,
}

/// Looks at each person and each service that asks for a code.
pub(crate) fn look(
    tree: &Tree<'_>,
    accounts: &Accounts<'_>,
    people: &[Person],
    services: &Services,
    root_by_ssh: RootBySsh,
    findings: &mut Findings,
) {
    for service in &services.asking {
        look_at(tree, accounts, people, service, root_by_ssh, findings);
    }
    look_at_root(tree, accounts, people, services, root_by_ssh, findings);
}

/// Looks which of these people one service asks for what they don't have.
pub(super) fn look_at(
    tree: &Tree<'_>,
    accounts: &Accounts<'_>,
    people: &[Person],
    service: &Service,
    root_by_ssh: RootBySsh,
    findings: &mut Findings,
) {
    if !service.asks() {
        return;
    }
    if LOCKERS.contains(&service.name.as_str()) {
        locker(tree, accounts, people, service, findings);
        return;
    }
    let mut groups: BTreeMap<Lack, Vec<&str>> = BTreeMap::new();
    for person in people {
        let can_come = match service.name.as_str() {
            "sshd" => !person.is_root() || root_by_ssh == RootBySsh::Asked,
            name => person.is_served_by(name),
        };
        if !can_come || (service.reach.has_proofs && !person.has_password) {
            continue;
        }
        if let Some(lack) = lack(accounts, person, service) {
            groups.entry(lack).or_default().push(&person.account.name);
        }
    }
    for (lack, names) in groups {
        let all = names.join(", ");
        let (id, fact, mend) = match lack {
            Lack::Device => (
                "not-enrolled",
                format!("No device, and a code is required: {all}."),
                each("totpctl enroll", &names),
            ),
            Lack::Invite => (
                "not-invited",
                format!("No device and no invite, and one of both is required: {all}."),
                each("totpctl invite", &names),
            ),
        };
        findings.add(
            Finding::new(
                id,
                fact,
                "They are asked for a code like everybody, and denied: they are locked out now.",
                format!("{mend}\nor, until all are enrolled, in the configuration: unenrolled = \"skip\""),
            )
            .of(&service.name),
        );
    }
}

/// What somebody has not, who is denied for that.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Lack {
    Device,
    /// To enroll by.
    Invite,
}

/// What somebody lacks for a code that a service requires.
pub(super) fn lack(accounts: &Accounts<'_>, person: &Person, service: &Service) -> Option<Lack> {
    match next(accounts, person, service)? {
        Next::Deny => Some(Lack::Device),
        Next::Enroll { by_password: false } if !is_invited(accounts, person, service) => {
            Some(Lack::Invite)
        }
        Next::Ask | Next::Enroll { .. } | Next::Pass(_) => None,
    }
}

fn each(command: &str, names: &[&str]) -> String {
    const MOST: usize = 10;
    let lines: Vec<String> = names
        .iter()
        .take(MOST)
        .map(|name| format!("{command} {name}"))
        .collect();
    lines.join("\n")
}

fn is_invited(accounts: &Accounts<'_>, person: &Person, service: &Service) -> bool {
    service.config.as_ref().is_some_and(|config| {
        let store = FileStore::new(config, accounts);
        let invite = store.invite_of(&person.account).ok().flatten();
        invite.is_some_and(|invite| accounts.now() < invite.expires)
    })
}

/// A login of somebody, as it is likely to come.
pub(crate) fn request<'a>(person: &'a Account, service: &'a str, nullok: bool) -> Request<'a> {
    let address = match service {
        // Of the addresses for documentation, which are in nobody's network.
        "sshd" => Address::named("203.0.113.1"),
        "login" => Address::named("tty:tty1"),
        _ => None,
    };
    Request {
        user: Some(&person.name),
        caller: Caller {
            service: service.to_owned(),
            is_sshd: Caller::is_sshd(service, None),
            address: address.unwrap_or(Address::Local),
            ssh_keys: Vec::new(),
            place: None,
        },
        options: Options {
            nullok,
            ..Options::default()
        },
    }
}

/// What a login of somebody will be asked for; `None` where that can't be told, which other findings are about.
fn next(accounts: &Accounts<'_>, person: &Person, service: &Service) -> Option<Next> {
    let config = service.config.as_ref()?;
    let request = request(&person.account, &service.name, service.nullok);
    let store = FileStore::new(config, accounts);
    let plan = plan(&request, Some(&person.account), config, &store, accounts);
    plan.ok().map(|plan| plan.next)
}

/// Programs that lock screens and aren't root can't read a secret.
fn locker(
    tree: &Tree<'_>,
    accounts: &Accounts<'_>,
    people: &[Person],
    service: &Service,
    findings: &mut Findings,
) {
    use std::os::unix::fs::PermissionsExt;
    const SETUID: u32 = 0o4000;
    let program = fs::metadata(tree.path("/usr/bin").join(&service.name));
    if program.is_ok_and(|about| about.permissions().mode() & SETUID != 0) {
        return;
    }
    let stranger = Person {
        account: Account {
            name: "somebody".to_owned(),
            uid: 1000,
        },
        has_password: true,
        home: None,
        is_admin: false,
    };
    let mut people: Vec<&Person> = people.iter().filter(|person| !person.is_root()).collect();
    if people.is_empty() {
        people.push(&stranger);
    }
    let is_exempt =
        |person: &&Person| next(accounts, person, service) == Some(Next::Pass(Reason::Never));
    if service.config.is_none() || people.iter().all(is_exempt) {
        return;
    }
    findings.add(
        Finding::new(
            "not-root",
            format!(
                "{} asks for a code, and the program runs as its user, not as root.",
                service.name
            ),
            "It can't read secrets, so that nobody can unlock the screen.",
            format!(
                "[[policy.rule]]        # before all others\nservice = [\"{}\"]\nsecond_factor = \"never\"",
                service.name
            ),
        )
        .of(&service.name),
    );
}

/// Whether root, or somebody who becomes root, gets in anywhere.
pub(super) fn look_at_root(
    tree: &Tree<'_>,
    accounts: &Accounts<'_>,
    people: &[Person],
    services: &Services,
    root_by_ssh: RootBySsh,
    findings: &mut Findings,
) {
    // Where a configuration or a folder can't be used, nobody gets in before it is mended, and that is said already.
    let can_be_told = |service: &Service| {
        let mut roots = people.iter().filter(|person| person.is_root());
        roots.all(|root| next(accounts, root, service).is_some())
    };
    if services.asking.is_empty() || !services.asking.iter().all(can_be_told) {
        return;
    }
    let passes = |person: &Person, name: &str| {
        let Some(service) = services.named(name) else {
            return services.names.contains(name) && person.has_password;
        };
        let proof = person.has_password || !service.reach.has_proofs;
        let right = service.asks() && service.reach.lets_in;
        proof
            && match next(accounts, person, service) {
                Some(Next::Ask | Next::Enroll { by_password: true }) => right,
                Some(Next::Pass(_)) => service.reach.lets_exempt_in,
                Some(Next::Enroll { by_password: false }) => {
                    right && is_invited(accounts, person, service)
                }
                Some(Next::Deny) | None => false,
            }
    };
    let mut roots = people.iter().filter(|person| person.is_root());
    let gets_in = roots.any(|root| {
        passes(root, "login")
            || passes(root, "su")
            || match root_by_ssh {
                RootBySsh::Asked => passes(root, "sshd"),
                RootBySsh::Key => tree.path("/root/.ssh/authorized_keys").is_file(),
                RootBySsh::No => false,
            }
    });
    let becomes_root = people
        .iter()
        .any(|person| person.is_admin && !person.is_root() && passes(person, "sudo"));
    let has_people = !people.is_empty();
    if has_people && !gets_in && !becomes_root && !services.is_sudo_free {
        findings.add(Finding::new(
            "root-way-in",
            "root gets in nowhere: not enrolled or without a password where a code is needed, and nobody who is \
             enrolled may use sudo.",
            "Whatever goes wrong next can only be mended by booting in single-user mode.",
            "totpctl enroll root        # or leave /etc/pam.d/login without the module",
        ));
    }
}
