//! The way of lines that are changed, or that go to two files: peek, write, consume, under the journal.

use std::io;

use crate::file::{FileId, Line};
use crate::format::{At, Format, Stamp, torn_character};
use crate::pipe::available;
use crate::pump::{Cut, Pump, Step};
use crate::{Progress, StreamId};

/// Input bytes a transaction: bounds the shared buffers (the output of JSON may be several times as long).
const BATCH_BYTES: usize = 256 << 10;

// === impl Pump (transactions) ===

impl Pump<'_> {
    pub(crate) fn transact(&mut self, targets: &[FileId], bytes: usize) -> io::Result<Step> {
        let me = self.id();
        let mut mine = false;
        for &id in targets {
            let file = self.kit.file(id);
            mine |= file.note.owner == Some(me) && !file.is_at_line_start();
        }
        let Some(mut cut) = self.cut(bytes.min(BATCH_BYTES), true, mine)? else {
            return Ok(Step::Stop(Progress::Idle));
        };
        if cut.line == Line::Middle && !cut.last {
            // A JSON string is made of characters: the rest of this one comes with the next bytes.
            cut.bytes -= torn_character(&self.kit.scratch.input[..cut.bytes]);
            if cut.bytes == 0 {
                return Ok(Step::Stop(Progress::Idle));
            }
        }
        let mut output = std::mem::take(&mut self.kit.scratch.output);
        output.clear();
        let result = self.write_batch(targets, cut, &mut output);
        self.kit.scratch.output = output;
        result
    }

    fn write_batch(&mut self, targets: &[FileId], cut: Cut, output: &mut Vec<u8>) -> io::Result<Step> {
        let me = self.id();
        let mut ends = Vec::with_capacity(targets.len());
        let mut before = Vec::with_capacity(targets.len());
        for &id in targets {
            let file = self.kit.file(id);
            let same_line = file.note.owner == Some(me) && !file.is_at_line_start();
            let key = file.key;
            before.push(file.open.as_ref().expect("admitted, hence open").before(key));
            self.own(id)?;
            let at = if same_line { At::SameLine } else { At::LineStart };
            let stamp = Stamp { source: &self.stream.source, now: self.now, zone: &self.kit.zone };
            let input = &self.kit.scratch.input[..cut.bytes];
            self.kit.format_of(id).render(input, at, &stamp, output);
            ends.push(output.len());
        }
        self.kit.journal.begin(&before)?;
        let mut start = 0;
        for (at, (&id, &end)) in targets.iter().zip(&ends).enumerate() {
            let open = self.kit.file(id).open.as_mut().expect("admitted, hence open");
            if let Err(e) = open.write_after_end(&output[start..end]) {
                for (&id, before) in targets[..=at].iter().zip(&before) {
                    self.kit.file(id).open.as_mut().expect("still open").cut_back(before.bytes)?;
                }
                self.kit.journal.idle()?;
                return Ok(self.failed(id, &e));
            }
            start = end;
        }
        self.consume(me, cut.bytes);
        let mut start = 0;
        for (&id, &end) in targets.iter().zip(&ends) {
            self.grew(id, end - start, cut.line);
            start = end;
        }
        if self.kit.followers.want(&self.stream.source) {
            self.deliver(cut.bytes);
        }
        Ok(Step::Moved(cut.bytes))
    }

    fn consume(&mut self, me: StreamId, bytes: usize) {
        if self.kit.journal.consume(me, &self.stream.pipe, bytes as u64).is_err() {
            // Never seen; the journal knows what is left, and nothing is written before that is done.
            self.kit.unconsumed = Some((me, std::sync::Arc::clone(&self.stream.pipe)));
        }
    }

    /// Finishes a consumption that failed, whoever's it was.
    pub(crate) fn consume_rest(&mut self) -> io::Result<()> {
        if let Some((stream, pipe)) = self.kit.unconsumed.clone() {
            let left = self.kit.journal.owed_by(stream)?;
            self.kit.journal.consume(stream, &pipe, left.min(available(&pipe)? as u64))?;
            self.kit.unconsumed = None;
        }
        Ok(())
    }
}

// === impl Kit (formats) ===

impl crate::kit::Kit {
    /// The look of a file's lines.
    pub(crate) fn format_of(&self, id: FileId) -> &Format {
        &self.file_ref(id).spec.format
    }
}
