//! Watches on a way of their own: there are many at a time, and each keeps the buffer in which its
//! messages are encoded.

use futures_util::{FutureExt as _, future::BoxFuture, stream::BoxStream};
use http::{Request, Response};
use tonic::{
    Status,
    body::Body,
    codec::{BufferSettings, Codec, CompressionEncoding},
    server::{Grpc, ServerStreamingService},
};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use crate::{
    proto::{
        WatchApplyRequest, WatchApplyResponse, registrar_service_server::RegistrarService as _,
    },
    service::{MAX_SMALL_MESSAGE, Service},
};

/// The path of the call.
pub(in crate::service) const PATH: &str = "/registrar.v1.RegistrarService/WatchApply";

/// Bytes that are allocated at a time: for some ten messages, where the library would take 8 KiB.
const BUFFER: usize = 1024;

/// Bytes that are handed to the transport at a time at most, as the library has it.
const YIELD: usize = 32 * 1024;

/// What a watcher is told.
pub(in crate::service) type Told = BoxStream<'static, Result<WatchApplyResponse, Status>>;

/// Answers the call.
pub(in crate::service) async fn serve(service: Service, request: Request<Body>) -> Response<Body> {
    let mut grpc = Grpc::new(Messages)
        .max_decoding_message_size(MAX_SMALL_MESSAGE)
        .accept_compressed(CompressionEncoding::Gzip);
    grpc.server_streaming(Watch(service), request).await
}

struct Watch(Service);

impl ServerStreamingService<WatchApplyRequest> for Watch {
    type Response = WatchApplyResponse;
    type ResponseStream = Told;
    type Future = BoxFuture<'static, Result<tonic::Response<Told>, Status>>;

    fn call(&mut self, request: tonic::Request<WatchApplyRequest>) -> Self::Future {
        let service = self.0.clone();
        async move { service.watch_apply(request).await }.boxed()
    }
}

/// Reads and writes the messages of the call.
struct Messages;

impl Codec for Messages {
    type Encode = WatchApplyResponse;
    type Decode = WatchApplyRequest;
    type Encoder = ProstEncoder<WatchApplyResponse>;
    type Decoder = ProstDecoder<WatchApplyRequest>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BUFFER, YIELD))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<WatchApplyResponse, WatchApplyRequest>::default().decoder()
    }
}
