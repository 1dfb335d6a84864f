//! Uploads on a way of their own: their messages are larger than others and are looked at before
//! they are unpacked.

use futures_util::future::{Ready, ready};
use http::{Request, Response};
use prost::{Message as _, bytes::Buf as _};
use tonic::{
    Status, Streaming,
    body::Body,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder},
    server::{Grpc, StreamingService},
};
use tonic_prost::ProstEncoder;

use super::Answers;
use crate::{
    proto::{UploadDevicesRequest, UploadDevicesResponse},
    service::{Service, packed, transport::unreadable},
};

/// The path of the call.
pub(in crate::service) const PATH: &str = "/registrar.v1.RegistrarService/UploadDevices";

/// The largest message, and the most that a compressed one may unpack to: 10,000 devices have 1.4 MB
/// when every name and nickname is as long as allowed.
pub(in crate::service) const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Answers the call.
pub(in crate::service) async fn serve(service: Service, request: Request<Body>) -> Response<Body> {
    let mut grpc = Grpc::new(Parts)
        .max_decoding_message_size(MAX_MESSAGE)
        .accept_compressed(CompressionEncoding::Gzip);
    grpc.streaming(Upload(service), request).await
}

struct Upload(Service);

impl StreamingService<UploadDevicesRequest> for Upload {
    type Response = UploadDevicesResponse;
    type ResponseStream = Answers;
    type Future = Ready<Result<tonic::Response<Answers>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<UploadDevicesRequest>>) -> Self::Future {
        ready(
            self.0
                .upload(request.into_inner())
                .map(tonic::Response::new),
        )
    }
}

/// Reads and writes the messages of the call.
struct Parts;

impl Codec for Parts {
    type Encode = UploadDevicesResponse;
    type Decode = UploadDevicesRequest;
    type Encoder = ProstEncoder<UploadDevicesResponse>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Decoder for Parts {
    type Item = UploadDevicesRequest;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        // The whole message: the transport gathers it in one piece.
        let bytes = message.chunk();
        packed::upload::bounded(bytes)?;
        let request = UploadDevicesRequest::decode(bytes)
            .map_err(|_| packed::upload::not_text(bytes).unwrap_or_else(unreadable));
        let size = bytes.len();
        message.advance(size);
        request.map(Some)
    }
}
