//! QR codes (ISO/IEC 18004) as lines of text.

use qrcodegen::{QrCode, QrCodeEcc};
use zeroize::Zeroizing;

/// Quiet zone on a screen. The standard asks for 4; on a screen 2 are read as well, and fit 24 rows.
const QUIET: i32 = 2;
/// In ASCII one is read as well, and most codes fit 80 columns.
const ASCII_QUIET: i32 = 1;

/// Columns and rows of a drawing.
#[must_use]
pub fn size_of(drawing: &str) -> (usize, usize) {
    let columns = drawing.lines().map(|line| line.chars().count()).max();
    (columns.unwrap_or(0), drawing.lines().count())
}

/// The squares of a QR code.
pub struct Qr {
    code: QrCode,
}

impl Qr {
    /// The code of a text; `None` where it is too long.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
        Some(Self { code })
    }

    /// Squares on each side.
    #[must_use]
    pub fn size(&self) -> i32 {
        self.code.size()
    }

    /// Whether a square is dark; none outside is.
    #[must_use]
    pub fn is_dark(&self, column: i32, row: i32) -> bool {
        self.code.get_module(column, row)
    }

    /// Two rows of squares a line of half blocks. Light squares are drawn, as most terminals are dark.
    #[must_use]
    pub fn to_half_blocks(&self) -> Zeroizing<String> {
        self.draw(QUIET, 2, |upper, lower| match (upper, lower) {
            (true, true) => " ",
            (true, false) => "▄",
            (false, true) => "▀",
            (false, false) => "█",
        })
    }

    /// One row of squares a line, two signs a square.
    #[must_use]
    pub fn to_ascii(&self) -> Zeroizing<String> {
        self.draw(ASCII_QUIET, 1, |dark, _| if dark { "  " } else { "##" })
    }

    fn draw(
        &self,
        quiet: i32,
        rows_a_line: usize,
        sign: impl Fn(bool, bool) -> &'static str,
    ) -> Zeroizing<String> {
        let squares = quiet.saturating_neg()..self.size().saturating_add(quiet);
        // No sign is longer than three bytes.
        let columns = squares.clone().count();
        let bytes = columns
            .saturating_mul(3)
            .saturating_add(1)
            .saturating_mul(columns);
        let mut drawing = Zeroizing::new(String::with_capacity(bytes));
        for row in squares.clone().step_by(rows_a_line) {
            for column in squares.clone() {
                let below = row.saturating_add(1);
                drawing.push_str(sign(self.is_dark(column, row), self.is_dark(column, below)));
            }
            drawing.push('\n');
        }
        drawing
    }
}
