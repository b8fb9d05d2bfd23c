//! Whether the clock is right: codes are made of the time.

use totp_host::clock::clock;

use super::finding::{Finding, Findings};

/// Codes of the neighbouring steps are accepted, so that a phone and a clock may be this far apart together.
const FAR_MS: i64 = 10_000;

/// Asks the kernel.
pub(crate) fn look(findings: &mut Findings) {
    const MEND: &str = "timedatectl set-ntp true        # or: apt-get install chrony";
    let drift = "The clock drifts by seconds a week; half a minute off, codes are refused.";
    let clock = match clock() {
        Ok(clock) => clock,
        Err(error) => {
            findings.add(Finding::new(
                "clock-unknown",
                format!("The kernel does not tell how well the clock is kept: {error}."),
                drift,
                "timedatectl        # on the host, where this is a container",
            ));
            return;
        }
    };
    if !clock.is_synchronised {
        findings.add(Finding::new(
            "clock-unsynchronised",
            "Nothing keeps the clock in step with the world.",
            drift,
            MEND,
        ));
    } else if clock.offset_ms.abs() > FAR_MS {
        findings.add(Finding::new(
            "clock-off",
            format!(
                "The clock is {} seconds off.",
                clock.offset_ms.checked_div(1000).unwrap_or(0)
            ),
            "Phones that are right are near the edge of what is accepted.",
            "chronyc makestep        # or: systemctl restart systemd-timesyncd",
        ));
    }
}
