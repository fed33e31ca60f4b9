//! `/help`: how to use this very server without its start page.

use askama::Template;

use super::{Shell, bearer, shell_word};
use crate::domain::{Access, Entry};

/// Beside the site's own address.
const TUS_PATH: &str = "/api/v1/uploads";

/// `/help`: commands and settings that work as they stand.
#[derive(Debug, Clone, Template)]
#[template(path = "help.html")]
pub struct HelpPage {
    /// What every page needs.
    pub shell: Shell,
    /// Where this site is, without a slash at the end: `https://files.example`.
    pub base_url: String,
    /// Who may do what: commands carry a token where one is needed.
    pub access: Access,
    /// A file that can be downloaded, for the examples; none where there is none yet.
    pub example: Option<ExampleFile>,
}

/// A file that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleFile {
    /// Its lasting link, absolute.
    pub url: String,
    /// SHA-1 in hex.
    pub sha1: String,
}

/// Something to copy.
struct Snippet {
    /// Its anchor.
    id: &'static str,
    /// What it is for.
    title: &'static str,
    /// What to copy.
    code: String,
    /// What comes of it.
    hint: &'static str,
}

impl HelpPage {
    fn sha1(&self) -> &str {
        self.example.as_ref().map_or("SHA1", |example| example.sha1.as_str())
    }

    fn link(&self) -> String {
        self.example
            .as_ref()
            .map_or_else(|| format!("{}/d/SHA1", self.base_url), |example| example.url.clone())
    }

    /// A path of this site as one word of a shell.
    fn word(&self, path: &str) -> String {
        shell_word(&format!("{}{path}", self.base_url))
    }

    fn needs_token(&self) -> bool {
        self.access.upload == Entry::Token
    }

    fn uploads(&self) -> Vec<Snippet> {
        let token = bearer(self.access.upload);
        vec![
            Snippet {
                id: "curl-put",
                title: "curl, one file",
                code: format!("curl {token}-T photo.jpg {}", self.word("/")),
                hint: "Answers with the link alone. The slash at the end matters: curl adds the name to it.",
            },
            Snippet {
                id: "curl-form",
                title: "curl, as the form does",
                code: format!("curl {token}-F file=@photo.jpg {}", self.word("/upload")),
                hint: "Answers with JSON. Repeat -F for several files.",
            },
            Snippet {
                id: "curl-digest",
                title: "curl, checked on arrival",
                code: format!(
                    "curl {token}--fail-with-body -X POST -T photo.jpg \\\n  \
                     -H \"Repr-Digest: sha-256=:$(openssl dgst -sha256 -binary photo.jpg | base64):\" \\\n  {}",
                    self.word("/api/v1/files?name=photo.jpg")
                ),
                hint: "The file is refused where what arrives is not what was hashed (RFC 9530).",
            },
            Snippet {
                id: "closeby-put",
                title: "closeby",
                code: format!("closeby put --server {} photo.jpg", self.word("")),
                hint: "Asks before it sends: what is here already is not sent again.",
            },
        ]
    }

    fn downloads(&self) -> Vec<Snippet> {
        let token = bearer(self.access.read);
        if !token.is_empty() {
            // The others would send the token on to the node that they are led to.
            return vec![
                Snippet {
                    id: "curl-get",
                    title: "curl",
                    code: format!("curl {token}-fLOJ {}", shell_word(&self.link())),
                    hint: "Follows the link to the nearest copy, which gets no token.",
                },
                Snippet {
                    id: "closeby-get",
                    title: "closeby",
                    code: format!("closeby get {} --server {}", shell_word(&self.link()), self.word("")),
                    hint: "Checked, goes on where it stopped, and overwrites nothing.",
                },
            ];
        }
        vec![
            Snippet {
                id: "curl-get",
                title: "curl",
                code: format!("curl -fLOJ {}", shell_word(&self.link())),
                hint: "Follows the link to the nearest copy and keeps the file’s own name.",
            },
            Snippet {
                id: "wget-get",
                title: "wget",
                code: format!("wget --content-disposition {}", shell_word(&self.link())),
                hint: "",
            },
            Snippet {
                id: "aria2-get",
                title: "aria2c, from both copies at once",
                code: format!(
                    "aria2c --follow-metalink=mem {}",
                    self.word(&format!("/d/{}.meta4", self.sha1()))
                ),
                hint: "Takes the Metalink: every 4 MiB are checked, and it goes on where it stopped.",
            },
            Snippet {
                id: "closeby-get",
                title: "closeby",
                code: format!("closeby get {}", shell_word(&self.link())),
                hint: "Checked, goes on where it stopped, and overwrites nothing.",
            },
        ]
    }

    fn resumable(&self) -> Vec<Snippet> {
        let endpoint = format!("{}{TUS_PATH}", self.base_url);
        // Both languages read a string as JSON writes it.
        let quoted = serde_json::Value::from(endpoint.clone()).to_string();
        let (js, fetched, import, python) = if self.needs_token() {
            (
                "headers: { Authorization: `Bearer ${process.env.CLOSEBY_TOKEN}` },\n  ",
                ", { headers: upload.options.headers }",
                "import os\n",
                ", headers={\"Authorization\": \"Bearer \" + os.environ[\"CLOSEBY_TOKEN\"]}",
            )
        } else {
            ("", "", "", "")
        };
        vec![
            Snippet {
                id: "tus",
                title: "The endpoint, for every client of tus 1.0.0",
                code: endpoint,
                hint: "After a cut, uploads go on where they stopped. A GET on an upload’s address answers with \
                       its link.",
            },
            Snippet {
                id: "tus-js",
                title: "tus-js-client",
                code: format!(
                    "import {{ readFile }} from 'node:fs/promises';\nimport * as tus from 'tus-js-client';\n\n\
                     const upload = new tus.Upload(await readFile('photo.jpg'), {{\n  \
                     endpoint: {quoted},\n  {js}\
                     metadata: {{ filename: 'photo.jpg', filetype: 'image/jpeg' }},\n  \
                     chunkSize: 16 * 1024 * 1024,\n  \
                     onError: (error) => console.error(error),\n  \
                     onSuccess: async () => console.log((await (await fetch(upload.url{fetched})).json()).url),\n\
                     }});\nupload.start();"
                ),
                hint: "Prints the file’s link. In a page, only on this very site: changes that another site’s \
                       page asks for are refused.",
            },
            Snippet {
                id: "tuspy",
                title: "tuspy",
                code: format!(
                    "{import}from tusclient.client import TusClient\n\n\
                     uploader = TusClient({quoted}{python}).uploader(\n    \
                     \"photo.jpg\", chunk_size=16 * 1024 * 1024, metadata={{\"filename\": \"photo.jpg\"}}\n)\n\
                     uploader.upload()\nprint(uploader.url)"
                ),
                hint: "Prints the upload’s address.",
            },
        ]
    }

    fn sharex(&self) -> String {
        sharex(&self.base_url, self.needs_token())
    }
}

/// A custom uploader of ShareX for the site at this address; with a place for a token where one is needed.
#[must_use]
pub fn sharex(base_url: &str, needs_token: bool) -> String {
    let host = base_url.split_once("://").map_or(base_url, |(_, host)| host);
    // Written by hand for the order of its keys, which people know from ShareX's own exports.
    let text = |value: &str| serde_json::Value::from(value).to_string();
    let mut entries = vec![
        ("Version", text("17.0.0")),
        ("Name", text(&format!("closeby ({host})"))),
        ("DestinationType", text("ImageUploader, TextUploader, FileUploader")),
        ("RequestMethod", text("POST")),
        ("RequestURL", text(&format!("{base_url}/upload"))),
        ("Body", text("MultipartFormData")),
        ("FileFormName", text("file")),
        ("URL", text("{json:files[0].url}")),
        ("ErrorMessage", text("{json:files[0].problem.detail}")),
    ];
    if needs_token {
        entries.insert(5, ("Headers", r#"{ "Authorization": "Bearer TOKEN" }"#.to_owned()));
    }
    let lines: Vec<String> = entries.iter().map(|(key, value)| format!("  \"{key}\": {value}")).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}
