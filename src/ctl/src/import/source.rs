//! What is to be imported, read: files, standard input, homes.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use totp_core::doors::{Account, Conversation, Echo};
use totp_host::clock::utc_offsets;
use totp_host::file::Others;
use totp_host::home::{self, Home};
use totp_import::{Fault, Format, Import, Key, Lock, Moment, Note, Person, Place, Problem, Remark};
use zeroize::Zeroizing;

use super::Obstacle;
use crate::cli::{Import as Arguments, ImportFormat};
use crate::context::Context;
use crate::failure::Failure;
use crate::terminal::{Terminal, read_line};

/// A file that was read whole.
pub(super) struct Source {
    /// As messages call it.
    pub(super) name: String,
    /// Whose it is, where that is known of the file itself.
    pub(super) owner: Option<Account>,
    pub(super) import: Import,
}

/// All of them; what is wrong with any is an obstacle.
pub(super) fn read(
    context: &Context,
    arguments: &Arguments,
    obstacles: &mut Vec<Obstacle>,
) -> Result<Vec<Source>, Failure> {
    let now = context.system().now();
    let reader = Reader {
        format: arguments.format.into(),
        key: key(arguments)?,
        moment: Moment {
            now,
            utc_offsets: utc_offsets(now),
            window: context.config.verify.window,
        },
    };
    if arguments.all_homes {
        if arguments.format != ImportFormat::Google {
            return Err(Failure::usage(
                "--all-homes is for --format google: no other format keeps files in homes",
            ));
        }
        return reader.homes(&arguments.files, obstacles);
    }
    let owner = arguments.user.as_deref().map(|user| context.account(user));
    let owner = owner.transpose()?;
    let mut sources = Vec::new();
    for path in &arguments.files {
        let (name, bytes) = match path == Path::new("-") {
            true => ("standard input".to_owned(), reader.standard_input()?),
            false => (
                path.display().to_string(),
                reader.file(path, owner.as_ref())?,
            ),
        };
        sources.extend(reader.source(name, owner.clone(), &bytes, obstacles)?);
    }
    Ok(sources)
}

struct Reader {
    format: Format,
    key: Option<Key>,
    moment: Moment,
}

impl Reader {
    fn file(&self, path: &Path, owner: Option<&Account>) -> Result<Zeroizing<Vec<u8>>, Failure> {
        home::read_file(path, owner, self.format.max_bytes()).map_err(Failure::unreachable)
    }

    fn standard_input(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let max = self.format.max_bytes().saturating_add(1);
        let mut bytes = Zeroizing::new(Vec::with_capacity(max));
        let mut limited = io::stdin().lock().take(max as u64);
        let read = limited.read_to_end(&mut bytes);
        read.map_err(|error| Failure::unreachable(format_args!("standard input: {error}")))?;
        Ok(bytes)
    }

    /// `None` with its problems where it is refused.
    fn source(
        &self,
        name: String,
        owner: Option<Account>,
        bytes: &[u8],
        obstacles: &mut Vec<Obstacle>,
    ) -> Result<Option<Source>, Failure> {
        let read = |key| totp_import::read(self.format, bytes, key, &self.moment);
        let read = match read(self.key.as_ref()) {
            Err(problems) if asks_for_phrase(&problems) && can_ask(&name) => {
                read(Some(&asked_for_phrase(&name)?))
            }
            read => read,
        };
        Ok(match read {
            Ok(import) => Some(Source {
                name,
                import: of_owner(import, owner.as_ref()),
                owner,
            }),
            Err(problems) => {
                obstacles.extend(problems.iter().map(|problem| Obstacle {
                    at: format!("{name}: {}", problem.at),
                    what: problem.fault.to_string(),
                }));
                None
            }
        })
    }

    /// Each path is a home or a folder of homes.
    fn homes(
        &self,
        paths: &[PathBuf],
        obstacles: &mut Vec<Obstacle>,
    ) -> Result<Vec<Source>, Failure> {
        let mut sources = Vec::new();
        let mut seen = BTreeSet::new();
        for path in paths {
            if seen.insert(path.clone()) && !self.home(path, &mut sources, obstacles)? {
                for below in entries(path)? {
                    if seen.insert(below.clone()) {
                        self.home(&below, &mut sources, obstacles)?;
                    }
                }
            }
        }
        Ok(sources)
    }

    /// Whether it is a home. It is closed again at once: there are more than a process may hold open.
    fn home(
        &self,
        path: &Path,
        sources: &mut Vec<Source>,
        obstacles: &mut Vec<Obstacle>,
    ) -> Result<bool, Failure> {
        let Some(home) = Home::at(path).map_err(Failure::unreachable)? else {
            sources.extend(stray_in(path));
            return Ok(false);
        };
        match home.read(NAME, self.format.max_bytes()) {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                let name = home.path_of(NAME).display().to_string();
                sources.extend(self.source(name, Some(home.account), &bytes, obstacles)?);
            }
            Err(error) => obstacles.push(Obstacle {
                at: home.account.name,
                what: error.to_string(),
            }),
        }
        Ok(true)
    }
}

/// What a file says of one account alone, where it says whose things are, and what is noted of those.
fn of_owner(mut import: Import, owner: Option<&Account>) -> Import {
    let Some(owner) = owner else {
        return import;
    };
    let is_theirs = |person: &Person| person.user.as_ref().is_none_or(|user| *user == owner.name);
    let (kept, left): (Vec<_>, Vec<_>) = import.people.into_iter().partition(is_theirs);
    let is_left = |note: &Note| {
        let mut tokens = left.iter().flat_map(|person| &person.tokens);
        tokens.any(|token| token.at == note.at)
    };
    import.notes.retain(|note| !is_left(note));
    import.people = kept;
    import
}

/// What google-authenticator calls its file.
const NAME: &str = ".google_authenticator";

/// A file like those of homes in a folder that is none: it is not read, but told.
fn stray_in(folder: &Path) -> Option<Source> {
    let status = folder.symlink_metadata().ok()?;
    let file = folder.join(NAME);
    let is_there = status.is_dir() && file.symlink_metadata().is_ok();
    is_there.then(|| Source {
        name: file.display().to_string(),
        owner: None,
        import: Import {
            people: Vec::new(),
            notes: vec![Note {
                at: Place::File,
                remark: Remark::NoHome,
            }],
        },
    })
}

/// What is in a folder, in the order of the names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure::unreachable(format_args!("{}: {error}", folder.display()));
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let entries = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut entries = entries.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    entries.sort();
    Ok(entries)
}

/// What opens a container, as the command line has it.
fn key(arguments: &Arguments) -> Result<Option<Key>, Failure> {
    if let Some(path) = &arguments.key_file {
        let line = first_line(path)?;
        let text = std::str::from_utf8(&line).unwrap_or_default();
        let key = totp_import::from_hex(text.trim()).ok_or_else(|| {
            let what = "the first line is no key in hexadecimal";
            Failure::refused(format_args!("{}: {what}", path.display()))
        })?;
        return Ok(Some(Key::PreShared(key)));
    }
    let Some(path) = &arguments.passphrase_file else {
        return Ok(None);
    };
    first_line(path).map(|phrase| Some(Key::PassPhrase(phrase)))
}

fn first_line(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let bytes = totp_host::file::read(path, Others::None, 4096).map_err(Failure::unreachable)?;
    let line = read_line(&mut bytes.as_slice());
    let line =
        line.map_err(|error| Failure::refused(format_args!("{}: {error}", path.display())))?;
    Ok(line.unwrap_or_default())
}

fn asks_for_phrase(problems: &[Problem]) -> bool {
    let wanted = Fault::Locked(Lock::PassPhrase);
    problems.iter().any(|problem| problem.fault == wanted)
}

fn can_ask(name: &str) -> bool {
    name != "standard input" && io::stdin().is_terminal()
}

fn asked_for_phrase(name: &str) -> Result<Key, Failure> {
    let prompt = format!("Pass phrase of {name}: ");
    let answer = Terminal::new(false).ask(&prompt, Echo::Off);
    let answer = answer.map_err(|_| Failure::refused("no pass phrase was typed"))?;
    Ok(Key::PassPhrase(answer.bytes().to_vec().into()))
}
