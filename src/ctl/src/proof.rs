//! The codes that entitle somebody to take devices away.

use totp_core::address::Address;
use totp_core::answer::Answer;
use totp_core::contact::{Channel, Recipient};
use totp_core::doors::{Account, Caller, Conversation, Echo, NoAnswer, Offers, Store, Subject};
use totp_core::flow::Courier;
use totp_core::message;
use totp_core::policy::DisableConfirm;
use totp_host::store::{OURS, Proof};

use crate::context::Context;
use crate::failure::Failure;
use crate::terminal::Terminal;

/// What was typed, or that nothing had to be.
pub(crate) enum Given {
    /// Root's word.
    Force,
    /// A code of any kind.
    Code(Answer),
    /// A code that was sent by mail.
    Mailed(Mailed),
    /// Both.
    Both { code: Answer, mailed: Mailed },
}

/// A code that was sent by mail, and where to.
pub(crate) struct Mailed {
    answer: Answer,
    to: Recipient,
}

impl Given {
    pub(crate) fn proof(&self) -> Proof<'_> {
        match self {
            Self::Force => Proof::Force,
            Self::Code(code) => Proof::Code(code),
            Self::Mailed(mailed) => Proof::Mailed(&mailed.answer),
            Self::Both { code, mailed } => Proof::Both {
                code,
                mailed: &mailed.answer,
            },
        }
    }
}

/// Asks for what the policy wants before somebody is not enrolled any more.
pub(crate) fn to_disable(
    context: &Context,
    account: &Account,
    terminal: &mut Terminal,
) -> Result<Given, Failure> {
    Ok(match context.config.policy.disable_confirm {
        DisableConfirm::Code => Given::Code(any_code(context, account, terminal)?),
        DisableConfirm::Mail => Given::Mailed(mailed_code(context, account, terminal)?),
        DisableConfirm::Both => Given::Both {
            code: own_code(account, terminal)?,
            mailed: mailed_code(context, account, terminal)?,
        },
    })
}

/// Asks for a code of any device or contact; the latter's are sent.
pub(crate) fn any_code(
    context: &Context,
    account: &Account,
    terminal: &mut Terminal,
) -> Result<Answer, Failure> {
    let prompt = message::any_code_prompt(&account.name);
    asked_for(context, account, terminal, &prompt, None)
}

/// Asks for a code of a device, or a backup code.
fn own_code(account: &Account, terminal: &mut Terminal) -> Result<Answer, Failure> {
    terminal
        .ask(&message::own_code_prompt(&account.name), Echo::On)
        .map_err(nothing_typed)
}

/// Sends a code by mail and asks for it.
fn mailed_code(
    context: &Context,
    account: &Account,
    terminal: &mut Terminal,
) -> Result<Mailed, Failure> {
    let (enrollment, _) = context.records(account)?;
    let contact = enrollment.contact(Channel::Mail).ok_or_else(|| {
        Failure::refused(format_args!(
            "{} has no mail address to confirm it by, as disable_confirm in [policy] wants: enroll one by \
             totpctl enroll {0} --mail, or say --force",
            account.name
        ))
    })?;
    let to = contact.recipient.clone();
    let prompt = message::mailed_code_prompt(&to);
    let answer = asked_for(context, account, terminal, &prompt, Some(Channel::Mail))?;
    Ok(Mailed { answer, to })
}

fn asked_for(
    context: &Context,
    account: &Account,
    terminal: &mut Terminal,
    prompt: &str,
    only: Option<Channel>,
) -> Result<Answer, Failure> {
    let caller = Caller {
        service: OURS.to_owned(),
        is_sshd: false,
        address: Address::Local,
        ssh_keys: Vec::new(),
        place: None,
    };
    let store = context.store();
    let (
        _,
        Offers {
            is_only_way,
            mut contacts,
        },
    ) = store.standing(Subject::Enrolled(account), &caller)?;
    contacts.retain(|offer| only.is_none_or(|only| offer.channel == only));
    let offers = Offers {
        is_only_way: is_only_way || only.is_some(),
        contacts,
    };
    let courier = Courier::new((account, &caller), &offers, &store, context.system());
    let mut courier = match only {
        Some(_) => courier.alone(),
        None => courier,
    };
    let answer = match offers.contacts.is_empty() {
        true => terminal.ask(prompt, Echo::On),
        false => courier.ask(prompt, Echo::On, terminal),
    };
    answer.map_err(nothing_typed)
}

fn nothing_typed(_: NoAnswer) -> Failure {
    Failure::refused(
        "no code was typed: nothing was removed. Where there is no device that works, say --force",
    )
}

/// Says that it was none, to the log as well: whoever may run us for others could guess.
pub(crate) fn is_wrong(context: &Context, account: &Account, given: &Given) -> Failure {
    context.log_wrong_proof(account);
    let user = &account.name;
    let what = match given {
        Given::Force | Given::Code(_) => {
            format!("that is no unused code of {user}'s, of a device or of the backup codes")
        }
        Given::Mailed(Mailed { to, .. }) => format!(
            "that is not the code sent by mail to {to}, and no other counts here (disable_confirm in [policy])"
        ),
        Given::Both { mailed, .. } => format!(
            "these are not an unused code of {user}'s, of a device or of the backup codes, and after it the code sent by \
             mail to {}",
            mailed.to
        ),
    };
    Failure::refused(format_args!(
        "{what}: nothing was removed. Where there is none, say --force"
    ))
}
