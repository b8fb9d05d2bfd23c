//! The stack that checks the password of somebody who enrolls.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// Its PAM service.
pub const SERVICE: &str = "totp-enroll";

/// Whether it can be asked: without a file of exactly that name libpam would take the stack of `other`.
///
/// # Errors
/// A sentence for the operator: what is wrong with the file, and the next step.
pub fn check() -> Result<(), String> {
    const PATH: &str = "/etc/pam.d/totp-enroll";
    let problem = match fs::symlink_metadata(PATH) {
        Err(error) => error.to_string(),
        Ok(file) if !file.is_file() => "it is no file of its own".to_owned(),
        Ok(file) if file.uid() != 0 => "it isn't root's".to_owned(),
        Ok(file) if file.mode() & 0o022 != 0 => "others may write it".to_owned(),
        Ok(_) => return Ok(()),
    };
    Err(format!(
        "nobody can enroll by password, since {PATH} can't be used: {problem}; install the example of that name"
    ))
}
