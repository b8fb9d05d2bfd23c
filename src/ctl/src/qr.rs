//! QR codes in files: PNG and SVG.

use std::fmt::Write as _;
use std::path::Path;

use totp_core::qr::Qr;

use crate::failure::Failure;
use crate::new_file::NewFile;

/// Quiet zone of a file, as ISO/IEC 18004 asks.
const FILE_QUIET: i32 = 4;

/// Pixels a square has in a PNG.
const SCALE: usize = 8;

/// The QR code of a text.
pub(crate) fn new(text: &str) -> Result<Qr, Failure> {
    Qr::new(text).ok_or_else(|| Failure::refused("the otpauth URI is too long for a QR code"))
}

/// Writes the code into a new file, of the kind that the name's ending says.
pub(crate) fn write(qr: &Qr, path: &Path) -> Result<NewFile, Failure> {
    let bytes = match path.extension().and_then(|extension| extension.to_str()) {
        Some("png") => to_png(qr)?,
        Some("svg") => to_svg(qr).into_bytes(),
        _ => {
            return Err(Failure::usage(
                "--qr-file takes a name that ends in .png or .svg",
            ));
        }
    };
    NewFile::write(path, &bytes)
}

fn to_png(qr: &Qr) -> Result<Vec<u8>, Failure> {
    let pixels: Vec<Vec<bool>> = rows(qr).map(|row| row.collect()).collect();
    let side = pixels.len().saturating_mul(SCALE);
    let mut gray = Vec::with_capacity(side.saturating_mul(side));
    for row in &pixels {
        let line = row
            .iter()
            .flat_map(|dark| [if *dark { 0 } else { 255 }; SCALE]);
        let line: Vec<u8> = line.collect();
        (0..SCALE).for_each(|_| gray.extend_from_slice(&line));
    }
    let side = u32::try_from(side).unwrap_or(0);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder
        .write_header()
        .and_then(|mut png| png.write_image_data(&gray));
    written.map_err(Failure::unreachable)?;
    Ok(bytes)
}

fn to_svg(qr: &Qr) -> String {
    let side = rows(qr).count();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
         shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\""
    );
    for (y, row) in rows(qr).enumerate() {
        for (x, _) in row.enumerate().filter(|(_, dark)| *dark) {
            let _ = write!(svg, "M{x} {y}h1v1h-1z");
        }
    }
    svg.push_str("\"/></svg>\n");
    svg
}

/// Whether each square is dark, row by row.
fn rows(qr: &Qr) -> impl Iterator<Item = impl Iterator<Item = bool> + '_> + '_ {
    let side = -FILE_QUIET..qr.size().saturating_add(FILE_QUIET);
    side.clone()
        .map(move |row| side.clone().map(move |column| qr.is_dark(column, row)))
}
