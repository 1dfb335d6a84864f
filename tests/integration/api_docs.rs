//! Runs docs/api.md: every command in it, in order, against a stack of its own, whose answers
//! must hold what the document says they hold.

use std::{collections::BTreeSet, fs};

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ServiceDescriptor};
use registrar::proto::DESCRIPTORS;
use serde_json::{Deserializer, Value, json};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};

use crate::support::{
    database::database,
    root,
    stack::{PATIENCE, Server, Upstream},
};

const SERVICE: &str = "registrar.v1.RegistrarService";

/// What differs from run to run; the document only says that it is there.
const VARIES: [&str; 9] = [
    "callsLastMinute",
    "createTime",
    "requestId",
    "time",
    "deviceSecret",
    "iotId",
    "tookMs",
    "updateTime",
    "upstreamApplyId",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_document_answers_as_it_says_and_every_rpc_has_one() {
    let document = fs::read_to_string(root().join("docs/api.md")).expect("docs/api.md");
    let database = database().await;
    let upstream = Upstream::start(&[]).await;
    let server = Server::start(&database.url(), &upstream.url, &[]);
    let channel = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut client = Grpc::new(channel.connect().await.unwrap());
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let service = pool.get_service_by_name(SERVICE).unwrap();

    let mut called = BTreeSet::new();
    for example in examples(&document) {
        match example.command {
            Command::Fault { method, path, body } => upstream.send(&method, &path, body).await,
            Command::Call { method, messages } => {
                let answers = call(&mut client, &service, &method, &messages);
                let answers = tokio::time::timeout(PATIENCE, answers).await;
                let request = json!(messages);
                let answers = answers.expect("it ends").unwrap_or_else(|status| {
                    panic!("{method} {request}: {status}");
                });
                let same_number = example.answers.len() == answers.len();
                assert!(
                    same_number
                        && example
                            .answers
                            .iter()
                            .zip(&answers)
                            .all(|(said, is)| holds(is, said)),
                    "{method} {request}\nis said to answer\n{:#}\nand does\n{:#}",
                    json!(example.answers),
                    json!(answers),
                );
                called.insert(method);
            }
        }
    }
    let all: BTreeSet<_> = service.methods().map(|it| it.name().to_owned()).collect();
    assert_eq!(called, all);
}

#[test]
fn an_answer_holds_what_is_said_of_it_and_may_hold_more() {
    let is = json!({"a": {"b": 1, "time": "now"}, "list": [1, 2, 3]});
    let said = |said: Value| holds(&is, &said);

    assert!(said(json!({"a": {"b": 1}, "list": [1, 3]})));
    assert!(said(json!({"a": {"time": "then"}, "list": []})));
    assert!(!said(json!({"a": {"b": 2}})));
    assert!(!said(json!({"a": {"c": 1}})));
    assert!(!said(json!({"list": [3, 1]})));
}

/// A command of the document and what it is said to answer.
#[derive(Debug)]
struct Example {
    command: Command,
    answers: Vec<Value>,
}

#[derive(Debug)]
enum Command {
    Call {
        method: String,
        /// One, or as many as are streamed.
        messages: Vec<Value>,
    },
    Fault {
        method: String,
        path: String,
        body: Option<String>,
    },
}

/// Each ```sh block is one command, and a ```json block after it the answers.
fn examples(document: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut rest = document;
    while let Some((_, block)) = rest.split_once("\n```") {
        let (language, block) = block.split_once('\n').expect("a block");
        let (text, after) = block.split_once("\n```").expect("the end of a block");
        match language {
            "sh" => examples.push(Example {
                command: command(text),
                answers: Vec::new(),
            }),
            "json" => {
                let answers = Deserializer::from_str(text).into_iter();
                let answers: Result<_, _> = answers.collect();
                let example = examples.last_mut().expect("a command before it");
                example.answers = answers.unwrap_or_else(|error| panic!("{error} in\n{text}"));
            }
            other => panic!("a block of {other:?}"),
        }
        rest = after;
    }
    examples
}

fn command(text: &str) -> Command {
    let mut words = shell_words(text).into_iter();
    let program = words.next().expect("a program");
    let (mut data, mut plain, mut verb) = (None, Vec::new(), None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-d" => data = words.next(),
            "-X" => verb = words.next(),
            "-plaintext" => {}
            _ => plain.push(word),
        }
    }
    match (program.as_str(), plain.as_slice()) {
        ("grpcurl", [address, path]) => {
            assert_eq!(address, "127.0.0.1:50051");
            let method = path.strip_prefix(&format!("{SERVICE}/")).expect("a method");
            let request = data.unwrap_or_else(|| "{}".to_owned());
            let messages = Deserializer::from_str(&request).into_iter();
            Command::Call {
                method: method.to_owned(),
                messages: messages.collect::<Result<_, _>>().expect("JSON"),
            }
        }
        ("curl", [url]) => Command::Fault {
            method: verb.expect("a method"),
            path: url
                .strip_prefix("127.0.0.1:8090")
                .expect("the simulator")
                .to_owned(),
            body: data,
        },
        _ => panic!("not understood: {text}"),
    }
}

/// The words of a command line, in which only single quotes and `\` at the end of a line are
/// special.
fn shell_words(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let mut words = Vec::new();
    for (at, part) in text.split('\'').enumerate() {
        match at % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// Whether an answer has every field that is said of it and, in lists, every element in order.
fn holds(is: &Value, said: &Value) -> bool {
    match (is, said) {
        (Value::Object(is), Value::Object(said)) => said.iter().all(|(name, said)| {
            is.get(name)
                .is_some_and(|is| VARIES.contains(&name.as_str()) || holds(is, said))
        }),
        (Value::Array(is), Value::Array(said)) => {
            let mut rest = is.iter();
            said.iter().all(|said| rest.any(|is| holds(is, said)))
        }
        // 10 and 10.0 are one number.
        (Value::Number(is), Value::Number(said)) => is.as_f64() == said.as_f64(),
        _ => is == said,
    }
}

/// Calls a method, whether it streams or not, and reads to the end.
async fn call(
    client: &mut Grpc<Channel>,
    service: &ServiceDescriptor,
    method: &str,
    messages: &[Value],
) -> Result<Vec<Value>, Status> {
    let method = service.methods().find(|it| it.name() == method);
    let method = method.expect("a method of the service");
    let messages = messages.iter().map(|message| {
        DynamicMessage::deserialize(method.input(), message).expect("a message of its request")
    });
    let messages: Vec<_> = messages.collect();
    let path = format!("/{SERVICE}/{}", method.name()).parse().unwrap();
    client.ready().await.expect("it serves");
    let codec = Dynamic(method.output());
    let messages = Request::new(tokio_stream::iter(messages));
    let answer = client.streaming(messages, path, codec);
    let mut stream = answer.await?.into_inner();
    let mut answers = Vec::new();
    while let Some(message) = stream.message().await? {
        answers.push(serde_json::to_value(&message).expect("JSON"));
    }
    Ok(answers)
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
