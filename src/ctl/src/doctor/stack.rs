//! The stacks of /etc/pam.d, read as libpam reads them.
//!
//! libpam flattens a service's file and all that it includes into one list a facility. What it can't understand it
//! doesn't leave out: such a line refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Tree;

/// What a line does with one code of its module.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    Bad,
    Die,
    Done,
    Ignore,
    Jump(usize),
    Ok,
    Reset,
}

/// libpam's codes, by their numbers.
pub(crate) const CODES: [&str; 32] = [
    "success",
    "open_err",
    "symbol_err",
    "service_err",
    "system_err",
    "buf_err",
    "perm_denied",
    "auth_err",
    "cred_insufficient",
    "authinfo_unavail",
    "user_unknown",
    "maxtries",
    "new_authtok_reqd",
    "acct_expired",
    "session_err",
    "cred_unavail",
    "cred_expired",
    "cred_err",
    "no_module_data",
    "conv_err",
    "authtok_err",
    "authtok_recover_err",
    "authtok_lock_busy",
    "authtok_disable_aging",
    "try_again",
    "ignore",
    "abort",
    "authtok_expired",
    "module_unknown",
    "bad_item",
    "conv_again",
    "incomplete",
];

/// A code of libpam's, by its place in [`CODES`].
pub(crate) type Code = usize;

pub(crate) const SUCCESS: Code = 0;
pub(crate) const SERVICE_ERR: Code = 3;
pub(crate) const PERM_DENIED: Code = 6;
pub(crate) const AUTH_ERR: Code = 7;
pub(crate) const NEW_AUTHTOK_REQD: Code = 12;
pub(crate) const IGNORE: Code = 25;
pub(crate) const ABORT: Code = 26;
pub(crate) const MODULE_UNKNOWN: Code = 28;

/// What a line does, by the code of its module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Control([Option<Action>; 32]);

impl Control {
    /// The action for a code.
    pub(crate) fn on(&self, code: Code) -> Action {
        self.0.get(code).copied().flatten().unwrap_or(Action::Bad)
    }

    const fn unset() -> Self {
        Self([None; 32])
    }

    /// Everything is a failure: what libpam makes of a control that it does not understand.
    pub(crate) const fn bad() -> Self {
        Self([Some(Action::Bad); 32])
    }

    fn set(&mut self, code: Code, action: Action) {
        if let Some(place) = self.0.get_mut(code) {
            *place = Some(action);
        }
    }

    fn set_rest(&mut self, action: Action) {
        for place in &mut self.0 {
            place.get_or_insert(action);
        }
    }

    fn word(word: &str) -> Option<Self> {
        let (on_success, otherwise) = match word.to_ascii_lowercase().as_str() {
            "required" => (Action::Ok, Action::Bad),
            "requisite" => (Action::Ok, Action::Die),
            "optional" => (Action::Ok, Action::Ignore),
            "sufficient" => (Action::Done, Action::Ignore),
            _ => return None,
        };
        let mut control = Self::unset();
        control.set(SUCCESS, on_success);
        control.set(NEW_AUTHTOK_REQD, on_success);
        control.set(IGNORE, Action::Ignore);
        control.set_rest(otherwise);
        Some(control)
    }

    /// Pairs of a code and an action. `None` where libpam gives up on them, and has the line fail.
    fn pairs(text: &str) -> Option<Self> {
        let mut control = Self::unset();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (code, after) = match CODES.iter().position(|code| rest.starts_with(code)) {
                Some(code) => (Some(code), rest.get(CODES.get(code)?.len()..)?),
                None => (None, rest.strip_prefix("default")?),
            };
            let after = after.trim_start().strip_prefix('=')?.trim_start();
            let (action, after) = action(after)?;
            match code {
                Some(code) => control.set(code, action),
                None => control.set_rest(action),
            }
            rest = after.trim_start();
        }
        control.set_rest(Action::Bad);
        Some(control)
    }
}

fn action(text: &str) -> Option<(Action, &str)> {
    for (word, action) in [
        ("ignore", Action::Ignore),
        ("ok", Action::Ok),
        ("done", Action::Done),
        ("bad", Action::Bad),
        ("die", Action::Die),
        ("reset", Action::Reset),
    ] {
        if let Some(rest) = text.strip_prefix(word) {
            return Some((action, rest));
        }
    }
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (number, rest) = text.split_at(end.unwrap_or(text.len()));
    let lines = number.parse().ok().filter(|lines| *lines != 0)?;
    Some((Action::Jump(lines), rest))
}

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
    /// The control as it is written.
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
/// The longest line of libpam before 1.6, in bytes.
const LONGEST: usize = 1023;
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
            stack.is_refused = !self.read(&path, facility, None, (0, 0), &mut stack);
        }
        stack
    }

    /// Appends the lines of a file; `false` where libpam gives it up. `wanted` is the facility that the list is of, `only`
    /// the one that an including line takes.
    fn read(
        &self,
        path: &Path,
        wanted: &str,
        only: Option<&str>,
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
            let mut words = tokens(&line);
            let first = words.next().unwrap_or_default();
            let name = first.strip_prefix('-').unwrap_or(&first);
            let includes_all = name.eq_ignore_ascii_case("@include");
            let facility = ["auth", "account", "session", "password"];
            let known = facility.iter().find(|one| one.eq_ignore_ascii_case(name));
            // A type that libpam doesn't know counts as that of the including line, or as auth.
            let facility = match known {
                Some(known) => known,
                None if includes_all => only.unwrap_or(wanted),
                None => only.unwrap_or("auth"),
            };
            if wanted != facility || only.is_some_and(|only| only != facility) {
                continue;
            }
            let is_known = known.is_some() || includes_all;
            if !is_known {
                let what = format!("{first:?} is no type of line");
                stack.faults.push(fault(number, what));
            }
            let control_text = match includes_all {
                true => "include".to_owned(),
                false => words.next().unwrap_or_default(),
            };
            let is_substack = control_text.eq_ignore_ascii_case("substack");
            let is_include = is_substack || control_text.eq_ignore_ascii_case("include");
            let control = match is_include {
                true => Some(Control::bad()),
                false => Control::word(&control_text).or_else(|| Control::pairs(&control_text)),
            };
            if control.is_none() {
                let what = format!("{control_text:?} is no control");
                stack.faults.push(fault(number, what));
            }
            let line = |kind| Line {
                file: path.to_owned(),
                number,
                level,
                kind,
                control: control.clone().unwrap_or(Control::bad()),
                control_text: control_text.clone(),
            };
            let Some(target) = words.next() else {
                let what = match is_include {
                    true => "the line names no file to include",
                    false => "the line names no module",
                };
                stack.faults.push(fault(number, what.to_owned()));
                stack.lines.push(line(Kind::Broken));
                continue;
            };
            if !is_include {
                let arguments = words.collect();
                let path = target;
                stack.lines.push(line(match is_known {
                    true => Kind::Module { path, arguments },
                    false => Kind::Broken,
                }));
                continue;
            }
            if is_substack {
                stack.lines.push(line(Kind::Substack));
            }
            let included = self.file(&target);
            let inside = (
                depth.saturating_add(1),
                level.saturating_add(usize::from(is_substack)),
            );
            let only = match includes_all {
                true => only,
                false => Some(facility),
            };
            let is_there = included.is_file();
            let is_read = is_there && self.read(&included, wanted, only, inside, stack);
            if !is_there {
                let what = format!("{} is not there", included.display());
                stack.faults.push(fault(number, what));
            }
            stack.included.insert(included);
            if !is_read {
                // Of all facilities at once libpam can't make a line that fails.
                is_given_up |= only.is_none();
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

/// What libpam takes for something else than people do, or one libpam than another: line numbers, and what is there.
fn unlike_what_it_seems(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<(usize, &str)> = (1..).zip(text.split('\n')).collect();
    let long = lines.iter().filter(|(_, line)| line.len() > LONGEST);
    let long = long.map(|(number, _)| {
        let what = format!(
            "the line has more than {LONGEST} bytes, and libpam before 1.6 takes the rest for another"
        );
        (*number, what)
    });
    let mut dos = lines
        .iter()
        .filter(|(_, line)| line.ends_with('\r') && !is_nothing(line));
    let dos = dos.next().map(|(number, _)| {
        let what = "lines end in carriage returns, as on DOS, which libpam takes for a part of the last word";
        (*number, what.to_owned())
    });
    let interrupted = lines.windows(2).filter_map(|pair| match pair {
        // What comes after the last newline is no line.
        [(_, line), (number, next)]
            if !line.contains('#')
                && before_backslash(line).is_some()
                && is_nothing(next)
                && *number < lines.len() =>
        {
            let what = "nothing stands here, or a comment, and the line before goes on: libpam before 1.6.1 skips this, \
                        later ones end the line";
            Some((*number, what.to_owned()))
        }
        _ => None,
    });
    long.chain(dos).chain(interrupted).collect()
}

const BLANKS: [char; 2] = [' ', '\t'];

/// Whether a line is empty or a comment.
fn is_nothing(line: &str) -> bool {
    let line = line.trim_start_matches(BLANKS);
    line.is_empty() || line.starts_with('#')
}

/// What the next line continues.
fn before_backslash(line: &str) -> Option<&str> {
    line.trim_end_matches(BLANKS).strip_suffix('\\')
}

/// The lines as libpam sees them, with the number of the first of each: without comments and empty ones, and with what
/// a backslash continues. `false` where the file ends in the middle of one.
fn assembled(text: &str) -> (Vec<(usize, String)>, bool) {
    let mut lines = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (raw, number) in text.split('\n').zip(1..) {
        if is_nothing(raw) {
            continue;
        }
        let trimmed = raw.trim_start_matches(BLANKS);
        let (start, mut line) = begun.take().unwrap_or((number, String::new()));
        // What stands before a comment is never continued.
        let (part, is_continued) = match trimmed.split_once('#') {
            Some((part, _)) => (part, false),
            None => match before_backslash(trimmed) {
                Some(part) => (part, true),
                None => (trimmed, false),
            },
        };
        line.push_str(part);
        match is_continued {
            true => {
                line.push(' ');
                begun = Some((start, line));
            }
            false => lines.push((start, line)),
        }
    }
    (lines, begun.is_none())
}

/// Words between blanks; what is in brackets is one word, without them, and `\]` in it is a bracket.
fn tokens(line: &str) -> impl Iterator<Item = String> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', '\n']);
        if rest.is_empty() {
            return None;
        }
        let Some(inner) = rest.strip_prefix('[') else {
            let end = rest.find([' ', '\t', '\n']).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            return Some(word.to_owned());
        };
        let (mut word, mut left) = (String::new(), inner.chars());
        while let Some(letter) = left.next() {
            match letter {
                ']' => break,
                '\\' if left.as_str().starts_with(']') => {
                    word.push(']');
                    left.next();
                }
                letter => word.push(letter),
            }
        }
        rest = left.as_str();
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(text: &str) -> Control {
        Control::word(text)
            .or_else(|| Control::pairs(text))
            .unwrap()
    }

    #[test]
    fn controls_are_words_or_pairs() {
        for (text, code, action) in [
            ("required", "success", Action::Ok),
            ("REQUIRED", "ignore", Action::Ignore),
            ("required", "auth_err", Action::Bad),
            ("requisite", "auth_err", Action::Die),
            ("sufficient", "success", Action::Done),
            ("sufficient", "new_authtok_reqd", Action::Done),
            ("optional", "abort", Action::Ignore),
            ("success=2 default=ignore", "success", Action::Jump(2)),
            ("success=2 default=ignore", "maxtries", Action::Ignore),
            ("success = ok", "auth_err", Action::Bad),
            ("default=die success=ok", "success", Action::Ok),
            ("success=okignore=reset", "ignore", Action::Reset),
        ] {
            let code = CODES.iter().position(|name| *name == code).unwrap();
            assert_eq!(control(text).on(code), action, "{text}");
        }
        for wrong in [
            "sucess=ok",
            "success",
            "success=0",
            "success=-1",
            "success=yes",
        ] {
            assert_eq!(Control::pairs(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lines_are_joined_and_comments_dropped() {
        let text = "# a \\\nauth required \\\n  # between\n x.so y # z \\\n\n  -auth a b";
        let (lines, is_whole) = assembled(text);
        assert!(is_whole);
        assert_eq!(
            lines,
            [
                (2, "auth required  x.so y ".to_owned()),
                (6, "-auth a b".to_owned())
            ]
        );
        assert!(!assembled("auth required x.so \\").1);
    }

    #[test]
    fn brackets_hold_a_word() {
        let words: Vec<String> = tokens("a [b=c d\\]]  [prompt=x y] z").collect();
        assert_eq!(words, ["a", "b=c d]", "prompt=x y", "z"]);
    }
}
