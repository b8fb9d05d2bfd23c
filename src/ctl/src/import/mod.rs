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
    let mut done = Vec::new();
    if !arguments.dry_run {
        for newcomer in &newcomers {
            take_in(context, newcomer, arguments).map_err(|failure| cut_short(failure, &done))?;
            done.push(newcomer.account.name.as_str());
        }
    }
    report(context, arguments, &newcomers, &sources);
    Ok(())
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

/// The disk may be full, or the account have changed meanwhile.
fn cut_short(failure: Failure, done: &[&str]) -> Failure {
    match done {
        [] => failure,
        done => failure.after(format_args!("{} were imported before", done.join(", "))),
    }
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
