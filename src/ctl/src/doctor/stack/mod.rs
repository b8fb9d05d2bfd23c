//! The stacks of /etc/pam.d, read as libpam reads them.
//!
//! libpam flattens a service's file and all that it includes into one list a facility. What it can't understand it
//! doesn't leave out: such a line refuses.

mod control;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use self::control::{
    ABORT, AUTH_ERR, Action, CODES, Code, Control, IGNORE, MODULE_UNKNOWN, NEW_AUTHTOK_REQD,
    PERM_DENIED, SERVICE_ERR, SUCCESS,
};
use self::text::{assembled, tokens, unlike_what_it_seems};
use super::Tree;

/// One entry of libpam's list.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Where it stands.
    pub(crate) file: PathBuf,
    pub(crate) number: usize,
    /// How many substacks are around it.
    pub(crate) level: usize,
    pub(crate) kind: Kind,
    pub(crate) control: Control,
    /// The control as it is written; `include` for an `@include`, which has none.
    pub(crate) control_text: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// libpam has this line refuse.
    Broken,
    Module {
        path: String,
        arguments: Vec<String>,
    },
    /// The entry that goes before the lines of a substack.
    Substack,
}

impl Line {
    /// The file name of the module.
    pub(crate) fn module(&self) -> &str {
        match &self.kind {
            Kind::Module { path, .. } => {
                let name = path.rsplit('/').next().unwrap_or_default();
                name.trim_end_matches('\r')
            }
            Kind::Broken | Kind::Substack => "",
        }
    }

    /// A carriage return belongs to the name, and no file is called so.
    pub(crate) fn is_misnamed(&self) -> bool {
        matches!(&self.kind, Kind::Module { path, .. } if path.ends_with('\r'))
    }

    pub(crate) fn arguments(&self) -> &[String] {
        match &self.kind {
            Kind::Module { arguments, .. } => arguments,
            Kind::Broken | Kind::Substack => &[],
        }
    }

    /// Whether the module is ours, under the name that it is built or installed by.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.module(), "pam_totp.so" | "libpam_totp.so")
    }
}

/// The list of one facility of one service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stack {
    pub(crate) lines: Vec<Line>,
    /// What libpam can't read or understand in it.
    pub(crate) faults: Vec<Fault>,
    /// libpam gives up on the service as a whole.
    pub(crate) is_refused: bool,
    /// The files that it was read from, by inclusion, without the service's own.
    pub(crate) included: BTreeSet<PathBuf>,
}

/// Something that libpam can't read or understand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) what: String,
}

/// Where stacks are.
pub(crate) struct Folders {
    root: PathBuf,
    /// What files are about to hold.
    changed: BTreeMap<PathBuf, String>,
}

/// As libpam has it: the first folder that has the file.
const FOLDERS: [&str; 2] = ["etc/pam.d", "usr/lib/pam.d"];
/// libpam's PAM_SUBSTACK_MAX_LEVEL.
const DEEPEST: usize = 16;
/// Larger files are none that anybody wrote.
const LARGEST: u64 = 1 << 20;

impl Folders {
    /// Those below `root`.
    pub(crate) fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            changed: BTreeMap::new(),
        }
    }

    /// Those of a tree.
    pub(super) fn of(tree: &Tree<'_>) -> Self {
        Self {
            root: tree.root.to_owned(),
            changed: tree.changed.clone(),
        }
    }

    /// The names of all services that have a file.
    ///
    /// # Errors
    /// Where no folder can be read.
    pub(crate) fn services(&self) -> io::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        let (mut failure, mut is_read) = (None, false);
        for folder in FOLDERS {
            match fs::read_dir(self.root.join(folder)) {
                Ok(entries) => {
                    is_read = true;
                    let files = entries.filter_map(Result::ok);
                    let files = files.filter(|entry| entry.path().is_file());
                    names.extend(
                        files
                            .filter_map(|entry| entry.file_name().into_string().ok())
                            .filter(|name| is_service(name)),
                    );
                }
                Err(error) if failure.is_none() => failure = Some(error),
                Err(_) => {}
            }
        }
        match failure {
            Some(error) if !is_read => Err(error),
            _ => Ok(names),
        }
    }

    /// The file that libpam takes for a name; the first place to put one where there is none.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        if let Some(path) = name.strip_prefix('/') {
            return self.root.join(path);
        }
        let mut places = FOLDERS.iter().map(|at| self.root.join(at).join(name));
        places
            .find(|path| path.is_file())
            .unwrap_or_else(|| self.root.join("etc/pam.d").join(name))
    }

    /// The list of a service; that of `other` where its own file has none.
    pub(crate) fn stack(&self, service: &str, facility: &str) -> Stack {
        let mut own = self.own(service, facility);
        let other = self.own("other", facility);
        if own.lines.is_empty() && own.faults.is_empty() {
            return other;
        }
        // libpam reads it for every service.
        if other.is_refused {
            own.is_refused = true;
            own.faults.extend(other.faults);
        }
        own
    }

    /// The list of a file; none where there is no file.
    fn own(&self, name: &str, facility: &str) -> Stack {
        let mut stack = Stack::default();
        let path = self.file(name);
        if path.is_file() {
            stack.is_refused = !self.read(&path, (facility, false), (0, 0), &mut stack);
        }
        stack
    }

    /// Appends the lines of a file that are of the facility `wanted`; `false` where libpam gives the file up. `is_typed` says
    /// that the including line takes this facility alone.
    fn read(
        &self,
        path: &Path,
        (wanted, is_typed): (&str, bool),
        (depth, level): (usize, usize),
        stack: &mut Stack,
    ) -> bool {
        let fault = |line, what: String| Fault {
            file: path.to_owned(),
            line,
            what,
        };
        if depth >= DEEPEST {
            let what = format!("files include each other over {DEEPEST} levels");
            stack.faults.push(fault(1, what));
            return false;
        }
        let text = match self.changed.get(path) {
            Some(text) => Ok(text.clone()),
            None => read_text(path),
        };
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                stack.faults.push(fault(1, error.to_string()));
                return false;
            }
        };
        for (number, what) in unlike_what_it_seems(&text) {
            stack.faults.push(fault(number, what));
        }
        let (lines, is_whole) = assembled(&text);
        let mut is_given_up = !is_whole;
        for (number, line) in lines {
            let written = Written::of(&line);
            if !written.counts_for(wanted, is_typed) {
                continue;
            }
            for what in written.faults() {
                stack.faults.push(fault(number, what));
            }
            let line = |kind| Line {
                file: path.to_owned(),
                number,
                level,
                kind,
                control: written.control(),
                control_text: written.control_text.clone(),
            };
            let Some((name, is_substack)) = written.included() else {
                stack.lines.push(line(written.kind()));
                continue;
            };
            if is_substack {
                stack.lines.push(line(Kind::Substack));
            }
            let included = self.file(name);
            let inside = (
                depth.saturating_add(1),
                level.saturating_add(usize::from(is_substack)),
            );
            let is_typed = is_typed || !written.includes_all;
            let is_there = included.is_file();
            let is_read = is_there && self.read(&included, (wanted, is_typed), inside, stack);
            if !is_there {
                let what = format!("{} is not there", included.display());
                stack.faults.push(fault(number, what));
            }
            stack.included.insert(included);
            if !is_read {
                // Of all facilities at once libpam can't make a line that fails.
                is_given_up |= !is_typed;
                stack.lines.push(line(Kind::Broken));
            }
        }
        if !is_whole {
            let end = text.lines().count();
            let what = "its last line goes on, and there is no more".to_owned();
            stack.faults.push(fault(end, what));
        }
        !is_given_up
    }
}

/// A line, word by word.
struct Written {
    /// What stands in the place of the facility.
    first: String,
    /// The facility that it names, where it is one of libpam's.
    facility: Option<&'static str>,
    /// It is `@include`, which takes the lines of all facilities, and has no control.
    includes_all: bool,
    control_text: String,
    does: Does,
    /// The module, or the file to include.
    target: Option<String>,
    arguments: Vec<String>,
}

/// What a line does, by its control.
enum Does {
    Include {
        is_substack: bool,
    },
    /// `None` where libpam doesn't understand the control.
    Module(Option<Box<Control>>),
}

impl Written {
    fn of(line: &str) -> Self {
        let mut words = tokens(line);
        let first = words.next().unwrap_or_default();
        let name = first.strip_prefix('-').unwrap_or(&first);
        let mut facilities = ["auth", "account", "session", "password"].into_iter();
        let facility = facilities.find(|one| one.eq_ignore_ascii_case(name));
        let includes_all = name.eq_ignore_ascii_case("@include");
        let control_text = match includes_all {
            true => "include".to_owned(),
            false => words.next().unwrap_or_default(),
        };
        let does = match control_text.to_ascii_lowercase().as_str() {
            "include" => Does::Include { is_substack: false },
            "substack" => Does::Include { is_substack: true },
            _ => {
                let control = Control::word(&control_text);
                let control = control.or_else(|| Control::pairs(&control_text));
                Does::Module(control.map(Box::new))
            }
        };
        Self {
            first,
            facility,
            includes_all,
            control_text,
            does,
            target: words.next(),
            arguments: words.collect(),
        }
    }

    /// Whether the line is of the facility `wanted`. A type that libpam doesn't know counts as that of the including line, or as
    /// auth.
    fn counts_for(&self, wanted: &str, is_typed: bool) -> bool {
        match self.facility {
            Some(facility) => facility == wanted,
            None => self.includes_all || is_typed || wanted == "auth",
        }
    }

    fn is_known(&self) -> bool {
        self.facility.is_some() || self.includes_all
    }

    /// The file that it includes, and whether as a substack.
    fn included(&self) -> Option<(&str, bool)> {
        match (&self.does, &self.target) {
            (Does::Include { is_substack }, Some(name)) => Some((name, *is_substack)),
            _ => None,
        }
    }

    /// What libpam makes of a line that includes nothing.
    fn kind(&self) -> Kind {
        match (&self.does, &self.target) {
            (Does::Module(_), Some(path)) if self.is_known() => Kind::Module {
                path: path.clone(),
                arguments: self.arguments.clone(),
            },
            _ => Kind::Broken,
        }
    }

    /// An include needs one where its file can't be read: then the line fails.
    fn control(&self) -> Control {
        match &self.does {
            Does::Module(Some(control)) => (**control).clone(),
            Does::Module(None) | Does::Include { .. } => Control::bad(),
        }
    }

    /// What libpam can't understand of it.
    fn faults(&self) -> impl Iterator<Item = String> {
        let kind = (!self.is_known()).then(|| format!("{:?} is no type of line", self.first));
        let control = match self.does {
            Does::Module(None) => Some(format!("{:?} is no control", self.control_text)),
            Does::Module(Some(_)) | Does::Include { .. } => None,
        };
        let target = match (&self.target, &self.does) {
            (Some(_), _) => None,
            (None, Does::Include { .. }) => Some("the line names no file to include".to_owned()),
            (None, Does::Module(_)) => Some("the line names no module".to_owned()),
        };
        kind.into_iter().chain(control).chain(target)
    }
}

/// Not what editors and package managers leave behind; libpam turns names into small letters.
fn is_service(name: &str) -> bool {
    let left_over = [
        ".dpkg-new",
        ".dpkg-old",
        ".dpkg-dist",
        ".rpmnew",
        ".rpmsave",
        "~",
    ];
    !name.starts_with('.') && !left_over.iter().any(|end| name.ends_with(end))
}

fn read_text(path: &Path) -> io::Result<String> {
    let length = fs::metadata(path)?.len();
    if length > LARGEST {
        return Err(io::Error::other("it is too large"));
    }
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}
