//! Commands that send codes and notices, and can't.

use std::collections::BTreeMap;

use totp_core::config::Config;
use totp_core::contact::Channel;
use totp_host::store::{FileStore, check_gateway};

use super::finding::{Finding, Findings};

/// Who has codes sent, by which way.
pub(crate) type Recipients<'a> = BTreeMap<Channel, Vec<&'a str>>;

/// Looks at what is used: of whom codes are sent to, and where the configuration has something else sent.
pub(crate) fn look(
    config: &Config,
    store: &FileStore<'_>,
    recipients: &Recipients<'_>,
    findings: &mut Findings,
) {
    for channel in Channel::ALL {
        let names = recipients.get(&channel).map_or(&[][..], Vec::as_slice);
        let is_used = !names.is_empty()
            || match channel {
                Channel::Mail => config.mail_backup_codes,
                Channel::Text => config.text.is_some(),
            };
        let checked = is_used.then(|| store.check_delivery(channel));
        let Some(Err(reason)) = checked else {
            continue;
        };
        let meaning = match names {
            [] => "Nobody depends on it yet.".to_owned(),
            names => format!(
                "Nothing but another device or a backup code lets them in: {}.",
                names.join(", ")
            ),
        };
        findings.add(Finding::new(
            "unsendable",
            format!("Codes {} can't be sent: {reason}.", channel.words()),
            meaning,
            format!(
                "Set [delivery.{}] of the configuration right.",
                channel.key()
            ),
        ));
    }
    let notify = config.notify.as_ref();
    if let Some(Err(reason)) = notify.map(|notify| check_gateway(&notify.gateway)) {
        findings.add(Finding::new(
            "unsendable",
            format!("Notices can't be sent: {reason}."),
            "Nobody hears by mail of what becomes of their devices and codes.",
            "Set [notify] of the configuration right.",
        ));
    }
}
