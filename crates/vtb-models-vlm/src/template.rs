//! The chat template of a checkpoint, evaluated, never imitated.
//!
//! A template is code from a stranger: it runs with a budget of steps and sees nothing but the messages.

use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;

use crate::VlmError;
use crate::chat::{Message, Part};
use crate::config::section::Section;
use crate::files::{self, ModelDir};

/// Budget of a rendering: one per instruction and per 64 bytes it makes, so at most 256 MB. A conversation of a
/// thousand turns takes a few hundred thousand.
const FUEL: u64 = 4_000_000;
const NAME: &str = "chat_template";

/// A compiled chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    env: Environment<'static>,
    origin: String,
}

/// What a rendering is for.
#[derive(Debug, Clone, Copy, Default)]
pub struct RenderOptions {
    /// Whether the text ends with the opening of an assistant turn.
    pub add_generation_prompt: bool,
    /// Whether pictures are numbered ("Picture 1: ").
    pub add_vision_id: bool,
}

impl ChatTemplate {
    /// Finds the template of a model directory: `chat_template.jinja`, `chat_template.json`, or the key
    /// `chat_template` of `tokenizer_config.json`, in this order.
    ///
    /// # Errors
    /// None of them is there (all are named), or the template does not compile.
    pub fn from_dir(dir: &ModelDir) -> Result<Self, VlmError> {
        if let Some(path) = dir.find(&[files::CHAT_TEMPLATE_JINJA]) {
            let source = files::read_text(&path, files::CONFIG_LIMIT)?;
            return Self::from_source(&path.display().to_string(), source);
        }
        for name in [files::CHAT_TEMPLATE_JSON, files::TOKENIZER_CONFIG] {
            let path = dir.path(name);
            if path.is_file()
                && let Some(source) = template_in(&path)?
            {
                return Self::from_source(&path.display().to_string(), source);
            }
        }
        let looked = [
            files::CHAT_TEMPLATE_JINJA,
            files::CHAT_TEMPLATE_JSON,
            "`chat_template` in tokenizer_config.json",
        ];
        Err(VlmError::MissingFile {
            dir: dir.root().to_path_buf(),
            what: "chat template",
            looked: looked.join(", "),
        })
    }

    /// Compiles a template; `origin` is named in errors.
    pub fn from_source(origin: &str, source: String) -> Result<Self, VlmError> {
        let mut env = Environment::new();
        // What `transformers` sets for Jinja.
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        env.set_syntax(syntax.map_err(|e| failed(origin, &e))?);
        env.set_unknown_method_callback(unknown_method_callback);
        env.set_fuel(Some(FUEL));
        env.add_function(
            "raise_exception",
            |message: String| -> Result<Value, minijinja::Error> {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        env.add_template_owned(NAME, source)
            .map_err(|e| failed(origin, &e))?;
        Ok(Self {
            env,
            origin: origin.to_owned(),
        })
    }

    /// Renders a conversation. Each picture and video becomes one placeholder between its start and end tokens.
    ///
    /// # Errors
    /// The template raised an exception, is wrong, or ran out of steps.
    pub fn render(&self, messages: &[Message], options: RenderOptions) -> Result<String, VlmError> {
        let messages: Vec<Value> = messages.iter().map(message_value).collect();
        let template = self
            .env
            .get_template(NAME)
            .map_err(|e| failed(&self.origin, &e))?;
        template
            .render(context! {
                messages,
                add_generation_prompt => options.add_generation_prompt,
                add_vision_id => options.add_vision_id,
            })
            .map_err(|e| failed(&self.origin, &e))
    }

    /// The file the template came from.
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

/// One line for a template error: what failed and on which line.
fn failed(origin: &str, error: &minijinja::Error) -> VlmError {
    let message = if error.kind() == ErrorKind::OutOfFuel {
        format!("needs more than {FUEL} steps; it is broken or hostile")
    } else {
        error.to_string().replace('\n', " ")
    };
    VlmError::Template {
        origin: origin.to_owned(),
        message,
    }
}

/// The `chat_template` of a JSON file: a string, or a list of named templates with one called `default`.
fn template_in(path: &Path) -> Result<Option<String>, VlmError> {
    let value = files::read_json(path, files::CONFIG_LIMIT)?;
    let root = Section::root(path, &value)?;
    let Some(found) = root.get("chat_template") else {
        return Ok(None);
    };
    if let Some(source) = found.as_str() {
        return Ok(Some(source.to_owned()));
    }
    let default = found
        .as_array()
        .and_then(|list| list.iter().find(|item| item["name"] == "default")?["template"].as_str());
    match default {
        Some(source) => Ok(Some(source.to_owned())),
        None => Err(root.bad(
            "chat_template",
            found,
            "a string or a list with a `default`",
        )),
    }
}

fn message_value(message: &Message) -> Value {
    let role = message.role.as_str();
    // Plain text stays a string: some templates compare or strip it.
    if let [Part::Text(text)] = message.parts.as_slice() {
        return context! { role, content => text };
    }
    if message.parts.is_empty() {
        return context! { role, content => "" };
    }
    let content: Vec<Value> = message
        .parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => context! { type => "text", text },
            Part::Image => context! { type => "image" },
            Part::Video => context! { type => "video" },
        })
        .collect();
    context! { role, content }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(source: &str) -> Result<ChatTemplate, VlmError> {
        ChatTemplate::from_source("dir/chat_template.jinja", source.to_owned())
    }

    #[test]
    fn endless_templates_stop() {
        let loops =
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
        let text = compile(loops)
            .unwrap()
            .render(&[], RenderOptions::default())
            .unwrap_err();
        assert!(
            text.to_string().contains("more than 4000000 steps"),
            "{text}"
        );
    }

    #[test]
    fn mistakes_and_exceptions_name_file_and_line() {
        let text = compile("{% if %}").unwrap_err().to_string();
        assert!(
            text.starts_with("dir/chat_template.jinja: chat template: "),
            "{text}"
        );
        let template = compile("\n{{ raise_exception('no system turns here') }}").unwrap();
        let text = template
            .render(&[], RenderOptions::default())
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("no system turns here") && text.contains(":2"),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn python_methods_and_part_lists_work() {
        let source = "{%- for m in messages %}{{ m.role.upper() }}:\
            {%- if m.content is string %}{{ m.content.strip() }}\
            {%- else %}{% for p in m.content %}{{ '[' if 'text' not in p else p.text }}{% endfor %}\
            {%- endif %};{%- endfor %}{{ 'go' if add_generation_prompt }}";
        let template = compile(source).unwrap();
        let messages = [Message::user("<image>a"), Message::assistant(" b ")];
        let options = RenderOptions {
            add_generation_prompt: true,
            ..Default::default()
        };
        assert_eq!(
            template.render(&messages, options).unwrap(),
            "USER:[a;ASSISTANT:b;go"
        );
    }

    #[test]
    fn templates_are_found_in_all_three_places() {
        let dir = tempfile::tempdir().unwrap();
        let model = ModelDir::open(dir.path()).unwrap();
        let text = ChatTemplate::from_dir(&model).unwrap_err().to_string();
        assert!(
            text.contains("looked for chat_template.jinja, chat_template.json"),
            "{text}"
        );
        let render = || {
            ChatTemplate::from_dir(&model)
                .unwrap()
                .render(&[], RenderOptions::default())
                .unwrap()
        };
        let write = |name: &str, text: &str| std::fs::write(model.path(name), text).unwrap();
        write(
            files::TOKENIZER_CONFIG,
            r#"{"chat_template": [{"name": "x", "template": "0"}, {"name": "default", "template": "1"}]}"#,
        );
        assert_eq!(render(), "1");
        write(files::CHAT_TEMPLATE_JSON, r#"{"chat_template": "2"}"#);
        assert_eq!(render(), "2");
        write(files::CHAT_TEMPLATE_JINJA, "3\n");
        assert_eq!(render(), "3");
    }
}
