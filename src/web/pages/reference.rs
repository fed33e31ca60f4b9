//! `/help/api`: the OpenAPI document as people read it.
//!
//! It reads the JSON that is served, not the types it was made from: what a program sees is what the
//! page shows. Whatever of a schema it has no words for is shown as it stands in the document.

use std::collections::BTreeMap;

use askama::Template;
use serde_json::Value;

use super::Shell;

/// The methods of a path, in the order in which they are shown.
const METHODS: [&str; 8] = ["get", "head", "post", "put", "patch", "delete", "options", "trace"];

/// How deep schemas inside schemas are followed; deeper ones are shown as JSON.
const MAX_DEPTH: usize = 8;

/// `/help/api`: every operation and every schema.
#[derive(Debug, Clone, Template)]
#[template(path = "api.html")]
pub struct ApiPage {
    /// What every page needs.
    pub shell: Shell,
    /// Where this site is, without a slash at the end.
    pub base_url: String,
    /// What stands in the document.
    pub reference: Reference,
}

/// An OpenAPI document, put in order for the page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    description: Prose,
    version: String,
    groups: Vec<Group>,
    schemas: Vec<Schema>,
}

/// The operations with one tag.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    tag: String,
    anchor: String,
    operations: Vec<Operation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Operation {
    method: String,
    path: String,
    anchor: String,
    summary: Prose,
    description: Prose,
    parameters: Vec<Field>,
    bodies: Vec<Body>,
    answers: Vec<Answer>,
}

/// A parameter, or a field of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    /// Where a parameter stands: `query`, `path`, `header`.
    place: String,
    is_required: bool,
    kind: Vec<Part>,
    description: Prose,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Body {
    media_type: String,
    kind: Vec<Part>,
    description: Prose,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    status: String,
    description: Prose,
    bodies: Vec<Body>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Schema {
    name: String,
    description: Prose,
    /// What it is, where it is not an object with fields.
    kind: Vec<Part>,
    fields: Vec<Field>,
}

/// A piece of a type's description.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A schema with a name.
    Link(String),
}

/// Text with pieces of code in it, as between backticks: whether a piece is code, and the piece.
type Prose = Vec<(bool, String)>;

impl Reference {
    /// Reads a document.
    #[must_use]
    pub fn of(document: &Value) -> Self {
        let mut groups: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
        for (path, item) in entries(&document["paths"]) {
            for method in METHODS {
                let Some(operation) = item.get(method) else { continue };
                let tag = operation["tags"][0].as_str().unwrap_or("other").to_owned();
                groups.entry(tag).or_default().push(Operation::of(method, path, item, operation));
            }
        }
        Self {
            description: prose(&document["info"]["description"]),
            version: text(&document["openapi"]),
            groups: groups
                .into_iter()
                .map(|(tag, operations)| Group { anchor: anchor(&["tag", &tag]), tag, operations })
                .collect(),
            schemas: entries(&document["components"]["schemas"])
                .map(|(name, schema)| Schema::of(name, schema))
                .collect(),
        }
    }
}

impl Operation {
    fn of(method: &str, path: &str, item: &Value, operation: &Value) -> Self {
        let parameters = [&item["parameters"], &operation["parameters"]];
        let answers = entries(&operation["responses"]).map(|(status, answer)| Answer {
            status: if status == "default" { "otherwise".to_owned() } else { status.clone() },
            description: prose(&answer["description"]),
            bodies: bodies(&answer["content"], &Value::Null),
        });
        let request = &operation["requestBody"];
        Self {
            method: method.to_ascii_uppercase(),
            path: path.to_owned(),
            anchor: anchor(&[method, path]),
            summary: prose(&operation["summary"]),
            description: prose(&operation["description"]),
            parameters: parameters.into_iter().filter_map(Value::as_array).flatten().map(parameter).collect(),
            bodies: bodies(&request["content"], &request["description"]),
            answers: answers.collect(),
        }
    }
}

impl Schema {
    fn of(name: &str, schema: &Value) -> Self {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let fields: Vec<Field> = entries(&schema["properties"])
            .map(|(field, of)| Field {
                name: field.clone(),
                place: String::new(),
                is_required: required.contains(&field.as_str()),
                kind: kind(of),
                description: prose(&of["description"]),
            })
            .collect();
        let is_plain =
            !fields.is_empty() && ["oneOf", "anyOf", "allOf"].iter().all(|of| schema[of].is_null());
        Self {
            name: name.to_owned(),
            description: prose(&schema["description"]),
            kind: if is_plain { Vec::new() } else { kind(schema) },
            fields,
        }
    }
}

fn entries(of: &Value) -> impl Iterator<Item = (&String, &Value)> {
    of.as_object().into_iter().flatten()
}

fn text(of: &Value) -> String {
    of.as_str().unwrap_or_default().to_owned()
}

fn prose(of: &Value) -> Prose {
    let pieces = of.as_str().unwrap_or_default().split('`').enumerate();
    pieces.filter(|(_, piece)| !piece.is_empty()).map(|(at, piece)| (at % 2 == 1, piece.to_owned())).collect()
}

/// An address on the page: lower case, with dashes for what is neither letter nor digit.
fn anchor(words: &[&str]) -> String {
    let plain = words.join("-").to_ascii_lowercase();
    let pieces: Vec<&str> =
        plain.split(|c: char| !c.is_ascii_alphanumeric()).filter(|piece| !piece.is_empty()).collect();
    pieces.join("-")
}

fn parameter(of: &Value) -> Field {
    Field {
        name: text(&of["name"]),
        place: text(&of["in"]),
        is_required: of["required"] == true,
        kind: kind(&of["schema"]),
        description: prose(&of["description"]),
    }
}

fn bodies(content: &Value, description: &Value) -> Vec<Body> {
    entries(content)
        .map(|(media_type, body)| Body {
            media_type: media_type.clone(),
            kind: kind(&body["schema"]),
            description: prose(description),
        })
        .collect()
}

/// What a schema takes, in words.
fn kind(schema: &Value) -> Vec<Part> {
    let mut parts = Vec::new();
    say(schema, MAX_DEPTH, &mut parts);
    parts
}

fn say(schema: &Value, depth: usize, parts: &mut Vec<Part>) {
    let word = |parts: &mut Vec<Part>, text: &str| match parts.last_mut() {
        Some(Part::Text(before)) => before.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    };
    let Some(deeper) = depth.checked_sub(1) else { return word(parts, &schema.to_string()) };
    if let Some(reference) = schema["$ref"].as_str() {
        return match reference.strip_prefix("#/components/schemas/") {
            Some(name) => parts.push(Part::Link(name.to_owned())),
            None => word(parts, reference),
        };
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(Value::to_string).collect();
        return word(parts, &values.join(" or "));
    }
    for (of, between) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " with ")] {
        if let Some(several) = schema[of].as_array() {
            for (at, one) in several.iter().enumerate() {
                if at > 0 {
                    word(parts, between);
                }
                say(one, deeper, parts);
            }
            return;
        }
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if types.is_empty() {
        // No words for it: an empty schema takes anything.
        let is_anything = schema.as_object().is_none_or(|keys| keys.keys().all(|key| key == "description"));
        return if is_anything { word(parts, "anything") } else { word(parts, &schema.to_string()) };
    }
    for (at, one) in types.into_iter().enumerate() {
        if at > 0 {
            word(parts, " or ");
        }
        match one {
            "array" => {
                word(parts, "list of ");
                say(&schema["items"], deeper, parts);
            }
            "object" if schema["properties"].is_object() => {
                word(parts, "{ ");
                for (at, (name, of)) in entries(&schema["properties"]).enumerate() {
                    word(parts, &format!("{}{name}: ", if at > 0 { ", " } else { "" }));
                    say(of, deeper, parts);
                }
                word(parts, " }");
            }
            other => {
                word(parts, other);
                if let Some(format) = schema["format"].as_str().filter(|_| other != "null") {
                    word(parts, &format!(" ({format})"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(schema: &Value) -> String {
        kind(schema)
            .into_iter()
            .map(|part| match part {
                Part::Text(text) => text,
                Part::Link(name) => format!("<{name}>"),
            })
            .collect()
    }

    #[test]
    fn a_schema_is_said_in_words() {
        let file = json!({"$ref": "#/components/schemas/File"});
        for (schema, words) in [
            (json!({"type": "string"}), "string"),
            (json!({"type": ["integer", "null"], "format": "int64"}), "integer (int64) or null"),
            (file.clone(), "<File>"),
            (json!({"type": "array", "items": file}), "list of <File>"),
            (json!({"oneOf": [{"type": "null"}, file]}), "null or <File>"),
            (json!({"type": "string", "enum": ["a", "b"]}), "\"a\" or \"b\""),
            (json!({"type": "object", "properties": {"a": {"type": "number"}}}), "{ a: number }"),
            (json!({"type": "object"}), "object"),
            (json!({}), "anything"),
            (json!({"not": {"type": "string"}}), r#"{"not":{"type":"string"}}"#),
        ] {
            assert_eq!(said(&schema), words, "{schema}");
        }
    }

    #[test]
    fn a_schema_without_an_end_is_cut() {
        let mut schema = json!({"type": "string"});
        for _ in 0..50 {
            schema = json!({"type": "array", "items": schema});
        }
        assert_eq!(said(&schema).matches("list of ").count(), MAX_DEPTH);
    }

    #[test]
    fn backticks_mark_code() {
        let expected = vec![(true, "a".to_owned()), (false, " and ".to_owned()), (true, "b".to_owned())];
        assert_eq!(prose(&json!("`a` and `b`")), expected);
        assert_eq!(anchor(&["get", "/d/{sha1}.meta4"]), "get-d-sha1-meta4");
    }
}
