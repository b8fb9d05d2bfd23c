//! Pictures of QR codes, read by zbarimg as a phone would.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Gray pixels.
pub struct Image(Vec<Vec<u8>>);

impl Image {
    /// A dark screen with light signs on it, of 8 by 16 pixels each, and some of the screen around it.
    pub fn of_screen(lines: &[String]) -> Self {
        const MARGIN: usize = 3;
        let width = lines.iter().map(|line| line.chars().count()).max();
        let width = width.expect("a picture");
        let margin = vec![String::new(); MARGIN];
        let mut pixels = Vec::new();
        for line in margin.iter().chain(lines).chain(&margin) {
            for y in 0..16 {
                let signs = " "
                    .repeat(MARGIN)
                    .chars()
                    .chain(line.chars())
                    .collect::<Vec<_>>();
                let light = |x: usize| match signs.get(x).copied().unwrap_or(' ') {
                    // A camera sees the sign as one light square.
                    '█' | '#' => true,
                    '▀' => y < 8,
                    '▄' => y >= 8,
                    _ => false,
                };
                let row = (0..width + 2 * MARGIN).flat_map(|x| [u8::from(light(x)) * 255; 8]);
                pixels.push(row.collect());
            }
        }
        Self(pixels)
    }

    /// Draws the squares of an SVG of ours, and nothing else that an SVG may hold.
    pub fn of_svg(text: &str) -> Self {
        const SCALE: usize = 4;
        let (_, rest) = text.split_once("viewBox=\"0 0 ").expect("a view box");
        let (side, rest) = rest.split_once(' ').expect("a width");
        let side: usize = side.parse().expect("a width");
        let (_, path) = rest.rsplit_once(" d=\"").expect("a path");
        let (path, _) = path.split_once('"').expect("the end of the path");
        let mut pixels = vec![vec![255; side * SCALE]; side * SCALE];
        let squares = path
            .split_terminator('z')
            .map(|square| square.strip_prefix('M').expect("a square"));
        for square in squares {
            let corner = square.strip_suffix("h1v1h-1").expect("a unit square");
            let (x, y) = corner.split_once(' ').expect("a corner");
            let (x, y): (usize, usize) = (x.parse().expect("x"), y.parse().expect("y"));
            for row in &mut pixels[y * SCALE..(y + 1) * SCALE] {
                row[x * SCALE..(x + 1) * SCALE].fill(0);
            }
        }
        Self(pixels)
    }

    #[track_caller]
    /// What its QR code says.
    pub fn decoded(&self) -> String {
        let mut file = tempfile::Builder::new()
            .suffix(".pgm")
            .tempfile()
            .expect("a temporary file");
        let (width, height) = (self.0[0].len(), self.0.len());
        writeln!(file, "P5 {width} {height} 255").expect("writes");
        file.write_all(&self.0.concat()).expect("writes");
        decoded(file.path())
    }
}

/// What zbarimg, which shares no code with ours, reads from an image.
#[track_caller]
pub fn decoded(image: &Path) -> String {
    let zbarimg = Command::new("zbarimg")
        .args(["--quiet", "--raw", "--nodbus"])
        .arg(image)
        .output()
        .expect("zbarimg is installed");
    let said = String::from_utf8_lossy(&zbarimg.stderr);
    assert!(zbarimg.status.success(), "no QR code found: {said}");
    String::from_utf8(zbarimg.stdout)
        .expect("text")
        .trim_end()
        .to_owned()
}
