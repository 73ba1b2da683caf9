//! The standard line discipline (Linux: drivers/tty/n_tty.c).
//!
//! Pure bookkeeping: bytes from the device go in, bytes for readers and echoes for the device
//! come out, signals are reported to the caller. Whoever owns it holds its lock.

use alloc::collections::VecDeque;

use uapi::signal::{SIGINT, SIGQUIT, SIGTSTP};
use uapi::termios::*;

use crate::prelude::*;

/// Bytes that can wait for a reader (Linux: N_TTY_BUF_SIZE).
pub const N_TTY_BUF_SIZE: usize = 4096;

/// What input did besides adding bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Send this signal to the foreground group.
    Signal(i32),
    /// Readers may find something now.
    Readable,
    /// Output stops (true) or goes on (IXON).
    FlowStopped(bool),
}

/// Receives the echo.
pub trait Echo {
    /// Bytes for the device, already processed.
    fn echo(&mut self, bytes: &[u8]);
}

/// How many readable bytes there are, and how a read must look at them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    Byte(u8),
    /// Ends a line and is read.
    Newline(u8),
    /// Ends a line and is not read (EOF character).
    Eof,
}

/// State of one terminal's line discipline.
pub struct NTty {
    /// Input that a reader may take: everything up to the last line end in canonical mode.
    ready: VecDeque<Mark>,
    /// The line being edited (canonical mode).
    line: Vec<u8>,
    /// Line ends in `ready`.
    lines: usize,
    /// The next byte is literal (VLNEXT).
    lnext: bool,
    /// Output column, for tabs and erasing them.
    column: usize,
    /// Column where the edited line began.
    canon_column: usize,
    /// Output was stopped by ^S.
    stopped: bool,
    /// In an ECHOPRT erase.
    erasing: bool,
}

impl Default for NTty {
    fn default() -> Self {
        Self::new()
    }
}

impl NTty {
    /// Nothing read, nothing written.
    pub const fn new() -> Self {
        Self {
            ready: VecDeque::new(),
            line: Vec::new(),
            lines: 0,
            lnext: false,
            column: 0,
            canon_column: 0,
            stopped: false,
            erasing: false,
        }
    }

    // --- input ---

    /// One byte from the device.
    pub fn receive(&mut self, byte: u8, t: &Termios, echo: &mut dyn Echo) -> Option<Event> {
        let byte = self.map_input(byte, t)?;
        if self.lnext {
            self.lnext = false;
            return self.add_literal(byte, t, echo);
        }
        if t.c_iflag & IXON != 0
            && let Some(event) = self.flow_control(byte, t)
        {
            return event;
        }
        if t.c_lflag & ISIG != 0
            && let Some(signal) = signal_of(byte, t)
        {
            return Some(self.signal(signal, byte, t, echo));
        }
        if t.c_lflag & ICANON != 0 {
            return self.canonical(byte, t, echo);
        }
        self.add_raw(byte, t, echo)
    }

    /// ISTRIP, IUCLC, IGNCR, ICRNL, INLCR; `None` drops the byte.
    fn map_input(&self, byte: u8, t: &Termios) -> Option<u8> {
        let mut byte = if t.c_iflag & ISTRIP != 0 {
            byte & 0x7f
        } else {
            byte
        };
        if t.c_iflag & IUCLC != 0 && t.c_lflag & IEXTEN != 0 {
            byte = byte.to_ascii_lowercase();
        }
        match byte {
            b'\r' if t.c_iflag & IGNCR != 0 => None,
            b'\r' if t.c_iflag & ICRNL != 0 => Some(b'\n'),
            b'\n' if t.c_iflag & INLCR != 0 => Some(b'\r'),
            _ => Some(byte),
        }
    }

    fn flow_control(&mut self, byte: u8, t: &Termios) -> Option<Option<Event>> {
        if is_cc(byte, t, VSTART) {
            self.stopped = false;
            return Some(Some(Event::FlowStopped(false)));
        }
        if is_cc(byte, t, VSTOP) {
            self.stopped = true;
            return Some(Some(Event::FlowStopped(true)));
        }
        if self.stopped && t.c_iflag & IXANY != 0 {
            self.stopped = false;
        }
        None
    }

    fn signal(&mut self, signal: i32, byte: u8, t: &Termios, echo: &mut dyn Echo) -> Event {
        if t.c_lflag & NOFLSH == 0 {
            self.flush_input();
        }
        if t.c_lflag & ECHO != 0 {
            self.echo_char(byte, t, echo);
        }
        Event::Signal(signal)
    }

    fn add_literal(&mut self, byte: u8, t: &Termios, echo: &mut dyn Echo) -> Option<Event> {
        if t.c_lflag & ICANON == 0 {
            return self.add_raw(byte, t, echo);
        }
        self.add_to_line(byte, t, echo);
        None
    }

    fn add_raw(&mut self, byte: u8, t: &Termios, echo: &mut dyn Echo) -> Option<Event> {
        if self.ready.len() >= N_TTY_BUF_SIZE - 1 {
            return self.overflow(t, echo);
        }
        if t.c_lflag & ECHO != 0 {
            self.echo_char(byte, t, echo);
        }
        self.ready.push_back(Mark::Byte(byte));
        Some(Event::Readable)
    }

    fn overflow(&mut self, t: &Termios, echo: &mut dyn Echo) -> Option<Event> {
        if t.c_iflag & IMAXBEL != 0 {
            echo.echo(b"\x07");
        }
        None
    }

    /// Canonical mode: the editing characters, then ordinary ones.
    fn canonical(&mut self, byte: u8, t: &Termios, echo: &mut dyn Echo) -> Option<Event> {
        let extended = t.c_lflag & IEXTEN != 0;
        if is_cc(byte, t, VERASE) || is_cc(byte, t, VKILL) || extended && is_cc(byte, t, VWERASE) {
            self.erase(byte, t, echo);
            return None;
        }
        if extended && is_cc(byte, t, VLNEXT) {
            self.lnext = true;
            if t.c_lflag & (ECHO | ECHOCTL) == ECHO | ECHOCTL {
                echo.echo(b"^\x08");
            }
            return None;
        }
        if extended && is_cc(byte, t, VREPRINT) && t.c_lflag & ECHO != 0 {
            self.reprint(byte, t, echo);
            return None;
        }
        if byte == b'\n' {
            if t.c_lflag & (ECHO | ECHONL) != 0 {
                self.echo_output(b'\n', t, echo);
            }
            return self.end_line(Mark::Newline(byte));
        }
        if is_cc(byte, t, VEOF) {
            return self.end_line(Mark::Eof);
        }
        if is_cc(byte, t, VEOL) || extended && is_cc(byte, t, VEOL2) {
            if t.c_lflag & ECHO != 0 {
                self.echo_char(byte, t, echo);
            }
            return self.end_line(Mark::Newline(byte));
        }
        self.add_to_line(byte, t, echo);
        None
    }

    fn add_to_line(&mut self, byte: u8, t: &Termios, echo: &mut dyn Echo) {
        // One place is kept for the line's end.
        if self.ready.len() + self.line.len() >= N_TTY_BUF_SIZE - 1 {
            self.overflow(t, echo);
            return;
        }
        if t.c_lflag & ECHO != 0 {
            self.finish_erasing(echo);
            if self.line.is_empty() {
                self.canon_column = self.column;
            }
            self.echo_char(byte, t, echo);
        }
        self.line.push(byte);
    }

    fn end_line(&mut self, end: Mark) -> Option<Event> {
        self.ready.extend(self.line.drain(..).map(Mark::Byte));
        self.ready.push_back(end);
        self.lines += 1;
        Some(Event::Readable)
    }

    // --- erasing ---

    fn erase(&mut self, key: u8, t: &Termios, echo: &mut dyn Echo) {
        if self.line.is_empty() {
            return;
        }
        if is_cc(key, t, VKILL) && !self.kill_by_erasing(key, t, echo) {
            return;
        }
        let word = is_cc(key, t, VWERASE);
        let whole = is_cc(key, t, VKILL);
        let mut seen_word = false;
        while let Some(&last) = self.line.last() {
            let part_of_word = last.is_ascii_alphanumeric() || last == b'_' || last >= 0x80;
            if word && seen_word && !part_of_word {
                break;
            }
            seen_word |= part_of_word;
            self.erase_one(key, t, echo);
            if !word && !whole {
                break;
            }
        }
        if self.line.is_empty() {
            self.finish_erasing(echo);
        }
    }

    /// False when the line was simply thrown away (no ECHOKE).
    fn kill_by_erasing(&mut self, key: u8, t: &Termios, echo: &mut dyn Echo) -> bool {
        if t.c_lflag & ECHO == 0 {
            self.line.clear();
            return false;
        }
        if t.c_lflag & (ECHOK | ECHOKE | ECHOE) != ECHOK | ECHOKE | ECHOE {
            self.line.clear();
            self.finish_erasing(echo);
            self.echo_char(key, t, echo);
            if t.c_lflag & ECHOK != 0 {
                self.echo_output(b'\n', t, echo);
            }
            return false;
        }
        true
    }

    /// Removes the last character: one byte, or a whole UTF-8 sequence.
    fn erase_one(&mut self, key: u8, t: &Termios, echo: &mut dyn Echo) {
        let mut start = self.line.len() - 1;
        if t.c_iflag & IUTF8 != 0 {
            while start > 0 && self.line[start] & 0xc0 == 0x80 {
                start -= 1;
            }
        }
        let removed: Vec<u8> = self.line.drain(start..).collect();
        if t.c_lflag & ECHO == 0 {
            return;
        }
        if t.c_lflag & ECHOPRT != 0 {
            self.print_erased(&removed, t, echo);
        } else if is_cc(key, t, VERASE) && t.c_lflag & ECHOE == 0 {
            self.echo_char(key, t, echo);
        } else {
            self.rub_out(&removed, t, echo);
        }
    }

    fn print_erased(&mut self, removed: &[u8], t: &Termios, echo: &mut dyn Echo) {
        if !self.erasing {
            echo.echo(b"\\");
            self.column += 1;
            self.erasing = true;
        }
        self.echo_char(removed[0], t, echo);
    }

    fn finish_erasing(&mut self, echo: &mut dyn Echo) {
        if self.erasing {
            echo.echo(b"/");
            self.column += 1;
            self.erasing = false;
        }
    }

    /// Takes the character off the screen.
    fn rub_out(&mut self, removed: &[u8], t: &Termios, echo: &mut dyn Echo) {
        let width = match removed[0] {
            b'\t' => self.column - self.column_of_line(t),
            byte if is_control(byte) => 2 * usize::from(t.c_lflag & ECHOCTL != 0),
            _ => 1,
        };
        for _ in 0..width {
            if removed[0] == b'\t' {
                echo.echo(b"\x08");
            } else {
                echo.echo(b"\x08 \x08");
            }
            self.column = self.column.saturating_sub(1);
        }
    }

    /// Column after the edited line, computed anew: where the cursor goes when a tab is erased.
    fn column_of_line(&self, t: &Termios) -> usize {
        let mut column = self.canon_column;
        for byte in &self.line {
            column += match *byte {
                b'\t' => 8 - column % 8,
                byte if is_control(byte) => 2 * usize::from(t.c_lflag & ECHOCTL != 0),
                byte if t.c_iflag & IUTF8 != 0 && byte & 0xc0 == 0x80 => 0,
                _ => 1,
            };
        }
        column
    }

    fn reprint(&mut self, key: u8, t: &Termios, echo: &mut dyn Echo) {
        self.finish_erasing(echo);
        self.echo_char(key, t, echo);
        self.echo_output(b'\n', t, echo);
        for byte in self.line.clone() {
            self.echo_char(byte, t, echo);
        }
    }

    // --- echo and output ---

    /// Echoes a byte; control characters as ^X with ECHOCTL.
    fn echo_char(&mut self, byte: u8, t: &Termios, echo: &mut dyn Echo) {
        if t.c_lflag & ECHOCTL != 0 && is_control(byte) && byte != b'\t' && byte != b'\n' {
            echo.echo(&[b'^', byte ^ 0x40]);
            self.column += 2;
        } else {
            self.echo_output(byte, t, echo);
        }
    }

    fn echo_output(&mut self, byte: u8, t: &Termios, echo: &mut dyn Echo) {
        let mut out = OutBytes::default();
        self.process_output(byte, t, &mut out);
        echo.echo(out.as_slice());
    }

    /// What the device gets for a byte that a program wrote (OPOST).
    pub fn process_output(&mut self, byte: u8, t: &Termios, out: &mut OutBytes) {
        if t.c_oflag & OPOST == 0 {
            out.push(byte);
            return;
        }
        match byte {
            b'\n' if t.c_oflag & ONLCR != 0 => {
                self.column = 0;
                self.canon_column = 0;
                out.push(b'\r');
                out.push(b'\n');
            }
            b'\n' => {
                if t.c_oflag & ONLRET != 0 {
                    self.column = 0;
                }
                out.push(b'\n');
            }
            b'\r' if t.c_oflag & ONOCR != 0 && self.column == 0 => {}
            b'\r' if t.c_oflag & OCRNL != 0 => out.push(b'\n'),
            b'\r' => {
                self.column = 0;
                self.canon_column = 0;
                out.push(b'\r');
            }
            b'\t' => {
                let spaces = 8 - self.column % 8;
                self.column += spaces;
                if t.c_oflag & TABDLY == XTABS {
                    (0..spaces).for_each(|_| out.push(b' '));
                } else {
                    out.push(b'\t');
                }
            }
            8 => {
                self.column = self.column.saturating_sub(1);
                out.push(8);
            }
            byte => {
                let upper = t.c_oflag & OLCUC != 0;
                if !is_control(byte) && (t.c_iflag & IUTF8 == 0 || byte & 0xc0 != 0x80) {
                    self.column += 1;
                }
                out.push(if upper {
                    byte.to_ascii_uppercase()
                } else {
                    byte
                });
            }
        }
    }

    // --- reading ---

    /// Bytes a read would find: for poll(2) and FIONREAD.
    pub fn available(&self, t: &Termios) -> usize {
        if t.c_lflag & ICANON == 0 {
            return self.ready.len();
        }
        if self.lines == 0 {
            return 0;
        }
        self.ready
            .iter()
            .filter(|mark| !matches!(mark, Mark::Eof))
            .count()
    }

    /// Whether a canonical read returns now (an empty line by EOF counts).
    pub fn has_line(&self) -> bool {
        self.lines > 0
    }

    /// Takes what one read(2) returns: a line or a part of it, or in raw mode what is there.
    pub fn read(&mut self, buf: &mut [u8], t: &Termios) -> usize {
        let canonical = t.c_lflag & ICANON != 0;
        let mut n = 0;
        while n < buf.len() {
            match self.ready.pop_front() {
                None => break,
                Some(Mark::Byte(byte)) => {
                    buf[n] = byte;
                    n += 1;
                    // An EOF right behind a full buffer must not become an empty read.
                    if n == buf.len() && canonical && self.ready.front() == Some(&Mark::Eof) {
                        self.ready.pop_front();
                        self.lines -= 1;
                    }
                }
                Some(Mark::Newline(byte)) => {
                    buf[n] = byte;
                    n += 1;
                    self.lines -= 1;
                    if canonical {
                        break;
                    }
                }
                Some(Mark::Eof) => {
                    self.lines -= 1;
                    if canonical {
                        break;
                    }
                }
            }
        }
        n
    }

    /// Throws away what nobody has read (TCIFLUSH, a signal character).
    pub fn flush_input(&mut self) {
        self.ready.clear();
        self.line.clear();
        self.lines = 0;
        self.lnext = false;
    }

    /// The mode changed: a half-edited line becomes readable when canonical mode ends.
    pub fn set_termios(&mut self, old: &Termios, new: &Termios) {
        if old.c_lflag & ICANON != 0 && new.c_lflag & ICANON == 0 {
            self.ready.extend(self.line.drain(..).map(Mark::Byte));
        }
        if new.c_iflag & IXON == 0 {
            self.stopped = false;
        }
        self.lnext = false;
        self.erasing = false;
    }

    /// Output is stopped by the stop character.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Stops or restarts output (TCXONC).
    pub fn set_stopped(&mut self, stopped: bool) {
        self.stopped = stopped;
    }
}

/// Up to eight bytes of processed output (a tab as spaces).
#[derive(Default)]
pub struct OutBytes {
    bytes: [u8; 8],
    len: usize,
}

impl OutBytes {
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
    /// Nothing in it.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// Whether `byte` is the control character `which`; a value of 0 switches it off.
fn is_cc(byte: u8, t: &Termios, which: usize) -> bool {
    t.c_cc[which] != VDISABLE && t.c_cc[which] == byte
}

fn signal_of(byte: u8, t: &Termios) -> Option<i32> {
    [(VINTR, SIGINT), (VQUIT, SIGQUIT), (VSUSP, SIGTSTP)]
        .into_iter()
        .find(|(which, _)| is_cc(byte, t, *which))
        .map(|(_, signal)| signal)
}

/// Linux's defaults (`tty_std_termios`): canonical, echo, signals, NL to CR-NL.
pub fn tty_std_termios() -> Termios {
    Termios {
        c_iflag: ICRNL | IXON,
        c_oflag: OPOST | ONLCR,
        c_cflag: B38400 | CS8 | CREAD | HUPCL,
        c_lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
        c_line: 0,
        c_cc: INIT_C_CC,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Screen(Vec<u8>);
    impl Echo for Screen {
        fn echo(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }

    struct Session {
        ldisc: NTty,
        termios: Termios,
        screen: Screen,
        events: Vec<Event>,
    }

    impl Session {
        fn new() -> Self {
            Self {
                ldisc: NTty::new(),
                termios: tty_std_termios(),
                screen: Screen::default(),
                events: Vec::new(),
            }
        }
        fn type_text(&mut self, text: &[u8]) {
            for byte in text {
                let event = self.ldisc.receive(*byte, &self.termios, &mut self.screen);
                self.events.extend(event);
            }
        }
        fn read(&mut self, room: usize) -> Vec<u8> {
            let mut buf = vec![0; room];
            let n = self.ldisc.read(&mut buf, &self.termios);
            buf.truncate(n);
            buf
        }
    }

    #[test]
    fn a_line_is_readable_only_when_it_ends() {
        let mut s = Session::new();
        s.type_text(b"ls");
        assert_eq!(s.ldisc.available(&s.termios), 0);
        s.type_text(b"\r");
        assert_eq!(s.read(100), b"ls\n");
        assert_eq!(s.screen.0, b"ls\r\n");
    }

    #[test]
    fn a_read_returns_one_line_at_most() {
        let mut s = Session::new();
        s.type_text(b"one\ntwo\n");
        assert_eq!(s.read(100), b"one\n");
        assert_eq!(s.read(2), b"tw");
        assert_eq!(s.read(100), b"o\n");
        assert!(!s.ldisc.has_line());
    }

    #[test]
    fn erase_takes_back_one_character_and_its_echo() {
        let mut s = Session::new();
        s.type_text(b"ab\x7fc\n");
        assert_eq!(s.read(100), b"ac\n");
        assert_eq!(s.screen.0, b"ab\x08 \x08c\r\n");
    }

    #[test]
    fn erasing_a_utf8_character_takes_all_its_bytes() {
        let mut s = Session::new();
        s.termios.c_iflag |= IUTF8;
        s.type_text("aé".as_bytes());
        s.type_text(b"\x7f\n");
        assert_eq!(s.read(100), b"a\n");
    }

    #[test]
    fn kill_and_word_erase_remove_what_they_should() {
        let mut s = Session::new();
        s.type_text(b"echo hello world\x17\n");
        assert_eq!(s.read(100), b"echo hello \n");
        s.type_text(b"junk\x15good\n");
        assert_eq!(s.read(100), b"good\n");
    }

    #[test]
    fn erasing_a_tab_goes_back_to_where_it_began() {
        let mut s = Session::new();
        s.type_text(b"ab\t\x7f");
        assert_eq!(s.screen.0, b"ab\t\x08\x08\x08\x08\x08\x08");
    }

    #[test]
    fn control_c_sends_sigint_and_drops_the_line() {
        let mut s = Session::new();
        s.type_text(b"sleep 9\x03");
        assert_eq!(s.events.last(), Some(&Event::Signal(SIGINT)));
        assert!(s.screen.0.ends_with(b"^C"));
        s.type_text(b"x\n");
        assert_eq!(s.read(100), b"x\n");
    }

    #[test]
    fn end_of_file_gives_an_empty_read_on_an_empty_line_only() {
        let mut s = Session::new();
        s.type_text(b"ab\x04");
        assert_eq!(s.read(100), b"ab");
        s.type_text(b"\x04");
        assert!(s.ldisc.has_line());
        assert_eq!(s.read(100), b"");
        assert!(!s.ldisc.has_line());
    }

    #[test]
    fn an_end_of_file_behind_a_full_buffer_is_not_a_second_read() {
        let mut s = Session::new();
        s.type_text(b"abc\x04");
        assert_eq!(s.read(3), b"abc");
        assert!(!s.ldisc.has_line());
    }

    #[test]
    fn lnext_makes_a_control_character_ordinary() {
        let mut s = Session::new();
        s.type_text(b"\x16\x03\n");
        assert_eq!(s.read(100), b"\x03\n");
        assert!(!s.events.contains(&Event::Signal(SIGINT)));
    }

    #[test]
    fn raw_mode_passes_every_byte_at_once() {
        let mut s = Session::new();
        s.termios.c_lflag &= !(ICANON | ECHO | ISIG | IEXTEN);
        s.termios.c_iflag &= !(ICRNL | IXON);
        s.type_text(b"\x03\x1b[A\r");
        assert_eq!(s.read(100), b"\x03\x1b[A\r");
        assert!(s.screen.0.is_empty());
    }

    #[test]
    fn leaving_canonical_mode_gives_the_half_typed_line_to_the_reader() {
        let mut s = Session::new();
        s.type_text(b"half");
        let old = s.termios;
        s.termios.c_lflag &= !ICANON;
        s.ldisc.set_termios(&old, &s.termios);
        assert_eq!(s.read(100), b"half");
    }

    #[test]
    fn too_long_a_line_rings_the_bell_and_keeps_room_for_its_end() {
        let mut s = Session::new();
        s.termios.c_iflag |= IMAXBEL;
        s.type_text(&vec![b'x'; N_TTY_BUF_SIZE + 10]);
        s.type_text(b"\n");
        let line = s.read(2 * N_TTY_BUF_SIZE);
        assert_eq!(line.len(), N_TTY_BUF_SIZE);
        assert_eq!(line.last(), Some(&b'\n'));
        assert!(s.screen.0.contains(&7));
    }

    #[test]
    fn stop_and_start_characters_hold_the_output() {
        let mut s = Session::new();
        s.type_text(b"\x13");
        assert!(s.ldisc.is_stopped());
        s.type_text(b"\x11");
        assert!(!s.ldisc.is_stopped());
    }

    #[test]
    fn output_turns_newlines_into_two_characters() {
        let mut ldisc = NTty::new();
        let mut out = OutBytes::default();
        ldisc.process_output(b'\n', &tty_std_termios(), &mut out);
        assert_eq!(out.as_slice(), b"\r\n");
    }
}
