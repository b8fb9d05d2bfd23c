//! Every sentence that a person at a login reads.

use zeroize::Zeroizing;

use crate::backup_code::BackupCode;
use crate::contact::{Channel, Recipient};
use crate::doors::{Offer, Offers};
use crate::secret::Secret;
use crate::throttle::{Codes, Standing};
use crate::time::{Span, Time};

/// The prompt where the stack's line does not say another.
pub const PROMPT: &str = "Verification code: ";

/// The same where the password and the code are typed together.
pub const BOTH_PROMPT: &str = "Password & verification code: ";

/// What ends the notice of a code that was sent, or not.
#[derive(Clone, Copy)]
pub enum Hint<'a> {
    /// At a prompt that takes letters: another code by the same way, or one by another of these.
    Letters(&'a Offers),
    /// The same at one that takes no code but what is sent.
    SentAlone(&'a Offers),
    /// At one where the code is typed with the password.
    Together,
}

impl Hint<'_> {
    fn after_sending(self, channel: Channel) -> String {
        match self {
            Self::Letters(_) | Self::SentAlone(_) => self.letters(Some("send another"), channel),
            Self::Together => " Type it right after your password.".to_owned(),
        }
    }

    /// What the letters do, in a line of their own.
    fn letters(self, again: Option<&str>, channel: Channel) -> String {
        let (Self::Letters(offers) | Self::SentAlone(offers)) = self else {
            return String::new();
        };
        let again = again.map(|again| format!("r: {again}"));
        let ways = offers.contacts.iter().map(|offer| offer.channel);
        let others = ways.filter(|way| *way != channel);
        let others =
            others.map(|way| format!("{}: send one {}", char::from(way.letter()), way.words()));
        let all: Vec<String> = again.into_iter().chain(others).collect();
        match all.is_empty() {
            true => String::new(),
            false => format!("\n({})", all.join(", ")),
        }
    }

    /// What is said of other codes, where they are taken.
    const fn others(self, said: &'static str) -> &'static str {
        match self {
            Self::Letters(_) | Self::Together => said,
            Self::SentAlone(_) => "",
        }
    }
}

/// Longest message of libpam's (PAM_MAX_MSG_SIZE).
pub const MAX_MESSAGE_BYTES: usize = 512;

/// Longest prompt of a stack's line: with all that may go before it, it fits one message of libpam's
/// (PAM_MAX_MSG_SIZE, 512 bytes).
pub const MAX_PROMPT_BYTES: usize = 160;

/// The prompt that confirms a new device.
pub const CONFIRM_PROMPT: &str = "Code from your app: ";

/// What is said after a backup code.
#[must_use]
pub fn backup_codes_left(left: u8) -> String {
    match left {
        0 => "That was the last backup code: have new ones made.".to_owned(),
        1..=3 => format!("Backup codes left: {left}. Have new ones made before they run out."),
        _ => format!("Backup codes left: {left}"),
    }
}

/// What is said after the backup key, where the login goes on without a second factor.
pub const BACKUP_KEY_USED: &str =
    "All your devices and codes are removed. Please enroll a new device soon.";

/// What is said after the backup key, where nobody gets in without a second factor.
pub const BACKUP_KEY_USED_UP: &str = "All your devices and codes are removed.\nPlease ask your administrator to enroll you, then log in again.";

/// The prompt that confirms a new device at a login, with the letters that show its QR code.
pub const ENROLL_PROMPT: &str = "Code from your app (or q: QR code, a: QR code in ASCII): ";

/// What goes below a QR code that a usual terminal can't show: there is no other way to tell what is wrong.
#[must_use]
pub fn qr_size(columns: usize, rows: usize) -> String {
    format!(
        "(This QR code needs a terminal of {columns} columns and {} rows.)",
        rows.saturating_add(2)
    )
}

/// The prompt for somebody's password, where it entitles to enroll.
pub const PASSWORD_PROMPT: &str = "Password: ";

/// The key of a new device and the prompt for a code of it, in one message: whatever shows prompts shows all of it.
/// It begins with a line of its own, since clients put words before a prompt.
#[must_use]
pub fn new_key(secret: &Secret) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "\nA verification code is needed here from now on. Add this key to an\nauthenticator app, as a time-based \
         one:\n\n    {}\n\n{ENROLL_PROMPT}",
        secret.grouped().as_str()
    ))
}

/// The backup codes of a new device, which are shown this once.
#[must_use]
pub fn new_backup_codes(codes: &[BackupCode]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_MESSAGE_BYTES));
    text.push_str("\nBackup codes, each good once, shown only now:\n");
    for line in codes.chunks(2) {
        text.push('\n');
        for code in line {
            text.push_str("  ");
            text.push_str(&code.shown());
        }
    }
    text.push_str("\n\nPress Enter when you have kept them: ");
    text
}

/// What is said where people enroll at the login by the password, to whoever typed no right code.
pub const PASSWORD_NEEDED: &str = "Who has no device yet logs in by ssh in a terminal, and is shown a key there\nright after the right password.";

/// The same where they need an invitation.
pub const INVITATION_NEEDED: &str = "Who has no device yet logs in by ssh in a terminal, and types an invitation\nof the administrator in place of the verification code.";

/// What is said of an enrollment that was confirmed by no right code.
pub const NOT_ENROLLED: &str = "Nothing was set up. Log in again to begin anew.";

/// What is said where somebody else has enrolled the account meanwhile.
pub const ENROLLED_MEANWHILE: &str = "Somebody has just set up a device for this account.\nIf it wasn't you, tell your administrator at once.";

/// What is said where the invite is worth nothing any more.
pub const INVITE_GONE: &str = "Nothing was set up: the invitation has run out.\nPlease ask your administrator for another one.";

/// What is said where somebody has to enroll, but the line to them carries no conversation.
pub const CANNOT_ENROLL: &str = "A second factor has to be set up first: log in once by ssh in a terminal\n(keyboard-interactive), or ask your administrator.";

/// What is said to somebody who is let in without a second factor for the last days.
#[must_use]
pub fn announced(from: Time, now: Time) -> String {
    const DAY: u32 = 24 * 60 * 60;
    let days = from.since(now).seconds().div_ceil(DAY);
    let unit = if days == 1 { "day" } else { "days" };
    format!(
        "From {} on, in {days} {unit}, a verification code is needed here.\n\
         Please have a device enrolled by then.",
        from.date()
    )
}

/// The prompt of somebody who is invited to enroll and need not do it yet.
pub const INVITED_PROMPT: &str =
    "Type your invitation to set up a device, or press Enter to go on without one: ";

/// The prompt for the code after that one.
pub const NEXT_PROMPT: &str = "The next code from your app: ";

/// The prompt for a code of any of a user's devices or a backup code, which proves that the user agrees.
#[must_use]
pub fn any_code_prompt(user: &str) -> String {
    format!("A code of any device of {user}, or a backup code: ")
}

/// The prompt for a code that the user's device shows, or a backup code, where one that is sent is asked for after it.
#[must_use]
pub fn own_code_prompt(user: &str) -> String {
    format!("First, a code of an app or token of {user}, or a backup code: ")
}

/// The prompt for the code that is sent to a mail address, and for no other.
#[must_use]
pub fn mailed_code_prompt(to: &Recipient) -> String {
    format!("The code sent by mail to {to}: ")
}

/// What is said where a fault of ours denies a login. The log says which.
pub const OUT_OF_ORDER: &str =
    "The verification code can't be checked at the moment. Please tell your administrator.";

/// What goes before the prompt where two codes in a row are needed. A line of its own: ssh begins with user and host.
pub const TWO_CODES: &str = "\nAfter too many wrong codes, two in a row are needed: type the first one now,\n\
                             and the next one that your app shows when you are asked again.";

/// The same for somebody whose codes are sent.
pub const TWO_SENT_CODES: &str = "\nAfter too many wrong codes, two are needed: when the first one is right,\n\
                                  the second is sent.";

/// What goes before the prompt of somebody who can have a code sent.
#[must_use]
pub fn offered(offers: &Offers) -> String {
    let mut line = String::from("\n");
    for Offer { channel, to, .. } in &offers.contacts {
        let letter = char::from(channel.letter());
        let separator = if line.len() > 1 { ", " } else { "" };
        line.push_str(&format!(
            "{separator}{letter}: send a code {} to {to}",
            channel.words()
        ));
    }
    line
}

/// What goes before the prompt for a code that was just sent.
#[must_use]
pub fn code_sent(channel: Channel, to: &str, left: Span, hint: Hint<'_>) -> String {
    let (words, left) = (channel.words(), left.seconds());
    let hint = hint.after_sending(channel);
    format!("\nA code was sent {words} to {to}. It is good for {left} seconds.{hint}")
}

/// The same for a code that this login had before, which need not have arrived.
#[must_use]
pub fn code_waits(channel: Channel, to: &str, left: Span, hint: Hint<'_>) -> String {
    let (words, left) = (channel.words(), left.seconds());
    let hint = hint.after_sending(channel);
    format!("\nThe last code {words} to {to} is good for {left} more seconds.{hint}")
}

/// What is said where the last code is so young that no other is sent.
#[must_use]
pub fn code_waiting(wait: Span) -> String {
    format!("\nAnother code can be sent in {} seconds.", wait.seconds())
}

/// What is said where too many were sent.
#[must_use]
pub fn too_many_codes(channel: Channel, wait: Span, hint: Hint<'_>) -> String {
    let minutes = wait.minutes_rounded_up().max(1);
    let unit = if minutes == 1 { "minute" } else { "minutes" };
    format!(
        "\nNo more codes are sent {} for {minutes} {unit}.{}{}",
        channel.words(),
        hint.others(" Other codes are taken here."),
        hint.letters(None, channel)
    )
}

/// What is said where none could be sent.
#[must_use]
pub fn code_not_sent(channel: Channel, hint: Hint<'_>) -> String {
    format!(
        "\nNo code could be sent {}.{}{}",
        channel.words(),
        hint.others(" A code of an app or a backup code\nis taken here as well."),
        hint.letters(Some("try again"), channel)
    )
}

/// The prompt for a code that was sent to confirm an address.
pub const SENT_PROMPT: &str = "Code that was sent: ";

/// What is said of a wrong one.
#[must_use]
pub fn not_that_code(left: u8) -> String {
    format!(
        "That is not the code. ({}; r: send another)",
        attempts_left(left)
    )
}

/// What is said of a code that let nobody in. Where two are needed, the first one is told the same whether it was
/// right or wrong.
#[must_use]
pub fn wrong(codes: Codes, standing: Standing, now: Time) -> String {
    let sentence = match codes {
        Codes::One => "Invalid One Time Password!",
        Codes::Two => "If that was a right code, the next one is needed too.",
    };
    match standing {
        Standing::Open {
            left: Some(left), ..
        } => {
            format!("{sentence} ({})", attempts_left(left))
        }
        Standing::Open { left: None, .. } => sentence.to_owned(),
        Standing::Refused(refusal) => refused(refusal.until.since(now)),
    }
}

/// What is said while no code is taken.
#[must_use]
pub fn refused(wait: Span) -> String {
    let minutes = wait.minutes_rounded_up().max(1);
    let unit = if minutes == 1 { "minute" } else { "minutes" };
    format!("You have reached the limit of attempts. Please try again later in {minutes} {unit}.")
}

/// How many wrong answers are left.
#[must_use]
pub fn attempts_left(left: u8) -> String {
    format!("Attempts left: {left}")
}

/// What is said of a wrong code at enrollment.
#[must_use]
pub fn not_confirmed(left: u8) -> String {
    match left {
        0 => "That code doesn't fit either.".to_owned(),
        _ => format!(
            "That code doesn't fit: check the key and the clocks. ({})",
            attempts_left(left)
        ),
    }
}

/// A sentence that is shown as a prompt, since the service hides all but prompts.
#[must_use]
pub fn acknowledged(sentence: &str) -> String {
    format!("{sentence} (Press Enter) ")
}

/// A prompt that carries, in a line before it, what a service hides.
#[must_use]
pub fn prompt_after(notice: &str, prompt: &str) -> String {
    format!("{notice}\n{prompt}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup_code::Count;
    use crate::contact::Recipient;
    use crate::throttle::{Limit, Refusal};

    #[test]
    fn the_longest_prompt_fits_a_message() {
        let own = "x".repeat(MAX_PROMPT_BYTES);
        let counted = prompt_after(&attempts_left(u8::MAX), &own);
        assert!(prompt_after(TWO_CODES, &counted).len() < MAX_MESSAGE_BYTES);
        let to = "x".repeat(Recipient::MAX_MASKED_CHARS + 4);
        let offer = |channel| Offer {
            channel,
            to: to.clone(),
            waits_until: None,
        };
        let offers = Offers {
            is_only_way: false,
            contacts: Channel::ALL.map(offer).to_vec(),
        };
        let (longest, letters) = (Span::from_seconds(u32::MAX), Hint::Letters(&offers));
        let counted = prompt_after(TWO_CODES, &counted);
        for notice in [
            offered(&offers),
            code_sent(Channel::Mail, &to, longest, letters),
            code_waits(Channel::Mail, &to, longest, letters),
            code_sent(Channel::Mail, &to, longest, Hint::Together),
            code_waits(Channel::Mail, &to, longest, Hint::Together),
            code_waiting(longest),
            too_many_codes(Channel::Mail, longest, letters),
            code_not_sent(Channel::Mail, letters),
        ] {
            assert!(
                prompt_after(&notice, &counted).len() < MAX_MESSAGE_BYTES,
                "{notice}"
            );
        }
        let code = BackupCode::new(&[7; BackupCode::RANDOM_BYTES]).unwrap();
        let codes = vec![code; usize::from(Count::MAX)];
        assert!(new_backup_codes(&codes).len() < MAX_MESSAGE_BYTES);
        let longest = Secret::from_bytes(vec![7; Secret::NEW_BYTES].into()).unwrap();
        assert!(new_key(&longest).len() < MAX_MESSAGE_BYTES);
    }

    #[test]
    fn the_sentences_are_as_promised() {
        let now = Time::from_unix(0);
        let open = |left| Standing::Open {
            left,
            codes: Codes::One,
        };
        let until = |seconds| {
            Standing::Refused(Refusal {
                until: Time::from_unix(seconds),
                limit: Limit::Place,
            })
        };
        for (standing, sentence) in [
            (
                open(Some(2)),
                "Invalid One Time Password! (Attempts left: 2)",
            ),
            (open(None), "Invalid One Time Password!"),
            (
                until(600),
                "You have reached the limit of attempts. Please try again later in 10 minutes.",
            ),
            (
                until(541),
                "You have reached the limit of attempts. Please try again later in 10 minutes.",
            ),
            (
                until(540),
                "You have reached the limit of attempts. Please try again later in 9 minutes.",
            ),
            (
                until(60),
                "You have reached the limit of attempts. Please try again later in 1 minute.",
            ),
            (
                until(0),
                "You have reached the limit of attempts. Please try again later in 1 minute.",
            ),
        ] {
            assert_eq!(wrong(Codes::One, standing, now), sentence);
        }
    }
}
