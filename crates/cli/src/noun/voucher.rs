//! `hesuan voucher`: issued by a bureau, redeemed and spent by its holder.

use clap::{Args, Subcommand};
use hesuan_api::v1::{self, voucher_service_client::VoucherServiceClient};
use serde_json::{Value, json};

use super::{Context, PAGE};
use crate::client::request_id;
use crate::failure::{Failure, Outcome};
use crate::output::{record, table};
use crate::units::{self, local, rfc3339, show_money};

/// Verbs of `hesuan voucher`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Issue a voucher, or several alike
    Issue(IssueArgs),
    /// Take a voucher into use; once, by its holder
    Redeem {
        /// The voucher's code
        code: String,
    },
    /// Vouchers you may see
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
        /// Its code
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
        /// Obtained by fraud: what runs on it loses its cover too
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
    /// The organisation that may redeem it
    #[arg(long, value_name = "ORG")]
    holder: String,
    /// Face value in yuan
    #[arg(long, value_name = "YUAN", value_parser = units::parse_money, allow_negative_numbers = true)]
    face: i64,
    /// Its code; with --count, -1, -2 and so on are added
    #[arg(long)]
    code: String,
    /// Issue so many alike
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,
    /// First day, in Shanghai, or a time
    #[arg(long, value_name = "DAY", value_parser = units::parse_from)]
    from: u64,
    /// Last day, in Shanghai, or the time it ends
    #[arg(long, value_name = "DAY", value_parser = units::parse_until)]
    until: u64,
}

/// Which, and why.
#[derive(Args, Debug)]
pub struct ReasonArgs {
    /// The voucher's code
    code: String,
    /// For the record
    #[arg(long, default_value = "", hide_default_value = true)]
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
            context.output.show(&voucher_json(&voucher), || voucher_text(&voucher))
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
    context.output.show(&voucher_json(voucher), || {
        let available = show_money(voucher.available_fen);
        format!(
            "voucher {} ({}) is {}, {available} yuan available",
            voucher.id,
            voucher.code,
            state_name(voucher.state())
        )
    })
}

async fn issue(context: &Context, args: IssueArgs) -> Outcome<()> {
    if args.until <= args.from {
        return Err(Failure::Usage(
            "--until is before --from: the voucher would never pay".to_owned(),
        ));
    }
    let code = |number: u32| match args.count {
        1 => args.code.clone(),
        _ => format!("{}-{number}", args.code),
    };
    let voucher = |number| v1::NewVoucher {
        code: code(number),
        holder: args.holder.clone(),
        face_fen: args.face,
        from_ms: args.from,
        until_ms: args.until,
    };
    let request = v1::IssueVouchersRequest {
        request_id: request_id(),
        programme: args.programme.clone(),
        vouchers: (1..=args.count).map(voucher).collect(),
    };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            VoucherServiceClient::new(channel).issue_vouchers(request).await
        })
        .await?;
    show_all(context, &answer.vouchers)
}

async fn list(context: &Context, holder: String, programme: String) -> Outcome<()> {
    let mut vouchers = Vec::new();
    let mut request = v1::ListVouchersRequest {
        page_size: PAGE,
        page_token: String::new(),
        holder,
        programme,
    };
    loop {
        let page = context
            .client
            .call(request.clone(), |channel, request| async move {
                VoucherServiceClient::new(channel).list_vouchers(request).await
            })
            .await?;
        vouchers.extend(page.vouchers);
        if page.next_page_token.is_empty() {
            return show_all(context, &vouchers);
        }
        request.page_token = page.next_page_token;
    }
}

fn show_all(context: &Context, vouchers: &[v1::Voucher]) -> Outcome<()> {
    let value: Vec<Value> = vouchers.iter().map(voucher_json).collect();
    let row = |one: &v1::Voucher| {
        vec![
            one.id.to_string(),
            one.code.clone(),
            one.programme.clone(),
            one.holder.clone(),
            state_name(one.state()).to_owned(),
            show_money(one.face_fen),
            show_money(one.available_fen),
            show_money(one.held_fen),
            show_money(one.captured_fen),
            local(one.until_ms),
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
        ">HELD",
        ">SPENT",
        "UNTIL",
    ];
    context
        .output
        .show(&json!(value), || table(&header, vouchers.iter().map(row)))
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

fn voucher_json(voucher: &v1::Voucher) -> Value {
    json!({
        "voucher_id": voucher.id,
        "code": voucher.code,
        "programme": voucher.programme,
        "holder": voucher.holder,
        "state": state_name(voucher.state()),
        "face_fen": voucher.face_fen,
        "available_fen": voucher.available_fen,
        "held_fen": voucher.held_fen,
        "captured_fen": voucher.captured_fen,
        "from": rfc3339(voucher.from_ms),
        "until": rfc3339(voucher.until_ms),
    })
}

fn voucher_text(voucher: &v1::Voucher) -> String {
    record(&[
        ("voucher", voucher.id.to_string()),
        ("code", voucher.code.clone()),
        ("programme", voucher.programme.clone()),
        ("holder", voucher.holder.clone()),
        ("state", state_name(voucher.state()).to_owned()),
        ("face", format!("{} yuan", show_money(voucher.face_fen))),
        ("available", show_money(voucher.available_fen)),
        ("held", show_money(voucher.held_fen)),
        ("spent", show_money(voucher.captured_fen)),
        ("from", local(voucher.from_ms)),
        ("until", local(voucher.until_ms)),
    ])
}
