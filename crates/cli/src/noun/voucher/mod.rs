//! `hesuan voucher`: issued by a bureau, redeemed and spent by its holder.

mod batch;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hesuan_api::v1::{self, voucher_service_client::VoucherServiceClient};
use serde_json::{Value, json};

use super::{Context, PAGE, all_pages, none_if_empty};
use crate::client::request_id;
use crate::failure::{Failure, Outcome};
use crate::output::{record, table};
use crate::units::{self, Amount, first_day, last_day, now_ms, rfc3339, show_amount, show_money, show_plain_amount};

/// Verbs of `hesuan voucher`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Issue a voucher, several alike, or a batch from a file
    Issue(IssueArgs),
    /// Take a voucher into use; once, by its holder
    Redeem {
        /// The voucher's code
        code: String,
    },
    /// Vouchers you may see: what is reserved, spent, and soon over
    List {
        /// Only of this organisation
        #[arg(long, default_value = "", hide_default_value = true)]
        holder: String,
        /// Only of this programme
        #[arg(long, default_value = "", hide_default_value = true)]
        programme: String,
    },
    /// Everything about one voucher
    Show {
        /// Its code, or its number
        #[arg(value_name = "CODE|NUMBER")]
        code: String,
    },
    /// It pays for nothing new until resumed
    Suspend(ReasonArgs),
    /// It pays again
    Resume(ReasonArgs),
    /// Take it back for good
    Revoke {
        /// Which, and why
        #[command(flatten)]
        which: ReasonArgs,
        /// Obtained by fraud: what runs on it loses its cover now, and what it paid is owed by its holder
        #[arg(long)]
        fraud: bool,
    },
}

/// Options of `voucher issue`.
#[derive(Args, Debug)]
pub struct IssueArgs {
    /// The programme
    #[arg(long)]
    programme: String,
    /// Issue what this CSV file lists, all or none: columns code, holder, face, from, until
    #[arg(long, value_name = "FILE", conflicts_with_all = ["holder", "face", "code", "count", "from", "until"])]
    csv: Option<PathBuf>,
    /// The organisation that may redeem it
    #[arg(long, value_name = "ORG", required_unless_present = "csv")]
    holder: Option<String>,
    /// Face value: yuan, or unit-hours such as 500h if the programme counts so
    #[arg(long, value_name = "AMOUNT", value_parser = units::parse_positive_amount, allow_negative_numbers = true, required_unless_present = "csv")]
    face: Option<Amount>,
    /// Its code; with --count, -1, -2 and so on are added
    #[arg(long, required_unless_present = "csv")]
    code: Option<String>,
    /// Issue so many alike
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: Option<u32>,
    /// First day, in Shanghai, or a time
    #[arg(long, value_name = "DAY", value_parser = units::parse_from, required_unless_present = "csv")]
    from: Option<u64>,
    /// Last day, in Shanghai, or the time it ends
    #[arg(long, value_name = "DAY", value_parser = units::parse_until, required_unless_present = "csv")]
    until: Option<u64>,
}

/// Which, and why.
#[derive(Args, Debug)]
pub struct ReasonArgs {
    /// The voucher's code
    code: String,
    /// Why, for the record
    #[arg(long)]
    reason: String,
}

/// Carries out a verb.
pub(crate) async fn run(context: &Context, verb: Verb) -> Outcome<()> {
    match verb {
        Verb::Issue(args) => issue(context, args).await,
        Verb::List { holder, programme } => list(context, holder, programme).await,
        Verb::Redeem { code } => {
            let request = v1::RedeemVoucherRequest {
                request_id: request_id(),
                code,
            };
            let voucher = context
                .client
                .call(request, |channel, request| async move {
                    VoucherServiceClient::new(channel).redeem_voucher(request).await
                })
                .await?;
            changed(context, &voucher)
        }
        Verb::Show { code } => {
            let request = v1::GetVoucherRequest { code };
            let voucher = context
                .client
                .call(request, |channel, request| async move {
                    VoucherServiceClient::new(channel).get_voucher(request).await
                })
                .await?;
            context
                .output
                .show(&voucher_json(&voucher, now_ms()), || voucher_text(&voucher))
        }
        Verb::Suspend(ReasonArgs { code, reason }) => {
            let request = v1::SuspendVoucherRequest {
                request_id: request_id(),
                code,
                reason,
            };
            let voucher = context
                .client
                .call(request, |channel, request| async move {
                    VoucherServiceClient::new(channel).suspend_voucher(request).await
                })
                .await?;
            changed(context, &voucher)
        }
        Verb::Resume(ReasonArgs { code, reason }) => {
            let request = v1::ResumeVoucherRequest {
                request_id: request_id(),
                code,
                reason,
            };
            let voucher = context
                .client
                .call(request, |channel, request| async move {
                    VoucherServiceClient::new(channel).resume_voucher(request).await
                })
                .await?;
            changed(context, &voucher)
        }
        Verb::Revoke {
            which: ReasonArgs { code, reason },
            fraud,
        } => {
            let request = v1::RevokeVoucherRequest {
                request_id: request_id(),
                code,
                reason,
                fraud,
            };
            let voucher = context
                .client
                .call(request, |channel, request| async move {
                    VoucherServiceClient::new(channel).revoke_voucher(request).await
                })
                .await?;
            changed(context, &voucher)
        }
    }
}

fn changed(context: &Context, voucher: &v1::Voucher) -> Outcome<()> {
    context.output.show(&voucher_json(voucher, now_ms()), || {
        format!(
            "voucher {} ({}) is {}, {} available",
            voucher.id,
            voucher.code,
            state_name(voucher.state()),
            show_amount(voucher.available, &voucher.unit_hours_of)
        )
    })
}

async fn issue(context: &Context, args: IssueArgs) -> Outcome<()> {
    let (vouchers, unit_hours, lines) = match &args.csv {
        Some(path) => {
            let batch = batch::read(path)?;
            (batch.vouchers, batch.unit_hours, batch.lines)
        }
        None => {
            let (vouchers, unit_hours) = alike(&args)?;
            (vouchers, unit_hours, Vec::new())
        }
    };
    let sent = vouchers.clone();
    let request = v1::IssueVouchersRequest {
        request_id: request_id(),
        programme: args.programme,
        vouchers,
        unit_hours,
    };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            VoucherServiceClient::new(channel).issue_vouchers(request).await
        })
        .await
        .map_err(|failure| batch::name_line(failure, &sent, &lines))?;
    show_all(context, &answer.vouchers)
}

/// One voucher, or several alike, from the flags; and whether their face is in unit-hours.
fn alike(args: &IssueArgs) -> Outcome<(Vec<v1::NewVoucher>, bool)> {
    let (Some(holder), Some(face), Some(code)) = (&args.holder, args.face, &args.code) else {
        return Err(Failure::Usage("give --holder, --face and --code, or --csv".to_owned()));
    };
    let (from, until) = (args.from.unwrap_or(0), args.until.unwrap_or(0));
    if until <= from {
        let text = "--until is before --from: the voucher would never pay";
        return Err(Failure::argument("FIELD_OUT_OF_RANGE", "--until", text.to_owned()));
    }
    let (face, unit_hours) = face.number();
    let count = args.count.unwrap_or(1);
    let code = |number: u32| match count {
        1 => code.clone(),
        _ => format!("{code}-{number}"),
    };
    let voucher = |number| v1::NewVoucher {
        code: code(number),
        holder: holder.clone(),
        face,
        from_ms: from,
        until_ms: until,
    };
    Ok(((1..=count).map(voucher).collect(), unit_hours))
}

async fn list(context: &Context, holder: String, programme: String) -> Outcome<()> {
    let vouchers = all_pages(async |page_token| {
        let request = v1::ListVouchersRequest {
            page_size: PAGE,
            page_token,
            holder: holder.clone(),
            programme: programme.clone(),
        };
        let page = context
            .client
            .call(request, |channel, request| async move {
                VoucherServiceClient::new(channel).list_vouchers(request).await
            })
            .await?;
        Ok((page.vouchers, page.next_page_token))
    })
    .await?;
    show_all(context, &vouchers)
}

fn show_all(context: &Context, vouchers: &[v1::Voucher]) -> Outcome<()> {
    let now_ms = now_ms();
    let value: Vec<Value> = vouchers.iter().map(|one| voucher_json(one, now_ms)).collect();
    let row = |one: &v1::Voucher| {
        let amount = |amount| show_plain_amount(amount, &one.unit_hours_of);
        vec![
            one.id.to_string(),
            one.code.clone(),
            one.programme.clone(),
            one.holder.clone(),
            state_name(one.state()).to_owned(),
            amount(one.face),
            amount(one.available),
            amount(one.held),
            amount(one.captured),
            last_day(one.until_ms),
            expiring_days(one, now_ms).map_or_else(String::new, |days| format!("within {}", days_text(days))),
        ]
    };
    let header = [
        "NO",
        "CODE",
        "PROGRAMME",
        "HOLDER",
        "STATE",
        ">FACE",
        ">AVAILABLE",
        ">RESERVED",
        ">SPENT",
        "UNTIL",
        "ENDS",
    ];
    context
        .output
        .show(&json!(value), || table(&header, vouchers.iter().map(row)))?;
    for (days, ending) in ending_soon(vouchers, now_ms) {
        context.output.remark(&format!(
            "warning: {ending} of these vouchers end within {} with something left on them",
            days_text(days)
        ));
    }
    Ok(())
}

/// The shortest of these times within which a voucher ends that could still be spent.
const WARNING_DAYS: [u64; 3] = [1, 7, 30];
const DAY_MS: u64 = 86_400_000;

fn days_text(days: u64) -> String {
    if days == 1 {
        "1 day".to_owned()
    } else {
        format!("{days} days")
    }
}

fn expiring_days(voucher: &v1::Voucher, now_ms: u64) -> Option<u64> {
    let lives = matches!(
        voucher.state(),
        v1::VoucherState::Issued | v1::VoucherState::Active | v1::VoucherState::Suspended
    );
    let left = match voucher.state() {
        // Nothing is on it before it is redeemed.
        v1::VoucherState::Issued => voucher.face,
        _ => voucher.available,
    };
    if !lives || left == 0 || voucher.until_ms == 0 {
        return None;
    }
    let left_ms = voucher.until_ms.checked_sub(now_ms)?;
    WARNING_DAYS.into_iter().find(|days| left_ms <= days * DAY_MS)
}

/// How many end within each of the times, the most urgent first.
fn ending_soon(vouchers: &[v1::Voucher], now_ms: u64) -> Vec<(u64, usize)> {
    let count = |days: u64| {
        let within = vouchers.iter().filter(|one| expiring_days(one, now_ms) == Some(days));
        (days, within.count())
    };
    WARNING_DAYS
        .map(count)
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn state_name(state: v1::VoucherState) -> &'static str {
    match state {
        v1::VoucherState::Unspecified => "-",
        v1::VoucherState::Issued => "ISSUED",
        v1::VoucherState::Active => "ACTIVE",
        v1::VoucherState::Suspended => "SUSPENDED",
        v1::VoucherState::Exhausted => "EXHAUSTED",
        v1::VoucherState::Expired => "EXPIRED",
        v1::VoucherState::Revoked => "REVOKED",
    }
}

/// Amounts are fen, or milli-unit-seconds where `unit_hours_of` names a class.
fn voucher_json(voucher: &v1::Voucher, now_ms: u64) -> Value {
    json!({
        "voucher_id": voucher.id,
        "code": voucher.code,
        "programme": voucher.programme,
        "holder": voucher.holder,
        "state": state_name(voucher.state()),
        "unit_hours_of": none_if_empty(&voucher.unit_hours_of),
        "face": voucher.face,
        "available": voucher.available,
        "held": voucher.held,
        "captured": voucher.captured,
        "lapsed": voucher.lapsed,
        "revoked": voucher.revoked,
        "paid_fen": voucher.paid_fen,
        "fraud": voucher.fraud,
        "from": rfc3339(voucher.from_ms),
        "until": rfc3339(voucher.until_ms),
        "expiring_within_days": expiring_days(voucher, now_ms),
    })
}

fn voucher_text(voucher: &v1::Voucher) -> String {
    let amount = |amount: i64| show_amount(amount, &voucher.unit_hours_of);
    let unless_zero = |number: i64| if number == 0 { String::new() } else { amount(number) };
    let ends = expiring_days(voucher, now_ms());
    record(&[
        ("voucher", voucher.id.to_string()),
        ("code", voucher.code.clone()),
        ("programme", voucher.programme.clone()),
        ("holder", voucher.holder.clone()),
        (
            "state",
            if voucher.fraud {
                format!("{}, for fraud", state_name(voucher.state()))
            } else {
                state_name(voucher.state()).to_owned()
            },
        ),
        ("face", amount(voucher.face)),
        ("available", amount(voucher.available)),
        ("reserved", amount(voucher.held)),
        ("spent", amount(voucher.captured)),
        ("paid", format!("{} yuan", show_money(voucher.paid_fen))),
        ("lapsed", unless_zero(voucher.lapsed)),
        ("revoked", unless_zero(voucher.revoked)),
        ("from", first_day(voucher.from_ms)),
        (
            "until",
            match ends {
                Some(days) => format!("{}, within {}", last_day(voucher.until_ms), days_text(days)),
                None => last_day(voucher.until_ms),
            },
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voucher_with_something_left_warns_30_7_and_1_days_before_its_end() {
        let voucher = |until_ms, available, state: v1::VoucherState| v1::Voucher {
            face: 100,
            available,
            until_ms,
            state: state.into(),
            ..Default::default()
        };
        let active = |until_ms| voucher(until_ms, 1, v1::VoucherState::Active);
        let now = 1_000 * DAY_MS;
        let expected = [
            (31, None),
            (30, Some(30)),
            (8, Some(30)),
            (7, Some(7)),
            (1, Some(1)),
            (0, Some(1)),
        ];
        for (days, within) in expected {
            assert_eq!(
                expiring_days(&active(now + days * DAY_MS), now),
                within,
                "{days} days before"
            );
        }
        assert_eq!(expiring_days(&active(now - 1), now), None, "it is over");
        assert_eq!(expiring_days(&active(0), now), None, "it has no end");
        assert_eq!(
            expiring_days(&voucher(now, 0, v1::VoucherState::Active), now),
            None,
            "nothing is left"
        );
        assert_eq!(
            expiring_days(&voucher(now, 0, v1::VoucherState::Issued), now),
            Some(1),
            "all of it is left"
        );
        assert_eq!(expiring_days(&voucher(now, 1, v1::VoucherState::Revoked), now), None);
        let vouchers = [active(now), active(now + 20 * DAY_MS), active(now + 25 * DAY_MS)];
        assert_eq!(ending_soon(&vouchers, now), [(1, 1), (30, 2)]);
    }
}
