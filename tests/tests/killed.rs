//! Commands and logins that are killed before any of their system calls: the old is left or the new, what was heard is
//! true, and nobody is locked out.

use std::path::Path;

use end_to_end::changes;
use end_to_end::disturbed::Plan;
use end_to_end::trial::{Way, disturb_login};

fn contender() -> &'static Path {
    env!("CARGO_BIN_EXE_contender").as_ref()
}

#[test]
fn a_first_enrollment() {
    changes::a_first_enrollment(Plan::Kills, contender());
}

#[test]
fn a_confirmed_enrollment() {
    changes::a_confirmed_enrollment(Plan::Kills, contender());
}

#[test]
fn an_enrollment() {
    changes::an_enrollment(Plan::Kills, contender());
}

#[test]
fn an_enrollment_at_a_login() {
    changes::an_enrollment_at_a_login(Plan::Kills, contender());
}

#[test]
fn an_import() {
    changes::an_import(Plan::Kills, contender());
}

#[test]
fn an_invitation() {
    changes::an_invitation(Plan::Kills, contender());
}

#[test]
fn a_telephone() {
    changes::a_telephone(Plan::Kills, contender());
}

#[test]
fn a_removal() {
    changes::a_removal(Plan::Kills, contender());
}

#[test]
fn backup_codes() {
    changes::backup_codes(Plan::Kills, contender());
}

#[test]
fn new_backup_codes() {
    changes::new_backup_codes(Plan::Kills, contender());
}

#[test]
fn disabling_by_a_code() {
    changes::disabling_by_a_code(Plan::Kills, contender());
}

#[test]
fn disabling() {
    changes::disabling(Plan::Kills, contender());
}

#[test]
fn resetting() {
    changes::resetting(Plan::Kills, contender());
}

#[test]
fn a_repair() {
    changes::a_repair(Plan::Kills, contender());
}

#[test]
fn an_unlock() {
    changes::an_unlock(Plan::Kills, contender());
}

#[test]
fn a_resync() {
    changes::a_resync(Plan::Kills, contender());
}

#[test]
fn a_rotation() {
    changes::a_rotation(Plan::Kills, contender());
}

#[test]
fn a_bond_to_an_ssh_key() {
    changes::a_bond_to_an_ssh_key(Plan::Kills, contender());
}

#[test]
fn a_bond_that_ends() {
    changes::a_bond_that_ends(Plan::Kills, contender());
}

#[test]
fn an_end_of_trust() {
    changes::an_end_of_trust(Plan::Kills, contender());
}

#[test]
fn another_name() {
    changes::another_name(Plan::Kills, contender());
}

#[test]
fn a_new_backup_key() {
    changes::a_new_backup_key(Plan::Kills, contender());
}

#[test]
fn a_login_by_the_backup_key() {
    changes::a_login_by_the_backup_key(Plan::Kills, contender());
}

#[test]
fn a_login_by_an_event_token() {
    changes::a_login_by_an_event_token(Plan::Kills, contender());
}

#[test]
fn a_login_by_a_backup_code() {
    disturb_login(Plan::Kills, Way::BackupCode, contender());
}

#[test]
fn a_login_by_a_code_that_was_sent() {
    disturb_login(Plan::Kills, Way::SentCode, contender());
}

#[test]
fn a_login_by_a_phone() {
    disturb_login(Plan::Kills, Way::RightCode, contender());
}

#[test]
fn a_login_by_a_phone_from_elsewhere() {
    disturb_login(Plan::Kills, Way::RightCodeElsewhere, contender());
}

#[test]
fn a_login_by_a_token() {
    disturb_login(Plan::Kills, Way::EventToken, contender());
}

#[test]
fn a_login_that_asks_for_a_code() {
    disturb_login(Plan::Kills, Way::RightCodeAfterALetter, contender());
}

#[test]
fn a_login_that_ends_in_trust() {
    disturb_login(Plan::Kills, Way::Trusting, contender());
}

#[test]
fn a_wrong_answer() {
    disturb_login(Plan::Kills, Way::WrongCode, contender());
}

#[test]
fn a_wrong_answer_from_elsewhere() {
    disturb_login(Plan::Kills, Way::WrongCodeElsewhere, contender());
}
