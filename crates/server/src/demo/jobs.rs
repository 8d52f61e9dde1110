//! The jobs of the demo, and following one until it ends.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hesuan_api::v1;
use hesuan_api::v1::job_service_client::JobServiceClient;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tonic::{Code, Status};

use super::client::{Client, again, request_id};

/// Busy for about twelve seconds, and says so each second: long enough to lose a leader under it.
const SPECTRUM: &str = "#!/bin/sh
echo \"spectrum: job $HESUAN_JOB_ID starts\"
second=0
last=$(date +%s)
while [ $second -lt 12 ]; do
  i=0
  while [ $i -lt 20000 ]; do i=$((i + 1)); done
  now=$(date +%s)
  if [ $now -ne $last ]; then
    last=$now
    second=$((second + 1))
    echo \"spectrum: $second of 12\"
  fi
done
echo 'spectrum: done'
";

/// The lab's script, CPU-bound; two cores.
pub(super) fn spectrum() -> v1::JobSpec {
    v1::JobSpec {
        script: SPECTRUM.into(),
        ..spec("spectrum", 2_000)
    }
}

/// The enterprise's array of twenty, a core each.
pub(super) fn frames() -> v1::JobSpec {
    let command = "i=0; while [ $i -lt 150000 ]; do i=$((i + 1)); done; echo frame $HESUAN_TASK_ID";
    v1::JobSpec {
        command: shell(command),
        array_count: 20,
        ..spec("frames", 1_000)
    }
}

/// Fails by its own fault.
pub(super) fn broken() -> v1::JobSpec {
    v1::JobSpec {
        command: shell("echo 'cannot read mesh.dat' >&2; exit 3"),
        ..spec("broken", 1_000)
    }
}

/// More GPUs than any city has.
pub(super) fn too_big() -> v1::JobSpec {
    let mut spec = v1::JobSpec {
        command: shell("true"),
        ..spec("too-big", 1_000)
    };
    if let Some(resources) = &mut spec.resources {
        resources.gpu_milli = 64_000;
        resources.gpu_models = vec!["a800".into()];
    }
    spec
}

/// Submitted while there is no leader.
pub(super) fn meanwhile() -> v1::JobSpec {
    v1::JobSpec {
        command: shell("echo 'submitted while there was no leader'"),
        ..spec("meanwhile", 1_000)
    }
}

fn spec(name: &str, cpu_milli: u64) -> v1::JobSpec {
    v1::JobSpec {
        name: name.into(),
        resources: Some(v1::Resources {
            cpu_milli,
            memory_mib: 256,
            ..Default::default()
        }),
        walltime_ms_max: 120_000,
        ..Default::default()
    }
}

fn shell(command: &str) -> Vec<String> {
    vec!["sh".into(), "-c".into(), command.into()]
}

/// Submits; the id is acknowledged when this returns.
pub(super) async fn submit(client: &Client, spec: v1::JobSpec) -> Result<u64, Status> {
    let message = v1::SubmitJobRequest {
        request_id: request_id(),
        spec: Some(spec),
        ..Default::default()
    };
    let answer = client
        .call(message, async |channel, request| {
            JobServiceClient::new(channel).submit_job(request).await
        })
        .await?;
    Ok(answer.job_id)
}

/// The job as it is now.
pub(super) async fn get(client: &Client, job_id: u64) -> Result<v1::Job, Status> {
    let message = v1::GetJobRequest {
        job_id,
        ..Default::default()
    };
    client
        .call(message, async |channel, request| {
            JobServiceClient::new(channel).get_job(request).await
        })
        .await
}

/// Whether a job is over.
pub(super) fn ended(job: &v1::Job) -> bool {
    !matches!(
        job.state(),
        v1::JobState::Unspecified | v1::JobState::Pending | v1::JobState::Running
    )
}

/// A short word for a state.
pub(super) fn state_word(state: v1::JobState) -> &'static str {
    state.as_str_name().trim_start_matches("JOB_STATE_")
}

/// Waits until each of the jobs is over.
pub(super) async fn wait(client: &Client, jobs: &[u64], within: Duration) -> anyhow::Result<Vec<v1::Job>> {
    let until = Instant::now() + within;
    let mut over = Vec::new();
    for job_id in jobs {
        loop {
            let job = get(client, *job_id)
                .await
                .with_context(|| format!("looking at job {job_id}"))?;
            if ended(&job) {
                over.push(job);
                break;
            }
            if Instant::now() > until {
                let name = job.spec.as_ref().map_or("", |spec| spec.name.as_str());
                bail!(
                    "job {job_id} ({name}) is still {} after {within:?}",
                    state_word(job.state())
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(over)
}

/// Prints a job's output as it comes, over lost connections too, until it ends or `enough` says so; gives what was printed.
pub(super) async fn follow(
    client: &Client,
    job_id: u64,
    from: u64,
    enough: impl Fn(&str) -> bool,
) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut offset = from;
    let until = Instant::now() + Duration::from_secs(45);
    for turn in 0.. {
        if Instant::now() > until {
            bail!("the log of job {job_id} does not end");
        }
        let message = v1::StreamLogsRequest {
            job_id,
            offset,
            follow: true,
            ..Default::default()
        };
        let opened = JobServiceClient::new(client.channel(turn))
            .stream_logs(client.request(message)?)
            .await;
        let failed = match opened {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.next().await {
                        Some(Ok(piece)) => {
                            offset = piece.offset + piece.data.len() as u64;
                            show(&String::from_utf8_lossy(&piece.data), &mut text);
                            if piece.eof || enough(&text) {
                                return Ok(text);
                            }
                        }
                        Some(Err(status)) => break Some(status),
                        None => break None,
                    }
                }
            }
            Err(status) => Some(status),
        };
        match failed {
            // The site's agent may be away for a moment, or nothing may have been started yet.
            Some(status) if !again(&status) && !matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => {
                return Err(status.into());
            }
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    Ok(text)
}

fn show(piece: &str, text: &mut String) {
    for line in piece.split_inclusive('\n') {
        if text.is_empty() || text.ends_with('\n') {
            print!("          | ");
        }
        print!("{line}");
        text.push_str(line);
    }
    let _ = std::io::stdout().flush();
}
