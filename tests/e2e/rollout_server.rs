//! A server on loopback that speaks the part of vLLM's protocol that rollouts use, and samples with the model of a
//! directory: token ids and log-probabilities are real ones. It can be told to misbehave.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn::tensor::DType;
use serde_json::{Value, json};
use vtb_bins::model::{Machine, open_model};
use vtb_models_vlm::AnyVlm;
use vtb_models_vlm::chat::{Message, Part};
use vtb_models_vlm::encode::RowEncoder;
use vtb_models_vlm::processor::Rgb;
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{CausalLm, LmRow, SampleOptions, StopReason};

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub(crate) enum Mischief {
    #[default]
    Nothing,
    /// Adapters are taken, and the base model answers.
    BaseModel,
    /// So many requests for completions are answered with this status.
    Status(u16, usize),
    /// So many connections are closed in the middle of an answer.
    Cut(usize),
    /// No answer.
    Hang(Duration),
    /// This text, with status 200.
    Body(Vec<u8>),
    /// The answer, changed.
    Changed(fn(&mut Value)),
    /// A status and a text for every load of an adapter.
    NoLoad(u16, &'static str),
}

struct State {
    dir: PathBuf,
    key: Option<String>,
    base: AnyVlm,
    encoder: RowEncoder,
    adapters: BTreeMap<String, AnyVlm>,
    mischief: Mischief,
    /// Path and body of every request.
    seen: Vec<(String, Value)>,
}

/// A running server; it ends with the process.
pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

fn machine() -> Machine {
    Machine {
        device: cpu_device(),
        dtype: DType::F32,
    }
}

impl Server {
    /// Serves a model directory; with a key, requests must bear it.
    pub(crate) fn start(model: &Path, key: Option<&str>) -> Self {
        let (base, encoder) = open_model(model, None, &machine()).unwrap();
        let state = Arc::new(Mutex::new(State {
            dir: model.to_owned(),
            key: key.map(str::to_owned),
            base,
            encoder,
            adapters: BTreeMap::new(),
            mischief: Mischief::Nothing,
            seen: Vec::new(),
        }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client that goes away is part of the tests.
                std::thread::spawn(move || drop(serve(&stream, &state)));
            }
        });
        Self { url, state }
    }

    pub(crate) fn set(&self, mischief: Mischief) {
        self.state.lock().unwrap().mischief = mischief;
    }

    /// Names of the adapters that are loaded.
    pub(crate) fn adapters(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.adapters.keys().cloned().collect()
    }

    /// Requests since the last call, path and body.
    pub(crate) fn seen(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }
}

struct Reply {
    status: u16,
    body: Vec<u8>,
}

impl Reply {
    fn text(status: u16, text: &str) -> Self {
        let body = text.as_bytes().to_vec();
        Self { status, body }
    }

    fn refusal(status: u16, message: &str) -> Self {
        let body = json!({"error": {"message": message, "code": status}});
        Self::text(status, &body.to_string())
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some((target, key, body)) = read_request(&mut reader)? {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mischief = {
            let mut state = state.lock().unwrap();
            state.seen.push((target.clone(), body.clone()));
            state.mischief.clone()
        };
        let completes = target == "/v1/chat/completions";
        let mut cut = false;
        if completes {
            if let Mischief::Hang(time) = mischief {
                std::thread::sleep(time);
                return Ok(());
            }
            if let Mischief::Cut(left @ 1..) = mischief {
                state.lock().unwrap().mischief = Mischief::Cut(left - 1);
                cut = true;
            }
        }
        let mut reply = state.lock().unwrap().answer(&target, key.as_deref(), &body);
        if completes && reply.status == 200 {
            match mischief {
                Mischief::Body(text) => reply.body = text,
                Mischief::Changed(change) => {
                    let mut value: Value = serde_json::from_slice(&reply.body).unwrap();
                    change(&mut value);
                    reply.body = value.to_string().into_bytes();
                }
                _ => {}
            }
        }
        let mut writer = stream;
        let head = format!(
            "HTTP/1.1 {} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            reply.status,
            reply.body.len()
        );
        writer.write_all(head.as_bytes())?;
        if cut {
            writer.write_all(&reply.body[..reply.body.len() / 2])?;
            return Ok(());
        }
        writer.write_all(&reply.body)?;
    }
    Ok(())
}

type Request = (String, Option<String>, Vec<u8>);

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut key, mut length) = (None, 0);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => key = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((target, key, body)))
}

impl State {
    fn answer(&mut self, target: &str, key: Option<&str>, body: &Value) -> Reply {
        let wanted = self.key.as_ref().map(|key| format!("Bearer {key}"));
        if wanted.is_some() && wanted.as_deref() != key {
            let message = format!("{} is not the key", key.unwrap_or("nothing"));
            return Reply::refusal(401, &message);
        }
        match target {
            "/v1/models" => Reply::text(200, &json!({"data": []}).to_string()),
            "/v1/load_lora_adapter" => self.load(body),
            "/v1/unload_lora_adapter" => {
                let name = body["lora_name"].as_str().unwrap();
                match self.adapters.remove(name) {
                    Some(_) => Reply::text(200, "Success: removed."),
                    None => Reply::refusal(404, "The lora adapter cannot be found."),
                }
            }
            "/v1/chat/completions" => self.complete(body),
            _ => Reply::refusal(404, "Not Found"),
        }
    }

    fn load(&mut self, body: &Value) -> Reply {
        if let Mischief::NoLoad(status, text) = self.mischief {
            return Reply::refusal(status, text);
        }
        let name = body["lora_name"].as_str().unwrap().to_owned();
        if self.adapters.contains_key(&name) {
            return Reply::refusal(400, "The lora adapter has already been loaded.");
        }
        let path = Path::new(body["lora_path"].as_str().unwrap());
        match open_model(&self.dir, Some(path), &machine()) {
            Ok((model, _)) => {
                self.adapters.insert(name, model);
                Reply::text(200, "Success: added.")
            }
            Err(fault) => Reply::refusal(500, &format!("{fault:#}")),
        }
    }

    fn complete(&mut self, body: &Value) -> Reply {
        if let Mischief::Status(status, left @ 1..) = self.mischief {
            self.mischief = Mischief::Status(status, left - 1);
            return Reply::refusal(status, "busy");
        }
        let name = body["model"].as_str().unwrap();
        let Some(adapted) = self.adapters.get(name) else {
            return Reply::refusal(404, "The model does not exist.");
        };
        let model = match self.mischief {
            Mischief::BaseModel => &self.base,
            _ => adapted,
        };
        let row = self.prompt(&body["messages"]);
        let number = |key: &str| body[key].as_f64().unwrap();
        let stops = body["stop_token_ids"].as_array().unwrap();
        let options = SampleOptions {
            max_new_tokens: number("max_tokens") as usize,
            temperature: number("temperature") as f32,
            top_k: number("top_k").max(0.0) as usize,
            top_p: number("top_p") as f32,
            repetition_penalty: number("repetition_penalty") as f32,
            stop_ids: stops.iter().map(|id| id.as_u64().unwrap() as u32).collect(),
            max_num_seqs: 0,
        };
        let seed = body["seed"].as_i64().unwrap().cast_unsigned();
        let rows = [row];
        let found = model.generate(&rows, &options, &[seed]).unwrap().remove(0);
        let logprob = |l: &f32| json!({"token": "", "logprob": l, "bytes": [], "top_logprobs": []});
        let content: Vec<Value> = found.logprobs.iter().map(logprob).collect();
        let finish = match found.stop {
            StopReason::Stop => "stop",
            StopReason::Length => "length",
        };
        let text = self.encoder.reply(&found.ids).unwrap();
        let answer = json!({
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "model": name,
            "prompt_token_ids": rows[0].ids,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "logprobs": {"content": content},
                "finish_reason": finish,
                "token_ids": found.ids,
            }],
        });
        Reply::text(200, &answer.to_string())
    }

    /// As a server makes tokens: by the template and the processor of its own model directory.
    fn prompt(&self, messages: &Value) -> LmRow {
        let mut images = Vec::new();
        let mut turns = Vec::new();
        for turn in messages.as_array().unwrap() {
            let mut parts = Vec::new();
            for part in turn["content"].as_array().unwrap() {
                if part["type"] == "text" {
                    parts.push(Part::Text(part["text"].as_str().unwrap().to_owned()));
                    continue;
                }
                let url = part["image_url"]["url"].as_str().unwrap();
                let data = url.strip_prefix("data:image/png;base64,").unwrap();
                let png = STANDARD.decode(data).unwrap();
                let rgb = vtb_data::image_io::decode(&png, &Default::default()).unwrap();
                let (width, height) = (rgb.width() as usize, rgb.height() as usize);
                let rgb = Rgb::new("picture", width, height, rgb.into_raw()).unwrap();
                let patches = self.encoder.images.process("picture", &rgb);
                images.push(Arc::new(patches.unwrap()));
                parts.push(Part::Image);
            }
            turns.push(Message {
                role: turn["role"].as_str().unwrap().to_owned(),
                parts,
                loss: None,
            });
        }
        self.encoder
            .encode_prompt(&turns, images.as_slice())
            .unwrap()
    }
}
