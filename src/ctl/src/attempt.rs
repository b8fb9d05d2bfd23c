//! `totpctl try`: runs the real stack of a service once, and says step by step what happens to the login.

use std::cell::RefCell;

use serde_json::{Value, json};
use totp_core::doors::{Conversation, Echo};
use totp_host::pam::{Code, Item, Message, Reply, Transaction};
use zeroize::Zeroizing;

use crate::cli::Try;
use crate::context::Context;
use crate::failure::Failure;
use crate::terminal::Terminal;

pub(crate) fn run(context: &Context, arguments: &Try) -> Result<(), Failure> {
    let Try {
        service,
        user,
        rhost,
        tty,
    } = arguments;
    if totp_host::account::real_uid() != 0 {
        return Err(Failure::unreachable(
            "only root can run a stack as the services do: run totpctl as root",
        ));
    }
    refuse_strange_stack(service)?;
    let terminal = RefCell::new(Terminal::new(context.json));
    let steps = RefCell::new(Vec::new());
    let say = |line: &str| terminal.borrow_mut().tell(line);
    say(&format!(
        "{service} for {user}. Nobody is logged in by this, but wrong answers count, and\na right code is used up."
    ));
    let mut answer = |message: Message<'_>| answered(message, &terminal, &steps);
    let mut transaction =
        Transaction::start(service, user, &mut answer).map_err(Failure::unreachable)?;
    let items = [
        (Item::Rhost, rhost.as_deref()),
        (Item::Tty, tty.as_deref()),
        // sudo says who asks, and counts by it.
        (
            Item::Ruser,
            Some(user.as_str()).filter(|_| service.starts_with("sudo")),
        ),
    ];
    for (item, value) in items {
        if let Some(value) = value {
            transaction.set(item, value).map_err(Failure::unreachable)?;
        }
    }
    let authenticated = transaction.authenticate(0);
    say(&format!("auth: {authenticated}"));
    let account = (authenticated == Code::SUCCESS).then(|| transaction.account(0));
    if let Some(account) = account {
        say(&format!("account: {account}"));
    }
    drop(transaction);

    let is_in = authenticated == Code::SUCCESS && account == Some(Code::SUCCESS);
    let text = match is_in {
        true => format!("{user} would be let in by {service}."),
        false => format!(
            "{user} would NOT be let in by {service}. The log says which module refused, and\n\
             why: journalctl -t totpctl, or grep pam_ /var/log/auth.log."
        ),
    };
    let document = json!({
        "user": user,
        "service": service,
        "steps": steps.into_inner(),
        "auth": { "code": authenticated.0, "text": authenticated.to_string() },
        "account": account.map(|code| json!({ "code": code.0, "text": code.to_string() })),
        "let_in": is_in,
    });
    context.print(&text, &document);
    match is_in {
        true => Ok(()),
        false => Err(Failure::answered_no()),
    }
}

/// Shows a message of the stack, and types for it.
fn answered(
    message: Message<'_>,
    terminal: &RefCell<Terminal>,
    steps: &RefCell<Vec<Value>>,
) -> Option<Reply> {
    let mut terminal = terminal.borrow_mut();
    let (kind, text) = match message {
        Message::AskHidden(text) => ("asks, hidden", text),
        Message::Ask(text) => ("asks", text),
        Message::Error(text) => ("error", text),
        Message::Info(text) => ("info", text),
    };
    steps
        .borrow_mut()
        .push(json!({ "kind": kind, "text": text.trim() }));
    let echo = match message {
        Message::AskHidden(_) => Echo::Off,
        Message::Ask(_) => Echo::On,
        Message::Error(_) | Message::Info(_) => {
            terminal.tell(&format!("  {text}"));
            return Some(Reply::default());
        }
    };
    let answer = terminal.ask(&format!("  {text}"), echo).ok()?;
    Some(Zeroizing::new(answer.bytes().to_vec()))
}

/// Where there is no stack of that name libpam takes that of `other`, which is none of the service's.
fn refuse_strange_stack(service: &str) -> Result<(), Failure> {
    let is_plain = !service.is_empty() && !service.contains('/');
    let folders = ["/etc/pam.d", "/usr/lib/pam.d"];
    let is_there = folders
        .iter()
        .any(|folder| std::path::Path::new(folder).join(service).is_file());
    match is_plain && is_there {
        true => Ok(()),
        false => Err(Failure::refused(format_args!(
            "there is no stack of a service {service:?} in /etc/pam.d: name one that is there, such as sshd"
        ))),
    }
}
