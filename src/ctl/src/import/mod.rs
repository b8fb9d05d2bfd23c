//! `totpctl import`: what people have in another second factor, taken over.
//!
//! First everything is read, looked up and compared, then everything is written: a problem anywhere means that nothing
//! has changed anywhere.

mod plan;
mod source;

use std::fmt::Write as _;

use serde_json::{Value, json};
use totp_core::event::Change;
use totp_import::Note;

use self::plan::Newcomer;
use self::source::Source;
use crate::cli::Import;
use crate::context::Context;
use crate::failure::Failure;

/// What is wrong, and where.
struct Obstacle {
    at: String,
    what: String,
}

pub(crate) fn run(context: &Context, arguments: &Import) -> Result<(), Failure> {
    let mut obstacles = Vec::new();
    let sources = source::read(context, arguments, &mut obstacles)?;
    let newcomers = plan::make(context, arguments, &sources, &mut obstacles)?;
    if !obstacles.is_empty() {
        return Err(refused(context, &obstacles));
    }
    if newcomers.is_empty() {
        return Err(Failure::refused("nothing to import: no file has a token"));
    }
    if !arguments.dry_run {
        take_all_in(context, &newcomers, arguments)?;
    }
    report(context, arguments, &newcomers, &sources);
    Ok(())
}

/// All or nobody: the disk may be full, or an account have changed meanwhile.
fn take_all_in(
    context: &Context,
    newcomers: &[Newcomer],
    arguments: &Import,
) -> Result<(), Failure> {
    for (index, newcomer) in newcomers.iter().enumerate() {
        if let Err(failure) = take_in(context, newcomer, arguments) {
            // Of the one that failed too: what could not be made durable may be there all the same.
            let done = newcomers.iter().take(index.saturating_add(1));
            let kept: Vec<_> = done.filter_map(|one| take_back(context, one)).collect();
            return Err(match kept.is_empty() {
                true => failure.after("nothing was imported"),
                false => failure.after(format_args!(
                    "the import of {} could not be taken back",
                    kept.join(", ")
                )),
            });
        }
    }
    Ok(())
}

/// The account's name, where it keeps what it got.
fn take_back<'n>(context: &Context, newcomer: &'n Newcomer) -> Option<&'n str> {
    let Newcomer {
        account, import, ..
    } = newcomer;
    match context.store().take_back(account, import) {
        Err(_) => return Some(&account.name),
        Ok(false) => return None,
        Ok(true) => {}
    }
    for added in &import.devices {
        let (name, why) = (&added.device.name, "the import of others failed");
        context.changed_because(Change::RemovedByForce, account, Some(name), why);
    }
    None
}

fn take_in(context: &Context, newcomer: &Newcomer, arguments: &Import) -> Result<(), Failure> {
    let Newcomer {
        account, import, ..
    } = newcomer;
    context.store().import(account, import)?;
    let format = totp_import::Format::from(arguments.format);
    for added in &import.devices {
        let name = &added.device.name;
        context.changed_because(
            Change::Imported,
            account,
            Some(name),
            format_args!("from {format}"),
        );
    }
    Ok(())
}

fn refused(context: &Context, obstacles: &[Obstacle]) -> Failure {
    let mut text = "nothing was imported".to_owned();
    for Obstacle { at, what } in obstacles {
        let _ = write!(text, "\n  {at}: {what}");
    }
    if context.json {
        let problems: Vec<_> = obstacles
            .iter()
            .map(|Obstacle { at, what }| json!({ "at": at, "problem": what }))
            .collect();
        context.print("", &json!({ "imported": false, "problems": problems }));
        return Failure::answered_no();
    }
    Failure::refused(text)
}

fn report(context: &Context, arguments: &Import, newcomers: &[Newcomer], sources: &[Source]) {
    let mut text = String::new();
    let mut users = Vec::new();
    for newcomer in newcomers {
        let name = &newcomer.account.name;
        let _ = writeln!(text, "{name}:");
        for line in newcomer.lines() {
            let _ = writeln!(text, "  {line}");
        }
        users.push(newcomer.document());
    }
    let mut notes = Vec::new();
    for source in sources {
        for note in &source.import.notes {
            let _ = writeln!(text, "{}: {note}", source.name);
            notes.push(note_document(source, note));
        }
    }
    let people = match newcomers.len() {
        1 => "1 account".to_owned(),
        many => format!("{many} accounts"),
    };
    text.push_str(&match arguments.dry_run {
        true => format!("Nothing was changed: {people} would be imported."),
        false => format!(
            "{people} imported. Try a login before the other module goes; then remove the files it read: \
             they hold the keys."
        ),
    });
    let imported = !arguments.dry_run;
    let document = json!({ "imported": imported, "users": users, "notes": notes });
    context.print(&text, &document);
}

fn note_document(source: &Source, note: &Note) -> Value {
    let fate = note.remark.fate();
    json!({
        "file": source.name,
        "at": note.at.to_string(),
        "fate": fate.to_string(),
        "note": note.remark.to_string(),
    })
}
