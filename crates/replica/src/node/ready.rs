//! Taking what raft-rs has ready and sorting it into an [`Output`]: what may leave at once, what must wait for the disk, what
//! is committed. Here lies the promise "acknowledged means durable".

use raft::Ready;
use raft::eraftpb::{Entry, EntryType, Message};

use super::{Node, Output, PendingBatch, Persist, RoleChange};
use crate::store::LogBatch;
use crate::wire::{HardState, LogEntry, MessageKind, PeerMessage, SnapshotMeta};

impl Node {
    /// What there is to do next, or `None`. Call it until it returns `None` after feeding the node anything.
    pub fn ready(&mut self) -> Option<Output> {
        let mut output = Output {
            send_now: self.outbox.drain(..).map(|message| (message.to, message)).collect(),
            fetch_snapshot: self.inbox.take_fetch(),
            ..Output::default()
        };
        if self.raw.has_ready() || self.has_upkeep() {
            let ready = self.raw.ready();
            self.take_ready(ready, &mut output);
        }
        output.snapshot_wanted = self.raw.store().take_snapshot_wanted();
        output.role_changed = self.take_role_change();
        (output != Output::default()).then_some(output)
    }

    fn has_upkeep(&self) -> bool {
        self.next_conf.is_some() || self.next_snapshot.is_some() || self.next_truncate.is_some()
    }

    fn take_ready(&mut self, mut ready: Ready, output: &mut Output) {
        let number = ready.number();
        let must_sync = ready.must_sync();
        let batch = self.take_batch(&mut ready, output);
        let committed = ready.take_committed_entries();
        for state in ready.take_read_states() {
            output
                .read_states
                .extend(self.our_read(&state.request_ctx).map(|context| (context, state.index)));
        }
        let now = self.to_wire(ready.take_messages());
        let mut send_after = self.to_wire(ready.take_persisted_messages());
        self.note_snapshots_sent(&now, output);
        // raft-rs lets a leader send at once because its vote was durable before it could win. The only voter wins by
        // itself, before anything is durable; a learner must not see entries of a term that a crash could repeat.
        if self.written.vote_number > self.written.persisted {
            send_after.extend(now);
        } else {
            output.send_now.extend(now);
        }
        self.written.number = number;
        self.raw.advance_append_async(ready);
        self.hand_out(committed, output);
        self.hand_to_store(
            Persist {
                number,
                batch,
                send_after,
                must_sync,
            },
            output,
        );
    }

    /// The batch to write, with everything in it already readable through the view: raft-rs may ask for it from here on.
    fn take_batch(&mut self, ready: &mut Ready, output: &mut Output) -> LogBatch {
        let mut batch = LogBatch {
            conf_state: self.next_conf.take(),
            snapshot: self.next_snapshot.take(),
            truncate_to: self.next_truncate.take(),
            ..LogBatch::default()
        };
        if let Some(state) = ready.hs() {
            let state = HardState::from_raft(state);
            if self.written.vote != (state.term, state.vote) {
                self.written.vote = (state.term, state.vote);
                self.written.vote_number = ready.number();
            }
            batch.hard_state = Some(state);
        }
        if !ready.snapshot().is_empty() {
            let meta = SnapshotMeta::from_raft(ready.snapshot());
            // What was to be written about the log that the snapshot replaces no longer means anything.
            (batch.conf_state, batch.snapshot, batch.truncate_to) = (None, None, None);
            self.raw.mut_store().install(meta.clone());
            batch.install_snapshot = Some(meta.clone());
            output.install_snapshot = Some(meta);
        }
        let entries = ready.take_entries();
        self.raw.mut_store().append(&entries);
        batch.entries = entries.iter().map(LogEntry::from_raft).collect();
        batch
    }

    fn hand_out(&mut self, committed: Vec<Entry>, output: &mut Output) {
        let mut skipped = None;
        for entry in committed {
            let is_new = entry.index > self.resumed_at;
            let is_conf_change = entry.get_entry_type() != EntryType::EntryNormal;
            let entry = LogEntry::from_raft(&entry);
            if is_conf_change {
                let changed = self.apply_conf_change(&entry);
                output.conf_changed.extend(is_new.then_some(changed));
            }
            if is_new {
                output.committed.push(entry);
            } else {
                skipped = Some(entry.index);
            }
        }
        if let Some(index) = skipped {
            self.advance_applied(index);
        }
    }

    fn hand_to_store(&mut self, persist: Persist, output: &mut Output) {
        let number = persist.number;
        if persist.batch.is_empty() && persist.send_after.is_empty() {
            // Nobody will report this one; behind others it is reported with them.
            if self.written.pending.is_empty() {
                self.raw.on_persist_ready(number);
                self.written.persisted = number;
            }
            return;
        }
        let entries = &persist.batch.entries;
        self.written.pending.push_back(PendingBatch {
            number,
            entries: entries
                .first()
                .zip(entries.last())
                .map(|(first, last)| (first.index, last.index)),
            snapshot: persist.batch.install_snapshot.as_ref().map(|meta| meta.index),
        });
        output.persist = Some(persist);
        #[cfg(feature = "planted")]
        self.plant(output);
    }

    #[cfg(feature = "planted")]
    fn plant(&mut self, output: &mut Output) {
        use super::Planted;
        let Some(persist) = &mut output.persist else { return };
        match self.config.planted {
            Planted::None => {}
            Planted::AckBeforeSync => {
                output.send_now.append(&mut persist.send_after);
                self.raw.on_persist_ready(persist.number);
            }
            Planted::VoteNotSaved => {
                if let Some(state) = &mut persist.batch.hard_state {
                    state.vote = 0;
                }
            }
        }
    }

    /// The batch `number` and all before it are written and durable. Report this before sending what waited for it.
    pub fn persisted(&mut self, number: u64) {
        assert!(number <= self.written.number, "batch {number} was never handed out");
        let mut durable = None;
        let mut installed = None;
        let covered = self.written.pending.partition_point(|batch| batch.number <= number);
        for batch in self.written.pending.drain(..covered) {
            installed = batch.snapshot.or(installed);
            durable = batch.entries.map(|(_, last)| last).or(durable);
        }
        let number = if self.written.pending.is_empty() {
            self.written.number
        } else {
            number
        };
        self.raw.on_persist_ready(number);
        self.written.persisted = self.written.persisted.max(number);
        if let Some(last) = durable {
            let rewritten_from = self
                .written
                .pending
                .iter()
                .filter_map(|batch| batch.entries.map(|(first, _)| first));
            let unchanged = rewritten_from.min().map_or(last, |first| last.min(first - 1));
            self.raw.mut_store().set_durable(unchanged);
        }
        if let Some(index) = installed {
            self.advance_applied(index);
            self.inbox.installed();
        }
    }

    fn take_role_change(&mut self) -> Option<RoleChange> {
        let now = RoleChange {
            role: self.role(),
            term: self.term(),
            leader: self.leader(),
        };
        if self.reported == now {
            return None;
        }
        self.reported = now;
        Some(now)
    }

    /// Proposals and local messages have no form on the wire; a leader that only proposes for itself makes none.
    fn to_wire(&self, messages: Vec<Message>) -> Vec<(u64, PeerMessage)> {
        let messages = messages.into_iter().filter_map(PeerMessage::from_raft);
        messages.map(|message| (message.to, self.rebased(message))).collect()
    }

    /// raft-rs 0.7 with `batch_append` adds entries to an empty append that still waits to be sent, without looking whether
    /// they follow it; after a rejection in between they begin earlier. The receiver would acknowledge entries it does not
    /// have. What was meant is an append right before the first entry.
    fn rebased(&self, mut message: PeerMessage) -> PeerMessage {
        let Some(first) = message
            .entries
            .first()
            .filter(|_| message.kind() == MessageKind::Append)
        else {
            return message;
        };
        if first.index != message.index + 1 {
            message.index = first.index - 1;
            let term = self.raw.store().term_at(message.index);
            message.log_term = term.expect("the entry before one that could be read has a term");
        }
        message
    }
}
