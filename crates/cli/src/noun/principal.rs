//! `hesuan cluster principal`: who may do what. The token is made here and shown once; the cluster gets its hash only.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use hesuan_api::v1::{self, cluster_service_client::ClusterServiceClient};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Context, PAGE, all_pages, none_if_empty, none_if_zero, parse_region};
use crate::client::request_id;
use crate::failure::{Failure, Outcome};
use crate::output::{record, table};

/// Verbs of `hesuan cluster principal`.
#[derive(Debug, Subcommand)]
pub enum PrincipalVerb {
    /// Make a principal and its token
    Create(CreateArgs),
    /// All principals
    List,
    /// Refuse its token from now on
    Revoke {
        /// Its name
        name: String,
    },
}

/// Rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything about the cluster; not money.
    Admin,
    /// One site: state, prices.
    Operator,
    /// Jobs and vouchers of one organisation.
    Member,
    /// Programmes, agreements and vouchers of one region.
    Issuer,
    /// Whatever is paid: wallets, refunds, settlements, claims, funders.
    Treasurer,
    /// Reads everything, changes nothing.
    Auditor,
    /// The agent of one site.
    Node,
    /// Closes periods, reviews settlements and claims; in one region, or in all.
    Reviewer,
}

impl Role {
    fn message(self) -> v1::Role {
        match self {
            Role::Admin => v1::Role::Admin,
            Role::Operator => v1::Role::Operator,
            Role::Member => v1::Role::Member,
            Role::Issuer => v1::Role::Issuer,
            Role::Treasurer => v1::Role::Treasurer,
            Role::Auditor => v1::Role::Auditor,
            Role::Node => v1::Role::Node,
            Role::Reviewer => v1::Role::Reviewer,
        }
    }
}

fn role_name(role: v1::Role) -> &'static str {
    match role {
        v1::Role::Unspecified => "-",
        v1::Role::Admin => "admin",
        v1::Role::Operator => "operator",
        v1::Role::Member => "member",
        v1::Role::Issuer => "issuer",
        v1::Role::Treasurer => "treasurer",
        v1::Role::Auditor => "auditor",
        v1::Role::Node => "node",
        v1::Role::Reviewer => "reviewer",
    }
}

/// Options of `cluster principal create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Unique
    name: String,
    /// What it may do
    #[arg(long = "role", required = true, value_delimiter = ',')]
    roles: Vec<Role>,
    /// The organisation of a member
    #[arg(long, default_value = "", hide_default_value = true)]
    org: String,
    /// The site of an operator or node
    #[arg(long, default_value = "", hide_default_value = true)]
    site: String,
    /// The region of an issuer, or of a reviewer of one region
    #[arg(long, value_name = "CODE", value_parser = parse_region)]
    region: Option<u32>,
    /// Write the token to this new file (readable by you only) instead of printing it
    #[arg(long, value_name = "FILE")]
    token_out: Option<PathBuf>,
}

/// Carries out a verb.
pub(crate) async fn run(context: &Context, verb: PrincipalVerb) -> Outcome<()> {
    match verb {
        PrincipalVerb::Create(args) => create(context, args).await,
        PrincipalVerb::List => list(context).await,
        PrincipalVerb::Revoke { name } => {
            let request = v1::RevokePrincipalRequest {
                request_id: request_id(),
                name,
            };
            let principal = context
                .client
                .call(request, |channel, request| async move {
                    ClusterServiceClient::new(channel).revoke_principal(request).await
                })
                .await?;
            context
                .output
                .show(&principal_json(&principal), || format!("{} is revoked", principal.name))
        }
    }
}

/// A fresh token: 256 random bits.
#[must_use]
pub fn new_token() -> String {
    format!("HESUAN_{}", hex::encode(rand::random::<[u8; 32]>()))
}

/// What the cluster keeps of a token.
#[must_use]
pub fn token_sha256(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

async fn create(context: &Context, args: CreateArgs) -> Outcome<()> {
    let token = new_token();
    // Written before the cluster knows it: a token that cannot be kept must not be made.
    if let Some(path) = &args.token_out {
        write_token(path, &token)?;
    }
    let principal = v1::Principal {
        name: args.name,
        roles: args.roles.into_iter().map(|role| role.message().into()).collect(),
        org: args.org,
        site: args.site,
        region: args.region.unwrap_or(0),
        ..Default::default()
    };
    let request = v1::CreatePrincipalRequest {
        request_id: request_id(),
        principal: Some(principal),
        token_sha256: token_sha256(&token),
    };
    let answer = context
        .client
        .call(request, |channel, request| async move {
            ClusterServiceClient::new(channel).create_principal(request).await
        })
        .await;
    let answer = match (answer, &args.token_out) {
        (Ok(answer), _) => answer,
        // Refused for good: the file would hold a token that nobody knows.
        (Err(failure @ Failure::Refused(_)), Some(path)) => {
            let _ = std::fs::remove_file(path);
            return Err(failure);
        }
        (Err(failure), _) => return Err(failure),
    };
    let principal = answer.principal.unwrap_or_default();
    let mut value = principal_json(&principal);
    match &args.token_out {
        Some(path) => value["token_file"] = path.display().to_string().into(),
        None => value["token"] = token.clone().into(),
    }
    if args.token_out.is_none() {
        context.output.remark("the token is shown this once:");
    }
    context.output.show(&value, || match &args.token_out {
        Some(path) => format!("{} created, its token is in {}", principal.name, path.display()),
        None => token,
    })
}

fn write_token(path: &Path, token: &str) -> Outcome<()> {
    let failed = |error| Failure::Local(format!("the token cannot be written to {}: {error}", path.display()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(format!("{token}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

async fn list(context: &Context) -> Outcome<()> {
    let principals = all_pages(async |page_token| {
        let request = v1::ListPrincipalsRequest {
            page_size: PAGE,
            page_token,
        };
        let page = context
            .client
            .call(request, |channel, request| async move {
                ClusterServiceClient::new(channel).list_principals(request).await
            })
            .await?;
        Ok((page.principals, page.next_page_token))
    })
    .await?;
    let value: Vec<Value> = principals.iter().map(principal_json).collect();
    let row = |one: &v1::Principal| {
        vec![
            one.id.to_string(),
            one.name.clone(),
            roles_text(one),
            scope_text(one),
            if one.revoked { "revoked" } else { "" }.to_owned(),
        ]
    };
    context.output.show(&json!(value), || {
        table(&["ID", "NAME", "ROLES", "FOR", "STATE"], principals.iter().map(row))
    })
}

fn roles_text(principal: &v1::Principal) -> String {
    principal.roles().map(role_name).collect::<Vec<_>>().join(",")
}

fn scope_text(principal: &v1::Principal) -> String {
    let region = none_if_zero(principal.region.into())
        .map(|code| code.to_string())
        .unwrap_or_default();
    let parts = [principal.org.clone(), principal.site.clone(), region];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) fn principal_json(principal: &v1::Principal) -> Value {
    json!({
        "id": principal.id,
        "name": principal.name,
        "roles": principal.roles().map(role_name).collect::<Vec<_>>(),
        "org": none_if_empty(&principal.org),
        "site": none_if_empty(&principal.site),
        "region": none_if_zero(principal.region.into()),
        "revoked": principal.revoked,
    })
}

pub(super) fn principal_text(principal: &v1::Principal) -> String {
    record(&[
        ("principal", principal.id.to_string()),
        ("name", principal.name.clone()),
        ("roles", roles_text(principal)),
        ("for", scope_text(principal)),
    ])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_file_is_for_its_owner_and_never_overwritten() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("token");
        let token = new_token();
        write_token(&path, &token).expect("the folder is writable");
        let mode = std::fs::metadata(&path)
            .expect("the file is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).expect("the file is there").trim(), token);
        assert!(write_token(&path, "HESUAN_other").is_err());
    }

    #[test]
    fn tokens_are_256_bits_and_differ() {
        let (one, other) = (new_token(), new_token());
        assert_eq!(one.len(), "HESUAN_".len() + 64);
        assert_ne!(one, other);
        assert_eq!(token_sha256(&one).len(), 32);
    }
}
