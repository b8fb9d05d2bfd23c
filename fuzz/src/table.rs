//! The files of words that all processes share, with anything in them.

use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::LazyLock;

use tempfile::TempDir;
use totp_core::address::Address;
use totp_core::event::{Event, Severity};
use totp_core::throttle::{AddressDeny, Codes, Limits, Standing};
use totp_core::time::{Span, Time};
use totp_host::addresses::{Addresses, Charge, Reservation};
use totp_host::folder::Folder;
use totp_host::meter::Meter;

const NOW: Time = Time::from_unix(1_800_000_000);
const PAGE_WORDS: usize = 512;
const ENTRY_WORDS: usize = 32;
const GENERATION: usize = 1;
const SLOTS: usize = 4;

/// A folder in memory, which goes with it.
pub struct Place {
    /// The folder.
    pub folder: Folder,
    path: TempDir,
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let path = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let path = path.expect("a temporary folder");
        let folder = Folder::open(path.path()).expect("our own folder");
        Self { folder, path }
    }

    fn make(&self, name: &str) -> File {
        let mut options = File::options();
        let made = options.write(true).create_new(true).mode(0o600);
        made.open(self.path.path().join(name)).expect("a new file")
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path.path().join(name)).expect("a file")
    }
}

/// What the counters of log lines are, in bytes or as one word everywhere, and how many events come: each of them is
/// told of, by a line or by a number, and a new minute hides none of the first.
pub fn meter(bytes: &[u8]) {
    const NAME: &str = "log";
    const BYTES: usize = 8 * PAGE_WORDS * 8;
    const LINES: usize = 10;
    let Some(([how, events], rest)) = bytes.split_first_chunk() else {
        return;
    };
    // One at least: a minute that the file says is yet to come is ended by it.
    let events = (events % 64).max(1);
    let place = Place::new();
    let file = match (how % 2, rest.first_chunk::<8>()) {
        (1, Some(word)) => [&HEAD[..], &word.repeat(BYTES / 8 - HEAD.len() / 8)].concat(),
        _ => rest.to_vec(),
    };
    place
        .make(NAME)
        .write_all_at(&file, 0)
        .expect("our own file");

    let meter = Meter::new(place.path.path());
    let lines = |events: u8, at: Time| {
        let lines = RefCell::new(Vec::new());
        let event = Event {
            user: Some("alice".to_owned()),
            ..Event::new(Severity::Warning, "wrong")
        };
        for _ in 0..events {
            let log = |event: &Event| lines.borrow_mut().push((event.name, event.count));
            meter.pass(&event, &|| at, &log);
        }
        lines.into_inner()
    };
    let burst = lines(events, NOW);
    let after = lines(1, NOW.after(Span::from_seconds(60)));
    let (own, sum) = after.split_last().expect("a line");
    assert_eq!(*own, ("wrong", None), "the first one of a minute is hidden");
    assert!(
        sum.iter()
            .all(|(name, count)| *name == "burst" && count.is_some())
    );
    assert!(sum.len() <= 1);

    let plain = burst.iter().filter(|(_, count)| count.is_none()).count();
    assert!(plain <= LINES && burst.len() <= LINES + 32 + 1);
    let counts = burst.iter().chain(sum).filter_map(|(_, count)| *count);
    let told = counts
        .max()
        .map_or(plain, |count| plain.max(count as usize));
    assert!(told >= usize::from(events), "{told} of {events}");

    let left = place.bytes(NAME);
    assert!(left.len() == BYTES && left.starts_with(&HEAD[..MAGIC_BYTES]));
}

/// Limit, address and whether to list, and the words of all pages that it is counted in, four bytes each: no more is judged than the
/// limit has, who is refused is so for no longer than a lock, and what is told before an answer is what comes of it.
pub fn addresses(bytes: &[u8]) {
    const LIMITS: [i64; 4] = [1, 3, 20, 28];
    let Some(([how], words)) = bytes.split_first_chunk() else {
        return;
    };
    let limits = limits(LIMITS[usize::from(how % 4)]);
    let (address, pages) = &PLACES[usize::from(how >> 2) % PLACES.len()];
    let words: Vec<[u8; 4]> = words
        .chunks_exact(4)
        .filter_map(|word| word.try_into().ok())
        .collect();
    let filled: Vec<_> = pages
        .iter()
        .map(|(page, key)| (*page, page_of(&words, *key)))
        .collect();
    let (_place, table) = table(&filled);

    let standing = table
        .standing(address, &limits, &|| NOW)
        .expect("a standing");
    let first = reserve(&table, address, &limits, NOW);
    // Answers on their way may turn out right: what is told before leaves them out.
    if words.iter().all(|word| !is_pending(*word)) {
        match (standing, &first) {
            (Standing::Refused(told), Charge::Refused(refusal)) => assert_eq!(told, *refusal),
            (
                Standing::Open {
                    codes: Codes::One, ..
                },
                Charge::Reserved(_),
            ) => {}
            (
                Standing::Open {
                    codes: Codes::Two, ..
                },
                Charge::Shared,
            ) => {}
            _ => panic!("{standing:?} was told"),
        }
    }
    let mut judged = settled(first);
    while judged <= usize::from(limits.address_deny.get()) {
        match settled(reserve(&table, address, &limits, NOW)) {
            0 => break,
            _ => judged += 1,
        }
    }
    assert!(
        judged <= usize::from(limits.address_deny.get()),
        "more were judged than there are slots"
    );
    // A list of the whole table takes more time than all else.
    if how & 0x80 != 0 {
        for (shown, _) in table.counted(&limits, &|| NOW).expect("a list") {
            assert!(!shown.is_empty() && !shown.contains(char::is_control));
        }
    }

    let span = limits.interval.seconds() + limits.lock_time.seconds();
    let later = NOW.after(Span::from_seconds(span));
    let standing = table
        .standing(address, &limits, &|| later)
        .expect("a standing");
    assert!(matches!(
        standing,
        Standing::Open {
            codes: Codes::One,
            ..
        }
    ));
    let charge = reserve(&table, address, &limits, later);
    assert_eq!(settled(charge), 1, "refused beyond the longest lock");
    table.take_back(address, later).expect("a page");
    table.forgive(address, &limits, later).expect("a page");
}

fn limits(address_deny: i64) -> Limits {
    Limits {
        address_deny: AddressDeny::new(address_deny).expect("a limit"),
        ..Limits::default()
    }
}

fn reserve(table: &Addresses, address: &Address, limits: &Limits, now: Time) -> Charge {
    table
        .reserve(address, limits, &|| now, false)
        .expect("a charge or a refusal")
}

/// How many answers were judged, which were wrong.
fn settled(charge: Charge) -> usize {
    match charge {
        Charge::Reserved(one) => {
            Reservation::settle(one);
            1
        }
        Charge::Busy => panic!("nobody is that patient"),
        Charge::Refused(_) | Charge::Shared => 0,
    }
}

/// A page of these words, again and again: times near now, few generations, and the key where a word says so.
fn page_of(words: &[[u8; 4]], key: u64) -> Vec<u64> {
    let mut words = words.iter().cycle();
    let at = 0..PAGE_WORDS;
    at.map(|at| match (at % ENTRY_WORDS, words.next()) {
        (_, None) => 0,
        (_, Some([a, b, c, d])) if d & 0x80 != 0 => {
            u64::from_le_bytes([*a, *b, *c, *d, *d, *c, *b, *a])
        }
        (0, Some([charges, .., d])) if d & 1 != 0 => key | u64::from(*charges),
        (GENERATION, Some([.., generation, _])) => u64::from(*generation),
        (_, Some([low, high, generation, flags])) => {
            let seconds = i64::from(i16::from_le_bytes([*low, *high]));
            let time = (NOW.unix() + seconds) as u64;
            time << 32 | u64::from(*generation) << 1 | u64::from(flags & 1)
        }
    })
    .collect()
}

fn is_pending([.., flags]: [u8; 4]) -> bool {
    flags & 0x81 != 0
}

const MAGIC_BYTES: usize = 8;
/// Magic and key, which is always the same, so that what is found once is found again.
static HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let place = Place::new();
    Addresses::open_or_make(&place.folder).expect("a new table");
    let mut head = place.bytes("addresses");
    head.truncate(MAGIC_BYTES);
    head.resize(MAGIC_BYTES + 32, 7);
    head
});

/// A page, and the key that somebody has in it.
type Placing = (usize, u64);

/// Addresses, with the pages that each is counted in and its keys there.
static PLACES: LazyLock<Vec<(Address, Vec<Placing>)>> = LazyLock::new(|| {
    let names = ["192.0.2.7", "2001:db8::7", "uid:1000", "local"];
    let addresses = names.map(|name| Address::named(name).expect("an address"));
    addresses
        .map(|address| (address.clone(), places_of(&address)))
        .into()
});

/// Where an address is charged, while page after page is full of others.
fn places_of(address: &Address) -> Vec<Placing> {
    let limits = limits(1);
    let mut places = Vec::<Placing>::new();
    loop {
        let mut others = vec![1 << 16; PAGE_WORDS];
        for entry in others.chunks_mut(ENTRY_WORDS) {
            entry[GENERATION..].fill(0);
            entry[SLOTS] = (NOW.unix() as u64) << 32;
        }
        let full: Vec<_> = places
            .iter()
            .map(|(page, _)| (*page, others.clone()))
            .collect();
        let (place, table) = table(&full);
        assert_eq!(settled(reserve(&table, address, &limits, NOW)), 1);
        let bytes = place.bytes("addresses");
        let words: Vec<u64> = bytes
            .chunks_exact(8)
            .filter_map(|word| Some(u64::from_ne_bytes(word.try_into().ok()?)))
            .collect();
        let mut entries = (0..words.len())
            .step_by(ENTRY_WORDS)
            .skip(PAGE_WORDS / ENTRY_WORDS);
        let is_its = |at: &usize| words[*at] >> 17 != 0;
        match entries.find(is_its) {
            Some(at) => places.push((at / PAGE_WORDS, words[at] & !0xFFFF)),
            None => return places,
        }
    }
}

/// A table with these pages, and zeros everywhere else.
fn table(pages: &[(usize, Vec<u64>)]) -> (Place, Addresses) {
    let place = Place::new();
    let file = place.make("addresses");
    file.set_len(Addresses::BYTES as u64).expect("our own file");
    file.write_all_at(&HEAD, 0).expect("our own file");
    for (page, words) in pages {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let offset = page * PAGE_WORDS * 8;
        file.write_all_at(&bytes, offset as u64)
            .expect("our own file");
    }
    let table = Addresses::open(&place.folder).expect("a table");
    (place, table.expect("a whole one"))
}
