//! The client of the service, and how long a call may take.

use std::{error::Error, future::Future, time::Duration};

use anyhow::{anyhow, bail};
use tonic::{Code, Request, Response, Status};

use super::{
    aside::{self, Outage},
    failure,
    genuine::Genuine,
    parting,
    patience::Patience,
};
use crate::proto::{
    CheckDevicesRequest, CheckDevicesResponse, registrar_service_client::RegistrarServiceClient,
};

pub(super) use super::connect::connect;

/// What makes the calls.
pub(super) type Calls = RegistrarServiceClient<Genuine>;

/// A page of 10,000 devices with long reasons is about 10 MiB; the default of 4 MiB would refuse it.
const MAX_MESSAGE: usize = 64 << 20;

/// For one unary call, and for the first word of a stream. The server stores 100,000 devices within
/// a few seconds.
const CALL: Duration = Duration::from_secs(60);

/// Speaks to a server.
#[derive(Clone, Debug)]
pub(super) struct Client {
    server: String,
    calls: Calls,
}

impl Client {
    pub(super) fn new(channel: Genuine) -> Self {
        Self {
            server: channel.server.clone(),
            calls: Calls::new(channel).max_decoding_message_size(MAX_MESSAGE),
        }
    }

    /// To make a call by oneself, without repeating it.
    pub(super) fn calls(&mut self) -> &mut Calls {
        &mut self.calls
    }
}

/// Makes a call that is harmless to repeat, and repeats it while the failure is a passing one.
///
/// # Errors
///
/// What the server refuses for good, and what still fails when the patience is used up; `doing`
/// says in the text what was being done.
pub(super) async fn ask<M, T, F>(
    client: &Client,
    doing: &str,
    message: &M,
    call: impl Fn(Calls, Request<M>) -> F,
) -> anyhow::Result<T>
where
    M: Clone,
    F: Future<Output = Result<Response<T>, Status>>,
{
    let answer = repeated(client, message, call, Patience::new(), aside::say).await;
    answer.map_err(|status| failure::while_doing(doing, &status))
}

/// Submits devices, under the request id that makes this repeatable.
pub(super) async fn submit(
    client: &Client,
    request: &CheckDevicesRequest,
) -> anyhow::Result<CheckDevicesResponse> {
    let call = |mut calls: Calls, request| async move { calls.check_devices(request).await };
    let answer = repeated(client, request, call, Patience::new(), aside::say).await;
    answer.map_err(|status| not_submitted(&status, request))
}

/// Moves on to the next page. Whether there is one; the same page again would never end.
pub(super) fn turn(token: &mut String, next: String) -> anyhow::Result<bool> {
    if next.is_empty() {
        return Ok(false);
    }
    if *token == next {
        bail!("the server answered with the same page again");
    }
    *token = next;
    Ok(true)
}

/// A request that tells the server how long its answer is waited for.
fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}

/// The answer to a call, or DEADLINE_EXCEEDED where none comes in time.
pub(super) async fn answer<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(CALL, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!(
            "no answer within {} s",
            CALL.as_secs()
        ))),
    }
}

async fn repeated<M, T, F>(
    client: &Client,
    message: &M,
    call: impl Fn(Calls, Request<M>) -> F,
    mut patience: Patience,
    say: impl FnMut(&str),
) -> Result<T, Status>
where
    M: Clone,
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut outage = Outage::new(&client.server, say);
    loop {
        let answer = answer(call(client.calls.clone(), timed(message.clone())));
        tokio::pin!(answer);
        let answer = match tokio::time::timeout(patience.quiet(), &mut answer).await {
            Ok(answer) => answer,
            Err(_) => {
                let why = format!("nothing heard for {} s", patience.quiet().as_secs());
                outage.goes_on(&why, patience.lasts());
                answer.await
            }
        };
        let status = match answer {
            Ok(answer) => {
                outage.is_over();
                return Ok(answer);
            }
            Err(status) => status,
        };
        let (pause, status) = patience.pause(status)?;
        outage.goes_on(&failure::in_short(&status), patience.lasts());
        tokio::time::sleep(pause).await;
    }
}

fn not_submitted(status: &Status, request: &CheckDevicesRequest) -> anyhow::Error {
    let error = failure::while_doing("submitting the devices", status);
    if request.validate_only || !may_have_been_done(status) {
        return error;
    }
    anyhow!("{error}\n  {}", parting::unclear(request))
}

/// Whether the server may have acted although the call failed.
fn may_have_been_done(status: &Status) -> bool {
    let unclear = [
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::Cancelled,
        Code::Unknown,
        Code::Internal,
    ];
    unclear.contains(&status.code()) || status.source().is_some()
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use super::*;
    use crate::cli::options::Connection;
    use crate::{
        cli::testing::{Script, Server},
        proto::GetQuotaRequest,
    };

    /// Whether a call of the quotas was answered after the server failed so often, and what was said.
    async fn asked(failures: usize, patience: Patience) -> (bool, Vec<String>) {
        let failure = Status::unavailable("the database is not reachable");
        let server = Server::with(Script {
            failures: Mutex::new(vec![failure; failures].into()),
            ..Script::default()
        });
        let server = server.await;
        let client = connect(&Connection::to(&server.url)).await.unwrap();
        let mut said = Vec::new();
        // Longer than no time at all, which is the patience of one that is restless.
        let call = |mut calls: Calls, ask| async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            calls.get_quota(ask).await
        };
        let say = |line: &str| said.push(line.replace(&server.url, "URL"));
        let answer = repeated(&client, &GetQuotaRequest {}, call, patience, say).await;
        (answer.is_ok(), said)
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_said_once_and_once_that_it_is_back() {
        assert_eq!(asked(0, Patience::short()).await, (true, vec![]));
        let (is_answered, said) = asked(3, Patience::short()).await;
        assert!(is_answered);
        assert_eq!(said.len(), 2);
        assert!(said[0].starts_with(
            "the server at URL does not answer yet (UNAVAILABLE: the database is not reachable); \
             trying again for up to "
        ));
        assert_eq!(said[1], "the server at URL answers again");
        let (is_answered, said) = asked(4, Patience::short()).await;
        assert_eq!((is_answered, said.len()), (false, 1));
        let (is_answered, said) = asked(0, Patience::short().restless()).await;
        assert!(is_answered && said[0].contains("(nothing heard for 0 s)"));
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn only_a_refusal_by_the_server_leaves_out_that_the_devices_may_have_been_taken() {
        let request = CheckDevicesRequest {
            request_id: "mine".into(),
            ..Default::default()
        };
        let text = |status| not_submitted(&status, &request).to_string();

        assert_eq!(
            text(Status::resource_exhausted("over 16 MiB")),
            "submitting the devices: RESOURCE_EXHAUSTED: over 16 MiB"
        );
        let unclear = text(Status::unavailable("stopping"));
        assert!(unclear.starts_with("submitting the devices: UNAVAILABLE: stopping\n"));
        assert!(unclear.contains("it is not known whether the devices were taken"));
        assert!(unclear.contains("under the request id mine"));
    }

    #[test]
    fn a_page_that_leads_to_itself_is_refused() {
        let mut token = String::new();

        assert!(turn(&mut token, "2".into()).unwrap());
        assert!(turn(&mut token, "2".into()).is_err());
        assert!(!turn(&mut token, String::new()).unwrap());
    }
}
