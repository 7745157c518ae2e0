//! The adapter, as files that a server can see, and the server told of them.
//!
//! An adapter is named by its content. A server that caches keys and values by the name of an adapter, or a run that is
//! resumed, then never meets old weights under a known name, and loading the same weights twice is no change.

use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};
use vtb_nn::lm::CausalLm;

use super::client::Client;
use super::error::HttpFault;
use crate::optim::to_host;
use crate::{TrainError, canonical};

const LOAD: &str = "/v1/load_lora_adapter";
const UNLOAD: &str = "/v1/unload_lora_adapter";
/// Largest answer to either.
const ANSWER_LIMIT: u64 = 64 << 10;
/// Digits of the content's hash in a name.
const DIGITS: usize = 16;

/// Where adapters lie, and which one the server has.
pub(super) struct Adapters {
    /// Directory of this process.
    dir: PathBuf,
    /// The same directory as the server sees it.
    seen_as: PathBuf,
    base_model: String,
    current: Option<Loaded>,
}

struct Loaded {
    /// Hash of the values.
    values: [u8; 32],
    name: String,
}

impl Adapters {
    pub(super) fn new(dir: PathBuf, seen_as: Option<PathBuf>, base_model: String) -> Self {
        Self {
            seen_as: seen_as.unwrap_or_else(|| dir.clone()),
            dir,
            base_model,
            current: None,
        }
    }

    /// Name of the adapter that the server has.
    pub(super) fn name(&self) -> &str {
        self.current.as_ref().map_or("", |loaded| &loaded.name)
    }

    /// Brings the server to the weights of `model`. True if they are new to it.
    pub(super) fn publish(
        &mut self,
        client: &Client,
        model: &dyn CausalLm,
    ) -> Result<bool, TrainError> {
        let values = digest(model)?;
        if self.current.as_ref().is_some_and(|c| c.values == values) {
            return Ok(false);
        }
        let name = self.write(model, &values)?;
        // First, since a server with room for one adapter drops it by itself when the next one comes.
        if let Some(old) = self.current.take().filter(|old| old.name != name) {
            self.drop_old(client, &old.name);
        }
        self.load(client, &name)?;
        tracing::debug!("the server has adapter {name}");
        self.current = Some(Loaded { values, name });
        Ok(true)
    }

    /// Writes the files under a name that tells their content; complete or absent.
    fn write(&self, model: &dyn CausalLm, values: &[u8; 32]) -> Result<String, TrainError> {
        let fresh = self.dir.join(format!("tmp-{}", std::process::id()));
        TrainError::at(&self.dir, std::fs::create_dir_all(&self.dir))?;
        remove(&fresh)?;
        model.write_adapter(&fresh, &self.base_model)?;
        let config = fresh.join("adapter_config.json");
        let text = TrainError::at(&config, std::fs::read(&config))?;
        let mut hash = Sha256::new();
        hash.update(values);
        hash.update(&text);
        let hash = canonical::hex(&hash.finalize());
        let name = format!("vtb-{}", &hash[..DIGITS]);
        let place = self.dir.join(&name);
        if place.exists() {
            remove(&fresh)?;
        } else {
            TrainError::at(&place, std::fs::rename(&fresh, &place))?;
        }
        Ok(name)
    }

    fn load(&self, client: &Client, name: &str) -> Result<(), HttpFault> {
        let path = self.seen_as.join(name);
        let body = json!({"lora_name": name, "lora_path": path.display().to_string()}).to_string();
        match client.post(LOAD, &body, ANSWER_LIMIT) {
            Ok(_) => Ok(()),
            // It has these weights already: a name tells the content.
            Err(HttpFault::Refused {
                status: 400,
                message,
                ..
            }) if message.contains("already been loaded") => Ok(()),
            Err(HttpFault::Refused {
                url,
                status,
                message,
                hint,
            }) => Err(HttpFault::Refused {
                url,
                status,
                message: format!("{message} (adapter {})", path.display()),
                hint: format!(
                    "{hint}; the server must see that directory (rollout.server_adapter_dir) and allow its rank \
                     (--max-lora-rank)"
                ),
            }),
            Err(other) => Err(other),
        }
    }

    /// An adapter that stays loaded takes memory of the server and does no other harm.
    fn drop_old(&self, client: &Client, name: &str) {
        let body = json!({"lora_name": name}).to_string();
        if let Err(fault) = client.post_once(UNLOAD, &body, ANSWER_LIMIT) {
            tracing::warn!("adapter {name} stays loaded: {fault}");
        }
        if let Err(fault) = remove(&self.dir.join(name)) {
            tracing::warn!("{fault}");
        }
    }
}

fn remove(dir: &Path) -> Result<(), TrainError> {
    match std::fs::remove_dir_all(dir) {
        Err(fault) if fault.kind() != std::io::ErrorKind::NotFound => {
            Err(TrainError::io(dir, fault))
        }
        _ => Ok(()),
    }
}

/// Hash of names and values of everything that trains.
fn digest(model: &dyn CausalLm) -> Result<[u8; 32], TrainError> {
    const CHUNK: usize = 1 << 14;
    let mut hash = Sha256::new();
    for (name, value) in to_host(&model.trainable_values(), &model.trainable())? {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        hash.update((value.data.len() as u64).to_le_bytes());
        for chunk in value.data.chunks(CHUNK) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|x| x.to_le_bytes()).collect();
            hash.update(&bytes);
        }
    }
    Ok(hash.finalize().into())
}
