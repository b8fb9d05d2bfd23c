//! A secret that belongs to nobody else, and what would give it away.

use std::fs::File;
use std::io::Read;
use std::process::Command;

use crate::machine::output;

/// 160 random bits in base32.
pub fn fresh() -> String {
    let mut random = [0; 32];
    let mut urandom = File::open("/dev/urandom").expect("entropy");
    urandom.read_exact(&mut random).expect("entropy");
    random
        .map(|byte| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from(byte % 32)]))
        .iter()
        .collect()
}

/// Every half of the secret: as base32, as bytes and as the two forms in which HMAC keys a hash.
pub fn traces_of(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut command = Command::new("base32");
    command.arg("-d");
    let raw = output(command, secret.as_bytes()).stdout;
    assert_eq!(raw.len(), 20);
    let padded = |pad: u8| raw.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
    let forms = [
        ("base32", secret.as_bytes().to_vec()),
        ("bytes", raw.clone()),
        ("inner pad", padded(0x36)),
        ("outer pad", padded(0x5C)),
    ];
    let halves = forms.iter().flat_map(|(name, bytes)| {
        let (first, last) = bytes.split_at(bytes.len() / 2);
        [(*name, first.to_vec()), (*name, last.to_vec())]
    });
    halves.collect()
}
