//! Who may do what: one table of command kind x role, used by apply for writes and by the server for reads. What a role is
//! bound to (an org, a site, a region) is checked with the table.

use hesuan_ledger::types::{OrgId, RegionCode, SiteId};

use super::State;
use super::principal::Principal;
use crate::command::{Body, ClosingCommand, Command, MoneyCommand, Role};
use crate::outcome::Rejection;
use crate::types::PrincipalId;

/// What a command or a read is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The cluster as a whole.
    Cluster,
    /// One organisation's jobs or money.
    Org(OrgId),
    /// One site.
    Site(SiteId),
    /// One region's programmes.
    Region(RegionCode),
    /// Known only once the command is judged; the kind alone is checked first.
    Later,
}

/// Kinds of commands and reads: the rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Submit a job, take a binding quote, give a running task more time.
    Submit,
    /// Cancel a job.
    Cancel,
    /// Redeem a voucher.
    Redeem,
    /// Create an organisation, change where it is registered or who controls it.
    Organisations,
    /// Whatever is paid: top up, withdraw, refund, settlements, claims, funders.
    MoveMoney,
    /// File a claim.
    Claim,
    /// End and close accounting periods.
    Close,
    /// Review settlements and claims.
    Review,
    /// Change a site's prices.
    SetPrices,
    /// Programmes, agreements, vouchers.
    Programmes,
    /// Create a site.
    CreateSite,
    /// Open, cordon, drain a site.
    SetSiteState,
    /// Say who may use a site and how much of it.
    SetContract,
    /// Principals, limits, quotas of organisations and the policy of scheduling.
    Administer,
    /// Attach an agent, report of its tasks.
    Agent,
    /// What only the leader proposes.
    Lead,
    /// See jobs, their logs and receipts.
    ReadJobs,
    /// See an organisation's wallet, statement, settlements and claims.
    ReadWallet,
    /// See vouchers of a holder.
    ReadVouchers,
    /// See sites, hosts, prices, programmes, agreements, limits, policy, the cluster's state.
    ReadPublic,
    /// See the clearing, payables and corrections of a region's programmes and payees.
    ReadClearing,
    /// See the trial balance.
    ReadBooks,
    /// Take the whole journal away.
    ExportJournal,
    /// See principals.
    ReadPrincipals,
}

/// The table: which roles may do which kind of thing. [`Role::Member`], [`Role::Operator`], [`Role::Node`],
/// [`Role::Issuer`] and a [`Role::Reviewer`] of one region only within what they are bound to.
#[must_use]
pub fn roles(kind: Kind) -> &'static [Role] {
    use Role::{Admin, Auditor, Issuer, Member, Node, Operator, Reviewer, Treasurer};
    match kind {
        Kind::Submit | Kind::Redeem | Kind::Claim => &[Member],
        Kind::Cancel => &[Member, Admin],
        Kind::Organisations => &[Admin, Treasurer],
        Kind::MoveMoney => &[Treasurer],
        Kind::Close | Kind::Review => &[Reviewer],
        Kind::SetPrices => &[Operator],
        Kind::Programmes => &[Issuer],
        Kind::CreateSite | Kind::Administer => &[Admin],
        Kind::SetSiteState | Kind::SetContract => &[Admin, Operator],
        Kind::Agent => &[Node],
        Kind::Lead => &[],
        Kind::ReadJobs => &[Member, Admin, Auditor],
        Kind::ReadWallet => &[Member, Treasurer, Auditor, Reviewer],
        Kind::ReadVouchers => &[Member, Issuer, Auditor, Reviewer],
        Kind::ReadPublic => &[Member, Admin, Operator, Issuer, Treasurer, Auditor, Node, Reviewer],
        Kind::ReadClearing => &[Issuer, Treasurer, Auditor, Reviewer],
        Kind::ReadBooks => &[Treasurer, Auditor, Reviewer],
        Kind::ExportJournal => &[Auditor],
        Kind::ReadPrincipals => &[Admin, Auditor],
    }
}

/// The row a command belongs to.
#[must_use]
pub fn kind_of(body: &Body) -> Kind {
    match body {
        Body::SubmitJob(_) | Body::BindQuote { .. } | Body::ReleaseQuote { .. } | Body::ExtendJob { .. } => {
            Kind::Submit
        }
        Body::CancelJob { .. } => Kind::Cancel,
        Body::Money(money) => match money {
            MoneyCommand::CreateOrg(_) | MoneyCommand::UpdateOrg { .. } => Kind::Organisations,
            MoneyCommand::TopUp { .. }
            | MoneyCommand::Withdraw { .. }
            | MoneyCommand::Refund { .. }
            | MoneyCommand::Closing(
                ClosingCommand::PayIn { .. }
                | ClosingCommand::RepayFund { .. }
                | ClosingCommand::Collect { .. }
                | ClosingCommand::PaySettlement { .. }
                | ClosingCommand::PayClaim { .. },
            ) => Kind::MoveMoney,
            MoneyCommand::Closing(ClosingCommand::FileClaim { .. }) => Kind::Claim,
            MoneyCommand::Closing(ClosingCommand::EndPeriod | ClosingCommand::ClosePeriod { .. }) => Kind::Close,
            MoneyCommand::Closing(ClosingCommand::ReviewSettlement { .. } | ClosingCommand::ReviewClaim { .. }) => {
                Kind::Review
            }
            MoneyCommand::SetPrices { .. } => Kind::SetPrices,
            MoneyCommand::CreateProgramme(_)
            | MoneyCommand::ReviseProgramme { .. }
            | MoneyCommand::SetBudget { .. }
            | MoneyCommand::CreateAgreement { .. }
            | MoneyCommand::EndAgreement { .. }
            | MoneyCommand::IssueVouchers { .. }
            | MoneyCommand::SuspendVoucher { .. }
            | MoneyCommand::ResumeVoucher { .. }
            | MoneyCommand::RevokeVoucher { .. } => Kind::Programmes,
            MoneyCommand::RedeemVoucher { .. } => Kind::Redeem,
        },
        Body::CreateSite { .. } => Kind::CreateSite,
        Body::SetSiteState { .. } => Kind::SetSiteState,
        Body::SetContract { .. } => Kind::SetContract,
        Body::CreatePrincipal(_)
        | Body::RevokePrincipal { .. }
        | Body::SetLimits(_)
        | Body::SetQuota { .. }
        | Body::SetPolicy(_)
        | Body::AddMember(_) => Kind::Administer,
        Body::AttachAgent { .. } | Body::Reports(_) => Kind::Agent,
        Body::Decisions(_) | Body::Reclaims(_) | Body::SiteLost { .. } | Body::Tick | Body::SetLevel(_) => Kind::Lead,
    }
}

/// Whether a principal may do this kind of thing within this scope.
#[must_use]
pub fn may(principal: &Principal, kind: Kind, scope: Scope) -> bool {
    // What everybody may read has no scope to be bound to.
    let scope = if kind == Kind::ReadPublic { Scope::Later } else { scope };
    !principal.revoked
        && roles(kind)
            .iter()
            .any(|role| principal.has(*role) && covers(principal, *role, scope))
}

/// Whether a principal may read this; the cluster itself may read everything.
#[must_use]
pub fn may_read(state: &State, principal: PrincipalId, kind: Kind, scope: Scope) -> bool {
    principal == PrincipalId::CLUSTER
        || state
            .principal(principal)
            .is_some_and(|principal| may(principal, kind, scope))
}

/// The organisation to which the principal's reads of jobs are bound; `None` = it may see those of all.
#[must_use]
pub fn jobs_seen(principal: &Principal) -> Option<OrgId> {
    if may(principal, Kind::ReadJobs, Scope::Cluster) {
        None
    } else {
        principal.org
    }
}

fn covers(principal: &Principal, role: Role, scope: Scope) -> bool {
    match (role, scope) {
        (_, Scope::Later) => true,
        (Role::Member, Scope::Org(org)) => principal.org == Some(org),
        (Role::Operator | Role::Node, Scope::Site(site)) => principal.site == Some(site),
        (Role::Issuer, Scope::Region(region)) => principal.region == Some(region),
        (Role::Reviewer, Scope::Region(region)) => principal.region.is_none_or(|bound| bound == region),
        (Role::Reviewer, _) => principal.region.is_none(),
        (Role::Member | Role::Operator | Role::Node | Role::Issuer, _) => false,
        (Role::Admin | Role::Treasurer | Role::Auditor, _) => true,
    }
}

/// Whether the sender of a command may send this kind at all.
pub(super) fn judge(state: &State, command: &Command) -> Result<(), Rejection> {
    if command.principal == PrincipalId::CLUSTER {
        return Ok(());
    }
    let Some(principal) = state.principal(command.principal) else {
        return Err(Rejection::denied(
            "UNKNOWN_PRINCIPAL",
            format!("no principal {}", command.principal.0),
        ));
    };
    if principal.revoked {
        return Err(Rejection::denied(
            "PRINCIPAL_REVOKED",
            format!("the token of {} was revoked", principal.name),
        ));
    }
    let kind = kind_of(&command.body);
    if may(principal, kind, Scope::Later) {
        Ok(())
    } else {
        Err(refusal(principal, kind, None))
    }
}

/// Whether the sender may do this within the scope that its command turned out to have.
pub(super) fn judge_scope(state: &State, principal: PrincipalId, kind: Kind, scope: Scope) -> Result<(), Rejection> {
    if principal == PrincipalId::CLUSTER {
        return Ok(());
    }
    let principal = state.principal(principal).expect("judged before");
    if may(principal, kind, scope) {
        Ok(())
    } else {
        Err(refusal(principal, kind, state.place_of(scope)))
    }
}

impl State {
    /// By name.
    fn place_of(&self, scope: Scope) -> Option<String> {
        Some(match scope {
            Scope::Cluster => "the cluster as a whole".to_owned(),
            Scope::Site(id) => format!("site {}", self.site(id)?.name),
            Scope::Region(region) => format!("region {region}"),
            // Whose a job is, is not told to who may not see it.
            Scope::Org(_) | Scope::Later => return None,
        })
    }
}

/// `place`: what the command is about, where it is known.
fn refusal(principal: &Principal, kind: Kind, place: Option<String>) -> Rejection {
    let needed: Vec<String> = roles(kind)
        .iter()
        .map(|role| format!("{role:?}").to_lowercase())
        .collect();
    let text = if needed.is_empty() {
        "only the cluster itself does this".to_owned()
    } else {
        let bound = principal
            .region
            .map_or_else(String::new, |region| format!(" of region {region}"));
        let has: Vec<String> = principal
            .roles
            .iter()
            .map(|role| format!("{role:?}").to_lowercase())
            .collect();
        format!(
            "{} may not do this: it takes the role {} for {}, and {0} is {}{bound}",
            principal.name,
            needed.join(" or "),
            place.as_deref().unwrap_or("what it is about"),
            has.join(", ")
        )
    };
    Rejection::denied("PERMISSION_DENIED", text)
}
