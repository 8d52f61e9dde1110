//! `hesuan audit`: takes the journal away, and checks it without the cluster.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Subcommand};
use hesuan_api::refusal::Refusal;
use hesuan_api::v1::audit_service_client::AuditServiceClient;
use hesuan_api::v1::export_journal_response::Part;
use hesuan_api::v1::{ExportJournalRequest, ExportJournalResponse, JournalBegin, JournalEnd, JournalEntry};
use hesuan_audit::file::{Balance, EntryLine, FORMAT, Header, Writer, unit_hours};
use hesuan_audit::{ACCOUNTS, Options, PeriodReport, Report, verify};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tonic::Streaming;

use super::Context;
use crate::client::ANSWER_BYTES_MAX;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, record, table};
use crate::units::{local, show_money};

/// Verbs of `hesuan audit`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write the whole journal of the books to a file
    Export(ExportArgs),
    /// Check an exported journal: no cluster and no configuration is needed
    ///
    /// Derives every balance, capture, refund, settlement line and payment once more from the entries, with other code than the cluster's, and
    /// names what does not agree by entry, figure, what it should be and what it is.
    ///
    /// Whoever holds the file could write it anew from some entry on, with all hashes after it, and keep to every rule. Only a head known from
    /// elsewhere finds that: note the head when a period is closed, and give it with --expect-head.
    ///
    /// Ends with 0 when everything agrees, with 10 when something does not.
    Verify(VerifyArgs),
}

/// Options of `audit export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Where to; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "journal.jsonl")]
    output: PathBuf,
    /// Begin with this entry: such a file can be checked for its chain only
    #[arg(long, value_name = "INDEX", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,
}

/// Options of `audit verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// An exported journal; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// SHA-256 of the last entry, known from elsewhere
    #[arg(long, value_name = "HEX", value_parser = parse_hash)]
    expect_head: Option<String>,
    /// The file begins later than the journal: check that its entries follow each other, and no amount
    #[arg(long)]
    chain_only: bool,
    /// How many findings to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    findings: usize,
}

fn parse_hash(text: &str) -> Result<String, String> {
    let digits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hash = digits.then(|| text.to_ascii_lowercase());
    hash.ok_or_else(|| format!("\"{text}\" is no SHA-256: give 64 hexadecimal digits"))
}

/// Takes the journal away.
pub(crate) async fn export(context: &Context, args: ExportArgs) -> Outcome<()> {
    let request = ExportJournalRequest { from_index: args.from };
    let mut stream = context
        .client
        .call(request, |channel, request| async move {
            AuditServiceClient::new(channel)
                .max_decoding_message_size(ANSWER_BYTES_MAX)
                .export_journal(request)
                .await
        })
        .await?;
    if args.output == Path::new("-") {
        let out = BufWriter::new(io::stdout().lock());
        receive(&context.output, &mut stream, out).await?.0.flush()?;
        return Ok(());
    }
    let exported = to_file(&context.output, &mut stream, &args.output).await?;
    let value = json!({
        "file": args.output.display().to_string(),
        "first": exported.first,
        "last": exported.last,
        "head": exported.head,
    });
    context.output.show(&value, || {
        format!(
            "entries {} to {} written to {}\nhead {}",
            exported.first,
            exported.last,
            args.output.display(),
            exported.head
        )
    })
}

struct Exported {
    first: u64,
    last: u64,
    head: String,
}

// Under a temporary name in the same folder until it is whole and on disk: the name that was asked for never stands for half a journal.
async fn to_file(output: &Output, stream: &mut Streaming<ExportJournalResponse>, path: &Path) -> Outcome<Exported> {
    let tried = |error: io::Error| Failure::Local(format!("{} cannot be written: {error}", path.display()));
    let name = path
        .file_name()
        .ok_or_else(|| Failure::Usage(format!("\"{}\" is no name of a file", path.display())))?;
    let mut part = name.to_owned();
    part.push(format!(".part-{}", std::process::id()));
    let part = Temporary(path.with_file_name(part));
    let file = File::options()
        .write(true)
        .create_new(true)
        .open(&part.0)
        .map_err(tried)?;
    let (out, exported) = receive(output, stream, BufWriter::new(file)).await?;
    let file = out.into_inner().map_err(|error| tried(error.into_error()))?;
    file.sync_all().map_err(tried)?;
    fs::rename(&part.0, path).map_err(tried)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(tried)?;
    Ok(exported)
}

/// Removed when it is still there: an export that broke off leaves nothing.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

async fn receive<W: Write>(
    output: &Output,
    stream: &mut Streaming<ExportJournalResponse>,
    out: W,
) -> Outcome<(W, Exported)> {
    let Some(Part::Begin(begin)) = next(stream).await? else {
        return Err(Failure::Local(
            "the cluster did not begin with where the journal begins".to_owned(),
        ));
    };
    let header = header(&begin);
    let mut exported = Exported {
        first: begin.first_index,
        last: begin.last_index,
        head: header.before.clone(),
    };
    let bar = bar(output, begin.last_index.saturating_sub(begin.first_index) + 1);
    let mut writer = Writer::new(out, &header)?;
    loop {
        match next(stream).await? {
            Some(Part::Entries(entries)) => {
                bar.inc(entries.entries.len() as u64);
                for entry in entries.entries {
                    writer.entry(&line(entry)?)?;
                }
            }
            Some(Part::End(end)) => {
                bar.finish_and_clear();
                exported.head = hex::encode(&end.head_sha256);
                return Ok((writer.finish(balances(&end))?, exported));
            }
            Some(Part::Begin(_)) | None => {
                return Err(Failure::Local(
                    "the journal broke off before its end: export it again".to_owned(),
                ));
            }
        }
    }
}

async fn next(stream: &mut Streaming<ExportJournalResponse>) -> Outcome<Option<Part>> {
    let message = stream.message().await;
    let message = message.map_err(|status| Failure::Refused(Box::new(Refusal::from_status(&status))))?;
    Ok(message.and_then(|message| message.part))
}

fn header(begin: &JournalBegin) -> Header {
    Header {
        format: FORMAT.to_owned(),
        cluster: hex::encode(&begin.cluster_id),
        first: begin.first_index,
        last: begin.last_index,
        before: hex::encode(&begin.hash_before),
    }
}

fn line(entry: JournalEntry) -> Outcome<EntryLine> {
    let hash = entry.sha256.try_into();
    Ok(EntryLine {
        index: entry.index,
        record: entry.record,
        hash: hash.map_err(|_| Failure::Local(format!("entry {} came without its hash", entry.index)))?,
    })
}

fn balances(end: &JournalEnd) -> Vec<Balance> {
    let row = |(account, balance): (&str, &i64), unit: String| Balance {
        account: account.to_owned(),
        unit,
        balance: *balance,
    };
    let all = ACCOUNTS.iter().map(|(account, ..)| *account);
    let money = all.zip(&end.balances_fen).map(|one| row(one, "fen".to_owned()));
    let units = end.units.iter().flat_map(|unit| {
        let grants = ACCOUNTS
            .iter()
            .filter(|(.., is_grant)| *is_grant)
            .map(|(account, ..)| *account);
        let rows = grants.zip(&unit.balances_milli_unit_seconds);
        rows.map(|one| row(one, unit_hours(&unit.sku)))
    });
    money.chain(units).collect()
}

fn bar(output: &Output, length: u64) -> ProgressBar {
    if !output.shows_progress() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} entries ({eta})") {
        bar.set_style(style);
    }
    bar
}

/// Checks a file. Needs neither settings nor a cluster.
pub(crate) async fn check(output: Output, args: VerifyArgs) -> Outcome<()> {
    let going_on = Arc::new(AtomicBool::new(true));
    // When the command is interrupted, this future is dropped, and the check ends at its next entry.
    let stop = Stop(going_on.clone());
    let checked = tokio::task::spawn_blocking(move || run(&output, &args, &going_on)).await;
    drop(stop);
    let report = checked.map_err(|error| Failure::Local(format!("the check broke off: {error}")))??;
    show(output, &report)?;
    if report.agreed { Ok(()) } else { Err(Failure::Disagrees) }
}

struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn run(output: &Output, args: &VerifyArgs, going_on: &AtomicBool) -> Outcome<Report> {
    let options = Options {
        head: args.expect_head.clone(),
        findings_max: args.findings,
        chain_only: args.chain_only,
        ..Options::default()
    };
    let bar = bar(output, 0);
    let progress = |index: u64, last: u64| {
        if index.is_multiple_of(1_024) {
            bar.set_length(last);
            bar.set_position(index);
        }
        going_on.load(Ordering::Relaxed)
    };
    let tried = |error: io::Error| Failure::Local(format!("{} cannot be read: {error}", args.file.display()));
    let report = if args.file == Path::new("-") {
        verify(io::stdin().lock(), &options, progress)
    } else {
        let file = File::open(&args.file).map_err(tried)?;
        verify(BufReader::with_capacity(1 << 20, file), &options, progress)
    };
    bar.finish_and_clear();
    report.map_err(tried)
}

fn show(output: Output, report: &Report) -> Outcome<()> {
    let value = serde_json::to_value(report)
        .map_err(|error| Failure::Local(format!("the report is not to be shown: {error}")))?;
    output.show(&value, || text(report))
}

fn text(report: &Report) -> String {
    let mut parts = vec![summary(report)];
    if report.findings_count > 0 {
        let mut lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        let more = report.findings_count - report.findings.len() as u64;
        if more > 0 {
            lines.push(format!("and {more} more: --findings lists more of them"));
        }
        parts.push(lines.join("\n"));
    }
    if report.whole {
        let row = |row: &hesuan_audit::BalanceRow| {
            let stated = row.stated.map_or("-".to_owned(), |stated| stated.to_string());
            vec![
                row.account.to_owned(),
                row.side.to_owned(),
                row.unit.to_owned(),
                row.derived.to_string(),
                stated,
            ]
        };
        let header = ["ACCOUNTS", "SIDE", "UNIT", ">DERIVED", ">STATED"];
        parts.push(table(&header, report.balances.iter().map(row)));
    }
    parts.extend(report.periods.iter().map(period));
    parts.join("\n\n")
}

fn summary(report: &Report) -> String {
    let verdict = match (report.agreed, report.whole) {
        (true, true) => "everything agrees".to_owned(),
        (true, false) => {
            "the chain agrees; nothing else was checked, for that a file must begin with entry 1".to_owned()
        }
        (false, _) => format!("{} things do not agree", report.findings_count),
    };
    record(&[
        ("verdict", verdict),
        ("cluster", report.cluster.clone()),
        ("entries", format!("{} to {}", report.first, report.last)),
        ("head", report.head.clone()),
    ])
}

fn period(period: &PeriodReport) -> String {
    let yuan = |fen: i128| i64::try_from(fen).map_or_else(|_| format!("{fen} fen"), show_money);
    let clearing = period.clearing.iter().map(|cell| {
        vec![
            cell.issuer_region.to_string(),
            cell.payee_region.to_string(),
            yuan(cell.net),
        ]
    });
    let nets = period
        .net_of_regions
        .iter()
        .map(|(region, net)| vec![region.to_string(), yuan(*net)]);
    let settlements = period.settlements.iter().map(|row| {
        let paid = row.paid.map_or("-".to_owned(), yuan);
        vec![
            row.provider.clone(),
            yuan(row.subsidy),
            yuan(row.own_money),
            yuan(row.net),
            paid,
        ]
    });
    let payables = period
        .payables
        .iter()
        .map(|row| vec![row.programme.clone(), row.funder.clone(), yuan(row.net)]);
    [
        format!("period {}, until {}", period.period, local(period.until_ms)),
        table(&["ISSUER", "PAYEE", ">YUAN"], clearing),
        table(&["REGION", ">NET YUAN"], nets),
        table(&["PROVIDER", ">SUBSIDY", ">OWN MONEY", ">YUAN", ">PAID"], settlements),
        table(&["PROGRAMME", "FUNDER", ">YUAN"], payables),
    ]
    .join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Global;

    fn journal(treasury: i64) -> Vec<u8> {
        let header = Header {
            format: FORMAT.to_owned(),
            cluster: "5a".repeat(16),
            first: 1,
            last: 0,
            before: "00".repeat(32),
        };
        let end = JournalEnd {
            head_sha256: vec![0; 32],
            balances_fen: std::iter::once(treasury).chain([0; 12]).collect(),
            units: Vec::new(),
        };
        let writer = Writer::new(Vec::new(), &header).expect("memory takes everything");
        writer.finish(balances(&end)).expect("memory takes everything")
    }

    async fn checked(bytes: &[u8], expect_head: Option<String>) -> u8 {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let file = folder.path().join("journal.jsonl");
        fs::write(&file, bytes).expect("the folder is ours");
        let args = VerifyArgs {
            file,
            expect_head,
            chain_only: false,
            findings: 5,
        };
        let output = Output::new(&Global::default());
        check(output, args)
            .await
            .map_or_else(|failure| failure.exit_code(), |()| 0)
    }

    #[tokio::test]
    async fn the_exit_code_says_whether_a_journal_agrees() {
        assert_eq!(checked(&journal(0), None).await, 0);
        assert_eq!(checked(&journal(1), None).await, 10, "a treasury from nowhere");
        assert_eq!(checked(b"{}\n", None).await, 10, "no journal at all");
        assert_eq!(checked(&journal(0), Some("ab".repeat(32))).await, 10);
        assert_eq!(checked(&journal(0), Some("00".repeat(32))).await, 0);
        let args = VerifyArgs {
            file: PathBuf::from("/nowhere/journal.jsonl"),
            expect_head: None,
            chain_only: false,
            findings: 5,
        };
        let failure = check(Output::new(&Global::default()), args)
            .await
            .expect_err("it is not there");
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn a_head_is_64_hexadecimal_digits() {
        assert_eq!(parse_hash(&"AB".repeat(32)), Ok("ab".repeat(32)));
        assert!(parse_hash("ab").is_err() && parse_hash(&"xy".repeat(32)).is_err());
    }
}
