//! AuditService: the journal for who checks it elsewhere, streamed from this replica's archive a piece at a time.
//!
//! Where the journal ends is read once, linearizably; entries are immutable, so that what follows needs no state. The SNAP worker reads a
//! piece and is free again while it is sent: neither a slow client nor a sealed segment is in anybody's way.

use std::pin::Pin;

use hesuan_api::refusal::trouble;
use hesuan_api::v1::Consistency::Linearizable;
use hesuan_api::v1::audit_service_server::AuditService;
use hesuan_api::v1::export_journal_response::Part;
use hesuan_api::v1::{self, ExportJournalRequest, ExportJournalResponse};
use hesuan_engine::outcome::Rejection;
use hesuan_engine::state::State;
use hesuan_engine::state::access::{self, Kind, Scope};
use hesuan_engine::types::PrincipalId;
use hesuan_ledger::JournalEntry;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::call::Deadline;
use super::pages::denied;
use super::{Core, Services};

/// Bytes of records in one message.
const MESSAGE_BYTES: usize = 256 << 10;

type Sent = Result<ExportJournalResponse, Status>;
type ExportStream = Pin<Box<dyn Stream<Item = Sent> + Send>>;

/// The journal as it stood when the export began.
#[derive(Clone, Debug)]
struct Extent {
    first: u64,
    last: u64,
    head: [u8; 32],
    end: v1::JournalEnd,
}

#[tonic::async_trait]
impl AuditService for Services {
    type ExportJournalStream = ExportStream;

    async fn export_journal(
        &self,
        request: Request<ExportJournalRequest>,
    ) -> Result<Response<Self::ExportJournalStream>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let from = request.into_inner().from_index.max(1);
        let extent = self
            .0
            .read(Linearizable, deadline, move |view| extent(view.state, caller, from));
        let extent = extent.await?.answer;
        let (sender, receiver) = mpsc::channel(2);
        let core = self.0.clone();
        // Ends with the journal, or when the receiver is gone.
        tokio::spawn(async move { send_all(&core, extent, sender).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

fn extent(state: &State, caller: PrincipalId, first: u64) -> Result<Extent, Rejection> {
    if !access::may_read(state, caller, Kind::ExportJournal, Scope::Cluster) {
        return Err(denied("the journal"));
    }
    let balance = state.ledger().trial_balance();
    let last = balance.journal_entries;
    if first > last.max(1) {
        return Err(Rejection::invalid(
            "FIELD_OUT_OF_RANGE",
            "from_index",
            format!("from_index is {first}, the journal has {last} entries: ask from one of these"),
        ));
    }
    let sums = |rows: &[hesuan_ledger::TrialRow]| {
        let sum = |row: &hesuan_ledger::TrialRow| i64::try_from(row.debit + row.credit);
        let sums: Result<Vec<i64>, _> = rows.iter().map(sum).collect();
        sums.expect("the books as a whole are bounded to fit")
    };
    let unit = |unit: &hesuan_ledger::UnitTrial| v1::UnitBalances {
        sku: unit.sku.to_string(),
        balances_milli_unit_seconds: sums(&unit.rows),
    };
    let end = v1::JournalEnd {
        head_sha256: balance.journal_head.to_vec(),
        balances_fen: sums(&balance.rows),
        units: balance.units.iter().map(unit).collect(),
    };
    Ok(Extent {
        first,
        last,
        head: balance.journal_head,
        end,
    })
}

async fn send_all(core: &Core, extent: Extent, sender: mpsc::Sender<Sent>) {
    let sent = tokio::select! {
        sent = send(core, &extent, &sender) => sent,
        () = sender.closed() => return,
        () = core.ended() => Err(trouble(Code::Unavailable, "ENDING", "this replica is shutting down; use another")),
    };
    if let Err(status) = sent {
        let _ = sender.send(Err(status)).await;
    }
}

async fn send(core: &Core, extent: &Extent, sender: &mpsc::Sender<Sent>) -> Result<(), Status> {
    let mut next = Some(0);
    let mut chain = Chain::new(extent);
    let mut begun = false;
    while chain.index < extent.last {
        let from = next.ok_or_else(|| chain.lacking())?;
        let piece = core.journal_piece(from).await?;
        next = piece.next;
        let mut entries = Vec::new();
        let mut bytes = 0;
        for entry in piece.entries {
            let Some(message) = chain.take(entry)? else { continue };
            if !begun {
                begun = true;
                tell(sender, Part::Begin(chain.begin(core.cluster.cluster_id.to_vec()))).await?;
            }
            bytes += message.record.len();
            entries.push(message);
            if bytes >= MESSAGE_BYTES {
                bytes = 0;
                let entries = std::mem::take(&mut entries);
                tell(sender, Part::Entries(v1::JournalEntries { entries })).await?;
            }
        }
        if !entries.is_empty() {
            tell(sender, Part::Entries(v1::JournalEntries { entries })).await?;
        }
    }
    if !begun {
        tell(sender, Part::Begin(chain.begin(core.cluster.cluster_id.to_vec()))).await?;
    }
    tell(sender, Part::End(extent.end.clone())).await
}

async fn tell(sender: &mpsc::Sender<Sent>, part: Part) -> Result<(), Status> {
    let message = ExportJournalResponse { part: Some(part) };
    let gone = |_| Status::cancelled("the client went away");
    sender.send(Ok(message)).await.map_err(gone)
}

/// Sees to it that the entries follow each other up to the head.
struct Chain<'a> {
    extent: &'a Extent,
    /// Of the entry seen last, and its hash.
    index: u64,
    hash: [u8; 32],
    before: [u8; 32],
}

impl<'a> Chain<'a> {
    fn new(extent: &'a Extent) -> Self {
        Self {
            extent,
            index: 0,
            hash: [0; 32],
            before: [0; 32],
        }
    }

    /// The entry as a message; `None` when it is before the first one wanted or after the head.
    fn take(&mut self, entry: JournalEntry) -> Result<Option<v1::JournalEntry>, Status> {
        if self.index == self.extent.last {
            return Ok(None);
        }
        if !entry.follows(self.index, &self.hash) {
            return Err(self.lacking());
        }
        if entry.index == self.extent.first {
            self.before = self.hash;
        }
        (self.index, self.hash) = (entry.index, entry.hash);
        if entry.index == self.extent.last && entry.hash != self.extent.head {
            return Err(self.lacking());
        }
        Ok((entry.index >= self.extent.first).then(|| v1::JournalEntry {
            index: entry.index,
            record: entry.record.into_vec(),
            sha256: entry.hash.to_vec(),
        }))
    }

    fn begin(&self, cluster_id: Vec<u8>) -> v1::JournalBegin {
        v1::JournalBegin {
            cluster_id,
            first_index: self.extent.first,
            last_index: self.extent.last,
            hash_before: self.before.to_vec(),
        }
    }

    fn lacking(&self) -> Status {
        let text = format!(
            "the archive of this replica lacks entry {} of the journal, or holds another in its place: ask another replica, and have this one \
             wiped and joined again",
            self.index + 1
        );
        trouble(Code::DataLoss, "ARCHIVE_LACKS_ENTRY", &text)
    }
}

#[cfg(test)]
mod tests {
    use hesuan_ledger::types::{RegionCode, Timestamp};
    use hesuan_ledger::{Ledger, NewOrg};

    use super::*;

    fn entries(count: u64) -> (Vec<JournalEntry>, [u8; 32]) {
        let mut ledger = Ledger::new();
        for number in 1..=count {
            let org = NewOrg {
                name: format!("org {number}").into(),
                region: RegionCode(310_117),
                ..NewOrg::default()
            };
            ledger.create_org(&org, Timestamp(number)).expect("it is fine");
        }
        (ledger.take_journal(), ledger.journal_head().1)
    }

    fn extent(first: u64, last: u64, head: [u8; 32]) -> Extent {
        Extent {
            first,
            last,
            head,
            end: v1::JournalEnd::default(),
        }
    }

    #[test]
    fn an_export_begins_where_it_is_asked_and_ends_at_the_head_of_then() {
        let (entries, _) = entries(5);
        let extent = extent(3, 4, entries[3].hash);
        let mut chain = Chain::new(&extent);
        let before = entries[1].hash.to_vec();
        let taken = entries
            .into_iter()
            .filter_map(|entry| chain.take(entry).expect("whole"));
        assert_eq!(taken.map(|entry| entry.index).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(chain.begin(vec![7]).hash_before, before);
    }

    #[test]
    fn an_archive_that_lacks_an_entry_says_which() {
        let (mut entries, head) = entries(3);
        let extent = extent(1, 3, head);
        entries.remove(1);
        let mut chain = Chain::new(&extent);
        let results: Vec<_> = entries.into_iter().map(|entry| chain.take(entry)).collect();
        assert!(results[0].is_ok());
        let lacking = results[1].as_ref().expect_err("entry 2 is gone");
        assert_eq!(lacking.code(), Code::DataLoss);
        assert!(lacking.message().contains("lacks entry 2"), "{}", lacking.message());
    }

    #[test]
    fn a_head_that_is_another_is_refused() {
        let (entries, _) = entries(2);
        let extent = extent(1, 2, [9; 32]);
        let mut chain = Chain::new(&extent);
        let results: Vec<_> = entries.into_iter().map(|entry| chain.take(entry).is_ok()).collect();
        assert_eq!(results, [true, false]);
    }
}
