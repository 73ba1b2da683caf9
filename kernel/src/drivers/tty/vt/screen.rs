//! What stands on the screen: cells, cursor, colours, and the control sequences that change them
//! (Linux: drivers/tty/vt/vt.c; console_codes(4)). Pure: nothing here knows a framebuffer.

use vte::{Params, Perform};

use crate::prelude::*;

/// Colours of a cell: indexes into the 16 colours of the VGA palette.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attr {
    /// Foreground, 0-15.
    pub fg: u8,
    /// Background, 0-15.
    pub bg: u8,
    /// Underlined.
    pub underline: bool,
}

/// Light grey on black.
const DEFAULT_ATTR: Attr = Attr {
    fg: 7,
    bg: 0,
    underline: false,
};

/// One character on the screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    /// What is shown.
    pub ch: char,
    /// How.
    pub attr: Attr,
}

const BLANK: Cell = Cell {
    ch: ' ',
    attr: DEFAULT_ATTR,
};

/// What SGR collected; `attr()` makes the cell's colours of it.
#[derive(Clone, Copy)]
struct Rendition {
    fg: u8,
    bg: u8,
    bold: bool,
    underline: bool,
    blink: bool,
    reverse: bool,
}

const DEFAULT_RENDITION: Rendition = Rendition {
    fg: 7,
    bg: 0,
    bold: false,
    underline: false,
    blink: false,
    reverse: false,
};

impl Rendition {
    fn attr(self) -> Attr {
        let fg = if self.bold && self.fg < 8 {
            self.fg + 8
        } else {
            self.fg
        };
        let bg = if self.blink && self.bg < 8 {
            self.bg + 8
        } else {
            self.bg
        };
        let (fg, bg) = if self.reverse { (bg, fg) } else { (fg, bg) };
        Attr {
            fg,
            bg,
            underline: self.underline,
        }
    }
}

#[derive(Clone, Copy)]
struct Cursor {
    x: usize,
    y: usize,
    /// A character in the last column was printed: the next one wraps first.
    wrap_pending: bool,
    rendition: Rendition,
    origin_mode: bool,
    /// DEC line drawing characters are selected.
    graphics: bool,
}

/// The screen of one terminal.
pub struct Screen {
    cols: usize,
    rows: usize,
    cells: Vec<Cell>,
    cursor: Cursor,
    saved: Cursor,
    /// First and last line of the scrolling region.
    region: (usize, usize),
    tabs: Vec<bool>,
    /// DECTCEM.
    pub cursor_visible: bool,
    autowrap: bool,
    insert: bool,
    /// LNM: a line feed returns the carriage too.
    newline_mode: bool,
    /// DECCKM: cursor keys send ESC O x.
    pub cursor_keys: bool,
    /// Answers to reports, to be delivered as input.
    pub replies: Vec<u8>,
    /// The bell rang.
    pub bell: bool,
    /// Lines that must be drawn again.
    dirty: Vec<bool>,
}

impl Screen {
    /// A blank screen.
    pub fn new(cols: usize, rows: usize) -> Self {
        let (cols, rows) = (cols.max(1), rows.max(1));
        let cursor = Cursor {
            x: 0,
            y: 0,
            wrap_pending: false,
            rendition: DEFAULT_RENDITION,
            origin_mode: false,
            graphics: false,
        };
        Self {
            cols,
            rows,
            cells: vec![BLANK; cols * rows],
            cursor,
            saved: cursor,
            region: (0, rows - 1),
            tabs: (0..cols).map(|x| x % 8 == 0).collect(),
            cursor_visible: true,
            autowrap: true,
            insert: false,
            newline_mode: false,
            cursor_keys: false,
            replies: Vec::new(),
            bell: false,
            dirty: vec![true; rows],
        }
    }

    /// Columns and lines.
    pub fn size(&self) -> (usize, usize) {
        (self.cols, self.rows)
    }

    /// A line's cells.
    pub fn line(&self, y: usize) -> &[Cell] {
        &self.cells[y * self.cols..(y + 1) * self.cols]
    }

    /// Where the cursor is: column, line.
    pub fn cursor(&self) -> (usize, usize) {
        (self.cursor.x, self.cursor.y)
    }

    /// The next line to draw again; it counts as drawn.
    pub fn take_dirty(&mut self) -> Option<usize> {
        let y = self.dirty.iter().position(|dirty| *dirty)?;
        self.dirty[y] = false;
        Some(y)
    }

    fn touch(&mut self, y: usize) {
        self.dirty[y] = true;
    }

    fn touch_lines(&mut self, first: usize, last: usize) {
        self.dirty[first..=last].fill(true);
    }

    fn blank(&self) -> Cell {
        // Erased cells take the background colour, as on Linux's console.
        let attr = self.cursor.rendition.attr();
        Cell {
            ch: ' ',
            attr: Attr {
                underline: false,
                ..attr
            },
        }
    }

    fn fill(&mut self, from: usize, to: usize) {
        if from < to {
            let blank = self.blank();
            self.cells[from..to].fill(blank);
            self.touch_lines(from / self.cols, (to - 1) / self.cols);
        }
    }

    // --- moving ---

    fn go_to(&mut self, x: usize, y: usize) {
        let (top, bottom) = if self.cursor.origin_mode {
            self.region
        } else {
            (0, self.rows - 1)
        };
        self.touch(self.cursor.y);
        self.cursor.x = x.min(self.cols - 1);
        self.cursor.y = y.clamp(top, bottom);
        self.cursor.wrap_pending = false;
        self.touch(self.cursor.y);
    }

    /// Rows as control sequences count them begin at the region's top in origin mode.
    fn go_to_reported(&mut self, x: usize, y: usize) {
        let top = if self.cursor.origin_mode {
            self.region.0
        } else {
            0
        };
        self.go_to(x, top + y);
    }

    fn up(&mut self, n: usize) {
        let top = if self.cursor.y >= self.region.0 {
            self.region.0
        } else {
            0
        };
        self.go_to(self.cursor.x, self.cursor.y.saturating_sub(n).max(top));
    }

    fn down(&mut self, n: usize) {
        let below = self.cursor.y > self.region.1;
        let bottom = if below { self.rows - 1 } else { self.region.1 };
        self.go_to(self.cursor.x, (self.cursor.y + n).min(bottom));
    }

    fn line_feed(&mut self) {
        if self.cursor.y == self.region.1 {
            self.scroll_up(self.region.0, self.region.1, 1);
        } else if self.cursor.y + 1 < self.rows {
            self.go_to(self.cursor.x, self.cursor.y + 1);
        }
        self.cursor.wrap_pending = false;
        if self.newline_mode {
            self.cursor.x = 0;
        }
    }

    fn reverse_line_feed(&mut self) {
        if self.cursor.y == self.region.0 {
            self.scroll_down(self.region.0, self.region.1, 1);
        } else if self.cursor.y > 0 {
            self.go_to(self.cursor.x, self.cursor.y - 1);
        }
    }

    fn scroll_up(&mut self, top: usize, bottom: usize, n: usize) {
        let n = n.min(bottom - top + 1);
        let (from, to) = (top * self.cols, (bottom + 1) * self.cols);
        self.cells.copy_within(from + n * self.cols..to, from);
        self.touch_lines(top, bottom);
        self.fill(to - n * self.cols, to);
    }

    fn scroll_down(&mut self, top: usize, bottom: usize, n: usize) {
        let n = n.min(bottom - top + 1);
        let (from, to) = (top * self.cols, (bottom + 1) * self.cols);
        self.cells
            .copy_within(from..to - n * self.cols, from + n * self.cols);
        self.touch_lines(top, bottom);
        self.fill(from, from + n * self.cols);
    }

    fn tab(&mut self) {
        let next = (self.cursor.x + 1..self.cols).find(|x| self.tabs[*x]);
        self.go_to(next.unwrap_or(self.cols - 1), self.cursor.y);
    }

    fn back_tab(&mut self) {
        let before = (0..self.cursor.x).rev().find(|x| self.tabs[*x]);
        self.go_to(before.unwrap_or(0), self.cursor.y);
    }

    // --- erasing and shifting ---

    fn here(&self) -> usize {
        self.cursor.y * self.cols + self.cursor.x
    }

    fn erase_in_display(&mut self, what: usize) {
        match what {
            0 => self.fill(self.here(), self.cells.len()),
            1 => self.fill(0, self.here() + 1),
            2 | 3 => self.fill(0, self.cells.len()),
            _ => {}
        }
        self.cursor.wrap_pending = false;
    }

    fn erase_in_line(&mut self, what: usize) {
        let start = self.cursor.y * self.cols;
        match what {
            0 => self.fill(self.here(), start + self.cols),
            1 => self.fill(start, self.here() + 1),
            2 => self.fill(start, start + self.cols),
            _ => {}
        }
        self.cursor.wrap_pending = false;
    }

    fn insert_chars(&mut self, n: usize) {
        let (here, end) = (self.here(), (self.cursor.y + 1) * self.cols);
        let n = n.min(end - here);
        self.cells.copy_within(here..end - n, here + n);
        self.touch(self.cursor.y);
        self.fill(here, here + n);
    }

    fn delete_chars(&mut self, n: usize) {
        let (here, end) = (self.here(), (self.cursor.y + 1) * self.cols);
        let n = n.min(end - here);
        self.cells.copy_within(here + n..end, here);
        self.touch(self.cursor.y);
        self.fill(end - n, end);
    }

    fn insert_lines(&mut self, n: usize) {
        if (self.region.0..=self.region.1).contains(&self.cursor.y) {
            self.scroll_down(self.cursor.y, self.region.1, n);
        }
    }

    fn delete_lines(&mut self, n: usize) {
        if (self.region.0..=self.region.1).contains(&self.cursor.y) {
            self.scroll_up(self.cursor.y, self.region.1, n);
        }
    }

    fn set_region(&mut self, top: usize, bottom: usize) {
        let bottom = if bottom == 0 {
            self.rows
        } else {
            bottom.min(self.rows)
        };
        let top = top.max(1);
        if top < bottom {
            self.region = (top - 1, bottom - 1);
            self.go_to_reported(0, 0);
        }
    }

    fn reset(&mut self) {
        let (cols, rows) = self.size();
        let replies = core::mem::take(&mut self.replies);
        *self = Self::new(cols, rows);
        self.replies = replies;
    }

    // --- modes and colours ---

    fn set_mode(&mut self, private: bool, mode: u16, on: bool) {
        match (private, mode) {
            (true, 1) => self.cursor_keys = on,
            (true, 6) => {
                self.cursor.origin_mode = on;
                self.go_to_reported(0, 0);
            }
            (true, 7) => self.autowrap = on,
            (true, 25) => {
                self.cursor_visible = on;
                self.touch(self.cursor.y);
            }
            (false, 4) => self.insert = on,
            (false, 20) => self.newline_mode = on,
            _ => {}
        }
    }

    fn select_rendition(&mut self, params: &Params) {
        let mut codes = params.iter();
        while let Some(code) = codes.next() {
            match code.first().copied().unwrap_or(0) {
                38 => {
                    if let Some(colour) = extended_colour(&mut codes) {
                        self.cursor.rendition.fg = colour;
                    }
                }
                48 => {
                    if let Some(colour) = extended_colour(&mut codes) {
                        self.cursor.rendition.bg = colour;
                    }
                }
                code => self.rendition_code(code),
            }
        }
    }

    fn rendition_code(&mut self, code: u16) {
        let r = &mut self.cursor.rendition;
        match code {
            0 => *r = DEFAULT_RENDITION,
            1 => r.bold = true,
            4 => r.underline = true,
            5 => r.blink = true,
            7 => r.reverse = true,
            21 | 22 => r.bold = false,
            24 => r.underline = false,
            25 => r.blink = false,
            27 => r.reverse = false,
            30..=37 => r.fg = VGA_OF_ANSI[usize::from(code - 30)],
            39 => r.fg = DEFAULT_RENDITION.fg,
            40..=47 => r.bg = VGA_OF_ANSI[usize::from(code - 40)],
            49 => r.bg = DEFAULT_RENDITION.bg,
            90..=97 => r.fg = VGA_OF_ANSI[usize::from(code - 90)] + 8,
            100..=107 => r.bg = VGA_OF_ANSI[usize::from(code - 100)] + 8,
            _ => {}
        }
    }

    fn report(&mut self, what: usize, private: bool) {
        match (private, what) {
            (false, 5) => self.replies.extend_from_slice(b"\x1b[0n"),
            (false, 6) => {
                let top = if self.cursor.origin_mode {
                    self.region.0
                } else {
                    0
                };
                let (x, y) = (self.cursor.x + 1, self.cursor.y - top + 1);
                self.replies
                    .extend_from_slice(format!("\x1b[{y};{x}R").as_bytes());
            }
            _ => {}
        }
    }
}

/// The VGA palette has red and blue the other way round than ANSI's numbers.
const VGA_OF_ANSI: [u8; 8] = [0, 4, 2, 6, 1, 5, 3, 7];

/// `5;n` and `2;r;g;b`, to the nearest of 16 colours.
fn extended_colour<'a>(codes: &mut impl Iterator<Item = &'a [u16]>) -> Option<u8> {
    let mut next = || codes.next().and_then(|code| code.first().copied());
    match next()? {
        5 => Some(match next()? {
            n @ 0..=7 => VGA_OF_ANSI[usize::from(n)],
            n @ 8..=15 => VGA_OF_ANSI[usize::from(n - 8)] + 8,
            n @ 16..=231 => {
                let n = n - 16;
                nearest(n / 36 * 51, n / 6 % 6 * 51, n % 6 * 51)
            }
            n => {
                let grey = (n.min(255) - 232) * 10 + 8;
                nearest(grey, grey, grey)
            }
        }),
        2 => {
            let (r, g, b) = (next()?, next()?, next()?);
            Some(nearest(r, g, b))
        }
        _ => None,
    }
}

fn nearest(r: u16, g: u16, b: u16) -> u8 {
    let brightest = r.max(g).max(b);
    let on = |component: u16, bit: u8| if component * 2 > brightest { bit } else { 0 };
    match brightest {
        0..=63 => 0,
        _ if r.abs_diff(g) < 32 && g.abs_diff(b) < 32 => match brightest {
            64..=127 => 8,
            128..=200 => 7,
            _ => 15,
        },
        _ => (on(r, 4) | on(g, 2) | on(b, 1)) + if brightest > 170 { 8 } else { 0 },
    }
}

impl Perform for Screen {
    fn print(&mut self, ch: char) {
        let ch = if self.cursor.graphics {
            line_drawing(ch)
        } else {
            ch
        };
        if self.cursor.wrap_pending && self.autowrap {
            self.cursor.x = 0;
            self.line_feed();
        }
        if self.insert {
            self.insert_chars(1);
        }
        let (here, attr) = (self.here(), self.cursor.rendition.attr());
        self.cells[here] = Cell { ch, attr };
        self.touch(self.cursor.y);
        if self.cursor.x + 1 < self.cols {
            self.cursor.x += 1;
        } else {
            self.cursor.wrap_pending = true;
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            7 => self.bell = true,
            8 => self.go_to(self.cursor.x.saturating_sub(1), self.cursor.y),
            9 => self.tab(),
            10..=12 => self.line_feed(),
            13 => self.go_to(0, self.cursor.y),
            14 => self.cursor.graphics = true,
            15 => self.cursor.graphics = false,
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _ignore: bool, action: char) {
        let number = |index: usize| {
            params
                .iter()
                .nth(index)
                .and_then(|p| p.first().copied())
                .map_or(0, usize::from)
        };
        let count = number(0).max(1);
        let private = intermediates.first() == Some(&b'?');
        match action {
            'A' => self.up(count),
            'B' | 'e' => self.down(count),
            'C' | 'a' => self.go_to(self.cursor.x + count, self.cursor.y),
            'D' => self.go_to(self.cursor.x.saturating_sub(count), self.cursor.y),
            'E' => {
                self.down(count);
                self.go_to(0, self.cursor.y);
            }
            'F' => {
                self.up(count);
                self.go_to(0, self.cursor.y);
            }
            'G' | '`' => self.go_to(count - 1, self.cursor.y),
            'd' => self.go_to_reported(self.cursor.x, count - 1),
            'H' | 'f' => self.go_to_reported(number(1).max(1) - 1, count - 1),
            'J' => self.erase_in_display(number(0)),
            'K' => self.erase_in_line(number(0)),
            'L' => self.insert_lines(count),
            'M' => self.delete_lines(count),
            'P' => self.delete_chars(count),
            '@' => self.insert_chars(count),
            'X' => {
                let end = (self.cursor.y + 1) * self.cols;
                self.fill(self.here(), (self.here() + count).min(end));
            }
            'S' if !private => self.scroll_up(self.region.0, self.region.1, count),
            'T' if !private => self.scroll_down(self.region.0, self.region.1, count),
            'Z' => (0..count.min(self.cols)).for_each(|_| self.back_tab()),
            'c' if intermediates.is_empty() && number(0) == 0 => {
                self.replies.extend_from_slice(b"\x1b[?6c");
            }
            'g' if number(0) == 3 => self.tabs.fill(false),
            'g' if number(0) == 0 => self.tabs[self.cursor.x] = false,
            'h' | 'l' => {
                for mode in params.iter().filter_map(|p| p.first()) {
                    self.set_mode(private, *mode, action == 'h');
                }
            }
            'm' if !private => self.select_rendition(params),
            'n' => self.report(number(0), private),
            'r' if !private => self.set_region(number(0), number(1)),
            's' if !private => self.saved = self.cursor,
            'u' if !private => self.restore_cursor(),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _ignore: bool, byte: u8) {
        match (intermediates.first(), byte) {
            (None, b'D') => self.line_feed(),
            (None, b'E') => {
                self.go_to(0, self.cursor.y);
                self.line_feed();
            }
            (None, b'H') => self.tabs[self.cursor.x] = true,
            (None, b'M') => self.reverse_line_feed(),
            (None, b'Z') => self.replies.extend_from_slice(b"\x1b[?6c"),
            (None, b'c') => self.reset(),
            (None, b'7') => self.saved = self.cursor,
            (None, b'8') => self.restore_cursor(),
            (Some(b'('), b'0') => self.cursor.graphics = true,
            (Some(b'('), _) => self.cursor.graphics = false,
            (Some(b'#'), b'8') => self.alignment_test(),
            _ => {}
        }
    }
}

impl Screen {
    fn restore_cursor(&mut self) {
        self.touch(self.cursor.y);
        self.cursor = self.saved;
        self.cursor.x = self.cursor.x.min(self.cols - 1);
        self.cursor.y = self.cursor.y.min(self.rows - 1);
        self.touch(self.cursor.y);
    }

    fn alignment_test(&mut self) {
        self.cells.fill(Cell {
            ch: 'E',
            attr: DEFAULT_ATTR,
        });
        self.dirty.fill(true);
    }
}

/// The DEC special graphics characters, with what a small font has.
fn line_drawing(ch: char) -> char {
    match ch {
        'j' | 'k' | 'l' | 'm' | 'n' | 't' | 'u' | 'v' | 'w' => '+',
        'q' | 'o' | 'p' | 'r' | 's' => '-',
        'x' => '|',
        'a' => '#',
        '~' => '.',
        _ => ch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> Screen {
        let mut screen = Screen::new(20, 5);
        vte::Parser::new().advance(&mut screen, text.as_bytes());
        screen
    }

    fn line(screen: &Screen, y: usize) -> String {
        let text: String = screen.line(y).iter().map(|cell| cell.ch).collect();
        String::from(text.trim_end())
    }

    #[test]
    fn text_wraps_at_the_last_column_and_scrolls_at_the_last_line() {
        let screen = show("abcdefghijklmnopqrstuvwxyz");
        assert_eq!(
            (line(&screen, 0).len(), line(&screen, 1)),
            (20, String::from("uvwxyz"))
        );
        let screen = show("1\r\n2\r\n3\r\n4\r\n5\r\n6");
        assert_eq!(
            (line(&screen, 0), line(&screen, 4)),
            (String::from("2"), String::from("6"))
        );
    }

    #[test]
    fn the_cursor_waits_behind_the_last_column() {
        let screen = show("abcdefghijklmnopqrst");
        assert_eq!(screen.cursor(), (19, 0));
        assert_eq!(line(&screen, 1), "");
    }

    #[test]
    fn cursor_addressing_and_erasing() {
        let screen = show("hello\x1b[1;3HXY\x1b[K\x1b[2;1Hbelow");
        assert_eq!(
            (line(&screen, 0), line(&screen, 1)),
            (String::from("heXY"), String::from("below"))
        );
        assert_eq!(line(&show("hello\x1b[2J"), 0), "");
    }

    #[test]
    fn a_position_report_answers_with_line_and_column() {
        let screen = show("\x1b[3;7H\x1b[6n");
        assert_eq!(screen.replies, b"\x1b[3;7R");
    }

    #[test]
    fn a_scrolling_region_leaves_the_other_lines_alone() {
        let screen = show("top\x1b[2;4r\x1b[4;1Ha\nb\nc\nd\x1b[5;1Hend");
        assert_eq!(
            (line(&screen, 0), line(&screen, 4)),
            (String::from("top"), String::from("end"))
        );
    }

    #[test]
    fn lines_and_characters_are_inserted_and_deleted() {
        let screen = show("one\r\ntwo\x1b[1;1H\x1b[Lnew\x1b[2;1H\x1b[2P");
        assert_eq!(
            (line(&screen, 0), line(&screen, 1)),
            (String::from("new"), String::from("e"))
        );
        assert_eq!(line(&show("abc\x1b[1;1H\x1b[2@"), 0), "  abc");
    }

    #[test]
    fn colours_bold_and_reverse_reach_the_cell() {
        let screen = show("\x1b[1;31;44mx\x1b[7my\x1b[0mz");
        let attrs: Vec<(u8, u8)> = screen.line(0)[..3]
            .iter()
            .map(|c| (c.attr.fg, c.attr.bg))
            .collect();
        assert_eq!(attrs, [(12, 1), (1, 12), (7, 0)]);
    }

    #[test]
    fn random_bytes_never_panic_and_keep_the_cursor_inside() {
        let mut state = 1u64;
        let mut screen = Screen::new(13, 7);
        let mut parser = vte::Parser::new();
        for _ in 0..200_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            let pool = b"\x1b\x1b[[;0123456789?ABCDEFGHJKLMPSTXZ@hlmnrsu78cDEM(#)\n\r\t\x08abc";
            let byte = pool[(state >> 33) as usize % pool.len()];
            parser.advance(&mut screen, &[byte]);
            screen.replies.clear();
            let (x, y) = screen.cursor();
            assert!(x < 13 && y < 7);
        }
    }
}
