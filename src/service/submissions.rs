//! CheckDevices as it comes in: the one call whose messages are large. Bounds how many are in
//! memory, and looks at a message before it is unpacked.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use http::{Request, Response};
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use prost::{Message as _, bytes::Buf as _};
use tokio::sync::Semaphore;
use tonic::{
    Status,
    body::Body,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder},
    server::{Grpc, UnaryService},
};
use tonic_prost::ProstEncoder;

use super::{
    MAX_MESSAGE, MAX_SMALL_MESSAGE, Service, access, packed, transport::unreadable, upload, watch,
};
use crate::proto::{
    CheckDevicesRequest, CheckDevicesResponse, registrar_service_server::RegistrarServiceServer,
};

/// Bytes of a submission that are read before it takes a place: all of most, some 400 devices. So one
/// whose rest does not come keeps no place from others until it is as large as that.
const BEGINNING: usize = 16 * 1024;

/// Bytes that each of its frames takes besides.
const FRAME: usize = 64;

/// The path of the call.
pub(super) const PATH: &str = "/registrar.v1.RegistrarService/CheckDevices";

/// The whole API, with submissions, uploads and watches on ways of their own.
#[derive(Clone, Debug)]
pub(super) struct Api {
    service: Service,
    others: RegistrarServiceServer<Service>,
    places: Arc<Semaphore>,
}

impl Api {
    pub(super) fn new(service: Service) -> Self {
        let places = Semaphore::new(service.options.submissions_at_once as usize);
        Self {
            others: RegistrarServiceServer::new(service.clone())
                .max_decoding_message_size(MAX_SMALL_MESSAGE)
                .accept_compressed(CompressionEncoding::Gzip),
            service,
            places: Arc::new(places),
        }
    }
}

impl tower::Service<Request<Body>> for Api {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The generated service is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (service, places) = (self.service.clone(), self.places.clone());
        match request.uri().path() {
            PATH => {}
            upload::PATH => return Box::pin(upload::serve(service, request).map(Ok)),
            watch::PATH => return Box::pin(watch::serve(service, request).map(Ok)),
            _ => return self.others.call(request),
        }
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let request = Request::from_parts(head, begun(body).await);
            // Taken before more of the body is read: until then a caller holds no more than a window.
            let _place = places.acquire().await.expect("never closed");
            let mut grpc = Grpc::new(Submission)
                .max_decoding_message_size(MAX_MESSAGE)
                .accept_compressed(CompressionEncoding::Gzip);
            Ok(grpc.unary(Submit(service), request).await)
        })
    }
}

/// A body, once its beginning or all of it is there.
async fn begun(mut body: Body) -> Body {
    let mut beginning = Vec::new();
    let mut size = 0;
    while size < BEGINNING
        && let Some(frame) = body.frame().await
    {
        let data = frame.as_ref().ok().and_then(|frame| frame.data_ref());
        size += data.map_or(BEGINNING, |data| data.len() + FRAME);
        beginning.push(frame);
    }
    Body::new(StreamBody::new(
        stream::iter(beginning).chain(BodyStream::new(body)),
    ))
}

struct Submit(Service);

impl UnaryService<CheckDevicesRequest> for Submit {
    type Response = CheckDevicesResponse;
    type Future = BoxFuture<'static, Result<tonic::Response<CheckDevicesResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<CheckDevicesRequest>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move {
            let caller = access::caller(&request)?;
            let submitted = service.submit(&caller, request.into_inner()).await;
            submitted.map(tonic::Response::new)
        })
    }
}

/// Reads and writes the messages of the call.
struct Submission;

impl Codec for Submission {
    type Encode = CheckDevicesResponse;
    type Decode = CheckDevicesRequest;
    type Encoder = ProstEncoder<CheckDevicesResponse>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Decoder for Submission {
    type Item = CheckDevicesRequest;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        // The whole message: the transport gathers it in one piece.
        let bytes = message.chunk();
        packed::bounded(bytes)?;
        let request = CheckDevicesRequest::decode(bytes)
            .map_err(|_| packed::not_text(bytes).unwrap_or_else(unreadable));
        let size = bytes.len();
        message.advance(size);
        request.map(Some)
    }
}
