//! Whether memory holds what it should not.

/// What a process that searches itself has the bytes shown by, for it must not hold them.
pub const MASK: u8 = 0xA5;

/// Which of `needles`, each byte of them under `mask`, is found first.
pub fn find(haystack: &[u8], needles: &[Vec<u8>], mask: u8) -> Option<usize> {
    let mut starts = [false; 256];
    for needle in needles {
        starts[usize::from(needle[0] ^ mask)] = true;
    }
    haystack.iter().enumerate().find_map(|(place, byte)| {
        let rest = starts[usize::from(*byte)].then(|| &haystack[place..])?;
        needles.iter().position(|needle| {
            let same = |(here, there): (&u8, &u8)| here ^ mask == *there;
            rest.len() >= needle.len() && rest.iter().zip(needle).all(same)
        })
    })
}
