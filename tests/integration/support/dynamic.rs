//! Calls of the API by the names of its methods, with messages as JSON.

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ServiceDescriptor};
use registrar::proto::DESCRIPTORS;
use serde_json::Value;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

pub(crate) const SERVICE: &str = "registrar.v1.RegistrarService";

/// The API at the end of a channel.
pub(crate) struct Api {
    client: Grpc<Channel>,
    service: ServiceDescriptor,
    token: Option<String>,
}

impl Api {
    /// Calls with a token, if there is one.
    pub(crate) fn new(channel: Channel, token: Option<&str>) -> Self {
        let pool = DescriptorPool::decode(DESCRIPTORS).expect("our own descriptors");
        Self {
            client: Grpc::new(channel),
            service: pool.get_service_by_name(SERVICE).expect("our own service"),
            token: token.map(str::to_owned),
        }
    }

    /// The names of all methods.
    pub(crate) fn methods(&self) -> impl Iterator<Item = String> {
        self.service.methods().map(|it| it.name().to_owned())
    }

    /// Calls a method, whether it streams or not, with a message or a list of them, and reads to the
    /// end.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        request: &Value,
    ) -> Result<Vec<Value>, Status> {
        let method = self.service.methods().find(|it| it.name() == method);
        let method = method.expect("a method of the service");
        let messages = match request {
            Value::Array(messages) => messages.as_slice(),
            message => std::slice::from_ref(message),
        };
        let messages: Vec<_> = messages
            .iter()
            .map(|it| DynamicMessage::deserialize(method.input(), it).expect("its request"))
            .collect();
        let mut request = Request::new(tokio_stream::iter(messages));
        if let Some(token) = &self.token {
            let bearer = format!("Bearer {token}").parse().expect("a token");
            request.metadata_mut().insert("authorization", bearer);
        }
        let path = format!("/{SERVICE}/{}", method.name());
        let path = path.parse().expect("a path");
        self.client.ready().await.expect("it serves");
        let codec = Dynamic(method.output());
        let answer = self.client.streaming(request, path, codec).await?;
        let mut stream = answer.into_inner();
        let mut answers = Vec::new();
        while let Some(message) = stream.message().await? {
            answers.push(serde_json::to_value(&message).expect("JSON"));
        }
        Ok(answers)
    }
}

/// Messages that are known by their descriptors only; here that of the answer.
#[derive(Clone, Debug)]
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let encoded = prost_reflect::prost::Message::encode(&message, to);
        encoded.map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let decoded = DynamicMessage::decode(self.0.clone(), from);
        decoded
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
