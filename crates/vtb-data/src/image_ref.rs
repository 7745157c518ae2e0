//! Where a row's picture is: in a file, inside the row, or already in memory.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine::DecodePaddingMode};
use image::RgbImage;
use serde_json::Value;

use crate::error::RowFault;
use crate::row::kind;

/// Accepts padded and unpadded text: writers differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One picture of a row, not decoded yet. Cheap to clone.
#[derive(Clone, PartialEq)]
pub enum ImageRef {
    /// A file; relative paths of the row are already joined to the directory they start from.
    Path(PathBuf),
    /// The bytes of a picture file that stood in the row.
    Encoded(Arc<[u8]>),
    /// Pixels, for pictures that were drawn a moment ago.
    Pixels(Arc<RgbImage>),
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Encoded(bytes) => write!(f, "{} bytes inside the row", bytes.len()),
            Self::Pixels(image) => write!(f, "{}x{} in memory", image.width(), image.height()),
        }
    }
}

impl fmt::Debug for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageRef({self})")
    }
}

impl ImageRef {
    /// Reads what ms-swift and `datasets` write: a path, a `data:` URI, or an object with one of
    /// `bytes` (base64 text or a list of numbers), `path` and `url`; `bytes` goes before `path`.
    pub(crate) fn parse(value: &Value, base: &Path, field: &str) -> Result<Self, RowFault> {
        const EXPECTED: &str = "a path, a data: URI or an object with `path`, `bytes` or `url`";
        match value {
            Value::String(text) => Self::from_text(text, base, field),
            Value::Object(map) => {
                let given = |key| map.get(key).filter(|v: &&Value| !v.is_null() && *v != "");
                if let Some(bytes) = given("bytes") {
                    return Self::from_bytes(bytes, &format!("{field}.bytes"));
                }
                for key in ["path", "url", "image"] {
                    match given(key) {
                        Some(Value::String(text)) => {
                            return Self::from_text(text, base, &format!("{field}.{key}"));
                        }
                        Some(other) => return Err(wrong(&format!("{field}.{key}"), "text", other)),
                        None => {}
                    }
                }
                Err(wrong(field, EXPECTED, value))
            }
            other => Err(wrong(field, EXPECTED, other)),
        }
    }

    fn from_text(text: &str, base: &Path, field: &str) -> Result<Self, RowFault> {
        if text.is_empty() {
            return Err(wrong(field, "a path", &Value::from("")));
        }
        if let Some(rest) = text.strip_prefix("data:") {
            let encoded = rest.split_once(";base64,").map(|(_, encoded)| encoded);
            let encoded = encoded.ok_or_else(|| RowFault::Base64 {
                field: field.to_owned(),
                reason: "a data: URI must hold `;base64,`".to_owned(),
            })?;
            return Self::from_base64(encoded, field);
        }
        // A scheme is at least two letters: `C:\...` is a path.
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        if scheme.len() > 1 && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(RowFault::Remote {
                field: field.to_owned(),
            });
        }
        Ok(Self::Path(base.join(text)))
    }

    fn from_base64(text: &str, field: &str) -> Result<Self, RowFault> {
        let bytes = BASE64.decode(text.trim()).map_err(|e| RowFault::Base64 {
            field: field.to_owned(),
            reason: e.to_string(),
        })?;
        Ok(Self::Encoded(bytes.into()))
    }

    fn from_bytes(value: &Value, field: &str) -> Result<Self, RowFault> {
        match value {
            Value::String(text) => Self::from_base64(text, field),
            Value::Array(list) => {
                let byte = |v: &Value| v.as_u64().and_then(|n| u8::try_from(n).ok());
                let bytes: Option<Vec<u8>> = list.iter().map(byte).collect();
                let bytes = bytes.ok_or_else(|| wrong(field, "numbers from 0 to 255", value))?;
                Ok(Self::Encoded(bytes.into()))
            }
            other => Err(wrong(field, "base64 text or a list of numbers", other)),
        }
    }
}

fn wrong(field: &str, expected: &'static str, found: &Value) -> RowFault {
    RowFault::Field {
        field: field.to_owned(),
        expected,
        found: kind(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<ImageRef, RowFault> {
        ImageRef::parse(&value, Path::new("/data"), "images[0]")
    }

    #[test]
    fn paths_are_joined_to_the_base_unless_absolute() {
        assert_eq!(
            parse(json!("a/b.png")),
            Ok(ImageRef::Path("/data/a/b.png".into()))
        );
        assert_eq!(
            parse(json!({"path": "/x.png"})),
            Ok(ImageRef::Path("/x.png".into()))
        );
        assert_eq!(
            parse(json!({"path": "b.png", "bytes": null})),
            Ok(ImageRef::Path("/data/b.png".into()))
        );
    }

    #[test]
    fn bytes_come_as_base64_or_numbers() {
        let three = Ok(ImageRef::Encoded([1u8, 2, 3].as_slice().into()));
        assert_eq!(parse(json!("data:image/png;base64,AQID")), three);
        assert_eq!(parse(json!({"url": "data:;base64,AQID"})), three);
        assert_eq!(parse(json!({"bytes": "AQID", "path": "x.png"})), three);
        assert_eq!(parse(json!({"bytes": [1, 2, 3]})), three);
        let unpadded = parse(json!({"bytes": "AQI"}));
        assert_eq!(unpadded, Ok(ImageRef::Encoded([1u8, 2].as_slice().into())));
    }

    #[test]
    fn what_cannot_be_a_picture_is_named() {
        let fault = |value| parse(value).unwrap_err().to_string();
        assert!(fault(json!("https://host/x.png")).contains("nothing is downloaded"));
        assert!(fault(json!({"bytes": [1, 256]})).contains("`images[0].bytes` must be numbers"));
        assert!(fault(json!("data:image/png,raw")).contains(";base64,"));
        assert!(fault(json!({"bytes": "?"})).contains("does not decode"));
        assert!(fault(json!({})).contains("must be a path"));
        assert!(fault(json!("")).contains("must be a path"));
        assert!(fault(json!(7)).contains("not a number"));
        assert!(fault(json!({"path": 3})).contains("`images[0].path` must be text"));
    }
}
