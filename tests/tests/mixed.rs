//! Logins by ssh, sudo and su with one code at the same moment as a command of totpctl; `make stress PART=mixed` has more
//! rounds.

use end_to_end::mixed::{EDITS, Mixed};

#[test]
fn of_24_who_come_by_ssh_sudo_and_su_with_one_code_one_gets_in_whatever_totpctl_does() {
    let mut mixed = Mixed::new();
    for edit in EDITS {
        let got_in = mixed.round(edit);
        assert!(
            got_in == 1 || got_in == 0 && edit.ends_the_token(),
            "{edit:?}: {got_in} got in"
        );
    }
}
