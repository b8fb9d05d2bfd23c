//! `totpctl resync`: sets a device right whose clock or counter is off, by two codes in a row.

use serde_json::json;
use totp_core::answer::Answer;
use totp_core::device::DeviceName;
use totp_core::doors::{Conversation, Echo};
use totp_core::event::Change;
use totp_core::message;
use totp_core::otp::MovingFactor;
use totp_core::reach::Reach;
use totp_core::time::Time;

use crate::context::Context;
use crate::failure::Failure;
use crate::terminal::Terminal;

pub(crate) fn run(context: &Context, user: &str, device: &DeviceName) -> Result<(), Failure> {
    let account = context.account(user)?;
    let name = &account.name;
    let factor = context.device(&account, device)?.otp.factor;
    let mut terminal = Terminal::new(context.json);
    let mut asked = |prompt: &str| -> Result<(Answer, Time), Failure> {
        let answer = terminal.ask(prompt, Echo::On);
        let answer =
            answer.map_err(|_| Failure::refused("no code was typed: nothing has changed"))?;
        Ok((answer, context.system().now()))
    };
    let (first, first_at) = asked(message::CONFIRM_PROMPT)?;
    let (second, second_at) = asked(message::NEXT_PROMPT)?;
    let codes = [(&first, first_at), (&second, second_at)];
    let Ok(known) = context.store().resync(&account, device, codes)? else {
        context.log_wrong_proof(&account);
        return Err(wrong(context, device, factor));
    };
    context.changed(Change::Resynced, &account, Some(device));
    let (what, document) = match factor {
        MovingFactor::Counter => {
            let next = known.next().0;
            let document = json!({ "user": name, "device": device.as_str(), "next_counter": next });
            (format!("its next counter is {next}"), document)
        }
        MovingFactor::Time(_) => {
            let drift = known.drift;
            let document = json!({ "user": name, "device": device.as_str(), "drift": drift });
            (
                format!("{drift:+} codes from this machine's time"),
                document,
            )
        }
    };
    let text = format!("Device {device} of {name} is in step, {what}. Both codes are used up.");
    context.print(&text, &document);
    Ok(())
}

fn wrong(context: &Context, device: &DeviceName, factor: MovingFactor) -> Failure {
    match factor {
        MovingFactor::Counter => Failure::refused(format_args!(
            "these are no two unused codes in a row among the next {} of device {device}: check that it is that token, \
             or enroll again",
            Reach::WIDE_RESYNC
        )),
        MovingFactor::Time(_) => Failure::refused(format_args!(
            "these are no two unused codes in a row of device {device} within {} codes of this machine's time: type two \
             that follow each other, within a minute; check both clocks, or enroll again",
            context.config.verify.resync_range
        )),
    }
}
