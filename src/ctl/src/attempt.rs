//! `totpctl try`: runs the real stack of a service once, and says step by step what happens to the login.
//!
//! It ends before pam_setcred and pam_open_session, which are no questions but acts: they mount, register, write lastlog
//! and wtmp, and confirm that a place is trusted.

use std::fmt;

use serde_json::{Value, json};
use totp_core::doors::{Conversation, Echo};
use totp_host::pam::{Code, Item, Message, NO_EMPTY_PASSWORD, Reply, SILENT, Transaction};
use totp_host::{account, terminal};
use zeroize::Zeroizing;

use crate::cli::Try;
use crate::context::Context;
use crate::doctor::permits_empty_passwords;
use crate::failure::Failure;
use crate::terminal::Terminal;

pub(crate) fn run(context: &Context, arguments: &Try) -> Result<(), Failure> {
    let Try { service, user, .. } = arguments;
    if account::real_uid() != 0 {
        return Err(Failure::unreachable(
            "only root can run a stack as the services do: run totpctl as root",
        ));
    }
    refuse_strange_stack(service)?;
    let manner = Manner::of(arguments);
    let mut terminal = Terminal::new(context.json);
    terminal.tell(&format!(
        "{service} for {user}{manner}. Nobody is logged in by this,\n\
         but wrong answers count, and a right code is used up."
    ));
    let mut talk = Talk::new(context.json);
    let mut answer = |message: Message<'_>| talk.answer(message);
    let mut transaction =
        Transaction::start(service, user, &mut answer).map_err(Failure::unreachable)?;
    for (item, value) in manner.items() {
        transaction.set(item, value).map_err(Failure::unreachable)?;
    }
    if let Some(caller) = manner.real_user() {
        let caller = context.account(caller)?;
        account::become_real_user(&caller).map_err(Failure::unreachable)?;
    }
    let auth = transaction.authenticate(manner.flags);
    terminal.tell(&format!("auth: {auth}"));
    let account = (auth == Code::SUCCESS).then(|| transaction.account(manner.flags & SILENT));
    if let Some(account) = account {
        terminal.tell(&format!("account: {account}"));
    }
    drop(transaction);

    let root_alone = auth == Code::SUCCESS && !talk.has_asked && manner.is_roots_own();
    if root_alone {
        terminal.tell(
            "Nothing was asked, but it was root who ran this: --ruser NAME shows what others meet.",
        );
    }
    let needs_password = account == Some(Code::NEW_PASSWORD);
    let is_in = account == Some(Code::SUCCESS) || needs_password;
    let text = match is_in {
        true => format!(
            "{user} would be let in by {service}, as far as PAM goes{}. Not run, since they\n\
             leave traces: setcred and the session.",
            match needs_password {
                true => ", and have to choose a new password",
                false => "",
            }
        ),
        false => format!(
            "{user} would NOT be let in by {service}. The log says which module refused, and\n\
             why: journalctl -t totpctl, or grep pam_ /var/log/auth.log."
        ),
    };
    let document = json!({
        "user": user,
        "service": service,
        "rhost": manner.rhost,
        "tty": manner.tty,
        "ruser": manner.ruser,
        "steps": talk.steps,
        "auth": told(auth),
        "account": account.map(told),
        "let_in": is_in,
        "needs_new_password": needs_password,
        "root_alone": root_alone,
    });
    context.print(&text, &document);
    match is_in {
        true => Ok(()),
        false => Err(Failure::answered_no()),
    }
}

fn told(code: Code) -> Value {
    json!({ "code": code.0, "text": code.to_string() })
}

/// How a service calls libpam: what it says of the login, and who it runs as.
struct Manner {
    rhost: Option<String>,
    tty: Option<String>,
    ruser: Option<String>,
    flags: i32,
    /// Whether root runs it whoever logs in; others, like su, are setuid and run by people.
    is_daemon: bool,
}

impl Manner {
    /// As OpenSSH 9.2, sudo 1.9.13, util-linux 2.38 (su) and shadow 4.13 (login) do it; of others, what the command line
    /// says. tests/tests/attempt.rs compares.
    fn of(arguments: &Try) -> Self {
        let Try {
            service,
            user,
            rhost,
            tty,
            ruser,
        } = arguments;
        let said = Self {
            rhost: rhost.clone(),
            tty: tty.clone(),
            ruser: ruser.clone(),
            flags: 0,
            is_daemon: false,
        };
        let own_tty = || tty.clone().or_else(terminal::path);
        match service.as_str() {
            "login" => Self {
                tty: own_tty(),
                is_daemon: true,
                ..said
            },
            "sshd" => Self {
                rhost: said.rhost.or_else(|| Some("127.0.0.1".to_owned())),
                tty: said.tty.or_else(|| Some("ssh".to_owned())),
                flags: match permits_empty_passwords(user) {
                    true => 0,
                    false => NO_EMPTY_PASSWORD,
                },
                is_daemon: true,
                ..said
            },
            "su" | "su-l" => Self {
                tty: own_tty(),
                ruser: said.ruser.or_else(|| Some(ROOT.to_owned())),
                ..said
            },
            "sudo" | "sudo-i" => Self {
                tty: own_tty(),
                ruser: said.ruser.or_else(|| Some(user.clone())),
                flags: SILENT,
                ..said
            },
            _ => said,
        }
    }

    fn items(&self) -> impl Iterator<Item = (Item, &str)> {
        let items = [
            (Item::Rhost, &self.rhost),
            (Item::Tty, &self.tty),
            (Item::Ruser, &self.ruser),
        ];
        items
            .into_iter()
            .filter_map(|(item, value)| Some((item, value.as_deref()?)))
    }

    /// Whose process it would be, where it is not root's.
    fn real_user(&self) -> Option<&str> {
        let caller = self.ruser.as_deref().filter(|ruser| *ruser != ROOT);
        caller.filter(|_| !self.is_daemon)
    }

    /// Whether root runs what others run as well.
    fn is_roots_own(&self) -> bool {
        !self.is_daemon && self.real_user().is_none()
    }
}

impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, value) in [
            ("run by", &self.ruser),
            ("from", &self.rhost),
            ("at", &self.tty),
        ] {
            if let Some(value) = value {
                write!(f, ", {word} {value}")?;
            }
        }
        Ok(())
    }
}

const ROOT: &str = "root";

/// The person at the other end of the conversation, and what was said.
struct Talk {
    terminal: Terminal,
    steps: Vec<Value>,
    has_asked: bool,
}

impl Talk {
    fn new(json: bool) -> Self {
        Self {
            terminal: Terminal::new(json),
            steps: Vec::new(),
            has_asked: false,
        }
    }

    /// Shows a message of the stack, and has the person type for it.
    fn answer(&mut self, message: Message<'_>) -> Option<Reply> {
        let (kind, text, echo) = match message {
            Message::AskHidden(text) => ("asks, hidden", text, Some(Echo::Off)),
            Message::Ask(text) => ("asks", text, Some(Echo::On)),
            Message::Error(text) => ("error", text, None),
            Message::Info(text) => ("info", text, None),
        };
        let text = printable(text);
        self.steps
            .push(json!({ "kind": kind, "text": text.trim() }));
        let Some(echo) = echo else {
            self.terminal.tell(&format!("  {text}"));
            return Some(Reply::default());
        };
        self.has_asked = true;
        let answer = self.terminal.ask(&format!("  {text}"), echo).ok()?;
        Some(Zeroizing::new(answer.bytes().to_vec()))
    }
}

/// A module's text without what would command the terminal: the name in it may be a stranger's.
fn printable(text: &str) -> String {
    let is_shown = |symbol: &char| matches!(symbol, '\n' | '\t') || !symbol.is_control();
    text.chars().filter(is_shown).collect()
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
