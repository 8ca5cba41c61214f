//! The lines of a program's two streams, in one order.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::running::Arrival;
use crate::transcript::{Printed, Source};

/// Both streams of a program.
pub(super) struct Lines {
    pub(super) out: Stream,
    pub(super) errors: Stream,
}

/// One stream, and the part of a line that arrived so far.
pub(super) struct Stream {
    /// `None` after the end of the stream.
    file: Option<File>,
    source: Source,
    begun: Vec<u8>,
}

impl Lines {
    /// Waits for bytes and passes the lines on. Says whether a stream is still open.
    ///
    /// Two pipes keep no order between them. What is read at one time from both is passed on with
    /// standard output first, and standard error is read first: so a line of output that was
    /// written before a line of errors always comes before it.
    pub(super) fn arrive(&mut self, start: Instant, pass: &mut dyn FnMut(Arrival)) -> bool {
        let open = [&self.out, &self.errors]
            .into_iter()
            .flat_map(|stream| &stream.file);
        let mut waits: Vec<PollFd> = open
            .map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN))
            .collect();
        if waits.is_empty() {
            return false;
        }
        match poll(&mut waits, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
        let errors = self.errors.read();
        while let Some(bytes) = self.out.read() {
            self.out.split(&bytes, start, pass);
        }
        if let Some(bytes) = errors {
            self.errors.split(&bytes, start, pass);
        }
        true
    }
}

impl Stream {
    pub(super) fn new(stream: OwnedFd, source: Source) -> Stream {
        Stream {
            file: Some(stream.into()),
            source,
            begun: Vec::new(),
        }
    }

    /// What is there to be read: no bytes are the end of the stream, `None` that nothing is there.
    fn read(&mut self) -> Option<Vec<u8>> {
        let file = self.file.as_mut()?;
        let mut ready = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
        if !poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0) {
            return None;
        }
        let mut bytes = vec![0; 64 << 10];
        let length = file.read(&mut bytes).unwrap_or(0);
        bytes.truncate(length);
        if bytes.is_empty() {
            self.file = None;
        }
        Some(bytes)
    }

    /// Passes on the lines that the bytes complete. At the end of the stream, an unfinished line and
    /// the end.
    fn split(&mut self, bytes: &[u8], start: Instant, pass: &mut dyn FnMut(Arrival)) {
        let at = Some(start.elapsed());
        self.begun.extend_from_slice(bytes);
        let end = self.begun.iter().rposition(|byte| *byte == b'\n');
        let rest = self.begun.split_off(end.map_or(0, |end| end + 1));
        let complete = std::mem::replace(&mut self.begun, rest);
        let mut line = |bytes: &[u8], whole| {
            pass(Arrival::Printed(Printed {
                source: self.source,
                at,
                text: String::from_utf8_lossy(bytes).into_owned(),
                whole,
            }));
        };
        for bytes in complete.split_inclusive(|byte| *byte == b'\n') {
            line(&bytes[..bytes.len() - 1], true);
        }
        if bytes.is_empty() {
            if !self.begun.is_empty() {
                line(&self.begun, false);
            }
            pass(Arrival::Closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn pipe(source: Source) -> (Stream, std::io::PipeWriter) {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        (Stream::new(reader.into(), source), writer)
    }

    #[test]
    fn output_written_before_an_error_comes_before_it_and_an_unfinished_line_comes_last() {
        let (out, mut to_out) = pipe(Source::Out);
        let (errors, mut to_errors) = pipe(Source::Err);
        let mut lines = Lines { out, errors };
        to_out.write_all(b"first\n\nbegun").expect("room");
        to_errors.write_all(b"second\n").expect("room");
        drop((to_out, to_errors));
        let (mut texts, mut ends) = (Vec::new(), 0);
        while lines.arrive(Instant::now(), &mut |arrival| match arrival {
            Arrival::Printed(line) => texts.push((line.text, line.whole)),
            _ => ends += 1,
        }) {}
        // A program that another test starts meanwhile may hold the writers open for a moment, so the
        // end of the output, and the unfinished line with it, may come before `second` or after it.
        let parts = |whole| {
            let parts = texts.iter().filter(move |line| line.1 == whole);
            parts.map(|line| line.0.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(parts(true), ["first", "", "second"]);
        assert_eq!(parts(false), ["begun"]);
        assert!(texts[..2].iter().all(|line| line.1), "{texts:?}");
        assert_eq!(ends, 2);
    }
}
