//! A holder's statement as a stream: the heading with the ledger's totals first, then the lines out of the journal, then their sum.
//! If both differ the stream ends with an error instead: a statement that does not add up is none.

use std::pin::Pin;
use std::sync::Arc;

use hesuan_api::answer;
use hesuan_api::statement::{Names, Reader, Unreadable};
use hesuan_api::v1::stream_statement_response::Row;
use hesuan_api::v1::{self, Consistency, StreamStatementRequest, StreamStatementResponse};
use hesuan_engine::state::access::{self, Kind, Scope};
use hesuan_engine::types::{OrgId, PrincipalId};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::Core;
use super::call::Deadline;
use super::journal::damaged;
use super::pages::not_found;
use super::settlement::period_asked;

pub(super) type StatementStream = Pin<Box<dyn Stream<Item = Result<StreamStatementResponse, Status>> + Send>>;
type Sender = mpsc::Sender<Result<StreamStatementResponse, Status>>;

/// What the ledger says, and which part of the journal tells the same.
struct Plan {
    heading: v1::StatementHeading,
    org: OrgId,
    names: Names,
    period: u32,
    /// The first entry that may hold lines of the period.
    first_entry: u64,
    /// The last one.
    last_entry: u64,
    /// Where the reading may begin, from the nearest on: holds open for long were opened in an earlier period.
    begins: Vec<u64>,
}

/// Opens the stream; what can be refused is refused here.
pub(super) async fn stream(
    core: Arc<Core>,
    caller: PrincipalId,
    deadline: Deadline,
    request: StreamStatementRequest,
) -> Result<StatementStream, Status> {
    let plan = plan(&core, caller, deadline, request).await?;
    let (sender, receiver) = mpsc::channel(64);
    // Ends when the receiver is gone.
    tokio::spawn(async move {
        if let Err(status) = tell(&core, plan, &sender).await {
            let _ = sender.send(Err(status)).await;
        }
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

async fn plan(
    core: &Core,
    caller: PrincipalId,
    deadline: Deadline,
    request: StreamStatementRequest,
) -> Result<Plan, Status> {
    let planned = core.read(Consistency::Linearizable, deadline, move |view| {
        let ledger = view.state.ledger();
        let org = ledger
            .org_by_name(&request.org)
            .filter(|org| access::may_read(view.state, caller, Kind::ReadWallet, Scope::Org(org.id)));
        let unknown = || not_found("UNKNOWN_ORG", "org", format!("no organisation \"{}\"", request.org));
        let org = org.ok_or_else(unknown)?.id;
        let period = period_asked(view.state, request.period)?;
        let totals = ledger.holder_totals(period.number, org).copied().unwrap_or_default();
        let last_entry = period
            .closed
            .as_ref()
            .map_or_else(|| ledger.journal_head().0, |closed| closed.last_entry);
        let mut begins: Vec<u64> = ledger
            .periods_after(0)
            .take_while(|one| one.number <= period.number)
            .map(|one| one.first_entry)
            .collect();
        // The very beginning last: what was closed long ago is not kept as a period.
        begins.insert(0, 1);
        begins.reverse();
        begins.dedup();
        Ok(Plan {
            heading: v1::StatementHeading {
                period: Some(answer::period(view.state, period)),
                org: request.org,
                totals: Some(answer::statement_totals(&totals)),
                journal_entry: last_entry,
            },
            org,
            names: Names::of(view.state),
            period: period.number,
            first_entry: period.first_entry,
            last_entry,
            begins,
        })
    });
    Ok(planned.await?.answer)
}

async fn tell(core: &Core, plan: Plan, sender: &Sender) -> Result<(), Status> {
    // Read once without telling, to know where all of the payer's holds are opened: a row that was sent cannot be taken back.
    let mut begin = 1;
    for candidate in &plan.begins {
        begin = *candidate;
        if !read(core, &plan, begin, sender, false).await?.began_too_late() {
            break;
        }
    }
    say(sender, Row::Heading(plan.heading.clone())).await?;
    let sum = read(core, &plan, begin, sender, true).await?.sum();
    let counted = plan.heading.totals.unwrap_or_default();
    if sum != counted {
        return Err(Status::new(
            Code::DataLoss,
            format!("the lines of the journal add up to {sum:?}, the ledger counted {counted:?}"),
        ));
    }
    say(sender, Row::Sum(sum)).await
}

/// Reads the journal from an entry to the end of what belongs to the statement, and tells the rows if they are wanted.
async fn read(core: &Core, plan: &Plan, begin: u64, sender: &Sender, tell: bool) -> Result<Reader, Status> {
    let mut reader = Reader::new(plan.org, plan.period, plan.first_entry, plan.names.clone());
    let mut next = Some(core.journal_place(begin).await?);
    let mut rows = Vec::new();
    while let Some(from) = next {
        // Segments are not read for a client that is gone.
        if sender.is_closed() {
            return Err(gone());
        }
        let piece = core.journal_piece(from).await?;
        next = piece.next;
        for entry in &piece.entries {
            if entry.index < begin {
                continue;
            }
            if entry.index > plan.last_entry {
                return Ok(reader);
            }
            let unreadable = |entry| damaged(&format!("entry {entry} is not what its kind says"));
            let read = entry.read().ok_or_else(|| unreadable(entry.index))?;
            let taken = reader.take(&read, &mut rows);
            taken.map_err(|Unreadable { entry }| unreadable(entry))?;
            if reader.began_too_late() {
                return Ok(reader);
            }
            for row in rows.drain(..).filter(|_| tell) {
                say(sender, row).await?;
            }
        }
    }
    Ok(reader)
}

/// An error only ends the task: nobody listens any more.
async fn say(sender: &Sender, row: Row) -> Result<(), Status> {
    let row = StreamStatementResponse { row: Some(row) };
    sender.send(Ok(row)).await.map_err(|_| gone())
}

fn gone() -> Status {
    Status::cancelled("the client is gone")
}
