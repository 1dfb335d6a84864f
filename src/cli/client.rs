//! The connection to the service, and how long a call may take.

use std::{
    error::Error,
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail};
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use super::{failure, patience::Patience, shown};
use crate::proto::{
    CheckDevicesRequest, CheckDevicesResponse, registrar_service_client::RegistrarServiceClient,
};

pub(super) type Client = RegistrarServiceClient<Channel>;

/// A page of 10,000 devices with long reasons is about 10 MiB; the default of 4 MiB would refuse it.
const MAX_MESSAGE: usize = 64 << 20;

/// For one attempt to connect.
const CONNECT: Duration = Duration::from_secs(5);

/// The server may have been started in the same breath.
const CONNECT_FOR: Duration = Duration::from_secs(10);

/// Between two attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(200);

/// A watch may be silent for minutes; a ping tells a quiet server from a lost one.
const PING_EVERY: Duration = Duration::from_secs(20);

/// For the answer to a ping.
const PING: Duration = Duration::from_secs(10);

/// For one unary call, and for the first word of a stream. The server stores 100,000 devices within
/// a few seconds.
const CALL: Duration = Duration::from_secs(60);

/// Connects, and goes on trying for about ten seconds where nobody answers.
pub(super) async fn connect(server: &str) -> anyhow::Result<Client> {
    let endpoint = endpoint(server)?;
    let started = Instant::now();
    loop {
        match endpoint.connect().await {
            Ok(channel) => {
                return Ok(Client::new(channel).max_decoding_message_size(MAX_MESSAGE));
            }
            Err(error) if started.elapsed() >= CONNECT_FOR => bail!(
                "{server} does not answer ({}); is the service running there?",
                failure::root(&error)
            ),
            Err(_) => tokio::time::sleep(CONNECT_PAUSE).await,
        }
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
    call: impl Fn(Client, Request<M>) -> F,
) -> anyhow::Result<T>
where
    M: Clone,
    F: Future<Output = Result<Response<T>, Status>>,
{
    let answer = repeated(client, message, call).await;
    answer.map_err(|status| failure::while_doing(doing, &status))
}

/// Submits devices, under the request id that makes this repeatable.
pub(super) async fn submit(
    client: &Client,
    request: &CheckDevicesRequest,
) -> anyhow::Result<CheckDevicesResponse> {
    let call = |mut client: Client, request| async move { client.check_devices(request).await };
    let answer = repeated(client, request, call).await;
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
    call: impl Fn(Client, Request<M>) -> F,
) -> Result<T, Status>
where
    M: Clone,
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut patience = Patience::new();
    loop {
        match answer(call(client.clone(), timed(message.clone()))).await {
            Ok(answer) => return Ok(answer),
            Err(status) => {
                let (pause, _) = patience.pause(status)?;
                tokio::time::sleep(pause).await;
            }
        }
    }
}

fn endpoint(server: &str) -> anyhow::Result<Endpoint> {
    // The scheme is looked at here: Endpoint takes an address without one and never connects.
    let scheme = server.split_once("://").map(|(scheme, _)| scheme);
    let endpoint = Endpoint::from_shared(server.to_owned());
    let (Some(scheme @ ("http" | "https")), Ok(endpoint)) = (scheme, endpoint) else {
        bail!("`{server}` is not the address of a server; give it as http://host:port");
    };
    let endpoint = endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING);
    match scheme {
        "https" => Ok(endpoint.tls_config(ClientTlsConfig::new().with_webpki_roots())?),
        _ => Ok(endpoint),
    }
}

fn not_submitted(status: &Status, request: &CheckDevicesRequest) -> anyhow::Error {
    let error = failure::while_doing("submitting the devices", status);
    if request.validate_only || !may_have_been_done(status) {
        return error;
    }
    anyhow!(
        "{error}\n  it is not known whether the devices were taken; submitted again under the \
         request id {} they are not taken twice",
        shown::escaped(&request.request_id)
    )
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
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_refused_with_the_form_it_should_have() {
        for server in ["127.0.0.1:50051", "", "unix:/tmp/socket", "http//host"] {
            let error = endpoint(server).unwrap_err().to_string();

            assert_eq!(
                error,
                format!("`{server}` is not the address of a server; give it as http://host:port")
            );
        }
    }

    #[test]
    fn both_schemes_are_taken() {
        assert!(endpoint("http://127.0.0.1:50051").is_ok());
        assert!(endpoint("https://registrar.example:443").is_ok());
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
