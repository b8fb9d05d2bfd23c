//! What a machine lacks that a test needs.

/// Says that a test, or a part of it, is not run. Where `PAM_TOTP_NO_SKIP` is set, that is a failure.
#[track_caller]
pub fn skip(why: &str) {
    assert!(
        std::env::var_os("PAM_TOTP_NO_SKIP").is_none(),
        "not run: {why}"
    );
    println!("not run: {why}");
}
