//! JobService: submit, quote, follow, cancel, extend.

use std::sync::Arc;

use hesuan_api::answer;
use hesuan_api::codec::encode_submit;
use hesuan_api::convert;
use hesuan_api::internal::v1::command::Body;
use hesuan_api::refusal::status;
use hesuan_api::v1::job_service_server::JobService;
use hesuan_api::v1::{self, JobState};
use hesuan_engine::outcome::{Rejection, Reply};
use hesuan_engine::schedule;
use hesuan_engine::state::access::{self, Kind, Scope};
use hesuan_engine::state::{Job, State};
use hesuan_engine::types::{JobId, OrgId, PrincipalId, Timestamp};
use hesuan_ledger::BoundQuote;
use hesuan_ledger::types::QuoteId;
use tonic::{Code, Request, Response, Status};

use super::Services;
use super::archived;
use super::call::{Deadline, unexpected};
use super::logs::{self, LogStream};
use super::pages::{self, not_found};
use super::watch::{self, WatchStream};
use crate::apply::View;

/// Jobs looked at for one page: a filter that matches little must not hold up the APPLY thread. The page is then short, and
/// its token goes on.
const SCAN_MAX: usize = 20_000;

#[tonic::async_trait]
impl JobService for Services {
    async fn submit_job(
        &self,
        request: Request<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let archived = self.0.archived_dependencies(deadline, &request).await?;
        let command = encode_submit(caller, request, archived).map_err(|rejection| status(&rejection))?;
        match self
            .0
            .command(deadline, command)
            .await?
            .map_err(|rejection| status(&rejection))?
        {
            Reply::Job(job) => Ok(Response::new(v1::SubmitJobResponse { job_id: job.0 })),
            other => Err(unexpected(&other)),
        }
    }

    async fn quote_job(&self, request: Request<v1::QuoteJobRequest>) -> Result<Response<v1::QuoteJobResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let spec = request.spec.clone();
        let quote = match request.binding {
            false => None,
            true => match self.0.mutate(caller, deadline, Body::BindQuote(request)).await? {
                Reply::Quote(id) => Some(id),
                other => return Err(unexpected(&other)),
            },
        };
        let spec = spec.ok_or_else(|| status(&field_missing("spec", "describe the job to be priced")))?;
        let job = convert::job::job(spec).map_err(|rejection| status(&rejection))?;
        let quoted = self.0.read(v1::Consistency::Linearizable, deadline, move |view| {
            let wanted = view.state.resolve(caller, &job)?;
            let at = Timestamp(view.wall_ms).max(view.state.at());
            let quotes = schedule::quote(view.state, view.planner, &wanted, at);
            let nearest = view.state.instead_of(&wanted, &quotes, at);
            Ok(answer::quotes(view.state, &quotes, nearest.as_deref(), quote))
        });
        Ok(quoted.await?.into_response())
    }

    async fn list_quotes(
        &self,
        request: Request<v1::ListQuotesRequest>,
    ) -> Result<Response<v1::ListQuotesResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let listed = self.0.read(request.consistency(), deadline, move |view| {
            let from = pages::start(&request.page_token)?;
            let state = view.state;
            let all = state.ledger().bound_quotes_after(QuoteId(from.saturating_sub(1)));
            let visible = |(_, bound): &(QuoteId, &BoundQuote)| {
                access::may_read(state, caller, Kind::ReadJobs, Scope::Org(bound.pinned.payer))
            };
            let (quotes, next_page_token) = pages::page(
                all.filter(visible),
                request.page_size,
                |(id, _)| id.0,
                |(id, bound)| answer::bound_quote(state, id, bound),
            );
            Ok(v1::ListQuotesResponse {
                quotes,
                next_page_token,
            })
        });
        Ok(listed.await?.into_response())
    }

    async fn release_quote(
        &self,
        request: Request<v1::ReleaseQuoteRequest>,
    ) -> Result<Response<v1::ReleaseQuoteResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        match self
            .0
            .mutate(caller, deadline, Body::ReleaseQuote(request.into_inner()))
            .await?
        {
            Reply::Quote(_) => Ok(Response::new(v1::ReleaseQuoteResponse {})),
            other => Err(unexpected(&other)),
        }
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::Job>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let (id, consistency) = (JobId(request.get_ref().job_id), request.get_ref().consistency());
        let found = self.0.read(consistency, deadline, move |view| {
            visible_job(view.state, caller, id).map(|job| answer::job(view.state, id, job))
        });
        match found.await {
            Ok(found) => Ok(found.into_response()),
            Err(status) if status.code() == Code::NotFound => {
                let found = self
                    .0
                    .find_archived(caller, deadline, id, |_, record| archived::job(record));
                Ok(Response::new(found.await?))
            }
            Err(status) => Err(status),
        }
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let consistency = request.consistency();
        let listed = self.0.read(consistency, deadline, move |view| {
            let from = pages::start(&request.page_token)?;
            let filter = Filter::of_list(view.state, caller, &request)?;
            let page = page(
                view.state,
                &filter,
                (from != 0).then_some(JobId(from)),
                pages::size(request.page_size),
            );
            let next_page_token = page.next.map(|next| pages::token(next.0)).unwrap_or_default();
            Ok(v1::ListJobsResponse {
                jobs: page.jobs,
                next_page_token,
            })
        });
        Ok(listed.await?.into_response())
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<v1::ListTasksResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let consistency = request.consistency();
        let listed = self.0.read(consistency, deadline, move |view| {
            let id = JobId(request.job_id);
            visible_job(view.state, caller, id)?;
            // A page ends between tasks or within one, so the key names both.
            let from = pages::start(&request.page_token)?;
            let (task, attempt) = ((from >> 32) as u32, from as u32);
            let attempts = view
                .state
                .attempts(id, task)
                .skip_while(|(at, _)| at.task == task && at.attempt < attempt);
            let key = |(at, _): &(_, _)| -> u64 {
                let at: &hesuan_engine::types::TaskId = at;
                u64::from(at.task) << 32 | u64::from(at.attempt)
            };
            let (attempts, next_page_token) = pages::page(attempts, request.page_size, key, |(at, attempt)| {
                answer::attempt(view.state, at, attempt)
            });
            Ok(v1::ListTasksResponse {
                attempts,
                next_page_token,
            })
        });
        Ok(listed.await?.into_response())
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let Reply::Job(id) = self
            .0
            .mutate(caller, deadline, Body::CancelJob(request.into_inner()))
            .await?
        else {
            return Err(Status::internal("a cancel was answered with something else"));
        };
        let job = self
            .0
            .look(deadline, move |view| {
                view.state.job(id).map(|job| answer::job(view.state, id, job))
            })
            .await?;
        Ok(Response::new(v1::CancelJobResponse { job }))
    }

    async fn extend_job(
        &self,
        request: Request<v1::ExtendJobRequest>,
    ) -> Result<Response<v1::ExtendJobResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let request = request.into_inner();
        let id = JobId(request.job_id);
        let (task, walltime_ms_max) = match self.0.mutate(caller, deadline, Body::ExtendJob(request)).await? {
            Reply::Extended { task, walltime_ms_max } => (task, walltime_ms_max),
            other => return Err(unexpected(&other)),
        };
        let job = self
            .0
            .look(deadline, move |view| {
                view.state.job(id).map(|job| answer::job(view.state, id, job))
            })
            .await?;
        Ok(Response::new(v1::ExtendJobResponse {
            job,
            task,
            walltime_ms_max,
        }))
    }

    async fn explain_job(
        &self,
        request: Request<v1::ExplainJobRequest>,
    ) -> Result<Response<v1::ExplainJobResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let id = JobId(request.get_ref().job_id);
        let explained = self
            .0
            .read(v1::Consistency::Linearizable, deadline, move |view: &View<'_>| {
                visible_job(view.state, caller, id)?;
                let now = Timestamp(view.wall_ms).max(view.state.at());
                let explanation = schedule::explain(view.state, view.planner, id, now, view.site_up);
                let explanation = explanation.ok_or_else(|| unknown(id))?;
                Ok(answer::explanation(view.state, id, &explanation))
            });
        Ok(explained.await?.into_response())
    }

    async fn get_receipt(
        &self,
        request: Request<v1::GetReceiptRequest>,
    ) -> Result<Response<v1::GetReceiptResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let caller = self.0.caller(request.metadata()).await?;
        let (id, consistency) = (JobId(request.get_ref().job_id), request.get_ref().consistency());
        let found = self.0.read(consistency, deadline, move |view| {
            visible_job(view.state, caller, id).map(|job| answer::receipt(view.state, id, job))
        });
        match found.await {
            Ok(found) => Ok(found.into_response()),
            Err(status) if status.code() == Code::NotFound => Ok(Response::new(
                self.0.find_archived(caller, deadline, id, archived::receipt).await?,
            )),
            Err(status) => Err(status),
        }
    }

    type WatchJobsStream = WatchStream;

    async fn watch_jobs(&self, request: Request<v1::WatchJobsRequest>) -> Result<Response<WatchStream>, Status> {
        let caller = self.0.caller(request.metadata()).await?;
        Ok(Response::new(
            watch::stream(Arc::clone(&self.0), caller, request.into_inner()).await?,
        ))
    }

    type StreamLogsStream = LogStream;

    async fn stream_logs(&self, request: Request<v1::StreamLogsRequest>) -> Result<Response<LogStream>, Status> {
        let caller = self.0.caller(request.metadata()).await?;
        Ok(Response::new(
            logs::stream(Arc::clone(&self.0), caller, request.into_inner()).await?,
        ))
    }
}

fn field_missing(field: &'static str, hint: &str) -> Rejection {
    Rejection::invalid("FIELD_MISSING", field, format!("{field} is missing: {hint}"))
}

pub(super) fn unknown(id: JobId) -> Rejection {
    not_found(
        "UNKNOWN_JOB",
        "job_id",
        format!("no job {}; it may have ended and left for the archive", id.0),
    )
}

/// The job, if it exists and the caller may see it: the same answer for both.
pub(super) fn visible_job(state: &State, caller: PrincipalId, id: JobId) -> Result<&Job, Rejection> {
    let job = state.job(id).ok_or_else(|| unknown(id))?;
    let scope = Scope::Org(state.request(job).org);
    if access::may_read(state, caller, Kind::ReadJobs, scope) {
        Ok(job)
    } else {
        Err(unknown(id))
    }
}

/// Which jobs a list or watch shows.
#[derive(Clone)]
pub(super) struct Filter {
    caller: PrincipalId,
    job: Option<JobId>,
    org: Option<OrgId>,
    name: String,
    states: Vec<JobState>,
    labels: Vec<(String, String)>,
}

impl Filter {
    fn of_list(state: &State, caller: PrincipalId, request: &v1::ListJobsRequest) -> Result<Filter, Rejection> {
        let labels = request
            .labels
            .iter()
            .map(|label| (label.key.clone(), label.value.clone()))
            .collect();
        Ok(Filter {
            caller,
            job: None,
            org: org(state, &request.org)?,
            name: request.name.clone(),
            states: request.states().collect(),
            labels,
        })
    }

    /// Of a watch.
    pub(super) fn of_watch(
        state: &State,
        caller: PrincipalId,
        request: &v1::WatchJobsRequest,
    ) -> Result<Filter, Rejection> {
        let job = (request.job_id != 0).then_some(JobId(request.job_id));
        if let Some(job) = job {
            visible_job(state, caller, job)?;
        }
        Ok(Filter {
            caller,
            job,
            org: org(state, &request.org)?,
            name: String::new(),
            states: Vec::new(),
            labels: Vec::new(),
        })
    }

    fn shows(&self, state: &State, id: JobId, job: &Job) -> bool {
        let request_org = state.request(job).org;
        self.job.is_none_or(|wanted| wanted == id)
            && self.org.is_none_or(|org| org == request_org)
            && (self.name.is_empty() || *self.name == *job.spec.name)
            && (self.states.is_empty() || self.states.contains(&answer::job_state(job.state())))
            && self.labels.iter().all(|wanted| {
                job.spec
                    .labels
                    .iter()
                    .any(|(key, value)| (&**key, &**value) == (&*wanted.0, &*wanted.1))
            })
            && access::may_read(state, self.caller, Kind::ReadJobs, Scope::Org(request_org))
    }
}

fn org(state: &State, name: &str) -> Result<Option<OrgId>, Rejection> {
    if name.is_empty() {
        return Ok(None);
    }
    let org = state.ledger().org_by_name(name);
    org.map(|org| Some(org.id))
        .ok_or_else(|| not_found("UNKNOWN_ORG", "org", format!("no organisation \"{name}\"")))
}

/// The job as an answer, if the filter shows it.
pub(super) fn answer_if(state: &State, id: JobId, filter: &Filter) -> Option<v1::Job> {
    let job = state.job(id)?;
    filter.shows(state, id, job).then(|| answer::job(state, id, job))
}

/// One page of jobs, newest first.
pub(super) struct Page {
    pub(super) jobs: Vec<v1::Job>,
    pub(super) next: Option<JobId>,
}

/// The jobs from `from` downwards that the filter shows.
pub(super) fn page(state: &State, filter: &Filter, from: Option<JobId>, size: usize) -> Page {
    let mut jobs = Vec::new();
    for (looked_at, (id, job)) in state.jobs_newest_first(from).enumerate() {
        if jobs.len() == size || looked_at == SCAN_MAX {
            return Page { jobs, next: Some(id) };
        }
        if filter.shows(state, id, job) {
            jobs.push(answer::job(state, id, job));
        }
    }
    Page { jobs, next: None }
}
