//! sshd's configuration, as `sshd -T` tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use totp_core::policy::Unenrolled;

use super::Tree;
use super::entry::{By, Entry};
use super::finding::{Finding, Findings};
use super::keys::Keys;
use super::people::{Person, RootBySsh};
use super::services::{Service, Services};

/// Looks at sshd, where its stack has our module; tells how root gets in by it.
pub(crate) fn look(
    tree: &Tree<'_>,
    services: &Services,
    people: &[Person],
    findings: &mut Findings,
) -> RootBySsh {
    let Some(service) = services.named("sshd") else {
        return RootBySsh::Key;
    };
    let Some(program) = program() else {
        return RootBySsh::No;
    };
    let general = match settings(tree, &program, None) {
        Ok(settings) => settings,
        Err(complaint) => {
            unusable(tree, &complaint, findings);
            return RootBySsh::No;
        }
    };
    general.look(tree, service, None, findings);
    let mut root = None;
    for (person, own) in people.iter().zip(of_each(tree, &program, &general, people)) {
        if own != general {
            own.look(tree, service, Some(&person.account.name), findings);
        }
        if person.is_root() {
            root = Some((person, own));
        }
    }
    let place = match &root {
        Some((_, own)) => place(tree, "PermitRootLogin", *own != general),
        None => place(tree, "PermitRootLogin", false),
    };
    let (root, own) = root.map_or((None, general), |(root, own)| (Some(root), own));
    if let Some(finding) = own.look_at_root(tree, service, root) {
        findings.add(at(tree, place, finding));
    }
    own.root()
}

/// The settings for each of some people; the general ones where there are too many to ask for.
fn of_each(
    tree: &Tree<'_>,
    program: &Path,
    general: &Settings,
    people: &[Person],
) -> Vec<Settings> {
    // Each takes a few milliseconds.
    const MOST_PEOPLE: usize = 32;
    let own = |(number, person): (usize, &Person)| {
        let own =
            (number < MOST_PEOPLE).then(|| settings(tree, program, Some(&person.account.name)));
        own.and_then(Result::ok).unwrap_or_else(|| general.clone())
    };
    people.iter().enumerate().map(own).collect()
}

/// How each of some people gets in by sshd; by the stack, where sshd doesn't tell.
pub(super) fn entries(tree: &Tree<'_>, people: &[Person]) -> Vec<Entry> {
    let general = program().and_then(|program| {
        let settings = settings(tree, &program, None).ok();
        settings.map(|settings| (program, settings))
    });
    let Some((program, general)) = general else {
        return people.iter().map(|_| Entry::by_stack()).collect();
    };
    let own = of_each(tree, &program, &general, people);
    let entry = |(person, own): (&Person, Settings)| Entry {
        ways: own.open_to(person),
        has_key: match Keys::of(&own, tree, person) {
            Keys::In(_) => Some(true),
            Keys::None(_) => Some(false),
            Keys::Untold => None,
        },
    };
    people.iter().zip(own).map(entry).collect()
}

/// Whether this machine's sshd lets a user in who has no password; by default it does not.
pub(crate) fn permits_empty_passwords(user: &str) -> bool {
    let tree = Tree {
        root: Path::new("/"),
        changed: BTreeMap::new(),
    };
    let settings = program().map(|program| settings(&tree, &program, Some(user)));
    settings.is_some_and(|settings| {
        settings.is_ok_and(|settings| settings.is_on("permitemptypasswords"))
    })
}

/// The files in which sshd looks for somebody's keys, where none of them has one; `None` also where that can't be told.
pub(super) fn places_without_key(tree: &Tree<'_>, person: &Person) -> Option<String> {
    let settings = settings(tree, &program()?, Some(&person.account.name)).ok()?;
    match Keys::of(&settings, tree, person) {
        Keys::None(places) => Some(places),
        Keys::In(_) | Keys::Untold => None,
    }
}

fn program() -> Option<PathBuf> {
    let mut places = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"]
        .iter()
        .map(PathBuf::from);
    places.find(|path| path.is_file())
}

fn unusable(tree: &Tree<'_>, complaint: &str, findings: &mut Findings) {
    let file = tree.path(CONFIG);
    let is_about_the_rest = ["privilege separation", "hostkeys", "host key"]
        .iter()
        .any(|words| complaint.contains(words));
    let finding = match is_about_the_rest {
        true => Finding::new(
            "sshd-unchecked",
            format!("sshd does not tell its settings: {complaint}."),
            "Whether a key alone gets in is not known.",
            "mkdir -p /run/sshd && ssh-keygen -A && sshd -T",
        ),
        false => Finding::new(
            "sshd-invalid",
            format!("sshd does not accept its configuration: {complaint}."),
            "The running sshd goes on with the old one; after a restart nobody gets in by ssh.",
            "sshd -t        # says which line; correct it before a reload",
        ),
    };
    findings.add(finding.at(file, None).of("sshd"));
}

const CONFIG: &str = "/etc/ssh/sshd_config";

/// Asks sshd, for a user where there is one, from an address in nobody's network.
///
/// # Errors
/// What sshd complained about.
fn settings(tree: &Tree<'_>, program: &Path, user: Option<&str>) -> Result<Settings, String> {
    let mut command = Command::new(program);
    command.arg("-T").env_clear().stdin(Stdio::null());
    if let Some(user) = user {
        let of =
            format!("user={user},host=client.invalid,addr=203.0.113.1,laddr=192.0.2.1,lport=22");
        command.arg("-C").arg(of);
    }
    let output = match tree.is_this_machine() && tree.changed.is_empty() {
        true => command.output(),
        false => of_another(tree, command),
    };
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        return Err(lines.join("; "));
    }
    Ok(Settings::parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Has this machine's sshd tell the settings of another tree, or of files that aren't there yet. sshd would take what is included from this machine, so it
/// is given all in one.
fn of_another(tree: &Tree<'_>, mut command: Command) -> io::Result<Output> {
    command.args(["-f", "/proc/self/fd/0"]);
    for key in matching(tree, "ssh_host_*_key") {
        command.arg("-h").arg(key);
    }
    let mut text = Whole::default();
    whole(tree, &tree.path(CONFIG), 0, false, &mut text);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // An sshd that has complained reads no further.
        let _ = stdin.write_all([text.general, text.blocks].concat().as_bytes());
    }
    child.wait_with_output()
}

/// What a configuration says, with what it includes.
#[derive(Default)]
struct Whole {
    general: String,
    /// Blocks that begin with Match: they go before the rest wherever they stand, and end with their file.
    blocks: String,
}

fn whole(tree: &Tree<'_>, file: &Path, depth: usize, in_block: bool, text: &mut Whole) {
    let mut in_block = in_block;
    for line in tree.text(file).unwrap_or_default().lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        in_block |= first.eq_ignore_ascii_case("match");
        if first.eq_ignore_ascii_case("include") && depth < DEEPEST {
            for included in words.flat_map(|pattern| matching(tree, pattern)) {
                whole(tree, &included, depth.saturating_add(1), in_block, text);
            }
            continue;
        }
        let text = match in_block {
            true => &mut text.blocks,
            false => &mut text.general,
        };
        text.push_str(line);
        text.push('\n');
    }
}

/// Files include each other no deeper than anybody wants.
const DEEPEST: usize = 4;

/// What sshd tells, by the small-lettered keyword.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    fn parse(text: &str) -> Self {
        let mut settings: BTreeMap<String, String> = BTreeMap::new();
        for line in text.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            let known = settings.entry(key.to_ascii_lowercase()).or_default();
            if !known.is_empty() {
                known.push(' ');
            }
            known.push_str(value.trim());
        }
        Self(settings)
    }

    pub(super) fn value(&self, key: &str) -> &str {
        self.0.get(key).map(String::as_str).unwrap_or_default()
    }

    fn is_on(&self, key: &str) -> bool {
        self.value(key).eq_ignore_ascii_case("yes")
    }

    /// What root may do, by the name that the manual has: sshd tells it by that of before OpenSSH 7.0.
    fn permit_root(&self) -> &str {
        match self.value("permitrootlogin") {
            "without-password" => "prohibit-password",
            permit => permit,
        }
    }

    fn has_prompts(&self) -> bool {
        // The name before OpenSSH 8.7.
        self.is_on("kbdinteractiveauthentication") || self.is_on("challengeresponseauthentication")
    }

    /// The ways in: of each, the methods that it takes.
    fn ways(&self) -> Vec<BTreeSet<String>> {
        let methods = self.value("authenticationmethods");
        if !methods.is_empty() && methods != "any" {
            // `keyboard-interactive:pam` and the like.
            let name = |method: &str| method.split(':').next().unwrap_or_default().to_owned();
            return methods
                .split_whitespace()
                .map(|way| way.split(',').map(name).collect())
                .collect();
        }
        let mut ways = Vec::new();
        for (key, method) in [
            ("pubkeyauthentication", "publickey"),
            ("hostbasedauthentication", "hostbased"),
            ("gssapiauthentication", "gssapi-with-mic"),
            ("passwordauthentication", "password"),
        ] {
            if self.is_on(key) {
                ways.push(BTreeSet::from([method.to_owned()]));
            }
        }
        if self.has_prompts() {
            ways.push(BTreeSet::from(["keyboard-interactive".to_owned()]));
        }
        ways
    }

    /// The ways in that somebody may take: of each, all that it takes.
    fn open_to(&self, person: &Person) -> Vec<BTreeSet<By>> {
        let by = |method: &String| match method.as_str() {
            "publickey" => By::Key,
            "keyboard-interactive" | "password" => By::Answers,
            _ => By::Other,
        };
        let ways = self.ways().into_iter();
        let mut ways: Vec<BTreeSet<By>> = ways.map(|way| way.iter().map(by).collect()).collect();
        match self.permit_root() {
            _ if !person.is_root() => {}
            "yes" => {}
            "no" => ways.clear(),
            // sshd replaces what root types.
            _ => ways.retain(|way| !way.contains(&By::Answers)),
        }
        ways
    }

    fn root(&self) -> RootBySsh {
        match self.permit_root() {
            "yes" => RootBySsh::Asked,
            // sshd has root's answers refused then.
            "prohibit-password" => {
                let mut ways = self.ways().into_iter();
                match ways
                    .any(|way| !way.contains("keyboard-interactive") && !way.contains("password"))
                {
                    true => RootBySsh::Key,
                    false => RootBySsh::No,
                }
            }
            _ => RootBySsh::No,
        }
    }

    /// The line that leaves no way in but those that ask by the stack.
    fn asking(&self, service: &Service) -> String {
        const PROMPTS: &str = "keyboard-interactive:pam";
        let methods = match service.is_one_field {
            // It is for clients that know no prompts.
            true if !self.has_prompts() => vec!["password"],
            true if self.is_on("passwordauthentication") => vec!["password", PROMPTS],
            _ => vec![PROMPTS],
        };
        let before = match service.reach.has_proofs {
            true => "",
            false => "publickey,",
        };
        let ways = methods.iter().map(|method| format!(" {before}{method}"));
        format!("AuthenticationMethods{}", ways.collect::<String>())
    }

    fn look(
        &self,
        tree: &Tree<'_>,
        service: &Service,
        user: Option<&str>,
        findings: &mut Findings,
    ) {
        let whose = user.map_or(String::new(), |user| format!(" For {user}:"));
        let mut add = |key: &str, finding: Finding| {
            findings.add(at(tree, place(tree, key, user.is_some()), finding));
        };
        let fact = |text: String| format!("{whose} {text}").trim_start().to_owned();
        if !self.is_on("usepam") {
            add(
                "UsePAM",
                Finding::new(
                    "sshd-without-pam",
                    fact("UsePAM is no.".to_owned()),
                    "sshd checks passwords by itself and asks PAM nothing: everybody gets in without a code.",
                    "UsePAM yes",
                ),
            );
            return;
        }
        let ways = self.ways();
        // `password` asks the stack too, and fails there.
        let asks = |way: &BTreeSet<String>| {
            way.contains("keyboard-interactive") || way.contains("password")
        };
        let around: BTreeSet<String> = ways
            .iter()
            .filter(|way| !asks(way))
            .map(|way| way.iter().cloned().collect::<Vec<_>>().join(","))
            .collect();
        let mend = self.asking(service);
        if !around.is_empty() {
            let around: Vec<String> = around.into_iter().collect();
            let methods = match self.value("authenticationmethods") {
                "" | "any" => "not set".to_owned(),
                methods => format!("`{methods}`"),
            };
            add(
                "AuthenticationMethods",
                Finding::new(
                    "sshd-key-alone",
                    fact(format!(
                        "{} alone gets in: AuthenticationMethods is {methods}.",
                        around.join(" or ")
                    )),
                    "sshd checks keys by itself and asks PAM for nothing then: whoever has the key gets in without a code.",
                    &mend,
                ),
            );
        }
        if !service.reach.has_proofs && service.reach.code_alone {
            let alone = ways
                .iter()
                .any(|way| way.len() == 1 && way.contains("keyboard-interactive"));
            if alone {
                add(
                    "AuthenticationMethods",
                    Finding::new(
                        "code-alone",
                        fact("The stack asks for a code and no password, and sshd for no key beside it.".to_owned()),
                        "Whoever holds somebody's phone is that person.",
                        &mend,
                    ),
                );
            }
        }
        let by_password =
            self.is_on("passwordauthentication") && ways.iter().any(|way| way.contains("password"));
        let asks = self.has_prompts() || (service.is_one_field && by_password);
        if !asks {
            let (other, mend) = match service.is_one_field {
                true => (
                    ", nor is the method `password` offered",
                    format!("PasswordAuthentication yes\n{mend}"),
                ),
                false => ("", "KbdInteractiveAuthentication yes".to_owned()),
            };
            add(
                "KbdInteractiveAuthentication",
                Finding::new(
                    "sshd-no-prompt",
                    fact(format!("KbdInteractiveAuthentication is no{other}.")),
                    "A code can be asked for in no other way: nobody gets in who needs one.",
                    mend,
                ),
            );
        }
        if by_password && !service.is_one_field {
            add(
                "PasswordAuthentication",
                Finding::new(
                    "sshd-password",
                    fact("The method `password` is offered.".to_owned()),
                    "It has one answer, and the stack asks for two: clients that choose it are refused after the right password.",
                    format!("PasswordAuthentication no\n{mend}"),
                ),
            );
        }
        if user.is_none() {
            self.look_once(service, &mut add);
        }
    }

    fn look_once(&self, service: &Service, add: &mut impl FnMut(&str, Finding)) {
        const ENOUGH: u32 = 300;
        let enrolls = service
            .config
            .as_ref()
            .is_some_and(|config| config.policy.unenrolled == Unenrolled::Enroll);
        let grace = self.value("logingracetime").parse().unwrap_or(0);
        if enrolls && (1..ENOUGH).contains(&grace) {
            add(
                "LoginGraceTime",
                Finding::new(
                    "sshd-grace",
                    format!("LoginGraceTime is {grace} seconds, and people enroll at the login."),
                    "sshd hangs up while they still read, scan and type.",
                    format!("LoginGraceTime {ENOUGH}"),
                ),
            );
        }
    }

    /// Whether root, whose settings these are, is refused with a key that sshd knows, or with a code.
    fn look_at_root(
        &self,
        tree: &Tree<'_>,
        service: &Service,
        root: Option<&Person>,
    ) -> Option<Finding> {
        if !self.is_on("usepam") {
            return None;
        }
        let permit = self.permit_root();
        let key = root.and_then(|root| match Keys::of(self, tree, root) {
            Keys::In(file) => Some((root, file.display().to_string())),
            Keys::None(_) | Keys::Untold => None,
        });
        if let Some((root, file)) = key.filter(|_| permit != "no") {
            let entry = Entry {
                ways: self.open_to(root),
                has_key: Some(true),
            };
            let has_all = root.has_password || !service.reach.has_proofs;
            let lacks = match entry.takes_answers() {
                _ if entry.opens(has_all, true) => None,
                false => Some((
                    format!("PermitRootLogin is {permit}"),
                    "sshd replaces what root types to it",
                    "PermitRootLogin yes",
                )),
                true => Some((
                    "no password".to_owned(),
                    "the stack asks for a password too",
                    "passwd root",
                )),
            };
            if let Some((fact, meaning, mend)) = lacks {
                return Some(Finding::new(
                    "sshd-root-key",
                    format!("root has a key ({file}), and {fact}."),
                    format!(
                        "The key alone gets in no more, and {meaning}: root is refused by ssh."
                    ),
                    format!(
                        "{mend}        # then root gets in with a code: totpctl enroll root\n\
                         PermitRootLogin no         # where root is not to log in by ssh"
                    ),
                ));
            }
        }
        (permit == "prohibit-password").then(|| {
            Finding::new(
                "sshd-root",
                format!("PermitRootLogin is {permit}."),
                "sshd replaces what root types, so that root's right code is refused by ssh.",
                "PermitRootLogin yes        # where root is to log in by ssh with a code",
            )
        })
    }
}

/// A finding about sshd, where its keyword stands, or the keywords that it has not.
fn at(tree: &Tree<'_>, place: Option<(PathBuf, usize)>, finding: Finding) -> Finding {
    let finding = match place {
        Some((file, line)) => finding.at(file, Some(line)),
        None => finding.at(tree.path(CONFIG), None),
    };
    finding.of("sshd")
}

/// Where a keyword stands: its first line, which is the one that counts; the last one where a Match block is meant.
fn place(tree: &Tree<'_>, key: &str, is_last: bool) -> Option<(PathBuf, usize)> {
    let mut places = Vec::new();
    places_in(tree, &tree.path(CONFIG), key, 0, &mut places);
    match is_last {
        true => places.pop(),
        false => places.into_iter().next(),
    }
}

fn places_in(
    tree: &Tree<'_>,
    file: &Path,
    key: &str,
    depth: usize,
    places: &mut Vec<(PathBuf, usize)>,
) {
    let Ok(text) = tree.text(file) else {
        return;
    };
    for (index, line) in text.lines().enumerate() {
        let mut words = line
            .split(|c: char| c.is_whitespace() || c == '=')
            .filter(|word| !word.is_empty());
        let Some(word) = words.next() else {
            continue;
        };
        if word.eq_ignore_ascii_case(key) {
            places.push((file.to_owned(), index.saturating_add(1)));
        }
        if word.eq_ignore_ascii_case("include") && depth < DEEPEST {
            for pattern in words {
                for included in matching(tree, pattern) {
                    places_in(tree, &included, key, depth.saturating_add(1), places);
                }
            }
        }
    }
}

/// The files that a pattern of an Include line names: in one folder, with one star at most.
fn matching(tree: &Tree<'_>, pattern: &str) -> Vec<PathBuf> {
    let path = tree.path(Path::new("/etc/ssh").join(pattern));
    let (Some(folder), Some(name)) = (
        path.parent(),
        path.file_name().and_then(|name| name.to_str()),
    ) else {
        return Vec::new();
    };
    let Some((start, end)) = name.split_once('*') else {
        return vec![path];
    };
    let present = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    let coming = tree.changed.keys().cloned();
    let files: BTreeSet<PathBuf> = present
        .chain(coming.filter(|path| path.parent() == Some(folder)))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(start) && name.ends_with(end)
        })
        .collect();
    files.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_in_are_sets_of_methods() {
        let ways = |text: &str| {
            let settings = Settings::parse(text);
            let ways = settings.ways().into_iter();
            ways.map(|way| way.into_iter().collect::<Vec<_>>().join(","))
                .collect::<Vec<_>>()
        };
        let all = "pubkeyauthentication yes\npasswordauthentication no\nkbdinteractiveauthentication yes\n";
        assert_eq!(ways(all), ["publickey", "keyboard-interactive"]);
        assert_eq!(ways(&format!("{all}authenticationmethods any")), ways(all));
        assert_eq!(
            ways(&format!(
                "{all}authenticationmethods publickey,keyboard-interactive:pam publickey"
            )),
            ["keyboard-interactive,publickey", "publickey"]
        );
    }

    #[test]
    fn root_gets_in_by_a_key_where_no_way_asks_it_for_more() {
        let root = |text: &str| Settings::parse(text).root();
        let key = "pubkeyauthentication yes\npermitrootlogin without-password\n";
        assert_eq!(root(key), RootBySsh::Key);
        let both = format!("{key}authenticationmethods publickey,keyboard-interactive");
        assert_eq!(root(&both), RootBySsh::No);
        assert_eq!(root("permitrootlogin yes"), RootBySsh::Asked);
        assert_eq!(root("permitrootlogin no"), RootBySsh::No);
    }
}
